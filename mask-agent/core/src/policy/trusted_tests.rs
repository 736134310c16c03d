use std::sync::Arc;

use crate::{
    catalog::{Catalog, Contents, Routine},
    lineage::fixture,
    policy::{Policy, Snapshot},
};

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn policy(functions: &str) -> Result<Policy, String> {
    let text = format!("version: 1\nname: x\nfunctions: {functions}\n");
    Policy::parse("p.yaml", &text).map_err(|error| error.to_string())
}

fn listed(name: &str, sha256: &str) -> Policy {
    policy(&format!("{{trusted: [{{name: {name}, sha256: {sha256}}}]}}")).unwrap()
}

#[test]
fn what_is_no_function_or_no_digest_is_an_error() {
    let upper = DIGEST.to_uppercase();
    for (functions, wrong) in [
        (format!("{{trusted: [{{name: hr.f, sha256: {}}}]}}", &DIGEST[1..]), "SHA-256"),
        (format!("{{trusted: [{{name: hr.f, sha256: {upper}}}]}}"), "SHA-256"),
        (format!("{{trusted: [{{name: f, sha256: {DIGEST}}}]}}"), "`schema.function`"),
        (format!("{{trusted: [{{name: hr., sha256: {DIGEST}}}]}}"), "`schema.function`"),
        (format!("{{trusted: [{{name: 'hr.*', sha256: {DIGEST}}}]}}"), "`schema.function`"),
        ("{trusted: [{name: hr.f}]}".to_owned(), "`sha256`"),
        ("{trusts: []}".to_owned(), "`trusted`"),
    ] {
        let error = policy(&functions).unwrap_err();
        assert!(error.starts_with("p.yaml:3:") && error.contains(wrong), "{functions}: {error}");
    }
    assert!(policy("{}").is_ok());
}

/// Whether a function of this digest is believed under a policy.
fn is_believed(policy: &Policy, schema: &str, name: &str, digest: Option<&str>) -> bool {
    let known = fixture::catalog().all_routines()[0].clone();
    let (schema, name) = (schema.to_owned(), name.to_owned());
    let routine = Routine { schema, name, digest: digest.map(str::to_owned), harmless: false, ..known };
    let source = Arc::new(Catalog::new(Contents { routines: vec![routine], ..Contents::default() }));
    let snapshot = Snapshot::new(source.clone(), policy, &[], Arc::default());
    assert!(Arc::ptr_eq(snapshot.source(), &source), "the server is compared with what it said");
    let next = snapshot.next(source, policy, &[]);
    let believed =
        |snapshot: &Snapshot| snapshot.catalog.all_routines().iter().all(|routine| routine.harmless);
    assert_eq!(believed(&snapshot), believed(&next));
    believed(&snapshot)
}

#[test]
fn a_function_is_believed_by_schema_name_and_digest() {
    let policy = listed("hr.f", DIGEST);
    assert!(is_believed(&policy, "hr", "f", Some(DIGEST)));
    assert!(!is_believed(&policy, "hr", "g", Some(DIGEST)));
    assert!(!is_believed(&policy, "other", "f", Some(DIGEST)));
    assert!(!is_believed(&policy, "hr", "f", Some(&DIGEST.replace('9', "8"))));
    assert!(!is_believed(&policy, "hr", "f", None), "it depends on more than itself");
    assert!(!is_believed(&Policy::zero_config(), "hr", "f", Some(DIGEST)));
}

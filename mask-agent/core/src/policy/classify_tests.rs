use super::*;
use crate::{
    catalog::{Change, Constraint, Contents, Foreign, RelationKind, Routine},
    lineage::fixture,
    policy::{Counts, Snapshot},
};

fn number(index: usize) -> i16 {
    i16::try_from(index + 1).unwrap()
}

fn relation(oid: u32, name: &str, parents: &[u32], columns: &[&str]) -> Relation {
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    let columns = columns.iter().enumerate().map(|(index, name)| Column::new(number(index), name, 25));
    let relation = Relation::new(oid, schema, name, RelationKind::Table, columns.collect());
    Relation { parents: parents.to_vec(), ..relation }
}

fn classes(policy: &Policy, relations: Vec<Relation>) -> Classification {
    policy.classify(&Catalog::new(Contents { relations, ..Contents::default() }), &[])
}

/// Columns of a table the built-in policy masks.
fn masked(table: &str, columns: &[&str]) -> Vec<String> {
    let classes = classes(&Policy::zero_config(), vec![relation(1, table, &[], columns)]);
    let numbered = columns.iter().enumerate();
    let masked = numbered.filter(|(index, _)| classes.column(1, number(*index)).is_some());
    masked.map(|(_, name)| (*name).to_owned()).collect()
}

#[test]
fn a_star_stands_for_any_run() {
    assert!(matches("email", "email") && !matches("email", "emails"));
    assert!(matches("*_email", "work_email") && !matches("*_email", "email"));
    assert!(matches("a*b*c", "axbyc") && !matches("a*b*c", "axc"));
    assert!(matches("a*b*b", "abb") && !matches("a*b*b", "ab"));
    assert!(matches("*", "") && matches("a*a", "aa") && !matches("a*a", "a"));
}

#[test]
fn the_built_in_policy_masks_well_known_names_in_any_case() {
    let personal = [
        "Email",
        "work_email",
        "emailAddress",
        "phone",
        "home_phone",
        "mobile",
        "ssn",
        "social_security_number",
        "tax_id",
        "passport_no",
        "iban",
        "card_number",
        "cc_number",
        "pan",
        "cvv",
        "dob",
        "date_of_birth",
        "FirstName",
        "last_name",
        "surname",
        "maiden_name",
        "street",
        "zip_code",
        "address_line1",
        "salary",
        "ip_address",
        "password_hash",
        "api_key",
        "secret",
        "token",
        "bank_account_no",
        "account_number",
        "diagnosis",
        "geburtsdatum",
        "apellido",
        "codigo_postal",
        "numero_telephone",
    ];
    assert_eq!(masked("contacts", &personal), personal);
}

#[test]
fn the_built_in_policy_leaves_everyday_names_alone() {
    let plain = [
        "id",
        "name",
        "city",
        "label",
        "status",
        "created_at",
        "price",
        "quantity",
        "description",
        "title",
        "country",
        "tokenizer",
        "company",
        "span",
        "pin_count",
        "emailed",
        "category",
        "notes_count",
        "panel",
    ];
    assert_eq!(masked("parts", &plain), Vec::<String>::new());
}

#[test]
fn a_plain_name_is_personal_where_the_table_is_of_people() {
    assert_eq!(masked("customers", &["id", "name"]), ["name"]);
    assert_eq!(masked("hr.Employees", &["id", "name"]), ["name"]);
    assert_eq!(masked("user_roles", &["id", "name"]), Vec::<String>::new());
}

#[test]
fn an_allow_list_masks_everything_else() {
    let text = "version: 1\nname: x\nclassification:\n  columns: [{name: email, tag: contact}]\n  allow:\n\
                \x20   - {table: public.people, columns: [ID, email]}\nmasks: {default: hash}\n";
    let policy = Policy::parse("p.yaml", text).unwrap();
    let people = relation(1, "people", &[], &["id", "email", "anything"]);
    let other = relation(2, "other", &[], &["id", "email", "anything"]);
    let classes = classes(&policy, vec![people, other]);
    let of = |oid, number| classes.column(oid, number).map(|rule| (&*rule.rule, rule.mask.name()));
    assert_eq!([of(1, 1), of(1, 2), of(1, 3)], [None, None, Some(("allow-list", "hash"))]);
    assert_eq!([of(2, 1), of(2, 2), of(2, 3)], [None, Some(("contact", "hash")), None]);
    assert!(classes.is_sensitive(1) && classes.names_column("anything") && !classes.names_column("id"));
}

#[test]
fn parents_and_children_share_their_labels_by_name() {
    let text = "version: 1\nname: x\nclassification:\n  columns: [{name: v, table: public.middle, tag: t}]\n";
    let policy = Policy::parse("p.yaml", text).unwrap();
    let relations = vec![
        relation(1, "top", &[], &["v", "w"]),
        relation(2, "middle", &[1], &["w", "v"]),
        relation(3, "leaf", &[2], &["x", "w", "v"]),
    ];
    let classes = classes(&policy, relations);
    assert!(
        classes.column(1, 1).is_some() && classes.column(2, 2).is_some() && classes.column(3, 3).is_some()
    );
    assert!(classes.column(1, 2).is_none() && classes.column(3, 2).is_none());
}

#[test]
fn a_column_given_masked_values_is_masked_where_it_may_stand() {
    let policy = Policy::parse("p.yaml", "version: 1\nname: x\n").unwrap();
    let schemas = ["public", "other", "pg_temp_3", "pg_catalog", "information_schema"];
    let relations: Vec<Relation> = (1..)
        .zip(schemas)
        .map(|(oid, schema)| relation(oid, &format!("{schema}.t"), &[], &["a", "b"]))
        .collect();
    let catalog = Catalog::new(Contents { relations, ..Contents::default() });
    let masked = |schema: &str, column: &str| {
        let taint = Taint {
            schema: schema.to_owned(),
            relation: "t".to_owned(),
            column: column.to_owned(),
            holds: Holds::Copies,
            counts: Counts::Always,
        };
        let classes = policy.classify(&catalog, &[taint]);
        let oids = (1..).zip(schemas);
        let of = |number| {
            let masked = oids.clone().filter(|(oid, _)| classes.is_masked(*oid, number));
            masked.map(|(_, schema)| schema).collect::<Vec<_>>()
        };
        (of(1), of(2))
    };
    assert_eq!(masked("other", "a"), (vec!["other"], vec![]));
    // Where nobody wrote a schema, it may be any but the server's own.
    assert_eq!(masked("", "b"), (vec![], vec!["public", "other", "pg_temp_3"]));
    assert_eq!(masked("pg_temp", "*"), (vec!["pg_temp_3"], vec!["pg_temp_3"]));
}

#[test]
fn a_foreign_key_has_the_label_of_what_it_refers_to() {
    let text =
        "version: 1\nname: x\nclassification:\n  columns: [{name: email, table: public.users, tag: t}]\n";
    let policy = Policy::parse("p.yaml", text).unwrap();
    let refers = |relation: u32, columns: &[i16], own: &[i16]| Constraint {
        kind: ConstraintKind::ForeignKey { relation, columns: columns.to_vec(), cascades: false },
        columns: own.to_vec(),
    };
    let mut letters = relation(2, "letters", &[], &["id", "author", "recipient"]);
    letters.constraints = vec![refers(1, &[1, 2], &[2, 3])];
    let mut replies = relation(3, "replies", &[], &["id", "to"]);
    replies.constraints = vec![refers(2, &[3], &[2])];
    let classes = classes(&policy, vec![replies, letters, relation(1, "users", &[], &["id", "email"])]);
    let masked = |oid, number| classes.column(oid, number).is_some_and(|rule| &*rule.rule == "t");
    assert_eq!([masked(2, 1), masked(2, 2), masked(2, 3)], [false, false, true]);
    assert_eq!([masked(3, 1), masked(3, 2)], [false, true]);
    assert!(classes.names_column("recipient") && classes.names_column("to"));
    assert!(!classes.names_column("author") && !classes.names_column("id"));
}

#[test]
fn what_the_server_keeps_of_values_is_masked_under_every_policy() {
    let policy = Policy::parse("p.yaml", "version: 1\nname: empty\n").unwrap();
    let relations = vec![
        relation(1, "pg_catalog.pg_stats", &[], &["tablename", "histogram_bounds"]),
        relation(2, "pg_catalog.pg_stat_activity", &[], &["pid", "query"]),
        relation(3, "public.pg_stat_statements", &[], &["calls", "query"]),
        relation(4, "pg_toast.pg_toast_99", &[], &["chunk_id", "chunk_data"]),
        relation(5, "public.parts", &[], &["id", "label"]),
        relation(6, "pg_catalog.pg_class", &[], &["oid", "relname"]),
        relation(7, "pg_catalog.pg_subscription", &[], &["subname", "subconninfo"]),
    ];
    let classes = classes(&policy, relations);
    for oid in 1..=4 {
        assert!(classes.column(oid, 2).is_some() && classes.is_sensitive(oid), "{oid}");
    }
    assert!(classes.column(1, 1).is_none() && classes.column(2, 1).is_none());
    assert!(classes.column(7, 1).is_none() && classes.column(7, 2).is_some());
    assert!(!classes.is_sensitive(5) && !classes.is_sensitive(6));
}

/// What is masked, as a text for each column of a catalog, and whether its name is one of a masked column.
fn shown(catalog: &Catalog, classes: &Classification) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for relation in catalog.relations() {
        for column in &relation.columns {
            let rule = classes.column(relation.oid, column.number).map(|rule| rule.rule.clone());
            let place = format!("{}.{}.{}", relation.schema, relation.name, column.name);
            let (names, holds) = (classes.names_column(&column.name), classes.is_sensitive(relation.oid));
            shown.insert(format!("{place} {rule:?} {names} {holds}"));
        }
    }
    shown
}

#[test]
fn what_is_classified_after_a_change_is_as_if_it_were_classified_anew() {
    let policy = Policy::zero_config();
    let key = |number, relation, other| Constraint {
        kind: ConstraintKind::ForeignKey { relation, columns: vec![other], cascades: false },
        columns: vec![number],
    };
    let refers = Relation { constraints: vec![key(1, 1, 2)], ..relation(2, "refers", &[], &["who", "note"]) };
    let relations = vec![
        relation(1, "people", &[], &["id", "email"]),
        refers.clone(),
        relation(3, "heir", &[1], &["id", "email", "size"]),
        relation(4, "parts", &[], &["id", "label"]),
        relation(5, "pg_stat_activity", &[], &["pid", "query"]),
    ];
    let catalog = Arc::new(Catalog::new(Contents { relations, ..Contents::default() }));
    let taint = |relation: &str, column: &str| Taint {
        schema: "public".to_owned(),
        relation: relation.to_owned(),
        column: column.to_owned(),
        holds: Holds::Copies,
        counts: Counts::Always,
    };
    let mut snapshot = Snapshot::new(catalog, &policy, &[], Arc::default());
    let changes = [
        (vec![relation(4, "parts", &[], &["id", "phone"])], vec![], vec![]),
        (vec![relation(1, "people", &[], &["id", "label"])], vec![], vec![]),
        (vec![relation(1, "people", &[], &["id", "email"])], vec![], vec![taint("parts", "id")]),
        (vec![], vec![], vec![taint("people", "id")]),
        (vec![relation(2, "refers", &[], &["who", "note"])], vec![3], vec![]),
        (vec![refers, relation(6, "child", &[4], &["id", "phone"])], vec![1], vec![]),
        (vec![], vec![2, 5], vec![taint("child", "*")]),
    ];
    for (relations, gone, taints) in changes {
        let change = Change { relations, gone: gone.into_iter().collect(), ..Change::default() };
        let catalog = Arc::new(snapshot.catalog.changed(change));
        snapshot = snapshot.next(catalog.clone(), &policy, &taints);
        let anew = policy.classify(&catalog, &taints);
        assert_eq!(shown(&catalog, &snapshot.classes), shown(&catalog, &anew));
        let masked = |classes: &Classification| classes.names.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(masked(&snapshot.classes), masked(&anew));
    }
}

#[test]
fn what_a_trigger_puts_elsewhere_since_its_function_was_changed_is_masked() {
    let policy = Policy::zero_config();
    let any = fixture::catalog().all_routines()[0].clone();
    let function = |oid: u32, name: &str, text: &str| Routine {
        oid,
        name: name.to_owned(),
        language: "plpgsql".to_owned(),
        definition: Some(format!(
            "create function public.{name}() returns trigger language plpgsql as $$ begin {text} return new; end $$"
        )),
        ..any.clone()
    };
    let people = relation(20_001, "people", &[], &["id", "email"]);
    let people = Relation { has_user_code: true, triggers: vec![30_001], ..people };
    let relations = vec![people, relation(20_002, "parts", &[], &["id", "label"])];
    let puts = "insert into public.parts (label) values (new.email);";
    let routines = vec![function(30_001, "fires", ""), function(30_002, "rests", "")];
    let catalog = Catalog::new(Contents { relations, routines, ..Contents::default() });
    let snapshot = Snapshot::new(Arc::new(catalog), &policy, &[], Arc::default());
    let next = |fires: &str, rests: &str| {
        let routines = vec![function(30_001, "fires", fires), function(30_002, "rests", rests)];
        let change = Change { routines: Some(routines), ..Change::default() };
        snapshot.next(Arc::new(snapshot.source().changed(change)), &policy, &[])
    };
    let is_masked = |snapshot: &Snapshot| snapshot.classes.column(20_002, 2).is_some();
    assert!(!is_masked(&snapshot));
    assert!(is_masked(&next(puts, "")));
    let other = next("", puts);
    assert!(!is_masked(&other) && Arc::ptr_eq(&other.classes, &snapshot.classes), "nothing calls it");
}

#[test]
fn a_foreign_column_is_masked_for_what_it_is_called_on_its_server_too() {
    let policy = Policy::parse(
        "test.yaml",
        "version: 1
name: test
classification:
  columns:
    - {name: email, tag: email}
    - {name: name, table: public.customers, tag: name}
  allow:
    - {table: public.staff, columns: [id]}
    - {table: far.shown, columns: [a]}
",
    )
    .unwrap();
    let masked = |name: &str, other: (Option<&str>, Option<&str>), columns: &[(i16, &str)]| {
        let columns = columns.iter().map(|(number, name)| (*number, Symbol::from(*name))).collect();
        let (schema, table) = (other.0.map(Symbol::from), other.1.map(Symbol::from));
        let foreign = Some(Box::new(Foreign { schema, name: table, columns }));
        let table = Relation {
            kind: RelationKind::Foreign,
            foreign,
            ..relation(1, name, &[], &["id", "a", "name", "email"])
        };
        let classes = classes(&policy, vec![table]);
        (1..5).filter(|number| classes.column(1, *number).is_some()).collect::<Vec<i16>>()
    };
    assert_eq!(masked("far.one", (None, None), &[]), [4]);
    assert_eq!(masked("far.one", (None, None), &[(2, "Email"), (4, "b")]), [2, 4]);
    assert_eq!(masked("far.one", (Some("public"), Some("customers")), &[]), [3, 4]);
    assert_eq!(masked("far.one", (Some("public"), Some("customers")), &[(1, "name"), (3, "b")]), [1, 4]);
    assert_eq!(masked("public.one", (None, Some("staff")), &[]), [2, 3, 4]);
    assert_eq!(masked("far.customers", (Some("public"), None), &[]), [3, 4]);
    // What an operator allows by the name it has here is shown.
    assert_eq!(masked("far.shown", (None, None), &[(1, "email"), (2, "email")]), [1, 3, 4]);
}

#[test]
fn a_row_that_was_touched_shows_it_by_no_column_of_the_servers() {
    let touched = |column: &str| {
        let all = [relation(1, "seen", &[], &["a"]), relation(2, "heir", &[1], &["a"])];
        let catalog = Catalog::new(Contents { relations: all.to_vec(), ..Contents::default() });
        let (schema, relation) = ("public".to_owned(), "seen".to_owned());
        let (column, holds) = (column.to_owned(), Holds::Copies);
        let taint = Taint { schema, relation, column, holds, counts: Counts::Always };
        let classes = Policy::zero_config().classify(&catalog, &[taint]);
        let is_masked = |relation, number| number != 0 && classes.column(relation, number).is_some();
        let masked = |relation| (-6..2).filter(|number| is_masked(relation, *number)).collect::<Vec<i16>>();
        assert_eq!(classes.holds(2, -4), classes.holds(1, -4));
        (masked(1), masked(2), classes.holds(1, -4))
    };
    let places = vec![-5, -4, -3, -2, -1];
    assert_eq!(touched("ctid"), (places.clone(), places.clone(), Some(Holds::Mixed)));
    let all = [&places[..], &[1]].concat();
    assert_eq!(touched("*"), (all.clone(), all, Some(Holds::Mixed)));
    assert_eq!(touched("a"), (vec![1], vec![1], None));
}

#[test]
fn what_a_column_holds_those_of_its_name_in_parents_and_children_hold() {
    let relations = vec![
        relation(1, "top", &[], &["id", "said"]),
        relation(2, "middle", &[1], &["said", "id"]),
        relation(3, "low", &[2], &["id", "said", "more"]),
        relation(4, "other", &[], &["id", "said"]),
    ];
    let catalog = Catalog::new(Contents { relations, ..Contents::default() });
    let taint = Taint {
        schema: "public".to_owned(),
        relation: "low".to_owned(),
        column: "said".to_owned(),
        holds: Holds::Derived,
        counts: Counts::Always,
    };
    let classes = Policy::zero_config().classify(&catalog, &[taint]);
    for (relation, number) in [(1, 2), (2, 1), (3, 2)] {
        assert_eq!(classes.holds(relation, number), Some(Holds::Derived), "{relation} {number}");
    }
    for (relation, number) in [(1, 1), (2, 2), (3, 1), (3, 3), (4, 2)] {
        assert_eq!(classes.holds(relation, number), None, "{relation} {number}");
    }
}

use super::*;

fn error(rest: &str) -> String {
    parse("p.yaml", &format!("version: 1\nname: x\n{rest}")).unwrap_err().to_string()
}

#[test]
fn every_shipped_policy_parses() {
    assert!(Policy::zero_config().rules() > 100);
    let observe = include_str!("../../../../policies/observe.yaml");
    assert_eq!(parse("observe.yaml", observe).unwrap().mode(), Mode::Observe);
}

#[test]
fn an_error_names_file_line_column_key_and_what_is_allowed() {
    let text = error("maks: {}\n");
    assert!(text.starts_with("p.yaml:3:1: "), "{text}");
    assert!(text.contains("`maks`; allowed: ") && text.contains("`masks`"), "{text}");
    let text = error("classification:\n  columns:\n    - {nme: a, tag: b}\n");
    assert!(text.starts_with("p.yaml:5:8: ") && text.contains("`nme`"), "{text}");
    let text = error("masks: {default: rot13}\n");
    assert!(text.starts_with("p.yaml:3:") && text.contains("rot13") && text.contains("`pattern`"), "{text}");
    let text = parse("p.yaml", "version: 2\nname: x\n").unwrap_err().to_string();
    assert!(text.starts_with("p.yaml:1:") && text.contains("allowed: 1"), "{text}");
}

#[test]
fn a_mask_for_a_tag_nobody_has_is_an_error() {
    let text = error("classification:\n  columns: [{name: b, tag: email}]\nmasks:\n  emial: null\n");
    assert!(text.starts_with("p.yaml:6:3: ") && text.contains("emial") && text.contains("email"), "{text}");
}

#[test]
fn values_that_say_nothing_are_errors() {
    for rest in [
        "classification: {columns: [{name: '', tag: a}]}",
        "classification: {columns: [{name: 'a?', tag: a}]}",
        "classification: {columns: [{name: a, tag: default}]}",
        "classification: {columns: [{name: a, tag: b, table: users}]}",
        "classification: {allow: [{table: users, columns: []}]}",
        "classification: {allow: [{table: a.b, columns: []}, {table: A.b, columns: []}]}",
        "mode: off",
        "ports: [70000]",
        "masks: {default: {partial: {first: -1}}}",
        "masks: {default: {partial: {first: 1}, redact: {placeholder: x}}}",
        "masks: {default: {}}",
        "masks: {default: {redact: {placehold: x}}}",
        "- a",
    ] {
        let text = error(rest);
        assert!(text.starts_with("p.yaml:"), "{rest}: {text}");
    }
}

#[test]
fn every_mask_can_be_written() {
    let text = "version: 1\nname: x\nports: [5432, 6432]\nclassification:\n  columns:\n    - {name: [a, B], tag: t}\n\
                masks:\n  t: {partial: {last: 4}}\n  default: null\n";
    let policy = parse("p.yaml", text).unwrap();
    assert_eq!(policy.ports(), [5432, 6432]);
    assert_eq!(policy.rules(), 2);
    assert_eq!(*policy.patterns[1].rule.mask, MaskKind::Partial { first: 0, last: 4 });
    assert_eq!(*policy.unlisted.mask, MaskKind::Null);
    for (written, kind) in [
        ("hash", MaskKind::Hash),
        ("'null'", MaskKind::Null),
        ("pattern", MaskKind::Pattern),
        ("redact", MaskKind::Redact { placeholder: None }),
        ("{redact: {placeholder: gone}}", MaskKind::Redact { placeholder: Some("gone".into()) }),
    ] {
        let policy = parse("p.yaml", &format!("version: 1\nname: x\nmasks: {{default: {written}}}")).unwrap();
        assert_eq!(*policy.unlisted.mask, kind);
    }
}

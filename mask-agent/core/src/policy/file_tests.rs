use super::*;
use crate::{
    lineage::Usage,
    masking::{DateUnit, FpeShape, Generalise},
    policy::{
        CGROUP_DEPTH_MAX, Rules,
        rules::{Admission, Derived, Use, Written},
    },
};

fn error(rest: &str) -> String {
    parse("p.yaml", &format!("version: 1\nname: x\n{rest}")).unwrap_err().to_string()
}

#[test]
fn every_shipped_policy_parses() {
    assert!(Policy::zero_config().rules() > 100);
    let observe = include_str!("../../../../policies/observe.yaml");
    assert_eq!(parse("observe.yaml", observe).unwrap().mode(), Mode::Observe);
    let strict = include_str!("../../../../policies/agent-strict.yaml");
    let strict = parse("agent-strict.yaml", strict).unwrap();
    assert_eq!(strict.rules(), Policy::zero_config().rules(), "it masks what zero-config masks");
    assert_eq!(strict.usage_rules().derived, Derived::Refuse);
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
        "classification: {columns: [{name: a, tag: b, table: .users}]}",
        "classification: {columns: [{name: a, tag: b, table: hr.}]}",
        "classification: {columns: [{name: a, tag: b, table: 'hr.user?'}]}",
        "classification: {columns: [{name: a, tag: b, table: 'hr.[us]ers'}]}",
        "classification: {allow: [{table: users, columns: []}]}",
        "classification: {allow: [{table: a.b, columns: []}, {table: A.b, columns: []}]}",
        "mode: off",
        "ports: [70000]",
        "targets: [{port: 0}]",
        "targets: [{prefix: 10.0.0.0/8}]",
        "targets: [{port: 1, prefix: 10.0.0.0/33}]",
        "targets: [{port: 1, prefix: 10.0.0.1/8}]",
        "targets: [{port: 1, prefix: 'fd00::1/8'}]",
        "targets: [{port: 1, prefix: '::ffff:10.0.0.0/104'}]",
        "targets: [{port: 1, prefix: host.example}]",
        "subjects: {include: {}}",
        "subjects: {include: {uids: [-1]}}",
        "subjects: {exclude: {cgroups: [system.slice]}}",
        "subjects: {exclude: {cgroups: [/]}}",
        "subjects: {exclude: {cgroups: [/a/../b]}}",
        "subjects: {exclude: {cgroups: [/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17]}}",
        "subjects: {exclude: {users: [root]}}",
        "subjects: {sniff: true}",
        "subjects: {sniff: {}}",
        "subjects: {sniff: {uids: [5]}, exclude: {uids: [5]}}",
        "subjects: {include: {uids: [5]}, exclude: {uids: [5]}}",
        "masks: {default: {partial: {first: -1}}}",
        "masks: {default: {partial: {first: 1}, redact: {placeholder: x}}}",
        "masks: {default: {}}",
        "masks: {default: {redact: {placehold: x}}}",
        "masks: {default: fpe}",
        "masks: {default: {fpe: name}}",
        "masks: {default: {generalise: {bucket: 1}}}",
        "masks: {default: {generalise: {date: day}}}",
        "masks: {default: {generalise: {prefix4: 32}}}",
        "masks: {default: {generalise: {prefix6: 128}}}",
        "masks: {default: {token: {scope: ''}}}",
        "masks: {default: {token: {scope: \"a\\0\"}}}",
        "masks: {default: {token: {reversable: true}}}",
        "rules: {derived: mask}",
        "rules: {predicates: {equal: allow}}",
        "rules: {predicates: {equality: maybe}}",
        "rules: {writes: allow}",
        "rules: {write: taint}",
        "statements: {definitions: budget}",
        "statements: {copy: refuse}",
        "limits: {predicates: -1}",
        "limits: {window: 5}",
        "notices: sometimes",
        "extends: observe",
        "- a",
    ] {
        let text = error(rest);
        assert!(text.starts_with("p.yaml:"), "{rest}: {text}");
    }
}

#[test]
fn what_a_name_may_be_is_told() {
    let text = error("classification: {columns: [{name: 5, tag: a}]}");
    assert!(text.contains("allowed: a column pattern or a list of them"), "{text}");
}

#[test]
fn a_scope_has_as_many_bytes_as_fit_into_one_of_length() {
    let scoped = |bytes: usize| {
        let scope = "s".repeat(bytes);
        parse("p.yaml", &format!("version: 1\nname: x\nmasks: {{default: {{token: {{scope: {scope}}}}}}}\n"))
    };
    let policy = scoped(255).unwrap();
    assert_eq!(policy.unlisted.scope().len(), 255);
    assert!(scoped(256).is_err() && scoped(300).is_err());
}

#[test]
fn a_cgroup_may_lie_as_deep_as_the_kernel_side_looks() {
    let path = "/a".repeat(CGROUP_DEPTH_MAX);
    let text = format!("version: 1\nname: x\nsubjects: {{include: {{cgroups: [{path}]}}}}\n");
    assert_eq!(parse("p.yaml", &text).unwrap().selection().include.cgroups, [path]);
}

#[test]
fn every_mask_can_be_written() {
    let text = "version: 1\nname: x\nports: [5432, 6432]\nclassification:\n  columns:\n    - {name: [a, B], tag: t}\n\
                masks:\n  t: {partial: {last: 4}}\n  default: null\n";
    let policy = parse("p.yaml", text).unwrap();
    let ports: Vec<_> =
        policy.selection().targets.iter().map(|target| (target.port, target.prefix)).collect();
    assert_eq!(ports, [(5432, None), (6432, None)]);
    assert_eq!(policy.rules(), 2);
    assert_eq!(*policy.patterns[1].rule.mask, MaskKind::Partial { first: 0, last: 4 });
    assert_eq!(*policy.unlisted.mask, MaskKind::Null);
    let coarse = Generalise { date: DateUnit::Year, bucket: 10, prefix4: 24, prefix6: 64 };
    for (written, kind) in [
        ("hash", MaskKind::Hash),
        ("'null'", MaskKind::Null),
        ("pattern", MaskKind::Pattern),
        ("redact", MaskKind::Redact { placeholder: None }),
        ("{fpe: iban}", MaskKind::Fpe(FpeShape::Iban)),
        ("generalise", MaskKind::Generalise(coarse)),
        ("{generalise: {}}", MaskKind::Generalise(coarse)),
        (
            "{generalise: {date: month, bucket: 1000, prefix4: 16, prefix6: 48}}",
            MaskKind::Generalise(Generalise {
                date: DateUnit::Month,
                bucket: 1000,
                prefix4: 16,
                prefix6: 48,
            }),
        ),
        ("token", MaskKind::Token { scope: None, reversible: false }),
        (
            "{token: {scope: people, reversible: true}}",
            MaskKind::Token { scope: Some("people".into()), reversible: true },
        ),
        ("{redact: {placeholder: gone}}", MaskKind::Redact { placeholder: Some("gone".into()) }),
    ] {
        let policy = parse("p.yaml", &format!("version: 1\nname: x\nmasks: {{default: {written}}}")).unwrap();
        assert_eq!(*policy.unlisted.mask, kind);
    }
}

#[test]
fn rules_are_those_of_zero_config_but_for_what_is_written() {
    let rules =
        |rest: &str| parse("p.yaml", &format!("version: 1\nname: x\n{rest}")).unwrap().usage_rules().clone();
    assert_eq!(rules(""), Rules::default());
    assert_eq!(rules("rules: {}\nstatements: {}\nlimits: {}\n"), Rules::default());
    assert_eq!(rules("rules: null\n"), Rules::default());
    let written = rules(
        "rules: {derived: refuse, writes: refuse, predicates: {pattern: refuse, equality: budget}}\n\
         statements: {procedures: refuse}\nlimits: {predicates: 7, window_minutes: 0}\nnotices: true\n",
    );
    assert_eq!((written.derived, written.opaque), (Derived::Refuse, Derived::Redact));
    assert_eq!(written.written, Written::Refuse);
    assert_eq!((written.definitions, written.procedures), (Admission::Allow, Admission::Refuse));
    assert_eq!((written.of(Usage::Pattern), written.of(Usage::Equality)), (Use::Refuse, Use::Budget));
    assert_eq!((written.of(Usage::Range), written.of(Usage::RowCount)), (Use::Budget, Use::Refuse));
    assert_eq!((written.budget, written.window.as_secs(), written.notices), (7, 60, true));
}

#[test]
fn an_extended_policy_keeps_its_own_entries_and_masks_first() {
    let text = "version: 1\nname: x\nextends: zero-config\nclassification:\n  columns: [{name: email, tag: mine}]\n\
                masks: {mine: hash}\n";
    let policy = parse("p.yaml", text).unwrap();
    assert_eq!(policy.rules(), Policy::zero_config().rules() + 1);
    assert_eq!((&*policy.patterns[0].rule.rule, &*policy.patterns[0].rule.mask), ("mine", &MaskKind::Hash));
    let names = |policy: &Policy| -> Vec<_> {
        policy.patterns.iter().map(|pattern| (pattern.name.clone(), pattern.rule.rule.clone())).collect()
    };
    assert_eq!(names(&policy).split_off(1), names(&Policy::zero_config()));
}

#[test]
fn a_mask_for_a_tag_that_is_taken_over_comes_before_its_own() {
    let tag = Policy::zero_config().patterns[0].rule.rule.clone();
    let text = format!("version: 1\nname: x\nextends: zero-config\nmasks: {{{tag}: pattern}}\n");
    let policy = parse("p.yaml", &text).unwrap();
    for (own, base) in policy.patterns.iter().zip(Policy::zero_config().patterns) {
        assert_eq!(own.rule.rule, base.rule.rule);
        let mask = if own.rule.rule == tag { MaskKind::Pattern } else { (*base.rule.mask).clone() };
        assert_eq!(*own.rule.mask, mask);
    }
}

#[test]
fn a_policy_is_called_what_it_says_and_counts_its_entries() {
    let text = "version: 1\nname: shop\nclassification:\n  columns: [{name: [a, b], tag: t}]\n  allow: [{table: p.q, columns: [id]}]\n";
    let policy = parse("p.yaml", text).unwrap();
    assert_eq!((policy.name(), policy.rules()), ("shop", 3));
}

#[test]
fn equal_values_get_equal_masks_within_a_tag_or_the_scope_its_token_names() {
    let text = "version: 1\nname: x\nclassification:\n  columns: [{name: a, tag: one}, {name: b, tag: two}, {name: c, tag: three}]\n\
                masks: {one: token, two: {token: {scope: shared}}, three: hash}\n";
    let policy = parse("p.yaml", text).unwrap();
    let scopes: Vec<&str> = policy.patterns.iter().map(|pattern| pattern.rule.scope()).collect();
    assert_eq!(scopes, ["one", "shared", "three"]);
}

#[test]
fn targets_and_subjects_say_whose_connections_to_where_are_intercepted() {
    let everything = parse("p.yaml", "version: 1\nname: x\n").unwrap();
    let selection = everything.selection();
    assert_eq!(selection.targets, [super::super::Target { port: 5432, prefix: None }]);
    assert!(selection.include.is_empty() && selection.exclude.is_empty());

    let text = "version: 1\nname: x\ntargets:\n  - {port: 6432, prefix: 10.1.0.0/16}\n  - {port: 7432, prefix: 'fd00::1'}\n\
                subjects:\n  include: {cgroups: [/agents.slice]}\n  exclude: {uids: [26]}\n";
    let selection = parse("p.yaml", text).unwrap().selection().clone();
    let lengths: Vec<_> = selection
        .targets
        .iter()
        .map(|target| (target.port, target.prefix.map(|prefix| prefix.length)))
        .collect();
    assert_eq!(lengths, [(6432, Some(16)), (7432, Some(128))], "5432 is not added to what is written");
    assert_eq!(
        (selection.include.cgroups, selection.exclude.uids),
        (vec!["/agents.slice".to_owned()], vec![26])
    );
}

#[test]
fn a_subject_that_is_both_included_and_excluded_is_an_error() {
    let text =
        error("subjects:\n  include: {cgroups: [/a.slice]}\n  exclude:\n    cgroups: [/b, /a.slice]\n");
    assert!(text.starts_with("p.yaml:4:") && text.contains("`/a.slice`"), "{text}");
    let text = error("subjects: {include: {cgroups: [agents]}}\n");
    assert!(
        text.starts_with("p.yaml:3:") && text.contains("`agents`") && text.contains("allowed: a path"),
        "{text}"
    );
}

#[test]
fn who_is_sniffed_is_protected_as_well() {
    let read = |subjects: &str| {
        let text = format!("version: 1\nname: x\nsubjects: {{{subjects}}}\n");
        parse("p.yaml", &text).unwrap().selection().clone()
    };
    let everyone = read("sniff: {cgroups: [/a.slice]}");
    assert_eq!(everyone.sniff.cgroups, ["/a.slice"]);
    assert!(everyone.include.is_empty(), "and so is everybody else");
    let some =
        read("include: {cgroups: [/a.slice], uids: [7]}, sniff: {cgroups: [/a.slice, /b.slice], uids: [8]}");
    assert_eq!(some.include.cgroups, ["/a.slice", "/b.slice"]);
    assert_eq!(some.include.uids, [7, 8]);

    let text = error("subjects:\n  exclude: {cgroups: [/a]}\n  sniff: {cgroups: [/a]}\n");
    assert!(text.starts_with("p.yaml:4:") && text.contains("`/a` is sniffed and excluded"), "{text}");
    let text = error("subjects:\n  sniff: true\n");
    let allowed = "allowed: `cgroups`, `uids` or both";
    assert!(text.starts_with("p.yaml:4:") && text.contains("sniff") && text.contains(allowed), "{text}");
}

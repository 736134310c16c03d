use std::{collections::BTreeSet, sync::Arc};

use super::{super::PLACE, numbers};
use crate::{
    catalog::{Catalog, Change, Column, Constraint, ConstraintKind, Contents, Relation, RelationKind},
    lineage::{self, Env, Holds, Masked as _, Overlay, SYSTEM_COLUMNS},
    policy::{Counts, Policy, Snapshot, Taint},
};

fn relation(oid: u32, name: &str, columns: &[&str]) -> Relation {
    let columns = columns.iter().zip(1..).map(|(name, number)| Column::new(number, name, 25));
    Relation::new(oid, "public", name, RelationKind::Table, columns.collect())
}

fn view(oid: u32, name: &str, column: &str, definition: &str) -> Relation {
    let kind = RelationKind::View;
    Relation { kind, definition: Some(definition.to_owned()), ..relation(oid, name, &[column]) }
}

fn kept_rows(oid: u32, name: &str, column: &str, definition: &str) -> Relation {
    Relation { kind: RelationKind::MaterializedView, ..view(oid, name, column, definition) }
}

fn generated(by: Option<&str>) -> Relation {
    let mut made = relation(4, "made", &["id", "email", "shown"]);
    made.columns[2].generated = by.map(Into::into);
    made
}

fn letters(constraints: Vec<Constraint>) -> Relation {
    Relation { constraints, ..relation(2, "letters", &["id", "who"]) }
}

fn key() -> Constraint {
    let kind = ConstraintKind::ForeignKey { relation: 1, columns: vec![2], cascades: false };
    Constraint { kind, columns: vec![2] }
}

/// What definitions mask, and what they do not.
fn defined() -> Vec<Relation> {
    vec![
        relation(1, "people", &["id", "email"]),
        letters(vec![key()]),
        Relation { parents: vec![2], ..relation(3, "replies", &["id", "who"]) },
        generated(Some("upper(email)")),
        view(5, "under", "x", " SELECT people.email AS x FROM public.people;"),
        kept_rows(6, "kept", "x", " SELECT under.x FROM public.under;"),
        kept_rows(7, "plain", "x", " SELECT people.id AS x FROM public.people;"),
    ]
}

/// What is remembered before a statement is sent, and when it counts.
fn remembered(snapshot: &Snapshot, sql: &str) -> Vec<Taint> {
    let env = Env { catalog: &snapshot.catalog, path: None, overlay: &Overlay::default() };
    let statements = lineage::analyse(sql, &env, &*snapshot.classes).unwrap();
    statements.iter().flat_map(|statement| snapshot.rule(statement).defined).collect()
}

fn names(taints: &[Taint]) -> BTreeSet<String> {
    assert!(taints.iter().all(|taint| taint.counts == Counts::Undefined));
    taints.iter().map(|taint| format!("{}.{}.{}", taint.schema, taint.relation, taint.column)).collect()
}

fn snapshot(relations: Vec<Relation>, taints: &[Taint]) -> Snapshot {
    let catalog = Arc::new(Catalog::new(Contents { relations, ..Contents::default() }));
    Snapshot::new(catalog, &Policy::zero_config(), taints, Arc::default())
}

#[test]
fn what_only_definitions_mask_is_remembered_before_they_are_changed() {
    let another = snapshot;
    let snapshot = snapshot(defined(), &[]);
    let of = |sql: &str| names(&remembered(&snapshot, sql)).into_iter().collect::<Vec<_>>().join(" ");
    let all = "public.kept.x public.letters.who public.made.shown public.replies.who";
    for sql in
        ["alter table letters drop constraint k", "drop table people cascade", "drop trigger t on letters"]
    {
        assert_eq!(of(sql), all, "{sql}");
    }
    for sql in
        ["select who from letters", "update letters set id = 1", "begin", "create index on letters (id)"]
    {
        assert_eq!(of(sql), "", "{sql}");
    }
    // In its transaction it may have another name by then.
    let renamed =
        "alter materialized view kept rename to shelf; alter table made rename shown to seen; drop view v";
    for name in [".shelf.x", "public.made.seen"] {
        assert!(of(renamed).contains(name), "{name}");
    }
    let known = another(defined(), &remembered(&snapshot, "drop view v"));
    assert_eq!(
        names(&remembered(&known, renamed)).into_iter().collect::<Vec<_>>(),
        [".shelf.x", "public.made.seen"]
    );
}

#[test]
fn what_is_remembered_counts_once_no_definition_masks_it() {
    let policy = Policy::zero_config();
    let before = snapshot(defined(), &[]);
    let taints = remembered(&before, "drop table people cascade");
    let masked = |snapshot: &Snapshot| {
        let columns = [(2, 2), (3, 2), (4, 3), (6, 1), (7, 1)];
        columns.map(|(relation, number)| snapshot.classes.is_masked(relation, number))
    };
    let after = |changed: Vec<Relation>| {
        let known = snapshot(defined(), &taints);
        // What is masked by a definition is masked as it says, and nothing is remembered twice.
        assert_eq!(masked(&known), [true, true, false, false, false]);
        assert_eq!(&*known.classes.column(2, 2).unwrap().rule, "email");
        assert_eq!(remembered(&known, "drop table people cascade"), []);
        let change = Change { relations: changed, ..Change::default() };
        let catalog = Arc::new(known.catalog.changed(change));
        let next = known.next(catalog.clone(), &policy, &taints);
        let anew = Snapshot::new(catalog, &policy, &taints, Arc::default());
        assert_eq!(masked(&next), masked(&anew));
        masked(&next)
    };
    assert_eq!(after(vec![]), [true, true, false, false, false]);
    assert_eq!(after(vec![letters(vec![])]), [true, true, false, false, false]);
    let alone = relation(3, "replies", &["id", "who"]);
    assert_eq!(after(vec![letters(vec![]), alone]), [true, true, false, false, false]);
    assert_eq!(after(vec![generated(None)]), [true, true, true, false, false]);
    assert_eq!(after(vec![generated(Some("upper(id)"))]), [true, true, true, false, false]);
    let constant = view(5, "under", "x", " SELECT 'x'::text AS x;");
    assert_eq!(after(vec![constant]), [true, true, false, true, false]);
}

fn taint(relation: &str, column: &str, holds: Holds) -> Taint {
    Taint {
        schema: "public".to_owned(),
        relation: relation.to_owned(),
        column: column.to_owned(),
        holds,
        counts: Counts::Always,
    }
}

#[test]
fn what_is_lost_counts_always_and_what_nobody_can_read_still_masks() {
    let before = snapshot(defined(), &[]);
    let taints = remembered(&before, "drop table people cascade");
    let lost = |made: Relation| {
        let after = snapshot(vec![relation(1, "people", &["id", "email"]), made], &[]);
        let lost = after.classes.lost(&after.catalog, &taints);
        assert!(lost.iter().all(|taint| taint.counts == Counts::Always));
        lost.into_iter().map(|taint| taint.column).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(lost(generated(Some("upper(id)"))), "shown");
    assert_eq!(lost(generated(Some("nobody(id)"))), "");
    // What was never masked is not remembered for that.
    let unread = snapshot(vec![generated(Some("nobody(id)"))], &[]);
    assert_eq!(remembered(&unread, "drop view v"), []);
}

#[test]
fn where_a_row_stands_is_remembered_by_one_name() {
    let letters = letters(vec![]);
    let replies = Relation { parents: vec![2], ..relation(3, "replies", &["id", "who"]) };
    let last = Relation { parents: vec![3], ..relation(8, "last", &["id", "who"]) };
    let relations = vec![letters.clone(), replies, last];
    let under = snapshot(relations.clone(), &[taint("letters", PLACE, Holds::Copies)]);
    let expected = ["replies", "last"].map(|name| format!("public.{name}.{PLACE}"));
    assert_eq!(names(&remembered(&under, "drop view v")), expected.into());
    let (_, ctid) = SYSTEM_COLUMNS[0];
    let above = snapshot(relations, &[taint("last", PLACE, Holds::Mixed)]);
    assert_eq!(above.classes.holds(2, ctid), Some(Holds::Mixed));
    let found = |column| numbers(&taint("letters", column, Holds::Copies), &letters);
    let (tableoid, places): (Vec<_>, Vec<_>) =
        SYSTEM_COLUMNS.into_iter().partition(|(name, _)| *name == "tableoid");
    assert!(places.iter().all(|(_, number)| found("*").contains(number) && found(PLACE).contains(number)));
    assert!(tableoid.iter().all(|(_, number)| !found("*").contains(number)));
}

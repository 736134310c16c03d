//! Statements whose reading would not end if what they name were read through as often as it is named. That these tests
//! end is half of what they say.

use super::{
    Env, Made, Overlay, Trigger, analyse,
    fixture::{classes, each, outputs},
    scope::VIEW_DEPTH_MAX,
};
use crate::catalog::{Called, Catalog, Column, Contents, Relation, RelationKind};

fn last(sql: &str) -> String {
    each(sql, Some(&["public"]), outputs).rsplit(" | ").next().unwrap().to_owned()
}

#[test]
fn views_over_views_are_read_up_to_a_bound() {
    let doubled = |levels: usize| {
        let over =
            |level: usize| format!("create view v{level} as select a.* from v{0} a, v{0} b; ", level - 1);
        let views: String = (1..=levels).map(over).collect();
        last(&format!(
            "create view v0 as select email, city from customers; {views} select city from v{levels}"
        ))
    };
    assert!(doubled(3).starts_with("city = customers.city"), "{}", doubled(3));
    let shown = doubled(16);
    assert!(shown.ends_with("?TooDeep"), "{shown}");
}

#[test]
fn stored_views_are_read_as_deep_as_anybody_stacks_them() {
    let relation = |level: usize| {
        let columns = vec![Column::new(1, "a", 25)];
        let definition = (level > 0).then(|| format!("SELECT v{0}.a FROM public.v{0};", level - 1));
        let kind = if level > 0 { RelationKind::View } else { RelationKind::Table };
        let oid = 20_000 + u32::try_from(level).unwrap();
        Relation { definition, ..Relation::new(oid, "public", &format!("v{level}"), kind, columns) }
    };
    let relations = (0..=VIEW_DEPTH_MAX + 1).map(relation).collect();
    let catalog = Catalog::new(Contents { relations, ..Contents::default() });
    let overlay = Overlay::default();
    let shown = |level: usize| {
        let env = Env { catalog: &catalog, path: None, overlay: &overlay };
        let statements = analyse(&format!("select a from v{level}"), &env, &classes(&catalog)).unwrap();
        outputs(&statements[0])
    };
    assert!(!shown(VIEW_DEPTH_MAX).ends_with("?TooDeep"));
    assert!(shown(VIEW_DEPTH_MAX + 1).ends_with("?TooDeep"));
}

#[test]
fn the_rows_of_a_view_that_is_not_read_through_tell_who_knows_what() {
    let over = |level: usize| format!("create view v{level} as select * from v{}; ", level - 1);
    let views: String = (1..=40).map(over).collect();
    let sql = format!("create view v0 as select city from customers where salary > 5000; {views}");
    assert_eq!(last(&format!("{sql} select count(*) from v40")), "count ?TooDeep");
    assert_eq!(last(&format!("{sql} select count(*) from v5")), "count");
}

#[test]
fn functions_over_functions_are_read_up_to_a_bound() {
    let called = |times: usize| {
        let over = |level: usize| {
            let calls = vec![format!("f{}(a)", level - 1); times].join(" || ");
            format!("create function f{level}(a text) returns text language sql as 'select {calls}'; ")
        };
        let functions: String = (1..6).map(over).collect();
        let first = "create function f0(a text) returns text language sql as 'select a'; ";
        last(&format!("{first} {functions} select f5(city) as x from customers"))
    };
    assert_eq!(called(2), "x <- customers.city");
    let shown = called(30);
    assert!(shown.contains('?'), "{shown}");
}

#[test]
fn renaming_to_and_fro_does_not_multiply_what_is_known() {
    let mut sql =
        "create table a as select city, email from customers; create table b () inherits (a); ".to_owned();
    for _ in 0..60 {
        sql += "alter table a rename to c; alter table c rename to a; alter view w rename to x; alter view x rename to w; ";
    }
    assert_eq!(
        last(&format!("{sql} select city, email from a")),
        "city = customers.city; email = customers.email"
    );
}

#[test]
fn what_is_done_again_is_known_once() {
    let mut sql = "create table a (x text); create view v as select x from a; ".to_owned();
    for _ in 0..2_000 {
        sql += "insert into a select email from customers; ";
    }
    assert_eq!(last(&format!("{sql} select x from v")), "x <- customers.email");
}

#[test]
fn a_view_that_became_a_table_holds_what_is_put_there() {
    let made = "create view v as select city as x from customers; drop view v; create table v (x text); \
                insert into v select email from customers; ";
    for again in ["", "create or replace view v as select city as x from customers; "] {
        let shown = last(&format!("{made}{}select x from v", again.repeat(3)));
        assert!(shown.contains("customers.email"), "{again}: {shown}");
    }
}

#[test]
fn what_is_kept_in_mind_is_counted_once() {
    let mut overlay = Overlay::default();
    let child = |relation: &str| Made::Child { relation: relation.into(), parent: "a".into() };
    let moved =
        |from: &str, name: &str| Made::Moved { from: from.into(), name: name.into(), relations: vec![1] };
    for made in [child("b"), moved("a", "c"), moved("c", "a")] {
        overlay.learn(&made);
    }
    let size = overlay.size();
    assert!(size > 0);
    for made in [child("b"), moved("a", "c"), moved("c", "a"), child("b")] {
        overlay.learn(&made);
    }
    assert_eq!(overlay.size(), size);
    overlay.learn(&child("other"));
    assert_eq!(overlay.size(), size + 1);
    let mut overlay = Overlay::default();
    let generated = Made::Generated { relation: "a".into(), column: "b".into() };
    let function = Made::Function { name: "f".into(), body: None };
    let foreign = Made::Foreign("a".into());
    let named = [foreign, Made::Unknown("a".into()), Made::Dropped(Some("a".into())), generated];
    for (made, size) in named.iter().chain([&function]).zip(1..) {
        overlay.learn(made);
        assert_eq!(overlay.size(), size, "{made:?}");
    }
    for made in &named {
        overlay.learn(made);
        assert_eq!(overlay.size(), 5, "{made:?} again");
    }
}

#[test]
fn functions_operators_and_triggers_are_code_no_snapshot_knows() {
    let function = Called { schema: "public".into(), name: "f".into() };
    let trigger = Trigger { schema: String::new(), relation: "a".into(), function: "f".into() };
    for (made, is_code) in [
        (Made::Function { name: "f".into(), body: None }, true),
        (Made::Operator { name: "@@@@".into(), function }, true),
        (Made::Trigger(trigger), true),
        (Made::Unknown("a".into()), false),
    ] {
        let mut overlay = Overlay::default();
        overlay.learn(&made);
        assert_eq!(overlay.has_code(), is_code, "{made:?}");
    }
}

#[test]
fn what_is_learnt_again_counts_once() {
    let name = || "a".to_owned();
    for made in [
        Made::Dropped(Some(name())),
        Made::Foreign(name()),
        Made::Generated { relation: name(), column: name() },
        Made::Loose(name()),
        Made::Narrow(name()),
        Made::Placed(name()),
        Made::Unknown(name()),
    ] {
        let mut overlay = Overlay::default();
        overlay.learn(&made);
        overlay.learn(&made);
        assert_eq!(overlay.size(), 1, "{made:?}");
        assert!(!overlay.is_empty());
    }
    // What is known of a relation is so under its new name.
    let moved = Made::Moved { from: name(), name: "b".to_owned(), relations: Vec::new() };
    for made in [Made::Loose(name()), Made::Placed(name())] {
        let mut overlay = Overlay::default();
        overlay.learn(&made);
        overlay.learn(&moved);
        assert_eq!(overlay.size(), 3, "{made:?}");
    }
    let renamed = Made::Column { relation: name(), from: name(), name: "b".to_owned(), columns: Vec::new() };
    let mut overlay = Overlay::default();
    overlay.learn(&Made::Narrow(name()));
    overlay.learn(&renamed);
    assert_eq!(overlay.size(), 2);
}

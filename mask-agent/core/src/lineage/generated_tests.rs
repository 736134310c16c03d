//! What a write puts into a generated column that it does not name.

use super::{
    Statement,
    fixture::{outputs, statements, uses},
};

/// A table that the string makes, with a column that is generated.
const MADE: &str =
    "create table t (id int unique, a text, b text generated always as (upper(a)) stored, c text);";
/// And one that is stored.
const TABLES: [(&str, &str); 2] = [
    (MADE, "insert into t (id, a) select id, V from customers"),
    ("", "insert into people (id, work_email) select id, V from customers"),
];

fn last(sql: &str) -> Statement {
    statements(sql).unwrap().pop().unwrap()
}

fn shows(sql: &str) -> bool {
    outputs(&last(sql)).contains("customers.ssn")
}

#[test]
fn returning_shows_what_was_made_of_what_was_put() {
    for (made, insert) in TABLES {
        let generated = if made.is_empty() { "handle" } else { "b" };
        let returned = |value: &str| format!("{made} {} returning {generated}", insert.replace('V', value));
        assert!(shows(&returned("ssn")));
        assert!(!shows(&returned("city")));
    }
    for write in [
        "update t set a = ssn from customers returning b",
        "merge into t using customers on false when not matched then insert (a) values (ssn) returning b",
        "with w as (insert into t (a) select ssn from customers returning b) select b from w",
    ] {
        assert!(shows(&format!("{MADE} {write}")), "{write}");
        assert!(!shows(&format!("{MADE} {}", write.replace("ssn", "city"))), "{write}");
    }
    let added = "alter table orders add b text generated always as (upper(note)) stored;
        insert into orders (note) select ssn from customers returning b";
    assert!(shows(added));
    assert!(!shows(&added.replace("ssn", "city")));
    assert!(!shows(&format!("{MADE} insert into t (a) select ssn from customers returning c")));
}

#[test]
fn an_excluded_row_has_what_is_made_of_it() {
    for (made, insert) in TABLES {
        let (generated, set) = if made.is_empty() { ("handle", "id") } else { ("b", "c") };
        let upsert = |value: &str| {
            let insert = insert.replace('V', value);
            format!(
                "{made} {insert} on conflict (id) do update set {set} = length(excluded.{generated}) returning {set}"
            )
        };
        assert!(shows(&upsert("ssn")), "{made}");
        assert!(!shows(&upsert("city")), "{made}");
    }
}

#[test]
fn whether_a_generated_key_is_there_is_asked_of_what_it_is_made_of() {
    let asked = |conflict: &str| {
        let sql = format!(
            "insert into people (id, work_email) select id, label from items {conflict} returning id"
        );
        (outputs(&last(&sql)), uses(&last(&sql)))
    };
    let by_generated = asked("on conflict (handle) do nothing");
    assert_eq!(by_generated, asked("on conflict (work_email) do nothing"));
    assert_ne!(by_generated, asked("on conflict (id) do nothing"));
}

#[test]
fn a_view_that_is_written_through_shows_what_it_makes_of_what_was_put() {
    for (view, sql) in [
        (
            "create view v as select id, work_email, handle from people",
            "insert into v (work_email) select ssn from customers returning handle",
        ),
        (
            "create view v as select id, work_email, upper(work_email) as u from people",
            "insert into v (work_email) select ssn from customers returning u",
        ),
        (
            "create view v as select id, work_email as w from people",
            "insert into v (w) select ssn from customers returning w",
        ),
        (
            "create table t (id int, a text); create view v as select id, a, upper(a) as u from t",
            "insert into v (a) select ssn from customers returning u",
        ),
        (
            "create view v as select id, note, upper(note) as u from orders",
            "update v set note = ssn from customers returning u",
        ),
    ] {
        assert!(shows(&format!("{view}; {sql}")), "{view}; {sql}");
        assert!(!shows(&format!("{view}; {}", sql.replace("ssn", "city"))), "{view}; {sql}");
    }
}

#[test]
fn a_row_that_a_trigger_has_changed_shows_what_was_put() {
    let made = |body: &str| {
        format!(
            "create function f() returns trigger language plpgsql as $$ declare r record; begin {body} return new; end $$;
             create table t (id int unique, a text, c text);
             create trigger g before insert or update on t for each row execute function f();"
        )
    };
    for body in [
        "new.c := upper(new.a);",
        "select upper(new.a) into new.c;",
        "r := new; r.c := upper(new.a); new := r;",
        "r := new; r.c := upper(new.a); return r;",
    ] {
        for write in [
            "insert into t (a) select ssn from customers returning c",
            "update t set a = ssn from customers returning c",
            "insert into t (a) select ssn from customers; select c from t",
            "insert into t (a) select ssn from customers on conflict (id) do update set id = length(excluded.c) returning id",
        ] {
            let sql = format!("{} {write}", made(body));
            assert!(shows(&sql), "{sql}");
            assert!(!shows(&sql.replace("ssn", "city")), "{sql}");
        }
    }
    let other = made("new.id := 5; if new.a > 'b' then raise notice 'a'; end if;");
    assert!(!shows(&format!("{other} insert into t (a) select ssn from customers returning c")));
    // Through a view that calls the column otherwise.
    let filled = made("new.c := upper(new.a);");
    for (view, write) in [
        (
            "create view v as select id, a, c as d from t",
            "insert into v (a) select ssn from customers returning d",
        ),
        (
            "create view v as select id, a as c, c as a from t",
            "insert into v (c) select ssn from customers returning a",
        ),
    ] {
        assert!(shows(&format!("{filled} {view}; {write}")), "{view}; {write}");
    }
}

//! What names mean in PL/pgSQL besides what they seem to.

use super::fixture::{outputs, statements};

/// A table that a trigger fills.
fn filled(body: &str) -> String {
    format!(
        "create function f() returns trigger language plpgsql as $$ {body} $$;
         create table t (id int unique, a text, c text); create table u (x text);
         create trigger g before insert or update on t for each row execute function f();"
    )
}

/// What the last statement shows, and whether one before is refused.
fn told(sql: &str) -> (String, bool) {
    let mut all = statements(sql).unwrap();
    let last = all.pop().unwrap();
    (outputs(&last), all.iter().any(|statement| statement.refusal.is_some()))
}

fn shows(sql: &str) -> bool {
    told(sql).0.contains("customers.ssn")
}

#[test]
fn the_functions_name_may_stand_before_the_row() {
    for body in [
        "begin f.new.c := upper(new.a); return new; end",
        "begin new.c := upper(f.new.a); return new; end",
        "begin f.new.c := f.new.a; return new; end",
        "begin select max(f.new.a) into f.new.c from orders; return new; end",
        "declare v text; begin f.v := new.a; new.c := v; return new; end",
        "declare n alias for new; begin n.c := n.a; return new; end",
    ] {
        for rest in [
            "insert into t (a) select V from customers returning c",
            "insert into t (a) select V from customers; select c from t",
        ] {
            let sql = format!("{} {rest}", filled(body));
            assert!(shows(&sql.replace('V', "ssn")), "{sql}");
            assert!(!shows(&sql.replace('V', "city")), "{sql}");
        }
    }
    let copied = filled("begin insert into u values (f.new.a); return new; end");
    assert!(shows(&format!("{copied} insert into t (a) select ssn from customers; select x from u")));
}

#[test]
fn a_trigger_may_return_the_old_row() {
    for body in [
        "begin old.c := upper(new.a); return old; end",
        "begin f.old.c := upper(new.a); return old; end",
        "declare r record; begin r := new; r.c := r.a; old := r; return old; end",
        "begin old.c := new.a; insert into u values (old.c); return new; end",
    ] {
        for rest in ["returning c", "; select c from t"] {
            let sql = format!(
                "{} insert into t (id) values (1); update t set a = (select V from customers limit 1) {rest}",
                filled(body)
            );
            assert!(shows(&sql.replace('V', "ssn")), "{sql}");
            assert!(!shows(&sql.replace('V', "city")), "{sql}");
        }
    }
}

#[test]
fn a_transition_table_hides_what_it_is_called_like() {
    let made = |on: &str, referencing: &str| {
        format!(
            "create table u (x text); create function f() returns trigger language plpgsql as
                $$ begin insert into u select orders::text from orders; return null; end $$;
             create trigger g after update on {on} {referencing} for each statement execute function f(); select 1"
        )
    };
    assert!(told(&made("customers", "referencing new table as orders")).1);
    assert!(told(&made("orders", "referencing old table as other")).1);
    assert!(!told(&made("orders", "")).1);
}

#[test]
fn a_columns_name_may_be_a_variable() {
    let told = |declared: &str, variable: &str, query: &str| {
        shows(&format!(
            "create table u (x text); do $$ declare {declared} begin select ssn into {variable} from customers;
             insert into u {query}; end $$; select x from u"
        ))
    };
    assert!(told("note text;", "note", "select note from orders"));
    assert!(told("orders record;", "orders", "select orders.note from orders"));
    assert!(told("o customers;", "o", "select o.note from orders o"));
    assert!(!told("m text; note text;", "m", "select label from items"));
    // What has no fields is not meant by a name with one.
    assert!(!told("o text;", "o", "select o.note from orders o"));
    assert!(!told("m text; o cursor for select 1;", "m", "select o.note from orders o"));
    // A type of users' may have the name of one that has none.
    for declared in ["o date;", "o public.date;", "o text;"] {
        let types = "create type date as (note text); create type text as (note varchar);";
        let block = format!(
            "do $$ declare {declared} begin select ssn into o from customers;
             insert into u select o.note from orders o; end $$; select x from u"
        );
        assert!(shows(&format!("create table u (x varchar); {types} {block}")), "{declared}");
    }
    // In SQL it is the column.
    let sql = "create function f(note text) returns text language sql as 'select note from orders';
        select f(ssn) from customers";
    assert!(!shows(sql));
}

#[test]
fn what_a_trigger_puts_whatever_is_in_the_row_is_not_made_of_it() {
    let rest = "insert into t (a) select ssn from customers returning c";
    for value in ["now()", "current_user", "CLOCK_TIMESTAMP()"] {
        assert!(!shows(&format!("{} {rest}", filled(&format!("begin new.c := {value}; return new; end")))));
        let decided = format!("begin if new.a > 'b' then new.c := {value}; end if; return new; end");
        assert!(shows(&format!("{} {rest}", filled(&decided))));
    }
}

#[test]
fn a_schema_stands_before_no_alias_and_before_no_relation_of_another() {
    // Where `thing` is the one of `public`, or another relation by that name, this is the one around.
    let email = |sql: &str| told(sql).0.contains("archive.thing.email");
    for inner in
        ["items as thing", "public.items thing", "thing", "(select 1 as email) thing", "public.thing"]
    {
        for outer in ["", "join items on true"] {
            let sql = format!("select (select archive.thing.email from {inner}) from archive.thing {outer}");
            assert!(email(&sql), "{sql}");
            let sql =
                format!("select s.* from archive.thing, lateral (select archive.thing.* from {inner}) s");
            assert!(email(&sql), "{sql}");
        }
    }
    let sql = "create temp table thing (email text);
        select (select archive.thing.email from thing) from archive.thing";
    assert!(email(sql));
    assert!(!email("select (select archive.thing.id from thing) from archive.thing"));
    assert!(!email("select (select public.thing.note from thing) from archive.thing"));
    assert!(!email("select archive.thing.id, public.thing.note from thing, archive.thing"));
}

#[test]
fn what_comes_out_has_a_number_in_pl_pgsql() {
    let call = |made: &str, call: &str| format!("create {made}; select {call} from customers");
    for (made, called) in [
        ("function f(out a text, b text) language plpgsql as 'begin a := $2; end'", "f(V)"),
        (
            "function f(out a text, b text) language plpgsql as 'declare c alias for $2; begin a := c; end'",
            "f(V)",
        ),
        (
            "function f(a text, inout b text, out c text, d text) language plpgsql as 'begin c := $4; end'",
            "(f('a', 'b', V)).c",
        ),
        (
            "function f(a text) returns table (b text) language plpgsql as 'begin $2 := a; return next; end'",
            "f(V)",
        ),
        ("function f(out a text, b text) language sql as 'select $1'", "f(V)"),
    ] {
        let sql = call(made, called);
        assert!(shows(&sql.replace('V', "ssn")), "{sql}");
        assert!(!shows(&sql.replace('V', "city")), "{sql}");
    }
}

#[test]
fn what_a_procedure_gives_back_is_counted_among_its_arguments() {
    for (procedure, called) in [
        ("(out a text, b text, c text) language plpgsql as 'begin a := b; end'", "p(o, e, 'x')"),
        ("(out a text, b text, c text) language plpgsql as 'begin a := $2; end'", "p(o, e, 'x')"),
        ("(out a text, b text, c text) language sql as 'select b'", "p(o, e, 'x')"),
        ("(out a text, b text, c text default 'x') language plpgsql as 'begin a := b; end'", "p(o, e)"),
        ("(out a text, b text) language plpgsql as 'begin a := b; end'", "p(b => e, a => o)"),
    ] {
        let sql = format!(
            "create procedure p {procedure}; create function g() returns text language plpgsql as $$
                declare o text; e text; begin select V into e from customers limit 1; call {called}; return o; end $$;
             select g()"
        );
        assert!(shows(&sql.replace('V', "ssn")), "{sql}");
        assert!(!shows(&sql.replace('V', "city")), "{sql}");
    }
}

#[test]
fn a_variable_may_be_called_like_the_function() {
    let query = "(select V from customers limit 1)";
    for body in [
        format!(
            "declare f record; x text; begin select 'a' as x into f; f.x := {query}; return f::text; end"
        ),
        format!("declare f items; label text; begin f.label := {query}; return f::text; end"),
        format!("declare f items; label text; begin f := row(1, {query}); return f.label; end"),
        format!("declare f record; x text; begin f.f.x := {query}; return f::text; end"),
    ] {
        let sql = format!("create function f() returns text language plpgsql as $$ {body} $$; select f()");
        assert!(shows(&sql.replace('V', "ssn")), "{sql}");
        assert!(!shows(&sql.replace('V', "city")), "{sql}");
    }
    // A number has no fields: it is the argument.
    let sum = "create function f(a text) returns text language plpgsql as $$ declare f int := 1; v text;
        begin select ssn into v from customers limit 1; f.a := 'x'; return f.a; end $$; select f('a')";
    assert!(!shows(sum));
}

#[test]
fn a_row_by_itself_may_be_a_variable() {
    let sql = "create function f() returns text language plpgsql as $$ declare c items; begin
        c := row(1, (select V from customers limit 1)); return (select (c).label from items c limit 1); end $$;
        select f()";
    assert!(shows(&sql.replace('V', "ssn")));
    assert!(!shows(&sql.replace('V', "city")));
}

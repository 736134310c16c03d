//! What functions, operators and casts of users add to a value.

use std::collections::HashMap;

use super::{
    Env, Overlay, analyse,
    fixture::{self, check, check_uses, check_writes, classes, each, outputs, writes},
    operator::{Family, family},
};
use crate::catalog::{Catalog, Column, Contents, FIRST_USER_OID, Relation, RelationKind, TypeShape};

#[test]
fn functions_of_users_are_read_where_they_can_be() {
    check(
        "select twice(1), twice(id), twice(salary) from customers",
        "twice; twice <- customers.id; twice <- customers.salary",
    );
    check(
        "select email_of(1), public.email_of(who => 1)",
        "email_of = customers.email; email_of = customers.email",
    );
    check("select * from people_in(3)", "name = customers.city; mail = customers.email");
    check("select (people_in(3)).mail", "mail <- customers.city, customers.email");
    check("select look_up(1)", "look_up <- customers.ssn");
    check("select add_one(id) from customers", "add_one <- customers.id");
    check("select add_one(1)", "add_one");
    check("select similarity(email, 'a') from customers", "similarity <- customers.email");
    check("select o.twice from orders o", "twice <- orders.*");
    check("select dynamic(1)", "dynamic ?DynamicSql");
    check("select opaque(1)", "opaque ?OpaqueFunction");
    check("select endless(1)", "endless ?OpaqueFunction");
    check("select nobody_knows(1)", "nobody_knows ?UnknownFunction");
    check("select other.lower('a'), pg_catalog.lower('a')", "lower ?UnknownFunction; lower");
    check("select 1 === 2 as x, 1 = 2 as y, 'a'::odd as z", "x ?OpaqueFunction; y; z ?UserCode");
    check_writes("select kept(1)", "orders.note <- customers.email");
}

#[test]
fn functions_of_one_name_are_any_that_the_path_leads_to() {
    const BOTH: &str = "a = customers.email, orders.note ~ customers.id, orders.id; \
         b = customers.id, orders.id ~ customers.email, orders.note";
    let along = |path: Option<&[&str]>, sql: &str, expected: &str| {
        assert_eq!(each(sql, path, outputs), expected, "{path:?}");
    };
    along(Some(&["public"]), "select * from pair(1)", "a = customers.email; b = customers.id");
    along(Some(&["archive", "public"]), "select * from pair(1)", BOTH);
    along(None, "select * from pair(1)", BOTH);
    along(Some(&["nowhere"]), "select * from pair(1)", BOTH);
    check("select * from archive.pair(1)", "a = orders.note; b = orders.id");
    check(
        "select i, * from numbers, either(1)",
        "* <- customers.id, customers.email, orders.note, numbers.i",
    );
}

#[test]
fn a_function_means_what_its_path_leads_to_once_that_is_changed() {
    let altered = |change: &str, expected: &str| {
        check(&format!("alter function email_of(int) {change}; select email_of(1)"), expected);
    };
    altered("cost 5", "- | email_of = customers.email");
    let (same, unknown) =
        ("- | email_of <- customers.email", "- | email_of <- customers.email ?UnknownFunction");
    altered("set search_path = public, archive", same);
    altered("reset search_path", same);
    altered("immutable set search_path to default", same);
    altered("reset all", same);
    altered("set search_path from current", unknown);
    altered("set role = someone", unknown);
    altered("reset all set search_path = public", unknown);
    check(
        "alter routine opaque(int) set search_path = public; select opaque(1)",
        "- | opaque ?UnknownFunction",
    );
}

#[test]
fn an_operator_of_users_is_meant_where_its_operands_may_be_of_their_type() {
    check(
        "select id = 5 as x, city = 'a' as y, 'a' = 'b' as z from customers",
        "x <- customers.id; y <- customers.city; z",
    );
    check(
        "select id between 1 and 2 as x, id in (1, 2) as y, nullif(id, 1) from customers",
        "x <- customers.id; y <- customers.id; nullif <- customers.id",
    );
    check("select id = $1 as x, $1 = $2 as y from customers", "x <- customers.id; y ?OpaqueFunction");
    check(
        "select odd = 'a' as x, 'a' = odd as y, odd in ('a') as z from odds",
        "x <- odds.odd ?OpaqueFunction; y <- odds.odd ?OpaqueFunction; z <- odds.odd ?OpaqueFunction",
    );
    check(
        "select odd between 'a' and 'b' as x, case odd when 'a' then 1 end as y from odds",
        "x <- odds.odd ?OpaqueFunction; y <- odds.odd ?OpaqueFunction",
    );
    check(
        "select array[odd] = '{}' as x, id = 1 as y, odd + 1 as z, id + 1 as w from odds",
        "x <- odds.odd ?OpaqueFunction; y <- odds.id; z <- odds.odd ?OpaqueFunction; w <- odds.id",
    );
    check(
        "select (o).odd = 'a' as x, 'a' <-> 'b' as y from odds o",
        "x <- odds.odd ?OpaqueFunction; y ?OpaqueFunction",
    );
    check(
        "select odd = any (select odd from odds) as x, id = any (select id from odds) as y from odds",
        "x <- odds.odd ?OpaqueFunction; y <- odds.id",
    );
    check("select 'a'::odd = 'b' as x, id::text = 'b' as y from odds", "x ?OpaqueFunction; y <- odds.id");
    check("begin; create type t; select 1 = 2 as x", "- | - | x ?UserCode");
    check("begin; create type t; select id < 2 as x from orders", "- | - | x <- orders.id ?UserCode");
}

#[test]
fn a_cast_of_users_is_meant_where_the_value_may_be_of_the_type_it_takes() {
    check("select '2020-01-01'::date as x, city::date as y from customers", "x; y <- customers.city");
    check(
        "select id::date as x, 5::date as y from customers",
        "x <- customers.id ?OpaqueFunction; y ?OpaqueFunction",
    );
    check("select length(city)::date as x from customers", "x <- customers.city ?OpaqueFunction");
    check("select current_date::date as x, (localtimestamp at time zone 'UTC')::date as y", "x; y");
    check("select nextval('s')::date as x", "x ?OpaqueFunction");
    check("select x::date as y from (select city as x from customers) s", "y <- customers.city");
    check(
        "select city::odd as x, city::word as y, city::nobody as z from customers",
        "x <- customers.city ?UserCode; y <- customers.city; z <- customers.city ?UserCode",
    );
}

#[test]
fn a_domain_over_a_type_of_users_runs_their_code() {
    check(
        "select city::deep as x, city::word as y from customers",
        "x <- customers.city ?UserCode; y <- customers.city",
    );
    check(
        "select deep = 'a' as x, deep <= deep as y, word = 'a' as z, id = 1 as w from depths",
        "x <- depths.deep ?OpaqueFunction; y <- depths.deep ?OpaqueFunction; z <- depths.word; w <- depths.id",
    );
}

#[test]
fn a_cast_made_in_this_transaction_may_be_any() {
    check(
        "begin; create cast (int as word) with function f; select id::word as x from customers",
        "- | - | x <- customers.id ?UserCode",
    );
    check(
        "begin; create cast (int as date) with function f; select id::date as x, '2020-01-01'::date as y from customers",
        "- | - | x <- customers.id ?UserCode; y",
    );
    check(
        "begin; create cast (int as date) with function f; select id::int as x, id as y from customers",
        "- | - | x = customers.id; y = customers.id",
    );
    check("begin; create table t (); select id::text as x from customers", "- | - | x <- customers.id");
}

#[test]
fn a_procedure_gives_its_outputs_to_the_variables_it_is_called_with() {
    const TELLS: &str = "create procedure tells(inout a text) language plpgsql as \
        $$ begin select email into a from customers; end $$; ";
    let calls = |body: &str, expected: &str| {
        let sql = format!(
            "{TELLS} create procedure around(inout b text) language plpgsql as $$ begin {body} end $$; \
             call around(null)"
        );
        check(&sql, &format!("- | - | {expected}"));
    };
    calls("call tells(b);", "* <- customers.email");
    calls("CALL tells(b); b := 'x' || b;", "* <- customers.email");
    calls("call p();", "*");
    calls("perform 1;", "*");
    let triggers = |body: &str, expected: &str| {
        let sql = format!(
            "{TELLS} create function f() returns trigger language plpgsql as $$ begin {body} return new; end $$; \
             create trigger t before insert on orders for each row execute function f(); \
             insert into orders (id) values (1)"
        );
        assert_eq!(each(&sql, Some(&["public"]), super::fixture::writes), expected, "{body}");
    };
    triggers("call tells(new.note);", " |  |  | orders.id; orders.* <- customers.email, orders.note");
    triggers("call p();", " |  | orders.* | orders.id; orders.*");
}

#[test]
fn aggregates_and_operators_of_a_transaction_are_what_their_functions_are() {
    let made = "create aggregate every_one(text) (sfunc = textcat, stype = text);";
    check(&format!("{made} select every_one(email) as x from customers"), "- | x <- customers.email");
    check(&format!("{made} select every_one(city) as x from customers"), "- | x <- customers.city");
    let reads = "create aggregate looked(int) (sfunc = look_up, stype = text);";
    check(&format!("{reads} select looked(id) as x from orders"), "- | x <- customers.ssn, orders.id");
    let opaque = "create aggregate dark(int) (sfunc = opaque, stype = text);";
    check(&format!("{opaque} select dark(1) as x"), "- | x ?OpaqueFunction");
    let operator = "create operator @@@@ (leftarg = text, rightarg = text, function = textcat);";
    check(
        &format!("{operator} select city @@@@ email as x, city || 'a' as y from customers"),
        "- | x <- customers.city, customers.email; y <- customers.city",
    );
    let reader = "create operator !!!! (rightarg = int, function = look_up);";
    check(&format!("{reader} select !!!! id as x from orders"), "- | x <- customers.ssn, orders.id");
    let less = "create operator < (leftarg = int, rightarg = int, function = look_up);";
    check(
        &format!("{less} select id not between 1 and 2 as x from orders"),
        "- | x <- customers.ssn, orders.id",
    );
    let keeps = "create function keep(t text) returns text language sql as \
        'insert into orders (note) values ($1) returning note'; \
        create operator !!!! (rightarg = text, function = keep);";
    assert_eq!(
        each(&format!("{keeps} select !!!! email from customers"), Some(&["public"]), writes),
        "orders.note |  | orders.note <- customers.email"
    );
}

#[test]
fn a_text_that_an_extension_runs_is_read_where_it_is_a_constant() {
    let shows = |call: &str, expected: &str| {
        check(&format!("select a from {call} as c (a text)"), &format!("a {expected}"));
    };
    shows("crosstab('select city, email from customers')", "<- customers.city, customers.email");
    shows("crosstab('select city from customers', 5)", "<- customers.city");
    shows(
        "crosstab('select city from customers', 'select ssn from customers')",
        "<- customers.city, customers.ssn",
    );
    shows("crosstab('select city' || ' from customers')", "?OpaqueFunction");
    let rows = "xpath_table('id', 'email', 'customers', '/a', 'salary > 5')";
    shows(rows, "<- customers.id, customers.email");
    check_uses(&format!("select a from {rows} as c (a text)"), "customers.salary range");
    // A function of the same name that somebody else made.
    check(
        "create function crosstab(a text) returns setof record language sql as 'select 1'; \
         select a from crosstab('select city from customers') as c (a text)",
        "- | a ?OpaqueFunction",
    );
}

#[test]
fn a_row_that_a_function_returns_whole_is_in_each_of_its_columns() {
    let returns = |queries: &str, expected: &str| {
        let sql = format!(
            "create function spread() returns table (a text, b text) language plpgsql as $$ begin {queries} end $$; \
             select a, b from spread()"
        );
        check(&sql, &format!("- | {expected}"));
    };
    let both = "a <- customers.email, customers.ssn; b <- customers.email, customers.ssn";
    returns(
        "return query select (row(city, id)).* from customers;",
        "a <- customers.id, customers.city; b <- customers.id, customers.city",
    );
    returns("return query select (row(email, ssn)).* from customers;", both);
    check(
        "create function f(a int) returns text language sql as 'select (email_of(a)).*'; select f(1)",
        "- | f <- customers.email",
    );
    returns(
        "return query select city, city from customers; return query select (row(email, ssn)).* from customers;",
        "a <- customers.city, customers.email, customers.ssn; b <- customers.city, customers.email, customers.ssn",
    );
}

#[test]
fn ranges_are_of_the_server_up_to_the_first_type_of_users() {
    let types = [FIRST_USER_OID - 1, FIRST_USER_OID].map(|oid| (oid, TypeShape::Range));
    let catalog = Catalog::new(Contents { types: HashMap::from(types), ..Contents::default() });
    assert_eq!(family(&catalog, FIRST_USER_OID - 1), Family::BuiltIn);
    assert_eq!(family(&catalog, FIRST_USER_OID), Family::Any);
}

#[test]
fn a_snapshot_says_all_there_is_until_a_statement_makes_something() {
    for (sql, is_empty) in [
        ("select 1", true),
        ("insert into orders (note) values ('a')", true),
        ("create table t (a int)", false),
        ("create table t (like defaulted)", false),
        ("create view v as select 1 as a", false),
        ("drop table orders", false),
        ("drop schema archive cascade", false),
        ("alter table orders rename to bills", false),
        ("alter table orders rename column note to text", false),
        ("alter table orders set schema archive", false),
        ("alter function twice rename to thrice", false),
        ("create function f() returns int language sql as 'select 1'", false),
        ("create operator @@@@ (leftarg = text, rightarg = text, function = textcat)", false),
        ("create trigger t after insert on orders for each row execute function f()", false),
        ("create extension x", false),
        ("alter table orders inherit numbers", false),
    ] {
        let mut overlay = Overlay::default();
        for made in &fixture::statements(sql).unwrap()[0].made {
            overlay.learn(made);
        }
        assert_eq!(overlay.is_empty(), is_empty, "{sql}");
    }
}

#[test]
fn a_writer_takes_no_name_by_which_the_server_may_call_it() {
    let refused = |calls_users: bool, sql: &str| {
        let column = Column::new(1, "note", 25);
        let orders = Relation::new(1, "public", "orders", RelationKind::Table, vec![column]);
        let relations = vec![Relation { calls_users, ..orders }];
        let catalog = Catalog::new(Contents { relations, ..Contents::default() });
        let env = Env { catalog: &catalog, path: None, overlay: &Overlay::default() };
        let calm = "create function calm(t text) returns text language sql as 'select $1'";
        let statements = analyse(&format!("{calm}; {sql}"), &env, &classes(&catalog)).unwrap();
        statements.last().unwrap().refusal.as_ref().map(|refusal| refusal.code)
    };
    let writer = |name: &str| {
        let body = "insert into orders (note) values ($1) returning note";
        format!("create or replace function {name}(t text) returns text language sql as '{body}'")
    };
    let loud = writer("loud");
    let waits =
        "create function waits(t text) returns text language plpgsql as $$ begin return loud(t); end $$";
    for sql in [
        writer("calm"),
        writer("lower"),
        format!("{loud}; alter function loud rename to other"),
        format!("{loud}; alter function loud set schema other"),
        format!("{waits}; {loud}"),
    ] {
        let sql = &*sql;
        assert_eq!((refused(true, sql), refused(false, sql)), (Some("hidden-flow"), None), "{sql}");
    }
    let redone = format!("{}; {}", writer("loud"), writer("loud"));
    for sql in [
        &*loud,
        &redone,
        "alter function calm rename to other",
        "alter function calm set schema other",
        "create or replace function calm(t text) returns text language sql as 'select lower($1)'",
    ] {
        assert_eq!(refused(true, sql), None, "{sql}");
    }
}

// The scanner gives no list for a text without tokens, and the daemon ended where it took it for one.
#[test]
fn a_routine_without_a_body_writes_nothing() {
    let catalog = Catalog::new(Contents::default());
    let env = Env { catalog: &catalog, path: None, overlay: &Overlay::default() };
    for body in ["", " ", "\n\t\r\u{b}\u{c}", "-- nothing", "/**/"] {
        for language in ["sql", "plpgsql"] {
            let sql = format!("create procedure p() language {language} as $${body}$$");
            let statements = analyse(&sql, &env, &classes(&catalog)).unwrap();
            assert_eq!(statements[0].refusal, None, "{sql:?}");
        }
    }
}

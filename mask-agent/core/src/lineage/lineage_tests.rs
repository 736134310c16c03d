//! Rulings over a small catalog: customers (email and ssn masked), orders (nothing masked), a view and a
//! function of users.

use std::collections::HashSet;

use super::*;
use crate::{
    catalog::{Column, Contents, Relation},
    policy::Policy,
};

fn relation(oid: u32, schema: &str, name: &str, kind: RelationKind, columns: &[&str]) -> Relation {
    let columns = columns.iter().zip(1..).map(|(name, number)| Column::new(number, name, 25)).collect();
    Relation { has_user_code: name == "triggered", ..Relation::new(oid, schema, name, kind, columns) }
}

fn catalog() -> Catalog {
    use RelationKind::{Table, View};
    let relations = vec![
        relation(20_001, "public", "customers", Table, &["id", "city", "email", "ssn", "balance"]),
        relation(20_002, "public", "orders", Table, &["id", "customer_id", "note", "balance"]),
        relation(20_003, "public", "v_customers", View, &["id", "contact"]),
        relation(20_004, "public", "triggered", Table, &["id", "note"]),
        relation(1_259, "pg_catalog", "pg_class", Table, &["oid", "relname"]),
        relation(12_001, "pg_catalog", "pg_stats", View, &["tablename", "most_common_vals"]),
        relation(12_002, "pg_catalog", "pg_settings", View, &["name", "setting"]),
    ];
    let user_names = HashSet::from(["f".to_owned(), "leak".to_owned(), "===".to_owned()]);
    Catalog::new(Contents { relations, user_names, ..Contents::default() })
}

/// What is ruled for each statement: how far it is trusted, or the code of its refusal.
fn ruled(sql: &str) -> String {
    let catalog = catalog();
    let classes = Policy::zero_config().classify(&catalog);
    let rulings: Vec<_> = match analyse(sql, &catalog, &classes) {
        Err(error) => return format!("{error:?}"),
        Ok(statements) => statements
            .iter()
            .map(|statement| match &statement.refusal {
                Some(refusal) => format!("refuse {}", refusal.code),
                None => format!("{:?}", statement.trust),
            })
            .collect(),
    };
    rulings.join("; ")
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    assert_eq!(ruled(sql), expected, "{sql}");
}

const WRITE: &str = "refuse write-from-sensitive";

#[test]
fn trust_follows_what_is_read() {
    check("", "");
    check("select 1; select id from customers", "Plain; Origins");
    check("select note from orders where id = 1", "Plain");
    check("select relname from pg_class", "Plain");
    check("select upper(email) from public.customers", "Origins");
    check("select 1 order by (select 1 from customers)", "Origins");
    check("select contact from v_customers", "Origins");
    check("select 1 from nobody_knows", "Origins");
    check("select 1 from other.orders", "Origins");
    check("select most_common_vals from pg_stats", "Origins");
    check("with x as (select 1 as a) select a from x", "Plain");
    check("with customers as (select email from customers) select upper(email) from customers", "Origins");
    check("declare c cursor for select upper(email) from customers", "Origins");
    check("declare c cursor for select note from orders", "Plain");
    check("fetch all from c", "Origins");
    check("show server_version", "Plain");
    check("explain select 1 from orders", "Plain");
    check("explain select 1 from customers where email < 'm'", "Origins");
}

#[test]
fn code_of_users_is_not_understood_however_it_is_called() {
    check("select lower(note) from orders", "Plain");
    check("select f()", "Origins");
    check("select other.lower('a')", "Origins");
    check("select pg_catalog.lower('a')", "Plain");
    check("select * from f()", "Origins");
    check("select 1 === 2", "Origins");
    check("select o.leak from orders o", "Origins");
    check("select (o).leak from orders o", "Origins");
    check("select leak from orders", "Plain");
}

#[test]
fn written_values_make_the_description_lie() {
    check("insert into customers (email) values ($1) returning id, email", "Origins");
    check("delete from customers returning email", "Origins");
    check("update customers set email = $1 where id = 1 returning city", "Origins");
    check("update customers set balance = balance + 1 returning balance", "Opaque");
    check("update orders set balance = balance + 1 returning balance", "Plain");
    check("insert into customers (id) select id from orders returning id", "Opaque");
    check("insert into triggered (note) values ('x') returning note", "Opaque");
    let upsert = "insert into customers (id, email) values ($1, $2) on conflict (id) do update set ";
    check(&format!("{upsert} email = excluded.email returning id"), "Origins");
    check(&format!("{upsert} email = $2 returning id"), "Origins");
    check(&format!("{upsert} balance = customers.balance + 1 returning id"), "Opaque");
    check(&format!("{upsert} city = excluded.email"), WRITE);
    check(&format!("{upsert} city = customers.email"), WRITE);
}

#[test]
fn masked_values_are_not_written_where_they_would_show() {
    check("update customers set balance = balance + 1 where email = 'x'", "Origins");
    check("update customers set city = email", WRITE);
    check("update customers set (city, balance) = (select email, 1)", WRITE);
    check("insert into orders (note) values ((select email from customers))", WRITE);
    check("insert into orders (note) select email from customers", WRITE);
    check("insert into orders (note) select city from customers where email = $1", "Origins");
    check("insert into orders (note) select city from customers order by email", "Origins");
    check("insert into orders select * from customers", WRITE);
    check("insert into orders table customers", WRITE);
    check("insert into customers select * from orders", "Origins");
    check("insert into orders (note) select c from customers c", WRITE);
    check("insert into orders (note) select c.row_to_json from customers c", WRITE);
    check("insert into orders (note) select (c).to_jsonb from customers c", WRITE);
    check("insert into orders (note) select contact from v_customers", WRITE);
    check("insert into orders (note) values (f())", WRITE);
    check("insert into orders (note) values (now())", "Plain");
    check("insert into triggered (note) values (now())", "Origins");
    check("select email as x into t from customers", WRITE);
    check("select note as x into t from orders", "Plain");
    check("create table t as select email as x from customers", WRITE);
    check("create table t as select * from orders", "Plain");
    check("create materialized view t as select email as x from customers", WRITE);
    check("explain analyze create table t as select email as x from customers", WRITE);
    check("create view t as select email as x from customers", "Origins");
}

#[test]
fn a_new_name_does_not_carry_a_value_past() {
    check("with x as (select email v from customers) insert into orders (note) select v from x", WRITE);
    check("with x as (select note v from orders) insert into orders (note) select v from x", "Plain");
    check("with x(v) as (select email from customers) update orders set note = v from x", WRITE);
    check(
        "with x as (delete from customers returning email v) insert into orders (note) select v from x",
        WRITE,
    );
    check(
        "with x as (select email v from customers), y as (insert into orders (note) select v from x) select 1",
        WRITE,
    );
    check("update orders set note = v from (select email v from customers) s", WRITE);
    check("update orders set note = v from customers s(a, b, v)", WRITE);
    check("update orders set note = city from customers where email = 'x'", "Origins");
    let merge = "on o.id = s.id when matched then update set note = v";
    check(&format!("merge into orders o using (select email v, id from customers) s {merge}"), WRITE);
    check(&format!("merge into orders o using (select city v, id from customers) s {merge}"), "Origins");
    check("insert into orders (note) select b from (customers cross join orders) j(a, b)", WRITE);
    check("insert into orders (note) select j from (customers cross join orders) j", WRITE);
    check("insert into orders (note) select j from (customers c join customers d using (email) as j)", WRITE);
}

#[test]
fn what_hides_its_statement_is_refused_at_any_depth() {
    check("do $$ begin end $$", "refuse procedure");
    check("call p()", "refuse procedure");
    check("prepare s as select 1", "refuse sql-prepare");
    check("execute s", "refuse sql-prepare");
    check("explain analyze execute s", "refuse sql-prepare");
    check("create table t as execute s", "refuse sql-prepare");
    check("deallocate s", "Plain");
    let trigger = "create trigger g after insert on orders execute function f()";
    check(trigger, "refuse hidden-flow");
    check(&format!("create schema s {trigger}"), "refuse hidden-flow");
    check("create schema s create table t (a int)", "Plain");
}

#[test]
fn a_function_that_may_move_values_is_not_made() {
    const HIDDEN: &str = "refuse hidden-flow";
    let function = |language: &str, body: &str| {
        let sql = format!("create function g(t text) returns int language {language} as $x$ {body} $x$");
        ruled(&sql)
    };
    assert_eq!(function("sql", "select 1"), "Plain");
    assert_eq!(function("sql", "select count(*)::int from orders where note = t -- insert"), "Plain");
    assert_eq!(function("sql", "select 'insert into', \"delete\" from orders"), "Plain");
    assert_eq!(function("'SQL'", "select 1"), "Plain");
    assert_eq!(function("plpgsql", "begin if t = 'a' then return 1; end if; return 2; end"), "Plain");
    assert_eq!(
        function("plpgsql", "declare n int; begin select 1 into n from customers; return n; end"),
        "Plain"
    );
    for body in [
        "insert into orders (note) select email from customers",
        "INSERT into orders (note) values (t)",
        "with x as (update orders set note = t returning 1) select 1",
        "select set_config('standard_conforming_strings', 'off', false)::int",
        "select PG_NOTIFY('a', t)::int",
        "select 1 from dblink('', t)",
        "select 1 from \"pg_read_file\"('x')",
        "select 1 from U&\"pg_read_fil\\0065\"('x')",
        "select 1 into t",
        "merge into orders o using customers c on true when matched then update set note = c.email",
    ] {
        assert_eq!(function("sql", body), HIDDEN, "{body}");
    }
    for body in [
        "begin execute t; return 1; end",
        "begin EXECUTE 'insert ' || t; return 1; end",
        "begin insert into orders (note) values (t); return 1; end",
        "begin call p(); return 1; end",
        "begin create table x as select t; return 1; end",
        "begin notify a, 'x'; return 1; end",
        "begin set local standard_conforming_strings = off; return 1; end",
        "begin return 'not closed; end",
    ] {
        assert_eq!(function("plpgsql", body), HIDDEN, "{body}");
    }
    assert_eq!(function("c", "file"), HIDDEN);
    assert_eq!(function("internal", "pg_read_binary_file"), HIDDEN);
    assert_eq!(function("plpython3u", "return 1"), HIDDEN);
    check("create function g(t text) returns int return 1", "Plain");
    check("create function g(t text) returns int begin atomic select 1; end", "Plain");
    check(
        "create function g(t text) returns int begin atomic insert into orders (note) values (t); end",
        HIDDEN,
    );
    check("create procedure g(t text) language sql as 'delete from orders'", HIDDEN);
    check("create function g(t text) returns int as 'select 1'", HIDDEN);
}

#[test]
fn a_new_relation_hides_no_setting_and_copies_no_masked_column() {
    check("create view v as select * from pg_settings", "refuse unsafe-setting");
    check("create view v as select note from orders", "Plain");
    check("create table t (email text, x text generated always as (lower(email)) stored)", WRITE);
    check("create table t (note text, x text generated always as (lower(note)) stored)", "Plain");
    check("create table t (email text check (email <> ''), x text default 'a')", "Plain");
}

#[test]
fn copy_lets_data_in_but_not_out() {
    check("copy customers to stdout", "refuse copy-sensitive");
    check("copy (select id from customers) to stdout", "refuse copy-sensitive");
    check("copy orders to stdout", "Plain");
    check("copy (select note from orders) to stdout", "Plain");
    check("copy customers from stdin", "Origins");
    check("copy orders to '/tmp/x'", "refuse copy-file");
    check("copy orders from program 'x'", "refuse copy-file");
}

#[test]
fn functions_that_reach_past_the_statement_are_refused() {
    for call in [
        "query_to_xml('select 1', true, true, '')",
        "pg_catalog.lo_get(1)",
        "pg_read_file('x')",
        "pg_show_all_file_settings()",
        "crosstab4('select 1')",
        "('x'::text).pg_read_file",
    ] {
        check(&format!("select {call}"), "refuse dangerous-function");
    }
    check("select orders.lo_orderkey from orders", "Plain");
    check("select set_config('a.b', 'c', false)", "Plain");
    check("select set_config('a.b', email, false) from customers", "refuse side-channel");
    check("select pg_notify('a', email) from customers", "refuse side-channel");
    check("select pg_notify('a', note) from orders", "Plain");
    check("select setseed(length(email) / 100.0) from customers", "refuse side-channel");
    check("select pg_create_physical_replication_slot(ssn) from customers", "refuse side-channel");
    check("select setseed(0.5)", "Plain");
}

#[test]
fn settings_that_change_the_lexer_are_refused() {
    const UNSAFE: &str = "refuse unsafe-setting";
    check("set client_encoding = 'UTF8'; set names 'utf-8'; reset client_encoding", "Plain; Plain; Plain");
    check("set client_encoding = 'SJIS'", UNSAFE);
    check("set standard_conforming_strings = on", "Plain");
    check("set standard_conforming_strings = off", UNSAFE);
    check("select set_config('standard_conforming_strings', 'on', false)", "Plain");
    check("select set_config('Standard_Conforming_Strings', 'off', false)", UNSAFE);
    check("select set_config('client_encoding', $1, false)", UNSAFE);
    check("update pg_settings set setting = 'off' where name = 'standard_conforming_strings'", UNSAFE);
    check("select setting from pg_settings", "Plain");
    check("set search_path = other", "Plain");
}

#[test]
fn a_class_is_not_lost_by_renaming() {
    check("alter table customers rename email to note", "refuse reclassify");
    check("alter table customers rename city to town", "Origins");
    check("alter table orders rename note to remark", "Plain");
    check("alter table customers rename to people", "refuse reclassify");
    check("alter table customers set schema other", "refuse reclassify");
    check("alter table orders rename to purchases", "Plain");
    check("alter schema public rename to other", "refuse reclassify");
    check("alter schema empty rename to other", "Plain");
    check("alter table customers add x text generated always as (email) stored", WRITE);
    check("alter table customers add x text generated always as (city) stored", "Origins");
    check("alter table customers alter city type text using email", WRITE);
    check("alter table customers add check (email <> '')", "Origins");
    check("alter table customers add created timestamptz default now()", "Origins");
    check("create index on customers (lower(email))", "Origins");
}

#[test]
fn what_is_not_known_to_be_harmless_changes_the_catalog() {
    let effect = |sql: &str| {
        let classes = Policy::zero_config().classify(&catalog());
        analyse(sql, &catalog(), &classes).unwrap()[0].effect
    };
    for sql in [
        "create table t (a int)",
        "select 1 as a into t",
        "explain analyze create table t as select 1",
        "create operator === (function = f)",
        "create cast (text as int) with function f(text)",
        "create extension dblink",
        "create domain d as text",
        "alter table orders set schema other",
    ] {
        assert_eq!(effect(sql), Effect::Catalog, "{sql}");
    }
    for sql in ["set a.b = 1", "discard all", "select SET_CONFIG('a.b', 'c', false)"] {
        assert_eq!(effect(sql), Effect::Settings, "{sql}");
    }
    for sql in ["begin", "select 1", "vacuum", "listen a", "truncate orders", "copy orders from stdin"] {
        assert_eq!(effect(sql), Effect::None, "{sql}");
    }
}

#[test]
fn depth_is_an_error_and_never_an_overflow() {
    let nested = |head: &str, tail: &str, count: usize| {
        let sql = format!("select {}true{}", head.repeat(count), tail.repeat(count));
        let stack = std::thread::Builder::new().stack_size(2 << 20);
        stack.spawn(move || ruled(&sql)).unwrap().join().unwrap()
    };
    for (head, tail) in [
        ("not ", ""),
        ("- ", ""),
        ("1 + ", ""),
        ("'a' || ", ""),
        ("case when ", " then true end"),
        ("(select ", ")"),
        ("array[", "]"),
        ("f(", ")"),
        ("1 union select ", ""),
        ("", "::text"),
        ("", " in (select true"),
    ] {
        for count in [1_000, 10_000, 100_000] {
            let ruling = nested(head, tail, count);
            assert!(ruling == "TooDeep" || ruling.starts_with("Syntax"), "{head}{tail} {count}: {ruling}");
        }
    }
    // Brackets alone leave nothing in the tree.
    assert_eq!(nested("(", ")", 1_000), "Plain");
    assert_eq!(nested("(", ")", 100_000), "TooDeep");
    check(&format!("select '{}'", "(".repeat(100_000)), "Plain");
    check(&format!("select 1 {}", "and true ".repeat(10_000)), "Plain");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    assert!(ruled("selec 1").starts_with("Syntax"));
    assert!(ruled("select 1\0").starts_with("Syntax"));
    assert_eq!(ruled(&" ".repeat(SQL_BYTES_MAX + 1)), "TooLong");
}

/// A chain of a few dozen operators was refused as too deep.
#[test]
fn long_statements_are_read_to_the_end() {
    let long = |count: usize| {
        check(&format!("select id{} from orders", " || note".repeat(count)), "Plain");
        check(&format!("select id{} from customers", " || email".repeat(count)), "Origins");
        check(&format!("select id from orders{}", " union all select id from orders".repeat(count)), "Plain");
        check(&format!("select id from orders where id in ({}1)", "1, ".repeat(count * 100)), "Plain");
        check("select email from customers", "Origins");
    };
    let roomy = std::thread::Builder::new().stack_size(2 * STACK_BYTES);
    roomy.spawn(move || [40, 100, 400].into_iter().for_each(long)).unwrap().join().unwrap();
}

//! What is refused whatever the policy says, what changes the catalog, and what cannot be read.

use super::{
    fixture::{check_judged as check, each, judged as ruled, statements},
    *,
};

#[test]
fn what_hides_its_statement_is_refused_at_any_depth() {
    const HIDDEN: &str = "refuse hidden-flow";
    let trigger = "create trigger g after insert on orders execute function f()";
    check(trigger, HIDDEN);
    check(&format!("create schema s {trigger}"), HIDDEN);
    check("create schema s create table t (a int)", "sent");
    check("create rule r as on insert to orders do instead nothing", "sent");
    check("create rule r as on insert to orders where new.id > 5 do instead nothing", "sent");
    check("create rule r as on insert to orders where twice(new.id) > 5 do instead nothing", HIDDEN);
    check("create rule r as on insert to orders do also insert into items values (1)", HIDDEN);
    check("create rule r as on insert to orders do also select email from customers", HIDDEN);
    check("create rule \"_RETURN\" as on select to orders do instead select * from customers", HIDDEN);
    check("create event trigger e on ddl_command_end execute function f()", HIDDEN);
    check("create table t (a int default twice(1))", "sent");
    check("create table t (a int default abs(1))", "sent");
    check("create table t (a text references customers (ssn) on update cascade)", HIDDEN);
    check("alter table orders add foreign key (note) references customers (ssn) on update cascade", HIDDEN);
    check("create table t (a text references customers (ssn) on delete cascade)", "sent");
    check("create table t (a int references customers (id) on update cascade)", "sent");
    check("create table t (a text default email_of(1))", HIDDEN);
    check("create table t (a text default look_up(1))", HIDDEN);
    check("create table t (a text default dynamic(1))", HIDDEN);
    check("create table t (a int default kept(1))", HIDDEN);
    check("create table t (a int default elsewhere.f(1))", HIDDEN);
    check("create table t (a int check (twice(a) > 1))", HIDDEN);
    check("alter table orders alter note set default email_of(1)", HIDDEN);
    check("alter table orders add more int default twice(1)", "sent");
    check("alter table orders add more text default email_of(1)", HIDDEN);
    check("alter table orders alter note type text using email_of(1)", HIDDEN);
    check("alter table orders alter note type text using orders::text", "sent");
}

#[test]
fn a_domain_changes_functions_only_where_it_calls_them() {
    let said = |check: &str| {
        let sql = format!("create domain d as text check ({check}); select upper('a')");
        each(&sql, Some(&["public"]), fixture::outputs)
    };
    assert_eq!(said("length(value) < 3"), "- | upper");
    assert_eq!(said("email_of(1) = value"), "- | upper ?UnknownFunction");
    assert_eq!(said("value === 'a'"), "- | upper ?UnknownFunction");
}

#[test]
fn a_domain_has_no_default_that_calls_a_function_of_users() {
    const HIDDEN: &str = "refuse hidden-flow";
    for default in ["'x'", "lower('x')", "now()::text", "current_user::text", "pg_catalog.upper('x')"] {
        check(&format!("create domain d as text default {default}"), "sent");
        check(&format!("alter domain d set default {default}"), "sent");
    }
    for default in ["email_of(1)", "public.email_of(1)", "lower(email_of(1))", "other.nobody_knows()"] {
        check(&format!("create domain d as text check (value <> '') default {default}"), HIDDEN);
        check(&format!("alter domain d set default {default}"), HIDDEN);
    }
    check("create domain d as text check (twice(1) = length(value)) default 'x'", "sent");
    check("create domain d as text check (email_of(1) = value) default 'x'", HIDDEN);
    check("alter domain d drop default", "sent");
    let made = "create function f() returns text language sql as 'select email from customers';";
    let renamed = "alter function email_of(int) rename to other_of;";
    let last = |sql: String| ruled(&sql).ends_with("hidden-flow");
    assert!(last(format!("{made} create domain d as text default f()")));
    assert!(last(format!("{renamed} create domain d as text default other_of(1)")));
    assert!(!last(format!("{renamed} create domain d as text default upper('x')")));
}

#[test]
fn a_type_of_users_is_no_function() {
    check(
        "create table t (a other.mood default 'x', b public.word not null default 'y'::public.word)",
        "sent",
    );
    check("alter table orders add a other.mood default 'x'", "sent");
    check("create table t (a odd default 'x')", "refuse hidden-flow");
}

#[test]
fn what_moves_no_value_of_a_view_is_sent() {
    check("alter view rich owner to clerk", "sent");
    check("alter foreign table remote owner to clerk", "sent");
    check("alter foreign table remote alter note type varchar(9)", "refuse write-from-sensitive");
    check("alter view rich set (security_barrier)", "sent");
    check("alter view rich alter city set default 'a'", "sent");
    check("alter view rich alter city set default email_of(1)", "refuse hidden-flow");
    check("alter index whole attach partition part", "sent");
    check("alter sequence serial owner to clerk", "sent");
}

/// What a function of this body and a trigger of it say.
fn triggered(on: &str, body: &str) -> String {
    let sql = format!(
        "create function f() returns trigger language plpgsql as $x$ begin {body} end $x$;
        create trigger g before insert or update on {on} for each row execute function f()"
    );
    let said = ruled(&sql);
    let Ok(statements) = statements(&sql) else { return said };
    let writes: Vec<_> = statements.iter().map(fixture::writes).filter(|writes| !writes.is_empty()).collect();
    [said, writes.join(" | ")].join(" ").trim_end().to_owned()
}

#[test]
fn a_trigger_is_made_where_all_it_does_is_read() {
    const SENT: &str = "sent; sent";
    const REFUSED: &str = "sent; refuse hidden-flow";
    assert_eq!(
        triggered("customers", "new.city := upper(new.city); return new;"),
        "sent; sent customers.city <- customers.city"
    );
    assert_eq!(triggered("orders", "return null;"), SENT);
    // What it puts where is remembered before it is there.
    assert_eq!(
        triggered("customers", "new.city := new.email; return new;"),
        "sent; sent customers.city <- customers.email"
    );
    assert_eq!(
        triggered("customers", "insert into items (label) values (old.ssn || 'x'); return new;"),
        "sent; sent items.label <- customers.ssn"
    );
    assert_eq!(
        triggered("orders", "new.note := now(); new.id := new.id + 1; return new;"),
        "sent; sent orders.note; orders.id <- orders.id"
    );
    for body in [
        "new.note := (select email from customers limit 1); return new;",
        "select ssn into new.note from customers; return new;",
        "raise notice '%', (select email from customers limit 1); return new;",
        "new.note := email_of(1); return new;",
        "new.note := dynamic(1); return new;",
        "perform pg_advisory_lock(new.id); return new;",
        "perform set_config('a.b', new.note, false); return new;",
    ] {
        assert_eq!(triggered("orders", body), REFUSED, "{body}");
    }
    for body in [
        "execute 'select 1'; return new;",
        "create table x (a int); return new;",
        "set local a.b = 'c'; return new;",
    ] {
        assert_eq!(triggered("orders", body), "refuse hidden-flow; refuse hidden-flow", "{body}");
    }
    // Whatever row it returns is the one that is written.
    assert_eq!(
        triggered("customers", "return row(1, old.email, '', '', 0);"),
        "sent; sent customers.* <- customers.email"
    );
    check(
        "create trigger g before update on orders for each row when (twice(new.id) > 1) execute function f()",
        "refuse hidden-flow",
    );
    check(
        "create trigger g before update on orders for each row execute function suppress_redundant_updates_trigger()",
        "sent",
    );
    check(
        "create trigger g before update on orders for each row execute function opaque()",
        "refuse hidden-flow",
    );
}

#[test]
fn a_trigger_of_this_transaction_fires_in_it() {
    let made = "create table log (entry text); create table held (val text); \
        create function f() returns trigger language plpgsql as \
        $x$ begin insert into log values (new.val); return new; end $x$; \
        create trigger g after insert on held for each row execute function f();";
    let said = each(
        &format!("{made} insert into held select ssn from customers"),
        Some(&["public"]),
        fixture::writes,
    );
    assert_eq!(
        said,
        " |  |  | new log.entry | new held.val <- customers.ssn; new log.entry <- customers.ssn"
    );
}

#[test]
fn what_is_put_into_a_partition_of_this_transaction_is_in_its_parent() {
    let sql = "create table whole (id int, val text) partition by range (id); \
        create table part partition of whole default; insert into part select id, email from customers; \
        select val from whole";
    fixture::check(sql, "- | - | - | val <- customers.email");
}

#[test]
fn what_a_transaction_alters_is_followed_under_its_new_name() {
    let last = |sql: &str| {
        let statements = fixture::statements(sql).unwrap();
        fixture::outputs(statements.last().unwrap())
    };
    assert_eq!(last("alter table orders rename to things; select note from things"), "note = orders.note");
    assert_eq!(
        last("alter table orders set schema other; select note from other.orders"),
        "note = orders.note"
    );
    assert_eq!(
        last(
            "create table t (a text); alter table t rename a to b; insert into t (b) select email from customers; select b from t"
        ),
        "b <- customers.email"
    );
    assert_eq!(
        last(
            "create table t as select city as a, id as c from customers; alter table t rename a to b; select b from t"
        ),
        "b = customers.city"
    );
    assert_eq!(
        last("create table t (note text); alter table orders inherit t; select note from t"),
        "note = orders.note"
    );
    assert_eq!(last("create table t (like orders); select note from t"), "note");
    assert_eq!(
        last("alter table orders alter note type text using id::text; select note from orders"),
        "note <- orders.id, orders.note"
    );
    // What was renamed takes what is put there with it, behind views as well.
    let filled = "alter table orders rename note to n; update orders set n = email from customers";
    let statements = fixture::statements(filled).unwrap();
    let writes = fixture::writes(statements.last().unwrap());
    assert!(writes.contains("orders.note <- ") && writes.contains("new orders.n <- "), "{writes}");
}

#[test]
fn a_name_that_a_transaction_gave_or_took_may_be_found_further_out() {
    let around = |made: &str| {
        let sql = format!(
            "{made}; select (select note from orders limit 1) from (select email as note from customers) c"
        );
        let statements = fixture::statements(&sql).unwrap();
        fixture::outputs(statements.last().unwrap())
    };
    assert!(!around("select 1").contains("customers.email"));
    assert!(around("alter table orders rename note to remark").contains("customers.email"));
    let added = "savepoint s; alter table orders add zz text; rollback to savepoint s; \
        select (select zz from orders limit 1) from (select email as zz from customers) c";
    let statements = fixture::statements(added).unwrap();
    assert!(fixture::outputs(statements.last().unwrap()).contains("customers.email"));
}

#[test]
fn what_is_made_of_other_columns_holds_what_they_are_filled_with_later() {
    let last = |sql: &str| {
        let statements = fixture::statements(sql).unwrap();
        fixture::outputs(statements.last().unwrap())
    };
    let made = "create table t (a text, b text generated always as (upper(a)) stored, c text);";
    let filled = "insert into t (a) select email from customers;";
    assert!(last(&format!("{made} {filled} select b from t")).contains("customers.email"));
    for returned in [
        format!("{made} insert into t (a) select email from customers returning b"),
        format!("{made} update t set a = email from customers returning b"),
        format!(
            "{made} merge into t using customers on false when not matched then insert (a) values (email) returning b"
        ),
        "alter table orders add b text generated always as (upper(note)) stored;
         insert into orders (note) select email from customers returning b"
            .to_owned(),
    ] {
        assert!(last(&returned).contains("customers.email"), "{returned}");
    }
    assert_eq!(
        last(&format!("{made} insert into t (a) select city from customers returning b, c")),
        "b <- customers.city; c"
    );
    assert_eq!(last(&format!("{made} {filled} select c from t")), "c");
    let view = "create table t (a text); create view v as select a from t;";
    assert!(last(&format!("{view} {filled} select a from v")).contains("customers.email"));
    assert_eq!(last(&format!("{view} select a from v")), "a");
    let matview = "create table t (a text); create materialized view v as select a from t;";
    assert!(
        last(&format!("{matview} {filled} refresh materialized view v; select a from v"))
            .contains("customers.email")
    );
}

#[test]
fn a_function_that_may_move_values_is_not_made() {
    const HIDDEN: &str = "refuse hidden-flow";
    let function = |language: &str, body: &str| {
        let sql = format!("create function g(t text) returns int language {language} as $x$ {body} $x$");
        ruled(&sql)
    };
    assert_eq!(function("sql", "select 1"), "sent");
    assert_eq!(function("sql", "select count(*)::int from orders where note = t -- insert"), "sent");
    assert_eq!(function("sql", "select 'insert into', \"delete\" from orders"), "sent");
    assert_eq!(function("'SQL'", "select 1"), "sent");
    assert_eq!(function("plpgsql", "begin if t = 'a' then return 1; end if; return 2; end"), "sent");
    assert_eq!(
        function("plpgsql", "declare n int; begin select 1 into n from customers; return n; end"),
        "sent"
    );
    for body in [
        "insert into orders (note) select email from customers",
        "INSERT into orders (note) values (t); select 1",
        "with x as (update orders set note = t returning 1) select 1",
        "select PG_NOTIFY('a', t)::int",
        "merge into orders o using customers c on true when matched then update set note = c.email",
    ] {
        assert_eq!(function("sql", body), "sent", "{body}");
    }
    for body in [
        "select set_config('standard_conforming_strings', 'off', false)::int",
        "select PG_NOTIFY('a', t)::int, dblink('a')",
        "select 1 from dblink('', t)",
        "select 1 from \"pg_read_file\"('x')",
        "select 1 from U&\"pg_read_fil\\0065\"('x')",
        "select 1 into t",
    ] {
        assert_eq!(function("sql", body), HIDDEN, "{body}");
    }
    for body in [
        "begin execute t; return 1; end",
        "begin EXECUTE 'insert ' || t; return 1; end",
        "begin insert into orders (note) values (t); execute t; return 1; end",
        "begin create table x as select t; return 1; end",
        "begin notify a, 'x'; return 1; end",
        "begin set local standard_conforming_strings = off; return 1; end",
        "begin return 'not closed; end",
    ] {
        assert_eq!(function("plpgsql", body), HIDDEN, "{body}");
    }
    for body in ["begin insert into orders (note) values (t); return 1; end", "begin call p(); return 1; end"]
    {
        assert_eq!(function("plpgsql", body), "sent", "{body}");
    }
    assert_eq!(function("c", "file"), HIDDEN);
    assert_eq!(function("internal", "pg_read_binary_file"), HIDDEN);
    assert_eq!(function("plpython3u", "return 1"), HIDDEN);
    check("create function g(t text) returns int return 1", "sent");
    check("create function g(t text) returns int begin atomic select 1; end", "sent");
    check("create function g(t text) returns int set work_mem = '1MB' return 1", "sent");
    check(
        "create procedure g() set work_mem = '1MB' begin atomic insert into orders (note) values ('a'); end",
        HIDDEN,
    );
    check("create procedure g() begin atomic update pg_settings set setting = 'off'; end", HIDDEN);
    check(
        "create function g(t text) returns int begin atomic insert into orders (note) values (t); end",
        "sent",
    );
    check("create procedure g(t text) language sql as 'delete from orders'", "sent");
    check(
        "create function g(t text) returns int language sql set standard_conforming_strings = off as 'select 1'",
        "refuse unsafe-setting",
    );
    check("create function g(t text) returns int as 'select 1'", HIDDEN);
}

#[test]
fn a_new_relation_hides_no_setting_and_copies_no_masked_column() {
    check("create view v as select * from pg_settings", "refuse unsafe-setting");
    check("create view v as select note from orders", "sent");
    check("create table t (email text, x text generated always as (lower(email)) stored)", "sent");
    check(
        "alter table t add x text generated always as (lower(email)) stored",
        "refuse write-from-sensitive",
    );
    check("create table t (note text, x text generated always as (lower(note)) stored)", "sent");
    check("create table t (x text generated always as (lower(note)) stored) inherits (fresh)", "sent");
    check("create table t (email text check (email <> ''), x text default 'a')", "sent");
}

#[test]
fn copy_is_refused_where_it_reaches_files_of_the_server() {
    check("copy customers to stdout", "sent");
    check("copy orders from stdin", "sent");
    check("copy orders to '/tmp/x'", "refuse copy-file");
    check("copy orders from program 'x'", "refuse copy-file");
}

#[test]
fn functions_that_reach_past_the_statement_are_refused() {
    for call in [
        "query_to_xml('select 1', true, true, '')",
        "pg_catalog.lo_import('x')",
        "pg_read_file('x')",
        "pg_show_all_file_settings()",
        "crosstab4('select 1')",
        "('x'::text).pg_read_file",
    ] {
        check(&format!("select {call}"), "refuse dangerous-function");
    }
    check("select orders.lo_orderkey from orders", "sent");
    check("select set_config('a.b', 'c', false)", "sent");
    check("select setseed(0.5)", "sent");
}

#[test]
fn settings_that_change_the_lexer_are_refused() {
    const UNSAFE: &str = "refuse unsafe-setting";
    check("set client_encoding = 'UTF8'; set names 'utf-8'; reset client_encoding", "sent; sent; sent");
    check("set client_encoding = 'SJIS'", UNSAFE);
    check("set standard_conforming_strings = on", "sent");
    check("set standard_conforming_strings = off", UNSAFE);
    check("select set_config('standard_conforming_strings', 'on', false)", "sent");
    check("select set_config('Standard_Conforming_Strings', 'off', false)", UNSAFE);
    check("select set_config('client_encoding', $1, false)", UNSAFE);
    check("update pg_settings set setting = 'off' where name = 'standard_conforming_strings'", UNSAFE);
    check("select setting from pg_settings", "sent");
    check("set search_path = other", "sent");
    let named_by_row = |value: &str| {
        format!(
            "select set_config(name, {value}, false) from pg_settings where name = 'restrict_nonsystem_relation_kind'"
        )
    };
    check(&named_by_row("'view, foreign-table'"), "sent");
    check(&named_by_row("'view'"), "sent");
    for value in ["'off'", "'S,JIS'", "'view, off'", "'view,'", "''", "setting", "$1", "null"] {
        check(&named_by_row(value), UNSAFE);
    }
    let made = |name: &str, value: &str| {
        format!("create table t (a text default set_config({name}, {value}, false))")
    };
    check(&made("'client_encoding'", "'UTF8'::text"), "sent");
    check(&made("'a.b'", "'off'"), "sent");
    check(&made("'standard_conforming_strings'", "'off'"), UNSAFE);
    check(&made("'standard_conforming_strings'::text", "'off'"), UNSAFE);
    check(&made("'standard_conforming' || '_strings'", "'off'"), UNSAFE);
    check(
        "create table t as with x as (update pg_settings set setting = 'off' returning name) select name from x",
        UNSAFE,
    );
}

#[test]
fn a_table_of_this_transaction_is_altered_where_no_value_leaves_its_column() {
    const MOVED: &str = "refuse write-from-sensitive";
    check("alter table fresh add constraint f_uniq unique (email, note)", "sent");
    check(
        "alter table fresh add foreign key (id) references customers (id) deferrable initially deferred",
        "sent",
    );
    check(
        "alter table fresh add column email text default 'x' not null, add made timestamptz default now()",
        "sent",
    );
    check("alter table fresh alter email type varchar(9), drop column note", "sent");
    check("alter table fresh alter note type text using email", MOVED);
    check("alter table fresh alter note type text using fresh::text", MOVED);
    check("alter table fresh alter note type text using other", MOVED);
    check("alter table fresh add x text generated always as (lower(other)) stored", MOVED);
    check("alter table orders inherit fresh", MOVED);
    check("alter table fresh inherit orders", MOVED);
    check("alter table orders attach partition fresh default", MOVED);
    check("alter table fresh alter note options (set column_name 'email')", "refuse hidden-flow");
    check("alter foreign table fresh options (set table_name 'customers')", "refuse hidden-flow");
}

#[test]
fn a_class_is_not_lost_by_renaming() {
    check("alter table customers rename email to note", "refuse reclassify");
    check("alter table customers rename city to town", "sent");
    // Somebody may have given it that name a moment ago.
    check("alter table orders rename email to note", "refuse reclassify");
    check("alter table orders rename nothing to something", "sent");
    check("alter table orders rename note to remark", "sent");
    check("alter table customers rename to people", "refuse reclassify");
    check("alter table customers set schema other", "refuse reclassify");
    check("alter table orders rename to purchases", "sent");
    check("alter schema public rename to other", "refuse reclassify");
    check("alter schema empty rename to other", "sent");
    check(
        "alter table customers add x text generated always as (email) stored",
        "refuse write-from-sensitive",
    );
    check("alter table customers add x text generated always as (city) stored", "sent");
    check("alter table customers alter city type text using email", "refuse write-from-sensitive");
    check("alter table customers add check (email <> '')", "sent");
    check("alter table customers add created timestamptz default now()", "sent");
    check("create index on customers (lower(email))", "sent");
}

#[test]
fn what_is_not_known_to_be_harmless_changes_the_catalog() {
    let effect = |sql: &str| statements(sql).unwrap()[0].effect;
    for sql in [
        "create table t (a int)",
        "select 1 as a into t",
        "explain analyze create table t as select 1",
        "create operator === (function = f)",
        "create cast (text as int) with function f(text)",
        "create extension dblink",
        "create domain d as text",
        "alter table orders set schema other",
        // Rows that are written run the function from now on.
        "create index on orders (twice(id))",
    ] {
        assert_eq!(effect(sql), Effect::Catalog, "{sql}");
    }
    for sql in [
        "set a.b = 1",
        "discard all",
        "select SET_CONFIG('a.b', 'c', false)",
        "copy (select SET_CONFIG('a.b', 'c', false)) to stdout",
        "copy (select twice(1)) to stdout",
        "copy triggered from stdin",
    ] {
        assert_eq!(effect(sql), Effect::Settings, "{sql}");
    }
    assert_eq!(effect("create index on orders (id)"), Effect::None);
    for sql in ["begin", "select 1", "vacuum", "listen a", "truncate orders", "copy orders from stdin"] {
        assert_eq!(effect(sql), Effect::None, "{sql}");
    }
}

#[test]
fn what_is_written_runs_triggers_of_heirs_as_well() {
    for (sql, runs) in [
        ("truncate triggered", true),
        ("truncate only orders, public.triggered", true),
        ("truncate orders cascade", true),
        ("truncate archive.twin", true),
        ("update archive.twin set note = 'a'", true),
        ("copy archive.twin from stdin", true),
        ("update triggers_view set was = 'a'", true),
        ("delete from orders", false),
        ("truncate orders", false),
        ("lock triggered", false),
    ] {
        let statement = &statements(sql).unwrap()[0];
        assert_eq!(statement.sets_path, runs.then_some(None), "{sql}");
        assert_eq!(statement.effect == Effect::Settings, runs, "{sql}");
    }
    // What is run beside a statement may quote what it likes.
    let quotes = |sql: &str| statements(sql).unwrap()[0].may_quote;
    assert!(quotes("lock triggered") && !quotes("lock orders"));
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
            // How far the parser goes depends on where the stack lies that is made for it.
            let fits = count == 1_000 && matches!(&*ruling, "sent" | "TooDeep");
            assert!(
                fits || ruling == "TooDeep" || ruling.starts_with("Syntax"),
                "{head}{tail} {count}: {ruling}"
            );
        }
    }
    // Brackets alone leave nothing in the tree.
    assert_eq!(nested("(", ")", 1_000), "sent");
    assert_eq!(nested("(", ")", 100_000), "TooDeep");
    check(&format!("select '{}'", "(".repeat(100_000)), "sent");
    check(&format!("select 1 {}", "and true ".repeat(10_000)), "sent");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    assert!(ruled("selec 1").starts_with("Syntax"));
    assert!(ruled("select 1\0").starts_with("Syntax"));
    assert_eq!(ruled(&" ".repeat(SQL_BYTES_MAX + 1)), "TooLong");
    assert_eq!(ruled(&" ".repeat(SQL_BYTES_MAX)), "");
}

/// A chain of a few dozen operators was refused as too deep.
#[test]
fn long_statements_are_read_to_the_end() {
    let long = |count: usize| {
        check(&format!("select id{} from orders", " || note".repeat(count)), "sent");
        check(&format!("select id{} from customers", " || email".repeat(count)), "sent");
        check(&format!("select id from orders{}", " union all select id from orders".repeat(count)), "sent");
        check(&format!("select id from orders where id in ({}1)", "1, ".repeat(count * 100)), "sent");
        check("select email from customers", "sent");
    };
    let roomy = std::thread::Builder::new().stack_size(2 * STACK_BYTES);
    roomy.spawn(move || [40, 100, 400].into_iter().for_each(long)).unwrap().join().unwrap();
}

//! What is seen of a statement by more than its rows: that something in it was run.

use super::fixture::{check_uses, each, uses};

#[test]
fn whether_something_that_others_see_is_run_is_a_question() {
    for sql in [
        "select case when ssn > '5' then pg_current_xact_id()::text end from customers",
        "select case when ssn > '5' then txid_current() end from customers",
        "select case when ssn > '5' then 1 else pg_cancel_backend(4)::int end from customers",
        "select ssn > '5' and pg_terminate_backend(4) from customers",
        "select ssn > '5' or pg_reload_conf() from customers",
        "select coalesce(nullif(ssn, '5'), txid_current()::text) from customers",
        "select ssn between '5' and txid_current()::text from customers",
        "select (ssn, 1) > ('5', txid_current()) from customers",
        "select ssn > any (select txid_current()::text) from customers",
        "select pg_cancel_backend(nullif(length(ssn), 5)) from customers",
        "select case when ssn > '5' then (select count(*) from orders) end from customers",
        "select case when ssn > '5' then nobodys(1) end from customers",
        "select max(case when ssn > '5' then pg_stat_clear_snapshot()::text end) from customers",
        "update orders set note = case when ssn > '5' then txid_current()::text end from customers",
    ] {
        let asked = each(sql, Some(&["public"]), uses);
        assert!(asked.contains("customers.ssn function"), "{sql}: {asked}");
        let plain = sql.replace("ssn", "city");
        assert_eq!(each(&plain, Some(&["public"]), uses), "", "{plain}");
    }
    for sql in [
        "select case when ssn > '5' then 'x' end from customers",
        "select ssn, txid_current(), pg_backend_pid() from customers",
        "select case when city > '5' then txid_current()::text end, ssn from customers",
        "select case when ssn > '5' then current_setting('a.b') end from customers",
        "select case when ssn is null then txid_current() end from customers",
        "select upper(ssn), (select count(*) from orders) from customers",
        "select coalesce(upper(ssn), city), now(), random() from customers",
    ] {
        check_uses(sql, "");
    }
    check_uses(
        "select case ssn when '5' then pg_cancel_backend(4) end from customers",
        "customers.ssn equality",
    );
    check_uses("select ssn in (city, txid_current()::text) from customers", "customers.ssn equality");
    check_uses("select id from customers where ssn = '5' and txid_current() > 0", "customers.ssn equality");
}

#[test]
fn a_function_that_speaks_tells_that_it_was_called() {
    let speaks = |body: &str, sql: &str| {
        let sql = format!(
            "create function says(v text) returns int language plpgsql strict as $$ begin {body} return 1; end $$; {sql}"
        );
        each(&sql, Some(&["public"]), uses).trim_start_matches(" | ").to_owned()
    };
    for body in
        ["raise notice 'a';", "raise notice '%', 5;", "perform txid_current();", "execute 'select 1';"]
    {
        for call in [
            "select case when ssn > '5' then says('a') end from customers",
            "select says(nullif(ssn > '5', false)::text) from customers",
        ] {
            let asked = speaks(body, call);
            assert!(asked.contains("customers.ssn function"), "{body} {call}: {asked}");
        }
        assert_eq!(speaks(body, "select says(city), ssn from customers"), "", "{body}");
    }
    assert_eq!(speaks("", "select case when ssn > '5' then says('a') end from customers"), "");
}

#[test]
fn whether_a_block_defines_something_is_a_question() {
    for made in [
        "create type tone as enum ('calm')",
        "create extension if not exists fuzzystrmatch",
        "alter table orders add column if not exists eight int default 0",
        "create table if not exists eight (id int)",
    ] {
        let block = |column: &str| {
            format!(
                "do $$ declare v text; begin select {column} into v from customers where id = 1;
                 while length(v) > 5 loop {made}; v := ''; end loop; end $$"
            )
        };
        let asked = each(&block("ssn"), Some(&["public"]), uses);
        assert!(asked.contains("customers.ssn function"), "{made}: {asked}");
        assert_eq!(each(&block("city"), Some(&["public"]), uses), "", "{made}");
    }
}

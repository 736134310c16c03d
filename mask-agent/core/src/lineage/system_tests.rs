//! What is refused of the server's own relations, and of those of other servers.

use super::fixture::{check_judged as check, judged as ruled};

#[test]
fn catalogs_are_not_written_to() {
    const REFUSED: &str = "refuse catalog-write";
    for write in [
        "update pg_class set relname = 'x' where relname = 'customers'",
        "insert into pg_catalog.pg_class (relname) values ('x')",
        "delete from pg_class where relname = 'customers'",
        "merge into pg_class c using orders o on c.oid = o.id when matched then delete",
        "with w as (delete from pg_class returning oid) select oid from w",
        "prepare p as delete from pg_class",
        "explain analyze delete from pg_class",
        "copy pg_class from stdin",
        "do $$ begin delete from pg_class; end $$",
        "insert into pg_database (datconnlimit) values (5)",
        "update pg_database set datconnlimit = 5, oid = 6",
        "update pg_database set datconnlimit = (select salary from customers where id = 1)",
        "update pg_database d set datconnlimit = 5 from customers c where c.salary > d.oid",
    ] {
        check(write, REFUSED);
    }
    check("create view v as select * from pg_class; delete from v", "sent; refuse catalog-write");
    check(
        "create view v as select oid::text as x from pg_class; delete from v",
        "sent; refuse catalog-write",
    );
    check(
        "create function g() returns int language sql as 'delete from pg_class; select 1'",
        "refuse hidden-flow",
    );
    check(
        "create view v as select id from orders where id in (select oid from pg_class); delete from v",
        "sent; sent",
    );
    check("update pg_database set datconnlimit = 5 where oid = 1", "sent");
    check("update orders set note = c.relname from pg_class c where c.oid = id", "sent");
    check("select relname from pg_class for update", "sent");
}

#[test]
fn what_foreign_tables_show_is_an_operators_to_say() {
    for definition in [
        "create foreign data wrapper w handler postgres_fdw_handler",
        "alter foreign data wrapper w options (add a 'b')",
        "create server s foreign data wrapper postgres_fdw options (host '127.0.0.1')",
        "alter server s options (set dbname 'shop')",
        "create user mapping for public server s options (user 'postgres')",
        "alter user mapping for public server s options (set user 'postgres')",
        "create foreign table ft (x text options (column_name 'email')) server s",
        "create foreign table fp partition of orders default server s",
        "import foreign schema public from server s into public",
        "alter foreign table remote options (add table_name 'customers')",
        "alter table remote alter note options (add column_name 'email')",
        "alter foreign table remote add email text",
        "alter foreign table remote rename note to email",
        "alter table remote rename to customers",
        "alter foreign table remote set schema archive",
    ] {
        check(definition, "refuse hidden-flow");
    }
    check("alter foreign table remote owner to clerk", "sent");
    check(
        "drop foreign table remote; drop server s; drop user mapping for public server s",
        "sent; sent; sent",
    );
    check("alter table orders rename to o", "sent");
    check("select note from remote", "sent");
}

#[test]
fn a_masked_value_does_not_say_in_which_partition_a_row_lies() {
    const REFUSED: &str = "refuse write-from-sensitive";
    let last = |sql: &str| ruled(sql).rsplit("; ").next().unwrap_or_default().to_owned();
    let by = |key: &str, sql: &str| {
        last(&format!("create table t (k int, v text) partition by list ({key}); {sql}"))
    };
    let fill = "insert into t select id, ssn from customers";
    assert_eq!(by("v", fill), REFUSED);
    assert_eq!(by("substr(v, 1, 1)", fill), REFUSED);
    assert_eq!(by("k", fill), "sent");
    assert_eq!(by("v", "insert into t (k, v) values (1, 'a')"), "sent");
    assert_eq!(by("v", "insert into t select id, note from orders"), "sent");
    assert_eq!(by("v", "update t set v = ssn from customers c where c.id = k"), REFUSED);
    assert_eq!(by("k", "insert into t (k) select i from numbers join customers on i = salary"), REFUSED);
    assert_eq!(
        by("v", "with w as (insert into t select id, ssn from customers returning k) select k from w"),
        REFUSED
    );
    assert_eq!(by("v", "alter table t rename v to w; insert into t (w) select ssn from customers"), REFUSED);
    assert_eq!(by("v", "alter table t rename to u; insert into u select id, ssn from customers"), REFUSED);
    assert_eq!(
        by("v", "create view vt as select * from t; insert into vt select id, ssn from customers"),
        REFUSED
    );
    assert_eq!(
        by("k", &format!("create table p partition of t default partition by list (v); {fill}")),
        REFUSED
    );
    assert_eq!(
        by("k", &format!("create table p partition of t default partition by list (k); {fill}")),
        "sent"
    );
    let trigger = "create function f() returns trigger language plpgsql as \
                   'begin insert into t values (1, new.ssn); return new; end'; \
                   create trigger g after update on customers for each row execute function f()";
    assert_eq!(by("k", trigger), "sent");
    assert_eq!(by("v", trigger), "refuse hidden-flow");
    // One that the catalog knows.
    check("insert into routed (id, label) select id, ssn from customers", REFUSED);
    check("insert into routed (id, note) select id, ssn from customers", "sent");
    check("update routed set label = label", "sent");
    check("delete from routed r using customers c where c.ssn = r.note", "sent");
}

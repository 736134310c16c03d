//! Ways round the statement's own text: what tells a masked value by another's being there, or keeps it for later.

use super::{
    fixture::{check, check_uses, check_writes, statements},
    *,
};

#[test]
fn a_name_of_with_recursive_means_the_query_behind_it() {
    // The server sorts them; `numbers` is no table here.
    check(
        "with recursive a as (select i from numbers), numbers as (select salary as i from customers) select i from a",
        "i = customers.salary",
    );
    check(
        "with recursive b as (select x from a), a as (select i as x from numbers) select x from b",
        "x = numbers.i",
    );
    check(
        "with recursive a as (select i from numbers), numbers as (select i from a) select i from a",
        "i ?UnknownRelation",
    );
    check("with recursive a as (select 1), b as (select i from numbers) select i from b", "i = numbers.i");
    check("with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select n from r", "n");
}

#[test]
fn a_comparison_taken_apart_over_subqueries_tells_as_much() {
    let told = |sql: &str| {
        let statements = statements(sql).unwrap();
        let Outputs::Columns(columns) = &statements[0].outputs else { panic!("{sql}") };
        columns.iter().any(|column| super::fixture::origins(&column.origins).contains("~ customers.ssn"))
    };
    let both = "(select label as w, label = ssn as hit from items, customers) t";
    assert!(told(&format!("select w from {both} where hit")));
    assert!(told(&format!("select max(w) from {both} group by hit")));
    assert!(told(&format!("select w from {both} order by hit")));
    assert!(told(&format!("select distinct on (hit) w from {both}")));
    let mixed = "(select id, label as v from items union all select id, ssn from customers) t";
    assert!(told(&format!("select min(id) from {mixed} group by v")));
    assert!(told(&format!("select id from {mixed} order by v")));
    assert!(told(&format!("select row_number() over (partition by v) from {mixed}")));
    assert!(told("select count(*) from (select label from items union select ssn from customers) t"));
    assert!(told(
        "select label, (select count(*) from (select i.label union select ssn from customers) x) from items i"
    ));
    assert!(told(
        "select count(distinct v) from (select label as v from items union all select ssn from customers) t"
    ));
    // One relation's own columns, and constants, tell no more than they did.
    check(
        "select id from (select id, coalesce(ssn, city) as v from customers) t order by v",
        "id = customers.id",
    );
    check(
        "select city from (select city, ssn = 'x' as hit from customers) t where hit",
        "city = customers.city",
    );
    check(
        "select city from (select city, ssn as v from customers union all select city, ssn from customers) t order by v",
        "city = customers.city",
    );
    check("select count(distinct ssn) from customers", "count");
}

#[test]
fn what_is_called_only_where_a_masked_value_says_so_carries_it() {
    let carries = |sql: &str| {
        let statements = statements(sql).unwrap();
        let masked = |origins: &Origins| super::fixture::origins(origins).contains("customers.salary");
        statements[0].channels.iter().any(|channel| masked(&channel.origins))
    };
    assert!(carries("select case when i <= salary then pg_notify('c', i::text) end from numbers, customers"));
    assert!(carries("select case when i <= salary then nextval('s') end from numbers, customers"));
    assert!(carries("select case salary when 1 then 2 else pg_advisory_lock(1) end from customers"));
    assert!(carries("select coalesce(nullif(salary, 1), nextval('s')) from customers"));
    assert!(carries("select salary > 5 and set_config('a.b', 'c', false) = 'c' from customers"));
    assert!(carries("select nextval(case when salary > 5 then 's' end) from customers"));
    assert!(!carries(
        "select nextval('s'), salary, case when city = 'a' then nextval('s') end from customers"
    ));
    assert!(!carries("select case when salary > 5 then 1 else 2 end, nextval('s') from customers"));
    let block = "do $$ declare n int; begin for n in 1..(select salary from customers) loop perform nextval('s'); \
                 end loop; end $$";
    assert!(carries(block));
    check_uses(block, "customers.salary row-count");
    check_uses(
        "do $$ begin while (select count(*) from orders) < (select salary from customers) loop \
         insert into orders (id) values (1); end loop; end $$",
        "customers.salary row-count; customers.salary row-count",
    );
    check_uses(
        "do $$ declare r record; begin for r in select id, salary from customers loop \
         insert into orders (id) values (1); end loop; end $$",
        "",
    );
    check_uses("do $$ begin for n in 1..(select salary from customers) loop null; end loop; end $$", "");
}

#[test]
fn a_conflict_tells_which_values_are_there() {
    check(
        "insert into customers (id, ssn) select id, label from items on conflict (ssn) do nothing returning id",
        "id = customers.id, items.id ~ customers.ssn, items.label",
    );
    check(
        "insert into customers (id, ssn) values (1, 'a') on conflict (ssn) do nothing returning id",
        "id = customers.id",
    );
    check(
        "insert into customers (id, ssn) select id, label from items on conflict (id) do nothing returning id",
        "id = customers.id, items.id",
    );
}

#[test]
fn what_is_put_into_a_view_is_in_its_table() {
    check_writes(
        "insert into labels (secret_label) select ssn from customers",
        "labels.secret_label <- customers.ssn; orders.note <- customers.ssn",
    );
    check_writes("insert into orders (note) select ssn from customers", "orders.note <- customers.ssn");
    let statements = statements(
        "create view v as select id, note as x from orders; insert into v (x) select ssn from customers; \
         create table t (x text); insert into t (x) select city from customers",
    );
    let writes: Vec<String> = statements.unwrap().iter().map(super::fixture::writes).collect();
    assert_eq!(writes[1], "new v.x <- customers.ssn; orders.note <- customers.ssn");
    assert_eq!(writes[3], "new t.x <- customers.city");
}

#[test]
fn what_a_transaction_fills_is_seen_wherever_its_rows_are() {
    let last = |sql: &str| {
        let statements = statements(sql).unwrap();
        super::fixture::outputs(statements.last().unwrap())
    };
    let family = "create table mom (v text); create table kid () inherits (mom);";
    assert!(
        last(&format!("{family} insert into kid (v) select ssn from customers; select v from mom"))
            .contains("customers.ssn")
    );
    assert_eq!(last(&format!("{family} insert into kid (v) values ('a'); select v from mom")), "v");
    let unnamed = format!("{family} insert into kid select ssn from customers");
    assert_eq!(last(&format!("{unnamed}; select v from mom")), "v <- customers.ssn");
    assert_eq!(
        super::fixture::writes(statements(&unnamed).unwrap().last().unwrap()),
        "new kid.v <- customers.ssn; new mom.v <- customers.ssn"
    );
}

#[test]
fn what_a_transaction_fills_keeps_its_name() {
    let refused = |sql: &str| {
        let statements = statements(sql).unwrap();
        statements.last().unwrap().refusal.as_ref().map(|refusal| refusal.code)
    };
    let made = "create table t as select ssn as v from customers;";
    assert_eq!(refused(&format!("{made} alter table t rename to u")), Some("reclassify"));
    assert_eq!(refused(&format!("{made} alter table t rename column v to u")), Some("reclassify"));
    assert_eq!(refused(&format!("{made} alter table t set schema archive")), Some("reclassify"));
    assert_eq!(refused("create table t as select city from customers; alter table t rename to u"), None);
    assert_eq!(refused("create table t (a int); alter table t rename to u"), None);
}

#[test]
fn a_relation_that_is_dropped_uncovers_another() {
    let along = |sql: &str| {
        let path = Some(&["public", "archive"][..]);
        let statements = super::fixture::statements_along(path, sql).unwrap();
        super::fixture::outputs(statements.last().unwrap())
    };
    assert_eq!(along("select label from items"), "label = items.label");
    for dropped in ["drop table items", "drop table orders cascade", "drop schema public"] {
        let both = along(&format!("{dropped}; select label from items"));
        assert_eq!(both, "label = items.label, archive.items.label", "{dropped}");
    }
    assert_eq!(along("drop table orders; select label from items"), "label = items.label");
}

#[test]
fn a_number_that_means_a_column_is_no_literal() {
    let needs = |sql: &str| statements(sql).unwrap()[0].needs_literals;
    assert!(needs("select city from (select city, ssn from customers order by 1 limit 1) t"));
    assert!(needs("select (select city from customers order by 2 limit 1)"));
    assert!(needs("insert into orders (note) select city from customers group by 1"));
    assert!(needs("select distinct on (1) city, ssn from customers"));
    assert!(!needs("select city from customers where id = 1 order by city limit 1"));
}

#[test]
fn what_was_told_tells_what_it_meets() {
    // What is said last is known of what was said before.
    check(
        "select n.i from customers c, numbers n where n.i < c.id and c.id = c.salary",
        "i = numbers.i ~ customers.id, customers.salary",
    );
    check(
        "select n.i, (select 1 from (select ssn as v from customers union all select note from orders) u \
         where u.v = m.label) as x from numbers n, items m where n.i < m.id",
        "i = numbers.i ~ customers.ssn, orders.note, items.id, items.label; \
         x ~ customers.ssn, orders.note, numbers.i, items.id, items.label",
    );
    // Of one row, only their being equal says what the other is.
    check("select city from customers where city < ssn", "city = customers.city");
    check("select city from customers where city = ssn", "city = customers.city ~ customers.ssn");
    check(
        "select city, string_agg(distinct city, lower(ssn)) as x from customers group by city",
        "city = customers.city; x <- customers.city, customers.ssn",
    );
}

#[test]
fn a_subquery_is_told_by_what_stands_around_it_alone() {
    check(
        "select n.i from numbers n, customers c \
         where (select m.i from numbers m order by m.i limit 1 offset n.i) = c.salary",
        "i = numbers.i ~ customers.salary, numbers.i",
    );
    check_uses(
        "select c.id from customers c where (select 1 from numbers m where m.i = 3) < c.salary",
        "customers.salary function",
    );
}

#[test]
fn rows_are_equal_column_by_column_and_less_as_a_whole() {
    let asks = |operator: &str, expected: &str| {
        check(
            &format!("select n.i from customers c, numbers n where (c.salary, n.i) {operator} (5000, 5)"),
            expected,
        );
    };
    asks("=", "i = numbers.i");
    asks("<", "i = numbers.i ~ customers.salary");
}

//! What statements tell besides what they show: uses, names for later, ways past the result.

use super::{
    fixture::{self, CUSTOMERS, check, check_uses, statements},
    *,
};

#[test]
fn names_for_later_are_kept_with_what_they_will_return() {
    check("declare c cursor for select email from customers", "email = customers.email");
    check("fetch all from c; move 1 from c; close c", "cursor c | - | -");
    check("prepare s(int) as select email, $1 from customers", "email = customers.email; ?column?");
    check("execute s(1)", "prepared s");
    check("execute s(twice((select salary::int from customers)))", "* <- customers.salary");
    check("deallocate s", "-");
    check("copy customers to stdout", CUSTOMERS);
    check("copy customers (email, id) to stdout", "email = customers.email; id = customers.id");
    check("copy (select lower(email) from customers) to stdout", "lower <- customers.email");
    check("copy (delete from customers returning email) to stdout", "email = customers.email");
    check("copy people to stdout", "id = people.id; work_email = people.work_email");
    check("copy orders from stdin", "-");
    check("explain select email from customers", "*");
    check("explain select 1 from numbers, customers where i < salary", "* ~ customers.salary, numbers.i");
    check("explain select opaque(1)", "* ?OpaqueFunction");
    check("show server_version", "*");
    check("call p()", "*");
    check("do $$ begin perform 1; end $$", "-");
    check("listen a; notify a; lock table customers; begin; vacuum", "- | - | - | - | -");
}

#[test]
fn what_copy_asks_of_the_rows_it_is_given_is_a_predicate() {
    check_uses("copy orders from stdin where note = email_of(1)", "customers.email row-count");
    check_uses("copy orders from stdin where email_of(1) like 'a%'", "customers.email row-count");
    check_uses("copy defaulted (id) from stdin where filled > 'm'", "customers.email function");
    check_uses("copy defaulted from stdin where filled > 'm'", "");
    check_uses("copy orders (note) from stdin where note > 'm' and note = note", "");
}

#[test]
fn what_a_definition_checks_of_stored_rows_is_a_predicate() {
    for (sql, uses) in [
        ("alter table customers add check (salary > 5)", "customers.salary range"),
        ("alter table customers add constraint x check (salary > 5) not valid", "customers.salary range"),
        ("alter table customers add z int default 5 check (z < salary)", "customers.salary function"),
        ("alter table customers add check (city <> 'x')", ""),
        (
            "alter table customers validate constraint x",
            "customers.email function anew; customers.ssn function anew; customers.salary function anew",
        ),
        ("alter table customers add foreign key (salary) references numbers (i)", "customers.salary range"),
        ("alter table orders add foreign key (note) references customers", "customers.email range"),
        ("alter table orders add z text default 'x' references customers (ssn)", "customers.ssn range"),
        ("alter table orders add foreign key (customer_id) references customers (id)", ""),
        ("alter table customers add unique (salary, city)", "customers.salary grouping"),
        (
            "alter table customers add exclude using gist (int4range(salary, 5) with &&) where (email > 'm')",
            "customers.email range; customers.salary function",
        ),
        ("create index on customers (salary)", ""),
        ("create index on customers ((1 / (salary - 5)))", "customers.salary function"),
        (
            "create unique index on customers (salary, city) where email > 'm'",
            "customers.email range; customers.salary grouping",
        ),
        ("alter table customers alter salary type int2", "customers.salary function"),
        ("alter table customers alter city type int using 1 / (salary - 5)", "customers.salary function"),
        ("alter table customers alter city type varchar(9)", ""),
        ("create table t partition of parted for values from (1) to (5)", "parted.email range"),
        (
            "alter table parted attach partition customers for values from (1) to (5)",
            "customers.email range; parted.email range",
        ),
        ("alter table parted attach partition orders default", "parted.email range"),
        ("create schema s create index on customers ((1 / salary))", "customers.salary function"),
        // Whatever columns it is partitioned by.
        (
            "alter table customers attach partition orders default",
            "customers.email range; customers.ssn range; customers.salary range",
        ),
        (
            "alter table people alter handle set expression as (upper(work_email))",
            "people.work_email function",
        ),
        (
            "alter table customers add z text generated always as (lower(email)) stored",
            "customers.email function",
        ),
        ("alter domain odd add check (value > 'm')", "moods.secret_label function"),
        ("alter domain word add check (value > 'm')", "moods.secret_label function"),
        ("alter domain word set not null", ""),
    ] {
        check_uses(sql, uses);
    }
}

#[test]
fn what_a_policy_asks_of_rows_is_asked_by_every_statement_on_them() {
    check_uses("select id from guarded", "guarded.email equality standing");
    check_uses("update guarded set city = 'x'", "guarded.email equality standing");
    check_uses("delete from guarded", "guarded.email equality standing");
    check_uses("copy guarded (id) to stdout", "guarded.email equality standing");
    check("select city from guarded", "city = guarded.city");
    // One of its policies could not be read.
    check("select id from ring", "id <- ring.id ?UnreadableView");
    check_uses("select id from ring", "guarded.email equality standing");
}

#[test]
fn a_value_that_met_a_masked_one_tells_it_by_being_there() {
    const TELLS: &str = "i = numbers.i ~ customers.salary";
    check("select i from numbers join customers on i <= salary", TELLS);
    check("select i from numbers join customers on (i, 'a') = (salary, city)", TELLS);
    check("select i from numbers join customers on (i, 1) < (salary, 1)", TELLS);
    check("select i from numbers join customers on (city, i) = ('a', 1) and email <> 'a'", "i = numbers.i");
    check("select i from numbers, customers where (i, email) in ((1, 'a'), (2, 'b'))", "i = numbers.i");
    check("select i from numbers, customers where i <= salary", TELLS);
    check("select i from numbers, customers where salary >= i and city = 'a'", TELLS);
    check("select i from numbers, customers where (i <= salary) = true", TELLS);
    check("select i from numbers, customers where case when i <= salary then true end", TELLS);
    check("select i from numbers where i <= (select max(salary) from customers)", TELLS);
    check("select i from numbers where exists (select 1 from customers where i <= salary)", TELLS);
    check("select i from numbers where i in (select salary from customers)", TELLS);
    check("select i from numbers where i <= any (select salary from customers)", TELLS);
    check("select i from numbers natural join (select salary as i from customers) c", TELLS);
    check("select i from numbers n, customers c order by abs(i - salary)", TELLS);
    check("select i from numbers n join lateral (select 1 from customers where salary > i) c on true", TELLS);
    check("select count(*) from numbers, customers where i <= salary", "count ~ customers.salary, numbers.i");
    check(
        "select count(*) filter (where i <= salary) from numbers, customers",
        "count ~ customers.salary, numbers.i",
    );
    check("select max(i) from numbers, customers where i <= salary", "max <- numbers.i ~ customers.salary");
    check("select g from customers, generate_series(1, salary) g", "g <- customers.salary");
    check("select count(*) from customers, generate_series(1, salary)", "count ~ customers.salary");
    check("select generate_series(1, salary::int) from customers", "generate_series <- customers.salary");
    check(
        "select count(*) from (select i from numbers limit (select salary from customers)) s",
        "count ~ customers.salary",
    );
    check("select i from numbers n group by i having count(*) <= (select max(salary) from customers)", TELLS);
    check("select i from numbers n, customers where random() * 1000 < salary", TELLS);
    // What a subquery counts depends on the row around it.
    check(
        "select i from numbers n where (select count(*) from orders where id <= n.i) < (select max(salary) from customers)",
        "i = numbers.i ~ customers.salary, orders.id",
    );
    check(
        "select i from numbers n, lateral (select count(*) k from orders where id <= i) s, customers where k < salary",
        "i = numbers.i ~ customers.salary, orders.id",
    );
    check(
        "select i from numbers n where exists (select 1 from orders where id <= n.i having count(*) < (select max(salary) from customers))",
        "i = numbers.i ~ customers.salary, orders.id",
    );
    check(
        "select i from numbers n, orders o, customers where i = o.id and amount < salary",
        "i = numbers.i ~ customers.salary, orders.id, orders.amount",
    );
    check(
        "select note from orders o where exists (select 1 from customers c where c.email = o.note)",
        "note = orders.note ~ customers.email",
    );
    check("select note from orders join customers on note = email", "note = orders.note ~ customers.email");
    check("select city from customers where city = email", "city = customers.city ~ customers.email");
}

#[test]
fn a_count_of_what_met_a_masked_value_tells_it() {
    check(
        "select count(case when i <= salary then 1 end) from numbers, customers",
        "count ~ customers.salary, numbers.i",
    );
    check(
        "select count(nullif(i <= salary, false)) from numbers, customers",
        "count ~ customers.salary, numbers.i",
    );
    check("select count(case when salary > 1000 then 1 end), count(email) from customers", "count; count");
    check(
        "select x is null from numbers n left join lateral (select c.id as x from customers c where c.salary >= n.i) s on true",
        "?column? ~ customers.salary, numbers.i",
    );
    check(
        "select id from numbers, customers where i <= salary",
        "id = customers.id ~ customers.salary, numbers.i",
    );
    check(
        "select o.id from orders o, numbers, customers where i <= salary",
        "id = orders.id ~ customers.salary, numbers.i",
    );
    check(
        "select note from orders o left join customers c on c.id = o.customer_id and c.email is null",
        "note = orders.note",
    );
    check(
        "select i from numbers n where (select count(*) from orders where id <= (n).i) < (select max(salary) from customers)",
        "i = numbers.i ~ customers.salary, orders.id",
    );
}

#[test]
fn a_question_with_a_constant_tells_one_bit_and_no_value() {
    check("select i from numbers, customers where i <= 5 and salary > 1", "i = numbers.i");
    check(
        "select note from orders o join customers c on c.id = o.customer_id where email = 'a'",
        "note = orders.note",
    );
    check("select count(*) from customers where email = 'a'", "count");
    check(
        "select city, count(*) from customers where email like 'a%' group by city having count(*) > 1",
        "city = customers.city; count",
    );
    check("select city from customers group by city having max(salary) > 1000", "city = customers.city");
    check("select city from customers order by salary desc limit 10", "city = customers.city");
    check(
        "select note from orders where exists (select 1 from customers where email = 'a')",
        "note = orders.note",
    );
    check(
        "select note from orders o where exists (select 1 from customers c where c.id = o.customer_id and email = 'a')",
        "note = orders.note",
    );
    check(
        "select note from orders o where (select email from customers c where c.id = o.customer_id) = 'a'",
        "note = orders.note",
    );
    check(
        "select note from orders o, lateral (select email from customers c where c.id = o.customer_id) s where email = 'a'",
        "note = orders.note",
    );
    check("select note from orders where random() < 0.1 and amount > 5", "note = orders.note");
    check(
        "select note from orders where customer_id in (select id from customers where ssn = $1)",
        "note = orders.note",
    );
    check("select c.city from customers c join customers d using (email)", "city = customers.city");
    check("select city from customers where salary > id", "city = customers.city");
    check("select g from generate_series(1, 10) g", "g");
    check("select city from customers where email = lower($1)", "city = customers.city");
    check("select note from orders tablesample system (10) limit 5", "note = orders.note");
}

#[test]
fn uses_of_masked_columns_are_told_by_their_kind() {
    check_uses("select id from customers where email = 'a'", "customers.email equality");
    check_uses(
        "select id from customers where email in ('a', 'b') and ssn <> 'x'",
        "customers.email equality x2; customers.ssn equality",
    );
    check_uses(
        "select id from customers where email like 'a%' or ssn ~ '1'",
        "customers.email pattern; customers.ssn pattern",
    );
    check_uses("select id from customers where salary between 1 and 2", "customers.salary range");
    check_uses(
        "select id from customers where salary > 1 and salary < 5",
        "customers.salary range; customers.salary range",
    );
    check_uses("select id from customers where left(email, 1) = 'a'", "customers.email function");
    check_uses("select id from customers order by email", "customers.email ordering");
    check_uses("select count(*) from customers group by email", "customers.email grouping");
    check_uses("select distinct city from customers", "");
    check_uses(
        "with recursive t(e) as (select email from customers union all select e from t) \
         cycle e set looped using path select 1 from t",
        "customers.email grouping",
    );
    check_uses("select id from customers where email is null", "");
    check_uses("select id from customers where nullif(email, 'a') is null", "customers.email function");
    check_uses(
        "select id from customers where lower(email) is not null or email is null",
        "customers.email function",
    );
    check_uses("select id from customers where (select email) is null", "");
    check_uses("update paid set salary = 5 where id = 1", "paid.salary function");
    check_uses("update paid set salary = i from numbers where id = i", "paid.salary row-count");
    check_uses("delete from customers where email = 'a'", "customers.email equality");
    check_uses("select 1 limit (select salary from customers)", "customers.salary row-count");
    check_uses("select 1 from contacts where contact = 'a'", "customers.email equality");
}

#[test]
fn a_list_is_as_many_questions_as_it_has_guesses() {
    let asks = |condition: &str, expected: &str| {
        check_uses(&format!("select id from customers c where {condition}"), expected);
    };
    asks("email = any (array['a', 'b', $1])", "customers.email equality x3");
    asks("email = any ($2::text[])", "customers.email equality x$2");
    asks("email <> all ('{a,b}')", "customers.email equality x2");
    asks("email in (values ('a'), ('b'))", "customers.email equality x2");
    asks("email in (select unnest($1::text[]))", "customers.email equality x$1");
    asks("email in (select u from unnest(array['a', 'b']) u)", "customers.email equality x2");
    asks("email in (select $1)", "customers.email equality");
    // Nobody knows how many, or too many: half of all values are a range.
    asks("salary = any (array(select generate_series(1, 50000)))", "customers.salary function x?");
    for list in [
        "any (string_to_array($1, ','))",
        "any (select generate_series(1, 50000))",
        "any (with l as (values (1)) select * from l)",
    ] {
        asks(&format!("salary = {list}"), "customers.salary range x?");
    }
    let numbers: Vec<String> = (0..1_001).map(|number: u32| number.to_string()).collect();
    asks(&format!("salary in ({})", numbers.join(", ")), "customers.salary range x1001");
    asks(&format!("salary in ({})", numbers[..1_000].join(", ")), "customers.salary equality x1000");
    // What is stored is no guess.
    asks("email in (select note from orders)", "customers.email equality");
    asks("email = any (array(select note from orders))", "customers.email row-count");
}

#[test]
fn a_join_with_a_list_is_told_as_what_its_rows_are() {
    for list in [
        "(values (1), (2)) l(v)",
        "unnest($1::int[]) l(v)",
        "generate_series(1, 9) l(v)",
        "(select v from generate_series(1, 9) s(v), generate_series(1, v)) l",
        "json_table($1, '$[*]' columns (v int path '$')) l",
        "json_to_recordset($1) as l(v int)",
    ] {
        let join = format!("select c.id from customers c join {list} on l.v = c.salary");
        check_uses(&join, "customers.salary row-count");
        check(&join, "id = customers.id ~ customers.salary");
    }
    // What stands beside a guess tells which it is.
    check(
        "select n from customers c join unnest($1::int[]) with ordinality l(v, n) on v = salary",
        "n ~ customers.salary",
    );
    check(
        "select n from customers c join json_to_recordset($1) as l(v int, n int) on v = salary",
        "n ~ customers.salary",
    );
    check(
        "select n from json_to_recordset($1) as l(v int, n int) where v in (select salary from customers)",
        "n ~ customers.salary",
    );
    check("select n from customers c join json_to_recordset($1) as l(v int, n int) on v = id", "n");
    // Ordinary joins of stored columns.
    check("select c.id from customers c join orders o on o.note = c.email", "id = customers.id");
    check_uses("select c.id from customers c join orders o on o.note = c.email", "customers.email equality");
    check_uses(
        "select c.id from customers c join people p on p.work_email = c.email",
        "customers.email equality; people.work_email equality",
    );
    check(
        "select l.id, c.city from letters l join customers c on l.address = c.email",
        "id = letters.id; city = customers.city",
    );
}

#[test]
fn an_order_or_group_among_values_of_the_clients_is_no_order_of_rows() {
    const TELLS: &str = "customers.salary row-count";
    let among = |rest: &str| {
        format!(
            "select id from (select id, salary from customers where id = 1 union all \
             select -g, g from generate_series(0, 100000) g) s {rest}"
        )
    };
    check_uses(&among("order by salary"), TELLS);
    check_uses(&among("order by 1, salary limit 5"), TELLS);
    check_uses(&among("group by salary, id"), TELLS);
    check_uses("select 1 from (select salary as v from customers union all select 5) s group by v", TELLS);
    check_uses(
        "select rank() over (order by v) from (select salary as v from customers union all select i from numbers) s",
        TELLS,
    );
    check_uses("select salary from customers union all select 5 order by 1", TELLS);
    check_uses(
        "select count(*) from (select salary from customers union select $1) s",
        "customers.salary range",
    );
    check_uses("select id from customers order by salary > 5", "customers.salary function");
    check_uses("select id from customers order by nullif(email, $1), id", "customers.email function");
    check_uses("select salary > 5 as rich, id from customers order by rich", "customers.salary function");
    check_uses("select count(*) from customers group by salary > 5", "customers.salary function");
    for (benign, uses) in [
        ("select id from customers order by lower(email), id", "customers.email ordering"),
        ("select id from customers order by coalesce(email, '')", "customers.email ordering"),
        ("select id from customers order by city || 'a', id", ""),
        (
            "select email from customers union all select work_email from people order by 1",
            "customers.email ordering; people.work_email ordering",
        ),
        ("select contact from contacts order by contact", "customers.email ordering"),
        ("select salary, count(*) from customers group by salary", "customers.salary grouping"),
        ("select distinct email from customers", "customers.email grouping"),
    ] {
        check_uses(benign, uses);
    }
}

#[test]
fn a_join_with_a_table_the_session_filled_is_a_list() {
    let uses = |sql: &str| fixture::each(sql, Some(&["public"]), fixture::uses);
    let join = |column: &str| {
        uses(&format!("select id from customers c join pg_temp_3.batch l on l.{column} = c.email"))
    };
    assert_eq!(join("value"), "customers.email range x?");
    assert_eq!(join("email"), "customers.email range x?; pg_temp_3.batch.email range x?");
    assert_eq!(uses("select c.id from customers c join pg_temp_3.batch l on l.id = c.id"), "");
    assert_eq!(uses("select id from pg_temp_3.batch where email = 'a'"), "pg_temp_3.batch.email equality");
}

#[test]
fn what_a_constraint_tells_is_a_use() {
    check_uses("insert into customers (id, email) values (9, 'a')", "customers.email equality");
    check_uses(
        "insert into customers values (9, 'a', 'b') on conflict do nothing",
        "customers.email equality",
    );
    check_uses(
        "insert into customers (id, email) values (1, 'a') on conflict (email) do update set city = 'b'",
        "customers.email equality",
    );
    check_uses("update customers set email = 'a' where id = 1", "customers.email equality");
    check_uses("copy customers (id, email) from stdin", "customers.email equality");
    check_uses("copy customers from stdin", "customers.email equality");
    check_uses(
        "merge into customers c using numbers n on c.id = n.i when not matched then insert (id, email) values (1, 'a')",
        "customers.email equality",
    );
    check_uses("insert into people (id) values (1)", "people.* equality");
    check_uses("insert into letters (address) values ('a')", "customers.email equality");
    check_uses("update letters set address = 'a'", "customers.email equality");
    check_uses("update customers set city = 'a'", "customers.salary range");
    for benign in [
        "insert into customers (id, city) values (9, 'a')",
        "update customers set id = 2 where id = 1",
        "update customers set city = 'a', salary = 1",
        "copy customers (id, city) from stdin",
        "insert into letters (id) values (1)",
        "insert into orders (id, note) values (1, 'a')",
        "delete from customers where id = 1",
    ] {
        check_uses(benign, "");
    }
}

#[test]
fn values_that_leave_by_the_side_are_told() {
    let channels = |sql: &str| {
        let statement = statements(sql).unwrap().remove(0);
        let tells = |channel: &Channel| format!("{}{}", channel.by, fixture::origins(&channel.origins));
        statement.channels.iter().map(tells).collect::<Vec<_>>().join("; ")
    };
    assert!(
        channels("select set_config('a.b', email, false) from customers")
            .contains("set_config = customers.email")
    );
    assert!(channels("select pg_notify('a', email) from customers").contains("pg_notify = customers.email"));
    assert!(
        channels("select pg_notify('a', 'b') from numbers, customers where i < salary")
            .contains("pg_notify ~ customers.salary")
    );
    assert_eq!(channels("select pg_notify('a', 'b')"), "pg_notify; pg_notify; pg_notify");
    assert_eq!(channels("select lower(email) from customers"), "");
}

#[test]
fn literals_matter_where_they_are_no_values() {
    let matters = |sql: &str| statements(sql).unwrap()[0].needs_literals;
    for sql in [
        "select id from customers where id = 1",
        "insert into orders (note) values ('a')",
        "select id from customers limit 5",
        "select id from born where extract(year from birth_date) = 2000",
        "select id from born where age(now(), birth_date) > '18 years'",
    ] {
        assert!(!matters(sql), "{sql}");
    }
    for sql in [
        "select email, id from customers order by 1",
        "select set_config('search_path', 'archive', false)",
        "set search_path = archive",
        "create table t as select 1 as a",
        "prepare s as select 1",
        "select id from born where extract(year from age(now(), birth_date)) = 18",
    ] {
        assert!(matters(sql), "{sql}");
    }
}

#[test]
fn only_a_query_that_changes_nothing_only_reads() {
    let reads = |sql: &str| statements(sql).unwrap().iter().all(|statement| statement.only_reads);
    for sql in [
        "select * from customers",
        "with c as (select salary from customers) select sum(salary) from c union all select 1",
        "select count(*) from customers for update",
        "values (1)",
        "table orders",
        "select now(), random()",
    ] {
        assert!(reads(sql), "{sql}");
    }
    for sql in [
        "insert into orders (note) values ('a')",
        "with i as (insert into orders (note) values ('a') returning 1) select * from i",
        "with d as (delete from orders returning 1) select 1",
        "with u as (update nobody_knows set a = 1 returning 1) select 1",
        "select 1 as a into t",
        "create table t as select 1 as a",
        "select nextval('numbers_seq')",
        "select set_config('a.b', 'c', false)",
        "select pg_notify('a', 'b')",
        "select pg_advisory_lock(1)",
        "select opaque(1)",
        "select twice(1)",
        "select lo_create(0)",
        "copy customers to stdout",
        "explain analyze select 1",
        "begin",
        "set a.b = c",
        "select 1; delete from orders",
        "fetch all from c",
        "execute s",
    ] {
        assert!(!reads(sql), "{sql}");
    }
}

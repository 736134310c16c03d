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
fn a_value_that_met_a_masked_one_tells_it_by_being_there() {
    const TELLS: &str = "i = numbers.i ~ customers.salary";
    check("select i from numbers join customers on i <= salary", TELLS);
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
        "customers.email equality; customers.ssn equality",
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
    check_uses("select id from customers where lower(email) = 'a'", "customers.email function");
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
    ] {
        assert!(!matters(sql), "{sql}");
    }
    for sql in [
        "select email, id from customers order by 1",
        "select set_config('search_path', 'archive', false)",
        "set search_path = archive",
        "create table t as select 1 as a",
        "prepare s as select 1",
    ] {
        assert!(matters(sql), "{sql}");
    }
}

use super::*;
use crate::lineage::fixture::{catalog, policy, statements};

#[test]
fn a_column_holds_what_was_made_of_masked_ones() {
    let holds = |sql: &str| -> Vec<(String, Holds)> {
        let (catalog, policy) = (catalog(), policy(""));
        let classes = policy.classify(&catalog, &[]);
        let statements = statements(sql).unwrap();
        let ruled = statements.iter().map(|one| rule(one, &catalog, &classes, policy.usage_rules()));
        ruled
            .flat_map(|ruled| ruled.taints)
            .map(|taint| (format!("{}.{}", taint.relation, taint.column), taint.holds))
            .collect()
    };
    for (sql, column, expected) in [
        ("create table t as select id, email as x from customers", "t.x", Holds::Copies),
        ("create table t as select id, lower(email) as x from customers", "t.x", Holds::Copies),
        ("insert into orders (note) select email from customers", "orders.note", Holds::Copies),
        ("create table t as select email as x, i from customers, numbers", "t.x", Holds::Paired),
        (
            "create table t as select email as x, 1 from customers union all select email, 2 from customers",
            "t.x",
            Holds::Paired,
        ),
        ("create table t as select email as x, generate_series(1, 9) from customers", "t.x", Holds::Paired),
        ("create table t as select email as x, id + 1 as y from customers", "t.x", Holds::Paired),
        ("update orders set note = (select email from customers limit 1)", "orders.note", Holds::Paired),
        ("create table t as select salary * 12 as x from customers", "t.x", Holds::Derived),
        ("create table t as select salary > 5 as x, id from customers", "t.x", Holds::Derived),
        ("create table t as select email || ssn as x from customers", "t.x", Holds::Derived),
        ("create table t as select salary - i as x from customers, numbers", "t.x", Holds::Mixed),
        (
            "create table t as select salary = n as x from customers, generate_series(1, 9) n",
            "t.x",
            Holds::Mixed,
        ),
        ("create table t as select salary - generate_series(1, 9) as x from customers", "t.x", Holds::Mixed),
        // Of types that keep a part.
        (
            "create table k (s numeric(2,-6)); insert into k select salary from customers",
            "k.s",
            Holds::Derived,
        ),
        ("create table k (s numeric); insert into k select salary from customers", "k.s", Holds::Copies),
        ("create table k (s \"char\"); insert into k select ssn from customers", "k.s", Holds::Derived),
        ("create table k (s varchar(11)); insert into k select ssn from customers", "k.s", Holds::Copies),
        ("insert into orders (id) select salary from customers", "orders.id", Holds::Derived),
        // Into a column that is masked already.
        (
            "insert into customers (id, email) select id + 1, email from customers",
            "customers.email",
            Holds::Paired,
        ),
        (
            "insert into customers (id, ssn) select id, (salary > 5)::text from customers",
            "customers.ssn",
            Holds::Derived,
        ),
    ] {
        assert_eq!(holds(sql), [(column.to_owned(), expected)], "{sql}");
    }
    // Which rows were changed tells, and so does every column of them.
    let touched = holds("update orders set amount = 5 from customers where orders.note = email");
    assert_eq!(touched.len(), 7);
    assert!(touched.contains(&("orders.ctid".to_owned(), Holds::Copies)));
    assert!(touched.contains(&("orders.amount".to_owned(), Holds::Mixed)));
    assert!(touched.contains(&("orders.id".to_owned(), Holds::Copies)));
    for sql in [
        "update customers set salary = salary * 1.1",
        "update orders set amount = 5 from customers where orders.customer_id = customers.id",
        "select note from orders join customers on orders.customer_id = customers.id for update",
        "update orders set amount = 5 where note in (select city from customers where email = 'a')",
        "insert into customers select * from customers where id = 1",
        "insert into customers (id, email) values (1, 'a') on conflict (email) do nothing",
        "update customers set email = lower(email) where id = 1",
        "create table t as select id, city, count(*) from customers group by id, city",
    ] {
        assert_eq!(holds(sql), [], "{sql}");
    }
}

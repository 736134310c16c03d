//! Errors that functions catch, and what foreign keys pass on.

use super::fixture::{check, check_writes, each, outputs};

/// What a function of this body returns.
#[track_caller]
fn returns(body: &str, expected: &str) {
    let sql = format!("create function f() returns text language plpgsql as $$ {body} $$; select f()");
    check(&sql, &format!("- | {expected}"));
}

#[test]
fn what_is_said_of_an_error_may_be_of_anything_the_body_came_across() {
    let handler = "exception when others then return sqlerrm; end";
    returns(&format!("begin perform email::int from customers; {handler}"), "f <- customers.email");
    returns(&format!("begin perform note::int from orders; {handler}"), "f <- orders.note");
    returns(&format!("begin perform 1; {handler}"), "f");
    returns(
        &format!("begin raise exception '%', (select ssn from customers); {handler}"),
        "f <- customers.ssn",
    );
    returns(
        "begin raise exception using errcode = (select ssn from customers); \
         exception when others then return sqlstate; end",
        "f <- customers.ssn",
    );
    returns(
        "declare s text; begin perform note::int from orders; exception when others then \
         get stacked diagnostics s = message_text; return s; end",
        "f <- orders.note",
    );
    // What is called may raise it.
    returns(&format!("begin perform email_of(1)::int; {handler}"), "f <- customers.id, customers.email");
    returns(&format!("begin perform opaque(1); {handler}"), "f ?OpaqueFunction");
    returns(&format!("begin execute 'x'; {handler}"), "f ?UnknownFunction");
}

#[test]
fn a_row_that_is_not_written_is_quoted_whole() {
    let handler = "exception when others then return sqlerrm; end";
    returns(&format!("begin insert into customers (id) values (null); {handler}"), "f <- customers.*");
    returns(&format!("begin insert into orders (id) values (null); {handler}"), "f <- orders.*");
    returns(&format!("begin delete from floors; {handler}"), "f <- floors.*, tenants.*");
    returns(
        &format!("begin insert into triggered (id) values (1); {handler}"),
        "f <- triggered.* ?OpaqueFunction",
    );
    returns(&format!("begin delete from nowhere; {handler}"), "f ?OpaqueFunction");
    check_writes(
        "do $$ begin perform email::int from customers; exception when others then \
         insert into orders (note) values (sqlerrm); end $$",
        "orders.note <- customers.email, orders.*",
    );
}

/// What the last statement of a string returns.
#[track_caller]
fn last(sql: &str, expected: &str) {
    let all = each(sql, Some(&["public"]), outputs);
    assert_eq!(all.rsplit(" | ").next(), Some(expected), "{sql}");
}

#[test]
fn a_key_that_is_changed_is_in_the_rows_that_refer_to_it() {
    let tables = "create table a (id int primary key, x int); \
         create table b (head int references a (id) on update cascade, y int); ";
    let change = "update a set id = (select ssn from customers); ";
    last(&format!("{tables}{change}select head from b"), "head <- customers.ssn");
    last(&format!("{tables}{change}select y from b"), "y");
    last(&format!("{tables}update a set x = (select ssn from customers); select head from b"), "head");
    // By its new name, and the relation's.
    for renamed in [
        "alter table b rename to c; alter table c rename column head to top; ",
        "alter table b rename column head to top; alter table b rename to c; ",
    ] {
        last(&format!("{tables}{renamed}{change}select top from c"), "top <- customers.ssn");
        last(&format!("{tables}{renamed}{change}select y from c"), "y");
    }
    let moved = "alter table a rename column id to key; alter table a rename to d; \
         update d set key = (select ssn from customers); ";
    last(&format!("{tables}{moved}select head from b"), "head <- customers.ssn");
}

#[test]
fn a_key_passes_on_however_it_is_said() {
    let change = "update a set id = (select ssn from customers); select head from b";
    for tables in [
        "create table a (id int primary key); create table b (head int references a on update cascade); ",
        "create table a (id int primary key); \
         create table b (head int, foreign key (head) references a (id) on update cascade); ",
        "create table a (id int primary key); create table b (head int); \
         alter table b add foreign key (head) references a on update cascade; ",
        "create table a (id int primary key); create table b (y int); \
         alter table b add column head int references a (id) on update cascade; ",
    ] {
        last(&format!("{tables}{change}"), "head <- customers.ssn");
        last(&format!("{}{change}", tables.replace(" on update cascade", "")), "head");
    }
}

#[test]
fn rows_of_a_relation_nobody_knows_are_left_by_what_they_were_compared_with() {
    let told = |sql: &str| {
        let statements = super::fixture::statements_along(Some(&["public"]), sql).unwrap();
        statements[0].writes.iter().any(|write| !write.origins.implied.is_empty())
    };
    assert!(told("delete from nowhere where n = (select salary from customers)"));
    assert!(told("update nowhere set x = 1 where n = (select salary from customers)"));
    assert!(!told("delete from nowhere where n = 4"));
    assert!(!told("update nowhere set x = 1 where n = 4"));
}

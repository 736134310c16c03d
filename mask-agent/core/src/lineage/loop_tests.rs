//! What loops of PL/pgSQL ask again and again.

use super::fixture::{check_uses, each};

/// What a block asks of masked columns, with the number of the last salary in `v`.
fn asked(body: &str) -> String {
    let block = format!(
        "do $$ declare v int; b bool; m int; r record; t record; begin \
         v := (select salary from customers where id = 1); {body} end $$"
    );
    each(&block, Some(&["public"]), super::fixture::uses)
}

#[test]
fn what_a_loop_compares_with_what_it_counts_is_a_number_of_rows() {
    for body in [
        "for n in 1..10000 loop if n <= v then insert into orders (id) values (1); end if; end loop;",
        "for n in 1..10000 loop if n <= v then perform 1 from orders; end if; end loop;",
        "for n in 1..10000 loop perform 1 from orders where n <= v; end loop;",
        "for n in 1..10000 loop b := n <= v; if b then perform 1 from orders; end if; end loop;",
        "for n in 1..10000 loop b := n <= v; exit when b; perform 1 from orders; end loop;",
        "for n in 1..10000 loop if n - v <= 0 then perform 1 from orders; end if; end loop;",
        "foreach m in array '{1,2,3}'::int[] loop if m <= v then perform 1 from orders; end if; end loop;",
        "m := 0; while m < 10000 loop m := m + 1; if m <= v then perform 1 from orders; end if; end loop;",
        "m := 0; loop m := m + 1; exit when m > v; perform 1 from orders; end loop;",
        "m := v; loop m := m + 1; exit when m > v; perform 1 from orders; end loop;",
        "select id into m from customers; loop select m + 1 into m; exit when m > v; end loop;",
        "for n in 1..9 loop if nextval('s') < v then insert into orders (id) values (1); end if; end loop;",
        "for n in 1..9 loop if (select count(*) from orders) < v then insert into orders (id) values (1); \
         end if; end loop;",
        "for n in 1..9 loop b := (select count(*) from orders) < v; if b then insert into orders (id) \
         values (1); end if; end loop;",
        "for r in select i from numbers loop if r.i <= v then perform 1 from orders; end if; end loop;",
        "for r in select g.i, c.salary from numbers g, customers c loop if r.i <= r.salary then \
         perform 1 from orders; end if; end loop;",
        "for r in select i, v as w from numbers loop if r.i <= r.w then perform 1 from orders; end if; end loop;",
        "for r in select * from numbers, customers loop t := r; if t.i <= t.salary then perform 1 from orders; \
         end if; end loop;",
    ] {
        assert!(asked(body).contains("customers.salary row-count"), "{body}: {}", asked(body));
    }
}

#[test]
fn what_is_looked_at_as_often_as_a_masked_value_says_is_a_number_of_rows() {
    for body in [
        "for n in 1..v loop perform 1 from orders; end loop;",
        "for n in 1..v loop m := (select count(*) from orders); end loop;",
        "for n in 1..v loop if exists (select from orders) then null; end if; end loop;",
        "while v > 0 loop v := v - 1; perform 1 from orders; end loop;",
    ] {
        assert!(asked(body).contains("customers.salary row-count"), "{body}: {}", asked(body));
    }
    assert_eq!(asked("for n in 1..v loop m := m + n; end loop;"), "");
}

#[test]
fn a_value_that_a_loop_guesses_costs_as_much_as_finding_it_by_halves() {
    let body = "for n in 1..10000 loop perform 1 from customers where salary = n; end loop;";
    assert_eq!(asked(body), "customers.salary range x20000");
    let body = "for n in 1..10000 loop if n = v then b := true; end if; end loop;";
    assert_eq!(asked(body), "customers.salary row-count");
}

#[test]
fn rows_that_a_loop_goes_through_are_asked_one_question() {
    for (body, expected) in [
        (
            "for r in select id, salary from customers loop if r.salary > 5 then \
             update orders set note = 'a' where id = r.id; end if; end loop;",
            "customers.salary function",
        ),
        (
            "for r in select id, salary, city from customers loop if r.city like 'a%' and r.id > 5 then \
             update orders set note = 'a' where id = r.id; end if; end loop;",
            "",
        ),
        (
            "for r in select c.id, c.salary, o.note from customers c join orders o on o.id = c.id loop \
             if r.salary > 5 and r.note is not null then perform 1 from items; end if; end loop;",
            "customers.salary function",
        ),
        (
            "m := 0; for r in select id, email from customers loop m := m + 1; if m % 100 = 0 then \
             raise notice '%', m; end if; end loop;",
            "",
        ),
        (
            "for r in select note from orders loop if not exists (select from customers where email = r.note) \
             then insert into customers (email) values (r.note); end if; end loop;",
            "customers.email equality; customers.email equality",
        ),
        (
            "for r in select note from orders loop select count(*) into m from customers where email = r.note; \
             if m = 0 then insert into customers (email) values (r.note); end if; end loop;",
            "customers.email equality",
        ),
        (
            "for r in select id from orders loop select salary into v from customers where id = r.id; \
             if v > 5 then update orders set note = 'a' where id = r.id; end if; end loop;",
            "customers.salary function",
        ),
        (
            "for n in 1..10 loop if (select count(*) from customers where salary > 5) > n then null; end if; \
             end loop;",
            "customers.salary range; customers.salary range",
        ),
    ] {
        assert_eq!(asked(body), expected, "{body}");
    }
}

#[test]
fn a_function_is_asked_when_it_is_made() {
    let made = |body: &str, returns: &str| {
        format!(
            "create function f(k int) returns {returns} language plpgsql as $$ declare v int; begin \
             v := (select salary from customers where id = k); {body} end $$"
        )
    };
    let counts = "for n in 1..10000 loop if n <= v then insert into orders (id) values (1); end if; end loop; return 1;";
    check_uses(&made(counts, "int"), "customers.salary row-count");
    let counts = "for n in 1..v loop perform 1 from orders; end loop; return 1;";
    check_uses(&made(counts, "int"), "customers.salary row-count");
    // What it returns is traced where it is called.
    for body in [
        "return v;",
        "if v > 5 then insert into orders (id) values (1); end if; return 1;",
        "for n in 1..10 loop perform 1 from orders; end loop; return v;",
        "for n in 1..10 loop if exists (select from customers where salary = n) then return n; end if; end loop; return 1;",
    ] {
        check_uses(&made(body, "int"), "");
    }
    let body = "return query select id from customers where salary > 5;";
    check_uses(&made(body, "setof int"), "");
}

#[test]
fn a_function_that_calls_itself_is_a_loop() {
    let made = |body: &str, language: &str| {
        format!("create function f(n int) returns int language {language} as $$ {body} $$")
    };
    let sql = "select f(n + 1) where n < 10000; insert into orders (id) select 1 where n <= (select salary from \
               customers where id = 1) returning 1";
    check_uses(&made(sql, "sql"), "customers.salary row-count");
    let body = "begin if n <= (select salary from customers where id = 1) then insert into orders (id) values (1); \
                end if; if n < 10000 then perform f(n + 1); end if; return 1; end";
    check_uses(&made(body, "plpgsql"), "customers.salary row-count");
    let mutual = format!(
        "create function f(n int) returns int language sql as 'select 1'; \
         create function g(n int) returns int language sql as 'select f(n + 1)'; create or replace {}",
        made(&body.replace("perform f", "perform g"), "plpgsql").trim_start_matches("create ")
    );
    check_uses(&mutual, " |  | customers.salary row-count");
    // Going up a tree.
    let tree = "select n where exists (select from customers where id = n and salary > 5) union all select f(note::int) \
                from orders where id = n";
    check_uses(&made(tree, "sql").replace("returns int", "returns setof int"), "");
}

#[test]
fn what_is_called_in_a_loop_is_asked_in_it() {
    check_uses(
        "create function f(k int) returns void language plpgsql as $$ begin \
         if k <= (select salary from customers where id = 1) then insert into orders (id) values (1); end if; end $$; \
         do $$ begin for n in 1..10000 loop perform f(n); end loop; end $$",
        " | customers.salary row-count",
    );
}
#[test]
fn each_value_that_decides_which_way_is_taken_is_a_question() {
    let ways = "case left(ssn, 1) when '1' then (select count(*) from orders) when '2' then (select count(*) from items) end";
    check_uses(&format!("select {ways} from customers"), "customers.ssn function; customers.ssn function");
    check_uses(&format!("select {} from customers", ways.replace("ssn", "city")), "");
    let block = "do $$ declare v text; begin v := (select ssn from customers where id = 1); case left(v, 1) \
                 when '1', '2' then perform 1 from orders; when '3' then perform 1 from items; end case; end $$";
    check_uses(block, "customers.ssn function; customers.ssn function x2");
    check_uses(&block.replace("ssn", "city"), "");
}

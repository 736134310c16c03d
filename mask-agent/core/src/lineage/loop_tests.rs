//! What loops of PL/pgSQL ask again and again.

use super::fixture::{check_uses, each};

/// What a block asks of masked columns, with the number of the last salary in `v`.
fn asked(body: &str) -> String {
    let block = format!(
        "do $$ declare v int; b bool; m int; r record; t record; a int[]; c cursor for select i from numbers; begin \
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
        "r.x := v; for n in 1..9 loop r.x := r.x - 1; if r.x > 0 then perform 1 from orders; end if; end loop;",
        "for n in 1..9 loop a[n] := 1; if a[v] is null then perform 1 from orders; end if; end loop;",
        "for n in 1..9 loop update customers set salary = salary - 1; if (select salary from customers) > 0 then \
         insert into orders (id) values (1); end if; end loop;",
        "for n in 1..9 loop update customers set salary = salary - 1 returning salary into v; if v > 0 then \
         insert into orders (id) values (1); end if; end loop;",
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
        "for n in 1..10000 by v loop perform 1 from orders; end loop;",
        "open c; move absolute v from c; loop fetch c into m; exit when not found; insert into orders (id) values (1); \
         end loop;",
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
            "for r in select id, salary from customers loop if r.salary > 5 then update customers set salary = \
             r.salary * 2 where id = r.id; end if; end loop;",
            "customers.salary function",
        ),
        (
            "loop update customers set email = lower(email) where id in (select id from customers where \
             email <> lower(email) limit 100); exit when not found; end loop;",
            "customers.email equality",
        ),
        (
            "loop update customers set city = 'x' where id in (select id from customers where salary > 5 and \
             city is null limit 100); exit when not found; end loop;",
            "customers.salary range",
        ),
        (
            "for r in select id from orders loop a[r.id] := 1; end loop; for r in select id from items loop \
             if a[r.id] is null then insert into orders (id) values (r.id); end if; end loop;",
            "",
        ),
        (
            "open c; fetch absolute 5 from c into m; move forward 3 from c; for n in 1..100 by 10 loop \
             update orders set note = 'a' where id between n and n + 9; end loop;",
            "",
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
    // Whoever calls it for each row of a list has it ask anew.
    let anew = "if nextval('s') <= v then insert into orders (id) values (1); end if; return 1;";
    check_uses(&made(anew, "int"), "customers.salary row-count anew");
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

#[test]
fn what_is_looked_for_in_a_query_is_as_it_is_or_a_function() {
    for (condition, expected) in [
        ("where true in (select salary > 5 from customers)", "customers.salary function"),
        ("where (select salary > 5 from customers)", "customers.salary function"),
        ("where '9' in (select left(ssn, 1) from customers)", "customers.ssn function"),
        ("from numbers where i in (select left(ssn, 4)::int from customers)", "customers.ssn row-count"),
        ("from customers where left(ssn, 4)::int in (select i from numbers)", "customers.ssn row-count"),
        ("from numbers where i in (select salary from customers)", "customers.salary equality"),
        ("from customers where email in (select lower(note) from orders)", "customers.email equality"),
        ("from orders where lower(note) in (select lower(email) from customers)", "customers.email equality"),
        ("from customers where (id, email) in (select id, note from orders)", "customers.email equality"),
        ("from orders where note not in (select email from customers)", "customers.email equality"),
        ("from customers c where exists (select left(c.email, 3) from orders where customer_id = c.id)", ""),
    ] {
        check_uses(&format!("select 1 {condition}"), expected);
    }
}

#[test]
fn rows_made_of_what_is_as_long_as_a_masked_value_says_are_a_number_of_rows() {
    for from in [
        "customers, unnest(array_fill(1, array[salary::int]))",
        "customers, string_to_table(repeat('a,', salary::int), ',')",
        "unnest((array(select i from numbers))[1:(select salary from customers)])",
        "(select array_fill(1, array[salary::int]) as a from customers) c, unnest(c.a)",
    ] {
        check_uses(&format!("select 1 from {from}"), "customers.salary row-count");
    }
    check_uses(
        "select unnest(array[email, ssn]) from customers",
        "customers.email function; customers.ssn function",
    );
    for call in ["regexp_split_to_table(left(email, 5), '@')", "unnest((string_to_array(email, '@'))[1:2])"] {
        check_uses(&format!("select w from customers, {call} w"), "customers.email function");
    }
}

#[test]
fn what_a_recursive_query_computes_of_itself_is_what_a_loop_counts() {
    let counts = "select salary from customers union all select n - 1 from w where n > 0";
    check_uses(&format!("with recursive w(n) as ({counts}) select 1 from w"), "customers.salary row-count");
    let rows = "select id, salary, 1 as deep from customers where id = 1 union all select c.id, c.salary, deep + 1 \
                from t join customers c on c.id = t.id + 1 where deep < 5 and c.salary > 5";
    check_uses(&format!("with recursive t as ({rows}) select * from t"), "customers.salary range");
}

#[test]
fn a_collation_is_as_loose_in_a_loop_as_elsewhere() {
    let block = "do $$ begin for n in 1..9 loop if (select email from collated) = 'x' then insert into orders (id) \
                 values (1); end if; end loop; end $$";
    check_uses(block, "collated.email function");
}

#[test]
fn how_many_rows_are_stored_is_a_value_of_whoever_stores_them() {
    let made = "create function f() returns int language plpgsql as $$ begin if (select count(*) from orders) < \
                (select salary from customers where id = 1) then insert into orders (id) values (1); end if; \
                return 1; end $$; select f() from generate_series(1, 9)";
    check_uses(made, " | customers.salary row-count");
    check_uses("select city from customers group by city having count(*) > 5", "");
    check_uses(
        "select city from customers group by city having sum(salary) > 5 * count(*)",
        "customers.salary function",
    );
}

#[test]
fn what_is_tested_may_have_rows_of_its_own() {
    let asks = |body: &str, expected: &str| {
        check_uses(&format!("do $$ begin {body} end $$"), expected);
    };
    // PL/pgSQL puts SELECT before it, whatever it is.
    let tested = "ssn like '5%' from customers where id = 1";
    asks(&format!("if {tested} then perform 1 from orders; end if;"), "customers.ssn function");
    asks(&format!("while {tested} loop perform 1 from orders; end loop;"), "customers.ssn row-count");
    asks(&format!("assert {tested};"), "customers.ssn function");
    let ways = "when '1' then perform 1 from orders; when '2' then perform 1 from items; end case;";
    // The query is read by what asks of it as well.
    let asked = ["customers.ssn function"; 4].join("; ");
    asks(&format!("case left(ssn, 1) from customers where id = 1 {ways}"), &asked);
    asks(&format!("case left(city, 1) from customers where id = 1 {ways}"), "");
    asks("if city like '5%' from customers where id = 1 then perform 1 from orders; end if;", "");
}

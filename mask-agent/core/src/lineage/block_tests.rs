//! What PL/pgSQL does by what it has found.

use super::fixture::{check, check_uses, check_writes, each};

/// What a block puts into `orders`, and by which masked columns that was decided.
fn decided(block: &str) -> String {
    let implied = |statement: &super::Statement| {
        let writes = statement.writes.iter().map(|write| {
            let mut by: Vec<String> = write.origins.all().map(super::fixture::name).collect();
            by.sort();
            by.dedup();
            by.join(", ")
        });
        writes.collect::<Vec<_>>().join("; ")
    };
    each(block, Some(&["public"]), implied)
}

#[test]
fn what_is_put_under_a_condition_tells_what_was_tested() {
    let put = "insert into orders (note) values ('5')";
    for condition in [
        "if (select ssn from customers) like '5%' then PUT; end if",
        "if true then null; elsif (select ssn from customers) like '5%' then PUT; end if",
        "case (select ssn from customers) when '5' then PUT; else null; end case",
        "for n in 1..9 loop perform 1 from customers where substr(ssn, n, 1) = '5'; if found then PUT; end if; end loop",
        "for n in 1..9 loop perform 1 from customers where ssn > n::text; if found then PUT; end if; end loop",
        "for n in 1..9 loop if exists (select 1 from customers where ssn = n::text) then PUT; end if; end loop",
        "for n in select 1 from customers, numbers where ssn > i::text loop PUT; end loop",
        "while (select ssn from customers) like '5%' loop PUT; end loop",
        "begin perform 1 / length(ssn) from customers; exception when others then PUT; end",
        "for n in 1..9 loop PUT; if exists (select 1 from customers where ssn = n::text) then commit; else rollback; end if; end loop",
        "PUT; for n in 1..9 loop if (select ssn from customers) > n::text then rollback; end if; commit; end loop",
        "PUT; for n in 1..9 loop if (select ssn from customers) > n::text then truncate orders; end if; end loop",
        "begin assert (select ssn from customers) like '5%'; exception when others then PUT; end",
    ] {
        let block = format!("do $$ declare n int; begin {}; end $$", condition.replace("PUT", put));
        assert!(decided(&block).contains("customers.ssn"), "{block}: {}", decided(&block));
        let benign = block.replace("ssn", "city");
        assert!(!decided(&benign).contains("customers.ssn"), "{benign}");
    }
}

#[test]
fn a_variable_holds_what_it_is_given_and_no_other_does() {
    let function = "create function f() returns text language plpgsql as $$ declare a text; b text; r record; begin \
         select city, email into a, b from customers; BODY end $$; select f()";
    let returns = |body: &str, expected: &str| {
        check(&function.replace("BODY", body), &format!("- | {expected}"));
    };
    returns("return a;", "f <- customers.city");
    returns("return b;", "f <- customers.email");
    returns("a := b; return a;", "f <- customers.city, customers.email");
    let all = "f <- customers.id, customers.city, customers.email, customers.ssn, customers.salary";
    returns("select * into r from customers; return r.id;", "f <- customers.id");
    returns("for r in select id, city from customers loop return r.city; end loop;", "f <- customers.city");
    returns("return r.id; select * into r from customers;", "f <- customers.id");
    returns(
        "select id, city as x into r from customers; return r.nothing;",
        "f <- customers.id, customers.city",
    );
    returns("select * into r from customers; return r;", all);
    returns("select * into r from customers; return (r).id;", all);
    returns("select * into r from customers; r := r; return r.id;", all);
    returns(
        "select id, city into r from customers; r.id := b; return r.id;",
        "f <- customers.id, customers.email",
    );
    returns("select id, city into r from customers; r.id := b; return r.city;", "f <- customers.city");
    // Of a type of its own, or another variable of its name, a field is called otherwise than the column.
    let function = function.replace("r record", "r customers");
    let returns = |body: &str, expected: &str| {
        check(&function.replace("BODY", body), &format!("- | {expected}"));
    };
    returns("select * into r from customers; return r.id;", all);
    let function = function.replace("r customers", "r record");
    let twice = "declare r customers; begin select ssn, id into r from customers; return r.id; end;";
    check(&function.replace("BODY", twice), "- | f <- customers.id, customers.ssn");
    returns("if b like 'a%' then return '1'; end if; return '0';", "f ~ customers.email");
    returns("if a like 'a%' then return '1'; end if; return '0';", "f ~ customers.city");
}

#[test]
fn a_loop_that_asks_counts_up_to_the_answer() {
    let counted = |asked: &str| {
        format!(
            "create function f() returns int language plpgsql as $$ declare n int; begin n := 0; \
             for k in 1..9000 loop {asked} end loop; return n; end $$; select f()"
        )
    };
    for asked in [
        "perform 1 from customers where salary > k; if found then n := n + 1; end if;",
        "if exists (select 1 from customers where salary > k) then n := n + 1; end if;",
        "exit when (select salary from customers where id = 1) = k; n := n + 1;",
    ] {
        let sql = counted(asked);
        let all = each(&sql, Some(&["public"]), super::fixture::outputs);
        assert!(all.contains("customers.salary"), "{sql}: {all}");
    }
    // The same question again, and one that is asked once.
    let again = counted("perform 1 from customers where email = 'a'; n := n + 1;");
    check(&again, "- | f");
    check(
        "create function f(mail text) returns setof text language plpgsql as $$ declare r record; begin \
         for r in select city from customers where email = mail loop return next r.city; end loop; end $$; \
         select f('a')",
        "- | f <- customers.city",
    );
}

#[test]
fn conditions_of_a_body_are_questions() {
    check_uses(
        "do $$ begin if (select salary from customers) > 5 then null; end if; end $$",
        "customers.salary range",
    );
    check_uses(
        "do $$ declare v int; begin select salary into v from customers; if v > 5 then null; end if; end $$",
        "customers.salary function",
    );
    check_uses(
        "do $$ declare v text; begin select city into v from customers; if v > 'a' then null; end if; end $$",
        "",
    );
}

#[test]
fn a_callers_arguments_decide_what_code_of_others_does() {
    // A function of the catalog is its author's, and so are its conditions.
    check_writes("select kept(1)", "orders.note <- customers.email");
}

#[test]
fn what_a_trigger_made_just_now_writes_is_in_what_this_transaction_made() {
    check(
        "create table told (d text); \
         create function spells() returns trigger language plpgsql as $$ begin \
         if new.ssn like '5%' then insert into told values ('5'); end if; return new; end $$; \
         create trigger t before update on customers for each row execute function spells(); \
         update customers set city = city; select d from told",
        "- | - | - | - | d <- customers.ssn",
    );
}

#[test]
fn rows_of_a_function_tell_what_it_was_given() {
    const TELLS: &str = "i = numbers.i ~ customers.ssn";
    check("select i from customers, numbers, regexp_matches(ssn, i::text)", TELLS);
    check("select i from customers, numbers, lateral regexp_matches(ssn, i::text) m", TELLS);
    check(
        "select i from numbers cross join customers join lateral regexp_matches(ssn, i::text) m on true",
        TELLS,
    );
    check(
        "select i from customers, numbers, jsonb_path_query(to_jsonb(ssn), '$', jsonb_build_object('i', i))",
        TELLS,
    );
    check("select i from customers, numbers, unnest(array_positions(array[ssn], i::text))", TELLS);
    check("select i from customers, numbers, regexp_matches(city, i::text)", "i = numbers.i");
    check("select id from customers, unnest(string_to_array(city, ','))", "id = customers.id");
    check_uses("select id, regexp_matches(ssn, '^8') from customers", "customers.ssn function");
    check_uses("select id, unnest(ssn) from customers", "");
    check_uses(
        "select id from customers, xmltable('/a' passing xmlparse(document ssn) columns x text)",
        "customers.ssn function",
    );
}

#[test]
fn the_end_of_a_transaction_of_rows_or_a_lock_moves_no_value() {
    let block = |end: &str| format!("do $$ begin insert into orders (note) values ('a'); {end}; end $$");
    for end in
        ["commit", "rollback", "commit and chain", "for n in 1..3 loop delete from orders; commit; end loop"]
    {
        let writes = each(&block(end), Some(&["public"]), |statement| {
            let is_known = statement.writes.iter().all(|write| write.origins.untraceable.is_none());
            format!("{} {is_known} {}", statement.writes.len(), statement.is_opaque)
        });
        assert!(writes.ends_with("true false"), "{end}: {writes}");
    }
    // What else it empties is not named.
    let cascades = each(&block("truncate orders cascade"), Some(&["public"]), |statement| {
        statement.is_opaque.to_string()
    });
    assert_eq!(cascades, "true");
    check_uses(
        &block("if (select ssn from customers where id = 1) = '5' then commit; end if"),
        "customers.ssn equality",
    );
}

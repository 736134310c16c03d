//! Which uses of a column are the same question, and which are another one.

use super::fixture::{check, check_uses, name, statements_along, uses};

#[test]
fn a_column_in_another_case_or_without_blanks_is_compared_as_it_is() {
    let asks = |condition: &str, expected: &str| {
        check_uses(&format!("select id from customers where {condition}"), expected);
    };
    for condition in [
        "lower(email) = $1",
        "upper(email::text) = upper('a')",
        "upper(trim(email)) <> 'A'",
        "ltrim(rtrim(pg_catalog.lower(email))) = 'a'",
        "lower(email) is not distinct from lower($1)",
    ] {
        asks(condition, "customers.email equality");
    }
    asks("lower(email) in ('a', 'b')", "customers.email equality x2");
    asks("lower(email) = any ($1)", "customers.email equality x$1");
    asks("lower(email)::text = $1", "customers.email function");
    asks("initcap(lower(email)) = lower(ssn)", "customers.email equality; customers.ssn equality");
    for condition in [
        "lower(email) < 'a'",
        "lower(email) between 'a' and 'b'",
        "lower(email) like 'a%'",
        "trim(email, 'abc') = 'd'",
        "lower(left(email, 1)) = 'a'",
        "lower(email || city) = 'a'",
        "lower(initials(email)) = 'a'",
    ] {
        asks(condition, "customers.email function");
    }
    // The bounds of a range.
    asks("lower(int4range(salary, 5)) = 5", "customers.salary function");
    check_uses(
        "select c.id from customers c join orders o on lower(o.note) = lower(c.email)",
        "customers.email equality",
    );
    check(
        "select c.id from customers c join orders o on lower(o.note) = lower(c.email)",
        "id = customers.id",
    );
    check_uses(
        "select c.id from customers c join (values ('a'), ('b')) l(v) on l.v = lower(c.email)",
        "customers.email row-count",
    );
    check_uses(
        "select c.id from customers c join unnest($1::text[]) l(v) on lower(l.v) = lower(c.email)",
        "customers.email row-count",
    );
    // A function of the same name that somebody else made.
    check_uses(
        "begin; create function lower(text) returns text language sql as 'select left($1, 1)'; \
         select id from customers where lower(email) = 'a'",
        " |  | customers.email function",
    );
}

#[test]
fn a_question_about_what_changes_by_itself_is_another_one_each_time() {
    let asks = |condition: &str, expected: &str| {
        let sql = format!("select count(*) from customers where {condition}");
        check_uses(&sql, &format!("customers.salary {expected}"));
    };
    for value in [
        "current_setting('my.n')::int",
        "coalesce(current_setting('my.n', true), '5')::int",
        "nextval('s')",
        "random() * 1000",
        "length(current_schema)",
        "extract(epoch from now())::bigint % 1000",
        "date_part('microseconds', current_timestamp)",
        "(now() - '2020-01-01'::timestamptz)::text::int",
        "extract(second from current_time)",
        "extract(second from localtime(3))",
        "extract(second from localtimestamp)",
        "5 + inet_client_port()",
    ] {
        asks(&format!("salary > {value}"), "range anew");
    }
    asks("salary > (select count(*) from generate_series(1, current_setting('my.n')::int))", "function anew");
    asks("salary > (select current_setting('my.n')::int)", "function anew");
    asks("now() + salary * interval '1 us' > '2030-01-01'", "function anew");
    asks("now() > '2020-01-01'::timestamptz + salary * interval '1 us'", "function anew");
    asks("case when random() > 0.5 then salary > 5 else false end", "function anew");
    for value in ["5", "$1", "(5 + $1) * 2", "length(current_user)", "pi() * 1000", "abs($1::int)"] {
        asks(&format!("salary > {value}"), "range");
    }
}

#[test]
fn a_comparison_with_the_time_is_the_same_question_a_moment_later() {
    let asks = |condition: &str, expected: &str| {
        check_uses(&format!("select count(*) from born where {condition}"), expected);
    };
    for value in [
        "now()",
        "current_date - interval '18 years'",
        "now() - make_interval(years => $1)",
        "date_trunc('month', localtimestamp) + interval '1 month'",
        "(now() at time zone 'UTC')::date",
        "cast(clock_timestamp() as date)",
    ] {
        asks(&format!("birth_date < {value}"), "born.birth_date range");
    }
    for condition in [
        "age(birth_date) > interval '18 years'",
        "age(now(), birth_date) > interval '18 years'",
        "extract(year from age(now(), birth_date)) >= 18",
        "date_part('year', now()) - date_part('year', birth_date) > 18",
        "extract(month from birth_date) = extract(month from now())",
        "(now()::date - birth_date) / 365 > 18",
        "date_part('day', now() - birth_date) > 7000",
    ] {
        asks(condition, "born.birth_date function");
    }
    asks("extract(second from age(now(), birth_date)) > 18", "born.birth_date function anew");
    asks("extract(epoch from birth_date - now()) > 18", "born.birth_date function anew");
    asks("now() > birth_date::timestamptz", "born.birth_date function");
    asks("now() > (birth_date || ' 10:00')::timestamptz", "born.birth_date function anew");
}

#[test]
fn whether_a_statement_fails_may_tell_what_it_computes_something_of() {
    let computes = |sql: &str| -> Vec<String> {
        let statements = statements_along(Some(&["public"]), sql).unwrap();
        statements[0].computes.iter().map(|column| name(*column)).collect()
    };
    for sql in [
        "select case when salary > 5 then 1 / 0 end from customers",
        "select 1 from customers order by sqrt(salary - 5)",
        "select salary::int2 from customers",
        "with x as materialized (select 1 / (salary - 5) from customers) select count(*) from x",
        "select coalesce(salary > 5, 1 / 0 = 1) from customers",
        "select case salary when 5 then 1 / 0 end from customers",
        "select repeat('x', 1000000000 * (salary > 5)::int) from customers",
        "select salary in (select i from numbers) from customers",
        "select json_value(json_array(salary), '$[0]' returning int error on error) from customers",
        "insert into numbers select salary from customers",
        "update numbers set i = salary from customers",
        "do $$ begin perform 1 / (salary - 5) from customers; end $$",
    ] {
        assert_eq!(computes(sql), ["customers.salary"], "{sql}");
    }
    assert_eq!(computes("select contact || 'x' from contacts"), ["customers.email"]);
    for sql in [
        "select salary, email from customers where salary > 5 and id = 1 / 1",
        "select * from customers order by salary",
        "select count(*), max(id + 1) from customers group by email",
        "select coalesce(email, '') from customers where email is not null",
        "update customers set salary = 5 where email = 'a'",
    ] {
        assert_eq!(computes(sql), Vec::<String>::new(), "{sql}");
    }
}

#[test]
fn what_a_view_asks_is_asked_once_for_all_statements_on_it() {
    let asked = |sql: &str| {
        let statements = statements_along(Some(&["public"]), sql).unwrap();
        (uses(&statements[0]), statements[0].definitions)
    };
    let (uses_of_view, definitions) = asked("select city from rich");
    assert_eq!(uses_of_view, "customers.salary range standing");
    for sql in [
        "select count(*) from rich",
        "select 1 from rich r join orders o on r.city = o.note where o.note = 'a'",
    ] {
        assert_eq!(asked(sql), (uses_of_view.clone(), definitions), "{sql}");
    }
    assert_ne!(asked("select r.city from rich r, labels").1, definitions);
    assert_eq!(
        asked("select city from rich where contact < 'b'").0,
        "customers.email range; customers.salary range standing"
    );
    check_uses("select id from guarded", "guarded.email equality standing");
    for sql in ["select id from guarded", "update noted set note = 'a'"] {
        assert_ne!(asked(sql).1, asked("select id from orders").1, "{sql}");
    }
    assert_ne!(asked("select twice(1)").1, asked("select 'x'").1);
}

#[test]
fn what_was_stored_beside_guesses_is_compared_with_them_as_rows_of_another_relation() {
    let base = "create temp table t as select n, salary as v from customers, generate_series(1, 9) n; ";
    for (statement, expected) in [
        ("select n from t where v > 5", "customers.salary range"),
        ("select n from t where v = 5", "customers.salary equality"),
        ("select n from t where v > n", "customers.salary row-count"),
        (
            "select n from t where (select v / 10 = n)",
            "customers.salary equality; customers.salary row-count",
        ),
        ("select n from t order by abs(v / 10 - n)", "customers.salary row-count"),
        (
            "create temp table u as select n, v / 10 - n as d from t; select n from u where d = 0",
            " | customers.salary row-count",
        ),
        (
            "create temp table u as select n, v / 10 as d from t; select n from u where d = 0",
            " | customers.salary function",
        ),
        (
            "create temp table u as select n, v / 10 as d from t; select n from u where d = n",
            " | customers.salary row-count",
        ),
        (
            "create temp table u as select v > 5 as d from t; select 1 from u where d is null",
            " | customers.salary function",
        ),
    ] {
        check_uses(&format!("{base}{statement}"), &format!(" | {expected}"));
    }
    check(
        "create temp table t as select n, n as m, salary as v from customers, generate_series(1, 9) n; \
         select m from t where v = n",
        "- | m ~ customers.salary ?OpaqueFunction",
    );
}

#[test]
fn what_a_functions_result_has_no_room_for_is_computed() {
    for (returns, expected) in [("\"char\"", "function"), ("text", "equality"), ("varchar", "equality")] {
        check_uses(
            &format!(
                "create function first(text) returns {returns} language sql as 'select $1'; \
                 select id from customers where first(ssn) = '8'"
            ),
            &format!(" | customers.ssn {expected}"),
        );
    }
}

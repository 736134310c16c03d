//! Which uses of a column are the same question, and which are another one.

use super::{
    Lasts, SetTo, Setting,
    fixture::{check, check_uses, name, statements_along, uses},
    is_harmless_setting,
};

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
    asks("salary > extract(epoch from 'now'::timestamptz) % 1000", "range anew");
    asks("salary > extract(epoch from timestamp ' Today 10:00') % 1000", "range anew");
    asks("salary > extract(epoch from '2020-01-01'::timestamptz) % 1000", "range");
    asks("salary > 'orders'::regclass::oid::int", "range anew");
    asks("salary > 'nowhere'::text::int", "range");
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
        "'today'",
        "date 'yesterday'",
        "'now'::timestamptz - interval '18 years'",
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
fn a_setting_that_may_change_what_words_mean_is_known_by_its_value() {
    let sets = |sql: &str| statements_along(None, sql).unwrap().remove(0).settings;
    let set = |name: &str, to: SetTo, lasts: Lasts| Setting::Set { name: name.to_owned(), to, lasts };
    let value = |value: &str| SetTo::Value(value.to_owned());
    for (sql, expected) in [
        ("set TimeZone = 'UTC'", vec![set("timezone", value("UTC"), Lasts::Session)]),
        ("set local time zone 'UTC'", vec![set("timezone", value("UTC"), Lasts::Transaction)]),
        ("set role a", vec![set("role", value("a"), Lasts::Session)]),
        ("reset role", vec![set("role", SetTo::Default, Lasts::Session)]),
        ("set search_path = a, b", vec![set("search_path", value("a\0b"), Lasts::Session)]),
        (
            "set datestyle = 'ISO, DMY'",
            vec![
                set("datestyle: style", value("iso"), Lasts::Session),
                set("datestyle: order", value("dmy"), Lasts::Session),
            ],
        ),
        ("set datestyle = 'German'", vec![Setting::Anything]),
        ("set time zone interval '1' hour to minute", vec![Setting::Anything]),
        ("set timezone from current", vec![Setting::Anything]),
        (
            "select set_config('TimeZone', $1, true), set_config('my.user', $2, true)",
            vec![set("timezone", SetTo::Parameter(1), Lasts::Transaction)],
        ),
        ("select set_config('timezone', i::text, true) from numbers", vec![Setting::Anything]),
        ("select case when now() > 'now' then set_config('role', 'a', true) end", vec![Setting::Anything]),
        ("select set_config('timezone.a'::varchar(8), 'UTC', true)", vec![Setting::Anything]),
        ("do $$ begin perform set_config('role', 'a', true); end $$", vec![Setting::Anything]),
        ("discard all", vec![Setting::Discarded]),
        ("reset all", vec![Setting::Reset]),
        ("rollback to a", vec![Setting::TakenBack]),
    ] {
        assert_eq!(sets(sql), expected, "{sql}");
    }
    for sql in [
        "set application_name = 'a'",
        "set local statement_timeout = 5",
        "set my.tenant = 'a'",
        "set session characteristics as transaction read only",
        "begin",
        "savepoint a",
        "discard temp",
        "select set_config('my.user', city, true) from customers",
        "select current_setting('timezone')",
    ] {
        assert_eq!(sets(sql), [], "{sql}");
    }
}

#[test]
fn definitions_by_which_other_words_are_read_are_known_from_those_that_are_named() {
    let redefines = |sql: &str| statements_along(None, sql).unwrap().remove(0).redefines;
    for sql in [
        "create domain d as varchar(3)",
        "drop domain d",
        "alter type e add value 'a'",
        "alter type c alter attribute a type int2",
        "create aggregate most(int) (sfunc = int4larger, stype = int)",
        "alter role app set timezone = 'UTC'",
        "alter function f() set timezone = 'UTC'",
        "create function f() returns int language sql set timezone = 'UTC' as 'select 1'",
        "alter text search dictionary d (stopwords = 'a')",
        "create extension citext",
        "alter table orders alter note type varchar(5)",
        "alter schema a rename to b",
    ] {
        assert!(redefines(sql), "{sql}");
    }
    for sql in [
        "create temp table t as select 1",
        "create table t (a int)",
        "drop table t",
        "create view v as select 1 as a",
        "create or replace function f() returns int language sql as 'select 1'",
        "alter table orders add column a int",
        "alter table orders rename to others",
        "create index on orders (note)",
        "grant select on orders to public",
        "select 1",
    ] {
        assert!(!redefines(sql), "{sql}");
    }
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
        ("select n from t where (select v / 10 = n)", "customers.salary row-count"),
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

#[test]
fn what_a_setting_may_change_is_known_by_its_name() {
    assert!(is_harmless_setting("application_name") && is_harmless_setting("statement_timeout"));
    assert!(!is_harmless_setting("timezone") && !is_harmless_setting("search_path"));
}

#[test]
fn what_is_looked_at_again_asks_again_where_it_compares_with_what_changes() {
    let own = "create function f() returns int language sql immutable as $$ select current_setting('my.n')::int $$; ";
    for (sql, expected) in [
        ("create index on customers (id) where salary > f()", "customers.salary row-count anew"),
        ("create index on customers ((salary > f()))", "customers.salary row-count anew"),
        ("alter table customers add check (salary > f())", "customers.salary row-count anew"),
        ("create index on customers (id) where salary > 5", "customers.salary range"),
        ("create index on customers (id) where id > f()", ""),
        ("alter table customers add check (salary > 5)", "customers.salary range"),
    ] {
        check_uses(&format!("{own}{sql}"), &format!(" | {expected}"));
    }
    check_uses(
        "alter table customers validate constraint c",
        "customers.email function anew; customers.ssn function anew; customers.salary function anew",
    );
    check_uses("refresh materialized view searched", "customers.salary range anew");
    check_uses("refresh materialized view gathered", "");
}

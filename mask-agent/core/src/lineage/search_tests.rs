//! Blind searches that do not look like one.

use super::{
    Made,
    fixture::{self, check, check_uses, statements},
};

#[test]
fn a_list_that_is_joined_by_name_is_told_as_what_its_rows_are() {
    for list in
        ["generate_series(1, 50000) g(salary)", "(values (1), (2)) l(salary)", "(select 5 as salary) s"]
    {
        check_uses(
            &format!("select count(*) from customers c join {list} using (salary)"),
            "customers.salary row-count",
        );
        check_uses(
            &format!("select count(*) from {list} natural join customers c"),
            "customers.salary row-count",
        );
        check_uses(
            &format!("select count(*) from customers c full join {list} using (salary)"),
            "customers.salary row-count",
        );
    }
    let half = "(select left(email, 4) as v from customers) a";
    check_uses(
        &format!("select 1 from {half} natural join (select 'a' as v) b"),
        "customers.email row-count",
    );
    check_uses(
        &format!("select 1 from {half} join (select left(ssn, 4) as v from customers) b using (v)"),
        "customers.email function; customers.ssn function",
    );
    // Ordinary joins of stored columns, and lists of what is not masked.
    check_uses("select c.id from customers c join customers d using (email)", "customers.email equality");
    check_uses(
        "select 1 from (select id, note as email from orders) o natural join (select email from customers) c",
        "customers.email equality",
    );
    check_uses(
        "select 1 from (select lower(note) as e from orders) o join (select lower(email) as e from customers) c using (e)",
        "customers.email equality",
    );
    check_uses("select email from customers c join generate_series(1, 9) g(id) using (id)", "");
    check_uses("select email from customers natural join (values (1), (2)) v(id)", "");
}

#[test]
fn rows_that_another_query_has_as_well_or_not_are_a_list() {
    let list = "select generate_series(1, 50000)";
    for operation in ["intersect", "intersect all", "except", "except all"] {
        for sql in [
            format!("select count(*) from (select salary from customers {operation} {list}) s"),
            format!("select count(*) from ({list} {operation} select salary from customers) s"),
            format!("select exists (select salary from customers where id = 1 {operation} select $1)"),
        ] {
            check_uses(&sql, "customers.salary equality; customers.salary range");
        }
        let half =
            format!("select left(email, 4) from customers {operation} select left(ssn, 4) from customers");
        check_uses(
            &half,
            "customers.email equality; customers.email function; customers.ssn equality; customers.ssn function",
        );
        let alike = format!("select email from customers {operation} select work_email from people");
        check_uses(
            &alike,
            "customers.email equality; customers.email grouping; people.work_email equality; people.work_email grouping",
        );
        check_uses(&format!("select id from customers {operation} {list}"), "");
    }
    check_uses("select count(*) from (select email from customers union all select 'a') s", "");
    let both = |union: &str| {
        format!("with recursive t(v) as (select salary from customers {union} {list}) select count(*) from t")
    };
    check_uses(&both("union"), "customers.salary range");
    check_uses(&both("union all"), "");
    check_uses(
        "with recursive t(m, i) as (select email, id from customers where id = 1 union \
         select c.email, c.id from t join customers c on c.id = t.i + 1) select i from t",
        "customers.email grouping",
    );
}

#[test]
fn several_lists_are_as_many_questions_as_they_have_guesses_together() {
    let list = |from: u32, count: u32| {
        let numbers: Vec<String> = (from..from + count).map(|number| number.to_string()).collect();
        format!("in ({})", numbers.join(", "))
    };
    let asks = |condition: String, expected: &str| {
        check_uses(&format!("select count(*) from customers where {condition}"), expected);
    };
    let thousand = |from: u32| format!("salary {}", list(from, 1_000));
    asks(
        format!("{} or {} or {}", thousand(0), thousand(1_000), thousand(2_000)),
        "customers.salary equality x1000; customers.salary equality x1000; customers.salary range x3000",
    );
    asks(
        format!("{} or salary = any ($1)", thousand(0)),
        "customers.salary equality x$1; customers.salary range x1200",
    );
    let arrays = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| format!("salary = any (${number})")).collect::<Vec<_>>().join(" or ")
    };
    check_uses(
        &format!("select 1 from customers where {}", arrays(1..7)),
        "customers.salary equality x$2; customers.salary equality x$3; customers.salary equality x$4; \
         customers.salary equality x$5; customers.salary equality x$6; customers.salary range x1200",
    );
    asks(arrays(1..3), "customers.salary equality x$1; customers.salary equality x$2");
    let same = "select 1 from customers where salary = any ($1)";
    assert!(!fixture::each(&[same; 9].join(" union all "), None, fixture::uses).contains("range"));
    // Within what mappers cut theirs at, or of other columns.
    asks(
        format!("salary {} or salary {}", list(0, 500), list(500, 500)),
        "customers.salary equality x500; customers.salary equality x500",
    );
    asks(
        format!("{} and ssn {}", thousand(0), list(0, 1_000)),
        "customers.ssn equality x1000; customers.salary equality x1000",
    );
    asks(format!("id {} or id {}", list(0, 1_000), list(1_000, 1_000)), "");
}

#[test]
fn rows_that_are_put_beside_unique_values_are_a_list() {
    let values = |count: usize| vec!["('a')"; count].join(", ");
    for rest in ["", "on conflict do nothing", "on conflict (email) do update set city = 'b'"] {
        let asks = |source: &str, expected: &str| {
            let sql = format!("insert into customers (email) {source} {rest}");
            check_uses(&sql, &format!("customers.email {expected}"));
        };
        for source in [
            "select generate_series(1, 50000)",
            "select g from generate_series(1, 50000) g where true",
            "select g from regexp_split_to_table($1, ',') g where true",
            "select n.i + g from numbers n, generate_series(1, 50000) g where true",
            "with recursive t(v) as (select 1 union all select v + 1 from t where v < 50000) select v from t where true",
        ] {
            asks(source, "range x?");
            check_uses(&format!("insert into orders (note) {source}"), "");
            check_uses(&format!("insert into customers (city) {source}"), "");
        }
        asks(&format!("values {}", values(1_001)), "range x1001");
        asks(&format!("values {}", values(3)), "equality x3");
        asks("values ($1)", "equality");
        asks("select unnest($1::text[])", "equality x$1");
        // What programs load.
        for source in [
            "select note from orders where true",
            "select trim(note) from orders o join numbers on i = o.id",
            "select b.e from (select $1 as data) p, lateral (select e from json_to_recordset(p.data) as _(e text)) b \
             where true",
            "select a from unnest($1::text[], $2::int[]) u(a, b) where true",
        ] {
            asks(source, "equality");
        }
    }
}

#[test]
fn a_constant_in_place_of_null_is_a_guess_unless_it_is_blank() {
    let matters = |sql: &str| statements(sql).unwrap()[0].needs_literals;
    for (blank, guess) in [
        ("select id from customers order by coalesce(salary, 0)", "6000000)"),
        ("select count(*) from customers group by coalesce(salary, 0)", "6000000)"),
        ("select id, coalesce(salary, 0) as s from customers order by s", "6000000) as s"),
        ("select rank() over (order by coalesce(c.salary, 0)) from customers c", "6000000)) from"),
        ("select distinct coalesce(salary, 0) from customers", "6000000) from"),
    ] {
        assert!(matters(blank), "{blank}");
        let tail = guess.split_once(')').unwrap().1;
        let sql = blank.replace(&format!("0){tail}"), guess);
        assert_ne!(sql, *blank);
        assert!(fixture::each(&sql, None, fixture::uses).contains("function"), "{sql}");
        assert!(!fixture::each(blank, None, fixture::uses).contains("function"), "{blank}");
    }
    for sql in [
        "select coalesce(email, '') from customers where id = 5",
        "select id from customers where coalesce(email, '') = 'a'",
        "select id from customers order by coalesce(city, '')",
        "select coalesce(city, ''), count(*) from customers group by coalesce(city, '')",
    ] {
        assert!(!matters(sql), "{sql}");
    }
}

#[test]
fn an_order_by_what_is_computed_of_several_values_is_a_question() {
    let number = "(id / id) * (id / id + id / id)";
    for value in [
        format!("salary > {number}"),
        format!("sign(salary - {number})"),
        format!("case when salary > {number} then salary end"),
        format!("lower(email) < chr({number})"),
        format!("coalesce(salary / ({number}), salary)"),
        "salary > id".to_owned(),
        "nullif(salary, id)".to_owned(),
        "greatest(salary, id)".to_owned(),
        "salary - salary / salary".to_owned(),
        "md5(md5(md5(salary::text)))".to_owned(),
        "(select salary > c.id from customers c limit 1)".to_owned(),
    ] {
        for sql in [
            format!("select id from customers order by {value}"),
            format!("select count(*) from customers group by {value}"),
            format!("select distinct {value} from customers"),
            format!("select distinct on ({value}) id from customers"),
            format!("select {value} as x, id from customers order by x"),
            format!("select rank() over (order by id, {value}) from customers"),
            format!("select count(*) over w from customers window w as (partition by {value})"),
            format!("select array_agg(id order by {value}) from customers"),
            format!("select id from customers order by ({value}, id)"),
            format!("select {value} from customers union select {value} from customers"),
        ] {
            let uses = fixture::each(&sql, Some(&["public"]), fixture::uses);
            assert!(uses.contains("function"), "{sql}: {uses}");
        }
    }
    for value in [
        "salary",
        "c",
        "(email, ssn)",
        "(email, id)",
        "length(email)",
        "salary::text",
        "-salary",
        "length(coalesce(email, ''))",
        "coalesce(email, ssn)",
        "coalesce(city, email)",
        "lower(trim(email))",
        "contact",
        "(select email from customers d where d.id = c.id)",
    ] {
        for sql in [
            format!(
                "select id from (select *, email as contact from customers) c order by {value} desc nulls last"
            ),
            format!("select count(*) from (select *, email as contact from customers) c group by {value}"),
        ] {
            let uses = fixture::each(&sql, Some(&["public"]), fixture::uses);
            assert!(uses.contains("ing") && !uses.contains("function"), "{sql}: {uses}");
        }
    }
    for value in
        ["sum(salary)", "max(salary)::int", "avg(salary::numeric)", "avg(length(email))", "count(email)"]
    {
        let sql = format!("select city from customers group by city order by {value} desc");
        let uses = fixture::each(&sql, Some(&["public"]), fixture::uses);
        assert!(!uses.contains("function"), "{sql}: {uses}");
    }
    for value in ["id / id > id", "lower(city || city)", "nullif(city, 'a')"] {
        check_uses(&format!("select id from customers order by {value}"), "");
    }
}

#[test]
fn a_frame_that_is_bounded_by_values_compares_them() {
    for (over, rest) in [
        ("(order by salary range between 500 preceding and current row)", ""),
        ("(partition by city order by salary desc range between $1 preceding and 3 following)", ""),
        ("(order by salary groups between 2 preceding and current row)", ""),
        ("w", "window w as (order by salary range between current row and 500 following)"),
        ("(w range between 500 preceding and current row)", "window w as (order by salary)"),
        ("v", "window w as (order by salary), v as (w range 500 preceding)"),
        ("(v range 500 preceding)", "window w as (order by salary), v as (w)"),
        ("(w range 500 preceding)", "window w as (order by salary) order by 1"),
    ] {
        check_uses(
            &format!("select count(*) over {over} from customers {rest}"),
            "customers.salary ordering; customers.salary range",
        );
    }
    check_uses(
        "select id from customers window w as (order by salary) order by count(*) over (w range 500 preceding)",
        "customers.salary ordering; customers.salary range",
    );
    check_uses(
        "select count(*) over (order by birth_date range '1 year' preceding) from born",
        "born.birth_date ordering; born.birth_date range",
    );
    check_uses(
        "select i, (select count(*) over (order by salary range n.i preceding) from customers limit 1) from numbers n",
        "customers.salary ordering; customers.salary row-count",
    );
    // Rows, the whole of a frame, and orders of what is not masked.
    for over in [
        "(order by salary rows between 5 preceding and current row)",
        "(order by salary range between unbounded preceding and current row)",
        "(order by salary)",
    ] {
        check_uses(&format!("select count(*) over {over} from customers"), "customers.salary ordering");
    }
    check_uses(
        "select sum(salary) over (order by id range 5 preceding), rank() over (order by salary) from customers",
        "customers.salary ordering",
    );
}

#[test]
fn equality_by_a_collation_that_makes_different_values_equal_is_no_equality() {
    for (sql, uses) in [
        ("select 1 from customers where ssn collate sloppy = 'a'", "customers.ssn function"),
        ("select 1 from customers where ssn = 'a' collate public.sloppy", "customers.ssn function"),
        ("select 1 from customers where (ssn, id) = ('a' collate sloppy, 1)", "customers.ssn function"),
        ("select 1 from customers where ssn collate sloppy in ('a', 'b')", "customers.ssn function x2"),
        ("select 1 from customers where ssn collate sloppy = any ($1)", "customers.ssn function x$1"),
        ("select 1 from customers where lower(ssn) collate sloppy <> $1", "customers.ssn function"),
        (
            "select 1 from customers where ssn collate sloppy in (select ssn from customers)",
            "customers.ssn function",
        ),
        ("select count(*) from customers group by ssn collate sloppy", "customers.ssn function"),
        (
            "select id from customers order by email, ssn collate sloppy",
            "customers.email ordering; customers.ssn function",
        ),
        ("select distinct ssn collate sloppy from customers", "customers.ssn function"),
        (
            "select 1 from (select ssn collate sloppy as s from customers) c where s = 'a'",
            "customers.ssn function",
        ),
        ("select 1 from collated where email = 'a'", "collated.email function"),
        ("select 1 from collated c join collated d using (email)", "collated.email function"),
        ("select 1 from collated c join orders o on c.email = o.note", "collated.email row-count"),
        ("select email from collated group by email", "collated.email function"),
        ("insert into collated (email) values ('a')", "collated.email function"),
        (
            "insert into collated (email) values ('a') on conflict (email) do nothing",
            "collated.email function",
        ),
    ] {
        check_uses(sql, uses);
    }
    for (sql, uses) in [
        ("select 1 from customers where ssn collate \"C\" = 'a'", "customers.ssn equality"),
        ("select id from customers order by ssn collate \"de-x-icu\"", "customers.ssn ordering"),
        ("select 1 from customers where city collate sloppy = 'a'", ""),
        ("select 1 from collated where ssn = 'a'", "collated.ssn equality"),
    ] {
        check_uses(sql, uses);
    }
    check("select ssn collate sloppy as s, email from collated", "s = collated.ssn; email = collated.email");
}

#[test]
fn a_table_made_just_now_takes_its_collations_along() {
    let last = |make: &str| {
        let sql = format!("{make}; select 1 from t where email <> 'a'");
        let uses = fixture::each(&sql, Some(&["public"]), fixture::uses);
        uses.rsplit(" | ").next().unwrap_or_default().to_owned()
    };
    for make in [
        "create table t as select email collate sloppy as email from customers",
        "create table t (email) as select * from (select email collate sloppy from customers) c",
        "select email collate sloppy as email into t from customers",
        "create view t as select email collate sloppy as email from customers",
        "create table s as select email collate sloppy as email from customers; alter table s rename to t",
        "create table t as select email from customers; alter table t alter email type text collate sloppy",
    ] {
        assert_eq!(last(make), "customers.email function", "{make}");
    }
    assert_eq!(last("create table t as select email from collated"), "collated.email function");
    for make in [
        "create table t as select email collate \"C\" as email from customers",
        "create table t as select email, city collate \"C\" from customers",
    ] {
        assert_eq!(last(make), "customers.email equality", "{make}");
    }
    let made =
        |sql: &str| statements(sql).unwrap().iter().flat_map(|one| one.made.clone()).collect::<Vec<_>>();
    for sql in [
        "create table t (email text collate sloppy)",
        "create table t (like collated)",
        "create table t () inherits (collated)",
        "alter table t add email text collate sloppy",
        "create table t as select * from collated where false",
    ] {
        assert!(made(sql).contains(&Made::Loose("t".into())), "{sql}");
    }
    for sql in ["create table t (email text collate \"C\")", "create table t (like customers)"] {
        assert!(!made(sql).contains(&Made::Loose("t".into())), "{sql}");
    }
}

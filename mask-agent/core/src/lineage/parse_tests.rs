use super::*;
use crate::lineage::STACK_BYTES;

fn both(sql: &str) -> (Option<Vec<RawStmt>>, Result<Vec<RawStmt>, Error>) {
    let sql = CString::new(sql).unwrap();
    (by_struct(&sql), by_message(&sql))
}

#[test]
fn a_tree_copied_from_structs_is_the_tree_of_the_message() {
    for sql in [
        "",
        ";",
        "begin; commit and chain; start transaction; rollback to savepoint s; savepoint s; commit prepared 'x'",
        "select 1, -2, 3.5, 12345678901234, 'té''xt', E'\\n', b'101', x'1f', true, false, null, $1, $23",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
        "UPDATE pgbench_accounts SET abalance = abalance + -12 WHERE aid = 4711;",
        "INSERT INTO history (tid, bid, mtime) VALUES (3, 1, CURRENT_TIMESTAMP), (default, 2, localtime(3))",
        "insert into t overriding user value select * from u returning *, old.a as b, new.c",
        "insert into t default values returning a",
        "delete from only s.t as d using u, v where d.a = u.a and not u.b or v.c is not null returning d.*",
        "update t set a = default, c.d = 3 from (select 1) as x(y) where t.a in (1, 2)",
        "select distinct a.b, c.*, * from x.a, only c as d (e, f), lateral (select 1) as g where a < any (array[1, 2])",
        "select distinct on (a) a from t for update of t skip locked for key share nowait",
        "select 1 from a join b on a.x = b.x left join c using (y) as u natural full join d cross join e right join f
         on true",
        "select count(*), count(distinct a), s.f(variadic b), g(a order by b desc nulls first, c using >) filter (where d),
         percentile_cont(0.5) within group (order by a asc nulls last), extract(year from a), a at time zone 'x'",
        "select a::text, cast(b as s.numeric(10, 2)), c::int[][3], interval '1' day, 'x'::varchar(3), date '2020-01-01'",
        "select case a when 1 then 'x' else 'y' end, case when a then b end, coalesce(a, b), row(1, 2), (1, 2), array[[1], [2]]",
        "select (select 1), exists (select 1), a in (select 1), a <> all (select 1), (a, b) = (select 1, 2), array(select 1)",
        "select a || b, a operator(pg_catalog.+) b, a is distinct from b, nullif(a, b), a not in (1), a like 'x', a ilike 'x',
         a not similar to 'x', a between 1 and 2, a not between symmetric 1 and 2, - a, a is null",
        "select 1 union all (select 2 intersect select 3) except values (4, 5), (6, default) order by 1 limit 2 offset 3",
        "select a, count(*) from t group by distinct a, b having count(*) > 1 limit all",
        "select a from t order by a fetch first 3 rows with ties",
        "with recursive x (a) as materialized (select 1), y as not materialized (table x) select * from x, y",
        "with x as (delete from t returning a) insert into u table x",
        "select current_date, current_user, session_user, current_schema, current_time(2)",
        "select \"Ünï\".\"a\"\"b\" from \"S\".\"T\"",
    ] {
        let (by_struct, by_message) = both(sql);
        assert_eq!(by_struct.map(Ok), Some(by_message), "{sql}");
    }
}

#[test]
fn what_is_not_known_by_its_struct_comes_as_a_message() {
    for sql in [
        "create table t (a int)",
        "insert into t values (1) on conflict do nothing",
        "select 1 into t",
        "insert into t default values returning with (old as before) before.a",
        "select a[1]",
        "update t set b[1] = 2",
        "select rank() over ()",
        "with recursive x as (select 1 a) cycle a set c using d select 1",
        "set x = 1",
        "select 1; vacuum",
    ] {
        let (by_struct, by_message) = both(sql);
        assert_eq!(by_struct, None, "{sql}");
        assert_eq!(statements(sql), by_message, "{sql}");
        assert!(statements(sql).is_ok_and(|statements| !statements.is_empty()), "{sql}");
    }
}

#[test]
fn what_the_grammar_does_not_have_is_an_error_with_its_words() {
    let message = |sql: &str| statements(sql).unwrap_err().to_string();
    assert_eq!(message("selec 1"), pg_query::parse("selec 1", 0).unwrap_err().to_string());
    assert!(message("select E'\\xff'").contains("encoding"), "{}", message("select E'\\xff'"));
    assert!(statements("select 1\0").is_err());
    stacker::grow(STACK_BYTES, deep_trees_come_as_messages);
}

fn deep_trees_come_as_messages() {
    let deep = format!("select {}true", "not ".repeat(70));
    assert_eq!(both(&deep).0, None);
    assert!(statements(&deep).is_ok());
    let wide = format!("select 1{}", " union select 1".repeat(70));
    assert_eq!(both(&wide).0, None);
    assert!(statements(&wide).is_ok());
    // Side by side they are no deeper than one.
    let beside = format!("select 1{}", ", (select 1 union select 2)".repeat(70));
    assert!(both(&beside).0.is_some());
}

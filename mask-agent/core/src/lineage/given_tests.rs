use super::{super::fixture, *};

/// Places of values, in words: constants by what they say, parameters by their number.
fn given(statement: &Statement) -> String {
    let words = statement.given.iter().map(|given| {
        let value = match &given.value {
            Value::Constant { text, .. } => format!("'{text}'"),
            Value::Parameter { number, .. } => format!("${number}"),
        };
        let of = |extent: &Extent| match extent {
            Extent::Elements => "*",
            Extent::Whole => "",
        };
        match &given.place {
            Place::Compared { with, extent } => {
                let columns: Vec<String> = with.columns.iter().map(|column| fixture::name(*column)).collect();
                format!("{value}{} = {}", of(extent), columns.join(", "))
            }
            Place::Elsewhere => format!("{value} elsewhere"),
            Place::Put { target: WriteTarget::Column(column), extent } => {
                format!("{value}{} > {}", of(extent), fixture::name(*column))
            }
            Place::Put { target: WriteTarget::New { .. }, .. } => format!("{value} > new"),
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    assert_eq!(fixture::each(sql, Some(&["public"]), given), expected, "{sql}");
}

#[test]
fn what_is_compared_with_a_stored_column_is_beside_it() {
    for (sql, expected) in [
        ("select 1 from customers where email = 'a'", "'a' = customers.email"),
        ("select 1 from customers where 'a' = email", "'a' = customers.email"),
        ("select 1 from customers where email <> $1", "$1 = customers.email"),
        (
            "select 1 from customers where not (city = 'x' or email = $1::text)",
            "'x' = customers.city; $1 = customers.email",
        ),
        ("select 1 from customers where email in ('a', $1)", "'a' = customers.email; $1 = customers.email"),
        ("select 1 from customers where email = any($1)", "$1* = customers.email"),
        ("select 1 from customers where email = any($1::varchar[])", "$1* = customers.email"),
        (
            "select 1 from customers where email = any(array['a', $1]::text[])",
            "'a' = customers.email; $1 = customers.email",
        ),
        ("select 1 from customers where email = any('{a}')", "'{a}'* = customers.email"),
        ("select 1 from customers where email <> all('{a}'::text[])", "'{a}'* = customers.email"),
        (
            "select 1 from customers where (id, email) = (1, $1) or (city, email) in (('x', 'a'), ('y', $2))",
            "$1 = customers.email; 'x' = customers.city; 'y' = customers.city; 'a' = customers.email; $2 = customers.email",
        ),
        ("select 1 from customers where ('a', 1) = (email, id)", "'a' = customers.email"),
        ("select 1 from customers where email is not distinct from $1", "$1 = customers.email"),
        ("select 1 from contacts v where v.contact = 'a'", "'a' = customers.email"),
        ("select 1 from (select email as e from customers) t where e = 'a'", "'a' = customers.email"),
        ("with t as (select * from rich) select 1 from t where contact = 'a'", "'a' = customers.email"),
        (
            "select 1 from customers c join orders o on c.id = o.customer_id and c.email = 'a'",
            "'a' = customers.email",
        ),
        ("select count(*) filter (where email = 'a') from customers", "'a' = customers.email"),
        ("delete from customers where email = $1", "$1 = customers.email"),
        ("prepare p (text) as select 1 from customers where email = $1", "$1 = customers.email"),
        ("declare c cursor for select 1 from customers where email = 'a'", "'a' = customers.email"),
        ("copy (select 1 from customers where email = 'a') to stdout", "'a' = customers.email"),
        ("create table t as select id from customers where email = 'a'", "'a' = customers.email"),
    ] {
        check(sql, expected);
    }
}

#[test]
fn what_stands_anywhere_else_is_not() {
    for (sql, expected) in [
        ("select 'a'", ""),
        ("select $1 from customers where email = $1", "$1 = customers.email; $1 elsewhere"),
        ("select email = 'a', email = $1 from customers", "$1 elsewhere"),
        ("select 1 from customers where email like $1", "$1 elsewhere"),
        ("select 1 from customers where email < $1", "$1 elsewhere"),
        ("select 1 from customers where email = $1 || ''", "$1 elsewhere"),
        ("select 1 from customers where lower(email) = $1", "$1 elsewhere"),
        ("select 1 from customers where email = lower($1)", "$1 elsewhere"),
        ("select 1 from customers where email = $1::varchar(3)", "$1 elsewhere"),
        ("select 1 from customers where email < any('{a}')", ""),
        ("select 1 from customers where (id, email) < (1, $1)", "$1 elsewhere"),
        ("select 1 from customers where (id, lower(email)) = (1, $1)", "$1 elsewhere"),
        ("select 1 from customers where (email = $1) is true", "$1 elsewhere"),
        ("select 1 from customers where email in (select $1)", "$1 elsewhere"),
        ("select 1 from customers c join (values ('a'), ($1)) v (e) on c.email = v.e", "$1 elsewhere"),
        // A constant may stand among what is compared, and say in which of its places the value is.
        ("select 1 from (select email e from customers union all select 'g') t where e = $1", "$1 elsewhere"),
        ("select 1 from customers where email operator(public.=) $1", "$1 elsewhere"),
        (
            "create operator = (leftarg = text, rightarg = text, function = f); select 1 from customers where email = $1",
            " | $1 elsewhere",
        ),
        ("select 1 from people where handle = $1", "$1 elsewhere"),
        ("explain select 1 from customers where email = $1", "$1 elsewhere"),
        (
            "prepare p (int, text) as select 1 from customers where email = $1",
            "$1 = customers.email; $1 elsewhere",
        ),
        ("create view v as select 1 from customers where email = 'a'", ""),
        ("create materialized view v as select 1 from customers where email = 'a'", ""),
        ("select email_of(1)", ""),
        ("select 1 from customers limit $1", "$1 elsewhere"),
    ] {
        check(sql, expected);
    }
}

#[test]
fn what_is_put_into_a_column_is_told_however_it_gets_there() {
    for (sql, expected) in [
        ("update customers set email = 'a'", "'a' > customers.email"),
        (
            "update customers set (city, email) = ('x', $1)",
            "'x' > customers.city; $1 > customers.email; $1 elsewhere",
        ),
        ("update customers set email = coalesce($1::text, email)", "$1 > customers.email; $1 elsewhere"),
        ("update customers set email = case id when 1 then 'a' else email end", "'a' > customers.email"),
        (
            "update customers c set email = v.e from (values (1, 'a')) v (i, e) where i = id",
            "'a' > customers.email",
        ),
        (
            "insert into customers (id, email) values (1, 'a'), (2, 'b')",
            "'b' > customers.email; 'a' > customers.email",
        ),
        (
            "insert into customers (email) select 'a' union all select 'b'",
            "'b' > customers.email; 'a' > customers.email",
        ),
        (
            "insert into customers (email) select * from unnest($1::text[])",
            "$1* > customers.email; $1 elsewhere",
        ),
        (
            "insert into customers (id) values (1) on conflict (id) do update set email = 'a'",
            "'a' > customers.email",
        ),
        (
            "insert into customers (id, email) values (1, 'a') on conflict (id) do update set email = excluded.email",
            "'a' > customers.email; 'a' > customers.email",
        ),
        (
            "merge into customers c using orders o on c.id = o.id when matched then update set email = 'a' \
             when not matched then insert (email) values ('b')",
            "'a' > customers.email; 'b' > customers.email",
        ),
        (
            "with t as (select 'a' as e) insert into customers (email) select e from t",
            "'a' > customers.email",
        ),
        ("explain analyze update customers set email = 'a'", "'a' > customers.email"),
        ("update customers set city = replace('a', email, 'b')", ""),
    ] {
        check(sql, expected);
    }
}

#[test]
fn what_runs_beside_a_statement_may_read_its_text() {
    let reads = |statement: &Statement| statement.reads_statement.to_string();
    for (sql, expected) in [
        ("select current_query() from customers", "true"),
        ("select 1 from customers where email = current_query()", "true"),
        ("insert into triggered (note) values ('a')", "true"),
        ("select add_one(1)", "true"),
        ("insert into ruled (note) values ('a')", "true"),
        ("create table t as select 1 as a", "true"),
        ("select 1 as a into t", "true"),
        ("select now() from customers", "false"),
        ("update customers set city = 'x' where email = 'a'", "false"),
    ] {
        assert_eq!(fixture::each(sql, Some(&["public"]), reads), expected, "{sql}");
    }
}

#[test]
fn a_definition_reads_the_statement_however_it_spells_that() {
    for body in ["select current_query()", "select CURRENT_Query()", "select U&\"curr\\0065nt_query\"()"] {
        assert!(reads_statement(body), "{body}");
    }
    for body in ["select current_date", "select 'u' & 1", "new.at := now(); return new"] {
        assert!(!reads_statement(body), "{body}");
    }
}

#[test]
fn statements_are_watched_where_a_trigger_may_tell_their_text() {
    use crate::catalog::{Contents, Relation, RelationKind, Routine};

    let watched = |triggers: &[u32], definition: Option<&str>, harmless: bool| {
        let table = Relation::new(1, "public", "t", RelationKind::Table, Vec::new());
        let table = Relation { triggers: triggers.to_vec(), ..table };
        let known = crate::lineage::fixture::catalog().all_routines()[0].clone();
        let routine = Routine { oid: 9, definition: definition.map(str::to_owned), harmless, ..known };
        let contents = Contents { relations: vec![table], routines: vec![routine], ..Contents::default() };
        super::is_watched(&Catalog::new(contents))
    };
    assert!(watched(&[9], None, false), "code nobody reads");
    assert!(!watched(&[9], None, true), "an extension's");
    assert!(!watched(&[], None, false), "no trigger calls it");
    assert!(watched(&[9], Some("select Current_Query()"), false));
    assert!(watched(&[8], Some("select current_query()"), false), "what a trigger calls may call it");
    assert!(watched(&[8], Some("select U&\"\\0063urrent_query\"()"), false));
    assert!(!watched(&[], Some("select current_query()"), false));
    assert!(!watched(&[9], Some("select 1"), false));
}

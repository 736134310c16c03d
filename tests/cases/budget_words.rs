//! The same words are the same question only while they mean the same.

use anyhow::Result;
use mask_tests::have_root;

use super::budget::{Asking, THREE};

#[test]
fn the_same_words_are_another_question_once_what_they_mean_is_another() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for (before, question) in [
        ("set my.pay = {}", "select count(*) from customers where salary > current_setting('my.pay')::int"),
        ("select {}", "select count(*) from customers where salary > random() * 100000"),
        (
            "select {}",
            "select count(*) from customers where salary > extract(epoch from now())::bigint % 1000",
        ),
        (
            "select {}",
            "select count(*) from customers where salary > extract(epoch from 'now'::timestamptz) % 1000",
        ),
        (
            "drop table t; create table t()",
            "select count(*) from customers where salary > 't'::regclass::oid::bigint",
        ),
        (
            "create or replace function rich() returns bigint language sql as \
             'select count(*) from customers where salary > {}'",
            "select rich()",
        ),
        (
            "set timezone = 'UTC+{}'",
            "select count(*) from customers where salary > \
          extract(epoch from timestamptz '1970-01-01') * 5",
        ),
        (
            "select set_config('timezone', 'UTC+{}', false)",
            "select count(*) from customers where salary > \
          extract(epoch from timestamptz '1970-01-01') * 5",
        ),
        (
            "set extra_float_digits = -{}",
            "select count(*) from customers where salary > (1e5 / 3)::float4::text::float8",
        ),
        (
            "reset role; create role \"7000{}\" superuser; set role \"7000{}\"",
            "select count(*) from customers where salary > current_user::int",
        ),
        (
            "drop domain if exists d; create domain d as varchar(1{})",
            "select count(*) from customers where salary::text::d > '5'",
        ),
        (
            "create type e as enum (); alter type e add value 'v{}'",
            "select count(*) from customers where salary > cardinality(enum_range(null::e)) * 9000",
        ),
        (
            "create or replace aggregate most(int) (sfunc = int4larger, stype = int, initcond = '5000{}')",
            "select count(*) from customers where salary > (select most(5))",
        ),
    ] {
        asks_each_time("", before, question, 3)?;
    }
    asks_each_time(
        "prepare given (bigint) as select count(*) from customers where salary > $1;",
        "set my.pay = {}",
        "execute given(current_setting('my.pay')::int)",
        2,
    )?;
    let rich = "create or replace function rich() returns bigint language sql as \
         'select count(*) from customers where salary > {}'";
    // PREPARE asks as well, and so does the text of EXECUTE, once.
    asks_each_time(&format!("{rich}; prepare again as select rich();"), rich, "execute again", 1)
}

/// Asks a question six times, each after something else: so many are answered, and all of a column that is not masked.
fn asks_each_time(first: &str, before: &str, question: &str, answered: usize) -> Result<()> {
    for (column, expected) in [("salary", answered), ("id", 6)] {
        let asking = Asking::start(THREE)?;
        let mut psql = asking.agent.open_psql(&asking.postgres.dsn())?;
        let of = |sql: &str, pay: u32| sql.replace("{}", &pay.to_string()).replace("salary", column) + ";";
        psql.ask(&of(first, 99))?;
        let mut answers = 0;
        for pay in 0..6 {
            psql.ask(&of(before, pay))?;
            answers += usize::from(!psql.ask(&of(question, pay))?.is_empty());
        }
        let text = psql.finish()?;
        assert_eq!(answers, expected, "{before}; {question} of {column}: {text}");
        let refused = text.matches("too many different predicates").count();
        assert_eq!(refused, 6 - expected, "{text}");
    }
    Ok(())
}

#[test]
fn what_programs_set_and_define_all_the_time_makes_no_other_question() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let mut psql = asking.agent.open_psql(&asking.postgres.dsn())?;
    let question = "select count(*) from customers where salary > 5;";
    psql.ask("set timezone = 'UTC';")?;
    assert_eq!(psql.ask(question)?, "1\n");
    for number in 0..6 {
        for before in [
            "set application_name = 'a{}'; set statement_timeout = '2{}s'; set my.tenant = {}",
            "select set_config('my.tenant', '{}', false) where false",
            "set timezone = 'UTC'",
            "begin; set local timezone = 'UTC+{}'; commit",
            "begin; set timezone = 'UTC+{}'; rollback",
            "set extra_float_digits = 99{}",
            "reset extra_float_digits; create temp table t{} as select 1; drop table t{}",
            "create or replace view seen as select {} as n",
        ] {
            psql.ask(&(before.replace("{}", &number.to_string()) + ";"))?;
            assert_eq!(psql.ask(question)?, "1\n", "{before}");
        }
    }
    for number in 0..6 {
        let local = format!(
            "begin; set local lock_timeout = '1{number}s'; set local timezone = 'Asia/Tokyo'; {question} commit;"
        );
        assert!(psql.ask(&local)?.contains("1\n"), "{local}");
    }
    let text = psql.finish()?;
    assert!(!text.contains("too many different predicates"), "{text}");
    Ok(())
}

#[test]
fn a_column_with_a_collation_of_the_clients_is_compared_by_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let mut psql = asking.agent.open_psql(&asking.postgres.dsn())?;
    psql.ask(
        "create collation sloppy (provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false);",
    )?;
    psql.ask(
        "create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);",
    )?;
    psql.ask("create table own (id int, email text collate sloppy, city text collate sloppy);")?;
    psql.ask("create table folded (id int, email text collate folding);")?;
    for n in 1..7 {
        let mut ask = |sql: &str| -> Result<bool> { Ok(!psql.ask(&format!("{sql};"))?.is_empty()) };
        assert_eq!(ask(&format!("select count(*) from own where email = 'guess{n}'"))?, n < 4, "{n}");
        assert!(ask(&format!("select count(*) from own where city = 'guess{n}'"))?);
        assert!(ask(&format!("select count(*) from folded where email = 'guess{n}'"))?);
    }
    psql.finish()?;
    Ok(())
}

#[test]
fn rows_that_are_kept_ask_again_whenever_they_are_made_anew() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let kept = |name: &str, condition: &str| {
        format!("create materialized view {name} as select id from customers where {condition};")
    };
    let set = "coalesce(nullif(current_setting('my.pay', true), ''), '0')::int";
    asking.postgres.setup(&format!(
        "{}{}{}",
        kept("searched", &format!("salary > {set}")),
        kept("listed", &format!("id > {set}")),
        kept("constant", "salary > 100")
    ))?;
    for n in 0..6 {
        let refreshes =
            |name: &str| asking.allows(&format!("set my.pay = {n}; refresh materialized view {name}"));
        assert_eq!(refreshes("searched")?, n < 3, "{n}");
        assert!(refreshes("listed")? && refreshes("constant")?, "{n}");
    }
    Ok(())
}

//! What may be asked of masked columns without showing them is limited, whatever the question looks like, and told.

use std::process::Command;

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Postgres,
    agent::binary,
    have_root, output,
    wire::{Message, field, query, talk},
};
use serde_json::{Value, json};

pub(crate) const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text unique, salary int, pay int);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org', 51234, 51234);
    create table letters (id int, address text references customers (email));
    create table parts (id int primary key, label text unique);
    create sequence counted;
    create view paid as select id, city from customers where salary > 50000;
    create function rich() returns bigint language sql as 'select count(*) from customers where salary > 0'";

/// A policy that masks two columns.
fn policy(rest: &str) -> String {
    format!(
        "version: 1\nname: budgeted\nclassification: {{ columns: [{{ name: email, tag: email }}, \
         {{ name: salary, tag: pay }}] }}\nmasks: {{ email: pattern }}\n{rest}\n"
    )
}

pub(crate) const THREE: &str = "limits: { predicates: 3, window_minutes: 10 }";
const EQUALITY: &str =
    "rules: { predicates: { equality: budget } }\nlimits: { predicates: 3, window_minutes: 10 }";

/// A database behind an agent.
pub(crate) struct Asking {
    pub(crate) postgres: Postgres,
    pub(crate) agent: Agent,
}

impl Asking {
    pub(crate) fn start(rest: &str) -> Result<Self> {
        let postgres = Postgres::start("trust")?;
        postgres.setup(SCHEMA)?;
        let agent = Agent::start_with(postgres.port, Some(&policy(rest)))?;
        Ok(Self { postgres, agent })
    }

    /// Whether the budget allows a statement, on a connection of its own; it may fail by itself.
    pub(crate) fn allows(&self, sql: &str) -> Result<bool> {
        self.allows_at("127.0.0.1", sql)
    }

    /// The same at another address of the server.
    fn allows_at(&self, address: &str, sql: &str) -> Result<bool> {
        let dsn = self.postgres.dsn().replace("host=127.0.0.1", &format!("host={address}"));
        let (_, text) = self.agent.psql(&dsn, sql)?;
        assert!(!text.contains("canary"), "{text}");
        Ok(!text.contains("too many different predicates on masked column"))
    }

    fn alerts(&self) -> Result<Vec<Value>> {
        Ok(self.agent.trail()?.into_iter().filter(|record| record["kind"] == "alert").collect())
    }
}

#[test]
fn a_login_has_one_budget_whatever_address_it_comes_to() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let like = |start: char| format!("select count(*) from customers where email like '{start}%'");
    for (address, start) in [("127.0.0.1", 'a'), ("::1", 'b'), ("::1", 'a'), ("127.0.0.1", 'c')] {
        assert!(asking.allows_at(address, &like(start))?, "{address}: {start}");
    }
    for address in ["127.0.0.1", "::1"] {
        assert!(!asking.allows_at(address, &like('d'))?, "{address}");
        assert!(
            asking.allows_at(address, "select count(*) from customers where city like 'd%'")?,
            "{address}"
        );
    }
    assert_eq!(asking.alerts()?.len(), 1);
    Ok(())
}

#[test]
fn a_blind_search_ends_in_refusals_and_one_alert_for_each_column() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let like = |start: char| format!("select count(*) from customers where email like '{start}%'");
    for start in ['a', 'b', 'c', 'a', 'b'] {
        assert!(asking.allows(&like(start))?, "{start}");
    }
    assert_eq!(asking.alerts()?, Vec::<Value>::new());
    for start in ['d', 'e', 'f'] {
        assert!(!asking.allows(&like(start))?, "{start}");
    }
    // What was asked before, what is not masked, and equality go on.
    for sql in [
        "select 1 from customers where city like 'a%'",
        &like('a'),
        "select 1 from customers where email = 'd'",
    ] {
        assert!(asking.allows(sql)?, "{sql}");
    }
    for pay in 0..6 {
        asking.allows(&format!("select count(*) from customers where salary > {pay}"))?;
    }
    let alerts = asking.alerts()?;
    let columns: Vec<_> = alerts.iter().map(|alert| &alert["column"]).collect();
    assert_eq!(columns, [&json!("public.customers.email"), &json!("public.customers.salary")], "{alerts:#?}");
    let alert = &alerts[0];
    for (key, value) in [
        ("alert", json!("predicate-budget")),
        ("user", json!("postgres")),
        ("database", json!("postgres")),
        ("asked", json!(3)),
        ("window_s", json!(600)),
    ] {
        assert_eq!(alert[key], value, "{alert}");
    }
    assert!(alert["caller"]["exe"].as_str().is_some_and(|exe| exe.contains("psql")), "{alert}");
    let log = asking.agent.log();
    assert_eq!(log.matches("PredicateBudget").count(), 2, "{log}");
    let refused = asking.agent.trail()?.into_iter().find(|record| record["sql"] == like('d'));
    assert_eq!(refused.context("the refused statement")?["rule"], "predicate-budget");
    Ok(())
}

#[test]
fn a_policy_that_observes_refuses_nothing_and_tells() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(&policy(&format!("mode: observe\n{THREE}"))))?;
    for start in 'a'..'g' {
        let sql = format!("select count(*) from customers where email like '{start}%'");
        let (ok, text) = agent.psql(&postgres.dsn(), &sql)?;
        assert!(ok, "{text}");
    }
    assert_eq!(agent.trail()?.iter().filter(|record| record["kind"] == "alert").count(), 1);
    Ok(())
}

#[test]
fn whether_a_definition_can_be_made_is_a_question() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for form in [
        "begin; alter table customers add check (salary > {}); rollback",
        "begin; create unique index on customers ((salary > {}), city); rollback",
        "begin; alter table customers add z int default {} check (z < salary); rollback",
        "begin; create temp table t (n int primary key); insert into t values ({});
         alter table customers add foreign key (salary) references t; rollback",
    ] {
        let asking = Asking::start(THREE)?;
        let allowed = (0..6).map(|pay| asking.allows(&form.replace("{}", &pay.to_string())));
        assert_eq!(allowed.collect::<Result<Vec<_>>>()?, [true, true, true, false, false, false], "{form}");
        for pay in 0..6 {
            let benign = form.replace("{}", &pay.to_string()).replace("salary", "id");
            assert!(asking.allows(&benign)?, "{benign}");
        }
    }
    Ok(())
}

#[test]
fn a_prepared_statement_asks_each_time_it_is_run() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let mut psql = asking.agent.open_psql(&asking.postgres.dsn())?;
    psql.ask("prepare s (text) as select count(*) from customers where email like $1;")?;
    // A second one of this name is the server's to refuse; the first stays.
    psql.ask("prepare s (text) as select $1;")?;
    assert_eq!(psql.ask("execute s ('a%');")?, "1\n");
    assert_eq!(psql.ask("execute s ('b%');")?, "0\n");
    assert_eq!(psql.ask("execute s ('c%');")?, "");
    assert_eq!(psql.ask("explain (analyze, timing off) execute s ('d%');")?, "");
    assert_eq!(psql.ask("execute s ('a%');")?, "1\n");
    let text = psql.finish()?;
    assert_eq!(text.matches("too many different predicates").count(), 2, "{text}");

    let mut psql = asking.agent.open_psql(&asking.postgres.dsn())?;
    psql.ask("prepare s (text) as select count(*) from customers where city like $1;")?;
    for start in 'a'..'g' {
        assert_eq!(psql.ask(&format!("execute s ('{start}%');"))?, "0\n");
    }
    Ok(())
}

#[test]
fn a_search_by_what_fails_ends_like_one_by_what_is_found() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for form in [
        "select case when {c} > {n} then 1 / 0 else 1 end from customers",
        "select sqrt({c} - 60000 - {n}) from customers",
        "with x as materialized (select 1 / (({c} < {n})::int) as n from customers) select count(n) from x",
        "insert into parts (id) select case when {c} > {n} then 1 / 0 end from customers",
        "do $$ begin if (select {c} / 1 from customers) > {n} then raise sqlstate '40001'; end if; end $$",
        "select repeat('x', 2000000000 * ({c} > {n})::int) from customers",
        "select case when {c} > {n} then currval('counted') end from customers",
    ] {
        let ask = |column: &str, number: u32| form.replace("{c}", column).replace("{n}", &number.to_string());
        let asking = Asking::start(THREE)?;
        for number in 10..16 {
            let (_, text) = asking.agent.psql(&asking.postgres.dsn(), &ask("pay", number))?;
            assert!(!text.contains("mask-agent"), "{form}: {text}");
        }
        let mut told = Vec::new();
        for number in 10..16 {
            let (ok, text) = asking.agent.psql(&asking.postgres.dsn(), &ask("salary", number))?;
            assert!(!ok, "{form}: {text}");
            told.push(
                text.contains("that compute with masked column") || text.contains("too many different"),
            );
        }
        assert_eq!(told, [false, false, false, true, true, true], "{form}");
        assert_eq!(asking.alerts()?.len(), 1, "{form}");
        // The column as it is.
        assert!(asking.allows("select salary from customers order by salary")?);
    }
    Ok(())
}

#[test]
fn a_failure_costs_the_more_the_more_has_succeeded_before_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for (column, other, expected) in [("salary", "", false), ("pay", "", true), ("salary", "0 * ", true)] {
        let asking = Asking::start(THREE)?;
        let mut psql = asking.agent.open_psql(&asking.postgres.dsn())?;
        for number in 1..9 {
            let guess = format!("{other}{number}");
            let sql = format!("select case when {column} < {guess} then 1 / (id - 1) end from customers;");
            // The same question again tells nothing.
            let sql = if other.is_empty() { sql } else { sql.replace(&guess, "0") };
            assert!(!psql.ask(&sql)?.is_empty(), "{sql}");
        }
        psql.ask(&format!("select case when {column} > 0 then 1 / (id - 1) end from customers;"))?;
        let sql = format!("select case when {column} < 99 then 1 end from customers;");
        assert_eq!(!psql.ask(&sql)?.is_empty(), expected, "{column} {other}");
        psql.finish()?;
    }
    Ok(())
}

#[test]
fn statements_sent_ahead_do_not_fail_beyond_the_budget() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let failing = |number: u32| query(&format!("select 1 / (salary - salary + 0 * {number}) from customers"));
    let mut texts = vec![(0..6).flat_map(failing).collect()];
    texts.resize(6, Vec::new());
    let answers = talk(Some(&asking.agent), asking.postgres.port, &texts)?;
    let state = |answer: &Vec<Message>| {
        let error = answer.iter().find(|(kind, _)| *kind == b'E')?;
        Some((field(&error.1, b'S')?, field(&error.1, b'C')?))
    };
    let told = |severity: &str, state: &str| Some((severity.to_owned(), state.to_owned()));
    let by_zero = told("ERROR", "22012");
    let expected = [by_zero.clone(), by_zero.clone(), by_zero, told("FATAL", "42501"), None, None];
    assert_eq!(answers.iter().map(state).collect::<Vec<_>>(), expected);
    // What ends the connection says as much as any refusal.
    let (_, body) = answers[3].iter().find(|(kind, _)| *kind == b'E').context("the end")?;
    let message =
        "mask-agent: too many statements that compute with masked column public.customers.salary have failed";
    assert_eq!(field(body, b'M').as_deref(), Some(message));
    let detail: Value = serde_json::from_str(&field(body, b'D').context("a detail")?)?;
    let expected = json!({
        "code": "error-budget", "rule": "limits.predicates", "columns": ["public.customers.salary"],
    });
    assert_eq!(detail, expected);
    assert!(field(body, b'H').is_some());
    Ok(())
}

#[test]
fn answers_that_are_stored_are_questions_once_they_are_read() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for (column, expected) in [("salary", [true, true, true, false, false, false]), ("pay", [true; 6])] {
        let asking = Asking::start(THREE)?;
        let bits: Vec<String> =
            (0..6).map(|bit| format!("{column} > {} as bit{bit}", 10_000 * bit)).collect();
        assert!(asking.allows(&format!("create table bits as select {} from customers", bits.join(", ")))?);
        let asked: Vec<bool> = (0..6)
            .map(|bit| asking.allows(&format!("select count(*) from bits where bit{bit}")))
            .collect::<Result<_>>()?;
        assert_eq!(asked, expected, "{column}");
    }
    Ok(())
}

#[test]
fn what_is_stored_in_part_is_made_of_a_value_and_no_copy() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for (column, expected) in [("salary", [true, true, true, false, false, false]), ("pay", [true; 6])] {
        for (table, value, found) in [
            ("create table part (v numeric(3,-3))", column.to_owned(), "v = {}000"),
            ("create table part (v \"char\")", format!("{column}::text"), "v = '{}'"),
        ] {
            let asking = Asking::start(THREE)?;
            assert!(asking.allows(table)?);
            assert!(asking.allows(&format!("insert into part select {value} from customers"))?);
            let ask = |n: u32| {
                asking.allows(&format!(
                    "select count(*) from part where {}",
                    found.replace("{}", &n.to_string())
                ))
            };
            let told: Vec<bool> = (0..6).map(ask).collect::<Result<_>>()?;
            // A cast is something made of it anyway.
            assert_eq!(told, expected, "{table} of {column}");
        }
    }
    // As it is, or cut down afterwards.
    let asking = Asking::start(THREE)?;
    for sql in ["create table whole (v bigint)", "insert into whole select salary from customers"] {
        assert!(asking.allows(sql)?, "{sql}");
    }
    let ask = |n: u32| asking.allows(&format!("select count(*) from whole where v = {n}"));
    assert_eq!((0..6).map(ask).collect::<Result<Vec<_>>>()?, [true; 6]);
    assert!(asking.allows("update whole set v = v / 10000")?);
    assert_eq!((10..16).map(ask).collect::<Result<Vec<_>>>()?, [true, true, true, false, false, false]);
    Ok(())
}

#[test]
fn what_ordinary_programs_repeat_is_no_search() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let report =
        "create table report as select id, lower(email) as login, salary * 12 as yearly, city from customers";
    assert!(asking.allows(report)?);
    for number in 0..8 {
        for sql in [
            format!("select id, city from report where login = 'user{number}@example.org'"),
            format!("select login, yearly from report where id = {number}"),
            format!("select id from customers where lower(email) = lower('User{number}@example.org')"),
            format!("select city from paid where id = {number}"),
            format!("select count(*) as n{number} from paid"),
        ] {
            assert!(asking.allows(&sql)?, "{sql}");
        }
        for sql in [
            "select id from customers where salary < extract(year from now())",
            "select id from customers where email like current_user || '%'",
            "select id from report where yearly > 100",
            "select city, count(*) from report group by city",
        ] {
            assert!(asking.allows(sql)?, "{sql}");
        }
    }
    assert_eq!(asking.alerts()?, Vec::<Value>::new());
    Ok(())
}

#[test]
fn whether_a_write_breaks_a_constraint_is_a_question() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let guesses = |sql: fn(u32) -> String| -> Result<u32> {
        let asking = Asking::start(EQUALITY)?;
        let mut allowed = 0;
        for guess in 10..16 {
            allowed += u32::from(asking.allows(&sql(guess))?);
        }
        Ok(allowed)
    };
    assert_eq!(guesses(|n| format!("insert into customers (id, email) values ({n}, 'g{n}')"))?, 3);
    assert_eq!(
        guesses(|n| format!(
            "insert into customers (id, email) values ({n}, 'g{n}') on conflict do nothing"
        ))?,
        3
    );
    assert_eq!(guesses(|n| format!("update customers set email = 'g{n}' where id = 1"))?, 3);
    assert_eq!(guesses(|n| format!("insert into letters values ({n}, 'g{n}')"))?, 3);
    // The rows of a COPY are no part of its text.
    assert_eq!(guesses(|_| "copy customers (id, email) from stdin".to_owned())?, 3);
    assert_eq!(guesses(|n| format!("insert into customers (id, city) values ({n}, 'g{n}')"))?, 6);
    assert_eq!(guesses(|n| format!("insert into parts values ({n}, 'g{n}')"))?, 6);
    assert_eq!(guesses(|n| format!("insert into letters (id) values ({n})"))?, 6);
    // A network of the client's own overlaps an address or does not.
    // So does a copy, which is the first question.
    for (column, expected) in [("salary", 2), ("pay", 6)] {
        let asking = Asking::start(THREE)?;
        asking.postgres.setup("create extension btree_gist")?;
        for sql in [
            "create table equals (n int, v int, exclude using gist (v with =))".to_owned(),
            format!("insert into equals select 0, {column} from customers"),
            "create table spread (n int, v int, exclude using gist (v with <>))".to_owned(),
            format!("insert into spread select 0, {column} from customers"),
        ] {
            assert!(asking.allows(&sql)?, "{sql}");
        }
        let mut allowed = 0;
        for n in 10..16 {
            allowed += u32::from(asking.allows(&format!("insert into spread values ({n}, {n})"))?);
            assert!(asking.allows(&format!("insert into equals values ({n}, {n})"))?);
        }
        assert_eq!(allowed, expected, "{column}");
    }
    // Where equality is free, so are they.
    let asking = Asking::start(THREE)?;
    for n in 10..16 {
        assert!(asking.allows(&format!("insert into customers (id, email) values ({n}, 'g{n}')"))?);
    }
    Ok(())
}

#[test]
fn a_list_is_as_many_questions_as_it_has_guesses() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(EQUALITY)?;
    assert!(!asking.allows("select 1 from customers where salary in (1, 2, 3, 4)")?);
    assert!(asking.allows("select 1 from customers where salary in (1, 2)")?);
    assert!(!asking.allows("select 1 from customers where salary = any (array[3, 4])")?);
    assert!(asking.allows("select 1 from customers where salary = 5")?);
    assert!(!asking.allows("select 1 from customers where salary = any ('{5}')")?);
    assert!(asking.allows("select 1 from customers where city = any ('{a,b,c,d,e}')")?);

    let asking = Asking::start(THREE)?;
    let list = |from: u32, to: u32| {
        let numbers: Vec<String> = (from..to).map(|number| number.to_string()).collect();
        format!("select 1 from customers where salary in ({})", numbers.join(","))
    };
    for chunk in 0..6 {
        assert!(asking.allows(&list(chunk * 1_000, (chunk + 1) * 1_000))?, "{chunk}");
    }
    // A larger part of all values.
    assert!(!asking.allows(&list(0, 5_000))?);
    // Rows of a list of the client's tell nothing by their number or by what stands beside the guess.
    for list in [
        "unnest(array[51234, 0, 7]) with ordinality l (v, n)",
        "json_to_recordset('[{\"v\": 51234, \"n\": 77}]') as l (v int, n int)",
        "(select v, v % 10 as n from generate_series(51000, 52000) s (v), generate_series(1, v % 10)) l",
        "(values (51234, 77), (51234, 77)) l (v, n)",
    ] {
        let sql = format!("select n from customers c join {list} on l.v = c.salary where c.id = 1");
        let (ok, text) = asking.agent.psql(&asking.postgres.dsn(), &sql)?;
        assert!(!ok && text.contains("row-count on masked column"), "{sql}: {text}");
        let (ok, text) =
            asking.agent.psql(&asking.postgres.dsn(), &sql.replace("c.salary", "c.id + 51233"))?;
        assert!(ok && !text.is_empty(), "{sql}: {text}");
    }
    // So does the place among them.
    let among = "(select id, salary from customers where id = 1 union all select -g, g from generate_series(51000, 52000) g) s";
    for sql in [
        format!("select id from {among} order by salary"),
        format!("select id, rank() over (order by salary) from {among}"),
        format!("select count(*) from {among} group by salary"),
    ] {
        let (ok, text) = asking.agent.psql(&asking.postgres.dsn(), &sql)?;
        assert!(!ok && text.contains("row-count on masked column"), "{sql}: {text}");
        let twin = sql.replace("select id, salary from", "select id, id + 51233 as salary from");
        let (ok, text) = asking.agent.psql(&asking.postgres.dsn(), &twin)?;
        assert!(ok && text.lines().count() > 1, "{sql}: {text}");
    }
    let (ok, text) =
        asking.agent.psql(&asking.postgres.dsn(), "select id from customers order by salary, email")?;
    assert!(ok && text == "1\n", "{text}");
    Ok(())
}

#[test]
fn a_search_in_disguise_ends_as_any_does() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let setup = "create collation sloppy (provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false);
        create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    let ones = |count: u32| vec!["id / id"; count as usize + 1].join(" + ");
    for (form, column) in [
        ("select id from customers order by coalesce(salary, {n})", "salary"),
        ("select id from customers order by salary > {ones}", "salary"),
        ("select count(*) from customers group by sign(salary - ({ones}))", "salary"),
        (
            "select count(*) over (order by salary range between {n} preceding and current row) from customers",
            "salary",
        ),
        (
            "select count(*) from (select generate_series(1, {n}) intersect all select salary from customers) s",
            "salary",
        ),
        (
            "with recursive t (v) as (select salary from customers union select generate_series(1, {n})) \
             select count(*) from t",
            "salary",
        ),
        ("select count(*) from customers where email collate sloppy = 'guess{n}'", "email"),
        ("select count(*) from customers group by email collate sloppy, {n} + id", "email"),
        ("select count(*) from customers where true in (select salary > {n})", "salary"),
        ("select count(*) where '{n}' in (select left(salary::text, 1) from customers)", "salary"),
    ] {
        let asking = Asking::start(THREE)?;
        asking.postgres.setup(setup)?;
        let mut psql = asking.agent.open_psql(&asking.postgres.dsn())?;
        let mut ask = |sql: &str| -> Result<bool> { Ok(!psql.ask(&format!("{sql};"))?.is_empty()) };
        let of = |n: u32| form.replace("{n}", &n.to_string()).replace("{ones}", &ones(n));
        // What is decided of a blank is decided of nothing else.
        assert!(ask("select id from customers order by coalesce(salary, 0)")?);
        let told = (1..7).map(|n| ask(&of(n))).collect::<Result<Vec<_>>>()?;
        assert_eq!(told, [true, true, true, false, false, false], "{form}");
        let plain = if column == "email" { "city" } else { "id" };
        for n in 1..7 {
            let sql = of(n).replace(column, plain);
            assert!(ask(&sql)?, "{sql}");
        }
        for n in 1..7 {
            let sql = format!("select count(*) from customers where email collate folding = 'guess{n}'");
            assert!(ask(&sql)?, "{sql}");
        }
        psql.finish()?;
    }
    Ok(())
}

#[test]
fn a_record_says_what_explain_says_of_masked_columns_and_no_more() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let dsn = asking.postgres.dsn();
    let file = asking.agent.state().join("explained.yaml");
    std::fs::write(&file, policy(THREE))?;
    let explained = |sql: &str| -> Result<Value> {
        let mut command = Command::new(binary()?);
        let (ok, text) =
            output(command.args(["explain", "--json", "--dsn", &dsn, "--policy"]).arg(&file).arg(sql))?;
        anyhow::ensure!(ok, "{text}");
        Ok(serde_json::from_str::<Value>(&text)?["statements"].take())
    };
    let recorded = |sql: &str| -> Result<Value> {
        asking.agent.psql(&dsn, sql)?;
        let record = asking.agent.trail()?.into_iter().rfind(|record| record["sql"] == sql);
        Ok(record.with_context(|| format!("a record of {sql}"))?["findings"].clone())
    };
    for sql in [
        "select email, upper(email) as loud from customers where email like 'guess-1%' and salary > 1",
        "insert into customers (id, email) select id + 100, email from customers where false",
        "select email from customers; select lower(email) from customers",
        "select email from customers limit (select salary from customers where id = 1)",
        "select pg_notify('a', email) from customers",
        "select pg_read_file('/etc/hostname')",
    ] {
        let mut whole = explained(sql)?;
        // A record leaves out what is about other columns.
        for statement in whole.as_array_mut().context("a list")? {
            for (list, keep) in [
                ("outputs", |output: &Value| output["ruling"] != "clear"),
                ("predicates", |use_: &Value| !use_["ruling"].is_null()),
                ("writes", |write: &Value| write["target"] != "public.customers.id"),
            ] as [(&str, fn(&Value) -> bool); 3]
            {
                if let Some(list) = statement[list].as_array_mut() {
                    list.retain(keep);
                }
            }
        }
        assert_eq!(recorded(sql)?, whole, "{sql}");
    }
    // Findings are shared by statements that differ in their literals, which are therefore not in them.
    let sql = "select email, upper(email) as loud from customers where email like 'guess-2%' and salary > 2";
    let findings = recorded(sql)?;
    assert_eq!(findings[0]["predicates"][0]["usage"], "pattern", "{findings}");
    assert!(!findings.to_string().contains("guess"), "{findings}");
    for sql in [
        "select id, city from customers where id = 1",
        "insert into parts values (1, 'a')",
        "begin",
        "select 1",
    ] {
        assert_eq!(recorded(sql)?, Value::Null, "{sql}");
    }
    Ok(())
}

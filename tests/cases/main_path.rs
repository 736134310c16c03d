//! An unchanged client gets masked rows through the kernel redirect, and nothing once the daemon is dead.

use anyhow::Result;
use mask_tests::{Agent, Postgres, have_root};

const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text, ssn text);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org', '078-05-1120');
    create table parts (id int primary key, label text);
    insert into parts values (1, 'bolt')";

/// Values that no byte sent to the client may hold.
const CANARIES: [&str; 2] = ["ana.canary", "078-05-1120"];

fn shows_no_canary(text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} reached the client:\n{text}");
    }
}

#[test]
fn masked_columns_are_masked_and_the_rest_is_untouched() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for method in ["trust", "password", "md5", "scram-sha-256"] {
        let postgres = Postgres::start(method)?;
        postgres.setup(SCHEMA)?;
        let agent = Agent::start(postgres.port)?;
        let (ok, text) = agent.psql(&postgres.dsn(), "select id, city, email, ssn from customers")?;
        assert!(ok, "{method}: {text}\n{}", agent.log());
        shows_no_canary(&text);
        assert!(text.starts_with("1|Lisbon|"), "{text}");
        let (ok, text) = agent.psql(&postgres.dsn(), "select id, label, id + 1 from parts")?;
        assert!(ok, "{method}: {text}");
        assert_eq!(text, "1|bolt|2\n", "a statement that names nothing sensitive passes untouched");
    }
    Ok(())
}

#[test]
fn no_statement_of_the_list_shows_a_clear_value() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SCHEMA)?;
    postgres.setup("create view v as select email as contact from customers")?;
    postgres.setup(
        "create function reads() returns text language sql as 'select email from customers limit 1';
         create function joins(int, int) returns text language sql as 'select reads()';
         create operator @@@ (leftarg = int, rightarg = int, function = joins);
         create table defaults (id int, label text default reads())",
    )?;
    let agent = Agent::start(postgres.port)?;
    for sql in [
        "select reads()",
        "select 1 @@@ 1",
        "insert into defaults values (1) returning label",
        "create table d2 (id int, label text default reads()); insert into d2 values (1); select * from d2",
        "create rule r as on insert to parts do also select email from customers; insert into parts values (9, 'x')",
        "select email as x from customers",
        "select * from customers",
        "table customers",
        "select upper(email) || ssn from customers",
        "select c from customers c",
        "select row_to_json(c) from customers c",
        "select contact from v",
        "select string_agg(email, ',') from customers",
        "with customers as (select * from customers) select email || '' from customers",
        "select email from customers union all select ssn from customers",
        "select ssn::int from customers",
        "copy customers to stdout",
        "copy (select email from customers) to stdout",
        "do $$ begin raise notice '%', (select email from customers limit 1); end $$",
        "prepare p as select email from customers; execute p",
        "create table leak as select email as x from customers; select * from leak",
        "update customers set city = email returning city",
        "insert into parts select 2, email from customers returning label",
        "select set_config('application_name', email, false) from customers",
        "select query_to_xml('select email from customers', true, true, '')",
        "select histogram_bounds, most_common_vals from pg_stats where tablename = 'customers'",
        "begin; declare c cursor for select email, upper(ssn) from customers; fetch all c; commit",
        "explain select * from customers where email = (select email from customers limit 1)",
    ] {
        let (_, text) = agent.psql(&postgres.dsn(), sql)?;
        for canary in ["ana.canary", "ANA.CANARY", "078-05-1120"] {
            assert!(!text.contains(canary), "{sql}\nshowed {canary}:\n{text}");
        }
    }
    for sql in [
        "select id, city from customers",
        "update customers set city = 'Porto' where id = 1",
        "create table fresh (id int, n int default 1 + 1); insert into fresh values (1); drop table fresh",
        "with t as (select 1 as n) select n + 1 from t",
    ] {
        let (ok, text) = agent.psql(&postgres.dsn(), sql)?;
        assert!(ok, "{sql}: {text}");
    }
    Ok(())
}

#[test]
fn a_dead_daemon_means_refused_never_clear() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let mut agent = Agent::start(postgres.port)?;
    let (ok, _) = agent.psql(&postgres.dsn(), "select email from customers")?;
    assert!(ok);
    agent.kill()?;
    let (ok, text) = agent.psql(&postgres.dsn(), "select email from customers")?;
    assert!(!ok, "the database answered a protected client without the daemon:\n{text}");
    assert!(text.contains("refused"), "{text}");
    let (ok, _) = postgres.psql("select 1")?;
    assert!(ok, "the database itself is up, and reachable from outside the cgroup");
    Ok(())
}

#[test]
fn the_trail_names_the_caller_the_statement_and_what_was_masked() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let sql = "select id, email from customers";
    agent.psql(&postgres.dsn(), sql)?;
    let trail = agent.trail()?;
    let statement = trail.iter().find(|record| record["sql"] == sql);
    let statement = statement.unwrap_or_else(|| panic!("{sql} is not in {trail:#?}"));
    assert_eq!(statement["kind"], "statement");
    assert_eq!(statement["ruling"], "mask");
    assert_eq!(statement["columns"][0]["name"], "email");
    assert_eq!(statement["columns"][0]["origins"], serde_json::json!(["public.customers.email"]));
    assert!(statement["caller"]["exe"].as_str().is_some_and(|exe| exe.contains("psql")), "{statement}");
    let end = trail
        .iter()
        .find(|record| record["kind"] == "statement_end" && record["statement"] == statement["statement"]);
    assert_eq!(end.map(|end| end["rows"].clone()), Some(1.into()), "{trail:#?}");
    shows_no_canary(&serde_json::to_string(&trail)?);
    Ok(())
}

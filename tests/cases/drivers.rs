//! Unmodified drivers decode what they get, in every protocol form they use by default.

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, driver_python, have_root, output};
use serde_json::{Value, json};

const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text, ssn text, born date, paid numeric(8,2));
    comment on column customers.born is 'not a name the built-in policy knows';
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org', '078-05-1120', '1990-05-06', 12.50);
    create table parts (id int primary key, label text);
    insert into parts values (1, 'bolt')";

#[test]
fn python_drivers_get_masked_rows_and_work_as_they_do_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/drivers.py");
    let mut client = agent.client(&driver_python()?);
    let (ok, text) = output(client.arg(script).arg(postgres.port.to_string()))?;
    assert!(ok, "{text}\n{}", agent.log());
    assert!(
        !text.contains("canary") && !text.contains("078-05-1120"),
        "a clear value reached a driver: {text}"
    );
    let got: Value = serde_json::from_str(text.lines().last().context("no output")?)?;
    for driver in ["psycopg text", "psycopg binary"] {
        let rows = got[driver].as_array().context("rows")?;
        assert_eq!(rows.len(), 1, "{driver}: described and prepared executions differ: {rows:?}");
        let row: Value = serde_json::from_str(rows[0].as_str().context("row")?)?;
        assert_row(driver, &row);
    }
    assert_row("asyncpg", &got["asyncpg"]);
    assert_eq!(got["pipeline"][1], "bolt");
    assert_eq!(got["copied"], json!([[1, "bolt"], [2, "nut"]]));
    let copied = got["copied out"].as_str().context("COPY rows")?;
    assert!(copied.starts_with("1\tLisbon\t"), "{copied}");
    assert_eq!(got["refused"][0], "42501", "{got}");
    assert_eq!(got["scrubbed"][0], "22P02", "{got}");
    assert_eq!(got["after"], 2);
    assert_eq!(got["cancelled"], 42, "a cancel ends the query and not the connection: {got}");
    Ok(())
}

fn assert_row(driver: &str, row: &Value) {
    assert_eq!((&row[0], &row[1]), (&json!(1), &json!("Lisbon")), "{driver}: {row}");
    assert_eq!((&row[4], &row[5]), (&json!("1990-05-06"), &json!("12.50")), "{driver}: {row}");
    assert!(row[2].as_str().is_some_and(|email| !email.is_empty()), "{driver}: {row}");
}

//! What an operator relies on: reload, observe mode, allow lists, a full disk, a torn trail, uninstall.

use std::{fs, process::Command};

use anyhow::Result;
use mask_tests::{Agent, Postgres, have_root, output, wait_for};

const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text, note text);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org', 'likes tea')";
const QUERY: &str = "select id, city, email, note from customers";
const OBSERVE: &str = "
version: 1
name: watch
mode: observe
classification: { columns: [{ name: email, tag: email }] }
";
const ALLOW: &str = "
version: 1
name: listed
classification: { allow: [{ table: public.customers, columns: [id, city] }] }
";

#[test]
fn observe_mode_records_and_changes_nothing_and_a_broken_reload_keeps_the_policy() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(OBSERVE))?;
    let (_, text) = agent.psql(&postgres.dsn(), QUERY)?;
    assert_eq!(text, "1|Lisbon|ana.canary@example.org|likes tea\n");
    let trail = agent.trail()?;
    let seen =
        trail.iter().find(|record| record["sql"] == QUERY).map(|record| record["columns"][0]["name"].clone());
    assert_eq!(seen, Some("email".into()), "{trail:#?}");

    agent.reload(ALLOW)?;
    wait_for("the new policy", || {
        agent.trail().is_ok_and(|trail| trail.iter().any(|record| record["name"] == "listed"))
    })?;
    let (_, text) = agent.psql(&postgres.dsn(), QUERY)?;
    assert_eq!(text, "1|Lisbon|***|***\n", "what the list leaves out is masked");

    agent.reload("version: 1\nname: broken\nmaks: {}\n")?;
    wait_for("the rejection", || {
        agent.trail().is_ok_and(|trail| trail.iter().any(|record| record["kind"] == "policy_rejected"))
    })?;
    let (_, text) = agent.psql(&postgres.dsn(), QUERY)?;
    assert_eq!(text, "1|Lisbon|***|***\n", "the policy before stays in force");
    Ok(())
}

#[test]
fn a_new_policy_reaches_a_connection_that_is_open() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(OBSERVE))?;
    let mut psql = agent.open_psql(&postgres.dsn())?;
    let query = format!("{QUERY};");
    assert!(psql.ask(&query)?.contains("ana.canary"));
    agent.reload(ALLOW)?;
    wait_for("the new policy", || {
        agent.trail().is_ok_and(|trail| trail.iter().any(|record| record["name"] == "listed"))
    })?;
    let mut last = String::new();
    wait_for("the open connection to have it", || {
        last = psql.ask(&query).unwrap_or_default();
        !last.contains("ana.canary")
    })?;
    assert_eq!(last, "1|Lisbon|***|***\n");
    Ok(())
}

#[test]
fn a_daemon_that_stops_lets_a_transaction_end_and_tells_the_idle() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let mut agent = Agent::start(postgres.port)?;
    let mut idle = agent.open_psql(&postgres.dsn())?;
    idle.ask("select 1;")?;
    let mut busy = agent.open_psql(&postgres.dsn())?;
    busy.ask("begin; update customers set city = 'Porto';")?;
    agent.stop()?;
    wait_for("the idle connection to be told", || {
        let closed = |record: &serde_json::Value| record["kind"] == "connection_closed";
        agent.trail().is_ok_and(|trail| trail.iter().any(closed))
    })?;
    assert!(agent.ended()?.is_none(), "the daemon did not wait for the transaction");
    let text = busy.ask("select city from customers; commit;")?;
    assert!(text.contains("Porto"), "{text}");
    let mut status = None;
    wait_for("the daemon to end", || {
        status = agent.ended().ok().flatten();
        status.is_some()
    })?;
    assert!(status.is_some_and(|status| status.success()), "{}", agent.log());
    let text = idle.finish()?;
    assert!(text.is_empty() || text.contains("shutting down"), "{text}");
    let (_, text) = postgres.psql("select city from customers")?;
    assert_eq!(text, "Porto\n", "the transaction was committed");
    Ok(())
}

#[test]
fn a_client_too_many_is_told_so_and_the_others_go_on() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    let agent = Agent::start_with_arguments(postgres.port, &["--max-connections", "2"])?;
    let (ok, text) = agent.wire(postgres.port, &["crowd", "5"])?;
    assert!(ok && text.starts_with("3 ") && text.contains("53300") && text.contains("too many"), "{text}");
    wait_for("the connections of before to end and two to be let in", || {
        agent.wire(postgres.port, &["crowd", "2"]).is_ok_and(|(ok, text)| ok && text.starts_with("all 2"))
    })
}

#[test]
fn a_configuration_file_is_obeyed_and_status_names_the_daemon() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    let folder = mask_tests::Scratch::new("config")?;
    let file = folder.0.join("config.yaml");
    fs::write(&file, "# For one client.\nmax_connections: 1\n")?;
    let mut agent = Agent::start_with_arguments(postgres.port, &["--config", &file.to_string_lossy()])?;
    let mut psql = agent.open_psql(&postgres.dsn())?;
    psql.ask("select 1;")?;
    let (ok, text) = agent.psql(&postgres.dsn(), "select 1")?;
    assert!(!ok && text.contains("too many"), "{text}");
    let (ok, text) = agent.command(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&text)?;
    assert!(ok && status["daemon"]["pid"] == agent.pid(), "{text}");
    assert_eq!(status["daemon"]["connections"], 1, "{text}");
    assert_eq!(status["daemon"]["policy"], "zero-config", "{text}");
    agent.kill()?;
    let (_, text) = agent.command(&["status"])?;
    assert!(text.contains("not running") && text.contains("connect4"), "{text}");

    fs::write(&file, "max_conections: 1\n")?;
    let (ok, text) = agent.command(&["status", "--config", &file.to_string_lossy()])?;
    assert!(!ok && text.contains("config.yaml:1:1") && text.contains("`max_connections`"), "{text}");
    Ok(())
}

#[test]
fn a_direct_connection_to_the_proxy_may_cancel_with_a_key_of_ours_and_nothing_else() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    let agent = Agent::start(postgres.port)?;
    let proxy = agent.proxy_port.to_string();
    let (ok, text) = agent.wire(postgres.port, &["cancel", &proxy, "right"])?;
    assert!(ok && text.starts_with("closed") && text.contains("57014"), "{text}");
    let (ok, text) = agent.wire(postgres.port, &["cancel", &proxy, "falsified"])?;
    assert!(
        ok && text.starts_with("closed") && text.contains("SELECT 1") && !text.contains("57014"),
        "{text}"
    );
    // A start-up packet, and nonsense.
    for bytes in ["0000001500030000757365720070677300 00", "47455420"] {
        let (ok, text) = agent.wire(agent.proxy_port, &["direct", &bytes.replace(' ', "")])?;
        assert!(ok && text.starts_with("closed"), "{text}");
    }
    let refused = agent.trail()?.iter().filter(|record| record["kind"] == "connection_refused").count();
    assert_eq!(refused, 3, "each of them is in the trail, and the good one is not");
    Ok(())
}

#[test]
fn a_column_added_later_is_masked_where_only_listed_columns_are_shown() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(ALLOW))?;
    agent.psql(&postgres.dsn(), QUERY)?;
    postgres.setup("alter table customers add column extra text default 'ana.canary'")?;
    // A snapshot is shared for five seconds; a row of which it does not know every column is redacted meanwhile.
    let mut shown = String::new();
    wait_for("a newer snapshot", || {
        let (ok, text) = agent.psql(&postgres.dsn(), "select * from customers").unwrap_or_default();
        assert!(ok && !text.contains("canary"), "{text}");
        shown = text;
        shown.starts_with("1|Lisbon|")
    })?;
    assert!(shown.contains("***"), "{shown}");
    Ok(())
}

#[test]
fn a_trail_that_cannot_be_written_means_no_answer() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_on_small_disk(postgres.port)?;
    let (ok, _) = agent.psql(&postgres.dsn(), "select 1")?;
    assert!(ok, "{}", agent.log());
    let mut before = agent.open_psql(&postgres.dsn())?;
    before.ask("select 1;")?;
    fs::write(agent.state().join("audit/filler"), vec![0; 1 << 20]).unwrap_err();
    let long = format!("select {} as long", "1 + ".repeat(2000) + "1");
    let mut refused = false;
    for _ in 0..50 {
        let (ok, _) = agent.psql(&postgres.dsn(), &long)?;
        refused |= !ok;
    }
    let (ok, text) = agent.psql(&postgres.dsn(), QUERY)?;
    assert!(refused && !ok && !text.contains("Lisbon"), "{text}\n{}", agent.log());
    assert!(text.contains("audit trail cannot be written"), "{text}");
    // On a connection that was open before, what cannot be recorded does not reach the server either.
    let text = before.ask("update customers set city = 'Porto';").or_else(|_| before.finish())?;
    assert!(!text.contains("UPDATE"), "{text}");
    let (_, text) = postgres.psql("select city from customers")?;
    assert_eq!(text, "Lisbon\n");
    Ok(())
}

#[test]
fn uninstall_opens_the_database_and_says_so_in_the_trail() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let (attached, text) = agent.command(&["status"])?;
    assert!(attached && text.contains("connect4") && text.contains("redirected"), "{text}");
    let (ok, text) = agent.command(&["uninstall"])?;
    assert!(ok && text.contains("connect4"), "{text}");
    let (_, text) = agent.psql(&postgres.dsn(), QUERY)?;
    assert!(text.contains("ana.canary"), "the database is open only after this command: {text}");
    assert!(agent.trail()?.iter().any(|record| record["kind"] == "hooks_detached"));
    Ok(())
}

#[test]
fn a_torn_end_of_the_trail_is_recorded_and_spoils_no_other_record() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let (ok, _) = agent.psql(&postgres.dsn(), QUERY)?;
    assert!(ok);
    let torn = agent.state().parent().map(|folder| folder.join("torn")).unwrap_or_default();
    fs::create_dir_all(torn.join("audit"))?;
    fs::write(torn.join("audit/audit.jsonl"), "{\"v\":1,\"seq\":0}\n{\"v\":1,\"se")?;
    let pins = torn.join("no-pins");
    let mut uninstall = Command::new(mask_tests::agent::binary()?);
    uninstall.arg("uninstall").arg("--state-dir").arg(&torn).arg("--pin-dir").arg(&pins);
    let (ok, text) = output(&mut uninstall)?;
    assert!(ok, "{text}");
    let trail = fs::read_to_string(torn.join("audit/audit.jsonl"))?;
    let lines: Vec<_> = trail.lines().collect();
    assert!(lines[2].contains("\"recovered\"") && lines[3].contains("hooks_detached"), "{trail}");
    Ok(())
}

#[test]
fn an_upstream_that_is_down_is_told_as_an_error_of_the_protocol() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let port = mask_tests::free_port()?;
    let agent = Agent::start(port)?;
    let dsn = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let (ok, text) = agent.psql(&dsn, "select 1")?;
    assert!(!ok && text.contains("cannot be reached"), "{text}");
    Ok(())
}

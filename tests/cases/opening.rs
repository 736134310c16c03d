//! How a connection opens and closes: a client hears what it would hear from the server itself.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Postgres, Scratch, have_root, output, wait_for,
    wire::{Message, hex, query, shows, unhex},
};

const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org')";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/wire.py");

/// Says bytes, shuts the client's half, and gives every message that came until the server's half was shut too.
fn hang_up(agent: Option<&Agent>, port: u16, when: &str, text: &[u8]) -> Result<Vec<Message>> {
    let mut command = agent.map_or_else(|| Command::new("python3"), |agent| agent.client("/usr/bin/python3"));
    command.arg(SCRIPT).arg(port.to_string()).args(["hang-up", when]).arg(hex(text));
    let (ok, text) = output(&mut command)?;
    let bytes = text.strip_suffix(" closed\n").filter(|_| ok).with_context(|| text.clone())?;
    let bytes = unhex(bytes);
    let mut rest = &bytes[..];
    let mut messages = Vec::new();
    while let [kind, a, b, c, d, ..] = *rest {
        let end = 1 + usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
        messages.push((kind, rest.get(5..end).context("a message is cut off")?.to_vec()));
        rest = &rest[end..];
    }
    Ok(messages)
}

fn startup(minor: u16, options: &[(&str, &str)]) -> Vec<u8> {
    let mut body = [[0, 3], minor.to_be_bytes()].concat();
    for text in [("user", "postgres"), ("database", "postgres")].iter().chain(options) {
        body.extend_from_slice(format!("{}\0{}\0", text.0, text.1).as_bytes());
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(0);
    [&length.to_be_bytes()[..], &body].concat()
}

/// Without what is different for every connection: the cancel key.
fn heard(messages: Vec<Message>) -> Vec<Message> {
    messages.into_iter().filter(|(kind, _)| *kind != b'K').collect()
}

#[test]
fn a_client_that_has_said_everything_still_gets_its_answer() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let ask = |agent, sql: &str| hang_up(agent, postgres.port, "ready", &query(sql));
    let open = "select id, city from customers";
    assert_eq!(ask(Some(&agent), open)?, ask(None, open)?);
    let all = ask(Some(&agent), "select * from customers")?;
    assert!(shows(&all, b"Lisbon") && !shows(&all, b"canary"), "{all:?}");
    let kinds: Vec<u8> = all.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, b"TDCZ");
    assert!(shows(&ask(None, "select * from customers")?, b"canary"));
    // Long enough for us to look whether it is still there.
    let counts = ask(Some(&agent), "select count(*) from generate_series(1, 15000000)")?;
    assert!(shows(&counts, b"15000000"), "{counts:?}");
    Ok(())
}

#[test]
fn a_client_that_does_not_log_in_is_closed_in_time_and_one_that_did_stays() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    let folder = Scratch::new("slow")?;
    let file = folder.0.join("config.yaml");
    fs::write(&file, "login_timeout_s: 1\n")?;
    let agent = Agent::start_with_arguments(postgres.port, &["--config", &file.to_string_lossy()])?;
    let mut logged_in = agent.open_psql(&postgres.dsn())?;
    logged_in.ask("select 1;")?;
    // Half a start-up packet, and nothing more.
    let half = &startup(0, &[])[..9];
    let (ok, text) = agent.wire(postgres.port, &["say", "opening", &hex(half)])?;
    assert!(ok && text.trim() == "closed", "{text}");
    wait_for("the record of it", || {
        let slow = |record: &serde_json::Value| record["reason"] == "start-up took too long";
        agent.trail().is_ok_and(|trail| trail.iter().any(slow))
    })?;
    assert_eq!(logged_in.ask("select 2;")?, "2\n");
    Ok(())
}

#[test]
fn a_client_of_a_newer_protocol_is_told_what_the_server_does_not_know() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    let agent = Agent::start(postgres.port)?;
    let application = ("application_name", "a legacy agent");
    for (minor, option) in [(2, None), (2, Some("_pq_.unheard_of")), (0, Some("_pq_.unheard_of")), (0, None)]
    {
        let options = [Some(application), option.map(|name| (name, "1"))];
        let packet = startup(minor, &options.into_iter().flatten().collect::<Vec<_>>());
        let through = heard(hang_up(Some(&agent), postgres.port, "opening", &packet)?);
        let direct = heard(hang_up(None, postgres.port, "opening", &packet)?);
        assert_eq!(through, direct, "3.{minor} with {option:?}");
        let negotiated = direct.iter().any(|(kind, _)| *kind == b'v');
        assert_eq!(negotiated, minor > 0 || option.is_some());
        assert!(shows(&direct, b"a legacy agent"), "it was logged in");
    }
    Ok(())
}

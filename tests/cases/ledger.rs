//! A column that was given masked values stays masked: after the daemon is started anew, at every address its server has,
//! and in a copy of its database.

use std::fs;

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Postgres, have_root, wait_for,
    wire::{Message, bind, close, describe, execute, field, parse, query, shows, sync, talk},
};

const SCHEMA: &str = "
    create table customers (id int primary key, email text, salary int8);
    create table parts (id int primary key, label text, size int8);
    create table notes (id int, what text, price int8, above bool);
    create table later (id int, what text);
    create table plain (id int, what text, price int8, above bool);
    insert into customers values (1, 'ana.canary', 8765), (2, 'bob.canary', 4321);
    insert into parts values (1, 'bolt', 5000), (2, 'nut', 5000)";

/// What is made of masked values is asked as `function`, what is made of others too as `row-count`.
const POLICY: &str = "
version: 1
name: ledger
classification: { columns: [{ name: [email, salary], tag: personal }] }
rules: { predicates: { function: refuse } }
";

/// Masked values as they are, made of masked ones, and made of others too.
const PUT: &str = "insert into notes (id, what, price) select id, email, salary * 12 from customers;
    update notes set above = c.salary > p.size from customers c join parts p using (id) where c.id = notes.id";
/// The same of what is not masked.
const PUT_PLAIN: &str = "insert into plain (id, what, price) select id, label, size * 12 from parts;
    update plain set above = p.size > q.size from parts p join parts q using (id) where p.id = plain.id";

const READ: &str = "select what, price, above from T order by what";
/// Whether each is answered where the column holds what was put there.
const ASKED: [(&str, bool); 3] = [
    ("select count(*) from T where what = 'bolt'", true),
    ("select count(*) from T where price = 60000", false),
    ("select count(*) from T where above", false),
];

/// At another address, and in another database.
fn at(postgres: &Postgres, address: &str, database: &str) -> String {
    let dsn = postgres.dsn().replace("host=127.0.0.1", &format!("host={address}"));
    dsn.replace("dbname=postgres", &format!("dbname={database}"))
}

/// Both tables are as they were left.
fn check(agent: &Agent, dsn: &str, when: &str) -> Result<()> {
    let (ok, text) = agent.psql(dsn, &READ.replace('T', "notes"))?;
    assert!(ok, "{when}: {text}\n{}", agent.log());
    let shown = ["canary", "105180", "51852", "|t", "t\n"].iter().find(|clear| text.contains(**clear));
    assert!(text.lines().count() == 2 && shown.is_none(), "{when}: {shown:?} in {text}");
    let (ok, text) = agent.psql(dsn, &READ.replace('T', "plain"))?;
    assert!(ok && text == "bolt|60000|f\nnut|60000|f\n", "{when}: {text}");
    for (sql, is_answered) in ASKED {
        let (ok, text) = agent.psql(dsn, &sql.replace('T', "notes"))?;
        assert_eq!(ok, is_answered, "{when}: {sql}: {text}");
        assert!(ok || text.contains("mask-agent"), "{when}: {sql}: {text}");
        let (ok, text) = agent.psql(dsn, &sql.replace('T', "plain"))?;
        assert!(ok, "{when}: {sql}: {text}");
    }
    Ok(())
}

struct Stand {
    postgres: Postgres,
    agent: Agent,
}

impl Stand {
    /// A daemon through which masked values have been put into ordinary columns of a database.
    fn start(database: &str) -> Result<Self> {
        let addresses = "listen_addresses=127.0.0.1,127.0.0.2,::1";
        let postgres = Postgres::start_with("trust", &["-c", addresses])?;
        if database != "postgres" {
            postgres.setup(&format!("create database {database}"))?;
        }
        let agent = Agent::start_with(postgres.port, Some(POLICY))?;
        let stand = Self { postgres, agent };
        // Past the agent: what it sees made may be judged otherwise than what it finds.
        stand.direct(database, SCHEMA)?;
        let dsn = at(&stand.postgres, "127.0.0.1", database);
        for sql in [PUT, PUT_PLAIN] {
            let (ok, text) = stand.agent.psql(&dsn, sql)?;
            assert!(ok, "{text}");
        }
        let direct = stand.direct(database, &READ.replace('T', "notes"))?;
        assert_eq!(direct, "ana.canary|105180|t\nbob.canary|51852|f\n", "there is something to show");
        check(&stand.agent, &dsn, "at first")?;
        Ok(stand)
    }

    fn direct(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = std::process::Command::new("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let (ok, text) = mask_tests::output(psql.arg(at(&self.postgres, "127.0.0.1", database)))?;
        anyhow::ensure!(ok, "{sql}: {text}");
        Ok(text)
    }

    fn ledger(&self) -> std::path::PathBuf {
        self.agent.state().join("tainted.jsonl")
    }

    fn stop(&mut self) -> Result<()> {
        self.agent.stop()?;
        wait_for("the daemon to end", || matches!(self.agent.ended(), Ok(Some(_))))
    }
}

#[test]
fn columns_stay_masked_after_the_daemon_is_started_anew() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start("postgres")?;
    let dsn = stand.postgres.dsn();
    stand.stop()?;
    stand.agent.restart()?;
    check(&stand.agent, &dsn, "after a stop")?;
    stand.agent.kill()?;
    stand.agent.restart()?;
    check(&stand.agent, &dsn, "after a crash")?;
    Ok(())
}

#[test]
fn a_line_that_was_cut_short_is_left_out_and_the_log_says_so() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start("postgres")?;
    let dsn = stand.postgres.dsn();
    stand.agent.kill()?;
    let whole = std::fs::read_to_string(stand.ledger())?;
    let (half, _) = whole.split_at(whole.find("\"relation\"").context("a line")?);
    std::fs::write(stand.ledger(), format!("{whole}{half}"))?;
    stand.agent.restart()?;
    assert!(stand.agent.log().contains("cut short"), "{}", stand.agent.log());
    check(&stand.agent, &dsn, "with half a line")?;
    // What is remembered next is no end of that half.
    let (ok, text) = stand.agent.psql(
        &dsn,
        "create table late (id int, what text); insert into late select id, email from customers",
    )?;
    assert!(ok, "{text}");
    stand.agent.kill()?;
    stand.agent.restart()?;
    check(&stand.agent, &dsn, "after another line")?;
    let (ok, text) = stand.agent.psql(&dsn, "select id, what from late order by id")?;
    assert!(ok && text.lines().count() == 2 && !text.contains("canary"), "{text}");
    Ok(())
}

#[test]
fn a_daemon_that_cannot_read_a_line_does_not_start_and_says_which() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start("postgres")?;
    let dsn = stand.postgres.dsn();
    let whole = std::fs::read_to_string(stand.ledger())?;
    let damaged = whole.replacen("\"column\":\"what\"", "\"column\":what", 1);
    assert_ne!(whole, damaged);
    std::fs::write(stand.ledger(), &damaged)?;
    let line = damaged.lines().position(|line| line.contains(":what")).context("a line")? + 1;
    let log = stand.agent.fail_to_succeed()?;
    assert!(log.contains(&format!("tainted.jsonl:{line}: ")) && log.contains("repair it"), "{log}");
    check(&stand.agent, &dsn, "the daemon that runs goes on")?;
    stand.agent.kill()?;
    assert!(stand.agent.fail_to_succeed()?.contains("repair it"));
    let (ok, text) = stand.agent.psql(&dsn, "select what from notes")?;
    assert!(!ok && !text.contains("canary"), "without a daemon nothing is shown: {text}");
    std::fs::write(stand.ledger(), whole)?;
    stand.agent.restart()?;
    check(&stand.agent, &dsn, "once it is repaired")?;
    Ok(())
}

#[test]
fn a_column_is_masked_at_every_address_of_its_server() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start("postgres")?;
    let mut open = stand.agent.open_psql(&at(&stand.postgres, "127.0.0.2", "postgres"))?;
    open.ask("select what from later;")?;
    let (ok, text) =
        stand.agent.psql(&stand.postgres.dsn(), "insert into later select id, email from customers")?;
    assert!(ok, "{text}");
    let text = open.ask("select id, what from later order by id;")?;
    let errors = open.finish()?;
    assert!(text.starts_with("1|") && !text.contains("canary"), "a session that was open: {text}{errors}");
    let others = ["127.0.0.2", "::1", "localhost"].map(|address| at(&stand.postgres, address, "postgres"));
    for dsn in &others {
        check(&stand.agent, dsn, dsn)?;
    }
    stand.stop()?;
    stand.agent.restart()?;
    // The daemon has not met the address through which the values were put.
    for dsn in &others {
        check(&stand.agent, dsn, dsn)?;
    }
    Ok(())
}

#[test]
fn who_may_not_ask_which_server_it_is_finds_columns_masked_where_they_were_filled() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start("postgres")?;
    stand.postgres.setup(
        "create role alice login; grant select, insert on all tables in schema public to alice;
         revoke execute on function pg_control_system() from public",
    )?;
    let dsn = stand.postgres.dsn().replace("user=postgres", "user=alice");
    let (ok, text) = stand.agent.psql(&dsn, "insert into later select id, email from customers")?;
    assert!(ok, "{text}");
    for _ in 0..2 {
        check(&stand.agent, &dsn, "as alice")?;
        let (ok, text) = stand.agent.psql(&dsn, "select id, what from later order by id")?;
        assert!(ok && text.starts_with("1|") && !text.contains("canary"), "{text}");
        stand.stop()?;
        stand.agent.restart()?;
    }
    // Somebody who may has now been at the address, and so it is known which server that is.
    check(&stand.agent, &stand.postgres.dsn(), "as somebody else")?;
    let elsewhere = at(&stand.postgres, "127.0.0.2", "postgres");
    let (ok, text) = stand.agent.psql(&elsewhere, "select id, what from later order by id")?;
    assert!(ok && text.starts_with("1|") && !text.contains("canary"), "{text}");
    assert!(!stand.postgres.log().contains("permission denied"), "{}", stand.postgres.log());
    Ok(())
}

#[test]
fn a_column_is_masked_in_a_copy_of_its_database_and_under_another_name() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start("shop")?;
    let postgres = stand.postgres.dsn();
    for sql in ["create database \"Copy\" template shop", "alter database shop rename to store"] {
        let (ok, text) = stand.agent.psql(&postgres, sql)?;
        assert!(ok, "{sql}: {text}");
    }
    let both = ["Copy", "store"].map(|name| at(&stand.postgres, "127.0.0.1", name));
    for dsn in &both {
        check(&stand.agent, dsn, dsn)?;
    }
    stand.stop()?;
    stand.agent.restart()?;
    for dsn in &both {
        check(&stand.agent, dsn, dsn)?;
    }
    Ok(())
}

/// Statements that the server cannot make sense of, and a column each would have filled with nobody knows what.
const MISTAKES: [&str; 4] = [
    "update plain set what = nosuch",
    "update plain as p set price = plain.price + 1",
    "insert into plain (what) select email || nosuch from customers",
    "insert into plain (what) select email from customers where nosuch(email)",
];

#[test]
fn a_mistake_masks_no_column_and_is_told_in_the_servers_words() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&format!("{SCHEMA}; {PUT_PLAIN}"))?;
    let agent = Agent::start(postgres.port)?;
    let port = postgres.port;
    let extended =
        |sql: &str| [parse("", sql), bind("", "", &[]), describe(b'P', ""), execute("", 0), sync()].concat();
    let named =
        |sql: &str| [parse("s", sql), bind("", "s", &[]), execute("", 0), close(b'S', "s"), sync()].concat();
    let after = query("select what, price from plain order by what");
    for sql in MISTAKES {
        for text in [query(sql), extended(sql), named(sql), [query(sql), query("select 1")].concat()] {
            let texts = [text, after.clone()];
            let (direct, through) = (talk(None, port, &texts)?, talk(Some(&agent), port, &texts)?);
            let told = |messages: &[Message]| -> Vec<(u8, Option<String>)> {
                messages
                    .iter()
                    .map(|(kind, body)| (*kind, (*kind == b'E').then(|| field(body, b'C')).flatten()))
                    .collect()
            };
            assert_eq!(told(&direct[0]), told(&through[0]), "{sql}");
            assert_eq!(direct[1], through[1], "{sql}: {}", agent.log());
        }
    }
    let ledger = fs::read_to_string(agent.state().join("tainted.jsonl"))?;
    assert_eq!(ledger, "", "a mistake was remembered");
    // In a transaction that it ends, and in one that was ended before.
    let mut psql = agent.open_psql(&postgres.dsn())?;
    psql.ask("begin;")?;
    psql.ask(&format!("{};", MISTAKES[0]))?;
    psql.ask(&format!("{};", MISTAKES[2]))?;
    psql.ask("rollback;")?;
    assert_eq!(psql.ask("select what from plain order by what;")?.matches("bolt").count(), 1);
    let ledger = fs::read_to_string(agent.state().join("tainted.jsonl"))?;
    assert_eq!(ledger, "", "a mistake was remembered");
    for text in [
        query("insert into plain (what) select email from customers"),
        extended("update plain set price = (select max(salary) from customers)"),
    ] {
        let told = talk(Some(&agent), port, &[text, after.clone()])?;
        assert!(told[0].iter().any(|(kind, _)| *kind == b'C'), "{:?}", told[0]);
        assert!(!shows(&told[1], b"canary") && !shows(&told[1], b"8765"), "{:?}", told[1]);
    }
    Ok(())
}

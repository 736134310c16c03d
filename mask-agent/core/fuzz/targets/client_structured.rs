//! Well-formed messages of a client in any order, answered by a server: the canary never comes back, and the
//! session stays in step with the server.
#![no_main]

#[path = "../../tests/peer/mod.rs"]
mod peer;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use peer::{From, Peer, Server, bind, close, contains, describe, execute, message, parse, query, sync};

#[derive(Arbitrary, Debug)]
enum Message {
    Bind {
        portal: u8,
        statement: u8,
        formats: Vec<bool>,
    },
    ClosePortal(u8),
    CloseStatement(u8),
    CopyData(Vec<u8>),
    CopyDone,
    DescribePortal(u8),
    DescribeStatement(u8),
    Execute {
        portal: u8,
        rows: u16,
    },
    Flush,
    Parse {
        statement: u8,
        sql: u8,
    },
    Query(u8),
    Sync,
    /// The server answers what has reached it.
    Answer,
}

const SQL: [&str; 12] = [
    "select id, city, email from customers",
    "select * from customers where id = 1",
    "select upper(email), city, 'x' from customers",
    "select 1, 'Lisbon', 'x'",
    "select c, c, c from customers c",
    "copy customers to stdout",
    "update customers set city = email returning id, city, email",
    "set search_path = public",
    "create table t as select email from customers",
    "begin",
    "",
    "not sql",
];

const NAMES: [&str; 3] = ["", "a", "b"];

fn name(number: u8) -> &'static str {
    NAMES[usize::from(number) % NAMES.len()]
}

fn sql(number: u8) -> &'static str {
    SQL[usize::from(number) % SQL.len()]
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Answer => Vec::new(),
            Self::Bind { portal, statement, formats } => {
                let formats: Vec<i16> = formats.iter().take(4).map(|binary| i16::from(*binary)).collect();
                bind(name(*portal), name(*statement), &formats)
            }
            Self::ClosePortal(portal) => close(b'P', name(*portal)),
            Self::CloseStatement(statement) => close(b'S', name(*statement)),
            Self::CopyData(bytes) => message(b'd', bytes),
            Self::CopyDone => message(b'c', &[]),
            Self::DescribePortal(portal) => describe(b'P', name(*portal)),
            Self::DescribeStatement(statement) => describe(b'S', name(*statement)),
            Self::Execute { portal, rows } => execute(name(*portal), u32::from(*rows)),
            Self::Flush => message(b'H', &[]),
            Self::Parse { statement, sql: number } => parse(name(*statement), sql(*number)),
            Self::Query(number) => query(sql(*number)),
            Self::Sync => sync(),
        }
    }
}

fuzz_target!(|messages: Vec<Message>| {
    let mut peer = Peer::ready();
    let mut server = Server::default();
    for message in messages.iter().take(64).chain([&Message::Sync, &Message::Answer]) {
        peer.feed(From::Client, &message.bytes());
        if matches!(message, Message::Answer) {
            let answers = server.answer(&std::mem::take(&mut peer.to_server));
            peer.feed(From::Server, &answers);
        }
    }
    assert!(!contains(&peer.to_client, "canary"), "{messages:?}");
});

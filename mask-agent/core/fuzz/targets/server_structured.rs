//! Well-formed messages of a server in any order, each carrying the canary where one can: it never comes out.
#![no_main]

#[path = "../../tests/peer/mod.rs"]
mod peer;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use peer::{
    CANARY, CITY, Described, EMAIL, From, ID, Peer, TEXT, bind, complete, contains, data_row, describe,
    error, execute, message, parse, query, ready, row_description, sync,
};

#[derive(Arbitrary, Debug)]
enum Message {
    BindComplete,
    CloseComplete,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyOut,
    EmptyQuery,
    Error,
    NoData,
    Notice,
    ParameterDescription,
    ParseComplete,
    PortalSuspended,
    Ready(u8),
    Row(u8),
    RowDescription(Vec<u8>),
}

/// Columns that all hold the canary, so none of them may be one that is shown.
const COLUMNS: [Described<'_>; 4] = [
    EMAIL,
    ("?column?", 0, 0, TEXT, 0),
    ("stranger", 99_999, 1, TEXT, 0),
    ("whole row", peer::CUSTOMERS, 0, TEXT, 0),
];

impl Message {
    fn bytes(&self) -> Vec<u8> {
        let canary = CANARY.as_bytes();
        match self {
            Self::BindComplete => message(b'2', &[]),
            Self::CloseComplete => message(b'3', &[]),
            Self::CommandComplete => complete("SELECT 1"),
            Self::CopyData => message(b'd', canary),
            Self::CopyDone => message(b'c', &[]),
            Self::CopyOut => message(b'H', &[0, 0, 0]),
            Self::EmptyQuery => message(b'I', &[]),
            Self::Error => error("22P02", CANARY),
            Self::NoData => message(b'n', &[]),
            Self::Notice => message(b'N', format!("SNOTICE\0C00000\0M{CANARY}\0\0").as_bytes()),
            Self::ParameterDescription => message(b't', &[0, 0]),
            Self::ParseComplete => message(b'1', &[]),
            Self::PortalSuspended => message(b's', &[]),
            Self::Ready(status) => ready([b'I', b'T', b'E'][usize::from(*status) % 3]),
            Self::Row(cells) => data_row(&vec![Some(canary); usize::from(*cells) % 6]),
            Self::RowDescription(columns) => {
                let columns =
                    columns.iter().take(6).map(|number| COLUMNS[usize::from(*number) % COLUMNS.len()]);
                row_description(&columns.collect::<Vec<_>>())
            }
        }
    }
}

const SQL: &str = "select id, city, email from customers";

fuzz_target!(|input: (u8, Vec<Message>)| {
    let (asked, messages) = input;
    let mut peer = Peer::ready();
    let extended = [parse("", SQL), bind("", "", &[]), describe(b'P', ""), execute("", 0), sync()];
    let asked = match asked % 3 {
        0 => query(SQL),
        1 => extended.concat(),
        _ => [parse("s", SQL), bind("p", "s", &[1]), execute("p", 1), execute("p", 1), sync()].concat(),
    };
    // Transactions stay open, so that what is said after the last answer belongs to a statement that read.
    for _ in 0..2 {
        peer.feed(From::Client, &asked);
    }
    for message in messages.iter().take(64) {
        peer.feed(From::Server, &message.bytes());
        if matches!(message, Message::Ready(status) if status % 3 == 0) {
            peer.feed(From::Client, &asked);
        }
    }
    assert!(!contains(&peer.to_client, "canary"), "{messages:?}");
    // The benign twin of the columns above.
    let mut twin = Peer::ready();
    twin.feed(From::Client, &query("select id, city from customers"));
    twin.feed(
        From::Server,
        &[row_description(&[ID, CITY]), data_row(&[Some(b"1"), Some(b"Lisbon")])].concat(),
    );
    assert!(contains(&twin.to_client, "Lisbon"));
});

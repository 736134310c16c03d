//! Any bytes as rows of a COPY in any form: no panic, and the same however the messages are cut.
#![no_main]

#[path = "../../tests/copies/mod.rs"]
mod copies;
#[path = "../../tests/peer/mod.rs"]
mod peer;

use copies::{CSV_NULLS, Csv, DELIMITERS, ESCAPES, Form, QUOTES, TEXT_NULLS, hides};
use libfuzzer_sys::fuzz_target;
use peer::{From, Peer, frames, message, query};

const COLUMNS: [&str; 3] = ["id", "city", "email"];

fn pick<T: Copy>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()]
}

fn form(choice: [u8; 6]) -> Form {
    let [kind, delimiter, null, quote, escape, flags] = choice;
    let (delimiter, header) = (pick(&DELIMITERS, delimiter), flags & 1 != 0);
    match kind % 3 {
        0 => Form::Binary { extension: Vec::new() },
        1 => Form::Text { delimiter, null: pick(&TEXT_NULLS, null), header },
        _ => Form::Csv(Csv {
            delimiter,
            null: pick(&CSV_NULLS, null),
            quote: pick(&QUOTES, quote),
            escape: pick(&ESCAPES, escape),
            header,
            forced: [2, 4, 8].map(|bit| flags & bit != 0).to_vec(),
        }),
    }
}

fuzz_target!(|input: ([u8; 6], u16, &[u8])| {
    let (choice, cut, bytes) = input;
    let form = form(choice);
    let run = |parts: &[&[u8]]| {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(&format!("copy customers to stdout ({})", form.options(&COLUMNS))));
        peer.feed(From::Server, &message(b'H', &[0, 0, 3, 0, 0, 0, 0, 0, 0]));
        for part in parts {
            peer.feed(From::Server, &message(b'd', part));
        }
        peer.feed(From::Server, &message(b'c', &[]));
        peer
    };
    let whole = run(&[bytes]);
    let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let parts = run(&[head, tail]);
    assert_eq!(whole.ended.is_some(), parts.ended.is_some());
    let rows = |peer: &Peer| frames(&peer.to_client).into_iter().filter(|(kind, _)| *kind == b'd');
    let rows = |peer: &Peer| rows(peer).flat_map(|(_, body)| body).collect::<Vec<_>>();
    // Rows before the one that broke off may have been shown.
    if whole.ended.is_none() {
        assert_eq!(rows(&whole), rows(&parts));
        if let (Some(clear), Some(shown)) = (form.read(bytes, COLUMNS.len()), form.read(&rows(&whole), COLUMNS.len())) {
            let pairs = clear.iter().zip(&shown).flat_map(|(clear, shown)| clear[2].iter().zip(&shown[2]));
            assert!(pairs.into_iter().all(|(value, shown)| hides(value, shown)));
        }
    }
});

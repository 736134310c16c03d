//! Rows as a server writes them, in any form and cut anywhere: the masked column shows nothing, the others are as they
//! were.
#![no_main]

#[path = "../../tests/copies/mod.rs"]
mod copies;
#[path = "../../tests/peer/mod.rs"]
mod peer;

use arbitrary::Arbitrary;
use copies::{CSV_NULLS, Csv, DELIMITERS, ESCAPES, Form, QUOTES, Row, TEXT_NULLS, hides};
use libfuzzer_sys::fuzz_target;
use peer::{From, Peer, frames, message, query};

const COLUMNS: [&str; 3] = ["id", "city", "email"];

#[derive(Arbitrary, Debug)]
enum Asked {
    Binary(Vec<u8>),
    Csv([u8; 4], bool, [bool; 3]),
    Text([u8; 2], bool),
}

fn pick<T: Copy>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()]
}

impl Asked {
    fn form(&self) -> Form {
        match self {
            Self::Binary(extension) => Form::Binary { extension: extension.clone() },
            Self::Csv([delimiter, null, quote, escape], header, forced) => Form::Csv(Csv {
                delimiter: pick(&DELIMITERS, *delimiter),
                null: pick(&CSV_NULLS, *null),
                quote: pick(&QUOTES, *quote),
                escape: pick(&ESCAPES, *escape),
                header: *header,
                forced: forced.to_vec(),
            }),
            Self::Text([delimiter, null], header) => Form::Text {
                delimiter: pick(&DELIMITERS, *delimiter),
                null: pick(&TEXT_NULLS, *null),
                header: *header,
            },
        }
    }
}

fuzz_target!(|input: (Asked, Vec<[Option<Vec<u8>>; 3]>, Vec<u16>)| {
    let (asked, rows, cuts) = input;
    let form = asked.form();
    let rows: Vec<Row> = rows.into_iter().take(16).map(Vec::from).collect();
    let mut data = form.head(&COLUMNS);
    data.extend(rows.iter().flat_map(|row| form.row(row)));
    data.extend(form.tail());
    let mut peer = Peer::ready();
    peer.feed(From::Client, &query(&format!("copy customers to stdout ({})", form.options(&COLUMNS))));
    peer.feed(From::Server, &message(b'H', &[0, 0, 3, 0, 0, 0, 0, 0, 0]));
    let mut at = 0;
    for cut in cuts.iter().take(16) {
        let end = (at + usize::from(*cut)).min(data.len());
        peer.feed(From::Server, &message(b'd', &data[at..end]));
        at = end;
    }
    peer.feed(From::Server, &message(b'd', &data[at..]));
    peer.feed(From::Server, &message(b'c', &[]));
    assert_eq!(peer.ended, None, "{form:?}");
    let shown = frames(&peer.to_client).into_iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body);
    let shown = form.read(&shown.collect::<Vec<_>>(), COLUMNS.len()).expect("rows of the form");
    assert_eq!(shown.len(), rows.len());
    for (row, shown) in rows.iter().zip(&shown) {
        let empty = |cell: &Option<Vec<u8>>| cell.as_ref().is_none_or(Vec::is_empty);
        for column in 0..2 {
            // An empty text and NULL may be written alike.
            assert!(row[column] == shown[column] || empty(&row[column]) && empty(&shown[column]));
        }
        let hidden = row[2].iter().zip(&shown[2]).all(|(value, shown)| hides(value, shown));
        assert!(hidden, "{form:?} {row:?}");
    }
});

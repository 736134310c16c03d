//! For any COPY: what the client reads is what the server sent, but for masked cells, wherever messages and bytes are
//! cut.

mod copies;
mod peer;

use copies::{CSV_NULLS, Csv, DELIMITERS, ESCAPES, Form, QUOTES, Row, TEXT_NULLS, hides};
use peer::{From, Peer, complete, frames, message, query, ready};
use proptest::{prelude::*, sample::select};

const COLUMNS: [&str; 3] = ["id", "city", "email"];
/// The one of them that is masked.
const EMAIL: usize = 2;

fn form() -> impl Strategy<Value = Form> {
    let csv = (
        select(&DELIMITERS[..]),
        select(&CSV_NULLS[..]),
        select(&QUOTES[..]),
        select(&ESCAPES[..]),
        any::<bool>(),
        prop::collection::vec(any::<bool>(), COLUMNS.len()),
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|extension| Form::Binary { extension }),
        csv.prop_map(|(delimiter, null, quote, escape, header, forced)| {
            Form::Csv(Csv { delimiter, null, quote, escape, header, forced })
        }),
        (select(&DELIMITERS[..]), select(&TEXT_NULLS[..]), any::<bool>())
            .prop_map(|(delimiter, null, header)| Form::Text { delimiter, null, header }),
    ]
}

fn cell() -> impl Strategy<Value = Option<Vec<u8>>> {
    let hard = "(\\\\|\"|'|~|,|\t|\\||\n|\r|\\.|N|\u{1}|é|a|NULL){0,12}";
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Vec::new())),
        4 => hard.prop_map(|text| Some(text.into_bytes())),
        2 => "[a-z.]{1,12}@[a-z]{1,12}\\.org".prop_map(|text| Some(text.into_bytes())),
        // In other encodings than UTF-8.
        1 => prop::collection::vec(1..=255_u8, 0..40).prop_map(Some),
    ]
}

fn table() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(prop::collection::vec(cell(), COLUMNS.len()), 0..6)
}

/// A text that stands for nothing a mask or a form would write by itself.
const CANARY: &str = "ana.canary@example.org";

/// Frames of a server that sends what is cut at these places.
fn sent(form: &Form, data: &[u8], cuts: &[usize]) -> Vec<u8> {
    let binary = u8::from(matches!(form, Form::Binary { .. }));
    let mut response = vec![binary, 0, 3];
    response.extend([0, binary].repeat(COLUMNS.len()));
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
    cuts.extend([0, data.len()]);
    cuts.sort_unstable();
    let parts = cuts.windows(2).flat_map(|cut| message(b'd', &data[cut[0]..cut[1]]));
    let end = [message(b'c', &[]), complete("COPY 1"), ready(b'I')].concat();
    message(b'H', &response).into_iter().chain(parts).chain(end).collect()
}

fn received(form: &Form, bytes: &[&[u8]]) -> Result<Peer, TestCaseError> {
    let mut peer = Peer::ready();
    peer.feed(From::Client, &query(&format!("copy customers to stdout ({})", form.options(&COLUMNS))));
    for part in bytes {
        peer.feed(From::Server, part);
    }
    prop_assert_eq!(&peer.ended, &None);
    Ok(peer)
}

fn copied(peer: &Peer) -> Vec<u8> {
    frames(&peer.to_client).into_iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_differs_in_masked_cells_only(
        form in form(), rows in table(), cuts in prop::collection::vec(any::<usize>(), 0..6), at in any::<usize>(),
    ) {
        let mut data = form.head(&COLUMNS);
        data.extend(rows.iter().flat_map(|row| form.row(row)));
        data.extend(form.tail());
        let reads = matches!(form, Form::Binary { .. }) || form.read(&data, COLUMNS.len()).is_some();
        prop_assert!(reads);
        let frames = sent(&form, &data, &cuts);
        let whole = received(&form, &[&frames])?;
        let shown = form.read(&copied(&whole), COLUMNS.len());
        let shown = shown.ok_or_else(|| TestCaseError::fail("what is shown is not of its form"))?;
        prop_assert_eq!(shown.len(), rows.len());
        for (row, shown) in rows.iter().zip(&shown) {
            // Text does not tell an empty value from a NULL that is written so.
            let read = form.read(&[&form.head(&COLUMNS)[..], &form.row(row), form.tail()].concat(), COLUMNS.len());
            let read = read.map_or_else(|| row.clone(), |mut rows| rows.remove(0));
            for (column, (value, shown)) in read.iter().zip(shown).enumerate() {
                if column != EMAIL {
                    prop_assert_eq!(value, shown);
                    continue;
                }
                prop_assert_eq!(value.is_none(), shown.is_none());
                let hidden = value.iter().zip(shown).all(|(value, shown)| hides(value, shown));
                prop_assert!(hidden, "{value:?} in {shown:?}");
            }
        }
        let (head, tail) = frames.split_at(at % frames.len());
        let parts = received(&form, &[head, tail])?;
        prop_assert_eq!(&parts.to_client, &whole.to_client);
    }

    #[test]
    fn a_canary_never_appears_whatever_the_form(form in form(), rows in table()) {
        let mut data = form.head(&COLUMNS);
        for mut row in rows {
            row[EMAIL] = Some(CANARY.into());
            data.extend(form.row(&row));
        }
        data.extend(form.tail());
        let peer = received(&form, &[&sent(&form, &data, &[])])?;
        prop_assert!(!peer::contains(&peer.to_client, "canary"));
    }
}

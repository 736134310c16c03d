//! For any rows: what the client gets is what the server sent, but for masked cells.

mod peer;

use peer::*;
use proptest::prelude::*;

/// What an output column is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Output {
    City,
    Email,
    Expression,
    Label,
}

impl Output {
    fn described(self, format: i16) -> Described<'static> {
        match self {
            Self::City => ("city", CUSTOMERS, 2, TEXT, format),
            Self::Email => ("email", CUSTOMERS, 3, TEXT, format),
            Self::Expression => ("?column?", 0, 0, TEXT, format),
            Self::Label => ("label", PARTS, 2, TEXT, format),
        }
    }

    fn written(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::Email => "email",
            Self::Expression => "email || ''",
            Self::Label => "label",
        }
    }

    fn is_masked(self) -> bool {
        matches!(self, Self::Email | Self::Expression)
    }
}

type Row = Vec<Option<Vec<u8>>>;

fn outputs() -> impl Strategy<Value = Vec<(Output, i16)>> {
    let output =
        prop_oneof![Just(Output::City), Just(Output::Email), Just(Output::Expression), Just(Output::Label)];
    prop::collection::vec((output, 0..=1_i16), 0..12)
}

fn cell() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Vec::new())),
        6 => "\\PC{1,40}".prop_map(|text| Some(text.into_bytes())),
        2 => "[a-z.]{1,12}@[a-z]{1,12}\\.(org|com)".prop_map(|text| Some(text.into_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Some),
    ]
}

fn table() -> impl Strategy<Value = (Vec<(Output, i16)>, Vec<Row>)> {
    outputs().prop_flat_map(|outputs| {
        let row = prop::collection::vec(cell(), outputs.len());
        (Just(outputs), prop::collection::vec(row, 0..8))
    })
}

fn data(cells: &Row) -> Vec<u8> {
    data_row(&cells.iter().map(Option::as_deref).collect::<Vec<_>>())
}

/// The cells of a row's body.
fn cells(body: &[u8]) -> Row {
    let mut rest = &body[2..];
    let mut cells = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            cells.push(None);
            rest = after;
            continue;
        };
        cells.push(Some(after[..length].to_vec()));
        rest = &after[length..];
    }
    cells
}

fn check(outputs: &[(Output, i16)], rows: &[Row], clear: &[u8], masked: &[u8]) -> Result<(), TestCaseError> {
    let (clear, masked) = (frames(clear), frames(masked));
    prop_assert_eq!(clear.len(), masked.len());
    let mut at = rows.iter();
    for ((kind, clear), (shown, masked)) in clear.iter().zip(&masked) {
        prop_assert_eq!(kind, shown);
        if *kind != b'D' {
            prop_assert_eq!(clear, masked);
            continue;
        }
        let row = at.next().expect("a row for each that was sent");
        let shown = cells(masked);
        prop_assert_eq!(row.len(), shown.len());
        for (((output, _), value), shown) in outputs.iter().zip(row).zip(&shown) {
            if !output.is_masked() {
                prop_assert_eq!(value, shown);
                continue;
            }
            if *output == Output::Expression {
                prop_assert_eq!(shown.as_deref(), Some(&b"***"[..]), "NULL would tell");
                continue;
            }
            prop_assert_eq!(
                value.is_none(),
                shown.is_none(),
                "NULL stays NULL, and nothing else becomes NULL"
            );
            let (Some(value), Some(shown)) = (value, shown) else { continue };
            // One character, or a part of the constant, is shown by chance.
            let constant = b"***".windows(value.len().max(1)).any(|part| part == value);
            let hidden = value.len() < 2 || constant || !shown.windows(value.len()).any(|part| part == value);
            prop_assert!(hidden, "{output:?} shows {value:?} in {shown:?}");
        }
    }
    prop_assert!(at.next().is_none());
    Ok(())
}

fn select(outputs: &[(Output, i16)]) -> String {
    let columns: Vec<_> = outputs.iter().map(|(output, _)| output.written()).collect();
    format!("select {} from customers c, parts p", columns.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn simple_queries_differ_in_masked_cells_only((outputs, rows) in table()) {
        let columns: Vec<_> = outputs.iter().map(|(output, format)| output.described(*format)).collect();
        let mut clear = row_description(&columns);
        clear.extend(rows.iter().flat_map(data));
        clear.extend([complete("SELECT"), ready(b'I')].concat());
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(&select(&outputs)));
        peer.feed(From::Server, &clear);
        prop_assert_eq!(&peer.ended, &None);
        check(&outputs, &rows, &clear, &peer.to_client)?;
    }

    #[test]
    fn portals_differ_in_masked_cells_only_whatever_formats_they_ask_for((outputs, rows) in table()) {
        let described: Vec<_> = outputs.iter().map(|(output, _)| output.described(0)).collect();
        let formats: Vec<i16> = outputs.iter().map(|(_, format)| *format).collect();
        let mut peer = Peer::ready();
        peer.feed(From::Client, &[parse("s", &select(&outputs)), describe(b'S', "s"), sync()].concat());
        peer.feed(From::Client, &[bind("", "s", &formats), execute("", 0), sync()].concat());
        let mut clear = [message(b'1', &[]), message(b't', &[0, 0]), row_description(&described)].concat();
        clear.extend([ready(b'I'), message(b'2', &[])].concat());
        clear.extend(rows.iter().flat_map(data));
        clear.extend([complete("SELECT"), ready(b'I')].concat());
        peer.feed(From::Server, &clear);
        prop_assert_eq!(&peer.ended, &None);
        check(&outputs, &rows, &clear, &peer.to_client)?;
    }
}

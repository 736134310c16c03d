//! What each kind of mask makes of values of each type, as recorded in `recorded/`: a change to any of it is a change to
//! what clients see. `MASK_RECORD=1 cargo test -p mask-core recorded` writes it.
//!
//! A line is a type's OID, its modifier, `text` or `binary`, and a value: in binary its bytes in hexadecimal
//! digits, as text in brackets.

use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

use super::{CellPlan, CellRule, Format, MaskKey, RowPlan, mask_row};
use crate::masking::{ColumnRule, DateUnit, FpeShape, Generalise, MaskKind};

fn kinds() -> Vec<(&'static str, CellRule)> {
    let coarse = |date, bucket| MaskKind::Generalise(Generalise { date, bucket, prefix4: 24, prefix6: 48 });
    let kinds = [
        ("card", MaskKind::Fpe(FpeShape::Card)),
        ("digits", MaskKind::Fpe(FpeShape::Digits)),
        ("email", MaskKind::Fpe(FpeShape::Email)),
        ("iban", MaskKind::Fpe(FpeShape::Iban)),
        ("phone", MaskKind::Fpe(FpeShape::Phone)),
        ("by year and 100", coarse(DateUnit::Year, 100)),
        ("by month and 7", coarse(DateUnit::Month, 7)),
        ("hash", MaskKind::Hash),
        ("null", MaskKind::Null),
        ("last 4", MaskKind::Partial { first: 0, last: 4 }),
        ("first 2", MaskKind::Partial { first: 2, last: 0 }),
        ("pattern", MaskKind::Pattern),
        ("placeholder", MaskKind::Redact { placeholder: Some("(hidden)".into()) }),
        ("token", MaskKind::Token { scope: None, reversible: false }),
        ("reversible", MaskKind::Token { scope: Some("s".into()), reversible: true }),
    ];
    let rule = |kind| CellRule::Mask(ColumnRule { rule: "tag".into(), mask: Arc::new(kind) });
    let masks = kinds.into_iter().map(|(name, kind)| (name, rule(kind)));
    [("redact", rule(MaskKind::Redact { placeholder: None }))].into_iter().chain(masks).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is recorded stands in a file beside this one")]
fn what_masks_make_of_values_is_as_recorded() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/masking/recorded/masks.txt");
    let recorded = fs::read_to_string(&path).unwrap();
    let mut found = String::new();
    for line in recorded.lines().filter(|line| !line.starts_with('>')) {
        writeln!(found, "{line}").unwrap();
        if !line.is_empty() && !line.starts_with('#') {
            told(&mut found, line);
        }
    }
    if std::env::var_os("MASK_RECORD").is_some() {
        fs::write(&path, &found).unwrap();
        return;
    }
    for (number, (found, recorded)) in (1..).zip(found.lines().zip(recorded.lines())) {
        assert_eq!(found, recorded, "line {number}");
    }
    assert_eq!(found.len(), recorded.len());
}

fn told(text: &mut String, line: &str) {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().unwrap();
    let (type_oid, type_modifier) = (word().parse().unwrap(), word().parse().unwrap());
    let (format, value) = match word() {
        "text" => (Format::Text, word().strip_prefix('[').unwrap().strip_suffix(']').unwrap().into()),
        _ => (Format::Binary, bytes(word())),
    };
    let mut last = String::new();
    for (name, rule) in kinds() {
        let plan = RowPlan::new(vec![CellPlan { type_oid, type_modifier, format, rule, shape: None }]);
        let row = [&[0, 1][..], &(value.len() as u32).to_be_bytes(), &value].concat();
        let mut out = Vec::new();
        mask_row(&MaskKey::new([7; 32]), &plan, &row, &mut out).unwrap();
        let shown = match (out[7..11].iter().all(|byte| *byte == 0xff), format) {
            (true, _) => "NULL".to_owned(),
            (false, Format::Text) => format!("[{}]", String::from_utf8(out[11..].to_vec()).unwrap()),
            (false, Format::Binary) => {
                out[11..].iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
            }
        };
        // Most kinds make the same of a value of another type.
        if shown != last {
            writeln!(text, ">   {name}: {shown}").unwrap();
        }
        last = shown;
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

//! One masked text column of ten, a row at a time: `cargo bench -p mask-core`.
//!
//! A row of COPY is to take no more than twice as long as one of `DataRow`.
//!
//! Wanted: 30 ns a row for `redact`, 250 ns for `hash` and `token`, 5 µs for `fpe`.

use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use mask_core::{
    masking::{CellPlan, CellRule, CopyFormat, CopyMasker, CopyPlan, Format, MaskKey, RowPlan, mask_row},
    policy::{ColumnRule, DateUnit, FpeShape, Generalise, MaskKind},
};

/// Shows what a mask allocates: nothing, once `out` is large enough.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const TEXT: u32 = 25;
const TEXT_ARRAY: u32 = 1009;
const DATE: u32 = 1082;
const COLUMNS: u16 = 10;
const MASKED: u16 = 4;
const ROWS: usize = 100;

fn main() {
    divan::main();
}

fn token(reversible: bool) -> MaskKind {
    MaskKind::Token { scope: None, reversible }
}

/// Kind, type and value of the masked column.
fn cases() -> Vec<(&'static str, Option<MaskKind>, u32, &'static str)> {
    let year = Generalise { date: DateUnit::Year, bucket: 10, prefix4: 24, prefix6: 64 };
    vec![
        ("none", None, TEXT, "ana.canary@example.org"),
        ("redact", Some(MaskKind::Redact { placeholder: None }), TEXT, "ana.canary@example.org"),
        ("pattern", Some(MaskKind::Pattern), TEXT, "ana.canary@example.org"),
        ("hash", Some(MaskKind::Hash), TEXT, "ana.canary@example.org"),
        ("token", Some(token(false)), TEXT, "ana.canary@example.org"),
        ("token of an array of two", Some(token(false)), TEXT_ARRAY, "{ana.canary@example.org,bob}"),
        ("token, reversible", Some(token(true)), TEXT, "ana.canary@example.org"),
        ("fpe card", Some(MaskKind::Fpe(FpeShape::Card)), TEXT, "4111 1111 1111 1111"),
        ("fpe digits", Some(MaskKind::Fpe(FpeShape::Digits)), TEXT, "078-05-1120"),
        ("fpe email", Some(MaskKind::Fpe(FpeShape::Email)), TEXT, "ana.canary@example.org"),
        ("fpe iban", Some(MaskKind::Fpe(FpeShape::Iban)), TEXT, "DE89370400440532013000"),
        ("fpe phone", Some(MaskKind::Fpe(FpeShape::Phone)), TEXT, "+49 30 901820"),
        ("generalise date", Some(MaskKind::Generalise(year)), DATE, "1957-06-25"),
    ]
}

#[divan::bench(args = cases().into_iter().map(|(name, ..)| name))]
fn row(bencher: Bencher<'_, '_>, name: &str) {
    let Some((_, kind, type_oid, value)) = cases().into_iter().find(|case| case.0 == name) else { return };
    let rule = kind.map_or(CellRule::Clear, |kind| {
        CellRule::Mask(ColumnRule { rule: "email".into(), mask: Arc::new(kind) })
    });
    let plan = RowPlan::new(
        (0..COLUMNS)
            .map(|column| {
                let (rule, type_oid) =
                    if column == MASKED { (rule.clone(), type_oid) } else { (CellRule::Clear, TEXT) };
                CellPlan { type_oid, type_modifier: -1, format: Format::Text, rule, shape: None }
            })
            .collect(),
    );
    // How far a card walks differs from one to the next.
    let rows: Vec<Vec<u8>> = (0..ROWS).map(|row| body(&other(value, row))).collect();
    let key = MaskKey::new([7; 32]);
    let mut out = Vec::with_capacity(1_024);
    let mut next = rows.iter().cycle();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        out.clear();
        mask_row(black_box(&key), black_box(&plan), black_box(next.next().map_or(&[], |row| row)), &mut out)
    });
}

/// A row of COPY with `redact`, which shows what the walk takes.
#[divan::bench(args = ["text", "csv", "csv, quoted", "binary"])]
fn copy(bencher: Bencher<'_, '_>, name: &str) {
    let (format, wire) = match name {
        "text" => (CopyFormat::text(), Format::Text),
        "binary" => (CopyFormat::Binary, Format::Binary),
        _ => (CopyFormat::csv(), Format::Text),
    };
    let cell = |column| {
        let rule = if column == MASKED { CellRule::Redact } else { CellRule::Clear };
        CellPlan { type_oid: TEXT, type_modifier: -1, format: wire, rule, shape: None }
    };
    let plan = CopyPlan::new(&(0..COLUMNS).map(cell).collect::<Vec<_>>(), format);
    let (open, close) = if name == "csv, quoted" { ("\"", "\"") } else { ("", "") };
    let between = if name == "text" { "\t" } else { "," };
    let rows: Vec<Vec<u8>> = (0..ROWS)
        .map(|row| {
            let masked = other("ana.canary@example.org", row);
            if name == "binary" {
                return body(&masked);
            }
            let cells = (0..COLUMNS).map(|column| {
                format!("{open}{}{close}", if column == MASKED { &masked } else { "a value of twenty chars" })
            });
            (cells.collect::<Vec<_>>().join(between) + "\n").into_bytes()
        })
        .collect();
    let key = MaskKey::new([7; 32]);
    let mut out = Vec::with_capacity(1_024);
    let mut masker = CopyMasker::default();
    if name == "binary" {
        let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
        masker.chunk(&key, &plan, header, &mut out).expect("a header");
    }
    let mut next = rows.iter().cycle();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        out.clear();
        let row = next.next().map_or(&[][..], |row| row);
        masker.chunk(black_box(&key), black_box(&plan), black_box(row), &mut out)
    });
}

/// The value with two digits changed, or two letters where it has no digits.
fn other(value: &str, row: usize) -> String {
    let mut bytes = value.as_bytes().to_vec();
    let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
    let (first, places) = if digits.is_empty() { (b'a', [1, 2]) } else { (b'0', [digits[6], digits[7]]) };
    for (place, number) in places.into_iter().zip([row / 10, row % 10]) {
        bytes[place] = first + number as u8;
    }
    String::from_utf8(bytes).expect("ASCII")
}

fn body(masked: &str) -> Vec<u8> {
    let mut body = COLUMNS.to_be_bytes().to_vec();
    for column in 0..COLUMNS {
        let value = if column == MASKED { masked } else { "a value of twenty chars" };
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body
}

//! One masked text column of ten, a row at a time: `cargo bench -p mask-core`.
//!
//! A row of COPY is to take no more than twice as long as one of `DataRow`.
//!
//! Wanted: 30 ns a row for `redact`, 250 ns for `hash` and `token`, 5 µs for `fpe`.

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use mask_core::masking::{CellPlan, CellRule, CopyFormat, CopyMasker, CopyPlan, Format, MaskKey};

use self::masks::{COLUMNS, MASKED, ROWS, Rows, TEXT, body, cases, other};

mod masks;

/// Shows what a mask allocates: nothing, once the row to be sent has room.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = cases().into_iter().map(|(name, ..)| name))]
fn row(bencher: Bencher<'_, '_>, name: &str) {
    let Some(mut rows) = Rows::of(name) else { return };
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| black_box(&mut rows).mask());
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

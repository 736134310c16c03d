//! One masked text column of ten, a row at a time: `cargo bench -p mask-core`.
//!
//! Wanted: 30 ns a row for `redact`, 250 ns for `hash` and `token`, 5 µs for `fpe`.

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};

use self::masks::{Rows, cases};

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

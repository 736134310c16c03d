//! What a statement costs before it is sent: read for the first time, and found again by its template.

use std::{collections::HashMap, fs, sync::LazyLock};

use divan::{Bencher, black_box};
use mask_core::lineage;

use self::statements::{EIGHT, PGBENCH, SEVENTEEN, decide, decide_job};

mod statements;

fn main() {
    divan::main();
}

#[divan::bench(args = PGBENCH)]
fn pgbench(sql: &str) -> usize {
    decide(black_box(sql))
}

#[divan::bench]
fn join_of_eight() -> usize {
    decide(black_box(EIGHT))
}

#[divan::bench]
fn join_of_seventeen() -> usize {
    decide(black_box(SEVENTEEN))
}

/// A decision that is known: the template of the text, and one look-up.
#[divan::bench(args = [PGBENCH[0], PGBENCH[1]])]
fn known(bencher: Bencher<'_, '_>, sql: &str) {
    let mut key = Vec::new();
    assert!(lineage::template(sql, &mut key), "a statement of pgbench has a template");
    let decisions: HashMap<Box<[u8]>, usize> = HashMap::from([(key.as_slice().into(), decide(sql))]);
    bencher.bench_local(|| {
        lineage::template(black_box(sql), &mut key);
        decisions.get(key.as_slice()).copied()
    });
}

/// The join order benchmark, where it is there: statements by rank of their length.
#[divan::bench(args = ["half", "most"])]
fn join_order_benchmark(bencher: Bencher<'_, '_>, rank: &str) {
    let Some(sql) = (if rank == "half" { JOB.get(JOB.len() / 2) } else { JOB.last() }) else { return };
    bencher.bench_local(|| decide_job(black_box(sql)));
}

/// Its statements, shortest first.
#[expect(clippy::disallowed_methods, reason = "it states no licence, so it is not in this repository")]
static JOB: LazyLock<Vec<String>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/job.sql");
    let text = fs::read_to_string(path).unwrap_or_default();
    let statements = text.split(';').filter(|sql| !sql.trim().is_empty());
    let mut statements: Vec<_> = statements.map(str::to_owned).collect();
    statements.sort_by_key(String::len);
    statements
});

//! Statements by chance: none shows a clear value.

use anyhow::Result;
use mask_tests::{
    corpus::{Policy, Servers},
    have_root,
    random::{Search, Tally},
};

/// Where the seeds that are always tried begin, and how many follow each.
const SEEDS: [(u64, u32); 4] = [(1, 1000), (200_000, 400), (7_000_000_000, 400), (9_000_000_000, 200)];

#[test]
fn no_statement_of_two_thousand_shows_a_canary() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let servers = Servers::start(&[Policy::Zero, Policy::Strict], None)?;
    let mut search = Search::new(&servers)?;
    let mut tally = Tally::default();
    // A failure is one of this change: other seeds are tried by `cargo xtask random`.
    for (seed, count) in SEEDS {
        println!("cargo xtask random --seed {seed} --count {count}");
        search.run(seed, count, &mut tally)?;
    }
    println!("{tally}");
    assert_eq!(tally.count, 2000);
    assert!(tally.leaks.is_empty(), "{tally}");
    assert!(tally.percent(tally.succeeded) >= 70, "too many fail without the agent: {tally}");
    assert!(tally.percent(tally.showing) >= 20, "too few show anything without the agent: {tally}");
    Ok(())
}

//! Whatever a client says, it is answered as direct, or less of it is accepted.

use anyhow::Result;
use mask_tests::{
    Agent, Postgres,
    differential::{SCHEMA, compare},
    have_root,
};

const STREAMS: u64 = 600;

#[test]
fn streams_that_are_changed_by_chance_are_answered_as_direct_or_end() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let tally = compare(&agent, postgres.port, 0, STREAMS)?;
    assert_eq!(tally.streams, STREAMS);
    // Both ends of the matter are tried, and strictness is no excuse.
    assert!(tally.violations > STREAMS / 10 && tally.went_on > STREAMS / 3, "{tally:?}");
    assert!(tally.stricter < tally.went_on / 2, "{tally:?}");
    Ok(())
}

//! Streams of a client's messages, changed by chance, direct and through the agent.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;
use mask_tests::{
    Agent, Postgres, catch_interrupts, check_interrupt,
    differential::{SCHEMA, Tally, compare},
};

/// Streams between two looks at whether to stop.
const ROUND: u64 = 200;

#[derive(Args)]
pub(crate) struct Options {
    /// How many streams.
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// The first of them; the others follow. By chance where not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The server's major version, in place of the system's own.
    #[arg(long)]
    major: Option<u16>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    catch_interrupts();
    let by_chance = || SystemTime::now().duration_since(UNIX_EPOCH).map(|now| now.as_secs());
    let first = options.seed.map_or_else(by_chance, Ok)?;
    println!("--seed {first} --count {}", options.count);
    let postgres = options.major.map_or_else(|| Postgres::start("trust"), Postgres::start_major)?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let mut all = Tally::default();
    while all.streams < options.count {
        check_interrupt()?;
        let count = ROUND.min(options.count - all.streams);
        all += compare(&agent, postgres.port, first + all.streams, count)?;
    }
    println!(
        "{} streams: the server went on after {}, of which {} were told that less is accepted, and ended {}",
        all.streams, all.went_on, all.stricter, all.violations
    );
    Ok(())
}

//! Statements by chance, searched for values that must not be seen.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::Args;
use mask_tests::{
    catch_interrupts,
    corpus::{Policy, Servers},
    random::{Search, Tally, program},
};

use crate::corpus::PolicyName;

/// Whose statements are shown where no other is named.
const PRINTED: u16 = 18;

#[derive(Args)]
pub(crate) struct Options {
    /// How many statements.
    #[arg(long, default_value_t = 200_000)]
    count: u32,
    /// The first of them; the others follow. By chance where not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The server's major version, in place of the system's own.
    #[arg(long)]
    major: Option<u16>,
    /// One of the two, in place of both.
    #[arg(long)]
    policy: Option<PolicyName>,
    /// Why the server did not take statements or the agent refused them, and how many.
    #[arg(long)]
    errors: bool,
    /// Only show the statements.
    #[arg(long)]
    print: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    catch_interrupts();
    let policies: &[Policy] = match options.policy {
        None => &[Policy::Zero, Policy::Strict],
        Some(PolicyName::Zero) => &[Policy::Zero],
        Some(PolicyName::Strict) => &[Policy::Strict],
    };
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    println!("--seed {seed} --count {}", options.count);
    if options.print {
        for seed in (seed..).take(options.count as usize) {
            println!("-- {seed}\n{};", program(seed, options.major.unwrap_or(PRINTED)).render());
        }
        return Ok(());
    }
    let servers = Servers::start(policies, options.major)?;
    let mut tally = Tally::default();
    let ran = Search::new(&servers)?.run(seed, options.count, &mut tally);
    println!("{tally}");
    if options.errors {
        for list in [&mut tally.errors, &mut tally.rules] {
            list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            for (reason, count) in list.iter() {
                println!("{count:6} {reason}");
            }
        }
    }
    ran?;
    ensure!(tally.leaks.is_empty(), "{} statements show values", tally.leaks.len());
    Ok(())
}

//! PostgreSQL's own test suites, direct and through the agent: ordinary programs must not notice.

mod suite;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use mask_tests::{Agent, Postgres, catch_interrupts};
use suite::{Chosen, Place, Suite};

/// Where results are left to be looked at.
const RESULTS: &str = "target/compat";

/// Nothing is masked, but everything is found out.
const OBSERVE: &str = "version: 1\nname: compat\nmode: observe\nextends: zero-config\n";

#[derive(Args)]
pub(crate) struct Options {
    /// One of the two, in place of both.
    #[arg(long)]
    suite: Option<Suite>,
    /// One of the two, in place of both.
    #[arg(long)]
    mode: Option<Mode>,
    /// The server's major version, in place of the system's own.
    #[arg(long)]
    major: Option<u16>,
    /// Only these tests, one after the other; the suite's first, which makes tables, is needed by most.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// All but these tests.
    #[arg(long, value_delimiter = ',', conflicts_with = "only")]
    except: Vec<String>,
}

/// What the daemon does with what it found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The built-in policy.
    Enforce,
    /// The same classification, and nothing is masked or refused.
    Observe,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    catch_interrupts();
    let suites = options.suite.map_or_else(|| vec![Suite::Regress, Suite::Isolation], |suite| vec![suite]);
    let modes = options.mode.map_or_else(|| vec![Mode::Observe, Mode::Enforce], |mode| vec![mode]);
    for suite in suites {
        let place = Place::new(suite)?;
        let results = Path::new(RESULTS).join(suite.name());
        let direct = ["direct", "direct-again"].map(|name| results.join(name));
        for folder in &direct {
            leg(options, &place, None, folder)?;
        }
        for mode in &modes {
            leg(options, &place, Some(*mode), &results.join(mode.name()))?;
        }
    }
    Ok(())
}

/// Runs a suite on a server of its own.
fn leg(options: &Options, place: &Place, mode: Option<Mode>, results: &PathBuf) -> Result<()> {
    let began = Instant::now();
    let arguments = ["-c", "max_prepared_transactions=2", "-c", "autovacuum=off"];
    let postgres = match options.major {
        Some(major) => Postgres::start_major_with(major, &arguments)?,
        None => Postgres::start_with("trust", &arguments)?,
    };
    let agent = match mode {
        None => None,
        Some(Mode::Enforce) => Some(Agent::start(postgres.port)?),
        Some(Mode::Observe) => Some(Agent::start_with(postgres.port, Some(OBSERVE))?),
    };
    let client =
        |program: &str| agent.as_ref().map_or_else(|| Command::new(program), |agent| agent.client(program));
    let ran = place.run(
        client,
        postgres.port,
        &[],
        &Chosen { only: &options.only, except: &options.except },
        results,
    );
    if let Some(mut agent) = agent {
        fs::write(results.with_extension("daemon.log"), agent.log())?;
        ensure!(agent.ended()?.is_none(), "the daemon ended: {}", last_lines(&agent.log()));
    }
    ran?;
    println!("{}: {} s", results.display(), began.elapsed().as_secs());
    Ok(())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

//! PostgreSQL's own test suites, direct and through the agent: ordinary programs must not notice.

mod compare;
mod drivers;
mod known;
mod login;
mod suite;

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use compare::{Kind, differences, table};
pub(crate) use drivers::build as build_drivers;
use known::Known;
use login::{Auth, Login, Tls};
use mask_tests::{Agent, Start, catch_interrupts};
use suite::{Chosen, Place, Run, Suite};

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
    /// What clients are asked for.
    #[arg(long, value_enum, default_value_t = Auth::Trust)]
    auth: Auth,
    /// TLS on both legs, and nobody is let in without; clients verify who they meet unless told only to require it.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "verify-ca")]
    tls: Option<Tls>,
    /// The server's major version, in place of the system's own.
    #[arg(long)]
    major: Option<u16>,
    /// What drivers see, in place of the suites; writes `docs/drivers.md`.
    #[arg(long, conflicts_with_all = ["suite", "mode", "auth", "tls", "major", "except", "compare"])]
    pub(crate) drivers: bool,
    /// With `--drivers`: only these features, and no page is written.
    #[arg(long, value_delimiter = ',', requires = "drivers")]
    features: Vec<String>,
    /// Only these tests, one after the other; the suite's first, which makes tables, is needed by most. Or only these
    /// drivers, and no page is written.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// All but these tests.
    #[arg(long, value_delimiter = ',', conflicts_with = "only")]
    except: Vec<String>,
    /// The optimised daemon.
    #[arg(long)]
    pub(crate) release: bool,
    /// Runs nothing, and compares what the last run has left.
    #[arg(long)]
    compare: bool,
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
    if options.drivers {
        return drivers::run(&options.only, &options.features, options.release);
    }
    catch_interrupts();
    let suites = options.suite.map_or_else(|| vec![Suite::Regress, Suite::Isolation], |suite| vec![suite]);
    let modes = options.mode.map_or_else(|| vec![Mode::Observe, Mode::Enforce], |mode| vec![mode]);
    let (known, login) = (Known::load()?, Login { auth: options.auth, tls: options.tls });
    let mut left = 0;
    for suite in suites {
        let place = Place::new(suite)?;
        let major = options.major.map_or("system".to_owned(), |major| major.to_string());
        let results = Path::new(RESULTS).join(login.name()).join(major).join(suite.name());
        let direct = ["direct", "direct-again"].map(|name| results.join(name));
        for folder in &direct {
            leg(options, login, &place, None, folder)?;
        }
        for difference in differences(&direct[0], &direct[1])? {
            println!("without the agent: {difference}");
            left += usize::from(known.reason(suite.name(), "direct", &difference).is_none());
        }
        for mode in &modes {
            let folder = results.join(mode.name());
            leg(options, login, &place, Some(*mode), &folder)?;
            left += report(&known, suite, *mode, &direct[0], &folder)?;
        }
    }
    ensure!(left == 0, "{left} places differ, and nobody has said why");
    Ok(())
}

/// Says how a run differs from the direct one, and gives how many places nobody has a reason for.
fn report(known: &Known, suite: Suite, mode: Mode, direct: &Path, folder: &Path) -> Result<usize> {
    let all = differences(direct, folder)?;
    let list = folder.with_extension("differences");
    fs::write(&list, all.iter().map(ToString::to_string).collect::<String>())?;
    println!("\n## {} in {} mode\n\n{}", suite.name(), mode.name(), table(&all));
    let expected = |kind: &Kind| mode == Mode::Enforce && *kind != Kind::Other;
    let mut left = 0;
    for difference in all.iter().filter(|difference| !expected(&difference.kind)) {
        if let Some(reason) = known.reason(suite.name(), mode.name(), difference) {
            println!("{}:{}: {reason}", difference.test, difference.line);
        } else {
            left += 1;
            println!("{difference}");
        }
    }
    println!("all of them: {}", list.display());
    Ok(left)
}

/// Runs a suite on a server of its own.
fn leg(options: &Options, login: Login, place: &Place, mode: Option<Mode>, results: &Path) -> Result<()> {
    if options.compare {
        return Ok(());
    }
    let began = Instant::now();
    let arguments = ["-c", "max_prepared_transactions=2", "-c", "autovacuum=off"];
    let server = login.start(options.major, &arguments)?;
    let port = server.postgres.port;
    let agent = mode.map(|mode| {
        let policy = (mode == Mode::Observe).then_some(OBSERVE);
        Agent::start_as(port, &Start { policy, release: options.release, ..Start::default() })
    });
    let agent = agent.transpose()?;
    let client =
        |program: &str| agent.as_ref().map_or_else(|| Command::new(program), |agent| agent.client(program));
    let chosen = Chosen { only: &options.only, except: &options.except };
    let (direct, through) = (server.environment(None)?, server.environment(agent.as_ref())?);
    let ran = place.run(&Run { client: &client, port, direct, through }, &chosen, results);
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

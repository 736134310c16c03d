//! The attack corpus, with a report.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use mask_tests::{
    catch_interrupts, check_interrupt,
    corpus::{Policy, Report, Stand, known_file, load},
};

#[derive(Args)]
pub(crate) struct Options {
    /// One of the two, in place of both.
    #[arg(long)]
    policy: Option<PolicyName>,
    /// The server's major version, in place of the system's own.
    #[arg(long)]
    major: Option<u16>,
    /// Only cases whose id begins so; may be given again.
    #[arg(long)]
    only: Vec<String>,
    /// Without agents: every attack must really leak, and its twin must not.
    #[arg(long)]
    direct: bool,
    /// Where the tables go, in Markdown, besides being printed.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Writes what differs at present to the list of known faults, for a review of its diff.
    #[arg(long, conflicts_with_all = ["only", "policy", "direct", "major"])]
    write_known: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PolicyName {
    Zero,
    Strict,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    catch_interrupts();
    let policies: &[Policy] = match (options.direct, options.policy) {
        (true, _) => &[],
        (false, None) => &[Policy::Zero, Policy::Strict],
        (false, Some(PolicyName::Zero)) => &[Policy::Zero],
        (false, Some(PolicyName::Strict)) => &[Policy::Strict],
    };
    let cases = load()?;
    let is_wanted =
        |id: &str| options.only.is_empty() || options.only.iter().any(|only| id.starts_with(only));
    let mut stand = Stand::start(policies, options.major)?;
    let mut report = Report::default();
    for case in cases.iter().filter(|case| is_wanted(&case.id)) {
        check_interrupt()?;
        report.add(if options.direct { stand.prove(case) } else { stand.run(case) });
    }
    println!("{}\n{}", report.fault_list(), report.tables());
    if let Some(file) = &options.report {
        std::fs::write(file, report.tables())?;
    }
    let faults = report.keys();
    if options.write_known {
        let lines: Vec<_> = faults.iter().map(|key| format!("- '{key}'\n")).collect();
        let head = "# Faults of the corpus that are known: policy, kind, case, forms. Written by `cargo xtask corpus --write-known`.\n";
        let lines = if lines.is_empty() { "[]\n".to_owned() } else { lines.concat() };
        std::fs::write(known_file(), head.to_owned() + &lines)?;
    }
    if !faults.is_empty() {
        bail!("{} faults", faults.len());
    }
    Ok(())
}

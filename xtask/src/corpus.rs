//! The attack corpus, with a report.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use mask_tests::{
    catch_interrupts, check_interrupt,
    corpus::{Known, Policy, RENEWAL, Report, Stand, Verdicts, known_file, load, verdicts_file},
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
    /// Each case on servers of its own, so that no column is masked for what an earlier one put there; answers are then not
    /// compared with the record.
    #[arg(long, conflicts_with = "write_verdicts")]
    apart: bool,
    /// Where the tables go, in Markdown, besides being printed.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Writes what differs at present to the list of known faults, for a review of its diff; what is new there wants a
    /// reason.
    #[arg(long, conflicts_with = "direct")]
    write_known: bool,
    /// Writes how every attack and twin is answered at present to the record, for a review of its diff; each line that changes
    /// wants a reason.
    #[arg(long, conflicts_with_all = ["direct", "policy", "write_known"])]
    write_verdicts: bool,
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
    let (cases, known, verdicts) = (load()?, Known::load()?, Verdicts::load()?);
    let is_wanted =
        |id: &str| options.only.is_empty() || options.only.iter().any(|only| id.starts_with(only));
    let mut stand = Stand::start(policies, options.major)?;
    let mut report = Report::default();
    for case in cases.iter().filter(|case| is_wanted(&case.id)) {
        check_interrupt()?;
        if options.apart {
            stand = Stand::start(policies, options.major)?;
        }
        report.add(if options.direct { stand.prove(case) } else { stand.run(case) });
    }
    let (faults, major) = (report.keys(), stand.major());
    let text = format!("{}\n{}", report.tables(), known.reasons(&faults, major));
    println!("{}\n{text}", report.fault_list());
    if let Some(file) = &options.report {
        std::fs::write(file, text)?;
    }
    if options.write_known {
        std::fs::write(known_file(), known.updated(&faults, major, |policy, case| report.ran(policy, case)))?;
        return Ok(());
    }
    if options.write_verdicts {
        std::fs::write(verdicts_file(), verdicts.updated(&cases, &report.answers()))?;
        return Ok(());
    }
    let difference = known.compare(&faults, major, |policy, case| report.ran(policy, case));
    if !difference.is_empty() {
        bail!("{difference:#?}");
    }
    let changed =
        if options.direct || options.apart { vec![] } else { verdicts.compare(&cases, &report.answers()) };
    if !changed.is_empty() {
        bail!("{changed:#?}\n{RENEWAL}");
    }
    println!("{} lines differ, each for a reason that is known", faults.len());
    Ok(())
}

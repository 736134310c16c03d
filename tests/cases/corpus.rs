//! The attack corpus: no attack shows a clear value in any form, and the benign twin of each passes untouched.

use std::collections::BTreeSet;

use anyhow::Result;
use mask_tests::{
    corpus::{Case, Known, Policy, RENEWAL, Report, Stand, Verdicts, load},
    have_root,
};

/// Lines of the list of known bypasses that are no statements of PostgreSQL.
const ELSEWHERE: [(u32, &str); 5] = [
    (51, "replication is refused when a connection starts: bad_input.rs"),
    (52, "encryption that cannot be read: core/tests/encryption.rs, and end to end tls.rs"),
    (54, "MySQL"),
    (55, "MySQL"),
    (60, "ways around the agent: interception.rs"),
];

#[test]
fn no_attack_shows_a_canary_and_no_twin_changes() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start(&[Policy::Zero, Policy::Strict], None)?;
    let (cases, mut report) = (load()?, Report::default());
    for case in &cases {
        report.add(stand.run(case));
    }
    compare(&cases, &report, stand.major())
}

/// The first major version that the tests above are not run on.
const NEWER: u32 = 16;

#[test]
fn what_newer_versions_say_shows_no_canary_and_its_twins_do_not_change() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start(&[Policy::Zero, Policy::Strict], Some(18))?;
    let (mut direct, mut through) = (Report::default(), Report::default());
    let cases = load()?;
    for case in cases.iter().filter(|case| case.since >= Some(NEWER)) {
        assert!(case.since <= Some(stand.major()), "{} is for a server that is not tried", case.id);
        direct.add(stand.prove(case));
        through.add(stand.run(case));
        let was_run = ["zero", "strict"].iter().all(|policy| through.ran(policy, &case.id));
        assert!(was_run, "{} was not run", case.id);
    }
    assert_eq!(direct.faults().count(), 0, "{}", direct.fault_list());
    compare(&cases, &through, stand.major())
}

/// With what is known to differ, and with the record of verdicts.
fn compare(cases: &[Case], report: &Report, major: u32) -> Result<()> {
    let difference = Known::load()?.compare(&report.keys(), major, |policy, case| report.ran(policy, case));
    assert!(difference.is_empty(), "{}\n{difference:#?}", report.fault_list());
    let changed = Verdicts::load()?.compare(cases, &report.answers());
    assert!(changed.is_empty(), "{changed:#?}\n{RENEWAL}");
    Ok(())
}

#[test]
fn the_record_has_every_attack_and_keeps_what_cases_promise() -> Result<()> {
    let faults = Verdicts::load()?.faults(&load()?);
    assert!(faults.is_empty(), "{faults:#?}\n{RENEWAL}");
    Ok(())
}

#[test]
fn every_attack_shows_a_canary_without_the_agent_and_no_twin_does() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut stand = Stand::start(&[], None)?;
    let mut report = Report::default();
    for case in load()? {
        report.add(stand.prove(&case));
    }
    assert_eq!(report.faults().count(), 0, "{}", report.fault_list());
    Ok(())
}

#[test]
fn every_known_bypass_has_a_case() -> Result<()> {
    let covered: BTreeSet<u32> = load()?.iter().filter_map(|case| case.bypass).collect();
    let missing: Vec<u32> = (1..=62)
        .filter(|line| !covered.contains(line) && ELSEWHERE.iter().all(|(other, _)| other != line))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    Ok(())
}

//! How many instructions the core spends on what it does for every statement and row, beside what is on record.
//!
//! A clock on a shared machine says little of a change of a tenth; how many instructions are executed hardly varies
//! (hash maps are seeded by chance). They are valgrind's, which needs no counters of the processor.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Counts, and what made them.
const RECORD: &str = "mask-agent/core/benches/instructions.json";
const RENEW: &str = "`cargo xtask instructions --write`";

/// How far a count may rise, in hundredths of what is on record.
const RISE_MAX: u64 = 5;
/// The same where another compiler made the program than what is on record: what it does better or worse is no fault.
const RISE_MAX_ELSEWHERE: u64 = 25;
/// What counts of the same program differ by now and then, however small they are (measured: 74 of 403).
const NOISE: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Check,
    Write,
}

pub(crate) fn run(mode: Mode) -> Result<()> {
    let compiler = compiler()?;
    if mode == Mode::Write {
        let counts = count(&build()?)?;
        let record = json!({ "compiler": compiler, "counts": counts });
        fs::write(RECORD, serde_json::to_string_pretty(&record)? + "\n")?;
        for (name, count) in &counts {
            println!("{name:<28} {count:>9}");
        }
        return Ok(());
    }
    let text = fs::read_to_string(RECORD).with_context(|| format!("{RECORD}; {RENEW} makes it"))?;
    let record: Value =
        serde_json::from_str(&text).with_context(|| format!("{RECORD}; {RENEW} renews it"))?;
    let recorded = record["compiler"].as_str().unwrap_or_default();
    let rise_max = if recorded == compiler { RISE_MAX } else { RISE_MAX_ELSEWHERE };
    if recorded != compiler {
        println!(
            "on record are the counts of {recorded}, this is {compiler}: a rise by {rise_max} % is let pass"
        );
    }
    compare(&count(&build()?)?, &record["counts"], rise_max)
}

fn compare(counts: &BTreeMap<String, u64>, record: &Value, rise_max: u64) -> Result<()> {
    let mut faults = Vec::new();
    for (name, count) in counts {
        let Some(before) = record[name].as_u64() else {
            faults.push(format!("{name}: not on record"));
            continue;
        };
        println!("{name:<28} {count:>9} instructions, {before:>9} on record");
        if *count > before + (before * rise_max / 100).max(NOISE) {
            faults.push(format!("{name}: {count} instructions, {before} on record"));
        }
    }
    let known = record.as_object().into_iter().flatten();
    faults.extend(
        known.filter(|(name, _)| !counts.contains_key(*name)).map(|(name, _)| format!("{name}: gone")),
    );
    if !faults.is_empty() {
        bail!(
            "more than {rise_max} % above what is on record, or not to be compared; where it is meant, {RENEW}:\n{}",
            faults.join("\n")
        );
    }
    Ok(())
}

/// Whose code is counted: the compiler and the processor's kind.
fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(format!("{} for {}", String::from_utf8(output.stdout)?.trim(), std::env::consts::ARCH))
}

/// The program that does what is counted.
fn build() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["bench", "--no-run", "--package", "mask-core", "--bench", "instructions"]);
    let output = cargo.arg("--message-format=json").stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("failed: {cargo:?}");
    }
    let messages = String::from_utf8(output.stdout)?;
    let mut built = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "instructions")
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    built.next_back().context("cargo says of no program that it built it")
}

/// Instructions of one time of each case.
fn count(program: &Path) -> Result<BTreeMap<String, u64>> {
    let output = Command::new(program).arg("list").output()?;
    let cases = String::from_utf8(output.stdout)?;
    let cases: Option<Vec<(u64, &str)>> = cases
        .lines()
        .map(|line| line.split_once(' ').and_then(|(times, case)| Some((times.parse().ok()?, case))))
        .collect();
    let cases = cases.context("the program lists no cases")?;
    let none = instructions(program, "", 0)?;
    let threads = thread::available_parallelism()?.get();
    let parts: Vec<Result<Vec<(String, u64)>>> = thread::scope(|scope| {
        let counters: Vec<_> = (0..threads)
            .map(|first| {
                let mine: Vec<(u64, &str)> = cases.iter().copied().skip(first).step_by(threads).collect();
                scope.spawn(move || {
                    mine.into_iter()
                        .map(|(times, case)| {
                            let all = instructions(program, case, times)?;
                            Ok((case.to_owned(), all.saturating_sub(none) / times))
                        })
                        .collect()
                })
            })
            .collect();
        counters.into_iter().filter_map(|counter| counter.join().ok()).collect()
    });
    let mut counts = BTreeMap::new();
    for part in parts {
        counts.extend(part?);
    }
    if counts.len() != cases.len() || cases.is_empty() || counts.values().any(|count| *count == 0) {
        bail!("of {} cases these were counted: {counts:?}", cases.len());
    }
    Ok(counts)
}

fn instructions(program: &Path, case: &str, times: u64) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    let output = valgrind.arg(program).args([case, &times.to_string()]).output();
    let output = output.context("valgrind; `cargo xtask setup` installs it")?;
    let text = String::from_utf8_lossy(&output.stderr);
    // "==123== I refs:        12,345,678", with one space more or less.
    let count = text.lines().find_map(|line| {
        let (head, count) = line.split_once("refs:")?;
        head.trim_end().ends_with('I').then(|| count.trim().replace(',', "").parse().ok())?
    });
    count.filter(|_| output.status.success()).with_context(|| format!("valgrind counted nothing: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_rose_too_far_or_has_no_like_is_a_fault() {
        let counts = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let record = json!({ "a": 10_000, "b": 200 });
        let check = |pairs| compare(&counts(pairs), &record, RISE_MAX).map_err(|error| error.to_string());
        assert_eq!(check(&[("a", 10_500), ("b", 300)]), Ok(()));
        for (pairs, fault) in [
            (&[("a", 10_501), ("b", 200)][..], "a: 10501"),
            (&[("a", 100), ("b", 301)], "b: 301"),
            (&[("a", 100)], "b: gone"),
            (&[("a", 100), ("b", 200), ("c", 1)], "c: not on record"),
        ] {
            assert!(check(pairs).is_err_and(|text| text.contains(fault)), "{fault}");
        }
    }
}

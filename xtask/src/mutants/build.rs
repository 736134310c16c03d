//! The woven program, without what does not compile.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    list::Mutant,
    weave::{self, Id, Woven},
};

/// The compiler tells the faults of one stage, then of the next; each may take a few rounds.
const ROUNDS_MAX: usize = 60;

/// The program with all mutants, as the tests that run it.
pub(super) struct Built {
    pub(super) woven: Woven,
    /// Those that do not compile.
    pub(super) unviable: BTreeSet<Id>,
    /// Binaries of tests.
    pub(super) binaries: Vec<PathBuf>,
}

/// Builds all that compile; those `known` not to are left out from the beginning.
pub(super) fn build(tree: &Path, target: &Path, mutants: &[Mutant], known: BTreeSet<Id>) -> Result<Built> {
    let mut unviable = known;
    for round in 1..=ROUNDS_MAX {
        let woven = weave::weave(tree, mutants, &unviable)?;
        let messages = compile(tree, target, &["check", "--lib"])?;
        let errors = errors(&messages);
        if errors.is_empty() {
            let messages = compile(tree, target, &["test", "--no-run", "--lib", "--tests"])?;
            let binaries = binaries(&messages)?;
            return Ok(Built { woven, unviable, binaries });
        }
        let mut blamed = BTreeSet::new();
        for error in &errors {
            blamed.extend(weave::blamed(&woven, error)?);
        }
        println!("round {round}: {} errors, {} mutants do not compile", errors.len(), blamed.len());
        if blamed.is_empty() {
            let rendered: Vec<&str> = errors.iter().filter_map(|error| error["rendered"].as_str()).collect();
            bail!("errors outside of any mutant:\n{}", rendered.join("\n"));
        }
        unviable.extend(blamed);
    }
    bail!("still does not compile after {ROUNDS_MAX} rounds")
}

/// Builds one mutant by itself; none where it does not compile.
pub(super) fn alone(tree: &Path, target: &Path, mutants: &[Mutant], id: Id) -> Result<Option<Vec<PathBuf>>> {
    weave::alone(tree, mutants, id)?;
    let messages = compile(tree, target, &["test", "--no-run", "--lib", "--tests"])?;
    if errors(&messages).is_empty() { binaries(&messages).map(Some) } else { Ok(None) }
}

fn compile(tree: &Path, target: &Path, what: &[&str]) -> Result<Vec<Value>> {
    let mut cargo = Command::new("cargo");
    cargo.args(what).args(["--package", "mask-core", "--message-format", "json"]);
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", target).stderr(Stdio::inherit());
    let output = cargo.output()?;
    let text = String::from_utf8(output.stdout)?;
    let messages: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    if !output.status.success() && errors(&messages).is_empty() {
        bail!("cargo failed, and the compiler said nothing");
    }
    Ok(messages)
}

fn errors(messages: &[Value]) -> Vec<&Value> {
    let told = messages.iter().filter(|message| message["reason"] == "compiler-message");
    // The last says how many there were.
    let errors = told.map(|told| &told["message"]).filter(|message| message["level"] == "error");
    errors.filter(|error| error["spans"].as_array().is_some_and(|spans| !spans.is_empty())).collect()
}

fn binaries(messages: &[Value]) -> Result<Vec<PathBuf>> {
    let made = messages.iter().filter(|message| message["profile"]["test"] == true);
    let binaries: Vec<PathBuf> =
        made.filter_map(|message| message["executable"].as_str()).map(PathBuf::from).collect();
    binaries.first().context("no test was built")?;
    Ok(binaries)
}

//! What our engine says of the same statements: the lines of `mask-agent explain --json`.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// One line: what the engine says of one input.
#[derive(Debug, Deserialize)]
pub(crate) struct Explained {
    #[serde(default)]
    pub(crate) statements: Vec<Ours>,
    pub(crate) error: Option<String>,
}

/// What it says of one statement.
#[derive(Debug, Deserialize)]
pub(crate) struct Ours {
    /// `None` where it returns no rows.
    pub(crate) outputs: Option<Vec<Output>>,
    /// The columns are not known one by one, and the first output stands for each of them.
    #[serde(default)]
    pub(crate) open: bool,
    #[serde(default)]
    pub(crate) predicates: Vec<Predicate>,
    #[serde(default)]
    pub(crate) writes: Vec<Written>,
    pub(crate) refusal: Option<serde_json::Value>,
}

/// One output column.
#[derive(Debug, Deserialize)]
pub(crate) struct Output {
    #[serde(default)]
    pub(crate) origins: Vec<String>,
    /// Why the engine cannot know; it then covers every column.
    pub(crate) untraceable: Option<String>,
}

/// A column that decides which rows come.
#[derive(Debug, Deserialize)]
pub(crate) struct Predicate {
    pub(crate) column: String,
}

/// A written column and what goes into it.
#[derive(Debug, Deserialize)]
pub(crate) struct Written {
    pub(crate) target: String,
    #[serde(default)]
    pub(crate) origins: Vec<String>,
    pub(crate) untraceable: Option<String>,
}

/// Explains every statement, in order, by one run of the program.
pub(crate) fn explain(program: &Path, dsn: &str, statements: &[String]) -> Result<Vec<Explained>> {
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = Command::new(program);
    command.args(["explain", "--dsn", dsn, "--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let mut input = child.stdin.take().context("the program has no input")?;
    let output = child.stdout.take().context("the program has no output")?;
    let text = statements.join("\0");
    let feeder = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let mut explained = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        explained
            .push(serde_json::from_str(&line).with_context(|| format!("not what explain prints: {line}"))?);
    }
    let status = child.wait()?;
    // It may have ended without reading all; that shows in the count.
    let _ = feeder.join();
    if !status.success() || explained.len() != statements.len() {
        bail!(
            "explain answered {} of {} statements and ended with {status}",
            explained.len(),
            statements.len()
        );
    }
    Ok(explained)
}

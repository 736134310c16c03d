//! `mask-agent catalog --follow`, which reads what has changed when it is asked to.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result};
use serde::Deserialize;

/// What a reading took and came to.
#[derive(Clone, Debug, Deserialize)]
pub struct Followed {
    /// How much was read: `everything`, `changes` or `nothing`.
    pub extent: String,
    /// From the first query to the snapshot that statements are decided on.
    pub whole_ms: f64,
    /// Of its own process, part of the former.
    pub own_ms: f64,
    /// Of that, applying the policy.
    pub classify_ms: f64,
    /// Whether the snapshot is another than before.
    pub is_news: bool,
    /// Whether reading everything anew gives the same snapshot.
    pub is_same: bool,
    /// Memory of the process.
    pub resident_kib: u32,
}

/// The process.
pub struct Follower {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What the first reading came to.
    pub first: Followed,
}

impl Follower {
    /// Starts one, which reads everything.
    pub fn start(program: &Path, dsn: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["catalog", "--follow", "--dsn", dsn]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let ask = child.stdin.take().context("piped")?;
        let mut answers = BufReader::new(child.stdout.take().context("piped")?);
        let first = answer(&mut answers)?;
        Ok(Self { child, ask, answers, first })
    }

    /// Has it read again.
    pub fn again(&mut self) -> Result<Followed> {
        writeln!(self.ask)?;
        answer(&mut self.answers)
    }
}

fn answer(answers: &mut impl BufRead) -> Result<Followed> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("not an answer: {line}"))
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

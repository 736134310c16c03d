//! Streams of a client's messages that were changed by chance, said to a server directly and through an agent.
//!
//! What a server takes for a violation of its protocol is not accepted, and what it goes on after is answered in step.

use std::{ops::AddAssign, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{Agent, output};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/mutated.py");
/// Of both tables, only the second is classified, and nothing that is masked is asked for.
pub const SCHEMA: &str = "
    create table parts (id int primary key, label text);
    insert into parts values (1, 'bolt'), (2, 'nut'), (3, 'washer');
    create table customers (id int primary key, city text, email text);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org')";
/// Streams of one run of the script.
const BATCH: u64 = 200;
/// Seconds without a word after which more bytes are expected, as where a length was changed.
const PATIENCE: &str = "1";
/// The same where two runs differ: on a busy machine answers take their time.
const PATIENCE_AGAIN: &str = "8";

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum End {
    /// The connection was closed.
    Closed,
    /// What was said last was answered.
    #[serde(rename = "goes on")]
    GoesOn,
    /// More bytes are expected.
    Waits,
}

/// Its kind, and what of it is compared; of an error that is SQLSTATE and words.
type Message = Vec<Option<String>>;

/// What was answered to a stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Answer {
    seed: u64,
    told: Vec<Message>,
    ended: End,
}

/// What came of comparing two answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// No difference that matters.
    Same,
    /// Less was accepted than the server does, or a statement was refused.
    Stricter,
    /// What must not be.
    Wrong(&'static str),
}

/// How many streams came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Streams.
    pub streams: u64,
    /// Those that the server itself ended.
    pub violations: u64,
    /// Those that the server went on after, with an error or without.
    pub went_on: u64,
    /// Those in which less was accepted.
    pub stricter: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.streams += other.streams;
        self.violations += other.violations;
        self.went_on += other.went_on;
        self.stricter += other.stricter;
    }
}

fn is_error(message: &Message) -> bool {
    message[0].as_deref() == Some("E")
}

fn is_ours(message: &Message) -> bool {
    is_error(message) && message[3].as_deref().is_some_and(|text| text.contains("mask-agent"))
}

/// A message but for the words of an error: a message of the client's is read by us first.
fn shape(message: &Message) -> &[Option<String>] {
    if is_error(message) { &message[..2] } else { message }
}

fn judge(direct: &Answer, through: &Answer) -> Verdict {
    match (direct.ended, through.ended) {
        (End::Closed, End::GoesOn | End::Waits) => Verdict::Wrong("what the server ends is accepted"),
        (End::Waits, End::GoesOn) => Verdict::Wrong("what is no whole message for the server is one for us"),
        (End::GoesOn, End::Waits) => Verdict::Wrong("the server answers, and nobody hears of it"),
        // How much of what came before is answered depends on when it came.
        (End::Closed, End::Closed) => Verdict::Same,
        (one, other) if one == other && direct.told.iter().map(shape).eq(through.told.iter().map(shape)) => {
            Verdict::Same
        }
        _ if through.told.iter().any(is_ours) => Verdict::Stricter,
        (_, End::Closed) => Verdict::Wrong("what is not accepted ends without a word"),
        _ => Verdict::Wrong("other answers"),
    }
}

fn say(agent: Option<&Agent>, port: u16, patience: &str, seeds: &[u64]) -> Result<Vec<Answer>> {
    const PYTHON: &str = "/usr/bin/python3";
    let mut command = agent.map_or_else(|| Command::new(PYTHON), |agent| agent.client(PYTHON));
    command.arg(SCRIPT).arg(port.to_string()).arg(patience).args(seeds.iter().map(u64::to_string));
    let (ok, text) = output(&mut command)?;
    ensure!(ok, "{text}");
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// Says streams both ways and compares. The server has [`SCHEMA`].
pub fn compare(agent: &Agent, port: u16, first: u64, count: u64) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut start = first;
    while start < first + count {
        let end = (start + BATCH).min(first + count);
        let direct = say(None, port, PATIENCE, &[start, end])?;
        let through = say(Some(agent), port, PATIENCE, &[start, end])?;
        ensure!(
            direct.len() as u64 == end - start && through.len() == direct.len(),
            "a stream has no answer"
        );
        for (direct, through) in direct.iter().zip(&through) {
            let mut verdict = judge(direct, through);
            if matches!(verdict, Verdict::Wrong(_)) {
                let direct = say(None, port, PATIENCE_AGAIN, &[direct.seed])?;
                let through = say(Some(agent), port, PATIENCE_AGAIN, &[through.seed])?;
                verdict = judge(&direct[0], &through[0]);
                if let Verdict::Wrong(what) = verdict {
                    anyhow::bail!(
                        "seed {}: {what}\ndirect:  {direct:?}\nthrough: {through:?}",
                        direct[0].seed
                    );
                }
            }
            tally.streams += 1;
            tally.violations += u64::from(direct.ended == End::Closed);
            tally.went_on += u64::from(direct.ended == End::GoesOn);
            tally.stricter += u64::from(verdict == Verdict::Stricter);
        }
        start = end;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(ended: End, told: &[&[&str]]) -> Answer {
        let told = told.iter().map(|message| message.iter().map(|part| Some((*part).to_owned())).collect());
        Answer { seed: 0, told: told.collect(), ended }
    }

    fn on(told: &[&[&str]]) -> Answer {
        answer(End::GoesOn, told)
    }

    #[test]
    fn what_must_not_be_is_told_from_what_is_only_stricter() {
        let done: &[&str] = &["Z", "49"];
        let failed: &[&str] = &["E", "ERROR", "42601", "syntax error"];
        let ours: &[&str] = &["E", "ERROR", "42501", "mask-agent: refused"];
        let wrong = |direct: &Answer, through: &Answer| matches!(judge(direct, through), Verdict::Wrong(_));
        let closed = answer(End::Closed, &[]);
        let waits = answer(End::Waits, &[]);
        assert_eq!(judge(&on(&[failed, done]), &on(&[failed, done])), Verdict::Same);
        assert_eq!(judge(&closed, &closed), Verdict::Same);
        let told = answer(End::Closed, &[&["E", "FATAL", "08P01", "mask-agent: malformed"]]);
        assert_eq!(judge(&on(&[done]), &told), Verdict::Stricter);
        assert_eq!(judge(&waits, &told), Verdict::Stricter);
        assert!(wrong(&on(&[done]), &closed) && wrong(&waits, &closed));
        assert_eq!(judge(&on(&[done]), &on(&[ours, done])), Verdict::Stricter);
        assert!(wrong(&closed, &on(&[done])) && wrong(&closed, &waits));
        assert!(wrong(&waits, &on(&[done])) && wrong(&on(&[done]), &waits));
        assert!(wrong(&on(&[done]), &on(&[failed, done])) && wrong(&on(&[failed, done]), &on(&[done])));
        assert!(wrong(&on(&[done]), &on(&[done, done])));
    }
}

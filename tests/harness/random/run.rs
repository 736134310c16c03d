//! Runs statements and looks at the answers.

use std::{fmt, time::Instant};

use anyhow::{Context, Result, ensure};

use super::{Node, program, shrink};
use crate::{
    check_interrupt,
    corpus::{Canaries, Client, Finding, Form, Policy, Servers, Step},
    wire::{Message, field, query},
};

/// Statements that are run to make one that leaks small.
const TRIES: u32 = 600;
/// Leaks that are made small; the others are only counted.
const SHRUNK: usize = 25;

/// After so many, sessions are begun anew.
const STATEMENTS_PER_SESSION: u32 = 500;

/// Bytes of rows in an answer that are searched; those after are of the same columns, and searching takes its time.
const SEARCHED: usize = 200_000;

/// Gives the classified columns values in another alphabet.
const DISGUISE: &str = "
    update app.customers set name = translate(name, 'qzxwkjvQZXWKJV', 'acdefghACDEFGH'),
        email = translate(email, 'qzxwkjv', 'acdefgh'), ssn = translate(ssn, '5789', '0123'),
        phone = translate(phone, '5789', '0123'), birth_date = birth_date + 50000,
        salary = translate(salary::text, '5789', '4123')::int, income = translate(income::text, '5789', '4123')::numeric;
    update app.c_people set email = translate(email, 'qzxwkjv', 'acdefgh'), ssn = translate(ssn, '5789', '0123');
    update app.c_gen set email = translate(email, 'qzxwkjv', 'acdefgh');
    update app.c_unique set salary = translate(salary::text, '5789', '4123')::int, ssn = translate(ssn, '5789', '0123');
    update app.c_events set email = translate(email, 'qzxwkjv', 'acdefgh');
    update app.c_base set ssn = translate(ssn, '5789', '0123');
    update app.c_audited set email = translate(email, 'qzxwkjv', 'acdefgh');
    refresh materialized view app.c_mat";

/// A statement that showed a canary.
#[derive(Debug)]
pub struct Leak {
    /// Under which policy.
    pub policy: Policy,
    /// What it is made from.
    pub seed: u64,
    /// In what form it was said.
    pub form: Form,
    /// As small as it got.
    pub statements: Vec<String>,
    /// What was seen.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Leak {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (policy, form) = (self.policy.name(), self.form.name());
        write!(out, "leak under {policy}, --seed {} --count 1, {form}: {:?}", self.seed, self.findings)?;
        self.statements.iter().try_for_each(|sql| write!(out, "\n    {sql};"))
    }
}

/// What came of many statements.
#[derive(Debug, Default)]
pub struct Tally {
    /// All.
    pub count: u32,
    /// That the server takes.
    pub succeeded: u32,
    /// That show a canary without an agent.
    pub showing: u32,
    /// That an agent refuses though the server takes them, by policy.
    pub refused: Vec<(Policy, u32)>,
    /// That show a canary without an agent and are answered through it, by policy: those that could leak.
    pub tried: Vec<(Policy, u32)>,
    /// By which rule an agent refuses, and how many.
    pub rules: Vec<(String, u32)>,
    /// Those that leak.
    pub leaks: Vec<Leak>,
    /// Those that leak and were not made small.
    pub more_leaks: u32,
    /// Why the server did not take others, and how many.
    pub errors: Vec<(String, u32)>,
}

impl Tally {
    /// How many could leak under a policy.
    pub fn tried(&self, policy: Policy) -> u32 {
        self.tried.iter().find(|(other, _)| *other == policy).map_or(0, |(_, count)| *count)
    }

    /// Statements in a hundred.
    pub fn percent(&self, of: u32) -> u32 {
        of * 100 / self.count.max(1)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for leak in &self.leaks {
            writeln!(out, "{leak}")?;
        }
        let (succeed, show) = (self.percent(self.succeeded), self.percent(self.showing));
        write!(out, "{} statements: {succeed} % succeed direct, {show} % show a canary direct", self.count)?;
        for (policy, count) in &self.refused {
            let tried = self.percent(self.tried(*policy));
            write!(out, ", {} % refused under {}", self.percent(*count), policy.name())?;
            write!(out, " ({tried} % show one direct and are answered)")?;
        }
        write!(out, ", {} leaks", self.leaks.len() + self.more_leaks as usize)
    }
}

/// A server reached direct or through an agent.
struct Target {
    port: u16,
    kept: Option<Client>,
}

/// What was said, and how.
struct Said {
    steps: Vec<Step>,
    form: Form,
    text: String,
}

impl Said {
    fn new(tree: &Node, form: Form) -> Self {
        let statements = tree.statements();
        Self { text: tree.render(), steps: statements.into_iter().map(Step::Sql).collect(), form }
    }
}

/// Tries statements.
pub struct Search {
    direct: Target,
    agents: Vec<(Policy, Target)>,
    canaries: Canaries,
    major: u16,
}

impl Search {
    /// On servers that are running.
    pub fn new(servers: &Servers) -> Result<Self> {
        let mut operator = Client::connect(servers.port, &[])?;
        let answer = operator.say(&query("alter database postgres set statement_timeout = '3s'"), 1, b"")?;
        ensure!(succeeds(&answer), "cannot set a timeout: {answer:?}");
        let version =
            operator.say(&query("select current_setting('server_version_num')::int / 10000"), 1, b"")?;
        let major = version.iter().find(|(kind, _)| *kind == b'D').and_then(|(_, body)| body.get(6..));
        let major = str::from_utf8(major.context("a version")?)?.parse()?;
        let target = |port| Target { port, kept: None };
        Ok(Self {
            direct: target(servers.port),
            agents: servers.doors.iter().map(|(policy, port)| (*policy, target(*port))).collect(),
            canaries: Canaries::load(&mut operator)?,
            major,
        })
    }

    /// Runs the statements of so many seeds from one on.
    pub fn run(&mut self, seed: u64, count: u32, tally: &mut Tally) -> Result<()> {
        let start = Instant::now();
        for index in 0..count {
            check_interrupt()?;
            if index % STATEMENTS_PER_SESSION == 0 {
                // The server keeps what a session has planned and defined, and takes longer with every statement.
                self.direct.kept = None;
                self.agents.iter_mut().for_each(|(_, target)| target.kept = None);
            }
            self.run_one(seed.wrapping_add(u64::from(index)), tally)?;
            if (index + 1) % 1000 == 0 {
                let leaks = tally.leaks.len();
                println!("{} of {count} in {} s, {leaks} leaks", index + 1, start.elapsed().as_secs());
            }
        }
        Ok(())
    }

    fn run_one(&mut self, seed: u64, tally: &mut Tally) -> Result<()> {
        let tree = program(seed, self.major);
        let form = match seed % 10 {
            0..4 => Form::Simple,
            4 => Form::Batch,
            5 | 6 => Form::ExtendedText,
            7 if tree.statements().len() == 1 => Form::ExtendedLate,
            _ => Form::ExtendedBinary,
        };
        let said = Said::new(&tree, form);
        let direct = say(&mut self.direct, &said, "")?;
        tally.count += 1;
        let taken = succeeds(&direct);
        tally.succeeded += u32::from(taken);
        let shows = !self.canaries.search(&direct, &said.text).is_empty();
        tally.showing += u32::from(shows);
        if let Some(error) = why(&direct) {
            note(&mut tally.errors, error);
        }
        for index in 0..self.agents.len() {
            let (through, findings) = self.try_through(index, &said)?;
            let (policy, answered) = (self.agents[index].0, succeeds(&through));
            if taken && !answered {
                note(&mut tally.refused, policy);
                note(&mut tally.rules, format!("{}: {}", policy.name(), rule(&through)));
            }
            if shows && answered {
                note(&mut tally.tried, policy);
            }
            if !findings.is_empty() {
                self.leak(index, seed, &tree, form, tally)?;
            }
        }
        Ok(())
    }

    fn leak(&mut self, index: usize, seed: u64, tree: &Node, form: Form, tally: &mut Tally) -> Result<()> {
        if tally.leaks.len() >= SHRUNK {
            tally.more_leaks += 1;
            return Ok(());
        }
        println!("leak under {}, --seed {seed} --count 1, {}", self.agents[index].0.name(), form.name());
        let small = shrink(tree.clone(), TRIES, |tree| {
            check_interrupt()?;
            Ok::<_, anyhow::Error>(!self.leaks(index, &Said::new(tree, form))?.is_empty())
        })?;
        let findings = self.leaks(index, &Said::new(&small, form))?;
        let leak =
            Leak { policy: self.agents[index].0, seed, form, statements: small.statements(), findings };
        println!("{leak}");
        tally.leaks.push(leak);
        Ok(())
    }

    /// What the agent shows that comes from classified columns.
    fn leaks(&mut self, index: usize, said: &Said) -> Result<Vec<Finding>> {
        Ok(self.try_through(index, said)?.1)
    }

    /// What an agent answers, and what of it comes from classified columns.
    fn try_through(&mut self, index: usize, said: &Said) -> Result<(Vec<Message>, Vec<Finding>)> {
        let through = say(&mut self.agents[index].1, said, "")?;
        let mut found = self.canaries.search(&through, &said.text);
        if !found.is_empty() {
            let disguised = say(&mut self.direct, said, DISGUISE)?;
            let innocent = self.canaries.search(&disguised, &said.text);
            found.retain(|finding| innocent.iter().all(|other| other.clear != finding.clear));
        }
        Ok((through, found))
    }
}

/// Says it in a transaction that is rolled back, after something that is no part of it.
fn say(target: &mut Target, said: &Said, before: &str) -> Result<Vec<Message>> {
    let mut client = match target.kept.take() {
        Some(client) => client,
        None => Client::connect(target.port, &[])?,
    };
    client.say(&query("begin"), 1, b"")?;
    if !before.is_empty() {
        let answer = client.say(&query(before), 1, b"")?;
        ensure!(succeeds(&answer), "cannot disguise the classified columns: {:?}", why(&answer));
    }
    let mut answer: Vec<Message> = vec![];
    let mut last = 0;
    for text in said.form.texts(&said.steps) {
        let (text, ready) = text.messages(&answer[last..]);
        last = answer.len();
        let part = client.say(&text, ready, b"")?;
        let open = part.last().is_some_and(|(kind, _)| *kind == b'Z');
        answer.extend(part);
        if !open {
            return Ok(cut(answer));
        }
    }
    let mut ended = client.say(&query("rollback"), 1, b"")?;
    if said.form == Form::ExtendedLate || said.text.contains("prepare made") {
        ended = client.say(&query("deallocate all"), 1, b"")?;
    }
    if ended.last().is_some_and(|(kind, body)| (*kind, body.as_slice()) == (b'Z', b"I")) {
        target.kept = Some(client);
    }
    Ok(cut(answer))
}

/// Without rows past the bytes that are searched.
fn cut(answer: Vec<Message>) -> Vec<Message> {
    let mut seen = 0;
    let mut keeps = |(kind, body): &Message| {
        seen += body.len();
        seen < SEARCHED || !matches!(kind, b'D' | b'd')
    };
    answer.into_iter().filter(|message| keeps(message)).collect()
}

fn succeeds(answer: &[Message]) -> bool {
    answer.iter().all(|(kind, _)| *kind != b'E') && answer.last().is_some_and(|(kind, _)| *kind == b'Z')
}

/// The error, without names that differ from statement to statement.
fn why(answer: &[Message]) -> Option<String> {
    let (_, body) = answer.iter().find(|(kind, _)| *kind == b'E')?;
    let message = field(body, b'M').unwrap_or_default();
    Some(message.chars().filter(|letter| !letter.is_ascii_digit()).collect())
}

/// The code of a refusal.
fn rule(answer: &[Message]) -> String {
    let detail = answer.iter().find(|(kind, _)| *kind == b'E').and_then(|(_, body)| field(body, b'D'));
    let detail = detail.and_then(|detail| serde_json::from_str::<serde_json::Value>(&detail).ok());
    let code = detail.as_ref().and_then(|detail| detail["code"].as_str());
    code.map_or_else(|| why(answer).unwrap_or_default(), str::to_owned)
}

fn note<T: PartialEq>(counts: &mut Vec<(T, u32)>, what: T) {
    match counts.iter_mut().find(|(other, _)| *other == what) {
        Some((_, count)) => *count += 1,
        None => counts.push((what, 1)),
    }
}

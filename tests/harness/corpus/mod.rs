//! The attack corpus: cases as data, each run in every form a statement can take, direct and through an agent.
//!
//! A case holds an attack and a benign twin. The twin is the attack on a table of the same shape without classified
//! columns: it is written down, or made by `twin_of` word for word. An attack must show no canary, and be answered
//! as its verdict says; a twin must be answered as it is direct, byte for byte.

mod bound;
mod canary;
mod client;
mod form;
mod judge;
mod known;
mod report;
mod run;
mod stand;
mod verdicts;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

pub use canary::{Canaries, Finding};
pub use client::{Client, Door};
pub use form::Form;
pub use known::{Difference, Known};
pub use report::Report;
pub use run::{Fault, FaultKind, Outcome, Runner};
pub use stand::{Servers, Stand};
pub use verdicts::{Answer, Found, RENEWAL, Side, Verdicts};

/// One case as written in `tests/corpus/*.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique in the corpus.
    pub id: String,
    /// The file without its ending.
    #[serde(skip)]
    pub theme: String,
    /// Line of the list of known bypasses.
    pub bypass: Option<u32>,
    /// What an operator does directly beforehand, and undoes by `cleanup`.
    pub setup: Option<String>,
    /// What an operator does directly once the first step is answered, while the session is open.
    pub meanwhile: Option<String>,
    /// What an operator does directly after every run.
    pub cleanup: Option<String>,
    /// Nothing, for a case that is a twin only.
    #[serde(default)]
    pub attack: Steps,
    /// Made from the attack where not written; empty for none.
    pub twin: Option<Steps>,
    /// Promised of the attack under the built-in policy, whatever is recorded.
    #[serde(default)]
    pub zero: Verdict,
    /// The same under the policy for agents.
    #[serde(default = "as_recorded")]
    pub strict: Verdict,
    /// Promised of the twin under the built-in policy.
    #[serde(default)]
    pub twin_zero: TwinVerdict,
    /// The same under the policy for agents, which refuses much by its kind, as DDL.
    #[serde(default)]
    pub twin_strict: TwinVerdict,
    /// All that the statements allow, where not written.
    pub forms: Option<Vec<Form>>,
    /// Whether it shows a canary when run direct; an oracle tells a bit in another way.
    #[serde(default = "yes")]
    pub leaks: bool,
    /// A query of the operator whose values are canaries too, for values that are written in another alphabet.
    pub reveals: Option<String>,
    /// Runs on a connection of its own and outside a transaction, as what ends one must.
    #[serde(default)]
    pub alone: bool,
    /// Major version that knows the statement first.
    pub since: Option<u32>,
    /// Parameters of the start of the connection.
    #[serde(default)]
    pub startup: Vec<(String, String)>,
    /// Sent where the server asks for the rows of a COPY.
    #[serde(default)]
    pub copy_data: String,
}

fn yes() -> bool {
    true
}

fn as_recorded() -> Verdict {
    Verdict::Recorded
}

/// What is said, in order, on one connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub enum Steps {
    /// Nothing.
    #[default]
    None,
    /// One statement.
    One(String),
    /// Several.
    Many(Vec<Step>),
}

impl Steps {
    /// As a list.
    pub fn list(&self) -> Vec<Step> {
        match self {
            Self::None => vec![],
            Self::One(sql) if sql.is_empty() => vec![],
            Self::One(sql) => vec![Step::Sql(sql.clone())],
            Self::Many(steps) => steps.clone(),
        }
    }
}

/// One thing said.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// A statement, in whatever form is tried.
    Sql(String),
    /// Messages in the words of the protocol, ended by `Sync`; tried once, as a form of their own.
    Wire(Vec<Wire>),
}

/// A frontend message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// Statement name and text.
    Parse(String, String),
    /// Portal, statement and result formats.
    Bind(String, String, Vec<u8>),
    /// `S` or `P`, and a name.
    Describe(char, String),
    /// Portal, and how many rows.
    Execute(String, u32),
    /// `S` or `P`, and a name.
    Close(char, String),
    /// Function OID and arguments as text.
    Call(u32, Vec<String>),
    /// A simple query, which needs no `Sync`.
    Query(String),
    /// `Sync`.
    Sync,
    /// `Flush`.
    Flush,
}

/// How an attack must be answered, in every form.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As direct but for the values, `SQLSTATEs` included.
    #[default]
    Masked,
    /// One of both: as `verdicts.yaml` has it.
    Recorded,
    /// With SQLSTATE 42501.
    Refused,
}

/// How a twin must be answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TwinVerdict {
    /// Byte for byte as direct.
    #[default]
    Same,
    /// Refused, as everything of its kind.
    Refused,
    /// One of both, not alike in all forms: as `verdicts.yaml` has it.
    Recorded,
}

/// A policy the corpus knows verdicts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// `policies/zero-config.yaml`.
    Zero,
    /// `policies/agent-strict.yaml`.
    Strict,
}

impl Policy {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Strict => "strict",
        }
    }

    /// Its text.
    pub fn text(self) -> Result<String> {
        let name = match self {
            Self::Zero => "zero-config.yaml",
            Self::Strict => "agent-strict.yaml",
        };
        let file = folder().join("../../policies").join(name);
        // All attacks are one client's, and what the budget stops is tried by itself.
        let text = std::fs::read_to_string(file)?;
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("limits:")).collect();
        Ok(format!("{}\nlimits: {{ predicates: 1000000 }}\n", text.join("\n")))
    }
}

/// `tests/corpus`.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))
}

/// The tables every case is run on.
pub fn schema() -> Result<String> {
    Ok(std::fs::read_to_string(folder().join("schema.sql"))?)
}

/// All cases, in the order of files and lines.
pub fn load() -> Result<Vec<Case>> {
    let mut files: Vec<_> = std::fs::read_dir(folder())?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::path);
    let mut cases = vec![];
    for file in files {
        let path = file.path();
        let is_yaml = path.extension().is_some_and(|kind| kind == "yaml");
        if is_yaml && ![known_file(), verdicts_file()].contains(&path) {
            cases.extend(load_file(&path).with_context(|| format!("{}", path.display()))?);
        }
    }
    let mut ids: Vec<_> = cases.iter().map(|case| case.id.as_str()).collect();
    ids.sort_unstable();
    if let Some([twice, _]) = ids.array_windows().find(|[one, next]| one == next) {
        bail!("two cases have the id {twice}");
    }
    Ok(cases)
}

/// The file of faults that are known.
pub fn known_file() -> PathBuf {
    folder().join("known.yaml")
}

/// The record of how every attack and every twin is answered.
pub fn verdicts_file() -> PathBuf {
    folder().join("verdicts.yaml")
}

fn load_file(path: &Path) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = serde_norway::from_str(&std::fs::read_to_string(path)?)?;
    let theme = path.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
    for case in &mut cases {
        case.theme.clone_from(&theme);
    }
    Ok(cases)
}

impl Case {
    /// Whether it is more than a twin.
    pub fn has_attack(&self) -> bool {
        !self.attack.list().is_empty()
    }

    /// Whether it has a twin.
    pub fn has_twin(&self) -> bool {
        !self.twin_steps().is_empty()
    }

    /// What is promised of the twin under a policy.
    fn twin_promise(&self, policy: Policy) -> TwinVerdict {
        match policy {
            Policy::Zero => self.twin_zero,
            Policy::Strict => self.twin_strict,
        }
    }

    /// What is promised of the attack under a policy.
    fn promise(&self, policy: Policy) -> Verdict {
        match policy {
            Policy::Zero => self.zero,
            Policy::Strict => self.strict,
        }
    }

    /// The benign twin's steps.
    pub fn twin_steps(&self) -> Vec<Step> {
        let said = |step: Step| match step {
            Step::Sql(sql) => Step::Sql(twin_of(&sql)),
            Step::Wire(messages) => Step::Wire(messages.into_iter().map(twin_message).collect()),
        };
        match &self.twin {
            Some(twin) => twin.list(),
            None => self.attack.list().into_iter().map(said).collect(),
        }
    }
}

fn twin_message(message: Wire) -> Wire {
    match message {
        Wire::Parse(name, sql) => Wire::Parse(name, twin_of(&sql)),
        Wire::Query(sql) => Wire::Query(twin_of(&sql)),
        Wire::Call(function, arguments) => {
            Wire::Call(function, arguments.iter().map(|text| twin_of(text)).collect())
        }
        Wire::Bind(..)
        | Wire::Describe(..)
        | Wire::Execute(..)
        | Wire::Close(..)
        | Wire::Flush
        | Wire::Sync => message,
    }
}

/// What the words of the classified table are called in its mirror. Other objects are `c_…` and `p_…`.
const WORDS: [(&str, &str); 10] = [
    ("birth_date", "made_on"),
    ("customers", "parts"),
    ("email", "code"),
    ("income", "cost"),
    ("name", "label"),
    ("phone", "line"),
    ("salary", "weight"),
    ("ssn", "serial"),
    ("EMAIL", "CODE"),
    ("SSN", "SERIAL"),
];

/// The same statement on the mirror.
pub fn twin_of(sql: &str) -> String {
    let mut twin = String::with_capacity(sql.len());
    let mut rest = sql;
    while !rest.is_empty() {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let word = &rest[..rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())];
        if word.is_empty() {
            let gap = rest.find(is_word).unwrap_or(rest.len());
            twin += &rest[..gap];
            rest = &rest[gap..];
            continue;
        }
        match (WORDS.iter().find(|(from, _)| *from == word), word.strip_prefix("c_")) {
            (Some((_, to)), _) => twin += to,
            (None, Some(object)) => twin.extend(["p_", object]),
            (None, None) => twin += word,
        }
        rest = &rest[word.len()..];
    }
    twin
}

//! A policy exactly as written. Nothing outside this folder sees these types.
//!
//! What is wrong with a single value is found while reading it, so the error knows its line; what is wrong
//! between two places of the file is found afterwards.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de::Visitor};

use super::{
    AllowList, ColumnPattern, Mode, Policy, Selection,
    mask::RawMask,
    rules::{RawLimits, RawRules, RawStatements},
    selection::{RawSubjects, RawTarget},
    trusted::RawFunctions,
};
use crate::masking::{ColumnRule, MaskKind};

/// The only version there is.
const VERSION: u64 = 1;

/// The entry of `masks` for tags without one of their own.
const DEFAULT_TAG: &str = "default";

/// What is wrong with a policy file, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A table has two allow lists.
    #[error("{file}:{line}:{column}: classification.allow: table `{table}` is listed twice; allowed: once")]
    AllowTwice {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The table.
        table: String,
    },
    /// A subject is excluded, and included or sniffed.
    #[error("{file}:{line}:{column}: subjects: `{subject}` is {besides} and excluded; allowed: one of both")]
    SubjectTwice {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The cgroup or user.
        subject: String,
        /// What it is besides.
        besides: &'static str,
    },
    /// YAML, a key or a value is wrong.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The key, what is wrong, what is allowed.
        message: String,
    },
    /// A mask is given for a tag that no column has: most likely a misspelt tag.
    #[error("{file}:{line}:{column}: masks: no column has the tag `{tag}`; allowed: {allowed}")]
    UnusedMask {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The tag.
        tag: String,
        /// Tags that columns have.
        allowed: String,
    },
}

/// A policy file. A misspelt key must not mean "no mask": unknown keys are errors everywhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    /// Version of this format: 1.
    #[allow(dead_code, reason = "its check is its reading")]
    version: RawVersion,
    /// What the policy is called in the audit trail.
    name: String,
    /// Takes over what `zero-config` classifies, behind the file's own entries, and its masks.
    #[serde(default)]
    extends: Option<RawBase>,
    /// `enforce` (default) masks and refuses; `observe` only records.
    #[serde(default)]
    mode: RawMode,
    /// Ports databases listen on, at every address; 5432 where there are no `targets` either.
    #[serde(default)]
    ports: Vec<u16>,
    /// Ports databases listen on at some addresses only.
    #[serde(default)]
    targets: Vec<RawTarget>,
    /// Who is protected; every process by default.
    #[serde(default)]
    subjects: RawSubjects,
    /// Which columns are personal.
    #[serde(default)]
    classification: RawClassification,
    /// What may be done with masked columns besides showing them.
    rules: Option<RawRules>,
    /// Which kinds of statements are sent.
    #[serde(default)]
    statements: RawStatements,
    /// How far code of users in the database is believed.
    #[serde(default)]
    functions: RawFunctions,
    /// How much is too much.
    #[serde(default)]
    limits: RawLimits,
    /// Whether a client is told, once for each shape of a statement, which columns are masked; not by default.
    #[serde(default)]
    notices: bool,
    /// How each tag is masked; `default` is for tags without an entry, and is itself `redact` by default.
    #[serde(default)]
    masks: BTreeMap<String, RawMask>,
}

/// Which columns are personal.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClassification {
    /// Columns by name; the first entry that matches gives the tag.
    #[serde(default)]
    columns: Vec<RawColumn>,
    /// Tables of which only the listed columns are shown.
    #[serde(default)]
    allow: Vec<RawAllow>,
}

/// Columns by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawColumn {
    /// Column name without regard to case; `*` stands for any run of characters. One, or a list.
    name: RawNames,
    /// `schema.table` in the same way; every table without it.
    table: Option<RawTable>,
    /// What is personal about it; `masks` says what becomes of it.
    tag: RawTag,
}

/// A table of which only the listed columns are shown, even those that `columns` would tag.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAllow {
    /// `schema.table`; `*` stands for any run of characters.
    table: RawTable,
    /// Columns that are shown; every other one is masked as `masks.default` says.
    columns: Vec<RawName>,
}

/// A policy that can be extended.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawBase {
    ZeroConfig,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawMode {
    #[default]
    Enforce,
    Observe,
}

#[derive(Deserialize)]
#[serde(try_from = "u64")]
struct RawVersion;

impl TryFrom<u64> for RawVersion {
    type Error = String;

    fn try_from(version: u64) -> Result<Self, String> {
        if version == VERSION {
            Ok(Self)
        } else {
            Err(format!("version {version} is not known; allowed: {VERSION}"))
        }
    }
}

/// A pattern of a column's name, in lower case.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawName(String);

impl TryFrom<String> for RawName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name.is_empty() || name.contains(['?', '[', ']', '{', '}']) {
            return Err(format!("`{name}` is no column pattern; allowed: a name in which `*` is any run"));
        }
        Ok(Self(name.to_lowercase()))
    }
}

/// A pattern of `schema.table`, in lower case.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawTable(String);

impl TryFrom<String> for RawTable {
    type Error = String;

    fn try_from(table: String) -> Result<Self, String> {
        match table.split_once('.') {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() && !table.contains(['?', '[']) => {
                Ok(Self(table.to_lowercase()))
            }
            None | Some(_) => {
                Err(format!("`{table}` is no table; allowed: `schema.table`, in which `*` is any run"))
            }
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct RawTag(String);

impl TryFrom<String> for RawTag {
    type Error = String;

    fn try_from(tag: String) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if tag.is_empty() || tag == DEFAULT_TAG || !tag.chars().all(fits) {
            let what = "lower-case letters, digits and `-`, but not `default`";
            return Err(format!("`{tag}` is no tag; allowed: {what}"));
        }
        Ok(Self(tag))
    }
}

/// One name or a list of them.
struct RawNames(Vec<RawName>);

impl<'de> Deserialize<'de> for RawNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = RawNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column pattern or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<RawNames, E> {
                let name = RawName::try_from(name.to_owned()).map_err(E::custom)?;
                Ok(RawNames(vec![name]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<RawNames, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(RawNames(names))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

pub(super) fn parse(file: &str, text: &str) -> Result<Policy, PolicyError> {
    let raw: RawPolicy = serde_norway::from_str(text).map_err(|error| syntax(file, &error))?;
    let base = raw.extends.map(|RawBase::ZeroConfig| Policy::zero_config());
    check(file, text, &raw, base.as_ref())?;
    let selection = Selection::new(&raw.ports, raw.targets, raw.subjects).map_err(|(subject, besides)| {
        let (line, column) = place(text, "subjects:", &subject);
        PolicyError::SubjectTwice { file: file.to_owned(), line, column, subject, besides }
    })?;
    let masks: BTreeMap<String, Arc<MaskKind>> =
        raw.masks.into_iter().map(|(tag, mask)| (tag, Arc::new(mask.0))).collect();
    let default = masks.get(DEFAULT_TAG).cloned();
    let default = default.unwrap_or_else(|| Arc::new(MaskKind::Redact { placeholder: None }));
    let mut patterns = Vec::new();
    for RawColumn { name, table, tag } in raw.classification.columns {
        let mask = masks.get(&tag.0).unwrap_or(&default);
        let rule = ColumnRule { rule: tag.0.as_str().into(), mask: mask.clone() };
        let table = table.map(|table| table.0);
        let names = name.0.into_iter();
        patterns.extend(names.map(|name| ColumnPattern {
            table: table.clone(),
            name: name.0,
            rule: rule.clone(),
        }));
    }
    for pattern in base.into_iter().flat_map(|base| base.patterns) {
        // A mask of the file's own comes before the one taken over.
        let own = masks.get(&*pattern.rule.rule).cloned();
        let mask = own.unwrap_or_else(|| pattern.rule.mask.clone());
        patterns.push(ColumnPattern { rule: ColumnRule { rule: pattern.rule.rule, mask }, ..pattern });
    }
    let allow = raw.classification.allow.into_iter().map(|allow| AllowList {
        table: allow.table.0,
        columns: allow.columns.into_iter().map(|column| column.0).collect(),
    });
    Ok(Policy {
        name: raw.name,
        mode: match raw.mode {
            RawMode::Enforce => Mode::Enforce,
            RawMode::Observe => Mode::Observe,
        },
        selection,
        patterns,
        allow: allow.collect(),
        unlisted: ColumnRule { rule: "allow-list".into(), mask: default },
        rules: RawRules::rules(raw.rules, &raw.statements, &raw.limits, raw.notices),
        trusted: raw.functions.trusted(),
    })
}

/// What one value by itself cannot show.
fn check(file: &str, text: &str, raw: &RawPolicy, base: Option<&Policy>) -> Result<(), PolicyError> {
    let file = || file.to_owned();
    let mut tags: Vec<&str> = raw.classification.columns.iter().map(|column| column.tag.0.as_str()).collect();
    tags.push(DEFAULT_TAG);
    tags.extend(base.iter().flat_map(|base| &base.patterns).map(|pattern| &*pattern.rule.rule));
    if let Some(tag) = raw.masks.keys().find(|tag| !tags.contains(&tag.as_str())) {
        let (line, column) = place(text, "masks:", tag);
        tags.sort_unstable();
        tags.dedup();
        let allowed = tags.join(", ");
        return Err(PolicyError::UnusedMask { file: file(), line, column, tag: tag.clone(), allowed });
    }
    let allow = &raw.classification.allow;
    let twice = allow
        .iter()
        .enumerate()
        .find(|(at, list)| allow[..*at].iter().any(|earlier| earlier.table.0 == list.table.0));
    if let Some((_, list)) = twice {
        let table = list.table.0.clone();
        let (line, column) = place(text, "allow:", &table);
        return Err(PolicyError::AllowTwice { file: file(), line, column, table });
    }
    Ok(())
}

/// Where a word first stands behind a key, as line and column; the start of the file if it is quoted oddly.
fn place(text: &str, key: &str, word: &str) -> (usize, usize) {
    let start = text.find(key).unwrap_or(0);
    let at = text[start..].find(word).map_or(0, |at| start + at);
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    (text[..at].matches('\n').count() + 1, text[line_start..at].chars().count() + 1)
}

fn syntax(file: &str, error: &serde_norway::Error) -> PolicyError {
    let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
    let message = error.to_string();
    // The library ends its text with the place, which stands in front here.
    let message = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
    let message = message.replace(", expected one of ", "; allowed: ").replace(", expected ", "; allowed: ");
    PolicyError::Syntax { file: file.to_owned(), line, column, message }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

//! A policy exactly as written. Nothing outside this folder sees these types.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{AllowList, ColumnPattern, ColumnRule, DEFAULT_PORT, MaskKind, Mode, Policy};

/// The only version there is.
const VERSION: u32 = 1;

/// What is wrong with a policy file, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A tag is masked in no way.
    #[error("{file}: classification: tag `{tag}` has no entry under `masks`; add `{tag}: redact` there")]
    NoMask {
        /// The file.
        file: String,
        /// The tag.
        tag: String,
    },
    /// YAML or its keys are wrong; the text names line, column, key and what is allowed.
    #[error("{file}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, column, key, what is allowed.
        message: String,
    },
    /// A version this build does not know.
    #[error("{file}: version: {got} is not known; allowed: {VERSION}")]
    Version {
        /// The file.
        file: String,
        /// What it says.
        got: u32,
    },
}

// A misspelt key must not mean "no mask".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    version: u32,
    name: String,
    #[serde(default)]
    mode: RawMode,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    masks: BTreeMap<String, RawMask>,
    #[serde(default)]
    classification: Vec<RawClass>,
    #[serde(default)]
    allow: Vec<RawAllow>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawMode {
    #[default]
    Enforce,
    Observe,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a mask is `hash`, `null`, `pattern`, `redact`, {redact: {placeholder: …}} or {partial: {first: n, last: n}}"
)]
enum RawMask {
    Null(()),
    Parameters(RawMaskParameters),
    Plain(RawPlainMask),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawPlainMask {
    Hash,
    Null,
    Pattern,
    Redact,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaskParameters {
    partial: Option<RawPartial>,
    redact: Option<RawRedact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPartial {
    #[serde(default)]
    first: usize,
    #[serde(default)]
    last: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRedact {
    placeholder: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClass {
    tag: String,
    table: Option<String>,
    columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAllow {
    table: String,
    columns: Vec<String>,
}

pub(super) fn parse(file: &str, text: &str) -> Result<Policy, PolicyError> {
    let raw: RawPolicy = serde_norway::from_str(text)
        .map_err(|error| PolicyError::Syntax { file: file.to_owned(), message: error.to_string() })?;
    if raw.version != VERSION {
        return Err(PolicyError::Version { file: file.to_owned(), got: raw.version });
    }
    let masks: BTreeMap<String, Arc<MaskKind>> =
        raw.masks.into_iter().map(|(tag, mask)| (tag, Arc::new(mask.into()))).collect();
    let mut patterns = Vec::new();
    for class in raw.classification {
        let no_mask = || PolicyError::NoMask { file: file.to_owned(), tag: class.tag.clone() };
        let mask = masks.get(&class.tag).ok_or_else(no_mask)?;
        let rule = ColumnRule { rule: class.tag.as_str().into(), mask: mask.clone() };
        for column in class.columns {
            let table = class.table.as_ref().map(|table| table.to_lowercase());
            patterns.push(ColumnPattern { table, column: column.to_lowercase(), rule: rule.clone() });
        }
    }
    let allow = raw.allow.into_iter().map(|allow| AllowList {
        table: allow.table.to_lowercase(),
        columns: allow.columns.iter().map(|column| column.to_lowercase()).collect(),
    });
    Ok(Policy {
        name: raw.name,
        mode: match raw.mode {
            RawMode::Enforce => Mode::Enforce,
            RawMode::Observe => Mode::Observe,
        },
        ports: if raw.ports.is_empty() { vec![DEFAULT_PORT] } else { raw.ports },
        patterns,
        allow: allow.collect(),
    })
}

impl From<RawMask> for MaskKind {
    fn from(raw: RawMask) -> Self {
        match raw {
            RawMask::Null(()) | RawMask::Plain(RawPlainMask::Null) => Self::Null,
            RawMask::Plain(RawPlainMask::Hash) => Self::Hash,
            RawMask::Plain(RawPlainMask::Pattern) => Self::Pattern,
            RawMask::Plain(RawPlainMask::Redact) => Self::Redact { placeholder: None },
            RawMask::Parameters(RawMaskParameters { partial: Some(partial), .. }) => {
                Self::Partial { first: partial.first, last: partial.last }
            }
            RawMask::Parameters(RawMaskParameters { redact, .. }) => {
                Self::Redact { placeholder: redact.map(|redact| redact.placeholder) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_policy_parses() {
        assert!(Policy::zero_config().rules() > 50);
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_names_the_line_and_what_is_allowed() {
        let error = parse("p.yaml", "version: 1\nname: x\nmaks: {}\n").unwrap_err().to_string();
        assert!(error.contains("maks") && error.contains("line 3") && error.contains("masks"), "{error}");
    }

    #[test]
    fn a_tag_without_a_mask_is_an_error() {
        let text = "version: 1\nname: x\nclassification: [{tag: a, columns: [b]}]\n";
        assert!(matches!(parse("p.yaml", text), Err(PolicyError::NoMask { .. })));
    }

    #[test]
    fn an_unknown_mask_is_an_error() {
        let text = "version: 1\nname: x\nmasks: {a: rot13}\n";
        assert!(matches!(parse("p.yaml", text), Err(PolicyError::Syntax { .. })));
    }
}

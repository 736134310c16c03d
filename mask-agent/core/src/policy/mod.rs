//! The policy file, and which columns it classifies.

mod classify;
mod denial;
mod file;
mod given;
mod mask;
mod rules;
mod ruling;
mod schema;
mod selection;

use std::sync::Arc;

use crate::catalog::Catalog;

pub use crate::lineage::Refusal;
pub use classify::Classification;
pub use denial::{Denial, denials};
pub use file::PolicyError;
pub use given::{ComparedConstant, ComparedParameter, CopyIn, FilledColumn, GivenRuling};
pub use rules::{Admission, Budget, Budgeted, Charge, Cost, Derived, Rules, Use, Written};
pub use ruling::{ColumnRuling, Rows, Ruled, Taint, column_name, rule, standing_taints};
pub use schema::schema;
pub use selection::{CGROUP_DEPTH_MAX, Prefix, Selection, Subjects, Target};

/// The policy that is in force where no file is given; the very file that ships.
const ZERO_CONFIG: &str = include_str!("../../../../policies/zero-config.yaml");

/// The port registered for `PostgreSQL`.
const DEFAULT_PORT: u16 = 5432;

/// Triggers that fill what others read; longer chains than that are followed no further.
const TRIGGERS_DEEP_MAX: usize = 8;

/// Whether rulings are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Mask and refuse.
    Enforce,
    /// Only record what would be masked and refused.
    Observe,
}

/// What a value turns into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaskKind {
    /// Another value of the same shape, the same for the same value.
    Fpe(FpeShape),
    /// A coarser value.
    Generalise(Generalise),
    /// A keyed hash.
    Hash,
    /// NULL.
    Null,
    /// The first and last characters stay, the rest becomes `*`; where less than a third would, all does.
    Partial {
        /// Characters kept at the start.
        first: usize,
        /// Characters kept at the end.
        last: usize,
    },
    /// Length and character classes stay: letters become `x` or `X`, digits `0`.
    Pattern,
    /// A constant of the type.
    Redact {
        /// What text columns show instead of `***`.
        placeholder: Option<String>,
    },
    /// A keyed token that shows what it is, the same for the same value and scope.
    Token {
        /// Columns of one scope have the same tokens; the tag by default.
        scope: Option<String>,
        /// Whether the daemon can turn it back.
        reversible: bool,
    },
}

/// What values look like, and so their masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FpeShape {
    /// A payment card: issuer, last four digits and validity stay.
    Card,
    /// Digits, whatever stands between them.
    Digits,
    /// An address that nothing is ever delivered to.
    Email,
    /// An account: country and length stay, the check digits are right.
    Iban,
    /// A telephone number: the country stays.
    Phone,
}

/// How coarse values become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generalise {
    /// To what dates and timestamps are cut.
    pub date: DateUnit,
    /// Of what numbers become multiples.
    pub bucket: u64,
    /// Bits of an IPv4 address that stay.
    pub prefix4: u8,
    /// Bits of an IPv6 address that stay.
    pub prefix6: u8,
}

/// To what a date is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateUnit {
    /// Its first day.
    Month,
    /// Its first of January.
    Year,
}

impl MaskKind {
    /// Its name in policies and in the audit trail.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fpe(_) => "fpe",
            Self::Generalise(_) => "generalise",
            Self::Hash => "hash",
            Self::Null => "null",
            Self::Partial { .. } => "partial",
            Self::Pattern => "pattern",
            Self::Redact { .. } => "redact",
            Self::Token { .. } => "token",
        }
    }
}

/// Why and how a column is masked.
#[derive(Clone, Debug)]
pub struct ColumnRule {
    /// The rule's name.
    pub rule: Arc<str>,
    /// The mask.
    pub mask: Arc<MaskKind>,
}

impl ColumnRule {
    /// What columns have in common whose equal values get equal masks.
    pub fn scope(&self) -> &str {
        match &*self.mask {
            MaskKind::Token { scope: Some(scope), .. } => scope,
            MaskKind::Fpe(_)
            | MaskKind::Generalise(_)
            | MaskKind::Hash
            | MaskKind::Null
            | MaskKind::Partial { .. }
            | MaskKind::Pattern
            | MaskKind::Redact { .. }
            | MaskKind::Token { scope: None, .. } => &self.rule,
        }
    }
}

/// Columns of some tables that are masked, by name; * stands for any run of characters.
#[derive(Debug)]
struct ColumnPattern {
    /// `schema.table` pattern; none means every table.
    table: Option<String>,
    name: String,
    rule: ColumnRule,
}

/// A table of which only the listed columns are shown, even those a pattern matches.
#[derive(Debug)]
struct AllowList {
    table: String,
    columns: Vec<String>,
}

/// A policy, checked.
#[derive(Debug)]
pub struct Policy {
    name: String,
    mode: Mode,
    selection: Selection,
    patterns: Vec<ColumnPattern>,
    allow: Vec<AllowList>,
    /// What happens to columns an allow list leaves out.
    unlisted: ColumnRule,
    rules: Rules,
}

impl Policy {
    /// The built-in policy.
    ///
    /// # Panics
    /// Never: a test parses the same file.
    pub fn zero_config() -> Self {
        Self::parse("zero-config.yaml", ZERO_CONFIG).expect("the built-in policy is tested to parse")
    }

    /// Reads a policy file's text; `file` is its name in errors.
    ///
    /// # Errors
    /// With the place, the key and what is allowed.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        file::parse(file, text)
    }

    /// Whether rulings are applied.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose connections to where are intercepted.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Number of column patterns and allow lists.
    pub fn rules(&self) -> usize {
        self.patterns.len() + self.allow.len()
    }

    /// What may be done with masked columns.
    pub fn usage_rules(&self) -> &Rules {
        &self.rules
    }

    /// Which columns of a database are masked: by the policy, and because masked values were put there.
    pub fn classify(&self, catalog: &Catalog, taints: &[Taint]) -> Classification {
        let mut taints = taints.to_vec();
        let mut classes = classify::classify(self, catalog, &taints);
        // What one trigger fills may be what the next one reads.
        for _round in 0..TRIGGERS_DEEP_MAX {
            let more = standing_taints(catalog, &classes);
            if more.is_empty() {
                break;
            }
            taints.extend(more);
            classes = classify::classify(self, catalog, &taints);
        }
        classes
    }
}

//! What happens to a column, as a policy says it.

use std::sync::Arc;

/// What happens to the cells of a column.
#[derive(Clone, Debug)]
pub enum CellRule {
    /// They stay.
    Clear,
    /// They are values of a classified column.
    Mask(ColumnRule),
    /// They are derived or of unknown origin: the type's constant.
    Redact,
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

//! Values in, masked values out; the only maker of bytes for the client.
//!
//! A `RowPlan` works out once per row description what happens to each cell; `mask_row` then walks rows in
//! place, copies what stays in runs, and looks at the bytes of masked cells only.
//!
//! Promises: a cell that stays keeps its bytes, NULL stays NULL, and a masked cell of two or more characters
//! never contains its value, unless the value is itself part of a constant such as `***`.

/// The walk over `COPY … TO STDOUT`.
mod copy;
/// Bytes that may leave for the client.
pub mod gate;
/// Masks of text that depend on the value.
mod kind;
/// A type's constant, in text and in binary.
mod redact;
/// The walk over a row.
mod row;
/// Constants of types whose text depends on a setting.
mod style;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{catalog::TypeShape, policy::ColumnRule};

pub use copy::{CopyFormat, CopyMasker, CopyPlan, ForceQuote};
pub use row::mask_row;

/// The key of hash masks: values that are equal stay equal, and nobody without the key can try them out.
#[derive(Clone)]
pub struct MaskKey(Hmac<Sha256>);

impl MaskKey {
    /// Prepares a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        // HMAC pads a short key with zeros to the block of 64 bytes.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&bytes);
        Self(Hmac::new(&block.into()))
    }

    /// What stands for a value under a rule. Other rules get other tokens, so a column that is classified
    /// otherwise cannot be searched for it; other rounds too, for a token that happens to show its value.
    fn token(&self, rule: &str, round: u8, value: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(rule.as_bytes());
        mac.update(&[0, round]);
        mac.update(value);
        mac.finalize().into_bytes().into()
    }
}

/// How a value stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The type's binary form.
    Binary,
    /// The type's text form.
    Text,
}

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

/// One column of a row plan.
#[derive(Clone, Debug)]
pub struct CellPlan {
    /// The type's OID.
    pub type_oid: u32,
    /// The type's modifier, -1 where there is none.
    pub type_modifier: i32,
    /// Text or binary.
    pub format: Format,
    /// What happens.
    pub rule: CellRule,
    /// How a type that is not built in is made.
    pub shape: Option<TypeShape>,
}

/// What happens to each cell of a row.
#[derive(Debug)]
pub struct RowPlan {
    cells: Vec<CellPlan>,
    steps: Vec<row::Step>,
    clear: bool,
}

impl RowPlan {
    /// A plan for rows of exactly these cells.
    pub fn new(cells: Vec<CellPlan>) -> Self {
        let steps: Vec<row::Step> = cells.iter().map(row::Step::new).collect();
        let clear = cells.iter().all(|cell| matches!(cell.rule, CellRule::Clear));
        Self { cells, steps, clear }
    }

    /// Whether every cell stays.
    pub fn is_clear(&self) -> bool {
        self.clear
    }

    /// The columns in order.
    pub fn cells(&self) -> &[CellPlan] {
        &self.cells
    }
}

/// Why a row cannot be masked, and so not shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// NULL is written like a value may be, which would tell which value it is.
    #[error("COPY writes NULL like a value of a masked column; leave out the option NULL")]
    AmbiguousNull,
    /// The row and its description disagree.
    #[error("row has {got} cells, the row description announced {want}")]
    CellCount {
        /// Cells in the row.
        got: usize,
        /// Cells announced.
        want: usize,
    },
    /// Bytes stand behind the last cell.
    #[error("row has bytes behind its last cell")]
    TrailingBytes,
    /// The row ends inside a cell.
    #[error("row ends inside a cell")]
    Truncated,
}

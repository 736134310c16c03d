//! Values in, masked values out; the only maker of bytes for the client.
//!
//! A `RowPlan` works out once per row description what happens to each cell; `mask_row` then walks rows in
//! place, copies what stays in runs, and looks at the bytes of masked cells only.
//!
//! Promises: a cell that stays keeps its bytes, NULL stays NULL but where it is redacted as made of masked values, and a masked text of two or more characters never
//! contains its value, unless the value is itself part of a constant such as `***`. A masked number differs from its
//! value, but may share digits with it. What `generalise` makes of a value may be the value: the first of January.

/// Arrays, element by element.
mod array;
/// Dates and addresses made coarse.
mod coarse;
/// Constants of the types of extensions.
mod extension;
/// The permutation behind masks that keep a shape.
mod ff1;
/// The walk over `COPY … TO STDOUT`.
mod copy;
/// Bytes that may leave for the client.
pub mod gate;
/// Keys, by version.
mod keys;
/// Masks that depend on the value.
mod kind;
/// Numbers of any type.
mod number;
/// Slices of what was read and of what was written.
mod pieces;
/// What masks have made, recognised.
mod recognise;
/// A type's constant, in text and in binary.
mod redact;
/// The walk over a row.
mod row;
/// What happens to a column.
mod rule;
/// Text that keeps its shape.
mod shape;
/// Constants of types whose text depends on a setting.
mod style;
/// Tokens, and their way back.
mod token;

use crate::catalog::TypeShape;

pub use copy::{CopyFormat, CopyMasker, CopyPlan, ForceQuote};
pub use keys::{KeyRing, MaskKey};
pub use pieces::Pieces;
pub use recognise::{Placeholder, TextForm, placeholder, written_back};
pub use row::mask_row;
pub use rule::{CellRule, ColumnRule, DateUnit, FpeShape, Generalise, MaskKind};
pub use token::{TOKEN_PREFIX, turn_back};

/// How a value stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The type's binary form.
    Binary,
    /// The type's text form.
    Text,
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
    /// Binary COPY begins otherwise than it should, or says that its rows have more than their cells.
    #[error("COPY in binary has an unknown header")]
    NoHeader,
    /// A row of COPY is longer than is held.
    #[error("row is longer than 64 MiB")]
    RowTooLong,
    /// Bytes stand behind the last cell.
    #[error("row has bytes behind its last cell")]
    TrailingBytes,
    /// The row ends inside a cell.
    #[error("row ends inside a cell")]
    Truncated,
}

#[cfg(test)]
mod recorded_tests;

//! Foreign tables.

use serde::Serialize;

use super::Symbol;

/// Names on another server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Foreign {
    /// The schema; none where options name none.
    pub schema: Option<Symbol>,
    /// The relation's name.
    pub name: Option<Symbol>,
    /// Columns that have another name there, by their numbers.
    pub columns: Vec<(i16, Symbol)>,
}

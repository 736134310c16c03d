//! What is stored that was made of masked columns.
//!
//! A masked value beside each of many guesses, or what came of comparing it with each, answers as many questions as there
//! are rows: `where n = salary` in a table of the client's own is no comparison within one row of an ordinary table.

use serde::{Deserialize, Serialize};

use super::{
    ColumnId, Masked, Origins, Usage,
    trace::{Put, Target, Tracer},
};

/// What a column holds that was filled from masked ones, from the harmless to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// Values as they are, each once for each time it was there.
    Copies,
    /// Values as they are, each beside any number of others.
    Paired,
    /// What was made of masked values alone.
    #[default]
    Derived,
    /// What was made of masked values and others.
    Mixed,
}

impl Holds {
    /// How a column is used that holds this: what was made of values is asked of them.
    pub(super) fn usage(self, usage: Usage) -> Usage {
        match (self, usage) {
            (Self::Mixed, _) => Usage::RowCount,
            (Self::Derived, Usage::Equality | Usage::Grouping | Usage::Ordering) => Usage::Function,
            _ => usage,
        }
    }

    /// Whether NULL in it tells.
    pub fn tells_by_null(self) -> bool {
        self >= Self::Derived
    }
}

impl Tracer<'_> {
    /// What a column holds once this is put there.
    pub(super) fn holds(&self, put: &Put, origins: &Origins, is_insert: bool, classes: &dyn Masked) -> Holds {
        let is_masked = |column: &ColumnId| classes.is_masked(column.relation, column.number);
        let values = || origins.columns.iter().chain(&origins.views);
        if origins.untraceable.is_some() || !values().any(is_masked) {
            // What only its rows tell is masked with all its row, and says no more by being asked.
            let is_row = match &put.target {
                Target::Column(column) => column.number == 0,
                Target::New { column, .. } => column == "*",
            };
            return if is_row { Holds::Copies } else { Holds::Mixed };
        }
        let before = values().filter_map(|column| classes.holds(column.relation, column.number)).max();
        let before = before.max(self.graph.holds(put.given));
        let own = if self.graph.is_folded(put.given) && self.keeps_whole(&put.target, origins) {
            // The relation that is inserted into is one of them.
            let is_one = self.graph.entries() <= usize::from(is_insert) + 1;
            if is_one && !self.multiplies && !self.computes_beside(put) {
                Holds::Copies
            } else {
                Holds::Paired
            }
        } else if origins.mixes
            || before >= Some(Holds::Paired) && self.graph.has_others(put.given, &|column| is_masked(&column))
        {
            Holds::Mixed
        } else {
            Holds::Derived
        };
        before.map_or(own, |before| before.max(own))
    }

    /// Whether something else is computed of what is stored for the same row: a number that grows.
    fn computes_beside(&self, put: &Put) -> bool {
        let others = self.puts.iter().map(|other| other.given).filter(|given| *given != put.given);
        others.into_iter().any(|given| self.graph.reads(given) && !self.graph.is_folded(given))
    }
}

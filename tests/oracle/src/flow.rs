//! What a value draws on.

use std::collections::BTreeSet;

/// A column of a relation; number 0 is the whole row, and negative ones are the system's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Column {
    pub(crate) relation: u32,
    pub(crate) number: i16,
}

/// What a value draws on, as far as the server's tree tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Columns that a sound analysis must name.
    pub(crate) required: BTreeSet<Column>,
    /// Columns that an analysis may name or not: they decide whether or how often the value is there, or go through a
    /// function whose result carries none of its argument.
    pub(crate) tolerated: BTreeSet<Column>,
    /// User-defined functions the value went through; only their arguments are known to the tree.
    pub(crate) opaque: BTreeSet<u32>,
    /// Such functions below something that is only tolerated.
    pub(crate) opaque_tolerated: BTreeSet<u32>,
}

impl Flow {
    /// A value that is one column.
    pub(crate) fn of(column: Column) -> Self {
        let mut flow = Self::default();
        // A system column (ctid, tableoid, xmin …) holds nothing that anyone stored.
        if column.number < 0 { &mut flow.tolerated } else { &mut flow.required }.insert(column);
        flow
    }

    /// Draws also on what another value draws on.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.required.extend(&other.required);
        self.tolerated.extend(&other.tolerated);
        self.opaque.extend(&other.opaque);
        self.opaque_tolerated.extend(&other.opaque_tolerated);
    }

    /// The same, none of it required.
    pub(crate) fn softened(mut self) -> Self {
        self.tolerated.append(&mut self.required);
        self.opaque_tolerated.append(&mut self.opaque);
        self
    }

    /// Draws on every one of several values.
    pub(crate) fn union<'f>(flows: impl IntoIterator<Item = &'f Self>) -> Self {
        let mut all = Self::default();
        for flow in flows {
            all.merge(flow);
        }
        all
    }
}

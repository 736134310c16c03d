//! What rows are sorted or grouped by: an order of masked values is no question, one by what is computed of them is.

use std::{collections::HashSet, ops::ControlFlow};

use super::{ColumnId, Graph, NodeId};

/// How many functions, casts and aggregates of one value, one of the other, order as anybody does: `avg(length(email))`.
const STEPS_MAX: usize = 2;

/// What a masked value is sorted or grouped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::lineage) enum Among {
    /// Its like.
    Alike,
    /// Something else in an expression, which says where to look: `order by salary > 1000`.
    Computed,
    /// Values that are not masked, which the client may know or have chosen: by UNION.
    Others,
}

impl Graph {
    /// What masked values are with in a value by which rows are sorted or grouped.
    pub(in crate::lineage) fn among(&self, id: NodeId, is_sensitive: &dyn Fn(ColumnId) -> bool) -> Among {
        let (mut masked, mut others, mut computed) = (false, false, false);
        self.walk_all(id, |id, node, open| match node.base {
            Some(column) if is_sensitive(column) => masked = true,
            None if node.is_copy && !node.from.is_empty() => open.extend_from_slice(&node.from),
            Some(_) if node.is_view => open.extend_from_slice(&node.from),
            Some(_) => others = true,
            None => {
                let columns = self.drawn(id).columns;
                let is_masked = columns.into_iter().any(is_sensitive);
                masked |= is_masked;
                others |= !is_masked;
                computed |= is_masked && (self.has_constant(id) || !self.is_ordinary(id, is_sensitive));
            }
        });
        computed |= masked && self.is_loose(id);
        match (masked, others, computed) {
            (true, true, _) => Among::Others,
            (true, false, true) => Among::Computed,
            (true, false, false) | (false, _, _) => Among::Alike,
        }
    }

    fn has_constant(&self, id: NodeId) -> bool {
        let walked = self.walk(id, |_, node, open| {
            if node.base.is_none() && node.is_constant() {
                return ControlFlow::Break(());
            }
            open.extend_from_slice(&node.from);
            ControlFlow::Continue(())
        });
        walked.is_break()
    }

    /// Whether an order by a value is that of stored values, of what each is by itself, or of what all of a group come
    /// to. What is computed of several can be made to change anywhere: `salary > (id / id + id / id) * …`.
    fn is_ordinary(&self, id: NodeId, is_sensitive: &dyn Fn(ColumnId) -> bool) -> bool {
        let mut open = vec![(id, 0)];
        let mut seen = HashSet::new();
        while let Some((id, steps)) = open.pop() {
            let node = self.node(id);
            let is_stored = node.base.is_some() && !node.is_view;
            if is_stored || node.is_folded || !seen.insert((id, steps)) {
                continue;
            }
            let is_free = node.is_copy || node.is_beside || node.is_view;
            let steps = if is_free { steps } else { steps + 1 };
            let is_bent = !is_free && node.from.len() > 1 || steps > STEPS_MAX;
            if is_bent && self.drawn(id).columns.into_iter().any(is_sensitive) {
                return false;
            }
            open.extend(node.from.iter().map(|from| (*from, steps)));
        }
        true
    }

    /// Notes that a value has a collation by which different values are equal.
    pub(in crate::lineage) fn loosen(&mut self, id: NodeId) {
        self.at(id).is_loose = true;
        self.has_loose = true;
    }

    /// Whether values that are not alike may be equal to this one.
    pub(in crate::lineage) fn is_loose(&self, id: NodeId) -> bool {
        self.has_loose
            && self
                .walk(id, |_, node, open| {
                    open.extend_from_slice(&node.from);
                    if node.is_loose { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .is_break()
    }

    /// Whether there is such a value.
    pub(in crate::lineage) fn has_loose(&self) -> bool {
        self.has_loose
    }
}

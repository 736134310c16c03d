//! What columns hold that were filled from masked ones, and what else is in a value.

use std::ops::ControlFlow;

use super::{ColumnId, EntryId, Graph, Holds, Node, NodeId};

impl Graph {
    /// How many relations and lists stand in FROM, in subqueries and definitions as well.
    pub(in crate::lineage) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Notes what a column holds that this transaction has filled.
    pub(in crate::lineage) fn set_holds(&mut self, id: NodeId, holds: Holds) {
        self.at(id).holds = Some(holds);
        self.has_holds = true;
    }

    /// What columns that this transaction has filled hold, of which a value is made.
    pub(in crate::lineage) fn holds(&self, id: NodeId) -> Option<Holds> {
        let mut worst = None;
        if !self.has_holds {
            return worst;
        }
        self.walk_all(id, |_, node, open| {
            worst = worst.max(node.holds);
            open.extend_from_slice(&node.from);
        });
        worst
    }

    /// A test of a value for NULL.
    pub(in crate::lineage) fn null_test(&mut self, tested: NodeId) -> NodeId {
        self.push(Node { tested: Some(tested), ..Node::default() })
    }

    /// Whether a value is made of anything stored, or of a list, that is not masked.
    pub(in crate::lineage) fn has_others(&self, id: NodeId, is_sensitive: &dyn Fn(ColumnId) -> bool) -> bool {
        let walked = self.walk(id, |id, node, open| {
            let is_other = match node.base {
                Some(column) => !node.is_view && !is_sensitive(column),
                None => node.entry.is_some() && !self.reads(id),
            };
            if is_other {
                return ControlFlow::Break(());
            }
            open.extend_from_slice(&node.from);
            open.extend_from_slice(&node.tied);
            ControlFlow::Continue(())
        });
        walked.is_break()
    }

    /// Whether it only says that something differs from row to row.
    pub(in crate::lineage) fn is_by_row(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.entry.is_some() && node.base.is_none() && node.from.is_empty()
    }

    /// Whether values of more than one relation or list in FROM are in a value.
    pub(in crate::lineage) fn mixes(&self, id: NodeId) -> bool {
        let mut sources: Vec<EntryId> = Vec::new();
        self.walk_all(id, |id, node, open| {
            let is_stored = node.base.is_some() && !node.is_view;
            let is_list = node.base.is_none() && node.entry.is_some() && !self.reads(id);
            sources.extend(node.entry.filter(|entry| (is_stored || is_list) && !sources.contains(entry)));
            open.extend_from_slice(&node.from);
        });
        sources.len() > 1
    }
}

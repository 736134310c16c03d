//! What loops count and change, and values that are as long as others say.

use std::{collections::HashSet, ops::ControlFlow};

use super::{ColumnId, Graph, Node, NodeId};

impl Graph {
    /// Notes that a value is as long as these say.
    pub(in crate::lineage) fn sizes(&mut self, value: NodeId, by: &[NodeId]) {
        self.sized.push((value, by.to_vec()));
    }

    /// Notes which relations in FROM a loop reads, by how many there were before.
    pub(in crate::lineage) fn reads_in_loop(&mut self, before: usize) {
        let at = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (from, to) = (at(before), at(self.entries.len()));
        match self.looped.last_mut() {
            Some(last) if last.end == from => last.end = to,
            _ if from < to => self.looped.push(from..to),
            _ => {}
        }
    }

    /// Notes that a loop changes what is stored in a column by what is there.
    pub(in crate::lineage) fn changes_in_loop(&mut self, column: ColumnId) {
        self.restless.push(column);
    }

    /// Notes that a value is another one each time it is asked for, as those of a list are.
    pub(in crate::lineage) fn counts(&mut self, id: NodeId) {
        let entry = self.entry();
        let counted = self.push(Node { entry: Some(entry), is_copy: true, ..Node::default() });
        self.add(id, &[counted]);
    }

    /// Whether a value is made of itself, as what a loop counts is.
    pub(in crate::lineage) fn is_of_itself(&self, id: NodeId) -> bool {
        let walked = self.walk_from(self.node(id).from.clone(), |at, node, open| {
            if at == id {
                return ControlFlow::Break(());
            }
            open.extend_from_slice(&node.from);
            ControlFlow::Continue(())
        });
        walked.is_break()
    }

    /// Whether it is computed of itself, and not just handed on.
    pub(in crate::lineage) fn is_computed_of_itself(&self, id: NodeId) -> bool {
        // What has been come to as it is, and over something that computes.
        let mut seen = [HashSet::new(), HashSet::new()];
        let mut open = vec![(id, false)];
        while let Some((at, is_computed)) = open.pop() {
            let node = self.node(at);
            let is_computed = is_computed || !node.is_copy && node.base.is_none() && !node.from.is_empty();
            if is_computed && node.from.contains(&id) {
                return true;
            }
            if seen[usize::from(is_computed)].insert(at) {
                open.extend(node.from.iter().map(|from| (*from, is_computed)));
            }
        }
        false
    }
}

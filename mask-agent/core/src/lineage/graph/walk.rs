//! Walks over the graph.

use std::ops::ControlFlow;

use super::{Graph, Node, NodeId};

/// Which nodes a walk has come to: a long statement takes many short ones.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The number of the last walk that came by.
    marks: Vec<u32>,
    walk: u32,
}

impl Seen {
    /// Begins another walk over so many nodes.
    pub(super) fn begin(&mut self, nodes: usize) {
        self.walk = self.walk.checked_add(1).unwrap_or_else(|| {
            self.marks.clear();
            1
        });
        self.marks.resize(nodes, 0);
    }

    /// Whether the walk comes to a node for the first time.
    pub(super) fn is_first(&mut self, id: NodeId) -> bool {
        std::mem::replace(&mut self.marks[id.0 as usize], self.walk) != self.walk
    }
}

impl Graph {
    /// Comes to each node once that `visit` opens, until it breaks off.
    pub(super) fn walk(
        &self,
        from: NodeId,
        visit: impl FnMut(NodeId, &Node, &mut Vec<NodeId>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.walk_from(vec![from], visit)
    }

    /// The same from several nodes.
    pub(super) fn walk_from(
        &self,
        mut open: Vec<NodeId>,
        mut visit: impl FnMut(NodeId, &Node, &mut Vec<NodeId>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut seen = self.seen.take();
        seen.begin(self.nodes.len());
        let mut flow = ControlFlow::Continue(());
        while let (Some(id), true) = (open.pop(), flow.is_continue()) {
            if seen.is_first(id) {
                flow = visit(id, self.node(id), &mut open);
            }
        }
        self.seen.replace(seen);
        flow
    }

    /// The same to the end.
    pub(super) fn walk_all(&self, from: NodeId, mut visit: impl FnMut(NodeId, &Node, &mut Vec<NodeId>)) {
        let _ = self.walk(from, |id, node, open| {
            visit(id, node, open);
            ControlFlow::Continue(())
        });
    }
}

//! What values are made of, for many of them at once: a variable that is computed of itself again and again is made of
//! all that it was ever given, and so is whatever is made of it.

use std::rc::Rc;

use super::{ColumnId, EntryId, Graph, Node, NodeId, Ties, tells::Drawn};

/// Where fewer values meet, walking from each is faster.
const MEETINGS_MIN: usize = 64;

/// Values in groups that are made of each other. A group has a higher number than those it is made of.
pub(super) struct Condensed {
    groups: Vec<u32>,
    /// Values by group, and where each group ends.
    members: Vec<NodeId>,
    ends: Vec<u32>,
}

/// What values have, by group.
type Sets<T> = Vec<Rc<[T]>>;

/// Not come to yet.
const NEW: u32 = u32::MAX;

/// A walk by which groups are found, as Tarjan's is.
struct Grouping<'g> {
    graph: &'g Graph,
    ties: Ties,
    /// When each value was come to.
    met: Vec<u32>,
    /// The earliest value it leads back to.
    low: Vec<u32>,
    count: u32,
    /// Values whose group is not complete.
    open: Vec<NodeId>,
    found: Condensed,
}

impl Grouping<'_> {
    fn child(&self, id: NodeId, at: usize) -> Option<NodeId> {
        let Node { from, tied, .. } = self.graph.node(id);
        let told = if self.ties == Ties::Followed { &**tied } else { &[] };
        from.get(at).or_else(|| told.get(at - from.len())).copied()
    }

    fn enter(&mut self, id: NodeId) {
        self.met[id.0 as usize] = self.count;
        self.low[id.0 as usize] = self.count;
        self.count += 1;
        self.open.push(id);
    }

    /// Everything that a value is made of, without recursion: bodies are long.
    fn visit(&mut self, root: NodeId) {
        let mut path = vec![(root, 0_usize)];
        self.enter(root);
        while let Some((id, at)) = path.last_mut() {
            let (id, child) = (*id, self.child(*id, *at));
            *at += 1;
            match child {
                Some(child) if self.met[child.0 as usize] == NEW => {
                    self.enter(child);
                    path.push((child, 0));
                }
                // One whose group is complete is no way back.
                Some(child) if self.found.groups[child.0 as usize] == NEW => {
                    let met = self.met[child.0 as usize];
                    self.leads_to(id, met);
                }
                Some(_) => {}
                None => {
                    path.pop();
                    if let Some((above, _)) = path.last() {
                        let (above, low) = (*above, self.low[id.0 as usize]);
                        self.leads_to(above, low);
                    }
                    if self.low[id.0 as usize] == self.met[id.0 as usize] {
                        self.complete(id);
                    }
                }
            }
        }
    }

    fn leads_to(&mut self, id: NodeId, met: u32) {
        let low = &mut self.low[id.0 as usize];
        *low = met.min(*low);
    }

    fn complete(&mut self, first: NodeId) {
        let number = u32::try_from(self.found.ends.len()).unwrap_or(NEW);
        while let Some(id) = self.open.pop() {
            self.found.groups[id.0 as usize] = number;
            self.found.members.push(id);
            if id == first {
                break;
            }
        }
        self.found.ends.push(u32::try_from(self.found.members.len()).unwrap_or(NEW));
    }
}

impl Condensed {
    fn new(graph: &Graph, ties: Ties) -> Self {
        let nodes = graph.nodes.len();
        let found = Self { groups: vec![NEW; nodes], members: Vec::with_capacity(nodes), ends: Vec::new() };
        let (met, low) = (vec![NEW; nodes], vec![NEW; nodes]);
        let mut walk = Grouping { graph, ties, met, low, count: 0, open: Vec::new(), found };
        for id in (0..).map(NodeId).take(nodes) {
            if walk.met[id.0 as usize] == NEW {
                walk.visit(id);
            }
        }
        walk.found
    }

    /// Of each group, what any of the values it is made of have, sorted and each once.
    fn gather<T: Copy + Ord>(&self, walk: &Graph, ties: Ties, own: impl Fn(&Node) -> Option<T>) -> Sets<T> {
        let mut all: Sets<T> = Vec::with_capacity(self.ends.len());
        let nothing: Rc<[T]> = Rc::new([]);
        let mut from = 0;
        for (number, end) in (0_u32..).zip(&self.ends) {
            let mut items: Vec<T> = Vec::new();
            let mut below: Vec<u32> = Vec::new();
            for id in &self.members[from as usize..*end as usize] {
                let node = walk.node(*id);
                items.extend(own(node));
                let told = if ties == Ties::Followed { &*node.tied } else { &[] };
                let children = node.from.iter().chain(told).map(|child| self.groups[child.0 as usize]);
                below.extend(children.filter(|group| *group != number && !all[*group as usize].is_empty()));
            }
            from = *end;
            below.sort_unstable();
            below.dedup();
            let gathered = match &*below {
                [] if items.is_empty() => nothing.clone(),
                [only] if items.is_empty() => all[*only as usize].clone(),
                _ => {
                    for group in below {
                        items.extend_from_slice(&all[group as usize]);
                    }
                    items.sort_unstable();
                    items.dedup();
                    items.into()
                }
            };
            all.push(gathered);
        }
        all
    }

    fn of<'s, T>(&self, sets: &'s [Rc<[T]>], id: NodeId) -> &'s [T] {
        &sets[self.groups[id.0 as usize] as usize]
    }
}

/// The columns values are made of.
pub(in crate::lineage) struct AllDrawn<'g> {
    graph: &'g Graph,
    /// Stored ones and those of views, where that is faster.
    found: Option<(Condensed, Sets<ColumnId>, Sets<ColumnId>)>,
}

impl<'g> AllDrawn<'g> {
    pub(in crate::lineage) fn new(graph: &'g Graph) -> Self {
        let found = (graph.meetings.len() >= MEETINGS_MIN).then(|| Self::gathered(graph));
        Self { graph, found }
    }

    fn gathered(graph: &Graph) -> (Condensed, Sets<ColumnId>, Sets<ColumnId>) {
        let all = Condensed::new(graph, Ties::Ignored);
        let columns = all.gather(graph, Ties::Ignored, |node| node.base.filter(|_| !node.is_view));
        let views = all.gather(graph, Ties::Ignored, |node| node.base.filter(|_| node.is_view));
        (all, columns, views)
    }

    pub(in crate::lineage) fn of(&self, id: NodeId) -> Drawn {
        match &self.found {
            Some((all, columns, views)) => {
                Drawn { columns: all.of(columns, id).to_vec(), views: all.of(views, id).to_vec() }
            }
            None => self.graph.drawn(id),
        }
    }
}

/// The relations in FROM that leaves of values belong to, with what ties them.
pub(super) struct AllLeaves {
    all: Condensed,
    leaves: Sets<EntryId>,
    lists: Sets<EntryId>,
    masked: Sets<EntryId>,
}

impl AllLeaves {
    /// Where so many values meet that walking from each would take longer.
    pub(super) fn new(graph: &Graph, meetings: usize, is_masked: &dyn Fn(ColumnId) -> bool) -> Option<Self> {
        (meetings >= MEETINGS_MIN).then(|| {
            let all = Condensed::new(graph, Ties::Followed);
            let is_leaf = |node: &Node| node.from.is_empty() || node.is_view;
            let gather = |own: &dyn Fn(&Node) -> bool| {
                all.gather(graph, Ties::Followed, |node| node.entry.filter(|_| own(node)))
            };
            let leaves = gather(&is_leaf);
            let lists = gather(&|node| !is_leaf(node) && node.base.is_none());
            let masked = gather(&|node| is_leaf(node) && node.base.is_some_and(is_masked));
            Self { all, leaves, lists, masked }
        })
    }

    /// Those of all leaves; where there are none, of what made rows of constants.
    pub(super) fn of(&self, id: NodeId) -> Vec<EntryId> {
        let leaves = self.all.of(&self.leaves, id);
        if leaves.is_empty() { self.all.of(&self.lists, id).to_vec() } else { leaves.to_vec() }
    }

    /// Those of masked leaves.
    pub(super) fn masked_of(&self, id: NodeId) -> Vec<EntryId> {
        self.all.of(&self.masked, id).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lineage::graph::tests::{graph, ids, kinds_and_edges};

    proptest! {
        #[test]
        fn what_is_found_of_all_is_what_a_walk_from_each_finds((kinds, edges) in kinds_and_edges()) {
            let graph = graph(&kinds, &edges);
            let drawn = AllDrawn { graph: &graph, found: Some(AllDrawn::gathered(&graph)) };
            let is_masked = |column: ColumnId| column.number % 2 == 0;
            let leaves = AllLeaves::new(&graph, MEETINGS_MIN, &is_masked).unwrap();
            for id in ids(&graph) {
                let (found, walked) = (drawn.of(id), graph.drawn(id));
                prop_assert_eq!((found.columns, found.views), (walked.columns, walked.views));
                prop_assert_eq!(leaves.of(id), graph.leaves(id, Ties::Followed, &|_| true));
                let masked = |base: Option<ColumnId>| base.is_some_and(is_masked);
                prop_assert_eq!(leaves.masked_of(id), graph.leaves(id, Ties::Followed, &masked));
            }
        }
    }
}

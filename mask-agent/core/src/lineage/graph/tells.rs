//! What values tell, of all of them at once: in a long body everything implies what decides, and that everything else,
//! so that a walk from each value would be as long as the body each time.

use std::{collections::HashMap, ops::ControlFlow};

use super::{ColumnId, Graph, Node, NodeId, Untraceable};

/// What a value tells of masked ones, or of what nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    Nothing,
    /// By the rows it stands in, and nothing by itself.
    Rows,
    /// By itself; nothing that is found out later makes it tell less.
    Value,
}

/// What a value reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reach(u8);

impl Reach {
    const NOTHING: Self = Self(0);
    /// A masked column, by whatever way.
    const MASKED: Self = Self(1);
    /// What nobody knows, by whatever way.
    const UNKNOWN: Self = Self(2);
    /// Either of them, as what it is made of.
    const VALUE: Self = Self(4);

    /// What passes along edges that make no value.
    const IMPLIED: u8 = Self::MASKED.0 | Self::UNKNOWN.0;

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A list of lists in one piece.
struct Lists {
    starts: Vec<u32>,
    items: Vec<NodeId>,
}

impl Lists {
    /// Turns edges around: of each node, those that lead to it.
    fn reversed(nodes: usize, edges: impl Fn(&mut dyn FnMut(NodeId, NodeId))) -> Self {
        let mut starts = vec![0_u32; nodes + 1];
        edges(&mut |_, to| starts[to.0 as usize] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut items = vec![NodeId(0); sum as usize];
        edges(&mut |from, to| {
            let start = &mut starts[to.0 as usize];
            *start -= 1;
            items[*start as usize] = from;
        });
        Self { starts, items }
    }

    fn of(&self, id: NodeId) -> &[NodeId] {
        let at = id.0 as usize;
        &self.items[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

/// What each value tells, kept up to date while more is implied.
pub(super) struct Tellings {
    reach: Vec<Reach>,
    made_into: Lists,
    implied_by: Lists,
    /// The same of what has come to be implied since.
    added: HashMap<NodeId, Vec<NodeId>>,
}

impl Tellings {
    pub(super) fn new(graph: &Graph, is_masked: &dyn Fn(ColumnId) -> bool) -> Self {
        let ids = || (0_u32..).map(NodeId).zip(&graph.nodes);
        let nodes = graph.nodes.len();
        let made_into = Lists::reversed(nodes, |edge| {
            ids().for_each(|(id, node)| node.from.iter().for_each(|from| edge(id, *from)));
        });
        let implied_by = Lists::reversed(nodes, |edge| {
            for (id, node) in ids() {
                node.implied.iter().for_each(|implied| edge(id, *implied));
                node.entry.iter().for_each(|entry| edge(id, graph.rows(*entry)));
            }
        });
        let mut all =
            Self { reach: vec![Reach::NOTHING; nodes], made_into, implied_by, added: HashMap::new() };
        let own = |node: &Node| {
            let unknown = node.untraceable.map(|_| Reach::UNKNOWN.with(Reach::VALUE));
            let masked = node.base.filter(|base| is_masked(*base)).map(|_| Reach::MASKED.with(Reach::VALUE));
            unknown.into_iter().chain(masked).reduce(Reach::with)
        };
        let open = ids().filter_map(|(id, node)| Some((id, own(node)?))).collect();
        all.reaches(open);
        all
    }

    /// Notes what these reach, and all that leads to them.
    fn reaches(&mut self, mut open: Vec<(NodeId, Reach)>) {
        while let Some((id, reach)) = open.pop() {
            let known = &mut self.reach[id.0 as usize];
            let all = known.with(reach);
            if all == *known {
                continue;
            }
            *known = all;
            open.extend(self.made_into.of(id).iter().map(|into| (*into, all)));
            let implied = Reach(all.0 & Reach::IMPLIED);
            open.extend(self.implied_by.of(id).iter().map(|by| (*by, implied)));
            open.extend(self.added.get(&id).into_iter().flatten().map(|by| (*by, implied)));
        }
    }

    /// Notes that a value implies another from now on.
    pub(super) fn implies(&mut self, id: NodeId, implied: NodeId) {
        self.added.entry(implied).or_default().push(id);
        let reach = Reach(self.reach[implied.0 as usize].0 & Reach::IMPLIED);
        self.reaches(vec![(id, reach)]);
    }

    pub(super) fn of(&self, id: NodeId) -> Telling {
        match self.reach[id.0 as usize] {
            reach if reach.has(Reach::VALUE) || reach.has(Reach::UNKNOWN) => Telling::Value,
            reach if reach.has(Reach::MASKED) => Telling::Rows,
            _ => Telling::Nothing,
        }
    }
}

/// The columns a value is made of, each once.
#[derive(Default)]
pub(in crate::lineage) struct Drawn {
    /// Stored ones.
    pub(in crate::lineage) columns: Vec<ColumnId>,
    /// Those of views on the way.
    pub(in crate::lineage) views: Vec<ColumnId>,
}

impl Graph {
    /// What a value is made of, whatever else it tells.
    pub(in crate::lineage) fn drawn(&self, id: NodeId) -> Drawn {
        let mut drawn = Drawn::default();
        self.walk_all(id, |_, node, open| {
            let list = if node.is_view { &mut drawn.views } else { &mut drawn.columns };
            list.extend(node.base);
            open.extend_from_slice(&node.from);
        });
        for list in [&mut drawn.columns, &mut drawn.views] {
            list.sort_unstable();
            list.dedup();
        }
        drawn
    }

    /// Whether it is a stored column as it is, and always the same one.
    pub(in crate::lineage) fn is_one_column(&self, id: NodeId) -> bool {
        self.is_identity(id) && self.drawn(id).columns.len() == 1
    }

    /// Whether any of these values tells of a column like this, or of what nobody knows.
    pub(in crate::lineage) fn tell(&self, ids: Vec<NodeId>, fits: &dyn Fn(ColumnId) -> bool) -> bool {
        self.reach(ids, &|node| node.untraceable.is_some() || node.base.is_some_and(fits))
    }

    /// Whether any of these values tells of a column like this.
    pub(in crate::lineage) fn tell_of(&self, ids: Vec<NodeId>, fits: &dyn Fn(ColumnId) -> bool) -> bool {
        self.reach(ids, &|node| node.base.is_some_and(fits))
    }

    /// Whether anything that nobody knows is told by a value.
    pub(super) fn tells_unknown(&self, id: NodeId) -> bool {
        self.has_unknown && self.reach(vec![id], &|node| node.untraceable.is_some())
    }

    /// Whether a value is or tells of a name that was not found, before anything else that nobody knows.
    pub(in crate::lineage) fn is_not_found(&self, id: NodeId) -> bool {
        self.has_unknown_column && self.origins(id).untraceable == Some(Untraceable::UnknownColumn)
    }

    fn reach(&self, ids: Vec<NodeId>, fits: &dyn Fn(&Node) -> bool) -> bool {
        let walked = self.walk_from(ids, |_, node, open| {
            if fits(node) {
                return ControlFlow::Break(());
            }
            open.extend(node.from.iter().chain(&node.implied));
            open.extend(node.entry.map(|entry| self.rows(entry)));
            ControlFlow::Continue(())
        });
        walked.is_break()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lineage::graph::tests::{graph, ids, kinds_and_edges};

    /// What a walk from a value finds.
    fn walked(graph: &Graph, id: NodeId, is_masked: &dyn Fn(ColumnId) -> bool) -> Telling {
        let fits = |node: &Node| node.untraceable.is_some() || node.base.is_some_and(is_masked);
        let mut is_value = false;
        graph.walk_all(id, |_, node, open| {
            is_value |= fits(node);
            open.extend_from_slice(&node.from);
        });
        if is_value || graph.reach(vec![id], &|node| node.untraceable.is_some()) {
            Telling::Value
        } else if graph.tell_of(vec![id], is_masked) {
            Telling::Rows
        } else {
            Telling::Nothing
        }
    }

    proptest! {
        #[test]
        fn what_values_tell_is_up_to_date_whatever_is_implied(
            (kinds, edges) in kinds_and_edges(),
            more in prop::collection::vec((any::<u8>(), any::<u8>()), 0..8),
        ) {
            let mut graph = graph(&kinds, &edges);
            let is_masked = |column: ColumnId| column.number % 2 == 0;
            let mut tellings = Tellings::new(&graph, &is_masked);
            let all: Vec<NodeId> = ids(&graph).collect();
            for (by, implied) in more {
                for id in &all {
                    prop_assert_eq!(tellings.of(*id), walked(&graph, *id, &is_masked));
                }
                let at = |at: u8| all[usize::from(at) % all.len()];
                graph.imply(at(by), &[at(implied)]);
                tellings.implies(at(by), at(implied));
            }
            for id in &all {
                prop_assert_eq!(tellings.of(*id), walked(&graph, *id, &is_masked));
            }
        }

        #[test]
        fn what_is_one_column_as_it_is_has_its_origins((kinds, edges) in kinds_and_edges()) {
            let graph = graph(&kinds, &edges);
            for id in ids(&graph) {
                let origins = graph.origins(id);
                let (drawn, is_identity) = (graph.drawn(id), graph.is_copy(id) && origins.is_identity);
                prop_assert_eq!((drawn.columns, drawn.views), (origins.columns.clone(), origins.views.clone()));
                prop_assert_eq!(graph.is_identity(id), is_identity);
                let any = |column: ColumnId| column.number % 2 == 0;
                prop_assert_eq!(graph.tell_of(vec![id], &any), origins.all().any(any));
                prop_assert_eq!(graph.tells_unknown(id), origins.untraceable.is_some());
            }
        }
    }
}

//! Graphs by chance, for what is to be the same of all of them.

use proptest::{collection::vec, prelude::*};

use super::{ColumnId, Graph, NodeId};
use crate::lineage::Untraceable;

/// What values are, and how they lead to each other.
pub(super) type Drafts = (Vec<u8>, Vec<(u8, u8, u8)>);

pub(super) fn kinds_and_edges() -> impl Strategy<Value = Drafts> {
    (vec(any::<u8>(), 1..16), vec((any::<u8>(), any::<u8>(), 0..6_u8), 0..32))
}

pub(super) fn graph(kinds: &[u8], edges: &[(u8, u8, u8)]) -> Graph {
    let mut graph = Graph::default();
    for (kind, number) in kinds.iter().zip(1..) {
        let column = ColumnId { relation: 1, number };
        match kind % 8 {
            0 | 1 => {
                let entry = graph.entry();
                graph.base(entry, column, 0);
            }
            2 => {
                let (entry, inner) = (graph.entry(), graph.made(Vec::new()));
                graph.view(entry, column, inner, 0);
            }
            3 => {
                let entry = graph.entry();
                graph.column(entry, Vec::new());
            }
            4 => drop(graph.copy(Vec::new())),
            5 if *kind > 128 => drop(graph.unknown(Untraceable::UserCode)),
            _ => drop(graph.made(Vec::new())),
        }
    }
    let all: Vec<NodeId> = ids(&graph).collect();
    let at = |at: u8| all[usize::from(at) % all.len()];
    for (from, to, way) in edges {
        match way {
            0 => graph.imply(at(*from), &[at(*to)]),
            1 => graph.tie(at(*from), &[at(*to)]),
            _ => graph.add(at(*from), &[at(*to)]),
        }
    }
    graph
}

pub(super) fn ids(graph: &Graph) -> impl Iterator<Item = NodeId> + use<> {
    (0..).map(NodeId).take(graph.nodes.len())
}

//! Errors that a body in PL/pgSQL catches, and may say something of.

use super::{ColumnId, Untraceable, graph::NodeId, trace::Tracer};

/// How much was noted of what errors may tell, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    named: usize,
    raised: usize,
    written: usize,
    computed: usize,
}

impl Tracer<'_> {
    pub(super) fn told(&self) -> Told {
        let facts = &self.facts;
        Told {
            named: facts.named.len(),
            raised: facts.raised.len(),
            written: facts.written.len(),
            computed: facts.computed.len(),
        }
    }

    /// Values whose being computed may have failed since.
    pub(super) fn fails(&self, before: Told) -> Vec<NodeId> {
        self.facts.computed[before.computed..].to_vec()
    }

    /// What the text and the code of an error may tell: whatever was named since, what code that is called raises, and
    /// the whole of a row that was not written.
    pub(super) fn quotes(&mut self, caught: NodeId, before: Told) {
        let facts = &self.facts;
        let mut quoted = [&facts.named[before.named..], &facts.raised[before.raised..]].concat();
        let written = facts.written[before.written..].iter().map(|column| column.relation).collect();
        let is_followed = !(facts.calls_opaque_code
            || facts.meets_user_code
            || facts.meets_rules
            || facts.changes_unknown
            || facts.dangerous.is_some());
        for relation in self.env.catalog.with_heirs(written) {
            let entry = self.graph.entry();
            quoted.push(self.graph.base(entry, ColumnId { relation, number: 0 }, 0));
        }
        if !is_followed {
            quoted.push(self.graph.unknown(Untraceable::OpaqueFunction));
        }
        self.graph.add(caught, &quoted);
    }
}

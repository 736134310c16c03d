//! Values that are put into columns by their place.

use super::{Made, graph::NodeId, scope::Item, statement::Reader, trace::Tracer};

impl<'a> Tracer<'a> {
    /// Names of the columns that values without names are put into, and what each may hold, where nobody knows which
    /// these are.
    pub(super) fn places(
        &mut self,
        item: &Item<'a>,
        values: Vec<NodeId>,
        rows: NodeId,
    ) -> (Vec<String>, Vec<(String, NodeId)>) {
        let names = item.names();
        if item.columns.open.is_none() && !names.is_empty() {
            return (names, Vec::new());
        }
        let all = self.graph.made(values);
        self.put(item, "*", all, rows);
        let anywhere = names.iter().map(|name| (name.clone(), all)).collect();
        (names, anywhere)
    }
}

impl Reader<'_> {
    /// Notes that columns of a relation may stand in other places than those of another one that this transaction has
    /// made under its name, or than they did: parts of it may have been taken back.
    pub(super) fn placed_anew(&mut self, name: &str) {
        if self.tracer.env.overlay.has_relation(name) {
            self.statement.made.push(Made::Placed(name.to_owned()));
        }
    }
}

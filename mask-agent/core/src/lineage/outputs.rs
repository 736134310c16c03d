//! What a query returns, column by column.

use super::{
    Origins, Output, Outputs,
    trace::{Query, Tracer},
};

/// What each column that is returned is made of; of columns nobody knows, what any is.
pub(super) fn outputs(tracer: &Tracer<'_>, query: &Query<'_>) -> Outputs {
    let graph = &tracer.graph;
    if query.columns.open.is_some() {
        let mut all = Origins::default();
        for node in query.columns.nodes() {
            all.join(graph.origins(node));
        }
        return Outputs::Each(Box::new(all));
    }
    let columns = query.columns.list.iter();
    Outputs::Columns(
        columns
            .map(|(name, node)| Output { name: name.to_string(), origins: graph.origins(*node) })
            .collect(),
    )
}

impl Origins {
    fn join(&mut self, other: Self) {
        self.columns.extend(other.columns);
        self.views.extend(other.views);
        self.implied.extend(other.implied);
        self.nulls.extend(other.nulls);
        self.mixes |= other.mixes;
        for list in [&mut self.columns, &mut self.views, &mut self.implied, &mut self.nulls] {
            list.sort_unstable();
            list.dedup();
        }
        self.untraceable = self.untraceable.or(other.untraceable);
        self.is_identity = false;
    }
}

//! Functions of extensions that run a text they are given: where the text is a constant, it is read.
//!
//! Only as the extension's own are they known to run nothing else. A text that is put together is nobody's to read.

use pg_query::{NodeEnum, protobuf::Node};

use super::{graph::NodeId, names::literal, trace::Tracer};

impl Tracer<'_> {
    /// What such a function returns: values of the rows of its queries, in whatever order.
    pub(super) fn call_with_text(&mut self, name: &str, arguments: &[Node]) -> Option<NodeId> {
        let queries = queries(name, arguments)?;
        let mut known = self.env.catalog.routines(name).peekable();
        known.peek()?;
        if known.any(|routine| routine.language != "c") || self.env.overlay.has_function(name) {
            return None;
        }
        let mut nodes = Vec::new();
        for sql in queries {
            let parsed = pg_query::parse(&sql, 0).ok()?;
            let [statement] = &*parsed.protobuf.stmts else { return None };
            let Some(NodeEnum::SelectStmt(select)) = statement.stmt.as_deref()?.node.as_ref() else {
                return None;
            };
            if select.into_clause.is_some() {
                return None;
            }
            let path = self.path.clone();
            let (query, _) = self.apart(None, path, |tracer| tracer.select(select));
            nodes.extend(query.columns.nodes());
            nodes.push(query.rows);
        }
        self.facts.needs_literals = true;
        self.facts.calls_user_code = true;
        let node = self.graph.made(nodes);
        self.facts.called.push(node);
        Some(node)
    }
}

/// The queries that a call runs, as the extension puts them together.
fn queries(name: &str, arguments: &[Node]) -> Option<Vec<String>> {
    let texts: Vec<String> = arguments.iter().map(constant).collect::<Option<_>>()?;
    match (name, &*texts) {
        ("crosstab" | "crosstab2" | "crosstab3" | "crosstab4", [source]) => Some(vec![source.clone()]),
        ("crosstab", [source, second]) => {
            let is_number = second.parse::<i32>().is_ok();
            Some([Some(source.clone()), (!is_number).then(|| second.clone())].into_iter().flatten().collect())
        }
        ("xpath_table", [key, document, relation, _, condition]) => {
            Some(vec![format!("SELECT {key}, {document} FROM {relation} WHERE {condition}")])
        }
        _ => None,
    }
}

/// A constant as it is: a cast may cut a text short.
fn constant(node: &Node) -> Option<String> {
    matches!(node.node, Some(NodeEnum::AConst(_))).then(|| literal(node)).flatten()
}

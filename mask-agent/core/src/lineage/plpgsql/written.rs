//! SQL in a body: as it is written, and as the grammar reads it, which is done once.

use std::sync::Arc;

use pg_query::{
    NodeEnum,
    protobuf::{Node, SelectStmt},
};

use crate::lineage::parse;

/// An expression or a statement.
#[derive(Debug, PartialEq)]
pub(in crate::lineage) struct Written {
    pub(in crate::lineage) text: String,
    /// The statement, or that which selects the expression; none where the grammar does not have it.
    pub(in crate::lineage) read: Option<Node>,
}

impl Written {
    /// An expression: `SELECT text` is one query that makes no table.
    pub(super) fn expression(text: &str) -> Option<Arc<Self>> {
        let read = single(&format!("SELECT {text}"))?;
        match read.node.as_ref()? {
            NodeEnum::SelectStmt(select) => reads_only(select)?,
            _ => return None,
        }
        Some(Arc::new(Self { text: text.to_owned(), read: Some(read) }))
    }

    /// An expression that stands elsewhere, or is put together of what was read.
    pub(in crate::lineage) fn joined(text: String) -> Arc<Self> {
        let statements = parse::statements(&format!("SELECT {text}")).ok();
        let first = statements.and_then(|statements| statements.into_iter().next());
        Arc::new(Self { text, read: first.and_then(|raw| raw.stmt).map(|statement| *statement) })
    }

    /// One statement, and no INTO in it that would make a table.
    pub(super) fn statement(text: String) -> Option<Arc<Self>> {
        let read = single(&text)?;
        if let NodeEnum::SelectStmt(select) = read.node.as_ref()? {
            reads_only(select)?;
        }
        Some(Arc::new(Self { text, read: Some(read) }))
    }

    /// The query that it is or that selects it.
    pub(in crate::lineage) fn select(&self) -> Option<&SelectStmt> {
        match self.read.as_ref()?.node.as_ref()? {
            NodeEnum::SelectStmt(select) => Some(select),
            _ => None,
        }
    }
}

fn single(sql: &str) -> Option<Node> {
    let mut parsed = parse::statements(sql).ok()?;
    let only = parsed.pop()?;
    if !parsed.is_empty() {
        return None;
    }
    only.stmt.map(|statement| *statement)
}

/// INTO stands in the first of the queries that a UNION joins.
fn reads_only(select: &SelectStmt) -> Option<()> {
    let mut select = Some(select);
    while let Some(first) = select {
        if first.into_clause.is_some() {
            return None;
        }
        select = first.larg.as_deref();
    }
    Some(())
}

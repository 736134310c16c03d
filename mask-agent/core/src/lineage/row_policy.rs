//! Row-level security: conditions that the server adds to a statement, and that may run functions of users on every row.

use pg_query::NodeEnum;

use super::{
    Untraceable,
    graph::EntryId,
    parse,
    scope::{Columns, Item, Level, VIEW_DEPTH_MAX},
    trace::Tracer,
};
use crate::catalog::Relation;

impl<'a> Tracer<'a> {
    /// What policies ask of a relation's rows, as if the statement asked it: whom they hold for nobody knows here.
    pub(super) fn policies(&mut self, relation: &'a Relation, columns: &Columns<'a>, entry: EntryId) {
        // What a policy says of its own relation holds already.
        if self.holding.contains(&relation.oid) {
            return;
        }
        self.holding.push(relation.oid);
        for policy in &relation.policies {
            let whole = self.graph.made(columns.nodes());
            let item = Item::new(Some(relation.name.to_string()), columns.clone(), whole, entry);
            if !self.holds_rows_to(policy, item) {
                let unknown = self.graph.unknown(Untraceable::UnreadableView);
                let rows = self.graph.rows(entry);
                self.graph.imply(rows, &[unknown]);
            }
        }
        self.holding.pop();
    }

    /// Reads a condition on the rows of a relation: false where it cannot be.
    fn holds_rows_to(&mut self, policy: &str, item: Item<'a>) -> bool {
        if self.depth >= VIEW_DEPTH_MAX || !self.expands(policy) {
            return false;
        }
        // Of an empty one, which could not be read, this is no statement.
        let Ok(statements) = parse::statements(&format!("select where {policy}")) else { return false };
        let statement = statements.first().and_then(|first| first.stmt.as_ref()?.node.as_ref());
        let Some(NodeEnum::SelectStmt(select)) = statement else { return false };
        let rows = self.graph.rows(item.entry);
        self.apart(None, Some(Vec::new()), |tracer| {
            tracer.levels.push(Level { items: vec![item], rows });
            tracer.standing(|tracer| tracer.condition(select.where_clause.as_deref()));
            tracer.levels.pop();
        });
        true
    }
}

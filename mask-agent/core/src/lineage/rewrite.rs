//! What rules do beside a write or in its place, and what a write to a view is put into.
//!
//! A rule's actions are read as the queries they are, with NEW and OLD in scope; a relation's own columns count as
//! written even where a rule stands in place of the write, because `session_replication_role` turns rules off.

use pg_query::{
    NodeEnum,
    protobuf::{CmdType, RuleStmt},
};

use super::{
    ColumnId,
    graph::NodeId,
    parse,
    scope::{Columns, Item, Level, VIEW_DEPTH_MAX},
    trace::Tracer,
};
use crate::catalog::RelationKind;

impl<'a> Tracer<'a> {
    /// Reads what the rules of the target do on this event; what RETURNING shows of a row, where one says so.
    pub(super) fn fire(
        &mut self,
        event: CmdType,
        item: &Item<'a>,
        written: &[(String, NodeId)],
        rows: NodeId,
    ) -> Option<Columns<'a>> {
        let catalog = self.env.catalog;
        let mut returned = None;
        for relation in item.relations.iter().filter_map(|oid| catalog.relation(*oid)) {
            for text in &relation.rules {
                let Some(rule) = created(text) else {
                    self.facts.meets_rules = true;
                    continue;
                };
                if rule.event() != event || self.firing.contains(&(relation.oid, event)) {
                    // The server runs into its own end where a rule comes back to itself.
                    continue;
                }
                if self.depth >= VIEW_DEPTH_MAX || !self.expands(text) {
                    self.facts.meets_rules = true;
                    continue;
                }
                let row = self.new_row(event, item, written, rows);
                self.firing.push((relation.oid, event));
                returned = self.fire_one(&rule, item, row, rows).or(returned);
                self.firing.pop();
            }
        }
        returned
    }

    fn fire_one(
        &mut self,
        rule: &RuleStmt,
        item: &Item<'a>,
        new: Item<'a>,
        rows: NodeId,
    ) -> Option<Columns<'a>> {
        let old = Item { name: Some("old".to_owned()), schema: None, is_open: false, ..item.clone() };
        let before = self.puts.len();
        let (returned, _) = self.apart(None, Some(Vec::new()), |tracer| {
            let level = tracer.graph.made(Vec::new());
            tracer.graph.imply(level, &[rows]);
            tracer.levels.push(Level { items: Vec::new(), rows: level });
            tracer.bring(vec![new, old]);
            tracer.condition(rule.where_clause.as_deref());
            let mut returned = None;
            for action in &rule.actions {
                match action.node.as_ref() {
                    Some(NodeEnum::NotifyStmt(_)) => continue,
                    Some(NodeEnum::SelectStmt(_)) => tracer.facts.answers_by_rule = true,
                    _ => {}
                }
                let query = tracer.any_query(Some(action));
                if !query.columns.nodes().is_empty() {
                    returned = Some(query.columns);
                }
            }
            tracer.levels.pop();
            returned
        });
        // It is done for each row of the statement, even where it takes nothing from it.
        let values: Vec<NodeId> = self.puts[before..].iter().map(|put| put.value).collect();
        for value in values {
            self.graph.imply(value, &[rows]);
        }
        returned
    }

    /// NEW: what is written, and where nothing is, what was there.
    fn new_row(
        &mut self,
        event: CmdType,
        item: &Item<'a>,
        written: &[(String, NodeId)],
        rows: NodeId,
    ) -> Item<'a> {
        // Of an update, it is the same row as OLD.
        let entry = if event == CmdType::CmdUpdate {
            item.entry
        } else {
            let entry = self.graph.entry();
            let entry_rows = self.graph.rows(entry);
            self.graph.imply(entry_rows, &[rows]);
            entry
        };
        let mut columns = Columns { list: Vec::new(), open: item.columns.open };
        for (name, own) in &item.columns.list {
            let mut values: Vec<NodeId> =
                written.iter().filter(|(column, _)| column == name).map(|(_, value)| *value).collect();
            if values.is_empty() && event == CmdType::CmdUpdate {
                values.push(*own);
            }
            if self.is_generated(item, name) {
                values.extend(written.iter().map(|(_, value)| *value));
            }
            columns.list.push((name.clone(), self.graph.column(entry, values)));
        }
        let whole = self.graph.made(columns.nodes());
        let item = Item::new(Some("new".to_owned()), columns, whole, entry);
        Item { is_open: false, ..item }
    }

    /// The target as RETURNING sees it where a rule says what it returns.
    pub(super) fn answered_item(&mut self, seen: Item<'a>, answered: &Columns<'a>) -> Item<'a> {
        let mut seen = seen;
        for (index, (_, node)) in seen.columns.list.iter_mut().enumerate() {
            let more = match (answered.open, answered.list.get(index)) {
                (None, Some((_, more))) => vec![*more],
                _ => answered.nodes(),
            };
            *node = self.graph.copy([&[*node][..], &more].concat());
        }
        seen.whole = self.graph.made([&[seen.whole][..], &answered.nodes()].concat());
        seen
    }

    /// Whether what is written to may be a view.
    pub(super) fn may_be_view(&self, item: &Item<'a>) -> bool {
        let catalog = self.env.catalog;
        let is_view =
            |oid: &u32| catalog.relation(*oid).is_some_and(|known| known.kind == RelationKind::View);
        item.relations.iter().any(is_view) || self.env.overlay.is_view(&item.source.name)
    }

    /// Columns of tables that a column of the target is as it is: a view the server writes through puts values there.
    pub(super) fn written_through(&self, item: &Item<'a>, column: &str) -> Vec<ColumnId> {
        if !self.may_be_view(item) {
            return Vec::new();
        }
        let nodes = match column {
            "*" => item.columns.nodes(),
            name => item.columns.named(name),
        };
        let through =
            nodes.into_iter().map(|node| self.graph.origins(node)).filter(|origins| origins.is_identity);
        through.flat_map(|origins| origins.columns).filter(|column| column.number > 0).collect()
    }
}

/// The statement that makes a rule; none where it could not be read.
fn created(text: &str) -> Option<RuleStmt> {
    match parse::statements(text).ok()?.into_iter().next()?.stmt?.node? {
        NodeEnum::RuleStmt(rule) => Some(*rule),
        _ => None,
    }
}

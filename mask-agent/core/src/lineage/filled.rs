//! Columns that a write fills without naming them: generated ones, those of views, and those that triggers fill.

use super::{
    ColumnId,
    code::code,
    graph::NodeId,
    plpgsql::{Body, Piece},
    scope::Item,
    trace::Tracer,
};
use crate::catalog::Routine;

impl<'a> Tracer<'a> {
    /// Whether a column of a target may be made of what is put into others.
    pub(super) fn is_made_of(&self, item: &Item<'a>, name: &str, written: &[(String, NodeId)]) -> bool {
        self.is_generated(item, name)
            || self.is_filled(item, name)
            || self.may_be_view(item)
                && written.iter().all(|(column, _)| column != name)
                && self.shows_written(item, name, written)
    }

    /// Whether a column of a target is made of the others of its row.
    pub(super) fn is_generated(&self, item: &Item<'a>, name: &str) -> bool {
        let mut known = item.relations.iter().filter_map(|oid| self.env.catalog.relation(*oid));
        known.any(|relation| {
            relation.columns.iter().any(|column| column.name == name && column.generated.is_some())
        }) || self.env.overlay.is_generated(&item.source.name, name)
    }

    /// Whether a view's column is made of a table's that others of its columns are put into, or that is generated.
    fn shows_written(&self, item: &Item<'a>, name: &str, written: &[(String, NodeId)]) -> bool {
        if self.env.overlay.is_view(&item.source.name) {
            return true;
        }
        let put: Vec<ColumnId> =
            written.iter().flat_map(|(column, _)| self.written_through(item, column)).collect();
        let is_generated = |column: &ColumnId| {
            let relation = self.env.catalog.relation(column.relation);
            let mut columns = relation.into_iter().flat_map(|relation| &relation.columns);
            columns.any(|known| known.number == column.number && known.generated.is_some())
        };
        item.columns.named(name).into_iter().map(|node| self.graph.origins(node)).any(|origins| {
            origins.untraceable.is_some()
                || origins.columns.iter().any(|column| {
                    // A whole row has number 0.
                    column.number <= 0 || put.contains(column) || is_generated(column)
                })
        })
    }

    /// Whether a trigger may put something into a column of the row that is written: one that stands there, by the body
    /// it has or has got just now, or one that was made just now.
    fn is_filled(&self, item: &Item<'a>, name: &str) -> bool {
        let (catalog, overlay) = (self.env.catalog, self.env.overlay);
        let reached = catalog.with_heirs(item.relations.clone());
        let relations = reached.iter().filter_map(|oid| catalog.relation(*oid));
        let mut standing = relations.flat_map(|relation| &relation.triggers);
        standing.any(|oid| {
            catalog.routine(*oid).is_none_or(|routine| {
                fills(Some(routine), name) || overlay.bodies(&routine.name).any(|body| fills(body, name))
            })
        }) || overlay.triggers().iter().any(|trigger| {
            let mut known = overlay.bodies(&trigger.function).peekable();
            let stored = known.peek().is_none();
            known.any(|body| fills(body, name))
                || stored && catalog.routines(&trigger.function).any(|routine| fills(Some(routine), name))
        })
    }
}

/// Whether a trigger's function may give a column of NEW a value; what cannot be read may give any.
fn fills(routine: Option<&Routine>, column: &str) -> bool {
    let read = || {
        let routine = routine.filter(|routine| routine.language == "plpgsql")?;
        let code = code(routine.definition.as_deref()?)?;
        Some(fills_by(code.block()?, column))
    };
    read().unwrap_or(true)
}

fn fills_by(body: &Body, column: &str) -> bool {
    let is_meant = |target: &Vec<String>| match target.as_slice() {
        [row, field, ..] if row == "new" => field == column,
        [row] => row == "new",
        _ => false,
    };
    body.pieces.iter().any(|piece| match piece {
        Piece::Assign { target, .. } | Piece::Caught(target) => is_meant(target),
        Piece::Dynamic => true,
        // CALL fills variables that it does not name as such.
        Piece::Query { sql, into, .. } => {
            into.iter().any(is_meant)
                || sql.text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("call"))
        }
        Piece::Return(value) => !["new", "null", "old"].contains(&&*value.text.to_ascii_lowercase()),
        Piece::Loop(_) | Piece::Raise(_) | Piece::Value(_) => false,
    })
}

//! Foreign keys that change the rows that refer to those a statement changes: CASCADE, SET NULL, SET DEFAULT.

use pg_query::{
    NodeEnum,
    protobuf::{self, ConstrType, Constraint, RangeVar},
};

use super::{ColumnId, Made, names::strings, scope::Item, statement::Reader, trace::Tracer};

/// A column of a relation by their names; `*` is any of its columns.
type Place = (String, String);

/// A column that a foreign key of this transaction fills from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Where the values come from.
    pub from: Place,
    /// Where they go.
    pub to: Place,
}

impl Reader<'_> {
    /// Foreign keys of a column.
    pub(super) fn keys_of_column(&mut self, relation: &RangeVar, column: &protobuf::ColumnDef) {
        for constraint in &column.constraints {
            if let Some(NodeEnum::Constraint(constraint)) = constraint.node.as_ref() {
                self.key(relation, constraint, std::slice::from_ref(&column.colname));
            }
        }
    }

    /// A foreign key of a table.
    pub(super) fn key_of_table(&mut self, relation: &RangeVar, constraint: &Constraint) {
        self.key(relation, constraint, &strings(&constraint.fk_attrs));
    }

    fn key(&mut self, relation: &RangeVar, key: &Constraint, columns: &[String]) {
        let passes = |action: &str| matches!(action, "c" | "d" | "n");
        if key.contype() != ConstrType::ConstrForeign
            || !(passes(&key.fk_upd_action) || passes(&key.fk_del_action))
        {
            return;
        }
        let Some(other) = &key.pktable else { return };
        let others = strings(&key.pk_attrs);
        for (at, column) in columns.iter().enumerate() {
            // Without names, it is the primary key.
            let from = others.get(at).cloned().unwrap_or_else(|| "*".to_owned());
            self.statement.made.push(Made::Passed(Passed {
                from: (other.relname.clone(), from),
                to: (relation.relname.clone(), column.clone()),
            }));
        }
    }
}

impl<'a> Tracer<'a> {
    /// Notes that rows are changed or deleted: those that refer to them may be as well, so that code of users is run
    /// for them, and an error quotes them.
    pub(super) fn changes(&mut self, item: &Item<'a>) {
        let (catalog, overlay) = (self.env.catalog, self.env.overlay);
        self.facts.changes_unknown |= item.relations.is_empty() && !overlay.has_relation(&item.source.name);
        let through = self.written_through(item, "*").into_iter().map(|column| column.relation);
        let written: Vec<u32> = through.chain(item.relations.iter().copied()).collect();
        let mut reached = catalog.with_cascades(written);
        let own = reached.iter().filter_map(|oid| catalog.relation(*oid)).map(|known| &*known.name);
        let names = overlay.passed_to(own.chain([&*item.source.name]));
        for name in names {
            let known = self.candidates("", name).into_iter().map(|known| known.oid).collect();
            reached.extend(catalog.with_cascades(known));
        }
        self.facts.written.extend(reached.iter().map(|oid| ColumnId { relation: *oid, number: 0 }));
        self.runs_triggers(reached);
    }
}

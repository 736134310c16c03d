//! Writes to the server's own catalogs, whose rows are what names and definitions mean: statements behind it would be
//! ruled on by what they meant before.

use pg_query::{NodeEnum, protobuf::Node};

use super::{Origins, Refusal, Statement, WriteTarget, scope::Item, trace::Tracer};
use crate::catalog::{Catalog, Relation};

/// What programs do set, and columns of it: who may connect to a database, and copy it. They say nothing of what is in it.
const HARMLESS: (&str, [&str; 3]) = ("pg_database", ["datallowconn", "datconnlimit", "datistemplate"]);

/// A write to a catalog.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    /// Its name, with the schema.
    relation: String,
    /// It sets what is harmless, and nothing else.
    is_harmless: bool,
}

impl<'a> Tracer<'a> {
    /// Notes a write to a catalog, through views as well; `set` is what an UPDATE sets.
    pub(super) fn rewrites(&mut self, item: &Item<'a>, set: &[Node]) {
        let catalog = self.env.catalog;
        let through = self.written_through(item, "*").into_iter().map(|column| column.relation);
        let mut written: Vec<u32> = through.chain(item.relations.iter().copied()).collect();
        if written.len() == item.relations.len() && self.may_be_view(item) {
            // Rows of a view that shows no column as it is can be deleted all the same.
            let shown = item.columns.nodes().into_iter().flat_map(|node| self.graph.drawn(node).columns);
            written.extend(shown.map(|column| column.relation));
        }
        let mut written = written.iter().filter_map(|oid| catalog.relation(*oid));
        let Some(relation) = written.find(|relation| is_catalog(relation)) else { return };
        let name = |target: &Node| match target.node.as_ref() {
            Some(NodeEnum::ResTarget(target)) => HARMLESS.1.contains(&&*target.name),
            _ => false,
        };
        let is_harmless = relation.name == *HARMLESS.0 && !set.is_empty() && set.iter().all(name);
        if self.facts.rewrites.as_ref().is_none_or(|known| known.is_harmless) {
            let relation = format!("{}.{}", relation.schema, relation.name);
            self.facts.rewrites = Some(Rewrite { relation, is_harmless });
        }
    }
}

/// Settings are written to by a rule, and read for what they set.
fn is_catalog(relation: &Relation) -> bool {
    let schema = &*relation.schema;
    let is_system = matches!(schema, "information_schema" | "pg_catalog") || schema.starts_with("pg_toast");
    is_system && relation.name != *"pg_settings"
}

/// Why a statement that writes to a catalog is not sent: what is put there may tell no masked value either, because
/// other databases show it.
pub(super) fn refusal(
    rewrite: &Rewrite,
    statement: &Statement,
    catalog: &Catalog,
    tells: impl Fn(&Origins) -> bool,
) -> Option<Refusal> {
    let is_catalog = |target: &WriteTarget| match target {
        WriteTarget::Column(column) => catalog.relation(column.relation).is_some_and(is_catalog),
        WriteTarget::New { .. } => false,
    };
    let mut writes = statement.writes.iter();
    let mut tells = || writes.any(|write| is_catalog(&write.target) && tells(&write.origins));
    (!rewrite.is_harmless || tells()).then(|| Refusal {
        code: "catalog-write",
        message: format!("writing to {} is refused, because it changes definitions unseen", rewrite.relation),
        hint: "Use CREATE, ALTER or DROP, or let an operator make the change past mask-agent.",
    })
}

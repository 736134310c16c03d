//! Partitioned tables: a row lies where its key says, so that a partition's name, rows and size tell of the value.

use pg_query::{NodeEnum, protobuf::PartitionSpec};

use super::{
    ColumnId, Env, Origins, Refusal,
    trace::{Put, Target, Tracer},
};
use crate::catalog::{Relation, RelationKind};

/// Any column.
pub(super) const ANY: &str = "*";

/// Names of the columns of a partition key; of an expression, any.
pub(super) fn key(spec: &PartitionSpec) -> Vec<String> {
    let name = |node: &pg_query::protobuf::Node| match node.node.as_ref() {
        Some(NodeEnum::PartitionElem(element)) if !element.name.is_empty() => element.name.clone(),
        _ => ANY.to_owned(),
    };
    spec.part_params.iter().map(name).collect()
}

/// Why a statement that lets masked values say in which partition rows lie is not sent.
pub(super) fn refusal(tracer: &Tracer<'_>, is_masked: impl Fn(ColumnId) -> bool) -> Option<Refusal> {
    let tells = |origins: &Origins| origins.untraceable.is_some() || origins.all().any(&is_masked);
    // What only says which rows are left is no value.
    let is_value = |put: &Put| put.value != put.given;
    let routes = |put: &&Put| {
        is_value(put)
            && may_lie_apart(tracer.env, &put.target)
            && tells(&tracer.graph.origins(put.value))
            && !stays(tracer, put)
    };
    let mut relations = tracer.puts.iter().filter(routes).filter_map(|put| routed(tracer.env, &put.target));
    relations.next().map(|relation| Refusal {
        code: "write-from-sensitive",
        message: format!("writing values of masked columns into the partition key of {relation} is refused"),
        hint: "Partition the table by columns that are given no masked values.",
    })
}

/// Whether rows of a relation may lie in partitions, by a look at it alone.
fn may_lie_apart(env: &Env<'_>, target: &Target) -> bool {
    let Target::Column(target) = target else { return true };
    let is_plain =
        |relation: &Relation| relation.partition_key.is_empty() && relation.kind == RelationKind::Table;
    let is_known = env.catalog.relation(target.relation).is_some_and(is_plain);
    !is_known || !env.catalog.heirs(target.relation).is_empty() || !env.overlay.is_empty()
}

/// Whether a value is that of the same column: it lies where it lay.
fn stays(tracer: &Tracer<'_>, put: &Put) -> bool {
    let Target::Column(target) = put.target else { return false };
    let given = tracer.graph.origins(put.given);
    given.is_identity && *given.columns == [target] && given.untraceable.is_none()
}

/// The table that is partitioned by a column, or has partitions that are.
fn routed(env: &Env<'_>, target: &Target) -> Option<String> {
    let (relations, names, column) = match target {
        Target::Column(target) => {
            let relation = env.catalog.relation(target.relation)?;
            let known = relation.columns.iter().find(|known| known.number == target.number);
            let column = known.map_or(ANY, |known| &*known.name);
            (env.catalog.with_heirs(vec![target.relation]), vec![relation.name.to_string()], column)
        }
        Target::New { relation, column } => {
            let known = env.catalog.named(None, &relation.name).map(|known| known.oid).collect();
            (env.catalog.with_heirs(known), vec![relation.name.clone()], column.as_str())
        }
    };
    let relations = relations.iter().filter_map(|oid| env.catalog.relation(*oid));
    let is_key = |name: &str| name == ANY || column == ANY || name == column;
    let mut known = relations.clone().filter(|relation| {
        relation.partition_key.iter().any(|number| {
            let key = relation.columns.iter().find(|known| known.number == *number);
            is_key(key.map_or(ANY, |key| &key.name))
        })
    });
    if let Some(relation) = known.next() {
        return Some(format!("{}.{}", relation.schema, relation.name));
    }
    let names: Vec<String> =
        names.into_iter().chain(relations.map(|relation| relation.name.to_string())).collect();
    // Through a view, a column may have any name.
    let is_view = names.iter().any(|name| env.overlay.is_view(name));
    let mut behind = env.overlay.with_behind(names).into_iter();
    behind.find(|name| env.overlay.keys(name).any(|key| is_view || is_key(key)))
}

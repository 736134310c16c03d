//! Foreign tables: what is put there leaves for another server, whatever table it was given to, and what they show may be
//! the rows of this very database under other names.

use pg_query::{
    NodeEnum,
    protobuf::{AlterTableCmd, AlterTableType, Node, ObjectType, RangeVar},
};

use super::{ColumnId, Env, Origins, Refusal, Write, WriteTarget};
use crate::catalog::RelationKind;

/// What a name or a number stands for.
#[derive(PartialEq, Eq)]
enum Place {
    Known(u32),
    Named(String),
}

/// What tells of masked values and may be put into a foreign table.
pub(super) fn abroad(env: &Env<'_>, writes: &[Write], is_masked: &dyn Fn(ColumnId) -> bool) -> Vec<Origins> {
    let tells = |origins: &Origins| origins.untraceable.is_some() || origins.all().any(is_masked);
    let leaving = writes.iter().filter(|write| tells(&write.origins) && leads_abroad(env, &write.target));
    leaving.map(|write| write.origins.clone()).collect()
}

/// Whether a table is a foreign one, or has one among its children and partitions.
fn leads_abroad(env: &Env<'_>, target: &WriteTarget) -> bool {
    let mut places = vec![match target {
        WriteTarget::Column(column) => Place::Known(column.relation),
        WriteTarget::New { relation, .. } => Place::Named(relation.clone()),
    }];
    let mut at = 0;
    while let Some(place) = places.get(at) {
        let mut next = Vec::new();
        let name = match place {
            Place::Known(oid) => {
                let relation = env.catalog.relation(*oid);
                if relation.is_some_and(|relation| relation.kind == RelationKind::Foreign) {
                    return true;
                }
                next.extend(env.catalog.heirs(*oid).iter().copied().map(Place::Known));
                relation.map(|relation| relation.name.to_string()).unwrap_or_default()
            }
            Place::Named(name) => {
                next.extend(env.catalog.named(None, name).map(|relation| Place::Known(relation.oid)));
                name.clone()
            }
        };
        if env.overlay.is_foreign(&name) {
            return true;
        }
        next.extend(env.overlay.children(&name).map(|child| Place::Named(child.to_owned())));
        next.retain(|place| !places.contains(place));
        places.extend(next);
        at += 1;
    }
    false
}

/// Why a statement that says what foreign tables show is not sent.
pub(super) fn refusal(kind: &NodeEnum, env: &Env<'_>) -> Option<Refusal> {
    let is_foreign = |relation: Option<&RangeVar>| {
        relation.is_some_and(|relation| {
            let mut known = env.catalog.named(None, &relation.relname);
            let is_known = known.any(|known| known.kind == RelationKind::Foreign);
            let others = env.overlay.others(&relation.relname).iter();
            let mut others = others.filter_map(|oid| env.catalog.relation(*oid));
            is_known
                || others.any(|other| other.kind == RelationKind::Foreign)
                || env.overlay.is_foreign(&relation.relname)
        })
    };
    let tells = match kind {
        NodeEnum::AlterFdwStmt(_)
        | NodeEnum::AlterForeignServerStmt(_)
        | NodeEnum::AlterUserMappingStmt(_)
        | NodeEnum::CreateFdwStmt(_)
        | NodeEnum::CreateForeignServerStmt(_)
        | NodeEnum::CreateForeignTableStmt(_)
        | NodeEnum::CreateUserMappingStmt(_)
        | NodeEnum::ImportForeignSchemaStmt(_) => true,
        NodeEnum::AlterTableStmt(alter) => {
            alter.cmds.iter().any(sets_options)
                || is_foreign(alter.relation.as_ref()) && alter.cmds.iter().any(adds_column)
        }
        NodeEnum::AlterObjectSchemaStmt(moved) => is_foreign(moved.relation.as_ref()),
        NodeEnum::RenameStmt(rename) => {
            rename.rename_type() != ObjectType::ObjectTabconstraint && is_foreign(rename.relation.as_ref())
        }
        _ => false,
    };
    tells.then(|| Refusal {
        code: "hidden-flow",
        message:
            "this definition is refused, because a foreign table may show masked columns under other names"
                .to_owned(),
        hint: "Let an operator make it past mask-agent.",
    })
}

fn command(node: &Node) -> Option<&AlterTableCmd> {
    match node.node.as_ref()? {
        NodeEnum::AlterTableCmd(command) => Some(command),
        _ => None,
    }
}

/// Where its options do not say otherwise, a column is called on its server as it is here.
fn adds_column(node: &Node) -> bool {
    command(node).is_some_and(|command| command.subtype() == AlterTableType::AtAddColumn)
}

fn sets_options(node: &Node) -> bool {
    let options = [AlterTableType::AtAlterColumnGenericOptions, AlterTableType::AtGenericOptions];
    command(node).is_some_and(|command| options.contains(&command.subtype()))
}

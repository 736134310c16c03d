//! Definitions by which no value moves, as migrations make them in blocks that catch that they are there.

use pg_query::{
    NodeEnum,
    protobuf::{
        AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, CreateSchemaStmt, IndexStmt,
        Node, RangeVar,
    },
};

use super::{
    cast::is_built_in_type,
    extensions::leaves_names,
    names::{self, literal},
    trace::Tracer,
};

impl Tracer<'_> {
    /// Whether a block may make it; what it asks of rows, and may quote of them, is noted.
    pub(super) fn defines_no_flow(&mut self, kind: &NodeEnum) -> bool {
        match kind {
            NodeEnum::AlterDefaultPrivilegesStmt(_)
            | NodeEnum::CommentStmt(_)
            | NodeEnum::CreateEnumStmt(_)
            | NodeEnum::CreateRoleStmt(_)
            | NodeEnum::CreateSeqStmt(_)
            | NodeEnum::GrantRoleStmt(_)
            | NodeEnum::GrantStmt(_) => {}
            NodeEnum::AlterEnumStmt(alter) if alter.old_val.is_empty() => {}
            NodeEnum::AlterTableStmt(alter) if is_plain_change(alter) => {
                if alter.cmds.iter().any(reads_rows) {
                    self.may_quote_rows(alter.relation.as_ref());
                    self.checked_by(kind);
                }
            }
            NodeEnum::CreateExtensionStmt(create) if leaves_names(&create.extname) => {}
            NodeEnum::CreateSchemaStmt(CreateSchemaStmt { schema_elts, .. }) if schema_elts.is_empty() => {}
            NodeEnum::IndexStmt(index) if is_plain_index(index) => {
                self.may_quote_rows(index.relation.as_ref());
                self.checked_by(kind);
            }
            _ => return false,
        }
        // That it is there is seen by all.
        self.leaves_trace(&[]);
        self.facts.defines = true;
        self.facts.defined.push(kind.clone());
        true
    }

    /// The error of a row that does not fit quotes its key.
    fn may_quote_rows(&mut self, relation: Option<&RangeVar>) {
        if let Some(relation) = relation {
            let rows = self.range_var(relation).whole;
            self.facts.named.push(rows);
        }
    }
}

fn command(node: &Node) -> Option<&AlterTableCmd> {
    match node.node.as_ref()? {
        NodeEnum::AlterTableCmd(command) => Some(command),
        _ => None,
    }
}

/// Whether nothing is computed by it.
fn is_plain_change(alter: &AlterTableStmt) -> bool {
    alter.cmds.iter().filter_map(command).count() == alter.cmds.len()
        && alter.cmds.iter().all(|node| {
            let subtype = command(node).map(AlterTableCmd::subtype);
            adds_plain_column(node)
                || adds_key(node)
                || matches!(
                    subtype,
                    Some(
                        AlterTableType::AtDropConstraint
                            | AlterTableType::AtDropNotNull
                            | AlterTableType::AtEnableRowSecurity
                            | AlterTableType::AtSetNotNull
                    )
                )
        })
}

fn reads_rows(node: &Node) -> bool {
    let reads = [AlterTableType::AtAddConstraint, AlterTableType::AtSetNotNull];
    command(node).is_some_and(|command| reads.contains(&command.subtype()))
}

/// Of columns as they are.
fn is_plain_index(index: &IndexStmt) -> bool {
    let is_column = |node: &Node| match node.node.as_ref() {
        Some(NodeEnum::IndexElem(key)) => key.expr.is_none() && key.opclass.is_empty(),
        _ => false,
    };
    index.where_clause.is_none() && index.index_params.iter().all(is_column)
}

fn adds_plain_column(command: &Node) -> bool {
    let Some(NodeEnum::AlterTableCmd(command)) = &command.node else { return false };
    match command.def.as_deref().and_then(|definition| definition.node.as_ref()) {
        Some(NodeEnum::ColumnDef(added)) => {
            command.subtype() == AlterTableType::AtAddColumn && is_plain(added)
        }
        _ => false,
    }
}

/// Whether a column that is added holds NULL or a constant: a domain may have a default of its own.
pub(super) fn is_plain(added: &ColumnDef) -> bool {
    let is_own = names::type_name(added.type_name.as_ref()).is_some_and(is_built_in_type);
    is_own
        && added.constraints.iter().all(|constraint| match constraint.node.as_ref() {
            Some(NodeEnum::Constraint(constraint)) => match constraint.contype() {
                ConstrType::ConstrNotnull | ConstrType::ConstrNull => true,
                ConstrType::ConstrDefault => constraint.raw_expr.as_deref().and_then(literal).is_some(),
                _ => false,
            },
            _ => false,
        })
}

/// A foreign key that does not pass updates on, or a key of columns as they are.
fn adds_key(command: &Node) -> bool {
    let Some(NodeEnum::AlterTableCmd(command)) = &command.node else { return false };
    match command.def.as_deref().and_then(|definition| definition.node.as_ref()) {
        Some(NodeEnum::Constraint(added)) => {
            command.subtype() == AlterTableType::AtAddConstraint
                && match added.contype() {
                    ConstrType::ConstrForeign => matches!(&*added.fk_upd_action, "" | "a" | "r"),
                    ConstrType::ConstrPrimary | ConstrType::ConstrUnique => true,
                    _ => false,
                }
        }
        _ => false,
    }
}

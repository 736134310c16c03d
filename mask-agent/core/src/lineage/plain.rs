//! Definitions by which no value moves, as migrations make them in blocks that catch that they are there.

use pg_query::{
    NodeEnum,
    protobuf::{
        AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, CreateSchemaStmt, CreateStmt,
        IndexStmt, Node, RangeVar,
    },
};

use super::{
    cast::is_built_in_type,
    extensions::leaves_names,
    names::{self, literal},
    trace::Tracer,
};

/// Types that a table is made with, and columns are not added with.
const SERIAL: [&str; 6] = ["bigserial", "serial", "serial2", "serial4", "serial8", "smallserial"];

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
            NodeEnum::CreateStmt(create) if makes_plain_table(create) => {}
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
    has_own_type(added) && added.constraints.iter().all(holds_constant)
}

/// Whether it is of a type of the server's own.
fn has_own_type(column: &ColumnDef) -> bool {
    let Some(name) = &column.type_name else { return false };
    let schema = name.names.len().checked_sub(2).and_then(|at| names::text(&name.names[at]));
    schema.is_none_or(|schema| schema == "pg_catalog")
        && names::type_name(Some(name)).is_some_and(is_built_in_type)
}

/// Whether a column is as it is, or a constant, by a constraint.
fn holds_constant(constraint: &Node) -> bool {
    let Some(NodeEnum::Constraint(constraint)) = &constraint.node else { return false };
    match constraint.contype() {
        ConstrType::ConstrNotnull | ConstrType::ConstrNull => true,
        ConstrType::ConstrDefault => constraint.raw_expr.as_deref().and_then(literal).is_some(),
        _ => false,
    }
}

/// Whether it is a table of its own, empty, in which nothing is computed.
fn makes_plain_table(create: &CreateStmt) -> bool {
    let CreateStmt { relation, table_elts, inh_relations, partspec, of_typename, access_method, .. } = create;
    relation.is_some()
        && inh_relations.is_empty()
        && partspec.is_none()
        && of_typename.is_none()
        && access_method.is_empty()
        && table_elts.iter().all(|element| match element.node.as_ref() {
            Some(NodeEnum::ColumnDef(column)) => is_plain_in_new(column),
            Some(NodeEnum::Constraint(constraint)) => {
                matches!(constraint.contype(), ConstrType::ConstrPrimary | ConstrType::ConstrUnique)
            }
            _ => false,
        })
}

/// As [`is_plain`], and what only a new table may have: keys, and numbers of a sequence.
fn is_plain_in_new(column: &ColumnDef) -> bool {
    let is_of_new = |constraint: &&Node| match constraint.node.as_ref() {
        Some(NodeEnum::Constraint(constraint)) => matches!(
            constraint.contype(),
            ConstrType::ConstrIdentity | ConstrType::ConstrPrimary | ConstrType::ConstrUnique
        ),
        _ => false,
    };
    let is_serial = column.type_name.as_ref().is_some_and(|name| match name.names.as_slice() {
        // A name of these without a schema is the server's, whatever else is called so.
        [name] => names::text(name).is_some_and(|name| SERIAL.contains(&name)),
        _ => false,
    });
    (is_serial || has_own_type(column))
        && column.constraints.iter().all(|node| is_of_new(&node) || holds_constant(node))
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

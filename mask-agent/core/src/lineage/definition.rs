//! Statements that change definitions and settings: what names mean after them.

use std::sync::Arc;

use pg_query::{
    NodeEnum,
    protobuf::{self, ObjectType},
};

use super::{
    Made, Origins,
    facts::Name,
    names::{literal, qualified},
    overlay::Trigger,
    routine,
    statement::Reader,
    utility,
};

impl Reader<'_> {
    pub(super) fn sets_path(&mut self, set: &protobuf::VariableSetStmt) {
        // `"$user"` in the path is another schema for another role.
        let role = matches!(&*set.name, "role" | "session_authorization");
        if role || set.name.is_empty() {
            self.statement.sets_path = Some(None);
            return;
        }
        if set.name != "search_path" {
            return;
        }
        let values: Option<Vec<String>> = set.args.iter().map(literal).collect();
        let path = values.filter(|values| !values.is_empty() && !set.is_local).and_then(|values| {
            let known = !values.iter().any(|schema| schema == "$user");
            known.then(|| values.into_iter().filter(|schema| !schema.is_empty()).collect())
        });
        self.statement.sets_path = Some(path);
    }

    /// What the rest of the transaction may find changed.
    pub(super) fn made_by(&mut self, kind: &NodeEnum) {
        let made = match kind {
            NodeEnum::CreateStmt(create) => {
                let plain = create.inh_relations.is_empty() && create.of_typename.is_none();
                let mut columns = Vec::new();
                for element in &create.table_elts {
                    match element.node.as_ref() {
                        Some(NodeEnum::ColumnDef(column)) => {
                            columns.push((column.colname.clone(), Origins::constant()));
                        }
                        Some(NodeEnum::Constraint(_)) => {}
                        _ => {
                            self.unknown(create.relation.as_ref());
                            return;
                        }
                    }
                }
                let name = create.relation.as_ref().map(|name| name.relname.clone()).unwrap_or_default();
                for parent in &create.inh_relations {
                    if let Some(NodeEnum::RangeVar(parent)) = parent.node.as_ref() {
                        let (relation, parent) = (name.clone(), parent.relname.clone());
                        self.statement.made.push(Made::Child { relation, parent });
                    }
                }
                if plain { Made::Relation { name, columns } } else { Made::Unknown(name) }
            }
            NodeEnum::ViewStmt(view) => {
                let query = self.tracer.any_query(view.query.as_deref());
                let relation = view
                    .view
                    .as_ref()
                    .map(|view| Name { schema: view.schemaname.clone(), name: view.relname.clone() });
                let relation = relation.unwrap_or_default();
                let before = self.tracer.puts.len();
                self.tracer.make(&relation, &view.aliases, &query);
                // A view keeps nothing; only what it shows matters, and that while nobody else knows it.
                self.views = self.tracer.puts.split_off(before);
                Made::Relation { name: relation.name, columns: Vec::new() }
            }
            NodeEnum::AlterTableStmt(alter) => return self.altered(alter),
            NodeEnum::RenameStmt(rename) => {
                self.unknown(rename.relation.as_ref());
                if rename.relation.is_none()
                    || !matches!(
                        rename.rename_type(),
                        ObjectType::ObjectColumn
                            | ObjectType::ObjectTable
                            | ObjectType::ObjectView
                            | ObjectType::ObjectMatview
                            | ObjectType::ObjectIndex
                            | ObjectType::ObjectSequence
                            | ObjectType::ObjectTabconstraint
                    )
                {
                    Made::Renamed
                } else {
                    Made::Unknown(rename.newname.clone())
                }
            }
            NodeEnum::CreateFunctionStmt(create) => {
                let body = routine::made(create, self.tracer.env.overlay.next_oid());
                let body = body.filter(super::body::is_followed).map(Arc::new);
                Made::Function { name: qualified(&create.funcname).1, body }
            }
            NodeEnum::CreateTrigStmt(create) => {
                let relation = create.relation.clone().unwrap_or_default();
                let function = qualified(&create.funcname).1;
                Made::Trigger(Trigger { schema: relation.schemaname, relation: relation.relname, function })
            }
            NodeEnum::CreateForeignTableStmt(create) => {
                let relation = create.base_stmt.as_ref().and_then(|base| base.relation.as_ref());
                return self.unknown(relation);
            }
            NodeEnum::AlterObjectSchemaStmt(moved) => {
                self.unknown(moved.relation.as_ref());
                Made::Renamed
            }
            NodeEnum::AlterDomainStmt(_) | NodeEnum::CreateDomainStmt(_) => {
                if !utility::calls_users(kind, self.tracer.env) {
                    return;
                }
                Made::Anything
            }
            NodeEnum::CreateCastStmt(_)
            | NodeEnum::CreateExtensionStmt(_)
            | NodeEnum::AlterExtensionStmt(_)
            | NodeEnum::ImportForeignSchemaStmt(_)
            | NodeEnum::DefineStmt(_) => Made::Anything,
            _ => return,
        };
        self.statement.made.push(made);
    }

    fn unknown(&mut self, relation: Option<&protobuf::RangeVar>) {
        if let Some(relation) = relation {
            self.statement.made.push(Made::Unknown(relation.relname.clone()));
        }
    }

    /// New columns hold nothing yet; what else ALTER TABLE does is not followed.
    fn altered(&mut self, alter: &protobuf::AlterTableStmt) {
        use protobuf::AlterTableType::{
            AtAddColumn, AtAddConstraint, AtColumnDefault, AtDropNotNull, AtSetNotNull,
        };
        let mut columns = Vec::new();
        for command in &alter.cmds {
            let Some(NodeEnum::AlterTableCmd(command)) = command.node.as_ref() else { continue };
            match command.def.as_deref().and_then(|def| def.node.as_ref()) {
                // One of the two shows the rows of the other from now on.
                Some(NodeEnum::RangeVar(other)) => self.unknown(Some(other)),
                Some(NodeEnum::PartitionCmd(attached)) => self.unknown(attached.name.as_ref()),
                _ => {}
            }
            match (command.subtype(), command.def.as_deref().and_then(|def| def.node.as_ref())) {
                (AtAddColumn, Some(NodeEnum::ColumnDef(column))) => {
                    columns.push((column.colname.clone(), Origins::constant()));
                }
                (AtAddConstraint | AtColumnDefault | AtDropNotNull | AtSetNotNull, _) => {}
                _ => return self.unknown(alter.relation.as_ref()),
            }
        }
        if let (Some(relation), false) = (&alter.relation, columns.is_empty()) {
            self.statement.made.push(Made::Relation { name: relation.relname.clone(), columns });
        }
    }
}

//! Tables that are made and altered: under which name which column is found then, and what is in it.
//!
//! What is not followed makes the table one of which nothing is known until a snapshot knows it.

use pg_query::{
    NodeEnum,
    protobuf::{self, AlterTableType, ConstrType, DropBehavior, ObjectType, RangeVar},
};

use super::{
    ADDED, ColumnId, Made, Origins,
    facts::Name,
    names::qualified,
    narrow::{is_narrow_column, is_narrow_known},
    plain::is_plain,
    routed,
    scope::{Item, Level},
    statement::Reader,
    trace::{Put, Target, Tracer},
};
use crate::catalog::{Relation, TypeShape};

impl<'a> Reader<'a> {
    /// A table that is made: its columns are empty.
    pub(super) fn created(&mut self, create: &protobuf::CreateStmt) {
        let relation = create.relation.clone().unwrap_or_default();
        let name = relation.relname.clone();
        self.placed_anew(&name);
        self.child(&name, &create.inh_relations);
        if let Some(spec) = &create.partspec {
            let (relation, key) = (name.clone(), routed::key(spec));
            self.statement.made.push(Made::Partitioned { relation, key });
        }
        let mut columns = Vec::new();
        let mut generated = Vec::new();
        let mut is_known = create.of_typename.is_none();
        for parent in &create.inh_relations {
            if let Some(NodeEnum::RangeVar(parent)) = parent.node.as_ref() {
                is_known &= self.takes_over(parent, &mut columns, &mut generated);
            }
        }
        for element in &create.table_elts {
            match element.node.as_ref() {
                Some(NodeEnum::ColumnDef(column)) => {
                    self.collated(&relation, column);
                    if is_generated(column) {
                        generated.push(column.colname.clone());
                    }
                    self.keys_of_column(&relation, column);
                    self.is_narrow(column);
                    columns.push((column.colname.clone(), Origins::constant()));
                }
                Some(NodeEnum::Constraint(constraint)) => self.key_of_table(&relation, constraint),
                Some(NodeEnum::TableLikeClause(like)) => {
                    let other = like.relation.clone().unwrap_or_default();
                    is_known &= self.takes_over(&other, &mut columns, &mut generated);
                }
                _ => is_known = false,
            }
        }
        if !is_known {
            self.statement.made.push(Made::Unknown(name));
            return;
        }
        for column in generated {
            self.statement.made.push(Made::Generated { relation: name.clone(), column });
        }
        self.statement.made.push(Made::Relation { name, columns });
    }

    /// Different values may be equal in a column, by its collation.
    fn collated(&mut self, relation: &RangeVar, column: &protobuf::ColumnDef) {
        if column.coll_clause.as_deref().is_some_and(|collate| self.tracer.loosens(collate)) {
            self.statement.made.push(Made::Loose(relation.relname.clone()));
        }
    }

    /// Adds the columns of another relation where a table takes them over; false where they are not known.
    fn takes_over(
        &mut self,
        other: &RangeVar,
        columns: &mut Vec<(String, Origins)>,
        generated: &mut Vec<String>,
    ) -> bool {
        let Some(taken) = self.empty_as(other) else { return false };
        for (column, is_generated) in taken {
            if is_generated {
                generated.push(column.clone());
            }
            columns.push((column, Origins::constant()));
        }
        true
    }

    /// Columns of a relation as another one takes them over, and which of them are made of others; `None` where they are
    /// not known, or code of users fills them.
    fn empty_as(&mut self, other: &RangeVar) -> Option<Vec<(String, bool)>> {
        let item = self.tracer.relation_item(&other.schemaname, &other.relname);
        let catalog = self.tracer.env.catalog;
        let known: Vec<&Relation> = item.relations.iter().filter_map(|oid| catalog.relation(*oid)).collect();
        let filled = known.iter().flat_map(|known| &known.columns).any(|column| column.default.is_some());
        if item.columns.open.is_some() || filled || self.tracer.env.overlay.is_unknown(&other.relname) {
            return None;
        }
        let narrow = known.iter().flat_map(|known| &known.columns).filter(|column| is_narrow_known(column));
        let narrow: Vec<Made> = narrow.map(|column| Made::Narrow(column.name.to_string())).collect();
        self.statement.made.extend(narrow);
        let is_generated = |name: &str| {
            let mut columns = known.iter().flat_map(|known| &known.columns);
            columns.any(|column| column.name == *name && column.generated.is_some())
                || self.tracer.env.overlay.is_generated(&other.relname, name)
        };
        Some(item.names().into_iter().map(|name| (name.clone(), is_generated(&name))).collect())
    }

    /// Notes that a column keeps only a part of what is put into it.
    fn is_narrow(&mut self, column: &protobuf::ColumnDef) {
        if is_narrow_column(column) {
            self.statement.made.push(Made::Narrow(column.colname.clone()));
        }
    }

    /// What a view reads may be filled after it is made.
    pub(super) fn reads_later(&mut self, view: Option<&RangeVar>) {
        let Some(view) = view else { return };
        let mut reads: Vec<String> =
            self.tracer.facts.relations.iter().map(|relation| relation.name.clone()).collect();
        reads.sort_unstable();
        reads.dedup();
        self.statement.made.push(Made::View { name: view.relname.clone(), reads });
    }

    /// Another name for something.
    pub(super) fn renamed(&mut self, rename: &protobuf::RenameStmt) {
        let Some(relation) = &rename.relation else {
            return self.renamed_beside(rename);
        };
        match rename.rename_type() {
            ObjectType::ObjectTable
            | ObjectType::ObjectForeignTable
            | ObjectType::ObjectMatview
            | ObjectType::ObjectView => self.moved(relation, &rename.newname),
            ObjectType::ObjectColumn => self.column_renamed(relation, &rename.subname, &rename.newname),
            // What they are called is nobody's business but who drops them.
            ObjectType::ObjectPolicy
            | ObjectType::ObjectRule
            | ObjectType::ObjectTabconstraint
            | ObjectType::ObjectTrigger => {}
            ObjectType::ObjectIndex | ObjectType::ObjectSequence => {
                self.unknown(Some(relation));
                self.statement.made.push(Made::Unknown(rename.newname.clone()));
            }
            _ => {
                self.unknown(Some(relation));
                self.statement.made.push(Made::Renamed);
            }
        }
    }

    /// Another name for what is no relation.
    fn renamed_beside(&mut self, rename: &protobuf::RenameStmt) {
        match rename.rename_type() {
            ObjectType::ObjectSchema => {
                let (from, name) = (rename.subname.clone(), rename.newname.clone());
                self.statement.made.push(Made::Schema { from, name });
            }
            ObjectType::ObjectDomconstraint
            | ObjectType::ObjectEventTrigger
            | ObjectType::ObjectPublication
            | ObjectType::ObjectStatisticExt
            | ObjectType::ObjectTsconfiguration
            | ObjectType::ObjectTsdictionary => return,
            ObjectType::ObjectType if self.is_enum(rename.object.as_deref()) => {
                self.statement.made.push(Made::Type(rename.newname.clone()));
                return;
            }
            _ => {}
        }
        self.statement.made.push(Made::Renamed);
    }

    /// Whether a name means enumerations only, and their new name nothing else.
    fn is_enum(&self, object: Option<&protobuf::Node>) -> bool {
        let Some(NodeEnum::List(names)) = object.and_then(|object| object.node.as_ref()) else {
            return false;
        };
        let (_, name) = qualified(&names.items);
        let (catalog, overlay) = (self.tracer.env.catalog, self.tracer.env.overlay);
        let types = catalog.types_named(&name);
        let are_enums =
            types.iter().all(|oid| matches!(catalog.declared_shape(*oid), Some(TypeShape::Enum(_))));
        are_enums && (!types.is_empty() || overlay.makes_type(&name))
    }

    /// A relation under another name, or in another schema. Where it was, another one may be found.
    pub(super) fn moved(&mut self, relation: &RangeVar, name: &str) {
        let from = relation.relname.clone();
        let known = self.tracer.candidates(&relation.schemaname, &from);
        let overlay = self.tracer.env.overlay;
        if overlay.is_foreign(&from) {
            self.statement.made.push(Made::Foreign(name.to_owned()));
        }
        if overlay.is_unknown(&from) || known.is_empty() && !overlay.has_relation(&from) {
            self.statement.made.extend([Made::Unknown(from), Made::Unknown(name.to_owned())]);
            return;
        }
        let relations = known.iter().map(|known| known.oid).collect();
        let moved = Made::Moved { from: from.clone(), name: name.to_owned(), relations };
        self.statement.made.extend([moved, Made::Dropped(Some(from))]);
    }

    /// A column under another name, in the tables that inherit it as well.
    fn column_renamed(&mut self, relation: &RangeVar, from: &str, name: &str) {
        let overlay = self.tracer.env.overlay;
        let of = relation.relname.clone();
        let item = self.tracer.relation_item(&relation.schemaname, &of);
        let is_known = !overlay.is_unknown(&of) && !item.columns.named(from).is_empty();
        // Tables of this transaction that inherit from it are not followed.
        let children: Vec<String> = overlay.children(&of).map(ToOwned::to_owned).collect();
        self.statement.made.extend(children.into_iter().map(Made::Unknown));
        if !is_known {
            return self.unknown(Some(relation));
        }
        let catalog = self.tracer.env.catalog;
        let all = catalog.with_heirs(item.relations.clone());
        let mut columns = Vec::new();
        for known in all.iter().filter_map(|oid| catalog.relation(*oid)) {
            let named =
                known.columns.iter().filter(|column| column.name == *from).map(|column| column.number);
            let renamed = overlay.renamed(known.oid).iter().filter(|(_, name)| name == from);
            let numbers = named.chain(renamed.map(|(number, _)| *number));
            columns.extend(numbers.map(|number| ColumnId { relation: known.oid, number }));
        }
        self.placed_anew(&of);
        let (from, name) = (from.to_owned(), name.to_owned());
        self.statement.made.push(Made::Column { relation: of, from, name, columns });
    }

    /// What ALTER TABLE makes of a table.
    pub(super) fn altered(&mut self, alter: &protobuf::AlterTableStmt) {
        let Some(relation) = &alter.relation else { return };
        let is_known = alter.cmds.iter().all(|command| match command.node.as_ref() {
            Some(NodeEnum::AlterTableCmd(command)) => self.altered_by(relation, command, alter.missing_ok),
            _ => false,
        });
        if !is_known {
            self.unknown(Some(relation));
        }
    }

    /// One of its commands: false where it is not followed.
    fn altered_by(
        &mut self,
        relation: &RangeVar,
        command: &protobuf::AlterTableCmd,
        missing_ok: bool,
    ) -> bool {
        let def = command.def.as_deref().and_then(|def| def.node.as_ref());
        if let Some(NodeEnum::ColumnDef(column)) = def {
            self.collated(relation, column);
        }
        match (command.subtype(), def) {
            (AlterTableType::AtAddColumn, Some(NodeEnum::ColumnDef(column))) => {
                // One that is there may be dropped by now, and this one be another.
                if missing_ok || command.missing_ok && !is_plain(column) {
                    return false;
                }
                command.missing_ok && self.has_column(relation, &column.colname)
                    || self.column_added(relation, column)
            }
            (AlterTableType::AtDropColumn, _) => {
                if command.behavior() == DropBehavior::DropCascade {
                    self.statement.made.push(Made::Dropped(None));
                }
                self.column_dropped(relation)
            }
            (AlterTableType::AtAddConstraint, Some(NodeEnum::Constraint(constraint))) => {
                self.key_of_table(relation, constraint);
                true
            }
            (AlterTableType::AtAlterColumnType, Some(NodeEnum::ColumnDef(column))) => {
                self.type_altered(relation, &command.name, column)
            }
            (AlterTableType::AtAddInherit, Some(NodeEnum::RangeVar(parent))) => self.shows(parent, relation),
            (AlterTableType::AtAttachPartition, Some(NodeEnum::PartitionCmd(attached))) => {
                attached.name.as_ref().is_some_and(|child| self.shows(relation, child))
            }
            (AlterTableType::AtDropExpression, _) => {
                self.expression_dropped(relation, &command.name);
                true
            }
            // What one of the two showed of the other it shows no more.
            (AlterTableType::AtDropInherit | AlterTableType::AtDetachPartition, _) => true,
            (command, _) => keeps_values(command),
        }
    }

    /// Whether every relation of a name is as the catalog knows it, and has a column of this name.
    fn has_column(&mut self, relation: &RangeVar, name: &str) -> bool {
        if self.tracer.env.overlay.has_relation(&relation.relname) {
            return false;
        }
        let catalog = self.tracer.env.catalog;
        let known = self.tracer.relation_item(&relation.schemaname, &relation.relname).relations;
        let mut known = known.iter().filter_map(|oid| catalog.relation(*oid)).peekable();
        known.peek().is_some() && known.all(|known| known.columns.iter().any(|column| column.name == *name))
    }

    /// Columns behind one that is dropped stand elsewhere, in tables that inherit it as well; false where these have
    /// other names by now.
    fn column_dropped(&mut self, relation: &RangeVar) -> bool {
        let (catalog, overlay) = (self.tracer.env.catalog, self.tracer.env.overlay);
        let own = self.tracer.relation_item(&relation.schemaname, &relation.relname).relations;
        let heirs: Vec<u32> =
            catalog.with_heirs(own.clone()).into_iter().filter(|heir| !own.contains(heir)).collect();
        if !heirs.is_empty() && !overlay.is_empty() {
            return false;
        }
        let heirs = heirs.iter().filter_map(|oid| catalog.relation(*oid)).map(|heir| heir.name.to_string());
        let children = overlay.children(&relation.relname).map(ToOwned::to_owned);
        let placed: Vec<String> = heirs.chain(children).chain([relation.relname.clone()]).collect();
        self.statement.made.extend(placed.into_iter().map(Made::Placed));
        true
    }

    /// A column that is added holds its default, or what it is generated from.
    fn column_added(&mut self, relation: &RangeVar, column: &protobuf::ColumnDef) -> bool {
        let item = self.tracer.relation_item(&relation.schemaname, &relation.relname);
        let (of, name) = (relation.relname.clone(), column.colname.clone());
        self.is_narrow(column);
        self.placed_anew(&of);
        let children: Vec<String> = self.tracer.env.overlay.children(&of).map(ToOwned::to_owned).collect();
        self.statement.made.extend(children.into_iter().map(Made::Unknown));
        if is_generated(column) {
            self.statement.made.push(Made::Generated { relation: of.clone(), column: name.clone() });
        }
        self.keys_of_column(relation, column);
        let filled = column.constraints.iter().filter_map(|constraint| match constraint.node.as_ref()? {
            NodeEnum::Constraint(constraint) => match constraint.contype() {
                ConstrType::ConstrDefault | ConstrType::ConstrGenerated => constraint.raw_expr.as_deref(),
                _ => None,
            },
            _ => None,
        });
        let mut values: Vec<_> = filled.map(|value| self.value_over(&item, value)).collect();
        let added = item.relations.iter().map(|oid| ColumnId { relation: *oid, number: ADDED });
        values.extend(added.map(|added| self.tracer.graph.base(item.entry, added, 0)));
        let value = self.tracer.graph.made(values);
        self.holds(relation, &name, value);
        self.statement.made.push(Made::Relation { name: of, columns: Vec::new() });
        true
    }

    /// A column that was generated keeps what was made of the others of its row, in tables that inherit it as well.
    fn expression_dropped(&mut self, relation: &RangeVar, column: &str) {
        let overlay = self.tracer.env.overlay;
        let mut open = vec![Name { schema: relation.schemaname.clone(), name: relation.relname.clone() }];
        let mut seen: Vec<String> = Vec::new();
        while let Some(relation) = open.pop().filter(|relation| !seen.contains(&relation.name)) {
            seen.push(relation.name.clone());
            let children = overlay.children(&relation.name);
            open.extend(children.map(|name| Name { schema: String::new(), name: name.to_owned() }));
            let item = self.tracer.relation_item(&relation.schema, &relation.name);
            let value = self.tracer.graph.made(item.columns.named(column));
            let put = |target| Put { target, value, given: value, is_touch: false };
            if overlay.has_relation(&relation.name) {
                self.tracer.puts.push(put(Target::New { relation, column: column.to_owned() }));
            }
            let catalog = self.tracer.env.catalog;
            for known in catalog.with_heirs(item.relations).iter().filter_map(|oid| catalog.relation(*oid)) {
                let named = known.columns.iter().filter(|known| known.name == *column);
                let target = |number| Target::Column(ColumnId { relation: known.oid, number });
                self.tracer.puts.extend(named.map(|column| put(target(column.number))));
            }
        }
    }

    /// A column of another type holds what USING makes of its row, or itself.
    fn type_altered(&mut self, relation: &RangeVar, name: &str, column: &protobuf::ColumnDef) -> bool {
        let item = self.tracer.relation_item(&relation.schemaname, &relation.relname);
        let own = item.columns.named(name);
        if is_narrow_column(column) {
            self.statement.made.push(Made::Narrow(name.to_owned()));
            let catalog = self.tracer.env.catalog;
            let value = self.tracer.graph.made(own.clone());
            for known in item.relations.iter().filter_map(|oid| catalog.relation(*oid)) {
                let named = known.columns.iter().find(|column| column.name == *name);
                self.tracer.puts.extend(named.map(|column| Put {
                    target: Target::Column(ColumnId { relation: known.oid, number: column.number }),
                    value,
                    given: value,
                    is_touch: false,
                }));
            }
        }
        let Some(using) = column.raw_default.as_deref() else { return !own.is_empty() };
        let value = self.value_over(&item, using);
        self.holds(relation, name, value);
        self.statement.made.push(Made::Relation { name: relation.relname.clone(), columns: Vec::new() });
        true
    }

    /// A relation shows another one's rows from now on.
    fn shows(&mut self, parent: &RangeVar, child: &RangeVar) -> bool {
        let (relation, of) = (child.relname.clone(), parent.relname.clone());
        self.statement.made.push(Made::Child { relation, parent: of.clone() });
        let item = self.tracer.relation_item(&child.schemaname, &child.relname);
        if item.columns.open.is_some() {
            self.unknown(Some(parent));
            return false;
        }
        for (name, node) in &item.columns.list {
            self.holds(parent, name, *node);
        }
        self.statement.made.push(Made::Relation { name: of, columns: Vec::new() });
        true
    }

    fn value_over(&mut self, item: &Item<'a>, value: &protobuf::Node) -> super::graph::NodeId {
        let rows = self.tracer.graph.made(Vec::new());
        self.tracer.levels.push(Level { items: vec![item.clone()], rows });
        let node = self.tracer.expression(value);
        self.tracer.levels.pop();
        node
    }

    /// Notes what is in a column, for those who read it before a snapshot knows.
    fn holds(&mut self, relation: &RangeVar, column: &str, value: super::graph::NodeId) {
        let relation = Name { schema: relation.schemaname.clone(), name: relation.relname.clone() };
        self.views.push(Put {
            target: Target::New { relation, column: column.to_owned() },
            value,
            given: value,
            is_touch: false,
        });
    }
}

fn is_generated(column: &protobuf::ColumnDef) -> bool {
    column.constraints.iter().any(|constraint| match constraint.node.as_ref() {
        Some(NodeEnum::Constraint(constraint)) => constraint.contype() == ConstrType::ConstrGenerated,
        _ => false,
    })
}

/// Whether a command leaves every value in its column, and every column its name.
fn keeps_values(command: AlterTableType) -> bool {
    use AlterTableType::{
        AtAddConstraint, AtAddIdentity, AtAddIndex, AtAlterConstraint, AtChangeOwner, AtClusterOn,
        AtColumnDefault, AtDisableRowSecurity, AtDisableTrig, AtDisableTrigAll, AtDisableTrigUser,
        AtDropCluster, AtDropConstraint, AtDropIdentity, AtDropNotNull, AtEnableRowSecurity,
        AtForceRowSecurity, AtNoForceRowSecurity, AtReplicaIdentity, AtResetOptions, AtResetRelOptions,
        AtSetCompression, AtSetIdentity, AtSetLogged, AtSetNotNull, AtSetOptions, AtSetRelOptions,
        AtSetStatistics, AtSetStorage, AtSetTableSpace, AtSetUnLogged, AtValidateConstraint,
    };
    matches!(
        command,
        AtAddConstraint
            | AtAddIdentity
            | AtAddIndex
            | AtAlterConstraint
            | AtChangeOwner
            | AtClusterOn
            | AtColumnDefault
            | AtDisableRowSecurity
            | AtDisableTrig
            | AtDisableTrigAll
            | AtDisableTrigUser
            | AtEnableRowSecurity
            | AtForceRowSecurity
            | AtNoForceRowSecurity
            | AtDropCluster
            | AtDropConstraint
            | AtDropIdentity
            | AtDropNotNull
            | AtReplicaIdentity
            | AtResetOptions
            | AtResetRelOptions
            | AtSetCompression
            | AtSetIdentity
            | AtSetLogged
            | AtSetNotNull
            | AtSetOptions
            | AtSetRelOptions
            | AtSetStatistics
            | AtSetStorage
            | AtSetTableSpace
            | AtSetUnLogged
            | AtValidateConstraint
    )
}

/// Relations that a statement makes of columns in which different values may be equal: theirs have the same collation.
pub(super) fn loosened(tracer: &Tracer<'_>, made: &[Made]) -> Vec<Made> {
    let names = made.iter().filter_map(|made| match made {
        Made::Relation { name, .. } | Made::Shows { name, .. } | Made::Unknown(name) => Some(name),
        _ => None,
    });
    names.filter(|_| tracer.graph.has_loose()).map(|name| Made::Loose(name.clone())).collect()
}

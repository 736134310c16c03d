//! What a definition checks of the rows that are stored. Whether it succeeds tells what a predicate would tell, and may be
//! asked again in a transaction that is rolled back.

use pg_query::{
    NodeEnum,
    protobuf::{self, AlterTableType, ConstrType, Node, RangeVar},
};

use super::{
    ColumnId,
    asked::is_asked_anew,
    graph::{Changing, Pace, Usage},
    names::{qualified, strings},
    scope::{Item, Level},
    trace::Tracer,
};
use crate::catalog::{ConstraintKind, FIRST_USER_OID};

impl<'a> Tracer<'a> {
    /// Reads a definition for what it checks.
    pub(super) fn checked_by(&mut self, kind: &NodeEnum) {
        match kind {
            NodeEnum::AlterTableStmt(alter) => {
                let commands: Vec<_> =
                    alter.cmds.iter().filter_map(command).filter(|command| reads_rows(command)).collect();
                if commands.is_empty() {
                    return;
                }
                self.over(alter.relation.as_ref(), |tracer, item| {
                    for command in &commands {
                        tracer.checked_by_command(item, command);
                    }
                });
            }
            NodeEnum::IndexStmt(index) => self.over(index.relation.as_ref(), |tracer, item| {
                let keys = index.index_params.iter().filter_map(element);
                let before = tracer.graph.meetings.len();
                keys.for_each(|key| tracer.indexed(item, key, index.unique));
                tracer.condition(index.where_clause.as_deref());
                tracer.is_looked_at_again(before);
            }),
            NodeEnum::CreateStatsStmt(stats) => {
                if let Some(NodeEnum::RangeVar(relation)) =
                    stats.relations.first().and_then(|of| of.node.as_ref())
                {
                    self.over(Some(relation), |tracer, _| {
                        let before = tracer.graph.meetings.len();
                        stats.exprs.iter().for_each(|element| tracer.computed(expression(element)));
                        // By ANALYZE.
                        tracer.is_looked_at_again(before);
                    });
                }
            }
            // Each time with what a setting in its query is by then.
            NodeEnum::RefreshMatViewStmt(refresh) => self.over(refresh.relation.as_ref(), |_, _| {}),
            NodeEnum::CreateStmt(create) if create.partbound.is_some() => {
                // Rows of the default partition must not belong into the new one.
                for parent in &create.inh_relations {
                    if let Some(NodeEnum::RangeVar(parent)) = parent.node.as_ref() {
                        self.over(Some(parent), |tracer, item| {
                            let keys = tracer.partition_keys(item);
                            tracer.columns_named(item, keys.as_deref(), Usage::Range);
                        });
                    }
                }
            }
            NodeEnum::CreateSchemaStmt(create) => {
                let elements = create.schema_elts.iter().filter_map(|element| element.node.as_ref());
                elements.for_each(|element| self.checked_by(element));
            }
            // A constraint that is added, or is held to be valid from now on.
            NodeEnum::AlterDomainStmt(alter) if matches!(&*alter.subtype, "C" | "V") => {
                self.columns_of_domain(&qualified(&alter.type_name).1);
            }
            _ => {}
        }
    }

    fn over(&mut self, relation: Option<&RangeVar>, read: impl FnOnce(&mut Self, &Item<'a>)) {
        let Some(relation) = relation else { return };
        let item = self.relation_item(&relation.schemaname, &relation.relname);
        let rows = self.graph.rows(item.entry);
        self.levels.push(Level { items: vec![item.clone()], rows });
        read(self, &item);
        self.levels.pop();
    }

    fn checked_by_command(&mut self, item: &Item<'a>, command: &protobuf::AlterTableCmd) {
        let def = command.def.as_deref().and_then(|def| def.node.as_ref());
        match (command.subtype(), def) {
            (AlterTableType::AtAddConstraint, Some(NodeEnum::Constraint(constraint))) => {
                self.constrained(item, constraint);
            }
            (AlterTableType::AtAddColumn, Some(NodeEnum::ColumnDef(column))) => {
                for constraint in &column.constraints {
                    if let Some(NodeEnum::Constraint(constraint)) = constraint.node.as_ref() {
                        self.constrained(item, constraint);
                    }
                }
            }
            // Which columns it is about nobody says, nor whether what they are compared with is what it was.
            (AlterTableType::AtValidateConstraint, _) => {
                let anew = self.graph.made(Vec::new());
                self.graph.set_pace(anew, Pace::Anew);
                for node in item.columns.nodes() {
                    self.meet(vec![node, anew], Usage::Function, false);
                }
            }
            (AlterTableType::AtAlterColumnType, Some(NodeEnum::ColumnDef(column))) => {
                self.meet(item.columns.named(&command.name), Usage::Function, false);
                self.computed(column.raw_default.as_deref());
            }
            (AlterTableType::AtSetExpression, _) => self.computed(command.def.as_deref()),
            (AlterTableType::AtAttachPartition, Some(NodeEnum::PartitionCmd(attached))) => {
                let keys = self.partition_keys(item);
                self.columns_named(item, keys.as_deref(), Usage::Range);
                self.over(attached.name.as_ref(), |tracer, item| {
                    tracer.columns_named(item, keys.as_deref(), Usage::Range);
                });
            }
            _ => {}
        }
    }

    fn constrained(&mut self, item: &Item<'a>, constraint: &protobuf::Constraint) {
        match constraint.contype() {
            ConstrType::ConstrCheck => {
                let before = self.graph.meetings.len();
                self.condition(constraint.raw_expr.as_deref());
                self.is_looked_at_again(before);
            }
            ConstrType::ConstrGenerated => self.computed(constraint.raw_expr.as_deref()),
            ConstrType::ConstrPrimary | ConstrType::ConstrUnique => {
                for name in strings(&constraint.keys) {
                    self.meet(item.columns.named(&name), Usage::Grouping, true);
                }
            }
            ConstrType::ConstrExclusion => {
                for pair in &constraint.exclusions {
                    if let Some(NodeEnum::List(pair)) = pair.node.as_ref() {
                        let by = pair.items.iter().find_map(|operator| match operator.node.as_ref()? {
                            NodeEnum::List(names) => Some(strings(&names.items)),
                            _ => None,
                        });
                        let is_equal = by.is_some_and(|names| names.last().is_some_and(|name| name == "="));
                        for key in pair.items.iter().filter_map(element) {
                            self.indexed(item, key, true);
                            if !is_equal {
                                self.meet(item.columns.named(&key.name), Usage::Range, false);
                            }
                        }
                    }
                }
                self.condition(constraint.where_clause.as_deref());
            }
            ConstrType::ConstrForeign => self.referenced(item, constraint),
            _ => {}
        }
    }

    /// What is kept and compares with what changes by itself is asked whenever rows are looked at again: REINDEX, an update
    /// that changes nothing.
    fn is_looked_at_again(&mut self, before: usize) {
        for at in before..self.graph.meetings.len() {
            let changes = is_asked_anew(&self.graph, &self.graph.meetings[at], &mut Changing::default());
            self.graph.meetings[at].crosses |= changes;
        }
    }

    /// Whether every value of one list stands in another one.
    fn referenced(&mut self, item: &Item<'a>, constraint: &protobuf::Constraint) {
        let Some(other) = &constraint.pktable else { return };
        let other = self.relation_item(&other.schemaname, &other.relname);
        let mut keys = strings(&constraint.pk_attrs);
        if keys.is_empty() {
            let known = other.relations.iter().filter_map(|oid| self.env.catalog.relation(*oid));
            for relation in known {
                let unique = relation.constraints.iter().filter(|held| held.kind == ConstraintKind::Unique);
                let is_key = |number| unique.clone().any(|held| held.columns.contains(&number));
                let columns = relation.columns.iter().filter(|column| is_key(column.number));
                keys.extend(columns.map(|column| column.name.to_string()));
            }
        }
        let own = strings(&constraint.fk_attrs);
        let mut nodes: Vec<_> = keys.iter().flat_map(|name| other.columns.named(name)).collect();
        nodes.extend(own.iter().flat_map(|name| item.columns.named(name)));
        for node in nodes {
            self.meet(vec![node], Usage::Range, false);
        }
    }

    /// A key of an index: of one without expression it only matters where two are the same.
    fn indexed(&mut self, item: &Item<'a>, key: &protobuf::IndexElem, is_unique: bool) {
        if key.expr.is_some() {
            self.computed(key.expr.as_deref());
        } else if is_unique {
            self.meet(item.columns.named(&key.name), Usage::Grouping, true);
        }
    }

    /// An expression that may fail.
    fn computed(&mut self, expression: Option<&Node>) {
        let Some(expression) = expression else { return };
        let outer = std::mem::take(&mut self.refs);
        let value = self.expression(expression);
        let mut nodes = std::mem::replace(&mut self.refs, outer);
        nodes.push(value);
        self.meet(nodes, Usage::Function, false);
    }

    /// The columns by which a relation's rows are partitioned; none where it may be any.
    fn partition_keys(&self, item: &Item<'a>) -> Option<Vec<String>> {
        let [oid] = *item.relations else { return None };
        let relation = self.env.catalog.relation(oid)?;
        let name = |number: &i16| {
            let column = relation.columns.iter().find(|column| column.number == *number)?;
            Some(column.name.to_string())
        };
        let is_known = !relation.partition_key.is_empty() && !item.may_lack;
        relation.partition_key.iter().map(name).collect::<Option<Vec<_>>>().filter(|_| is_known)
    }

    /// Columns of these names, or all.
    fn columns_named(&mut self, item: &Item<'a>, names: Option<&[String]>, usage: Usage) {
        let nodes = match names {
            Some(names) => names.iter().flat_map(|name| item.columns.named(name)).collect(),
            None => item.columns.nodes(),
        };
        for node in nodes {
            self.meet(vec![node], usage, false);
        }
    }

    /// What is stored in columns of a domain, or of types that users have made of it.
    fn columns_of_domain(&mut self, name: &str) {
        let entry = self.graph.entry();
        let catalog = self.env.catalog;
        let domains = catalog.types_named(name);
        for relation in catalog.relations() {
            let of_users = |oid: u32| oid >= FIRST_USER_OID || domains.contains(&oid);
            for column in relation.columns.iter().filter(|column| of_users(column.type_oid)) {
                let column_id = ColumnId { relation: relation.oid, number: column.number };
                let node = self.graph.base(entry, column_id, column.type_oid);
                self.meet(vec![node], Usage::Function, false);
            }
        }
    }
}

fn command(node: &Node) -> Option<&protobuf::AlterTableCmd> {
    match node.node.as_ref()? {
        NodeEnum::AlterTableCmd(command) => Some(command),
        _ => None,
    }
}

fn reads_rows(command: &protobuf::AlterTableCmd) -> bool {
    matches!(
        command.subtype(),
        AlterTableType::AtAddColumn
            | AlterTableType::AtAddConstraint
            | AlterTableType::AtAlterColumnType
            | AlterTableType::AtAttachPartition
            | AlterTableType::AtSetExpression
            | AlterTableType::AtValidateConstraint
    )
}

fn expression(node: &Node) -> Option<&Node> {
    match node.node.as_ref()? {
        NodeEnum::StatsElem(element) => element.expr.as_deref(),
        _ => None,
    }
}

fn element(node: &Node) -> Option<&protobuf::IndexElem> {
    match node.node.as_ref()? {
        NodeEnum::IndexElem(element) => Some(element),
        _ => None,
    }
}

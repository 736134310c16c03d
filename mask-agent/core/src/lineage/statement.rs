//! One statement: which of the readers it takes, and what they found put together.

use pg_query::{
    NodeEnum,
    protobuf::{self, Node},
};

use super::{
    Asked, Channel, ColumnId, Effect, Env, Holds, Keeps, LineageError, Made, Masked, Origins, Outputs,
    Predicate, Refusal, Renames, Statement, Untraceable, Write, WriteTarget,
    abroad::{self, abroad},
    altered::loosened,
    asked::{computed, predicates, sorts_blanked},
    command::{command, into_clause},
    copy::{copy_in, copy_out},
    databases,
    dml::Probed,
    facts::Name,
    follow::{self, Follow},
    functions,
    given::{self, Shows},
    guesses::sum_lists,
    meaning,
    names::strings,
    outputs::outputs,
    routed,
    scope::Columns,
    support, system,
    trace::{Put, Query, Target, Tracer},
    tree, utility,
};

/// Reads one statement.
///
/// # Errors
/// When its tree cannot be walked.
pub(super) fn read(node: &Node, env: &Env<'_>, classes: &dyn Masked) -> Result<Statement, LineageError> {
    let mut reader = Reader {
        tracer: Tracer::new(env),
        views: Vec::new(),
        followed: Follow::default(),
        statement: Statement::new(command(node)),
        needs_literals: false,
    };
    if let Some(copied) = databases::copied(node) {
        // A template may be written as one.
        reader.needs_literals = true;
        reader.statement.copied = Some(copied);
    }
    let query = reader.query(node, classes)?;
    if let Some(kind) = node.node.as_ref().filter(|_| reader.tracer.facts.sets_meaning) {
        let set = reader.tracer.set_by_function(kind);
        reader.statement.settings.extend(set);
    }
    Ok(reader.finish(query, classes))
}

/// EXPLAIN of a statement.
pub(super) fn explaining(node: &Node) -> Node {
    let explain = protobuf::ExplainStmt { query: Some(Box::new(node.clone())), options: Vec::new() };
    Node { node: Some(NodeEnum::ExplainStmt(Box::new(explain))) }
}

/// What a statement puts where.
pub(super) fn writes(tracer: &Tracer<'_>, is_insert: bool, classes: &dyn Masked) -> Vec<Write> {
    let write = |put: &Put| -> Option<Write> {
        let target = match &put.target {
            Target::Column(column) => WriteTarget::Column(*column),
            Target::New { relation, column } => WriteTarget::New {
                schema: relation.schema.clone(),
                relation: relation.name.clone(),
                column: column.clone(),
            },
        };
        let mut origins = tracer.graph.origins(put.value);
        let is_masked = |column: ColumnId| classes.is_masked(column.relation, column.number);
        let tells = origins.untraceable.is_some()
            || origins.all().any(is_masked)
            || origins.nulls.iter().copied().any(is_masked);
        let mut holds = Holds::Copies;
        if put.is_touch {
            return tells.then_some(Write { target, origins, holds });
        }
        if tells {
            origins.mixes = tracer.multiplies || tracer.graph.mixes(put.given);
            holds = tracer.holds(put, &origins, is_insert, classes);
            origins.mixes |= holds == Holds::Mixed;
            origins.is_identity &= holds < Holds::Derived;
        }
        Some(Write { target, origins, holds })
    };
    tracer.puts.iter().filter_map(write).collect()
}

impl Statement {
    fn new(command: &'static str) -> Self {
        Self {
            command,
            outputs: Outputs::None,
            keeps: None,
            copy: None,
            copy_in: None,
            effect: Effect::None,
            relations: Vec::new(),
            touched: Vec::new(),
            predicates: Vec::new(),
            definitions: 0,
            computes: Vec::new(),
            writes: Vec::new(),
            given: Vec::new(),
            executes: None,
            copied: None,
            abroad: Vec::new(),
            channels: Vec::new(),
            positions: Vec::new(),
            made: Vec::new(),
            renames: Renames::default(),
            settings: Vec::new(),
            redefines: false,
            sets_path: None,
            sets_role: false,
            reads_statement: false,
            is_opaque: false,
            may_quote: false,
            calls_user_code: false,
            reaches: false,
            only_reads: false,
            meets_rules: false,
            reads_large_objects: false,
            refusal: None,
            needs_literals: false,
        }
    }
}

pub(super) struct Reader<'a> {
    pub(super) tracer: Tracer<'a>,
    /// What the columns of views this statement makes are made of, and those of tables it changes.
    pub(super) views: Vec<Put>,
    /// What a definition does later.
    pub(super) followed: Follow,
    pub(super) statement: Statement,
    pub(super) needs_literals: bool,
}

/// What a statement returns, before its origins are known.
enum Returned<'a> {
    Cursor(String),
    Each(super::graph::NodeId),
    Nothing,
    Plan(String),
    Prepared(String),
    Rows(Query<'a>),
}

impl<'a> Reader<'a> {
    fn query(&mut self, node: &Node, classes: &dyn Masked) -> Result<Returned<'a>, LineageError> {
        let Some(kind) = node.node.as_ref() else { return Ok(Returned::Nothing) };
        Ok(match kind {
            NodeEnum::SelectStmt(select) => {
                let query = self.tracer.select(select);
                if let Some(into) = into_clause(select) {
                    self.makes(into, &query);
                    Returned::Nothing
                } else {
                    Returned::Rows(query)
                }
            }
            NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_) => self.written(node),
            NodeEnum::CreateTableAsStmt(create) => self.create_as(create, node, classes)?,
            NodeEnum::CopyStmt(copy) => self.copy(copy, node, classes)?,
            NodeEnum::ExplainStmt(explain) => self.explain(explain, classes)?,
            NodeEnum::DeclareCursorStmt(declare) => {
                /// `CURSOR_OPT_HOLD`.
                const HOLD: i32 = 0x20;
                self.needs_literals = true;
                let (name, holds) = (declare.portalname.clone(), declare.options & HOLD != 0);
                self.statement.keeps = Some(Keeps::Cursor { name, holds });
                Returned::Rows(self.tracer.any_query(declare.query.as_deref()))
            }
            NodeEnum::FetchStmt(fetch) if fetch.ismove => Returned::Nothing,
            NodeEnum::FetchStmt(fetch) => Returned::Cursor(fetch.portalname.clone()),
            NodeEnum::PrepareStmt(prepare) => {
                self.needs_literals = true;
                self.statement.keeps = Some(Keeps::Prepared(prepare.name.clone()));
                self.tracer.declare(&prepare.argtypes);
                match prepare.query.as_deref() {
                    Some(query) => self.query(query, classes)?,
                    None => Returned::Nothing,
                }
            }
            NodeEnum::ExecuteStmt(execute) => self.execute(execute),
            NodeEnum::CallStmt(call) => {
                self.needs_literals = true;
                match call.funccall.as_deref() {
                    Some(call) => {
                        let (node, _) = self.tracer.call(call);
                        Returned::Each(node)
                    }
                    None => Returned::Nothing,
                }
            }
            NodeEnum::DoStmt(block) => {
                self.block(block);
                Returned::Nothing
            }
            _ => self.other(kind, node, classes)?,
        })
    }

    fn written(&mut self, node: &Node) -> Returned<'a> {
        let query = self.tracer.any_query(Some(node));
        if query.columns.list.is_empty() && query.columns.open.is_none() {
            return Returned::Nothing;
        }
        if self.tracer.facts.meets_rules || self.tracer.facts.answers_by_rule {
            return Returned::Each(self.tracer.graph.unknown(Untraceable::UserRule));
        }
        Returned::Rows(query)
    }

    fn create_as(
        &mut self,
        create: &protobuf::CreateTableAsStmt,
        node: &Node,
        classes: &dyn Masked,
    ) -> Result<Returned<'a>, LineageError> {
        self.needs_literals = true;
        self.judged(node, classes)?;
        // The server keeps the query of a materialised view.
        self.tracer.givens.keeps_text |= create.objtype() == protobuf::ObjectType::ObjectMatview;
        if let Some(execute) = given::executed(create.query.as_deref()) {
            let given = self.tracer.all(&execute.params);
            self.statement.executes = Some(self.tracer.executes(execute, &given, Shows::Rows));
        }
        // What an EXECUTE returns is unknown here.
        let query = self.tracer.any_query(create.query.as_deref());
        if let Some(into) = create.into.as_deref() {
            self.makes(into, &query);
            if create.objtype() == protobuf::ObjectType::ObjectMatview {
                self.reads_later(into.rel.as_ref());
            }
        }
        Ok(Returned::Nothing)
    }

    fn makes(&mut self, into: &protobuf::IntoClause, query: &Query<'a>) {
        self.statement.effect = Effect::Catalog;
        self.needs_literals = true;
        // Event triggers, which no snapshot knows, are a common place to keep texts of definitions.
        self.tracer.facts.reads_statement = true;
        let relation = into.rel.as_ref();
        let relation = relation
            .map(|relation| Name { schema: relation.schemaname.clone(), name: relation.relname.clone() });
        let relation = relation.unwrap_or_default();
        self.placed_anew(&relation.name);
        self.tracer.make(&relation, &into.col_names, query);
        // What it is made of is known once the graph is complete; until then the puts hold it.
        self.statement.made.push(Made::Relation { name: relation.name, columns: Vec::new() });
    }

    fn copy(
        &mut self,
        copy: &protobuf::CopyStmt,
        node: &Node,
        classes: &dyn Masked,
    ) -> Result<Returned<'a>, LineageError> {
        self.needs_literals = true;
        self.judged(node, classes)?;
        if copy.is_from {
            if let Some(relation) = &copy.relation {
                let item = self.tracer.range_var(relation);
                let names = strings(&copy.attlist);
                let names = if names.is_empty() { item.names() } else { names };
                self.tracer.rewrites(&item, &[]);
                self.tracer.probes(&item, &names, Probed::New);
                self.tracer.copied_rows(&item, &names, copy.where_clause.as_deref());
                if let [oid] = *item.relations {
                    self.statement.copy_in = copy_in(copy, self.tracer.env.catalog.relation(oid));
                }
                let written = item.relations.iter().map(|oid| ColumnId { relation: *oid, number: 0 });
                self.tracer.facts.written.extend(written);
                self.tracer.runs_triggers(item.relations);
            }
            return Ok(Returned::Nothing);
        }
        // Only what the query names may be quoted; that is told apart column by column.
        self.statement.may_quote = false;
        self.statement.copy = Some(copy_out(copy));
        if copy.query.is_some() {
            let query = self.tracer.any_query(copy.query.as_deref());
            if self.tracer.facts.meets_rules || self.tracer.facts.answers_by_rule {
                return Ok(Returned::Each(self.tracer.graph.unknown(Untraceable::UserRule)));
            }
            return Ok(Returned::Rows(query));
        }
        let Some(relation) = &copy.relation else { return Ok(Returned::Nothing) };
        let item = self.tracer.range_var(relation);
        let rows = self.tracer.graph.rows(item.entry);
        let names = strings(&copy.attlist);
        let catalog = self.tracer.env.catalog;
        let generated = |name: &str| {
            item.relations.iter().filter_map(|oid| catalog.relation(*oid)).any(|relation| {
                relation.columns.iter().any(|column| column.name == name && column.generated.is_some())
            })
        };
        let mut columns = Columns { list: Vec::new(), open: item.columns.open };
        if names.is_empty() {
            // A generated column is only written where it is named.
            columns.list.extend(item.columns.list.iter().filter(|(name, _)| !generated(name)).cloned());
        } else {
            for name in names {
                let node = match *item.columns.named(&name) {
                    [node] => node,
                    _ => self.tracer.graph.unknown(Untraceable::UnknownColumn),
                };
                columns.list.push((name.into(), node));
            }
        }
        Ok(Returned::Rows(Query { columns, rows }))
    }

    fn explain(
        &mut self,
        explain: &protobuf::ExplainStmt,
        classes: &dyn Masked,
    ) -> Result<Returned<'a>, LineageError> {
        self.needs_literals = true;
        // A plan shows what is compared.
        self.tracer.givens.keeps_text = true;
        let mut rows = None;
        if let Some(query) = explain.query.as_deref()
            && let Returned::Rows(query) = self.query(query, classes)?
        {
            rows = Some(query.rows);
        }
        self.statement.keeps = None;
        self.statement.copy = None;
        if let Some(executes) = &mut self.statement.executes {
            executes.shows = Shows::Plan;
        }
        if let Some(NodeEnum::ExecuteStmt(execute)) =
            explain.query.as_deref().and_then(|query| query.node.as_ref())
        {
            // What is handed over stands in the plan as a constant.
            return Ok(if self.tracer.facts.calls_user_code {
                Returned::Each(self.tracer.graph.unknown(Untraceable::UserCode))
            } else {
                Returned::Plan(execute.name.clone())
            });
        }
        // The planner runs functions that are declared immutable, and shows what they return.
        let called = self.tracer.facts.called.clone();
        let node = self.tracer.graph.made(called);
        // A plan says how many rows there are, or may be.
        self.tracer.graph.imply(node, rows.as_slice());
        Ok(Returned::Each(node))
    }

    fn execute(&mut self, execute: &protobuf::ExecuteStmt) -> Returned<'a> {
        self.needs_literals = true;
        let arguments = self.tracer.all(&execute.params);
        self.statement.executes = Some(self.tracer.executes(execute, &arguments, Shows::Rows));
        if self.tracer.facts.calls_user_code {
            // A function may hand a value to the statement, in which it is a constant.
            return Returned::Each(self.tracer.graph.made(arguments));
        }
        Returned::Prepared(execute.name.clone())
    }

    /// Statements that are no query.
    fn other(
        &mut self,
        kind: &NodeEnum,
        node: &Node,
        classes: &dyn Masked,
    ) -> Result<Returned<'a>, LineageError> {
        self.needs_literals = true;
        self.tracer.givens.keeps_text = true;
        let foreign = || abroad::refusal(kind, self.tracer.env);
        self.statement.refusal = self.moves_filled(kind, classes).or_else(foreign);
        self.made_by(kind);
        self.tracer.checked_by(kind);
        self.follow(kind, classes);
        let unasked = || support::refusal(kind, self.followed.body, self.tracer.env, classes);
        self.statement.refusal = self.statement.refusal.take().or_else(unasked);
        self.judged(node, classes)?;
        self.statement.settings = meaning::settings(kind);
        self.statement.redefines = self.statement.effect == Effect::Catalog && meaning::redefines(kind);
        match kind {
            NodeEnum::VariableSetStmt(set) => self.sets_path(set),
            NodeEnum::TransactionStmt(end)
                if end.kind() == protobuf::TransactionStmtKind::TransStmtCommitPrepared =>
            {
                // It may bring definitions of a transaction that ended long ago.
                self.statement.effect = Effect::Catalog;
                self.statement.redefines = true;
            }
            NodeEnum::VariableShowStmt(_) => return Ok(Returned::Each(self.tracer.graph.made(Vec::new()))),
            NodeEnum::DiscardStmt(_) => self.statement.sets_path = Some(None),
            NodeEnum::TruncateStmt(truncate) => self.tracer.truncate(truncate),
            _ => {}
        }
        Ok(Returned::Nothing)
    }

    /// Lets the walk over the whole tree judge it.
    fn judged(&mut self, node: &Node, classes: &dyn Masked) -> Result<(), LineageError> {
        let tree = serde_json::to_value(node).map_err(|error| LineageError::Syntax(error.to_string()))?;
        let facts = tree::facts(&tree);
        let judged = utility::judge(&facts, self.followed.is, self.tracer.env, classes);
        if self.statement.command == "other" {
            self.statement.command = facts.command;
        }
        self.statement.refusal = self.statement.refusal.take().or(judged.refusal);
        if self.statement.effect == Effect::None {
            self.statement.effect = judged.effect;
        }
        self.statement.may_quote |= !judged.is_plain;
        let mut called = facts.functions.iter();
        self.statement.reads_large_objects |=
            called.any(|called| functions::reads_large_objects(&called.name));
        self.statement.relations.extend(judged.relations);
        Ok(())
    }

    fn finish(mut self, returned: Returned<'a>, classes: &dyn Masked) -> Statement {
        let sensitive = |column: ColumnId| classes.is_masked(column.relation, column.number);
        let holds = |column: ColumnId| classes.holds(column.relation, column.number);
        self.tracer.graph.spread(classes);
        let Self { tracer, views, followed, mut statement, needs_literals } = self;
        let graph = &tracer.graph;
        statement.outputs = match returned {
            Returned::Cursor(name) => Outputs::Cursor(name),
            Returned::Each(node) => Outputs::Each(Box::new(graph.origins(node))),
            Returned::Nothing => Outputs::None,
            Returned::Plan(name) => Outputs::Plan(name),
            Returned::Prepared(name) => Outputs::Prepared(name),
            Returned::Rows(query) => outputs(&tracer, &query),
        };
        statement.predicates = predicates(&tracer, &sensitive, &holds);
        if statement.command == "RefreshMatViewStmt" {
            // What it asks otherwise was asked when it was made.
            statement.predicates.retain(|predicate| predicate.asked == Asked::Anew);
        }
        for probe in tracer.facts.probes.iter().filter(|probe| sensitive(probe.column)) {
            // ON CONFLICT asks what a constraint would tell anyway.
            let usage = holds(probe.column).map_or(probe.usage, |holds| holds.usage(probe.usage));
            let probe = Predicate { usage, ..*probe };
            if !statement.predicates.contains(&probe) {
                statement.predicates.push(probe);
            }
        }
        statement.predicates.extend(followed.predicates);
        sum_lists(&mut statement.predicates);
        statement.predicates.sort_unstable();
        statement.writes = writes(&tracer, statement.command == "InsertStmt", classes);
        statement.computes = computed(&tracer, &sensitive);
        statement.given = tracer.given();
        statement.channels = tracer
            .facts
            .carried
            .iter()
            .map(|carried| Channel { by: carried.by.clone(), origins: graph.origins(carried.value) })
            .collect();
        statement.made.extend(loosened(&tracer, &statement.made));
        for made in &mut statement.made {
            let (Made::Relation { name, columns } | Made::Shows { name, columns, .. }) = made else {
                continue;
            };
            for write in &statement.writes {
                if let WriteTarget::New { relation, column, .. } = &write.target
                    && relation == name
                    && columns.iter().all(|(known, _)| known != column)
                {
                    columns.push((column.clone(), write.origins.clone()));
                }
            }
            for put in &views {
                if let Target::New { relation, column } = &put.target
                    && relation.name == *name
                {
                    columns.push((column.clone(), graph.origins(put.value)));
                }
            }
        }
        let passed = tracer.env.overlay.passed_on(&statement.writes, tracer.env.catalog);
        statement.writes.extend(passed);
        let more = tracer.env.overlay.filled(&statement.writes);
        if tracer.env.overlay.has_code() && !(tracer.facts.written.is_empty() && more.is_empty()) {
            statement.writes.extend(follow::standing_more(tracer.env, &more, classes));
        }
        statement.writes.extend(followed.writes);
        // Triggers fill what this transaction has made as well.
        statement.made.extend(tracer.env.overlay.filled(&statement.writes));
        statement.channels.extend(followed.channels);
        statement.abroad = abroad(tracer.env, &statement.writes, &sensitive);
        let refusal = routed::refusal(&tracer, sensitive);
        statement.refusal = statement.refusal.take().or(refusal);
        if let Some(rewrite) = &tracer.facts.rewrites {
            let tells = |origins: &Origins| origins.untraceable.is_some() || origins.all().any(sensitive);
            let refusal = system::refusal(rewrite, &statement, tracer.env.catalog, tells);
            statement.refusal = statement.refusal.take().or(refusal);
        }
        statement.may_quote |= graph.tell([&*tracer.facts.named, &tracer.facts.raised].concat(), &sensitive);
        // A row that breaks a constraint is quoted whole.
        statement.may_quote |= tracer.facts.written.iter().any(|column| sensitive(*column));
        finish_facts(&mut statement, &tracer);
        if statement.effect == Effect::Catalog {
            statement.renames = tracer.env.overlay.renames();
        }
        statement.needs_literals |= sorts_blanked(&tracer, &sensitive);
        statement.needs_literals = needs_literals || statement.needs_literals;
        statement
    }
}

impl Origins {
    /// What a constant is made of.
    pub(super) fn constant() -> Self {
        Self::default()
    }
}

fn finish_facts(statement: &mut Statement, tracer: &Tracer<'_>) {
    let facts = &tracer.facts;
    for relation in facts.relations.iter().map(Name::written) {
        if !statement.relations.contains(&relation) {
            statement.relations.push(relation);
        }
    }
    statement.positions.clone_from(&facts.positions);
    statement.touched.clone_from(&facts.oids);
    statement.touched.sort_unstable();
    statement.touched.dedup();
    statement.definitions = facts.definitions;
    statement.is_opaque |= facts.calls_opaque_code;
    statement.sets_role |= facts.sets_role;
    statement.may_quote |= facts.calls_opaque_code || facts.meets_user_code || facts.changes_unknown;
    statement.calls_user_code = facts.calls_user_code || facts.meets_user_code;
    statement.reaches = facts.reaches;
    statement.only_reads = statement.command == "SelectStmt"
        && statement.made.is_empty()
        && statement.effect == Effect::None
        && facts.only_reads();
    statement.meets_rules |= facts.meets_rules;
    statement.reads_large_objects |= facts.reads_large_objects;
    statement.reads_statement =
        facts.reads_statement || facts.meets_rules || facts.calls_opaque_code || statement.calls_user_code;
    if facts.defines {
        statement.effect = Effect::Catalog;
        statement.redefines = true;
    }
    if statement.effect == Effect::None && (facts.sets || statement.calls_user_code) {
        statement.effect = Effect::Settings;
    }
    if facts.sets || statement.calls_user_code {
        // What users wrote may set the search path, as it does where each tenant has a schema.
        statement.sets_path.get_or_insert(None);
    }
    statement.needs_literals |= facts.sets || facts.needs_literals;
    if let Some(name) = &facts.dangerous {
        statement.refusal.get_or_insert_with(|| Refusal {
            code: "dangerous-function",
            message: format!("function {name} is refused, because it reaches past the statement"),
            hint: "Query the tables themselves.",
        });
    }
    if facts.sets_lexer {
        statement.refusal.get_or_insert_with(|| Refusal {
            code: "unsafe-setting",
            message: "this setting would change how statements and values are read".to_owned(),
            hint: "Keep client_encoding at UTF8 and standard_conforming_strings on; change others by SET.",
        });
    }
}

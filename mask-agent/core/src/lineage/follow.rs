//! What a definition will do later, read before it is there.
//!
//! A trigger's or function's body that can be read through in full is followed: what it puts where is remembered
//! before the definition is sent, and what speaks by other ways is refused. Who does not know the definition yet,
//! as another connection until its next snapshot, therefore meets no masked value by it.

use pg_query::{
    NodeEnum,
    protobuf::{self, AlterTableType, CmdType, ConstrType, CreateFunctionStmt},
};

use super::{
    Channel, ColumnId, Env, Made, Masked, Overlay, Predicate, Write,
    facts::{Carried, Name},
    graph::NodeId,
    names, routed,
    routine::{self, is_followed},
    scope::Level,
    statement::{Reader, writes},
    support::Body,
    trace::{Put, Target, Tracer},
    utility::Followed,
};
use crate::catalog::{Column, Relation, RelationKind, Routine};

/// Triggers that fill what the next one reads; nobody writes longer chains.
const TRIGGERS_DEEP_MAX: usize = 8;

/// What a definition will do later.
#[derive(Default)]
pub(super) struct Follow {
    /// Whether all of it was read through, and moves nothing unseen.
    pub(super) is: Followed,
    pub(super) writes: Vec<Write>,
    pub(super) channels: Vec<Channel>,
    pub(super) body: Body,
    /// What it will ask of masked columns.
    pub(super) predicates: Vec<Predicate>,
}

impl Reader<'_> {
    /// What a default reads may be filled before it is computed: of such a table nothing is known until it is committed,
    /// where what is in the column is not known by that.
    fn reads_by_default(&mut self, kind: &NodeEnum, read: &[Name]) {
        let overlay = self.tracer.env.overlay;
        let relation = match kind {
            NodeEnum::CreateStmt(create) => create.relation.as_ref().filter(|_| !read.is_empty()),
            NodeEnum::AlterTableStmt(alter) => alter.relation.as_ref().filter(|relation| {
                let is_new = overlay.has_relation(&relation.relname) && sets_default(alter);
                read.iter().any(|read| is_new || overlay.has_relation(&read.name))
            }),
            _ => None,
        };
        self.statement.made.extend(relation.map(|relation| Made::Unknown(relation.relname.clone())));
    }

    /// Reads what a definition will do later: what it puts where is remembered before it is there.
    pub(super) fn follow(&mut self, kind: &NodeEnum, classes: &dyn Masked) {
        let mut overlay = self.tracer.env.overlay.clone();
        for made in &self.statement.made {
            overlay.learn(made);
        }
        let path = self.tracer.path.clone();
        let env = Env { catalog: self.tracer.env.catalog, path, overlay: &overlay };
        self.asks_later(kind, &env, classes);
        let mut tracer = Tracer::new(&env);
        let is_followed = match kind {
            NodeEnum::CreateFunctionStmt(create) => tracer.follow_function(create, &[]),
            NodeEnum::CreateTrigStmt(create) => tracer.follow_trigger(create, classes),
            NodeEnum::RuleStmt(rule) => {
                rule.actions.is_empty() && rule.event() != CmdType::CmdSelect && {
                    tracer.calls_nobody(rule.where_clause.as_deref(), rule.relation.as_ref())
                }
            }
            NodeEnum::AlterTableStmt(_) | NodeEnum::CreateStmt(_) => tracer.follow_defaults(kind, classes),
            _ => return,
        };
        if !is_followed {
            return;
        }
        self.followed.is = Followed::Yes;
        self.followed.writes = writes(&tracer, false, classes);
        self.followed.channels = tracer.channels();
        self.followed.body = tracer.body(classes);
        if let NodeEnum::CreateFunctionStmt(create) = kind {
            if tracer.recurs {
                tracer = Tracer::new(&env);
                tracer.follow_again(create, classes);
            }
            self.asks_in_loops(&mut tracer, classes);
        }
        self.statement.meets_rules |= tracer.facts.meets_rules;
        self.reads_by_default(kind, &tracer.facts.relations);
        let is_masked = |column: ColumnId| classes.is_masked(column.relation, column.number);
        if tracer.facts.sets_lexer
            || tracer.facts.dangerous.is_some()
            || tracer.facts.rewrites.is_some()
            || routed::refusal(&tracer, is_masked).is_some()
        {
            self.followed.is = Followed::No;
        }
        if matches!(kind, NodeEnum::CreateFunctionStmt(_) | NodeEnum::CreateTrigStmt(_)) {
            for write in standing_more(&env, &[], classes) {
                if !self.followed.writes.contains(&write) {
                    self.followed.writes.push(write);
                }
            }
        }
    }
}

impl Tracer<'_> {
    fn follow_function(&mut self, create: &CreateFunctionStmt, arguments: &[NodeId]) -> bool {
        let (_, name) = names::qualified(&create.funcname);
        let Some(routine) = self.env.overlay.newest(&name) else { return false };
        if !routine::is_for_triggers(create) {
            self.call_routine(routine, arguments);
        }
        true
    }

    /// A function that calls itself does what it does again and again, with other arguments.
    fn follow_again(&mut self, create: &CreateFunctionStmt, classes: &dyn Masked) {
        self.loops = true;
        let arguments: Vec<NodeId> = create.parameters.iter().map(|_| self.graph.made(Vec::new())).collect();
        for argument in &arguments {
            self.graph.counts(*argument);
        }
        self.follow_function(create, &arguments);
        self.graph.spread(classes);
    }

    /// What a trigger on a relation without masked columns meets is in no statement of those who do not know it yet,
    /// whose errors and notices are therefore not scrubbed.
    fn follow_trigger(&mut self, create: &protobuf::CreateTrigStmt, classes: &dyn Masked) -> bool {
        let relation = create.relation.clone().unwrap_or_default();
        let on = Name { schema: relation.schemaname.clone(), name: relation.relname.clone() };
        // Inside the function they hide relations of their names, which have other columns.
        if !create.transition_rels.is_empty() {
            return false;
        }
        if !self.calls_nobody(create.when_clause.as_deref(), create.relation.as_ref()) {
            return false;
        }
        let (_, function) = names::qualified(&create.funcname);
        let overlay = self.env.overlay;
        let known = self.env.catalog.routines(&function).chain(overlay.routines(&function));
        let routines: Vec<&Routine> = known.collect();
        if overlay.has_opaque_trigger(&function) {
            return false;
        }
        if routines.is_empty() {
            return function == "suppress_redundant_updates_trigger";
        }
        for routine in routines {
            if !is_followed(routine) || self.trigger(routine, &on, true).is_none() {
                return false;
            }
        }
        self.graph.spread(classes);
        let is_sensitive =
            self.candidates(&on.schema, &on.name).iter().any(|known| classes.is_sensitive(known.oid));
        let tells =
            self.graph.tell(self.told_values(), &|column| classes.is_masked(column.relation, column.number));
        // What another session is told, it is told without the payload; what else may carry a value is given none.
        let carries = self.facts.carried.iter().any(|carried| carried.by != "pg_notify");
        !self.facts.calls_opaque_code && !carries && (is_sensitive || !tells)
    }

    /// Whether an expression over a relation's rows calls no function of users.
    fn calls_nobody(&mut self, expression: Option<&protobuf::Node>, on: Option<&protobuf::RangeVar>) -> bool {
        let Some(expression) = expression else { return true };
        let relation = on.cloned().unwrap_or_default();
        let item = self.relation_item(&relation.schemaname, &relation.relname);
        let items = self.rows_of_trigger(&item);
        let rows = self.graph.made(Vec::new());
        self.levels.push(Level { items, rows });
        self.expression(expression);
        self.levels.pop();
        !self.facts.calls_user_code && self.facts.carried.is_empty()
    }

    /// Defaults may call functions of users that read no masked column.
    fn follow_defaults(&mut self, kind: &NodeEnum, classes: &dyn Masked) -> bool {
        let rows = self.graph.made(Vec::new());
        self.levels.push(Level { items: Vec::new(), rows });
        for default in defaults(kind) {
            let value = self.expression(default);
            self.facts.called.push(value);
        }
        self.levels.pop();
        self.graph.spread(classes);
        let tells =
            self.graph.tell(self.told_values(), &|column| classes.is_masked(column.relation, column.number));
        !self.facts.calls_opaque_code && !tells && self.puts.is_empty()
    }

    /// What is named, and what code of users says or returns.
    pub(super) fn told_values(&self) -> Vec<NodeId> {
        [&*self.facts.named, &self.facts.raised, &self.facts.called].concat()
    }

    fn channels(&self) -> Vec<Channel> {
        let channel = |carried: &Carried| Channel {
            by: carried.by.clone(),
            origins: self.graph.origins(carried.value),
        };
        self.facts.carried.iter().map(channel).collect()
    }
}

/// Whether it gives a column that is there a default.
fn sets_default(alter: &protobuf::AlterTableStmt) -> bool {
    alter.cmds.iter().any(|command| match command.node.as_ref() {
        Some(NodeEnum::AlterTableCmd(command)) => command.subtype() == AlterTableType::AtColumnDefault,
        _ => false,
    })
}

/// Defaults in a definition of columns.
fn defaults(kind: &NodeEnum) -> Vec<&protobuf::Node> {
    fn of_column(column: &protobuf::ColumnDef) -> impl Iterator<Item = &protobuf::Node> {
        column.constraints.iter().filter_map(|constraint| match constraint.node.as_ref()? {
            NodeEnum::Constraint(constraint) if constraint.contype() == ConstrType::ConstrDefault => {
                constraint.raw_expr.as_deref()
            }
            _ => None,
        })
    }
    let mut defaults = Vec::new();
    match kind {
        NodeEnum::CreateStmt(create) => {
            for element in &create.table_elts {
                if let Some(NodeEnum::ColumnDef(column)) = element.node.as_ref() {
                    defaults.extend(of_column(column));
                }
            }
        }
        NodeEnum::AlterTableStmt(alter) => {
            for command in &alter.cmds {
                let Some(NodeEnum::AlterTableCmd(command)) = command.node.as_ref() else { continue };
                match command.def.as_deref().and_then(|def| def.node.as_ref()) {
                    Some(NodeEnum::ColumnDef(column)) => defaults.extend(of_column(column)),
                    _ if command.subtype() == AlterTableType::AtColumnDefault => {
                        defaults.extend(command.def.as_deref());
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    defaults
}

/// What triggers and defaults put where, whoever writes.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub(crate) writes: Vec<Write>,
    /// Relations of which it depends on who writes: on a search path that was not known.
    needs_path: Vec<u32>,
}

/// Reads what triggers and defaults put where, of the relations that are meant.
pub(super) fn standing(
    env: &Env<'_>,
    classes: &dyn Masked,
    is_meant: &dyn Fn(&Relation) -> bool,
) -> Standing {
    let mut all = Standing::default();
    let with_code = env.catalog.relations().filter(|relation| relation.has_user_code && is_meant(relation));
    for relation in with_code {
        let (tracer, writes) = spread(standing_of(relation, env), classes);
        all.needs_path.extend(tracer.facts.needs_path.then_some(relation.oid));
        all.writes.extend(writes);
    }
    for trigger in env.overlay.triggers() {
        let on = Name { schema: trigger.schema.clone(), name: trigger.relation.clone() };
        let known = env.catalog.routines(&trigger.function);
        let mut tracer = Tracer::new(env);
        for routine in known.chain(env.overlay.trigger_routines(&trigger.function)) {
            let _ = tracer.trigger(routine, &on, true);
        }
        all.writes.extend(spread(tracer, classes).1);
    }
    all
}

/// Reads what a relation's triggers and defaults put where.
fn standing_of<'a>(relation: &'a Relation, env: &'a Env<'a>) -> Tracer<'a> {
    let mut tracer = Tracer::new(env);
    let on = Name { schema: relation.schema.to_string(), name: relation.name.to_string() };
    for oid in &relation.triggers {
        if let Some(routine) = env.catalog.routine(*oid) {
            // A trigger that cannot be read is its author's business.
            let _ = tracer.trigger(routine, &on, false);
            for routine in env.overlay.trigger_routines(&routine.name) {
                let _ = tracer.trigger(routine, &on, false);
            }
        }
    }
    for column in &relation.columns {
        let Some(default) = &column.default else { continue };
        let value = tracer.expression_of(default, Vec::new());
        let target = Target::Column(ColumnId { relation: relation.oid, number: column.number });
        tracer.puts.push(Put { target, value, given: value, is_touch: false });
    }
    tracer
}

/// What a relation keeps of what its definition makes of others: the rows of a materialized view, generated columns.
pub(super) fn stored(relation: &Relation, env: &Env<'_>, classes: &dyn Masked) -> Vec<Write> {
    let is_kept =
        |column: &Column| relation.kind == RelationKind::MaterializedView || column.generated.is_some();
    if !relation.columns.iter().any(is_kept) {
        return Vec::new();
    }
    let mut tracer = Tracer::new(env);
    let entry = tracer.graph.entry();
    let columns = tracer.relation_columns(relation, entry, &mut Vec::new());
    for (column, (_, value)) in relation.columns.iter().zip(&columns.list) {
        if is_kept(column) {
            let target = Target::Column(ColumnId { relation: relation.oid, number: column.number });
            tracer.puts.push(Put { target, value: *value, given: *value, is_touch: false });
        }
    }
    spread(tracer, classes).1
}

fn spread<'a>(mut tracer: Tracer<'a>, classes: &dyn Masked) -> (Tracer<'a>, Vec<Write>) {
    tracer.graph.spread(classes);
    let writes = writes(&tracer, false, classes);
    (tracer, writes)
}

/// Whether code is all that was made, and none of it is anything that the snapshot's code runs: what that does is as it
/// was then.
pub(super) fn is_apart(env: &Env<'_>) -> bool {
    env.overlay.only_code().is_some_and(|functions| !env.catalog.mentions(&functions))
}

/// What triggers put where besides, because of what this transaction and the statement itself have made.
pub(super) fn standing_more(env: &Env<'_>, made: &[Made], classes: &dyn Masked) -> Vec<Write> {
    let nothing = Overlay::default();
    let read;
    let before = if let Some(known) = classes.standing() {
        known
    } else {
        let env = Env { catalog: env.catalog, path: None, overlay: &nothing };
        read = standing(&env, classes, &|_| true);
        &read
    };
    let mut overlay = env.overlay.clone();
    for made in made {
        overlay.learn(made);
    }
    let mut all: Vec<Write> = Vec::new();
    // What one trigger fills may be what the next one reads.
    for _round in 0..TRIGGERS_DEEP_MAX {
        let now = Env { catalog: env.catalog, path: env.path.clone(), overlay: &overlay };
        // Of several that a name means, a path takes one; an empty one takes none of users.
        let has_path = now.path.as_ref().is_none_or(|path| !path.is_empty());
        let is_known = has_path && is_apart(&now);
        let is_meant = |relation: &Relation| {
            !is_known || now.path.is_some() && before.needs_path.contains(&relation.oid)
        };
        let new: Vec<Write> = standing(&now, classes, &is_meant)
            .writes
            .into_iter()
            .filter(|write| !before.writes.contains(write) && !all.contains(write))
            .collect();
        if new.is_empty() {
            break;
        }
        for made in overlay.filled(&new) {
            overlay.learn(&made);
        }
        all.extend(new);
    }
    all
}

//! What a definition will ask of masked columns later: the conditions of triggers, rules and policies.
//!
//! Whoever makes one sees by what becomes of rows whether they hold. With a constant that is one question for each
//! definition. What is compared with something else can be asked as often as that is changed, without a statement that
//! names the column, and counts as rows of another relation do.

use pg_query::{
    NodeEnum,
    protobuf::{Node, RangeVar},
};

use super::{
    ColumnId, Env, Masked,
    asked::{is_asked_anew, predicates},
    facts::Name,
    follow::is_apart,
    graph::{Changing, Meeting, NodeId, Usage},
    names,
    overlay::PolicyMade,
    scope::{Item, Level},
    statement::Reader,
    trace::Tracer,
};

impl Reader<'_> {
    /// Takes note of what a definition will ask once it is there; `now` knows what it makes.
    pub(super) fn asks_later(&mut self, kind: &NodeEnum, now: &Env<'_>, classes: &dyn Masked) {
        let mut tracer = Tracer::new(now);
        match kind {
            NodeEnum::RuleStmt(rule) => {
                tracer.asks_of_changes(rule.relation.as_ref(), rule.where_clause.as_deref());
            }
            NodeEnum::CreatePolicyStmt(_) | NodeEnum::AlterPolicyStmt(_) => {
                if let Some(policy) = PolicyMade::of(kind) {
                    tracer.asks_of_rows(&policy);
                }
            }
            NodeEnum::CreateTrigStmt(create) => {
                tracer.asks_of_changes(create.relation.as_ref(), create.when_clause.as_deref());
                let relation = create.relation.clone().unwrap_or_default();
                let on = Name { schema: relation.schemaname, name: relation.relname };
                tracer.asks_by_trigger(&names::qualified(&create.funcname).1, &on);
            }
            NodeEnum::CreateFunctionStmt(_) => {
                if is_apart(now) && now.overlay.triggers().is_empty() {
                    return;
                }
                for (function, on) in triggers(now) {
                    self.asks_anew(now, classes, |tracer| tracer.asks_by_trigger(&function, &on));
                }
                for policy in now.overlay.policies() {
                    self.asks_anew(now, classes, |tracer| tracer.asks_of_rows(policy));
                }
                return;
            }
            _ => return,
        }
        self.asks_what(tracer, classes);
    }

    /// Takes note of what there is asks from now on, where that is another thing than before.
    fn asks_anew<'e>(&mut self, now: &'e Env<'e>, classes: &dyn Masked, ask: impl Fn(&mut Tracer<'_>)) {
        let before = {
            let mut tracer = Tracer::new(self.tracer.env);
            ask(&mut tracer);
            tracer.facts.definitions
        };
        let mut tracer = Tracer::new(now);
        ask(&mut tracer);
        // What does not run what is made here goes on asking what it does.
        if tracer.facts.definitions != before {
            self.asks_what(tracer, classes);
        }
    }

    /// Takes note of what loops of a function make a number of, which whoever calls it asks for one question.
    pub(super) fn asks_in_loops(&mut self, tracer: &mut Tracer<'_>, classes: &dyn Masked) {
        let is_masked = |column: ColumnId| classes.is_masked(column.relation, column.number);
        let holds = |column: ColumnId| classes.holds(column.relation, column.number);
        let mut meetings = std::mem::take(&mut tracer.graph.meetings);
        let mut known = Changing::default();
        meetings.retain_mut(|meeting| {
            // It may be called for each row of a list, and ask about another value each time.
            let is_anew = is_asked_anew(&tracer.graph, meeting, &mut known);
            meeting.crosses |= is_anew;
            meeting.is_looped || is_anew
        });
        tracer.graph.meetings = meetings;
        let mut asked = predicates(tracer, &is_masked, &holds);
        asked.retain(|predicate| predicate.usage == Usage::RowCount);
        self.followed.predicates.append(&mut asked);
    }

    fn asks_what(&mut self, mut tracer: Tracer<'_>, classes: &dyn Masked) {
        tracer.graph.spread(classes);
        let is_masked = |column: ColumnId| classes.is_masked(column.relation, column.number);
        let holds = |column: ColumnId| classes.holds(column.relation, column.number);
        for at in 0..tracer.graph.meetings.len() {
            let Meeting { nodes, sides, is_equality, .. } = &tracer.graph.meetings[at];
            let (mut nodes, is_equality) = (nodes.clone(), *is_equality);
            let is_comparison = !sides.is_empty();
            let changes = tracer.graph.changes(if is_comparison { sides } else { &nodes }, is_comparison);
            // What a function of users does is read, whatever it is declared to be.
            nodes.retain(|node| !tracer.graph.is_by_row(*node));
            let is_row = |node: &NodeId| {
                let columns = tracer.graph.drawn(*node).columns;
                !columns.is_empty() && columns.iter().all(|column| column.number == 0)
            };
            // `new is distinct from old` is what triggers ask most; which of them comes first tells of each column.
            if is_comparison && sides.iter().all(is_row) {
                tracer.graph.meetings[at].crosses = !is_equality;
                continue;
            }
            let others = nodes.iter().any(|node| tracer.graph.has_others(*node, &is_masked));
            let all = tracer.graph.made(nodes);
            tracer.graph.meetings[at].crosses = changes || others || tracer.graph.mixes(all);
        }
        self.followed.predicates.extend(predicates(&tracer, &is_masked, &holds));
        self.tracer.joins_definitions(tracer.facts.definitions);
    }
}

impl<'a> Tracer<'a> {
    /// Reads a condition on the rows that a statement changes.
    fn asks_of_changes(&mut self, on: Option<&RangeVar>, condition: Option<&Node>) {
        let Some(on) = on.filter(|_| condition.is_some()) else { return };
        let item = self.relation_item(&on.schemaname, &on.relname);
        let items = self.rows_of_trigger(&item);
        self.asks_of(items, &[condition]);
    }

    /// Reads conditions on the rows of a relation.
    fn asks_of_rows(&mut self, policy: &PolicyMade) {
        let Some(on) = &policy.table else { return };
        let item = self.relation_item(&on.schemaname, &on.relname);
        self.asks_of(vec![item], &policy.conditions.each_ref().map(Option::as_deref));
    }

    fn asks_of(&mut self, items: Vec<Item<'a>>, conditions: &[Option<&Node>]) {
        let rows = self.graph.made(Vec::new());
        self.levels.push(Level { items, rows });
        for condition in conditions {
            self.condition(*condition);
        }
        self.levels.pop();
    }

    /// Reads what a trigger's function asks of the rows of a relation.
    fn asks_by_trigger(&mut self, function: &str, on: &Name) {
        let (catalog, overlay) = (self.env.catalog, self.env.overlay);
        for routine in catalog.routines(function).chain(overlay.trigger_routines(function)) {
            if self.expands(routine.definition.as_deref().unwrap_or_default()) {
                // One that cannot be read is refused or an operator's.
                let _ = self.trigger(routine, on, true);
            }
        }
    }
}

/// The functions of all triggers there are, and the relations these are on.
fn triggers(env: &Env<'_>) -> Vec<(String, Name)> {
    let known = env.catalog.relations().flat_map(|relation| {
        let routines = relation.triggers.iter().filter_map(|oid| env.catalog.routine(*oid));
        let on = Name { schema: relation.schema.to_string(), name: relation.name.to_string() };
        routines.map(move |routine| (routine.name.clone(), on.clone()))
    });
    let made = env.overlay.triggers().iter().map(|trigger| {
        let on = Name { schema: trigger.schema.clone(), name: trigger.relation.clone() };
        (trigger.function.clone(), on)
    });
    known.chain(made).collect()
}

//! Bodies in PL/pgSQL, whose pieces are read in no order.
//!
//! A variable is made of whatever it is given anywhere. What decides what happens (conditions, rows that were found,
//! errors that are caught) is one value, the flow, that all variables and all rows imply; in code that is made just
//! now, what is written implies it as well.

use std::borrow::Cow;

use pg_query::{
    NodeEnum,
    protobuf::{self, Node, SubLinkType},
};

use super::{
    Untraceable,
    body::{Record, Variables, named_arguments},
    caught::Told,
    code::code,
    facts::Name,
    graph::{NodeId, Usage},
    names::text,
    plpgsql::{self, Body, Piece, Written},
    scope::{Columns, Item, Level},
    trace::{Put, Query, Target, Tracer},
};
use crate::catalog::Routine;

/// Variables every body has; those of triggers hold names, not values.
const SPECIAL_VARIABLES: [&str; 8] =
    ["tg_argv", "tg_level", "tg_name", "tg_nargs", "tg_op", "tg_relid", "tg_table_name", "tg_when"];

/// What a body is read with.
struct Frame<'b, 'a> {
    /// What decides what happens.
    flow: NodeId,
    /// Whether the last statement met a row.
    found: NodeId,
    /// What errors that are caught may tell.
    caught: NodeId,
    /// The relation whose rows a trigger sees.
    on: Option<&'b Item<'a>>,
}

impl<'a> Tracer<'a> {
    /// Reads a function's body.
    pub(super) fn plpgsql_body(
        &mut self,
        routine: &'a Routine,
        text: &str,
        arguments: &[NodeId],
    ) -> Option<Query<'a>> {
        let code = code(text)?;
        let body = code.block()?;
        // A variable may be given another value than its argument's.
        let positional: Vec<NodeId> =
            arguments.iter().map(|argument| self.graph.copy(vec![*argument])).collect();
        let mut named = named_arguments(routine, &positional);
        for name in &routine.outputs {
            if named.iter().all(|(known, _)| *known != **name) {
                named.push((Cow::Borrowed(&**name), self.graph.made(Vec::new())));
            }
        }
        let outputs: Vec<(Cow<'a, str>, NodeId)> = routine
            .outputs
            .iter()
            .filter_map(|name| named.iter().find(|(known, _)| *known == **name).cloned())
            .collect();
        let positional = self.numbered(&code.created, &positional, &named);
        let variables = Variables { positional, named, ..Variables::none(routine.name.clone()) };
        let path = self.path_of(routine);
        let is_new = self.is_new(routine);
        // Whoever calls it chooses by its arguments what it does.
        let chosen = if body.decides() { arguments.to_vec() } else { Vec::new() };
        let (returned, rows, flow) =
            self.repeated(is_new, chosen, |tracer| tracer.pieces(body, variables, path, None));
        let mut columns = match returned {
            Some(mut columns) => {
                let exact = columns.list.len() == outputs.len();
                let all: Vec<NodeId> = outputs.iter().map(|(_, node)| *node).collect();
                for (at, (_, node)) in columns.list.iter_mut().enumerate() {
                    let own = if exact { &all[at..=at] } else { &all[..] };
                    self.graph.add(*node, own);
                }
                columns
            }
            None if outputs.is_empty() => {
                Columns { list: vec![(Cow::Borrowed(""), self.graph.made(Vec::new()))], open: None }
            }
            // OUT arguments are variables.
            None => {
                let list = outputs.iter().map(|(name, node)| (name.clone(), self.graph.copy(vec![*node])));
                Columns { list: list.collect(), open: None }
            }
        };
        for (_, node) in &mut columns.list {
            self.graph.imply(*node, &[flow]);
        }
        // A loop may return as many rows as a variable says.
        self.graph.imply(rows, &[flow]);
        Some(Query { columns, rows })
    }

    /// Whether no snapshot knows it, so that it was made through the agent.
    fn is_new(&self, routine: &Routine) -> bool {
        self.env.catalog.routine(routine.oid).is_none()
    }

    /// A block sent by itself.
    pub(super) fn do_block(&mut self, block: &protobuf::DoStmt) {
        let option = |name: &str| {
            block.args.iter().find_map(|option| match option.node.as_ref()? {
                NodeEnum::DefElem(option) if option.defname == name => option.arg.as_deref().and_then(text),
                _ => None,
            })
        };
        let is_plpgsql = option("language").is_none_or(|language| language.eq_ignore_ascii_case("plpgsql"));
        self.facts.calls_user_code = true;
        match option("as").filter(|_| is_plpgsql).and_then(plpgsql::read) {
            Some(body) => {
                let variables = Variables::none(String::new());
                let path = self.path.clone();
                self.repeated(true, Vec::new(), |tracer| tracer.pieces(&body, variables, path, None));
                self.facts.calls_opaque_code |= self.uses_what_it_makes();
            }
            None => self.facts.calls_opaque_code = true,
        }
    }

    /// Whether a block names a table that it makes: what is in that, nobody knows while the block is read.
    fn uses_what_it_makes(&self) -> bool {
        let made = self.facts.defined.iter().filter_map(|kind| match kind {
            NodeEnum::CreateStmt(create) => create.relation.as_ref(),
            _ => None,
        });
        let made: Vec<&str> = made.map(|relation| &*relation.relname).collect();
        self.facts.relations.iter().any(|named| made.contains(&&*named.name))
    }

    /// What a trigger's function does with the rows of a relation; `is_new` where the trigger is made just now.
    pub(super) fn trigger(&mut self, routine: &'a Routine, on: &Name, is_new: bool) -> Option<()> {
        let text = routine.definition.as_deref().filter(|_| routine.language == "plpgsql")?;
        let code = code(text)?;
        let body = code.block()?;
        let variables = Variables::none(routine.name.clone());
        let path = self.path_of(routine);
        let on = self.relation_item(&on.schema, &on.name);
        let is_new = is_new || self.is_new(routine);
        self.repeated(is_new, Vec::new(), |tracer| tracer.pieces(body, variables, path, Some(&on)));
        Some(())
    }

    /// Reads what loops may repeat. What is written is guarded by these values besides.
    fn repeated<T>(&mut self, is_new: bool, guards: Vec<NodeId>, read: impl FnOnce(&mut Self) -> T) -> T {
        let repeats = self.graph.made(Vec::new());
        let before = self.guards.len();
        self.guards.extend(guards);
        self.guards.push(repeats);
        self.counted.push(repeats);
        let was_new = std::mem::replace(&mut self.reads_new_code, is_new);
        let puts = self.puts.len();
        let result = read(self);
        if is_new && (self.puts.len() > puts || self.facts.counts || self.rereads) {
            // As many rows as a masked value says, whatever is in them, or as many looks at what is stored.
            let around = std::mem::replace(&mut self.loops, true);
            self.meet(vec![repeats], Usage::RowCount, false);
            self.loops = around;
        }
        self.reads_new_code = was_new;
        self.guards.truncate(before);
        result
    }

    /// Reads every piece of a body: what it returns, how many rows, and what decided it.
    fn pieces(
        &mut self,
        body: &Body,
        mut variables: Variables<'a>,
        path: Option<Vec<String>>,
        on: Option<&Item<'a>>,
    ) -> (Option<Columns<'a>>, NodeId, NodeId) {
        let (flow, found, caught) =
            (self.graph.flow(), self.graph.held(Vec::new()), self.graph.held(Vec::new()));
        let special =
            SPECIAL_VARIABLES.into_iter().map(|name| (Cow::Borrowed(name), self.graph.held(Vec::new())));
        let special: Vec<_> = special.collect();
        variables.named.extend(special);
        variables.scalars = body.without_fields(|name| self.may_be_of_users(name));
        variables.scalars.extend(SPECIAL_VARIABLES.map(str::to_owned));
        variables.named.push((Cow::Borrowed("found"), found));
        variables.named.extend(["sqlerrm", "sqlstate"].map(|name| (Cow::Borrowed(name), caught)));
        for name in &body.variables {
            // Two of one name are taken for one, that of an argument included.
            if variables.named.iter().all(|(known, _)| known != name) {
                let node = self.graph.held(Vec::new());
                variables.named.push((Cow::Owned(name.clone()), node));
                let is_only = body.variables.iter().filter(|other| *other == name).count() == 1;
                if is_only && body.records.contains(name) {
                    let rest = self.graph.held(Vec::new());
                    self.graph.add(node, &[rest]);
                    variables.records.push(Record::new(node, rest, flow));
                }
            }
        }
        for node in variables.nodes() {
            self.graph.imply(node, &[flow]);
        }
        if self.reads_new_code {
            let counters =
                body.counters.iter().filter_map(|name| variables.target(std::slice::from_ref(name)));
            counters.for_each(|counter| self.graph.counts(counter));
        }
        let all = variables.nodes();
        let before = self.told();
        let rows_of_trigger = on.map(|on| self.rows_of_trigger(on)).unwrap_or_default();
        let is_guarded = self.reads_new_code;
        let (result, _) = self.apart(Some(variables), path, |tracer| {
            let rows = tracer.graph.made(Vec::new());
            tracer.levels.push(Level { items: Vec::new(), rows });
            for row in rows_of_trigger {
                tracer.bring(vec![row]);
            }
            if is_guarded {
                tracer.guards.push(flow);
                tracer.counted.push(flow);
            }
            let frame = Frame { flow, found, caught, on };
            let mut returned = None;
            let (around, loops) = (tracer.asking, tracer.loops);
            for (at, piece) in body.pieces.iter().enumerate() {
                tracer.asking = tracer.asked_again(flow, around, body.is_repeated(at));
                tracer.loops = loops || is_guarded && body.is_repeated(at);
                let relations = tracer.facts.relations.len();
                let (puts, entries) = (tracer.puts.len(), tracer.graph.entries());
                tracer.piece(piece, &frame, &mut returned);
                let is_inside = loops || is_guarded && body.is_in_loop(at);
                tracer.rereads |= is_inside && tracer.facts.relations.len() > relations;
                if is_inside {
                    tracer.graph.reads_in_loop(entries);
                    tracer.changes_in_loop(puts);
                }
            }
            (tracer.asking, tracer.loops) = (around, loops);
            for record in tracer.variables.iter().flat_map(|variables| &variables.records) {
                for field in record.unknown() {
                    tracer.graph.add(field, &[record.node]);
                }
            }
            if is_guarded && body.has_loops() {
                let records = tracer.variables.iter().flat_map(|variables| &variables.records);
                let fields: Vec<NodeId> = records.flat_map(Record::fields).collect();
                for variable in all.into_iter().chain(fields) {
                    if tracer.graph.is_of_itself(variable) {
                        tracer.graph.counts(variable);
                    }
                }
            }
            if body.catches {
                tracer.catches(&frame, before);
            }
            if is_guarded {
                tracer.guards.pop();
            }
            tracer.levels.pop();
            (returned, rows, flow)
        });
        result
    }

    /// Takes note of what was put since then in place of what it is made of.
    fn changes_in_loop(&mut self, before: usize) {
        for at in before..self.puts.len() {
            let Put { target: Target::Column(column), given, .. } = &self.puts[at] else { continue };
            if !self.graph.is_folded(*given) && self.graph.drawn(*given).columns.contains(column) {
                self.graph.changes_in_loop(*column);
            }
        }
    }

    /// What decides things by what is asked in a loop, of this body or of one that calls it.
    fn asked_again(&mut self, flow: NodeId, around: Option<NodeId>, is_repeated: bool) -> Option<NodeId> {
        if !is_repeated && around.is_none() {
            return None;
        }
        let asked = self.graph.made(Vec::new());
        self.graph.imply(flow, &[asked]);
        if let Some(around) = around {
            self.graph.imply(around, &[asked]);
        }
        Some(asked)
    }

    /// What an error that is caught tells, by being caught and by what is said of it.
    fn catches(&mut self, frame: &Frame<'_, 'a>, before: Told) {
        let failing = self.fails(before);
        self.graph.imply(frame.flow, &failing);
        self.quotes(frame.caught, before);
    }

    fn piece(&mut self, piece: &Piece, frame: &Frame<'_, 'a>, returned: &mut Option<Columns<'a>>) {
        match piece {
            Piece::Assign { target, value } => {
                let value = self.value_of(value);
                self.fill(target, value, frame.on);
            }
            Piece::Caught(target) => self.fill(target, frame.caught, frame.on),
            Piece::Dynamic => {
                self.facts.calls_opaque_code = true;
                self.leaves_trace(&[]);
                let unknown = self.graph.unknown(Untraceable::DynamicSql);
                self.graph.imply(frame.flow, &[unknown]);
                self.fill_any(unknown);
            }
            Piece::Query { sql, into, returned: is_returned } => {
                let before = self.graph.meetings.len();
                let Some(query) = self.written_query(sql) else {
                    self.facts.calls_opaque_code = true;
                    let unknown = self.graph.unknown(Untraceable::OpaqueFunction);
                    self.graph.imply(frame.flow, &[unknown]);
                    return self.fill_any(unknown);
                };
                // Whether there is a row is in FOUND, and decides what a loop over them does.
                self.graph.imply(frame.found, &[query.rows]);
                self.graph.imply(frame.flow, &[query.rows]);
                if *is_returned {
                    self.return_columns(&query.columns, returned);
                }
                let is_call = sql.text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("call"));
                let mut decides = vec![query.rows];
                if self.reads_new_code && reads_nothing(sql) {
                    // It is IF by another name.
                    let asked = self.graph.meetings[before..].iter().flat_map(|meeting| &meeting.nodes);
                    decides.extend(asked);
                }
                self.fill_by(&query, into, &decides, is_call, frame.on);
            }
            Piece::Loop(value) => {
                let node = self.decides(piece, value, frame);
                if let Some(repeats) = self.repeats() {
                    self.graph.add(repeats, &[node]);
                }
            }
            Piece::Raise(values) => {
                self.leaves_trace(&[]);
                for value in values {
                    let node = self.value_of(value);
                    self.facts.raised.push(node);
                }
            }
            Piece::Return(value) => {
                let node = self.value_of(value);
                match frame.on {
                    // Whatever row is returned is the one that is written.
                    Some(on) if !["new", "null", "old"].contains(&&*value.text.to_ascii_lowercase()) => {
                        self.put_into_row(on, "*", node);
                    }
                    Some(_) => {}
                    None => {
                        let list = vec![(Cow::Borrowed(""), node)];
                        self.return_columns(&Columns { list, open: None }, returned);
                    }
                }
            }
            Piece::Value(value) => {
                self.decides(piece, value, frame);
            }
        }
    }

    /// What decides how often what is being read is done.
    fn repeats(&self) -> Option<NodeId> {
        let flows = usize::from(self.reads_new_code);
        self.guards.len().checked_sub(1 + flows).map(|at| self.guards[at])
    }

    /// An expression that decides what happens.
    fn decides(&mut self, piece: &Piece, value: &Written, frame: &Frame<'_, 'a>) -> NodeId {
        self.conditions(value, matches!(piece, Piece::Loop(_)));
        let node = self.value_of(value);
        self.graph.imply(frame.flow, &[node]);
        node
    }

    /// Gives a value to a variable, or to a column of the row a trigger writes.
    fn fill(&mut self, target: &[String], value: NodeId, on: Option<&Item<'a>>) {
        match (on, row_written(target)) {
            (Some(on), Some([column, ..])) => self.put_into_row(on, column, value),
            (Some(on), Some([])) => self.put_into_row(on, "*", value),
            _ => match self.variables.as_ref().and_then(|variables| variables.target(target)) {
                Some(_) if self.is_either(target) => self.fill_any(value),
                Some(variable) => {
                    let is_qualified = self.variables.as_ref().is_some_and(|all| all.function == target[0]);
                    let field = target.get(1).filter(|_| !is_qualified).map(String::as_str);
                    let part = self.part_of_variable(variable, field);
                    self.graph.add(part, &[value]);
                }
                None => self.fill_any(value),
            },
        }
    }

    fn is_either(&self, target: &[String]) -> bool {
        let [first, behind @ ..] = target else { return false };
        self.variables.as_ref().is_some_and(|variables| variables.is_either(first, behind))
    }

    /// Gives a value to whichever variable it is.
    fn fill_any(&mut self, value: NodeId) {
        let nodes = self.variables.as_ref().map(Variables::nodes).unwrap_or_default();
        for node in nodes {
            self.graph.add(node, &[value]);
        }
    }

    /// Gives what a query returns to the variables named after INTO, one by one or all to a row.
    fn fill_by(
        &mut self,
        query: &Query<'a>,
        into: &[Vec<String>],
        decides: &[NodeId],
        is_call: bool,
        on: Option<&Item<'a>>,
    ) {
        let nodes = query.columns.nodes();
        if is_call && into.is_empty() {
            // INOUT arguments are variables.
            let all = self.graph.made(nodes);
            self.fill_any(all);
            if let Some(on) = on {
                self.put_into_row(on, "*", all);
            }
            return;
        }
        if let [target] = into
            && query.columns.open.is_none()
            && self.is_record(target)
        {
            // Its fields are called as the columns are.
            for (name, node) in &query.columns.list {
                let field = [target.as_slice(), &[name.clone().into_owned()]].concat();
                self.fill_decided(&field, vec![*node], decides, on);
            }
            return;
        }
        let is_each = into.len() == nodes.len() && into.len() > 1 && query.columns.open.is_none();
        for (at, target) in into.iter().enumerate() {
            let from = if is_each { vec![nodes[at]] } else { nodes.clone() };
            self.fill_decided(target, from, decides, on);
        }
    }

    fn fill_decided(
        &mut self,
        target: &[String],
        from: Vec<NodeId>,
        decides: &[NodeId],
        on: Option<&Item<'a>>,
    ) {
        let value = self.graph.held(from);
        if self.reads_new_code {
            // Whoever made it chose what it asks, and what it does by the answer.
            self.graph.imply(value, decides);
        }
        self.fill(target, value, on);
    }

    fn is_record(&self, target: &[String]) -> bool {
        let Some(variables) = &self.variables else { return false };
        let variable = variables.target(target).filter(|_| target.len() == 1);
        variables.records.iter().any(|record| Some(record.node) == variable)
    }

    fn return_columns(&mut self, columns: &Columns<'a>, returned: &mut Option<Columns<'a>>) {
        match returned {
            Some(known) if known.list.len() == columns.list.len() && columns.open.is_none() => {
                for ((_, known), (_, node)) in known.list.iter().zip(&columns.list) {
                    self.graph.add(*known, &[*node]);
                }
            }
            Some(known) => {
                let all = [known.nodes(), columns.nodes()].concat();
                let all = self.graph.made(all);
                known.list = vec![(Cow::Borrowed(""), all)];
            }
            None => {
                let nodes = columns.nodes();
                let list = if columns.open.is_some() {
                    vec![(Cow::Borrowed(""), self.graph.made(nodes))]
                } else {
                    nodes.into_iter().map(|node| (Cow::Borrowed(""), self.graph.made(vec![node]))).collect()
                };
                *returned = Some(Columns { list, open: None });
            }
        }
    }

    /// A column of the row a trigger writes; `*` is any of them.
    fn put_into_row(&mut self, on: &Item<'a>, column: &str, value: NodeId) {
        let rows = self.graph.made(Vec::new());
        self.put_here(on, column, value, rows);
    }

    /// NEW and OLD, which only qualified names reach.
    pub(super) fn rows_of_trigger(&mut self, on: &Item<'a>) -> Vec<Item<'a>> {
        let row = |name: &str| {
            let item = self.relation_item(&on.source.schema, &on.source.name);
            Item { name: Some(name.to_owned()), schema: None, is_open: false, ..item }
        };
        ["new", "old"].map(row).into()
    }

    pub(super) fn value_of(&mut self, expression: &Written) -> NodeId {
        let Some(query) = self.written_query(expression) else {
            return self.graph.unknown(Untraceable::OpaqueFunction);
        };
        let node = self.graph.made(query.columns.nodes());
        self.graph.imply(node, &[query.rows]);
        node
    }

    fn written_query(&mut self, written: &Written) -> Option<Query<'a>> {
        Some(self.body_statement(written.read.as_ref()?))
    }

    /// Reads what an expression decides by: it may be several, as of CASE.
    fn conditions(&mut self, value: &Written, is_loop: bool) {
        let apart;
        let select = match value.select() {
            Some(select) if select.from_clause.is_empty() => Some(select),
            // What stands behind FROM, as PL/pgSQL lets it, makes a query of it.
            Some(_) => {
                apart = Written::joined(format!("(select {})", value.text));
                apart.select()
            }
            None => None,
        };
        for target in select.into_iter().flat_map(|select| &select.target_list) {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { continue };
            // A number or a list is what a loop goes through.
            if let Some(condition) = target.val.as_deref().filter(|value| !is_loop || is_test(value)) {
                self.condition(Some(condition));
            }
        }
    }
}

/// The field of the row of a trigger that a target names, empty for the whole row. OLD may be returned in the place of
/// NEW. Before it may stand the function's name, whatever that is by the time it runs.
pub(super) fn row_written(target: &[String]) -> Option<&[String]> {
    let is_row = |name: &String| ["new", "old"].contains(&&**name);
    match target {
        [row, field @ ..] if is_row(row) => Some(field),
        [_, row, field @ ..] if is_row(row) => Some(field),
        _ => None,
    }
}

/// Whether a query has at most one row, and a condition decides whether that is there.
fn reads_nothing(sql: &Written) -> bool {
    sql.select().is_some_and(|select| select.from_clause.is_empty())
}

/// Whether it is true or false.
fn is_test(condition: &Node) -> bool {
    match condition.node.as_ref() {
        Some(NodeEnum::SubLink(link)) => link.sub_link_type() != SubLinkType::ExprSublink,
        kind => matches!(kind, Some(NodeEnum::AExpr(_) | NodeEnum::BoolExpr(_) | NodeEnum::NullTest(_))),
    }
}

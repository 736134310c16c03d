//! Bodies of functions users wrote: what a call returns, and what it writes on the way.
//!
//! SQL is read statement by statement with the arguments in place. Of PL/pgSQL every static statement and
//! expression is read, in no order: all variables together are one value, made of whatever any of them is
//! given. SQL that is put together while running, and every other language, is opaque.

use std::borrow::Cow;

use pg_query::{
    NodeEnum,
    protobuf::{self, CreateFunctionStmt, Node},
};

use super::{
    Untraceable,
    call::ARGUMENTS_MAX,
    graph::{NodeId, Usage},
    names::{strings, text},
    parse,
    plpgsql::{self, Piece},
    scope::{Columns, Item, Level},
    trace::{Query, Tracer},
};
use crate::catalog::{Relation, Routine, RoutineKind, TypeShape, Volatility};

/// Functions that call each other; deeper is a loop, or nothing anybody wrote.
const CALL_DEPTH_MAX: usize = 8;

/// Variables every body has; those of triggers hold names, not values.
const SPECIAL_VARIABLES: [&str; 9] =
    ["found", "tg_argv", "tg_level", "tg_name", "tg_nargs", "tg_op", "tg_relid", "tg_table_name", "tg_when"];

/// What names mean in a function's body besides columns.
#[derive(Clone, Debug)]
pub(super) struct Variables<'a> {
    /// The function's name, which may stand before an argument's.
    function: String,
    positional: Vec<NodeId>,
    named: Vec<(Cow<'a, str>, NodeId)>,
}

impl Tracer<'_> {
    /// `$1`: an argument in a function's body, a constant in a client's statement.
    pub(super) fn parameter(&mut self, number: i32) -> NodeId {
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let known = self.variables.as_ref().and_then(|variables| variables.positional.get(at?).copied());
        match known {
            Some(node) => {
                self.refs.push(node);
                node
            }
            // Its type is what the client says.
            None => self.graph.typed(super::operator::ANY),
        }
    }
}

impl<'a> Tracer<'a> {
    pub(super) fn variable(&mut self, name: &str) -> Option<NodeId> {
        let variables = self.variables.as_ref()?;
        variables.named.iter().rev().find(|(known, _)| known == name).map(|(_, node)| *node)
    }

    /// `record.field`, or `function.argument`.
    pub(super) fn field_of_variable(&mut self, record: &str, field: &str) -> Option<NodeId> {
        if self.variables.as_ref().is_some_and(|variables| variables.function == record)
            && let Some(node) = self.variable(field)
        {
            return Some(node);
        }
        self.variable(record).map(|node| self.graph.made(vec![node]))
    }

    /// The result of a function of users, and its columns where it returns a row.
    pub(super) fn call_routine(
        &mut self,
        routine: &'a Routine,
        arguments: &[NodeId],
    ) -> (NodeId, Option<Columns<'a>>) {
        if routine.harmless {
            let typed = self.graph.typed(routine.returns);
            let node = self.graph.made([arguments, &[typed]].concat());
            if routine.kind == RoutineKind::Aggregate {
                self.varies = true;
                self.depends_on_rows(node);
            }
            return (node, self.named_outputs(routine, &[], node));
        }
        (self.facts.calls_user_code, self.multiplies) = (true, self.multiplies || routine.returns_set);
        self.varies |= routine.volatility == Volatility::Volatile;
        let arguments = &*self.inputs(routine, arguments);
        let deep = self.calling.len() >= CALL_DEPTH_MAX || self.calling.contains(&routine.oid);
        if routine.kind == RoutineKind::Aggregate && !deep && !routine.parts.is_empty() {
            return self.aggregate(routine, arguments);
        }
        let plain = matches!(routine.kind, RoutineKind::Function | RoutineKind::Procedure);
        if deep || !plain || !self.expands(routine.definition.as_deref().unwrap_or_default()) {
            return self.opaque(routine, arguments, Untraceable::OpaqueFunction);
        }
        self.calling.push(routine.oid);
        let query = match (&*routine.language, routine.definition.as_deref()) {
            ("sql", Some(text)) => self.sql_body(routine, text, arguments),
            ("plpgsql", Some(text)) => self.plpgsql_body(routine, text, arguments),
            _ => None,
        };
        self.calling.pop();
        let Some(query) = query else { return self.opaque(routine, arguments, Untraceable::OpaqueFunction) };
        let columns = query.columns.nodes();
        let node = match *columns {
            [node] if query.columns.open.is_none() => node,
            _ => self.graph.made(columns),
        };
        let node = self.graph.copy(vec![node]);
        self.graph.imply(node, &[query.rows]);
        // It returns what it is declared to.
        let declared = if routine.outputs.is_empty() { routine.returns } else { super::operator::ANY };
        let typed = self.graph.typed(declared);
        self.graph.add(node, &[typed]);
        self.facts.called.push(node);
        let row = self.named_outputs(routine, &query.columns.list, node);
        (node, row)
    }

    /// One value for each input; the last may stand for a list of any length, and any that is not given has its
    /// default.
    fn inputs(&mut self, routine: &Routine, arguments: &[NodeId]) -> Vec<NodeId> {
        let count = routine.inputs.len();
        let mut inputs = arguments.to_vec();
        if count > 0 && arguments.len() > count {
            let rest = self.graph.made(arguments[count - 1..].to_vec());
            inputs.truncate(count - 1);
            inputs.push(rest);
        }
        // Where arguments are named, it is not known which are given.
        let are_all_given = arguments.len() >= count && arguments.len() != ARGUMENTS_MAX;
        let defaults = if are_all_given { Vec::new() } else { self.argument_defaults(routine) };
        inputs.resize_with(count.max(inputs.len()), || self.graph.made(Vec::new()));
        if !defaults.is_empty() {
            // By name, arguments are given in any order.
            for input in &mut inputs {
                *input = self.graph.made([&[*input][..], &defaults].concat());
            }
        }
        inputs
    }

    /// Defaults of arguments that are no constants.
    fn argument_defaults(&mut self, routine: &Routine) -> Vec<NodeId> {
        if self.calling.len() >= CALL_DEPTH_MAX || self.calling.contains(&routine.oid) {
            return Vec::new();
        }
        let Some(created) = routine.definition.as_deref().and_then(created) else { return Vec::new() };
        let parameters = created.parameters.iter().filter_map(|parameter| match parameter.node.as_ref()? {
            NodeEnum::FunctionParameter(parameter) => parameter.defexpr.as_deref(),
            _ => None,
        });
        let calls: Vec<Node> =
            parameters.filter(|value| super::names::literal(value).is_none()).cloned().collect();
        if calls.is_empty() {
            return Vec::new();
        }
        self.calling.push(routine.oid);
        let path = self.path_of(routine);
        let (defaults, _) = self.apart(None, path, |tracer| {
            let rows = tracer.graph.made(Vec::new());
            tracer.levels.push(Level { items: Vec::new(), rows });
            let defaults = tracer.all(&calls);
            tracer.levels.pop();
            defaults
        });
        self.calling.pop();
        defaults
    }

    fn opaque(
        &mut self,
        routine: &'a Routine,
        arguments: &[NodeId],
        why: Untraceable,
    ) -> (NodeId, Option<Columns<'a>>) {
        self.facts.calls_opaque_code = true;
        let unknown = self.graph.unknown(why);
        let node = self.graph.made([arguments, &[unknown]].concat());
        self.facts.called.push(node);
        (node, self.named_outputs(routine, &[], node))
    }

    /// The columns of a function's result, each made of `all` where it is not known by itself.
    pub(super) fn named_outputs(
        &mut self,
        routine: &'a Routine,
        columns: &[(Cow<'a, str>, NodeId)],
        all: NodeId,
    ) -> Option<Columns<'a>> {
        let names: Vec<Cow<'a, str>> = match &*routine.outputs {
            [] => match self.row_type(routine) {
                Some(relation) => {
                    relation.columns.iter().map(|column| Cow::Borrowed(&*column.name)).collect()
                }
                None => return self.may_be_row(routine).then(|| Columns::unknown(all)),
            },
            names => names.iter().map(|name| Cow::Borrowed(&**name)).collect(),
        };
        let exact = columns.len() == names.len();
        let nodes = (0..names.len()).map(|at| if exact { columns[at].1 } else { all });
        Some(Columns { list: names.into_iter().zip(nodes).collect(), open: None })
    }

    /// Whether it may return rows of a type that is no relation's: a composite type, or what its arguments say.
    fn may_be_row(&self, routine: &Routine) -> bool {
        if let Some(shape) = self.env.catalog.type_shape(routine.returns) {
            return matches!(shape, TypeShape::Composite(_) | TypeShape::Domain(_));
        }
        let Some(created) = routine.definition.as_deref().and_then(created) else { return false };
        let names = created.return_type.map(|kind| strings(&kind.names)).unwrap_or_default();
        match &*names {
            [schema, _] => schema != "pg_catalog",
            [name] => name == "record" || name.starts_with("any"),
            _ => true,
        }
    }

    /// The relation whose row type a function returns.
    fn row_type(&self, routine: &Routine) -> Option<&'a Relation> {
        let created = created(routine.definition.as_deref()?)?;
        let names = strings(&created.return_type.as_ref()?.names);
        let [schema, name] = &*names else { return None };
        let catalog = self.env.catalog;
        catalog.named(None, name).find(|relation| relation.schema == *schema)
    }

    fn path_of(&self, routine: &Routine) -> Option<Vec<String>> {
        match routine.search_path.as_deref() {
            Some(path) => Some(super::setting::schemas(path)),
            None => self.path.clone(),
        }
    }

    fn sql_body(&mut self, routine: &'a Routine, text: &str, arguments: &[NodeId]) -> Option<Query<'a>> {
        let created = created(text)?;
        let statements = if let Some(body) = created.sql_body.as_deref() {
            vec![body.clone()]
        } else {
            let statements = parse::statements(&body_text(&created)?).ok()?;
            statements.into_iter().filter_map(|raw| raw.stmt).map(|stmt| *stmt).collect()
        };
        let variables = Variables {
            function: routine.name.clone(),
            positional: arguments.to_vec(),
            named: named_arguments(routine, arguments),
        };
        // Of a body that is no text, the server writes names out in full.
        let is_written_out = created.sql_body.is_some() && self.env.catalog.routine(routine.oid).is_some();
        let path = if is_written_out { Some(Vec::new()) } else { self.path_of(routine) };
        let (query, _) = self.apart(Some(variables), path, |tracer| {
            let mut last = None;
            for statement in &statements {
                last = Some(tracer.body_statement(statement));
            }
            last
        });
        query
    }

    /// One statement of a body in SQL; `RETURN` and `BEGIN ATOMIC` included.
    fn body_statement(&mut self, statement: &Node) -> Query<'a> {
        match statement.node.as_ref() {
            Some(NodeEnum::ReturnStmt(value)) => {
                let rows = self.graph.made(Vec::new());
                self.levels.push(Level { items: Vec::new(), rows });
                let nodes = self.optional(value.returnval.as_deref());
                self.levels.pop();
                let columns = nodes.into_iter().map(|node| (Cow::Borrowed(""), node)).collect();
                Query { columns: Columns { list: columns, open: None }, rows }
            }
            Some(NodeEnum::List(several)) => {
                let mut last = None;
                for item in &several.items {
                    last = Some(self.body_statement(item));
                }
                last.unwrap_or_else(|| self.nothing())
            }
            Some(
                NodeEnum::SelectStmt(_)
                | NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)
                | NodeEnum::MergeStmt(_),
            ) => self.any_query(Some(statement)),
            Some(NodeEnum::CallStmt(call)) => {
                // INOUT arguments are variables, which take what comes out.
                let outputs = call.funccall.as_deref().map(|call| self.call(call).0);
                let list = outputs.into_iter().map(|node| (Cow::Borrowed(""), node)).collect();
                let rows = self.graph.made(Vec::new());
                Query { columns: Columns { list, open: None }, rows }
            }
            Some(kind) if self.defines_no_flow(kind) => self.nothing(),
            _ => {
                // What else a body may hold moves no value, or is refused where it is sent by itself.
                self.facts.calls_opaque_code = true;
                self.unknown_query(Untraceable::OpaqueFunction)
            }
        }
    }

    pub(super) fn nothing(&mut self) -> Query<'a> {
        let rows = self.graph.made(Vec::new());
        Query { columns: Columns::default(), rows }
    }

    /// Reads a function's body in PL/pgSQL.
    fn plpgsql_body(&mut self, routine: &'a Routine, text: &str, arguments: &[NodeId]) -> Option<Query<'a>> {
        let body = plpgsql::read(&body_text(&created(text)?)?)?;
        let pool = self.graph.made(arguments.to_vec());
        let mut named = named_arguments(routine, arguments);
        // A variable may be given another value than its argument's.
        for (_, node) in &mut named {
            *node = pool;
        }
        named.extend(routine.outputs.iter().map(|name| (Cow::Borrowed(&**name), pool)));
        let positional = vec![pool; arguments.len()];
        let variables = Variables { function: routine.name.clone(), positional, named };
        let path = self.path_of(routine);
        let ((returned, rows), _) = self.repeated(|tracer| tracer.pieces(&body, pool, variables, path, None));
        // OUT arguments are variables.
        let variables = || Columns { list: vec![(Cow::Borrowed(""), pool)], open: None };
        let mut columns = returned.unwrap_or_else(variables);
        for (_, node) in &mut columns.list {
            if !routine.outputs.is_empty() && *node != pool {
                self.graph.add(*node, &[pool]);
            }
            self.graph.imply(*node, &[pool]);
        }
        // A loop may return as many rows as a variable says.
        self.graph.imply(rows, &[pool]);
        Some(Query { columns, rows })
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
                let pool = self.graph.made(Vec::new());
                let variables =
                    Variables { function: String::new(), positional: Vec::new(), named: Vec::new() };
                let path = self.path.clone();
                let (_, repeats) = self.repeated(|tracer| tracer.pieces(&body, pool, variables, path, None));
                if !self.puts.is_empty() || self.facts.counts {
                    // As many rows as a masked value says, whatever is in them.
                    self.meet(vec![repeats], Usage::RowCount, false);
                }
            }
            None => self.facts.calls_opaque_code = true,
        }
    }

    /// What a trigger's function does with the rows of a relation.
    pub(super) fn trigger(&mut self, routine: &'a Routine, on: &super::facts::Name) -> Option<()> {
        let text = routine.definition.as_deref().filter(|_| routine.language == "plpgsql")?;
        let body = plpgsql::read(&body_text(&created(text)?)?)?;
        let pool = self.graph.made(Vec::new());
        let variables =
            Variables { function: routine.name.clone(), positional: Vec::new(), named: Vec::new() };
        let path = self.path_of(routine);
        let on = self.relation_item(&on.schema, &on.name);
        self.repeated(|tracer| tracer.pieces(&body, pool, variables, path, Some(&on)));
        Some(())
    }

    /// Reads what loops may repeat: with it, what decides how often.
    fn repeated<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, NodeId) {
        let repeats = self.graph.made(Vec::new());
        self.guards.push(repeats);
        let result = read(self);
        self.guards.pop();
        (result, repeats)
    }

    /// Reads every piece of a body, with one value for all its variables.
    fn pieces(
        &mut self,
        body: &plpgsql::Body,
        pool: NodeId,
        mut variables: Variables<'a>,
        path: Option<Vec<String>>,
        on: Option<&Item<'a>>,
    ) -> (Option<Columns<'a>>, NodeId) {
        let declared = body.variables.iter().map(|name| Cow::Owned(name.clone()));
        let caught = self.graph.made(vec![pool]);
        variables.named.extend(["sqlerrm", "sqlstate"].map(|name| (Cow::Borrowed(name), caught)));
        let before = self.told();
        let special = SPECIAL_VARIABLES.into_iter().map(Cow::Borrowed);
        variables.named.extend(declared.chain(special).map(|name| (name, pool)));
        let rows_of_trigger = on.map(|on| self.rows_of_trigger(on)).unwrap_or_default();
        let (result, _) = self.apart(Some(variables), path, |tracer| {
            let rows = tracer.graph.made(Vec::new());
            tracer.levels.push(Level { items: Vec::new(), rows });
            for row in rows_of_trigger {
                tracer.bring(vec![row]);
            }
            let mut returned = None;
            for piece in &body.pieces {
                tracer.piece(piece, (pool, caught), on, &mut returned);
            }
            if body.catches {
                tracer.quotes(caught, before);
            }
            tracer.levels.pop();
            (returned, rows)
        });
        result
    }

    fn piece(
        &mut self,
        piece: &Piece,
        (pool, caught): (NodeId, NodeId),
        on: Option<&Item<'a>>,
        returned: &mut Option<Columns<'a>>,
    ) {
        match piece {
            Piece::Assign { target, value } => {
                let value = self.value_of(value);
                self.fill(target, value, pool, on);
            }
            Piece::Caught(target) => self.fill(target, caught, pool, on),
            Piece::Dynamic => {
                self.facts.calls_opaque_code = true;
                let unknown = self.graph.unknown(Untraceable::DynamicSql);
                self.graph.add(pool, &[unknown]);
            }
            Piece::Query { sql, into, returned: is_returned } => {
                let Some(query) = self.parsed_query(sql) else {
                    self.facts.calls_opaque_code = true;
                    let unknown = self.graph.unknown(Untraceable::OpaqueFunction);
                    self.graph.add(pool, &[unknown]);
                    return;
                };
                let nodes = query.columns.nodes();
                self.graph.imply(pool, &[query.rows]);
                if *is_returned {
                    self.return_columns(&query.columns, returned);
                } else {
                    // FOR and FETCH fill variables that are not named with INTO.
                    self.graph.add(pool, &nodes);
                }
                let is_call = sql.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("call"));
                let fills = |target: &Vec<String>| target.first().is_some_and(|name| name == "new");
                if let (Some(on), true) = (on, is_call || into.iter().any(fills)) {
                    let value = self.graph.made(nodes);
                    self.put_into_row(on, "*", value);
                }
            }
            Piece::Loop(value) => {
                let node = self.value_of(value);
                self.graph.imply(pool, &[node]);
                if let Some(repeats) = self.guards.last().copied() {
                    self.graph.add(repeats, &[node]);
                }
            }
            Piece::Raise(values) => {
                for value in values {
                    let node = self.value_of(value);
                    self.facts.raised.push(node);
                }
            }
            Piece::Return(value) => {
                let node = self.value_of(value);
                match on {
                    // Whatever row is returned is the one that is written.
                    Some(on) if !["new", "null", "old"].contains(&&*value.to_ascii_lowercase()) => {
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
                let node = self.value_of(value);
                self.graph.imply(pool, &[node]);
            }
        }
    }

    /// Gives a value to a variable, or to a column of the row a trigger writes.
    fn fill(&mut self, target: &[String], value: NodeId, pool: NodeId, on: Option<&Item<'a>>) {
        match (on, target) {
            (Some(on), [row, column]) if row == "new" => self.put_into_row(on, column, value),
            (Some(on), [row]) if row == "new" => self.put_into_row(on, "*", value),
            _ => self.graph.add(pool, &[value]),
        }
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

    pub(super) fn value_of(&mut self, expression: &str) -> NodeId {
        let Some(query) = self.parsed_query(&format!("select {expression}")) else {
            return self.graph.unknown(Untraceable::OpaqueFunction);
        };
        let node = self.graph.made(query.columns.nodes());
        self.graph.imply(node, &[query.rows]);
        node
    }

    fn parsed_query(&mut self, sql: &str) -> Option<Query<'a>> {
        let statements = parse::statements(sql).ok()?;
        let statement = statements.first()?.stmt.as_deref()?;
        Some(self.body_statement(statement))
    }
}

fn named_arguments<'a>(routine: &'a Routine, arguments: &[NodeId]) -> Vec<(Cow<'a, str>, NodeId)> {
    let names = routine.inputs.iter().map(|name| Cow::Borrowed(&**name));
    names.zip(arguments.iter().copied()).filter(|(name, _)| !name.is_empty()).collect()
}

/// The statement that makes a function.
pub(super) fn created(definition: &str) -> Option<CreateFunctionStmt> {
    let statements = parse::statements(definition).ok()?;
    let statement = statements.into_iter().next()?.stmt?.node?;
    match statement {
        NodeEnum::CreateFunctionStmt(created) => Some(*created),
        _ => None,
    }
}

/// The text of its body.
pub(super) fn body_text(created: &CreateFunctionStmt) -> Option<String> {
    created.options.iter().find_map(|option| match option.node.as_ref()? {
        NodeEnum::DefElem(option) if option.defname == "as" => match option.arg.as_deref()?.node.as_ref()? {
            NodeEnum::List(list) => list.items.first().and_then(text).map(ToOwned::to_owned),
            _ => None,
        },
        _ => None,
    })
}

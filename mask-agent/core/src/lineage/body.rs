//! Bodies of functions users wrote: what a call returns, and what it writes on the way.
//!
//! SQL is read statement by statement with the arguments in place. Of PL/pgSQL every static statement and
//! expression is read, in no order: a variable is made of whatever it is given anywhere, and whatever decides
//! what happens is implied by all of them. SQL that is put together while running, and every other language, is
//! opaque.

use std::borrow::Cow;

use pg_query::{
    NodeEnum,
    protobuf::{CreateFunctionStmt, DropBehavior, FunctionParameterMode as Mode, Node},
};

use super::{
    Untraceable,
    call::ARGUMENTS_MAX,
    code::code,
    graph::NodeId,
    names::strings,
    scope::{Columns, Level},
    trace::{Query, Tracer},
};
use crate::catalog::{Relation, Routine, RoutineKind, TypeShape, Volatility};

/// Functions that call each other; deeper is a loop, or nothing anybody wrote.
const CALL_DEPTH_MAX: usize = 8;

/// What names mean in a function's body besides columns.
#[derive(Clone, Debug)]
pub(super) struct Variables<'a> {
    /// The function's name, which may stand before an argument's.
    pub(super) function: String,
    pub(super) positional: Vec<NodeId>,
    pub(super) named: Vec<(Cow<'a, str>, NodeId)>,
    pub(super) records: Vec<Record>,
    /// Whether the name of a column may mean a variable: `plpgsql.variable_conflict` says which, and may be set anywhere.
    pub(super) may_hide: bool,
    /// Those that have no fields.
    pub(super) scalars: Vec<String>,
}

/// A variable whose fields are known apart.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) node: NodeId,
    /// What may be in any field.
    pub(super) rest: NodeId,
    /// What decides what happens where it is declared.
    pub(super) flow: NodeId,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    node: NodeId,
    /// Whether anything was given to it by its name.
    is_given: bool,
}

impl Record {
    pub(super) fn new(node: NodeId, rest: NodeId, flow: NodeId) -> Self {
        Self { node, rest, flow, fields: Vec::new() }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = NodeId> {
        self.fields.iter().map(|field| field.node)
    }

    /// Fields that are read, and that nothing was given to by name.
    pub(super) fn unknown(&self) -> impl Iterator<Item = NodeId> {
        self.fields.iter().filter(|field| !field.is_given).map(|field| field.node)
    }
}

impl Variables<'_> {
    /// Of a body without arguments.
    pub(super) fn none(function: String) -> Self {
        Self {
            function,
            positional: Vec::new(),
            named: Vec::new(),
            records: Vec::new(),
            may_hide: true,
            scalars: Vec::new(),
        }
    }

    /// The variable that is given a value by these names.
    pub(super) fn target(&self, names: &[String]) -> Option<NodeId> {
        let [first, rest @ ..] = names else { return None };
        let variable =
            |name: &str| self.named.iter().rev().find(|(known, _)| known == name).map(|(_, node)| *node);
        if let Some(number) = first.strip_prefix('$') {
            return self.positional.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied();
        }
        match rest {
            // `function.argument`; of a row, its field.
            [argument] if *first == self.function => variable(argument).or_else(|| variable(first)),
            _ => variable(first),
        }
    }

    /// Whether names behind the function's may be those of a variable's fields, because that is called like the function.
    pub(super) fn is_either(&self, first: &str, behind: &[String]) -> bool {
        let has = |name: &str| self.named.iter().any(|(known, _)| known == name);
        let may_have_fields = || self.may_hide && self.scalars.iter().all(|name| name != first);
        *first == self.function
            && has(first)
            && match behind {
                [] => false,
                [argument] => has(argument) && may_have_fields(),
                _ => true,
            }
    }

    /// All of them.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> =
            self.named.iter().map(|(_, node)| *node).chain(self.positional.iter().copied()).collect();
        nodes.extend(self.records.iter().map(|record| record.rest));
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
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

    /// What a name may mean instead of the column that it was found to be, or that it was not.
    pub(super) fn hidden_by(&mut self, names: &[&str], column: Option<NodeId>) -> Option<NodeId> {
        let variables = self.variables.as_ref().filter(|variables| variables.may_hide)?;
        let (is_labelled, names) = match names {
            [first, rest @ ..] if rest.len() == 2 && variables.function == *first => (true, rest),
            names => (false, names),
        };
        match *names {
            [name] => self.variable(name),
            [record, field] => {
                let has_fields = variables.scalars.iter().all(|name| name != record);
                // Where no relation is called so, it was taken for the variable.
                let is_free = is_labelled || column.is_some() && self.find_item(record).is_some();
                let of_row = self.field_of_row(record, field);
                of_row.or_else(|| {
                    (has_fields && is_free).then(|| self.field_of_variable(record, field)).flatten()
                })
            }
            _ => None,
        }
        .filter(|variable| column != Some(*variable))
    }

    /// A field of the row that a trigger sees.
    fn field_of_row(&self, row: &str, field: &str) -> Option<NodeId> {
        let rows = self.levels.first().filter(|_| ["new", "old"].contains(&row))?;
        let item = rows.items.iter().find(|item| !item.is_open && item.name.as_deref() == Some(row))?;
        item.columns.named(field).first().copied()
    }

    /// `record.field`, or `function.argument`.
    pub(super) fn field_of_variable(&mut self, record: &str, field: &str) -> Option<NodeId> {
        let variables = self.variables.as_ref()?;
        let is_either = variables.is_either(record, &[field.to_owned()]);
        let argument = if variables.function == record { self.variable(field) } else { None };
        if let Some(argument) = argument.filter(|_| !is_either) {
            return Some(argument);
        }
        let node = self.variable(record)?;
        let field = self.field(node, field, false).unwrap_or(node);
        Some(self.graph.held([field].into_iter().chain(argument).collect()))
    }

    /// A field of a record, where they are known apart.
    fn field(&mut self, record: NodeId, name: &str, is_given: bool) -> Option<NodeId> {
        let records = &mut self.variables.as_mut()?.records;
        let record = records.iter_mut().find(|known| known.node == record)?;
        if let Some(field) = record.fields.iter_mut().find(|field| field.name == name) {
            field.is_given |= is_given;
            return Some(field.node);
        }
        let node = self.graph.held(vec![record.rest]);
        self.graph.imply(node, &[record.flow]);
        self.graph.add(record.node, &[node]);
        record.fields.push(Field { name: name.to_owned(), node, is_given });
        Some(node)
    }

    /// Where a value goes that is given to a variable, or to a field of it.
    pub(super) fn part_of_variable(&mut self, variable: NodeId, field: Option<&str>) -> NodeId {
        // A column without a name may have any.
        let named = field.filter(|name| !name.is_empty() && *name != "?column?");
        if let Some(field) = named.and_then(|name| self.field(variable, name, true)) {
            return field;
        }
        let records = self.variables.iter().flat_map(|variables| &variables.records);
        let mut rests = records.filter(|record| record.node == variable).map(|record| record.rest);
        rests.next().unwrap_or(variable)
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
        self.facts.routines.push(routine.oid);
        (self.facts.calls_user_code, self.multiplies) = (true, self.multiplies || routine.returns_set);
        self.varies |= routine.volatility == Volatility::Volatile;
        let arguments = &*self.inputs(routine, arguments);
        let is_again = self.calling.contains(&routine.oid);
        self.recurs |= is_again;
        let deep = self.calling.len() >= CALL_DEPTH_MAX || is_again;
        if routine.kind == RoutineKind::Aggregate && !deep && !routine.parts.is_empty() {
            return self.aggregate(routine, arguments);
        }
        let plain = matches!(routine.kind, RoutineKind::Function | RoutineKind::Procedure);
        if deep || !plain || !self.expands(routine.definition.as_deref().unwrap_or_default()) {
            return self.opaque(routine, arguments, Untraceable::OpaqueFunction);
        }
        let before = self.traces;
        self.calling.push(routine.oid);
        let query = match (&*routine.language, routine.definition.as_deref()) {
            ("sql", Some(text)) => self.sql_body(routine, text, arguments),
            ("plpgsql", Some(text)) => self.plpgsql_body(routine, text, arguments),
            _ => None,
        };
        self.calling.pop();
        // One that is strict does not run where any of these is NULL.
        let computed: Vec<NodeId> =
            arguments.iter().copied().filter(|node| !self.graph.is_identity(*node)).collect();
        self.decides_traces(before, &computed);
        let Some(mut query) = query else {
            return self.opaque(routine, arguments, Untraceable::OpaqueFunction);
        };
        self.cut(routine, &mut query.columns);
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
        let mut inputs = self.without_outputs(routine, arguments);
        let arguments = &*inputs.clone();
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

    /// What CALL gives to arguments that only come out is not looked at.
    fn without_outputs(&mut self, routine: &Routine, arguments: &[NodeId]) -> Vec<NodeId> {
        let code =
            routine.definition.as_deref().filter(|_| routine.kind == RoutineKind::Procedure).and_then(code);
        let Some(code) = code else { return arguments.to_vec() };
        let are_inputs: Vec<bool> = parameters(&code.created).map(|(_, is_input)| is_input).collect();
        if are_inputs.len() == arguments.len() {
            let given = arguments.iter().zip(are_inputs).filter(|(_, is_input)| *is_input);
            return given.map(|(node, _)| *node).collect();
        }
        if are_inputs.contains(&false) {
            // Some have defaults, or are named.
            let any = self.graph.made(arguments.to_vec());
            return vec![any; ARGUMENTS_MAX];
        }
        arguments.to_vec()
    }

    /// Arguments by their numbers, where those that only come out have one too: in PL/pgSQL, and in procedures.
    pub(super) fn numbered(
        &mut self,
        created: &CreateFunctionStmt,
        inputs: &[NodeId],
        named: &[(Cow<'a, str>, NodeId)],
    ) -> Vec<NodeId> {
        let mut inputs = inputs.iter();
        let mut number = |(name, is_input): (&str, bool)| {
            let given = if is_input { inputs.next().copied() } else { None };
            let known = || named.iter().find(|(known, _)| known == name).map(|(_, node)| *node);
            given.or_else(known).unwrap_or_else(|| self.graph.made(Vec::new()))
        };
        parameters(created).map(&mut number).collect()
    }

    /// Defaults of arguments that are no constants.
    fn argument_defaults(&mut self, routine: &Routine) -> Vec<NodeId> {
        if self.calling.len() >= CALL_DEPTH_MAX || self.calling.contains(&routine.oid) {
            return Vec::new();
        }
        let Some(code) = routine.definition.as_deref().and_then(code) else { return Vec::new() };
        let parameters =
            code.created.parameters.iter().filter_map(|parameter| match parameter.node.as_ref()? {
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
        self.leaves_trace(&[]);
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
        let Some(code) = routine.definition.as_deref().and_then(code) else { return false };
        let returned = code.created.return_type.as_ref();
        let names = returned.map(|kind| strings(&kind.names)).unwrap_or_default();
        match &*names {
            [schema, _] => schema != "pg_catalog",
            [name] => name == "record" || name.starts_with("any"),
            _ => true,
        }
    }

    /// The relation whose row type a function returns.
    pub(super) fn row_type(&self, routine: &Routine) -> Option<&'a Relation> {
        let code = code(routine.definition.as_deref()?)?;
        let names = strings(&code.created.return_type.as_ref()?.names);
        let [schema, name] = &*names else { return None };
        let catalog = self.env.catalog;
        catalog.named(None, name).find(|relation| relation.schema == *schema)
    }

    pub(super) fn path_of(&self, routine: &Routine) -> Option<Vec<String>> {
        match routine.search_path.as_deref() {
            Some(path) => Some(super::setting::schemas(path)),
            None => self.path.clone(),
        }
    }

    fn sql_body(&mut self, routine: &'a Routine, text: &str, arguments: &[NodeId]) -> Option<Query<'a>> {
        let code = code(text)?;
        let statements = code.statements()?;
        let positional = match routine.kind {
            RoutineKind::Procedure => self.numbered(&code.created, arguments, &[]),
            _ => arguments.to_vec(),
        };
        let variables = Variables {
            function: routine.name.clone(),
            positional,
            named: named_arguments(routine, arguments),
            records: Vec::new(),
            may_hide: false,
            scalars: Vec::new(),
        };
        // Of a body that is no text, the server writes names out in full.
        let is_written_out =
            code.created.sql_body.is_some() && self.env.catalog.routine(routine.oid).is_some();
        let path = if is_written_out { Some(Vec::new()) } else { self.path_of(routine) };
        let (query, _) = self.apart(Some(variables), path, |tracer| {
            let mut last = None;
            for statement in statements {
                last = Some(tracer.body_statement(statement));
            }
            last
        });
        query
    }

    /// One statement of a body in SQL; `RETURN` and `BEGIN ATOMIC` included.
    pub(super) fn body_statement(&mut self, statement: &Node) -> Query<'a> {
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
            // What was written is there from now on, or is not, and others see that; they wait for locks.
            Some(NodeEnum::LockStmt(_) | NodeEnum::TransactionStmt(_)) => {
                self.leaves_trace(&[]);
                self.nothing()
            }
            // Others that go with it are not named.
            Some(NodeEnum::TruncateStmt(truncate)) if truncate.behavior() != DropBehavior::DropCascade => {
                self.leaves_trace(&[]);
                self.empties(truncate);
                self.nothing()
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
}

/// Names of a function's arguments in order, and whether they go in.
fn parameters(created: &CreateFunctionStmt) -> impl Iterator<Item = (&str, bool)> {
    created.parameters.iter().filter_map(|parameter| match parameter.node.as_ref()? {
        NodeEnum::FunctionParameter(parameter) => {
            let only_comes_out = matches!(parameter.mode(), Mode::FuncParamOut | Mode::FuncParamTable);
            Some((&*parameter.name, !only_comes_out))
        }
        _ => None,
    })
}

pub(super) fn named_arguments<'a>(routine: &'a Routine, arguments: &[NodeId]) -> Vec<(Cow<'a, str>, NodeId)> {
    let names = routine.inputs.iter().map(|name| Cow::Borrowed(&**name));
    names.zip(arguments.iter().copied()).filter(|(name, _)| !name.is_empty()).collect()
}

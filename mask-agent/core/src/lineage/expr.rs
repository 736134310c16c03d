//! Expressions: which values a value is made of, and which values meet in a condition.

use pg_query::{
    NodeEnum,
    protobuf::{self, AExprKind, Node, SqlValueFunctionOp, SubLinkType},
};

use super::{
    Untraceable,
    cast::{DATE, INT4, TIME, TIMESTAMP, TIMESTAMPTZ, TIMETZ},
    functions,
    graph::{NodeId, Pace, Usage, is_relative_time},
    guesses::Guesses,
    meet::{compares_in_order, is_row_of_columns},
    names::{literal, qualified, strings},
    operator::{UNKNOWN, by_column},
    scope::Columns,
    trace::Tracer,
};

impl<'a> Tracer<'a> {
    /// What an expression's value is made of.
    pub(super) fn expression(&mut self, node: &Node) -> NodeId {
        let Some(kind) = node.node.as_ref() else { return self.graph.made(Vec::new()) };
        match kind {
            NodeEnum::ColumnRef(reference) => {
                if let Some(columns) = self.star(node) {
                    // `count(c.*)`: a row as one value.
                    let nodes = columns.nodes();
                    self.refs.extend(&nodes);
                    self.facts.named.extend(&nodes);
                    return self.graph.beside(nodes);
                }
                let names = strings(&reference.fields);
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.column(&names)
            }
            NodeEnum::AConst(constant) => {
                let value = match &constant.val {
                    None | Some(protobuf::a_const::Val::Sval(_)) => self.graph.typed(UNKNOWN),
                    Some(protobuf::a_const::Val::Ival(_)) => self.graph.typed(INT4),
                    Some(_) => self.graph.made(Vec::new()),
                };
                if let Some(protobuf::a_const::Val::Sval(text)) = &constant.val
                    && is_relative_time(text.sval.as_bytes())
                {
                    self.graph.set_pace(value, Pace::Clock);
                }
                self.give(value, node);
                value
            }
            NodeEnum::SetToDefault(_) | NodeEnum::AStar(_) => self.graph.made(Vec::new()),
            NodeEnum::ParamRef(parameter) => {
                let value = self.parameter(parameter.number);
                self.give(value, node);
                value
            }
            NodeEnum::TypeCast(cast) => self.cast(cast),
            NodeEnum::FuncCall(call) => self.call(call).0,
            NodeEnum::AExpr(expression) => self.operation(expression),
            NodeEnum::SubLink(link) => self.sub_link(link).0,
            NodeEnum::AIndirection(indirection) => self.indirection(indirection),
            // A collation sorts values and changes none.
            NodeEnum::CollateClause(collate) => {
                let nodes = self.optional(collate.arg.as_deref());
                match *nodes {
                    [node] if !self.loosens(collate) => node,
                    _ => {
                        let value = self.graph.copy(nodes);
                        self.graph.loosen(value);
                        // A condition is told of it, and not only of the columns in it.
                        self.refs.push(value);
                        value
                    }
                }
            }
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::NullTest(test) => {
                let nodes = self.optional(test.arg.as_deref());
                // NULL is shown as NULL anyway, but where it comes from an outer join it tells of the rows.
                match *nodes {
                    [node] if self.graph.is_identity(node) && !test.argisrow => {
                        let rows = self.graph.rows_behind(node);
                        let test = self.graph.null_test(node);
                        self.graph.imply(test, &rows);
                        test
                    }
                    _ => self.graph.made(nodes),
                }
            }
            _ => self.list_expression(kind),
        }
    }

    /// Expressions that are made of their parts, whatever these are.
    fn list_expression(&mut self, kind: &NodeEnum) -> NodeId {
        let nodes = match kind {
            NodeEnum::BooleanTest(test) => self.optional(test.arg.as_deref()),
            NodeEnum::BoolExpr(boolean) => self.in_order(&boolean.args),
            NodeEnum::CoalesceExpr(coalesce) => {
                // Put in place of NULL, these are no guess.
                let is_empty = |node: &&Node| !literal(node).is_some_and(|text| matches!(&*text, "" | "0"));
                let others: Vec<&Node> = coalesce.args.iter().filter(is_empty).collect();
                let has_blanks = others.len() < coalesce.args.len();
                let nodes = self.in_order(others);
                let value = self.choose(&nodes);
                self.facts.blanked.extend(has_blanks.then_some(value));
                return value;
            }
            NodeEnum::MinMaxExpr(least) => self.all(&least.args),
            NodeEnum::RowExpr(row) => return self.row(&row.args),
            NodeEnum::List(list) => self.all(&list.items),
            NodeEnum::AArrayExpr(array) => {
                let nodes = self.all(&array.elements);
                return self.choose(&nodes);
            }
            NodeEnum::NamedArgExpr(argument) => self.optional(argument.arg.as_deref()),
            NodeEnum::ResTarget(target) => self.optional(target.val.as_deref()),
            NodeEnum::SqlvalueFunction(function) => {
                let (type_oid, pace) = word(function.op());
                let value = self.graph.typed(type_oid);
                self.graph.set_pace(value, pace);
                return value;
            }
            NodeEnum::GroupingFunc(_) | NodeEnum::MergeSupportFunc(_) => Vec::new(),
            NodeEnum::CurrentOfExpr(cursor) => {
                // A body's cursors are its own.
                if self.calling.is_empty() && self.variables.is_none() {
                    self.facts.positions.push(cursor.cursor_name.clone());
                }
                Vec::new()
            }
            NodeEnum::XmlExpr(xml) => {
                let mut nodes = self.all(&xml.args);
                nodes.extend(self.all(&xml.named_args));
                nodes
            }
            NodeEnum::XmlSerialize(xml) => self.optional(xml.expr.as_deref()),
            NodeEnum::JsonValueExpr(value) => self.json_value(Some(value)),
            NodeEnum::JsonParseExpr(json) => self.json_value(json.expr.as_deref()),
            NodeEnum::JsonScalarExpr(json) => self.optional(json.expr.as_deref()),
            NodeEnum::JsonSerializeExpr(json) => self.json_value(json.expr.as_deref()),
            NodeEnum::JsonIsPredicate(json) => self.optional(json.expr.as_deref()),
            NodeEnum::JsonObjectConstructor(json) => self.all(&json.exprs),
            NodeEnum::JsonArrayConstructor(json) => self.all(&json.exprs),
            NodeEnum::JsonArrayQueryConstructor(json) => {
                let (query, tied) = self.subquery(json.query.as_deref());
                let nodes = query.columns.nodes();
                let node = self.graph.made(nodes);
                self.graph.imply(node, &[query.rows]);
                self.graph.tie(node, &tied);
                vec![node]
            }
            NodeEnum::JsonKeyValue(pair) => {
                let mut nodes = self.optional(pair.key.as_deref());
                nodes.extend(self.json_value(pair.value.as_deref()));
                nodes
            }
            NodeEnum::JsonArgument(argument) => self.json_value(argument.val.as_deref()),
            NodeEnum::JsonFuncExpr(json) => {
                let mut nodes = self.json_value(json.context_item.as_deref());
                nodes.extend(self.optional(json.pathspec.as_deref()));
                nodes.extend(self.all(&json.passing));
                let before = self.guards.len();
                self.guards.extend_from_slice(&nodes);
                for behavior in [&json.on_empty, &json.on_error].into_iter().flatten() {
                    nodes.extend(self.optional(behavior.expr.as_deref()));
                }
                self.guards.truncate(before);
                nodes
            }
            NodeEnum::JsonObjectAgg(json) => {
                let mut nodes = Vec::new();
                if let Some(pair) = json.arg.as_deref() {
                    nodes.extend(self.optional(pair.key.as_deref()));
                    nodes.extend(self.json_value(pair.value.as_deref()));
                }
                return self.json_aggregate(nodes, json.constructor.as_deref());
            }
            NodeEnum::JsonArrayAgg(json) => {
                let nodes = self.json_value(json.arg.as_deref());
                return self.json_aggregate(nodes, json.constructor.as_deref());
            }
            _ => vec![self.graph.unknown(Untraceable::UnknownExpression)],
        };
        self.facts.computed.extend_from_slice(&nodes);
        self.graph.made(nodes)
    }

    pub(super) fn optional(&mut self, node: Option<&Node>) -> Vec<NodeId> {
        node.map(|node| self.expression(node)).into_iter().collect()
    }

    pub(super) fn all(&mut self, nodes: &[Node]) -> Vec<NodeId> {
        nodes.iter().map(|node| self.expression(node)).collect()
    }

    /// Whether different values may be equal by a collation: one of these, or one that this transaction has made.
    pub(super) fn loosens(&self, collate: &protobuf::CollateClause) -> bool {
        let (_, name) = qualified(&collate.collname);
        self.env.catalog.loose_collations().contains(&name) || self.env.overlay.has_any()
    }

    fn case(&mut self, case: &protobuf::CaseExpr) -> NodeId {
        let before = self.guards.len();
        let tested = self.optional(case.arg.as_deref());
        self.facts.computed.extend_from_slice(&tested);
        let (mut nodes, mut results) = (tested.clone(), Vec::new());
        for when in &case.args {
            if let Some(NodeEnum::CaseWhen(when)) = when.node.as_ref() {
                if !tested.is_empty() {
                    // Each is a question.
                    let again = self.graph.copy(tested.clone());
                    self.guards.push(again);
                }
                let mut test = self.optional(when.expr.as_deref());
                if !tested.is_empty() {
                    test.extend(self.operator("=", &tested, &test));
                }
                self.guards.extend_from_slice(&test);
                nodes.extend(test);
                results.extend(self.optional(when.result.as_deref()));
            }
        }
        results.extend(self.optional(case.defresult.as_deref()));
        self.guards.truncate(before);
        nodes.extend_from_slice(&results);
        let value = self.graph.made(nodes);
        self.may_be(value, &results);
        value
    }

    /// Parts of which each may decide whether those behind it are evaluated.
    fn in_order<'n>(&mut self, parts: impl IntoIterator<Item = &'n Node>) -> Vec<NodeId> {
        let before = self.guards.len();
        for part in parts {
            let node = self.expression(part);
            self.guards.push(node);
        }
        self.guards.split_off(before)
    }

    fn row(&mut self, arguments: &[Node]) -> NodeId {
        let mut nodes = Vec::new();
        for argument in arguments {
            match self.star(argument) {
                Some(columns) => {
                    let all = columns.nodes();
                    self.refs.extend(&all);
                    self.facts.named.extend(&all);
                    nodes.extend(all);
                }
                None => nodes.push(self.expression(argument)),
            }
        }
        self.graph.beside(nodes)
    }

    pub(super) fn json_value(&mut self, value: Option<&protobuf::JsonValueExpr>) -> Vec<NodeId> {
        self.optional(value.and_then(|value| value.raw_expr.as_deref()))
    }

    fn json_aggregate(
        &mut self,
        nodes: Vec<NodeId>,
        constructor: Option<&protobuf::JsonAggConstructor>,
    ) -> NodeId {
        let node = self.graph.made(nodes);
        if let Some(constructor) = constructor {
            self.condition(constructor.agg_filter.as_deref());
            self.order(&constructor.agg_order);
            if let Some(window) = &constructor.over {
                self.window(window);
            }
        }
        self.depends_on_rows(node);
        node
    }

    /// An aggregate's value tells which rows there are.
    pub(super) fn depends_on_rows(&mut self, node: NodeId) {
        if let Some(level) = self.levels.last() {
            let rows = level.rows;
            self.graph.imply(node, &[rows]);
        }
    }

    fn indirection(&mut self, indirection: &protobuf::AIndirection) -> NodeId {
        let argument = indirection.arg.as_deref();
        // `(c).email` of a relation's whole row is its column.
        if let (Some(NodeEnum::ColumnRef(reference)), [field]) =
            (argument.and_then(|node| node.node.as_ref()), &*indirection.indirection)
            && let (Some(name), [relation]) = (super::trace::only_text(field), &*strings(&reference.fields))
            && !self.is_before_row(relation)
            && let Some((level, item)) = self.find_item_at(relation)
            && let [node] = *item.columns.named(name)
        {
            self.correlate(level, node);
            self.refs.push(node);
            self.facts.named.push(node);
            return node;
        }
        let mut nodes = self.optional(argument);
        let mut bounds = Vec::new();
        for part in &indirection.indirection {
            match part.node.as_ref() {
                Some(NodeEnum::AIndices(indices)) => {
                    let lower = self.optional(indices.lidx.as_deref());
                    let at = [lower, self.optional(indices.uidx.as_deref())].concat();
                    bounds.extend(at.iter().filter(|_| indices.is_slice));
                    nodes.extend(at);
                }
                // `(expression).f` calls `f(expression)` where its type has no such field.
                Some(NodeEnum::String(name))
                    if self.is_user_routine(&name.sval) || functions::reaches(&name.sval) =>
                {
                    let arguments = nodes.clone();
                    nodes.push(self.call_by_name(&[&name.sval], arguments));
                }
                _ => {}
            }
        }
        let value = self.graph.made(nodes);
        if !bounds.is_empty() {
            self.graph.sizes(value, &bounds);
        }
        value
    }

    fn operation(&mut self, expression: &protobuf::AExpr) -> NodeId {
        let before = self.traces;
        let left = self.optional(expression.lexpr.as_deref());
        let right = self.optional(expression.rexpr.as_deref());
        let more = self.operators(expression, &left, &right);
        let sides = [left, right].concat();
        if compares_in_order(expression) {
            let is_list = expression.kind() == AExprKind::AexprIn;
            let deciding = if is_list { sides.clone() } else { vec![self.graph.made(sides.clone())] };
            self.decides_traces(before, &deciding);
        }
        self.facts.computed.extend_from_slice(&sides);
        let value = self.graph.made([sides, more].concat());
        if matches!(&*qualified(&expression.name).1, "+" | "-") {
            self.graph.set_pace(value, Pace::Steady);
        }
        value
    }

    /// What a subquery's value is made of, and whether anything stored is in its rows.
    fn sub_link(&mut self, link: &protobuf::SubLink) -> (NodeId, bool) {
        let (outer, before, reached) = (self.refs.len(), self.traces, self.facts.oids.len());
        self.sought.clear();
        let (query, tied) = self.subquery(link.subselect.as_deref());
        let reads = query.columns.nodes().into_iter().any(|node| self.graph.reads(node));
        let kind = link.sub_link_type();
        if self.facts.oids.len() > reached && !self.guards.is_empty() {
            // How often each relation was read is among the server's statistics.
            self.leaves_trace(&[]);
        }
        if kind == SubLinkType::ExistsSublink {
            self.sought.clear();
            self.refs.truncate(outer);
            let node = self.graph.made(Vec::new());
            self.graph.imply(node, &[query.rows]);
            self.graph.tie(node, &tied);
            self.refs.push(node);
            return (node, reads);
        }
        let sought = query.columns.nodes();
        let node = match *query.columns.list {
            // The one value of the one row, or NULL.
            [(_, value)] if kind == SubLinkType::ExprSublink && query.columns.open.is_none() => {
                self.graph.copy(vec![value])
            }
            _ => {
                let nodes = query.columns.nodes();
                let test = self.optional(link.testexpr.as_deref());
                self.facts.computed.extend_from_slice(&test);
                let is_equal = link.oper_name.is_empty() || qualified(&link.oper_name).1 == "=";
                let deciding = if is_equal { test.clone() } else { vec![self.graph.made(test.clone())] };
                self.decides_traces(before, &deciding);
                let more = match (&*test, &*link.oper_name) {
                    ([], _) => Vec::new(),
                    // `IN` is `= ANY`.
                    (_, []) => self.operator("=", &test, &nodes),
                    (_, name) => self.operator_named(name, &test, &nodes),
                };
                self.graph.made([nodes, test, more].concat())
            }
        };
        self.graph.imply(node, &[query.rows]);
        self.graph.tie(node, &tied);
        self.refs.push(node);
        self.sought = sought;
        (node, reads)
    }

    /// What meets in a condition, each of its parts by itself.
    pub(super) fn condition(&mut self, node: Option<&Node>) {
        let Some(kind) = node.and_then(|node| node.node.as_ref()) else { return };
        match kind {
            NodeEnum::BoolExpr(boolean) => {
                for part in &boolean.args {
                    self.condition(Some(part));
                }
            }
            NodeEnum::AExpr(expression) => self.comparison(expression),
            NodeEnum::SubLink(link) => {
                let outer = std::mem::take(&mut self.refs);
                self.varies = false;
                let test = link.testexpr.as_deref();
                let tested = test.map(|test| self.expression(test));
                self.refs.clear();
                let is_plain = tested.is_none_or(|node| self.graph.is_identity(node));
                let (_, reads) = self.sub_link(link);
                let mut computed = std::mem::take(&mut self.sought);
                computed.extend(tested.filter(|_| !test.is_some_and(is_row_of_columns)));
                computed.retain(|node| !self.graph.is_identity(*node) && !self.graph.is_folded(*node));
                let nodes = std::mem::replace(&mut self.refs, outer);
                let equal = link.oper_name.is_empty() || qualified(&link.oper_name).1 == "=";
                let usage = if equal { Usage::Equality } else { Usage::Range };
                let query = link.subselect.as_deref();
                let is_list = link.sub_link_type() == SubLinkType::AnySublink && !reads;
                let guesses = if is_list { self.guesses_of_list(query) } else { Guesses::ONE };
                let before = self.graph.meetings.len();
                self.meet_guesses(nodes, usage, is_plain, guesses, &[]);
                for meeting in &mut self.graph.meetings[before..] {
                    meeting.computed.clone_from(&computed);
                }
            }
            _ => {
                let outer = std::mem::take(&mut self.refs);
                self.varies = false;
                let tested = match kind {
                    NodeEnum::NullTest(test) if !test.argisrow => test.arg.as_deref(),
                    _ => None,
                };
                let value = tested.or(node).map(|node| self.expression(node));
                let mut nodes = std::mem::replace(&mut self.refs, outer);
                let plain = value.is_some_and(|value| self.graph.is_identity(value));
                // NULL is shown as NULL anyway.
                if tested.is_none() || !plain {
                    nodes.extend(value);
                    let plain = plain && tested.is_none();
                    self.meet_varying(nodes, if plain { Usage::Equality } else { Usage::Function }, plain);
                } else {
                    self.meet_null(nodes);
                }
            }
        }
    }

    fn comparison(&mut self, expression: &protobuf::AExpr) {
        if let Some(columns) = by_column(expression) {
            return columns.iter().for_each(|column| self.comparison(column));
        }
        let outer = std::mem::take(&mut self.refs);
        self.varies = false;
        let mut sides = Vec::new();
        let (mut plain, mut folded) = (true, true);
        let mut operands = [Vec::new(), Vec::new()];
        for (side, operand) in [&expression.lexpr, &expression.rexpr].into_iter().zip(&mut operands) {
            let Some(side) = side.as_deref() else { continue };
            let before = self.refs.len();
            let node = self.expression(side);
            operand.push(node);
            let constant = self.refs.len() == before;
            let as_it_is = constant || self.graph.is_identity(node) || is_row_of_columns(side);
            plain &= as_it_is;
            folded &= as_it_is || self.graph.is_folded(node);
            if constant {
                sides.push(node);
            }
        }
        let given: Vec<NodeId> = operands.iter().flatten().copied().collect();
        self.compares(expression, &given);
        let operator = self.operators(expression, &operands[0], &operands[1]);
        // What users wrote compares as it likes.
        plain &= operator.is_empty();
        folded &= operator.is_empty();
        let mut nodes = std::mem::replace(&mut self.refs, outer);
        nodes.extend(operator);
        // A function may bring a value that no column of the statement names.
        nodes.extend(sides);
        let (_, name) = qualified(&expression.name);
        let usage = match &*name {
            "=" | "<>" if folded => Usage::Equality,
            _ if !plain => Usage::Function,
            "<"
            | ">"
            | "<="
            | ">="
            | "BETWEEN"
            | "NOT BETWEEN"
            | "BETWEEN SYMMETRIC"
            | "NOT BETWEEN SYMMETRIC" => Usage::Range,
            "~~" | "!~~" | "~~*" | "!~~*" | "~" | "!~" | "~*" | "!~*" | "^@" | "@@" | "@@@" => Usage::Pattern,
            _ => Usage::Function,
        };
        let guesses = self.guesses(expression, operands[1].first().copied());
        let before = self.graph.meetings.len();
        self.meet_guesses(nodes, usage, usage == Usage::Equality, guesses, &given);
        for meeting in &mut self.graph.meetings[before..] {
            meeting.is_equality = matches!(&*name, "=" | "<>");
        }
    }

    /// One expression of GROUP BY or DISTINCT ON: an output, or an expression of its own.
    pub(super) fn group(&mut self, node: &Node, columns: &Columns<'a>, refs: &[Vec<NodeId>]) {
        if let Some(NodeEnum::GroupingSet(set)) = node.node.as_ref() {
            for part in &set.content {
                self.group(part, columns, refs);
            }
            return;
        }
        let nodes = self.sorted(node, columns, refs);
        let plain = matches!(*nodes, [node] if self.graph.is_identity(node));
        self.meet_numbers(nodes, Usage::Grouping, plain);
    }

    pub(super) fn sort(&mut self, clause: &[Node], columns: &Columns<'a>, refs: &[Vec<NodeId>]) {
        for sort in clause {
            let Some(NodeEnum::SortBy(sort)) = sort.node.as_ref() else { continue };
            let Some(node) = sort.node.as_deref() else { continue };
            let mut nodes = self.sorted(node, columns, refs);
            nodes.extend(self.operator_named(&sort.use_op, &nodes, &nodes));
            self.meet_numbers(nodes, Usage::Ordering, false);
        }
    }

    /// ORDER BY within an aggregate or window, where outputs are not in scope.
    pub(super) fn order(&mut self, clause: &[Node]) {
        self.sort(clause, &Columns::default(), &[]);
    }

    /// The columns a sort expression names: an output's by its number or name, or its own.
    fn sorted(&mut self, node: &Node, columns: &Columns<'a>, refs: &[Vec<NodeId>]) -> Vec<NodeId> {
        let of = |index: usize| {
            let named = refs.get(index).cloned().unwrap_or_default();
            let own = columns.list.get(index).map(|(_, node)| *node);
            named.into_iter().chain(own).collect::<Vec<_>>()
        };
        match node.node.as_ref() {
            Some(NodeEnum::AConst(_)) if columns.open.is_some() => return columns.nodes(),
            Some(NodeEnum::AConst(_)) => {
                // `ORDER BY 1`: another number is another column.
                self.facts.needs_literals = true;
                let number = literal(node).and_then(|number| number.parse::<usize>().ok());
                return number.and_then(|number| number.checked_sub(1)).map(of).unwrap_or_default();
            }
            _ => {}
        }
        let outer = std::mem::take(&mut self.refs);
        let value = self.expression(node);
        let mut nodes = std::mem::replace(&mut self.refs, outer);
        if let Some(NodeEnum::ColumnRef(reference)) = node.node.as_ref()
            && let [name] = &*strings(&reference.fields)
        {
            let outputs: Vec<usize> =
                (0..columns.list.len()).filter(|at| columns.list[*at].0 == *name).collect();
            if !outputs.is_empty() {
                // An output of this name comes first in ORDER BY, a column in GROUP BY: both are taken.
                let known = self.is_known(&nodes);
                let outputs = outputs.into_iter().flat_map(of);
                return if known {
                    outputs.chain(nodes.iter().copied()).collect()
                } else {
                    outputs.collect()
                };
            }
        }
        nodes.push(value);
        nodes
    }

    /// Whether none of these is a name that was not found.
    fn is_known(&self, nodes: &[NodeId]) -> bool {
        !nodes.iter().any(|node| self.graph.is_not_found(*node))
    }
}

/// The type of what the grammar has a word for, where it is a time, and how it changes from one run to the next.
fn word(op: SqlValueFunctionOp) -> (u32, Pace) {
    match op {
        SqlValueFunctionOp::SvfopCurrentDate => (DATE, Pace::Made),
        SqlValueFunctionOp::SvfopCurrentTime | SqlValueFunctionOp::SvfopCurrentTimeN => (TIMETZ, Pace::Clock),
        SqlValueFunctionOp::SvfopCurrentTimestamp | SqlValueFunctionOp::SvfopCurrentTimestampN => {
            (TIMESTAMPTZ, Pace::Clock)
        }
        SqlValueFunctionOp::SvfopLocaltime | SqlValueFunctionOp::SvfopLocaltimeN => (TIME, Pace::Clock),
        SqlValueFunctionOp::SvfopLocaltimestamp | SqlValueFunctionOp::SvfopLocaltimestampN => {
            (TIMESTAMP, Pace::Clock)
        }
        // The first schema of the search path.
        SqlValueFunctionOp::SvfopCurrentSchema => (0, Pace::Anew),
        _ => (0, Pace::Made),
    }
}

//! Expressions: which values a value is made of, and which values meet in a condition.

use pg_query::{
    NodeEnum,
    protobuf::{self, AExprKind, Node, SubLinkType},
};

use super::{
    Untraceable, functions,
    graph::{NodeId, Usage},
    names::{literal, qualified, strings, type_name},
    scope::Columns,
    trace::Tracer,
};

impl<'a> Tracer<'a> {
    /// What an expression's value is made of.
    pub(super) fn expression(&mut self, node: &Node) -> NodeId {
        let Some(kind) = node.node.as_ref() else { return self.graph.made(Vec::new()) };
        match kind {
            NodeEnum::ColumnRef(reference) => {
                let names = strings(&reference.fields);
                if names.len() < reference.fields.len() {
                    // `count(c.*)`: a row as one value.
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let Some(columns) = self.star(node) else { return self.column(&names) };
                    let nodes = columns.nodes();
                    self.refs.extend(&nodes);
                    self.facts.named.extend(&nodes);
                    return self.graph.made(nodes);
                }
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.column(&names)
            }
            NodeEnum::AConst(_) | NodeEnum::SetToDefault(_) | NodeEnum::AStar(_) => {
                self.graph.made(Vec::new())
            }
            NodeEnum::ParamRef(parameter) => self.parameter(parameter.number),
            NodeEnum::TypeCast(cast) => self.cast(cast),
            NodeEnum::FuncCall(call) => self.call(call).0,
            NodeEnum::AExpr(expression) => self.operation(expression),
            NodeEnum::SubLink(link) => self.sub_link(link),
            NodeEnum::AIndirection(indirection) => self.indirection(indirection),
            NodeEnum::CollateClause(collate) => {
                let argument = self.optional(collate.arg.as_deref());
                self.graph.made(argument)
            }
            NodeEnum::CaseExpr(case) => {
                let mut parts: Vec<&Node> = case.arg.as_deref().into_iter().collect();
                for when in &case.args {
                    if let Some(NodeEnum::CaseWhen(when)) = when.node.as_ref() {
                        parts.extend(when.expr.as_deref());
                        parts.extend(when.result.as_deref());
                    }
                }
                parts.extend(case.defresult.as_deref());
                let nodes = self.in_order(parts);
                self.graph.made(nodes)
            }
            NodeEnum::NullTest(test) => {
                let nodes = self.optional(test.arg.as_deref());
                // NULL is shown as NULL anyway, but where it comes from an outer join it tells of the rows.
                match *nodes {
                    [node] if self.graph.is_identity(node) && !test.argisrow => {
                        let rows = self.graph.rows_behind(node);
                        let test = self.graph.made(Vec::new());
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
            NodeEnum::CoalesceExpr(coalesce) => self.in_order(&coalesce.args),
            NodeEnum::MinMaxExpr(least) => self.all(&least.args),
            NodeEnum::RowExpr(row) => return self.row(&row.args),
            NodeEnum::List(list) => self.all(&list.items),
            NodeEnum::AArrayExpr(array) => self.all(&array.elements),
            NodeEnum::NamedArgExpr(argument) => self.optional(argument.arg.as_deref()),
            NodeEnum::MultiAssignRef(source) => self.optional(source.source.as_deref()),
            NodeEnum::ResTarget(target) => self.optional(target.val.as_deref()),
            NodeEnum::SqlvalueFunction(_) | NodeEnum::GroupingFunc(_) | NodeEnum::MergeSupportFunc(_) => {
                Vec::new()
            }
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
                for behavior in [&json.on_empty, &json.on_error].into_iter().flatten() {
                    nodes.extend(self.optional(behavior.expr.as_deref()));
                }
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
        self.graph.made(nodes)
    }

    pub(super) fn optional(&mut self, node: Option<&Node>) -> Vec<NodeId> {
        node.map(|node| self.expression(node)).into_iter().collect()
    }

    pub(super) fn all(&mut self, nodes: &[Node]) -> Vec<NodeId> {
        nodes.iter().map(|node| self.expression(node)).collect()
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
        self.graph.made(nodes)
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

    /// A cast to the type the value has already is the value; to another, it is made of it.
    fn cast(&mut self, cast: &protobuf::TypeCast) -> NodeId {
        let Some(argument) = cast.arg.as_deref() else { return self.graph.made(Vec::new()) };
        let node = self.expression(argument);
        let name = type_name(cast.type_name.as_ref()).unwrap_or_default().to_owned();
        let Some(target) = cast.type_name.as_ref() else { return self.graph.made(vec![node]) };
        let plain = target.typmods.is_empty() && target.array_bounds.is_empty() && !target.setof;
        let own = self.graph.type_oid(node);
        let same = plain && own != 0 && self.is_type(own, &name);
        let relabelled = plain && matches!(own, VARCHAR | TEXT) && matches!(&*name, "text" | "varchar");
        if self.graph.is_copy(node) && (same || relabelled) {
            return node;
        }
        let mut from = vec![node];
        let catalog = self.env.catalog;
        if catalog.has_user_name(&name) || self.graph.has_type(node, &|oid| catalog.is_cast_by_users(oid)) {
            // Its input function, cast or check is code of users.
            let unknown = self.graph.unknown(Untraceable::UserCode);
            self.facts.called.push(unknown);
            from.push(unknown);
        }
        self.graph.made(from)
    }

    fn is_type(&self, oid: u32, name: &str) -> bool {
        let built_in = BUILT_IN_TYPES.iter().any(|(known, known_oid)| *known == name && *known_oid == oid);
        built_in || self.env.catalog.types_named(name) == [oid]
    }

    fn indirection(&mut self, indirection: &protobuf::AIndirection) -> NodeId {
        let argument = indirection.arg.as_deref();
        // `(c).email` of a relation's whole row is its column.
        if let (Some(NodeEnum::ColumnRef(reference)), [field]) =
            (argument.and_then(|node| node.node.as_ref()), &*indirection.indirection)
            && let (Some(name), [relation]) = (super::trace::only_text(field), &*strings(&reference.fields))
            && let Some((level, item)) = self.find_item_at(None, relation)
            && let [node] = *item.columns.named(name)
        {
            self.correlate(level, node);
            self.refs.push(node);
            self.facts.named.push(node);
            return node;
        }
        let mut nodes = self.optional(argument);
        for part in &indirection.indirection {
            match part.node.as_ref() {
                Some(NodeEnum::AIndices(indices)) => {
                    nodes.extend(self.optional(indices.lidx.as_deref()));
                    nodes.extend(self.optional(indices.uidx.as_deref()));
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
        self.graph.made(nodes)
    }

    fn operation(&mut self, expression: &protobuf::AExpr) -> NodeId {
        let mut nodes = self.optional(expression.lexpr.as_deref());
        nodes.extend(self.optional(expression.rexpr.as_deref()));
        nodes.extend(self.operator(&expression.name));
        self.graph.made(nodes)
    }

    /// What an operator adds to its operands: nothing, unless users wrote it.
    fn operator(&mut self, name: &[Node]) -> Vec<NodeId> {
        let (_, name) = qualified(name);
        if !self.env.catalog.has_user_name(&name) {
            return Vec::new();
        }
        self.facts.calls_user_code = true;
        let unknown = self.graph.unknown(Untraceable::UserCode);
        self.facts.called.push(unknown);
        vec![unknown]
    }

    fn sub_link(&mut self, link: &protobuf::SubLink) -> NodeId {
        let outer = self.refs.len();
        let (query, tied) = self.subquery(link.subselect.as_deref());
        let kind = link.sub_link_type();
        if kind == SubLinkType::ExistsSublink {
            self.refs.truncate(outer);
            let node = self.graph.made(Vec::new());
            self.graph.imply(node, &[query.rows]);
            self.graph.tie(node, &tied);
            self.refs.push(node);
            return node;
        }
        let mut nodes = query.columns.nodes();
        nodes.extend(self.optional(link.testexpr.as_deref()));
        nodes.extend(self.operator(&link.oper_name));
        let node = self.graph.made(nodes);
        self.graph.imply(node, &[query.rows]);
        self.graph.tie(node, &tied);
        self.refs.push(node);
        node
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
                let tested = link.testexpr.as_deref().is_none_or(|test| {
                    let node = self.expression(test);
                    self.refs.clear();
                    self.graph.is_identity(node)
                });
                self.sub_link(link);
                let nodes = std::mem::replace(&mut self.refs, outer);
                let equal = link.oper_name.is_empty() || qualified(&link.oper_name).1 == "=";
                self.meet_varying(nodes, if equal { Usage::Equality } else { Usage::Range }, tested);
            }
            _ => {
                let outer = std::mem::take(&mut self.refs);
                self.varies = false;
                let value = node.map(|node| self.expression(node));
                let mut nodes = std::mem::replace(&mut self.refs, outer);
                let plain = value.is_some_and(|value| self.graph.is_identity(value));
                // NULL is shown as NULL anyway.
                let test = matches!(kind, NodeEnum::NullTest(_))
                    && matches!(*nodes, [node] if self.graph.is_identity(node));
                if !test {
                    nodes.extend(value);
                    self.meet_varying(nodes, if plain { Usage::Equality } else { Usage::Function }, plain);
                }
            }
        }
    }

    fn comparison(&mut self, expression: &protobuf::AExpr) {
        let outer = std::mem::take(&mut self.refs);
        self.varies = false;
        let mut sides = Vec::new();
        let mut plain = true;
        for side in [&expression.lexpr, &expression.rexpr].into_iter().filter_map(Option::as_deref) {
            let before = self.refs.len();
            let node = self.expression(side);
            let constant = self.refs.len() == before;
            plain &= constant || self.graph.is_identity(node) || is_row_of_columns(side);
            if constant {
                sides.push(node);
            }
        }
        let operator = self.operator(&expression.name);
        let mut nodes = std::mem::replace(&mut self.refs, outer);
        nodes.extend(operator);
        // A function may bring a value that no column of the statement names.
        nodes.extend(sides);
        let (_, name) = qualified(&expression.name);
        let usage = match expression.kind() {
            _ if !plain => Usage::Function,
            AExprKind::AexprLike | AExprKind::AexprIlike | AExprKind::AexprSimilar => Usage::Pattern,
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => Usage::Range,
            AExprKind::AexprIn
            | AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif => Usage::Equality,
            _ => match &*name {
                "=" | "<>" => Usage::Equality,
                "<" | ">" | "<=" | ">=" => Usage::Range,
                "~~" | "!~~" | "~~*" | "!~~*" | "~" | "!~" | "~*" | "!~*" | "^@" | "@@" | "@@@" => {
                    Usage::Pattern
                }
                _ => Usage::Function,
            },
        };
        self.meet_varying(nodes, usage, plain && usage == Usage::Equality);
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
        self.meet(nodes, Usage::Grouping, plain);
    }

    pub(super) fn sort(&mut self, clause: &[Node], columns: &Columns<'a>, refs: &[Vec<NodeId>]) {
        for sort in clause {
            let Some(NodeEnum::SortBy(sort)) = sort.node.as_ref() else { continue };
            let Some(node) = sort.node.as_deref() else { continue };
            let mut nodes = self.sorted(node, columns, refs);
            nodes.extend(self.operator(&sort.use_op));
            self.meet(nodes, Usage::Ordering, false);
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
        nodes.iter().all(|node| self.graph.origins(*node).untraceable != Some(Untraceable::UnknownColumn))
    }

    /// PARTITION BY, ORDER BY and the frame of a window.
    pub(super) fn window(&mut self, window: &protobuf::WindowDef) {
        for part in &window.partition_clause {
            self.group(part, &Columns::default(), &[]);
        }
        self.order(&window.order_clause);
        for offset in [&window.start_offset, &window.end_offset].into_iter().filter_map(Option::as_deref) {
            self.row_count(offset);
        }
    }
}

const TEXT: u32 = 25;
const VARCHAR: u32 = 1043;

/// Types by the names the grammar gives them; an OID is one type on every server.
const BUILT_IN_TYPES: [(&str, u32); 24] = [
    ("bool", 16),
    ("bpchar", 1042),
    ("bytea", 17),
    ("cidr", 650),
    ("date", 1082),
    ("float4", 700),
    ("float8", 701),
    ("inet", 869),
    ("int2", 21),
    ("int4", 23),
    ("int8", 20),
    ("interval", 1186),
    ("json", 114),
    ("jsonb", 3802),
    ("name", 19),
    ("numeric", 1700),
    ("oid", 26),
    ("text", TEXT),
    ("time", 1083),
    ("timestamp", 1114),
    ("timestamptz", 1184),
    ("timetz", 1266),
    ("uuid", 2950),
    ("varchar", VARCHAR),
];

/// `(a, b)` where each part is a column: comparing rows compares these.
fn is_row_of_columns(node: &Node) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::RowExpr(row)) => row.args.iter().all(|argument| {
            matches!(
                argument.node.as_ref(),
                Some(NodeEnum::ColumnRef(_) | NodeEnum::AConst(_) | NodeEnum::ParamRef(_))
            )
        }),
        _ => false,
    }
}

//! Calls: what a function's result is made of, and where else it carries its arguments.

use std::borrow::Cow;

use pg_query::{
    NodeEnum,
    protobuf::{self, Node},
};

use super::{
    Untraceable,
    builtins::{self, Class, Kind},
    cast::{TEXT, TIMESTAMP, TIMESTAMPTZ, is_built_in_type, is_text},
    facts::Carried,
    functions, given,
    graph::{NodeId, Pace, Usage},
    guesses::unpacks,
    meaning,
    names::{literal, qualified},
    scope::{Columns, Item},
    setting,
    trace::Tracer,
};
use crate::catalog::{Called, FIRST_USER_OID, Routine};

/// PostgreSQL's own limit (`FUNC_MAX_ARGS`).
pub(super) const ARGUMENTS_MAX: usize = 100;

impl<'a> Tracer<'a> {
    /// The result of a call and, where it is a row of known columns, these.
    pub(super) fn call(&mut self, call: &protobuf::FuncCall) -> (NodeId, Option<Columns<'a>>) {
        let (schema, name) = qualified(&call.funcname);
        if let Some(node) = self.call_with_text(&name, &call.args) {
            return (node, Some(Columns::unknown(node)));
        }
        let outer = std::mem::take(&mut self.refs);
        let mut arguments = self.arguments(&call.args);
        let named = std::mem::replace(&mut self.refs, outer);
        self.refs.extend_from_slice(&named);
        if matches!(&*name, "count" | "regr_count") {
            // It counts where its argument is not null, as a condition would.
            if arguments.iter().all(|node| self.graph.is_identity(*node)) {
                self.meet_null(named);
            } else {
                self.meet(named, Usage::Function, false);
            }
        }
        if call.agg_star
            && let Some(level) = self.levels.last()
        {
            // Whoever may add rows chooses it, as any value of theirs.
            let stored = level
                .items
                .iter()
                .filter(|item| item.columns.nodes().iter().any(|node| self.graph.reads(*node)));
            let entries: Vec<_> = stored.map(|item| item.entry).collect();
            let rows: Vec<_> =
                entries.into_iter().map(|entry| self.graph.column(entry, Vec::new())).collect();
            self.refs.extend(rows);
        }
        if call.agg_distinct && arguments.iter().any(|node| !self.graph.is_one_column(*node)) {
            self.meet(arguments.clone(), Usage::Grouping, true);
        }
        if call.args.iter().any(|argument| matches!(argument.node, Some(NodeEnum::NamedArgExpr(_)))) {
            // Which argument has which name is the function's affair.
            let any = self.graph.made(arguments);
            arguments = vec![any; ARGUMENTS_MAX];
        }
        if name == "set_config" {
            self.set_config(&call.args);
        }
        if name == "generate_series" && self.levels.last().is_some() {
            self.meet(arguments.clone(), Usage::RowCount, false);
        }
        self.condition(call.agg_filter.as_deref());
        if call.agg_within_group {
            // `percentile_disc(0.5) within group (order by salary)` returns a salary.
            let ordered: Vec<NodeId> = call
                .agg_order
                .iter()
                .filter_map(|sort| match sort.node.as_ref() {
                    Some(NodeEnum::SortBy(sort)) => sort.node.as_deref(),
                    _ => None,
                })
                .map(|node| self.expression(node))
                .collect();
            let (node, columns) = self.call_named(&schema, &name, [arguments, ordered].concat());
            self.depends_on_rows(node);
            return (node, columns);
        }
        self.order(&call.agg_order);
        if let Some(window) = &call.over {
            self.window(window);
        }
        let is_part = matches!(&*name, "date_part" | "extract") && self.graph.changes(&arguments, false);
        let (node, columns) = self.call_named(&schema, &name, arguments);
        if is_part {
            self.facts.needs_literals = true;
            if call.args.first().and_then(literal).is_some_and(|field| is_day(&field)) {
                self.graph.set_pace(node, Pace::Day);
            }
        }
        if call.over.is_some() {
            self.depends_on_rows(node);
        }
        (node, columns)
    }

    fn arguments(&mut self, arguments: &[Node]) -> Vec<NodeId> {
        arguments.iter().map(|argument| self.expression(argument)).collect()
    }

    /// The result of a call written otherwise than with parentheses.
    pub(super) fn call_by_name(&mut self, names: &[&str], arguments: Vec<NodeId>) -> NodeId {
        let (schema, name) = match names {
            [.., schema, name] => (*schema, *name),
            [name] => ("", *name),
            [] => ("", ""),
        };
        self.call_named(schema, name, arguments).0
    }

    pub(super) fn is_user_routine(&self, name: &str) -> bool {
        self.env.catalog.routines(name).next().is_some() || self.env.overlay.has_function(name)
    }

    fn call_named(
        &mut self,
        schema: &str,
        name: &str,
        arguments: Vec<NodeId>,
    ) -> (NodeId, Option<Columns<'a>>) {
        self.facts.computed.extend_from_slice(&arguments);
        let mut results = Vec::new();
        let mut rows = Vec::new();
        let own = matches!(schema, "" | "pg_catalog" | "information_schema");
        let builtin = own.then(|| builtins::builtin(self.env.catalog.major(), name)).flatten().copied();
        if let Some(builtin) = builtin {
            let (node, row) = self.call_builtin(name, builtin, &arguments);
            results.push(node);
            rows.push(row);
        }
        let overlay = self.env.overlay;
        let made = overlay
            .routines(name)
            .filter(|routine| schema.is_empty() || routine.schema.is_empty() || routine.schema == schema);
        let routines: Vec<&Routine> = self.routines(schema, name).into_iter().chain(made).collect();
        let found = builtin.is_some() || !routines.is_empty();
        let returns_set = builtin.is_some_and(|builtin| builtin.returns_set)
            || routines.iter().any(|routine| routine.returns_set);
        let given = arguments.clone();
        for routine in routines {
            let (node, row) = self.call_routine(routine, &arguments);
            results.push(node);
            rows.push(row);
        }
        if !found || overlay.has_opaque_function(name) {
            let node = match builtins::extension(name) {
                Some(class) if !overlay.has_function(name) => self.by_class(name, class, &arguments),
                _ if self.is_own_type(name) => self.graph.made(arguments),
                _ => {
                    self.facts.calls_user_code = true;
                    self.facts.calls_opaque_code = true;
                    // The server finds what a statement names itself, as of an extension made just now.
                    self.facts.calls_missing |=
                        !(found || overlay.has_extension() && self.calling.is_empty());
                    let unknown = self.graph.unknown(Untraceable::UnknownFunction);
                    self.facts.called.push(unknown);
                    self.leaves_trace(&[]);
                    self.graph.made([arguments, vec![unknown]].concat())
                }
            };
            results.push(node);
            rows.push(None);
        }
        if returns_set {
            self.makes_rows(&given, &results);
        } else if !found {
            // It may; what it returns is shown by nobody.
            self.makes_rows(&given, &[]);
        }
        if let [node] = *results {
            return (node, rows.pop().flatten());
        }
        let columns = self.any_row(&results, rows);
        (self.graph.made(results), columns)
    }

    /// Which rows a function returns tells what it is given, and so does whatever stands beside them. A list as it is
    /// is asked nothing.
    fn makes_rows(&mut self, arguments: &[NodeId], results: &[NodeId]) {
        let Some(level) = self.levels.last() else { return };
        let rows = level.rows;
        self.graph.imply(rows, results);
        if !matches!(arguments, [list] if self.graph.is_identity(*list)) {
            let before = self.graph.meetings.len();
            self.meet_varying(arguments.to_vec(), Usage::Function, false);
            for meeting in &mut self.graph.meetings[before..] {
                meeting.makes_rows = true;
            }
        }
    }

    /// The result of a function that is called without being named, as by an operator.
    pub(super) fn call_behind(&mut self, function: &Called, arguments: &[NodeId]) -> NodeId {
        let major = self.env.catalog.major();
        let builtin = builtins::builtin(major, &function.name).filter(|_| function.schema == "pg_catalog");
        if builtin.is_some_and(|builtin| matches!(builtin.class, Class::Dangerous | Class::Channel)) {
            self.facts.calls_user_code = true;
            self.facts.calls_opaque_code = true;
            let unknown = self.graph.unknown(Untraceable::OpaqueFunction);
            self.facts.called.push(unknown);
            return self.graph.made([arguments, &[unknown]].concat());
        }
        self.call_named(&function.schema, &function.name, arguments.to_vec()).0
    }

    /// Whether it is a type of the server's own, which may be called like a function.
    fn is_own_type(&self, name: &str) -> bool {
        let types = self.env.catalog.types_named(name);
        types.iter().all(|oid| *oid < FIRST_USER_OID) && (!types.is_empty() || is_built_in_type(name))
    }

    /// Functions of users that a name may mean: those on the search path, where it is known.
    fn routines(&mut self, schema: &str, name: &str) -> Vec<&'a Routine> {
        let all = self.env.catalog.routines(name);
        let named: Vec<_> = all.filter(|routine| schema.is_empty() || routine.schema == schema).collect();
        self.facts.needs_path |= schema.is_empty() && self.path.is_none() && named.len() > 1;
        let Some(path) = self.path.as_ref().filter(|_| schema.is_empty()) else { return named };
        let on_path = |routine: &&Routine| routine.schema == "pg_catalog" || path.contains(&routine.schema);
        let found: Vec<_> = named.iter().copied().filter(on_path).collect();
        // The server writes definitions out with an empty path, in which only its own names have no schema.
        if found.is_empty() && !path.is_empty() { named } else { found }
    }

    /// The row that one of several functions returns; where they differ, nobody knows its columns.
    fn any_row(&mut self, results: &[NodeId], rows: Vec<Option<Columns<'a>>>) -> Option<Columns<'a>> {
        if rows.iter().all(Option::is_none) {
            return None;
        }
        let mut rows = rows.into_iter();
        let first = rows.next().flatten().filter(|first| first.open.is_none());
        let same = first.and_then(|mut first| {
            let names = |row: &Columns<'a>| row.list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            for row in rows {
                let row = row.filter(|row| row.open.is_none() && names(row) == names(&first))?;
                for ((_, node), (_, other)) in first.list.iter_mut().zip(row.list) {
                    *node = self.graph.copy(vec![*node, other]);
                }
            }
            Some(first)
        });
        same.or_else(|| Some(Columns::unknown(self.graph.made(results.to_vec()))))
    }

    fn call_builtin(
        &mut self,
        name: &str,
        builtin: builtins::Builtin,
        arguments: &[NodeId],
    ) -> (NodeId, Option<Columns<'a>>) {
        let node = self.by_class(name, builtin.class, arguments);
        if functions::leaves_trace(name, builtin) {
            self.leaves_trace(arguments);
        }
        if let Some(pace) = pace(name, builtin) {
            self.graph.set_pace(node, pace);
            let given = arguments.last().map_or(0, |argument| self.graph.type_oid(*argument));
            self.graph.set_type(node, time_type(name, given));
        }
        if let [argument] = *arguments
            && folds(name)
            && is_text(self.graph.type_oid(argument))
            && self.graph.is_folded(argument)
        {
            self.graph.fold(node);
            self.graph.set_type(node, TEXT);
        }
        let sizes = sizes(name, arguments);
        if !sizes.is_empty() {
            self.graph.sizes(node, sizes);
        }
        self.facts.reads_statement |= given::is_statement_text(name);
        if name == "unnest" {
            self.may_be_in(node, arguments);
        }
        if matches!(builtin.kind, Kind::Aggregate) {
            self.depends_on_rows(node);
        }
        self.varies |= matches!(builtin.kind, Kind::Aggregate) || is_volatile(name);
        self.multiplies |= builtin.returns_set;
        self.facts.generates |= builtin.returns_set && !unpacks(name);
        if builtin.columns.is_empty() {
            let open = builtin.returns_row.then(|| Columns::unknown(node));
            return (node, open);
        }
        let list = builtin.columns.iter().map(|name| (Cow::Borrowed(*name), node)).collect();
        (node, Some(Columns { list, open: None }))
    }

    fn by_class(&mut self, name: &str, class: Class, arguments: &[NodeId]) -> NodeId {
        self.facts.reaches |= !matches!(class, Class::Flows | Class::Constant);
        match class {
            Class::Flows => self.graph.made(arguments.to_vec()),
            Class::Metadata => {
                if name == "nextval" {
                    // How often it is called stays in the sequence.
                    self.carry(name, arguments);
                    self.facts.counts = true;
                }
                self.graph.made(arguments.to_vec())
            }
            Class::Constant => self.graph.made(Vec::new()),
            Class::Setting => {
                self.facts.reads_settings = true;
                let node = self.graph.made(arguments.to_vec());
                self.graph.set_pace(node, Pace::Anew);
                node
            }
            Class::Channel => {
                self.carry(name, arguments);
                // What a session keeps is no business of a statement that reads something else.
                if let Some(level) = self.levels.last() {
                    let value = level.rows;
                    self.facts.carried.push(Carried { by: name.to_owned(), value });
                }
                self.graph.made(arguments.to_vec())
            }
            Class::Dangerous if functions::reads_large_objects(name) => {
                self.facts.reads_large_objects = true;
                self.graph.made(arguments.to_vec())
            }
            Class::Dangerous => {
                self.facts.dangerous.get_or_insert_with(|| name.to_owned());
                self.graph.unknown(Untraceable::Dangerous)
            }
        }
    }

    /// What a call with these arguments, in the place it has, lets be seen elsewhere.
    fn carry(&mut self, name: &str, arguments: &[NodeId]) {
        let all = arguments.iter().chain(&self.guards);
        self.facts.carried.extend(all.map(|value| Carried { by: name.to_owned(), value: *value }));
    }

    /// `set_config` is SET by another name.
    fn set_config(&mut self, arguments: &[Node]) {
        self.facts.sets = true;
        let named = arguments.first().and_then(meaning::constant);
        self.facts.sets_meaning |= named.is_none_or(|name| !setting::cannot_mean(&name));
        if let [name, value, ..] = arguments {
            let name = literal(name);
            let value = literal(value);
            let is_role = |name: &String| matches!(&*name.to_lowercase(), "role" | "session_authorization");
            self.facts.sets_role |= name.as_ref().is_none_or(is_role)
                && value.as_ref().is_none_or(|role| !role.eq_ignore_ascii_case("none"));
            self.facts.sets_lexer |= match name {
                Some(name) => setting::is_unsafe(&name, value.as_deref()),
                None => setting::is_unsafe_unnamed(value.as_deref()),
            };
        }
    }

    /// A function in FROM.
    pub(super) fn range_function(&mut self, range: &protobuf::RangeFunction) -> Item<'a> {
        let entry = self.graph.entry();
        let mut columns = Columns::default();
        let mut all = Vec::new();
        for function in &range.functions {
            let Some(NodeEnum::List(parts)) = function.node.as_ref() else { continue };
            let outer = std::mem::take(&mut self.refs);
            let (node, name, row) = match parts.items.first().map(|node| (node, node.node.as_ref())) {
                Some((_, Some(NodeEnum::FuncCall(call)))) => {
                    let (node, row) = self.call(call);
                    (node, qualified(&call.funcname).1, row)
                }
                Some((node, _)) => {
                    let name = super::names::output_name(node);
                    (self.expression(node), name, None)
                }
                None => continue,
            };
            let named = std::mem::replace(&mut self.refs, outer);
            all.extend(self.graph.rows_of_call(node));
            all.extend(named);
            let definitions = parts.items.get(1).and_then(|list| match list.node.as_ref() {
                Some(NodeEnum::List(list)) => Some(&list.items),
                _ => None,
            });
            let definitions = definitions.filter(|list| !list.is_empty()).unwrap_or(&range.coldeflist);
            self.function_columns(node, &name, row, definitions, &mut columns, entry);
        }
        // How many rows there are is up to the arguments.
        let rows = self.graph.rows(entry);
        self.graph.imply(rows, &all);
        if range.ordinality {
            let node = self.graph.column(entry, Vec::new());
            columns.list.push((Cow::Borrowed("ordinality"), node));
        }
        if let ([_], Some(alias)) = (&*columns.list, &range.alias)
            && alias.colnames.is_empty()
            && range.functions.len() == 1
            && range.coldeflist.is_empty()
            && columns.open.is_none()
        {
            // A single column takes the alias of its function.
            columns.list[0].0 = Cow::Owned(alias.aliasname.clone());
        }
        let nodes = columns.nodes();
        let whole = self.graph.made(nodes);
        let name = range.functions.first().and_then(|function| match function.node.as_ref() {
            Some(NodeEnum::List(parts)) => parts.items.first().map(super::names::output_name),
            _ => None,
        });
        let mut item = Item::new(name, columns, whole, entry);
        self.alias(&mut item, range.alias.as_ref());
        item
    }

    fn function_columns(
        &mut self,
        node: NodeId,
        name: &str,
        row: Option<Columns<'a>>,
        definitions: &[Node],
        columns: &mut Columns<'a>,
        entry: super::graph::EntryId,
    ) {
        if !definitions.is_empty() {
            for definition in definitions {
                if let Some(NodeEnum::ColumnDef(definition)) = definition.node.as_ref() {
                    let column = self.graph.column(entry, vec![node]);
                    let column = self.graph.made(vec![column]);
                    columns.list.push((Cow::Owned(definition.colname.clone()), column));
                }
            }
            return;
        }
        let Some(row) = row else {
            let column = self.graph.column(entry, vec![node]);
            columns.list.push((Cow::Owned(name.to_owned()), column));
            return;
        };
        for (name, from) in row.list {
            let column = self.graph.column(entry, vec![from]);
            columns.list.push((name, column));
        }
        if let Some(open) = row.open {
            let both: Vec<NodeId> = columns.open.into_iter().chain([open]).collect();
            let column = self.graph.column(entry, both);
            let open = self.graph.made(vec![column]);
            self.may_be(open, &[column]);
            columns.open = Some(open);
        }
    }

    pub(super) fn xml_table(&mut self, table: &protobuf::RangeTableFunc) -> Item<'a> {
        let mut from = self.optional(table.docexpr.as_deref());
        from.extend(self.optional(table.rowexpr.as_deref()));
        from.extend(self.all(&table.namespaces));
        let mut names = Vec::new();
        for column in &table.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = column.node.as_ref() else { continue };
            from.extend(self.optional(column.colexpr.as_deref()));
            from.extend(self.optional(column.coldefexpr.as_deref()));
            names.push(column.colname.clone());
        }
        self.table_of(names, from, "xmltable", table.alias.as_ref())
    }

    pub(super) fn json_table(&mut self, table: &protobuf::JsonTable) -> Item<'a> {
        let mut from = self.json_value(table.context_item.as_deref());
        from.extend(self.all(&table.passing));
        let mut names = Vec::new();
        self.json_columns(&table.columns, &mut names, &mut from);
        self.table_of(names, from, "json_table", table.alias.as_ref())
    }

    fn json_columns(&mut self, columns: &[Node], names: &mut Vec<String>, from: &mut Vec<NodeId>) {
        for column in columns {
            let Some(NodeEnum::JsonTableColumn(column)) = column.node.as_ref() else { continue };
            for behavior in [&column.on_empty, &column.on_error].into_iter().flatten() {
                from.extend(self.optional(behavior.expr.as_deref()));
            }
            if column.columns.is_empty() {
                names.push(column.name.clone());
            }
            self.json_columns(&column.columns, names, from);
        }
    }

    /// A table whose every column is made of the same values.
    fn table_of(
        &mut self,
        names: Vec<String>,
        from: Vec<NodeId>,
        name: &str,
        alias: Option<&protobuf::Alias>,
    ) -> Item<'a> {
        let entry = self.graph.entry();
        let rows = self.graph.rows(entry);
        self.graph.imply(rows, &from);
        // Their paths are constants.
        self.meet_varying(from.clone(), Usage::Function, false);
        let made = self.graph.made(from);
        let mut columns = Columns::default();
        for name in names {
            let column = self.graph.column(entry, vec![made]);
            columns.list.push((Cow::Owned(name), column));
        }
        let mut item = Item::new(Some(name.to_owned()), columns, made, entry);
        self.alias(&mut item, alias);
        item
    }
}

/// Functions after which few texts are equal that were not, if they are given nothing else.
fn folds(name: &str) -> bool {
    matches!(name, "btrim" | "casefold" | "initcap" | "lower" | "ltrim" | "rtrim" | "upper")
}

/// How the result of a function of the server changes from one run to the next.
fn pace(name: &str, builtin: builtins::Builtin) -> Option<Pace> {
    match name {
        _ if is_clock(name) => Some(Pace::Clock),
        "age" | "date_trunc" | "timezone" => Some(Pace::Steady),
        _ if builtin.volatile || builtin.class == Class::Metadata => Some(Pace::Anew),
        _ => None,
    }
}

fn is_clock(name: &str) -> bool {
    matches!(name, "clock_timestamp" | "now" | "statement_timestamp" | "transaction_timestamp")
}

/// The type of a time that a function returns of one it is given; 0 where it is not known.
fn time_type(name: &str, given: u32) -> u32 {
    match (name, given) {
        ("date_trunc", TIMESTAMP | TIMESTAMPTZ) => given,
        ("timezone", TIMESTAMP) => TIMESTAMPTZ,
        _ if is_clock(name) => TIMESTAMPTZ,
        ("timezone", TIMESTAMPTZ) => TIMESTAMP,
        _ => 0,
    }
}

/// Parts of a time that are the same for a day at least.
fn is_day(field: &str) -> bool {
    const FIELDS: [&str; 13] = [
        "century",
        "day",
        "decade",
        "dow",
        "doy",
        "isodow",
        "isoyear",
        "julian",
        "millennium",
        "month",
        "quarter",
        "week",
        "year",
    ];
    FIELDS.iter().any(|known| field.eq_ignore_ascii_case(known))
}

/// Functions whose result differs from row to row, whatever they are given.
fn is_volatile(name: &str) -> bool {
    matches!(
        name,
        "clock_timestamp"
            | "gen_random_bytes"
            | "gen_random_uuid"
            | "nextval"
            | "random"
            | "random_normal"
            | "timeofday"
            | "uuidv4"
            | "uuidv7"
    )
}

/// Those of a function's arguments that say how long it makes something.
fn sizes<'n>(name: &str, arguments: &'n [NodeId]) -> &'n [NodeId] {
    match name {
        "format" => arguments,
        "array_fill" | "left" | "lpad" | "overlay" | "repeat" | "right" | "rpad" | "substr" | "substring"
        | "trim_array" => arguments.get(1..).unwrap_or_default(),
        _ => &[],
    }
}

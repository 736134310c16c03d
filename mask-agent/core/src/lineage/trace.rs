//! Reads a query: FROM, WHERE, what is selected, and how it is combined with others.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use pg_query::{
    NodeEnum,
    protobuf::{self, Node, SelectStmt, SetOperation},
};

use super::{
    ColumnId, Env, Untraceable,
    body::Variables,
    common::Common,
    facts::{Facts, Name},
    given::Givens,
    graph::{Graph, NodeId, Usage},
    names::{output_name, strings, text},
    parse,
    scope::{Columns, Item, Level},
    window::Frames,
};

/// What a query returns.
#[derive(Clone, Debug)]
pub(super) struct Query<'a> {
    pub(super) columns: Columns<'a>,
    /// Which of its rows are there.
    pub(super) rows: NodeId,
}

/// A value put into a column that stays.
#[derive(Clone, Debug)]
pub(super) struct Put {
    pub(super) target: Target,
    pub(super) value: NodeId,
    /// The same without what it tells by being put.
    pub(super) given: NodeId,
    /// It is no value, and only there to tell by which rows it is.
    pub(super) is_touch: bool,
}

/// Where a value is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A column of a relation the catalog knows; number 0 is any of them.
    Column(ColumnId),
    /// A column of a relation this transaction makes, by name.
    New { relation: Name, column: String },
}

/// Bytes of definitions that are read for one statement, each as often as it is named.
const EXPANDED_BYTES_MAX: usize = 1 << 20;
/// What each reading counts for besides its length.
const EXPANSION_BYTES: usize = 64;

/// Of definitions, with a key that no client can guess.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Reads one statement.
pub(super) struct Tracer<'a> {
    pub(super) env: &'a Env<'a>,
    pub(super) graph: Graph,
    /// The schemas names without one are looked up in; none where that is unknown.
    pub(super) path: Option<Vec<String>>,
    pub(super) levels: Vec<Level<'a>>,
    pub(super) common: Vec<Common<'a>>,
    /// Variables of the function whose body is being read.
    pub(super) variables: Option<Variables<'a>>,
    /// Columns named since the last predicate began.
    pub(super) refs: Vec<NodeId>,
    /// Columns of queries around, named since the innermost subquery began, and how far out they stand.
    correlated: Vec<(usize, NodeId)>,
    /// Whether a value was met that differs from row to row without naming a column: an aggregate, `random()`.
    pub(super) varies: bool,
    /// Values that decide whether what is being read runs at all, or how often.
    pub(super) guards: Vec<NodeId>,
    /// Those of them that stand for conditions which are questions where they stand.
    pub(super) counted: Vec<NodeId>,
    /// How often something was read that leaves a trace which others see.
    pub(super) traces: usize,
    pub(super) puts: Vec<Put>,
    pub(super) givens: Givens,
    pub(super) facts: Facts,
    /// Views, functions and queries that were named ahead, being read at this moment, one inside the other.
    pub(super) depth: usize,
    /// Bytes of definitions read so far, each as often as it was.
    expanded: usize,
    /// Whether what is being read stands in a definition of the database.
    pub(super) is_standing: bool,
    /// Whether something makes more rows of some than there were: UNION, VALUES, a function that returns a set.
    pub(super) multiplies: bool,
    /// Frames of the windows of the query that is being read.
    pub(super) frames: Frames,
    /// Functions whose bodies are being read.
    pub(super) calling: Vec<u32>,
    /// Views of this transaction that are being read.
    pub(super) viewing: Vec<String>,
    /// Relations whose policies are being read.
    pub(super) holding: Vec<u32>,
    /// What is told by whatever is asked here again and again.
    pub(super) asking: Option<NodeId>,
    /// What the query returns that was read last in an expression.
    pub(super) sought: Vec<NodeId>,
    /// Whether whoever sends the statement has what is being read done again and again.
    pub(super) loops: bool,
    /// Whether something stored is read again and again so, which the server counts.
    pub(super) rereads: bool,
    /// Whether a function that is being read calls itself.
    pub(super) recurs: bool,
    /// Whether the code that is being read was made just now, so that whoever made it chose what it does when.
    pub(super) reads_new_code: bool,
    /// Relations whose rules are being read, and what they are fired by.
    pub(super) firing: Vec<(u32, protobuf::CmdType)>,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(env: &'a Env<'a>) -> Self {
        Self {
            env,
            graph: Graph::default(),
            path: env.path.clone(),
            levels: Vec::new(),
            common: Vec::new(),
            variables: None,
            refs: Vec::new(),
            correlated: Vec::new(),
            varies: false,
            guards: Vec::new(),
            counted: Vec::new(),
            traces: 0,
            puts: Vec::new(),
            givens: Givens::default(),
            facts: Facts::default(),
            depth: 0,
            expanded: 0,
            is_standing: false,
            multiplies: false,
            frames: Frames::default(),
            calling: Vec::new(),
            viewing: Vec::new(),
            holding: Vec::new(),
            asking: None,
            sought: Vec::new(),
            loops: false,
            rereads: false,
            recurs: false,
            reads_new_code: false,
            firing: Vec::new(),
        }
    }

    /// A query that stands elsewhere, such as a view's: nothing around it is in scope.
    pub(super) fn foreign_query(&mut self, sql: &str) -> Option<Query<'a>> {
        let statements = parse::statements(sql).ok()?;
        let statement = statements.first()?.stmt.as_ref()?.node.as_ref()?;
        let NodeEnum::SelectStmt(select) = statement else { return None };
        // The definition was written with an empty search path.
        let path = self.path.replace(Vec::new());
        let levels = std::mem::take(&mut self.levels);
        let common = std::mem::take(&mut self.common);
        let variables = self.variables.take();
        let refs = std::mem::take(&mut self.refs);
        let correlated = std::mem::take(&mut self.correlated);
        self.depth += 1;
        let query = self.select(select);
        self.depth -= 1;
        self.correlated = correlated;
        self.refs = refs;
        self.variables = variables;
        self.common = common;
        self.levels = levels;
        self.path = path;
        Some(query)
    }

    /// Whether this definition is read, here too: two views over two views over … are a text of any length.
    pub(super) fn expands(&mut self, definition: &str) -> bool {
        self.facts.definitions = HASHES.hash_one((self.facts.definitions, definition));
        self.expands_bytes(definition.len())
    }

    /// Takes note of definitions that were read elsewhere for this statement.
    pub(super) fn joins_definitions(&mut self, definitions: u64) {
        self.facts.definitions = HASHES.hash_one((self.facts.definitions, definitions));
    }

    /// Whether a definition of this many bytes is read, which no other connection knows.
    pub(super) fn expands_bytes(&mut self, bytes: usize) -> bool {
        self.expanded = self.expanded.saturating_add(bytes).saturating_add(EXPANSION_BYTES);
        self.expanded <= EXPANDED_BYTES_MAX
    }

    /// Reads what stands in a definition of the database, and not in the statement.
    pub(super) fn standing<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let around = std::mem::replace(&mut self.is_standing, true);
        let result = read(self);
        self.is_standing = around;
        result
    }

    /// Runs with nothing of the statement around in scope but the variables given.
    pub(super) fn apart<T>(
        &mut self,
        variables: Option<Variables<'a>>,
        path: Option<Vec<String>>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> (T, Option<Variables<'a>>) {
        let levels = std::mem::take(&mut self.levels);
        let common = std::mem::take(&mut self.common);
        let refs = std::mem::take(&mut self.refs);
        let correlated = std::mem::take(&mut self.correlated);
        let variables = std::mem::replace(&mut self.variables, variables);
        let path = std::mem::replace(&mut self.path, path);
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        self.path = path;
        let used = std::mem::replace(&mut self.variables, variables);
        self.correlated = correlated;
        self.refs = refs;
        self.common = common;
        self.levels = levels;
        (result, used)
    }

    /// Notes that a name was found in the query around, or further out.
    pub(super) fn correlate(&mut self, level: usize, node: NodeId) {
        if level + 1 < self.levels.len() {
            self.correlated.push((level, node));
        }
    }

    /// Reads a subquery that may name what stands around: with it, what it named.
    pub(super) fn subquery(&mut self, node: Option<&Node>) -> (Query<'a>, Vec<NodeId>) {
        let outer = std::mem::take(&mut self.correlated);
        let query = self.any_query(node);
        let named = std::mem::replace(&mut self.correlated, outer);
        let nodes = named.iter().map(|(_, node)| *node).collect();
        for (level, node) in named {
            self.correlate(level, node);
        }
        (query, nodes)
    }

    /// Any statement that may stand in parentheses or behind WITH.
    pub(super) fn any_query(&mut self, node: Option<&Node>) -> Query<'a> {
        match node.and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select),
            Some(NodeEnum::InsertStmt(insert)) => self.insert(insert),
            Some(NodeEnum::UpdateStmt(update)) => self.update(update),
            Some(NodeEnum::DeleteStmt(delete)) => self.delete(delete),
            Some(NodeEnum::MergeStmt(merge)) => self.merge_into(merge),
            _ => self.unknown_query(Untraceable::UnknownStatement),
        }
    }

    pub(super) fn unknown_query(&mut self, why: Untraceable) -> Query<'a> {
        let node = self.graph.unknown(why);
        Query { columns: Columns::unknown(node), rows: node }
    }

    /// What the column at a place is made of.
    pub(super) fn at(&mut self, columns: &Columns<'a>, index: usize) -> Vec<NodeId> {
        match (columns.open, columns.list.get(index)) {
            (None, Some((_, node))) => vec![*node],
            (Some(_), _) => columns.nodes(),
            (None, None) => vec![self.graph.unknown(Untraceable::UnknownColumn)],
        }
    }

    /// A SELECT in any form.
    pub(super) fn select(&mut self, select: &SelectStmt) -> Query<'a> {
        let before = self.enter_common(select.with_clause.as_ref());
        let query = match select.op() {
            SetOperation::SetopUnion | SetOperation::SetopIntersect | SetOperation::SetopExcept => {
                self.set_operation(select)
            }
            _ if !select.values_lists.is_empty() => self.values(select),
            _ => self.plain_select(select),
        };
        self.leave_common(before);
        query
    }

    fn set_operation(&mut self, select: &SelectStmt) -> Query<'a> {
        let (Some(left), Some(right)) = (select.larg.as_deref(), select.rarg.as_deref()) else {
            return self.unknown_query(Untraceable::UnknownStatement);
        };
        self.multiplies = true;
        let left = self.select(left);
        let right = self.select(right);
        let rows = self.graph.made(Vec::new());
        self.graph.imply(rows, &[left.rows, right.rows]);
        self.levels.push(Level { items: Vec::new(), rows });
        let mut columns = Columns::default();
        if left.columns.open.is_some() || right.columns.open.is_some() {
            let all = [left.columns.nodes(), right.columns.nodes()].concat();
            columns.open = Some(self.graph.made(all));
        } else {
            for (index, (name, node)) in left.columns.list.iter().enumerate() {
                let other = self.at(&right.columns, index);
                let both = [&[*node][..], &other].concat();
                if select.op() != SetOperation::SetopUnion {
                    self.meet(both.clone(), Usage::Equality, true);
                    // A row is there because all its columns are in the other query, too.
                    let others = right.columns.nodes();
                    self.graph.imply(rows, &others);
                }
                columns.list.push((name.clone(), self.graph.copy(both)));
            }
        }
        // With ALL as well, the other query's rows say which of these are there.
        if !select.all || select.op() != SetOperation::SetopUnion {
            for node in columns.nodes() {
                self.meet(vec![node], Usage::Grouping, true);
            }
        }
        let refs = vec![Vec::new(); columns.list.len()];
        self.sort(&select.sort_clause, &columns, &refs);
        self.limits(select);
        self.levels.pop();
        if select.op() != SetOperation::SetopUnion {
            for node in columns.nodes() {
                self.graph.imply(node, &[rows]);
            }
        }
        Query { columns, rows }
    }

    fn values(&mut self, select: &SelectStmt) -> Query<'a> {
        self.multiplies |= select.values_lists.len() > 1;
        let rows = self.graph.made(Vec::new());
        self.levels.push(Level { items: Vec::new(), rows });
        let mut columns = Columns::default();
        for row in &select.values_lists {
            let Some(NodeEnum::List(row)) = row.node.as_ref() else { continue };
            let mut nodes = Vec::with_capacity(row.items.len());
            for value in &row.items {
                match self.star(value) {
                    Some(stars) => {
                        let all = stars.nodes();
                        self.refs.extend(&all);
                        self.facts.named.extend(&all);
                        nodes.extend(stars.list.iter().map(|(_, node)| *node));
                        if let Some(open) = stars.open {
                            let both = columns.open.into_iter().chain([open]).collect();
                            columns.open = Some(self.graph.made(both));
                        }
                    }
                    None => nodes.push(self.expression(value)),
                }
            }
            for (index, node) in nodes.into_iter().enumerate() {
                if let Some((_, column)) = columns.list.get(index) {
                    self.graph.add(*column, &[node]);
                } else {
                    let column = self.graph.copy(vec![node]);
                    columns.list.push((Cow::Owned(format!("column{}", index + 1)), column));
                }
            }
        }
        let refs = vec![Vec::new(); columns.list.len()];
        self.sort(&select.sort_clause, &columns, &refs);
        self.limits(select);
        self.levels.pop();
        Query { columns, rows }
    }

    fn plain_select(&mut self, select: &SelectStmt) -> Query<'a> {
        let outer = std::mem::take(&mut self.refs);
        let varies = std::mem::take(&mut self.varies);
        let frames = std::mem::take(&mut self.frames);
        let rows = self.graph.made(Vec::new());
        self.levels.push(Level { items: Vec::new(), rows });
        self.from(&select.from_clause);
        self.condition(select.where_clause.as_deref());
        self.refs.clear();
        let (mut columns, refs) = self.targets(&select.target_list);
        if self.levels.last().is_some_and(|level| level.items.len() > 1) {
            self.count_pairs(&mut columns, rows);
        }
        for group in &select.group_clause {
            self.group(group, &columns, &refs);
        }
        self.condition(select.having_clause.as_deref());
        for window in &select.window_clause {
            if let Some(NodeEnum::WindowDef(window)) = window.node.as_ref() {
                self.window(window);
            }
        }
        for distinct in &select.distinct_clause {
            match distinct.node {
                Some(_) => self.group(distinct, &columns, &refs),
                // DISTINCT by itself is a list of one empty node.
                None => {
                    for node in columns.nodes() {
                        self.meet(vec![node], Usage::Grouping, true);
                    }
                }
            }
        }
        self.sort(&select.sort_clause, &columns, &refs);
        self.meet_frames(frames);
        self.limits(select);
        if !select.locking_clause.is_empty() {
            let items = self.levels.last().map(|level| level.items.clone()).unwrap_or_default();
            for item in &items {
                self.touch(item, rows);
            }
        }
        self.levels.pop();
        self.varies = varies;
        self.refs = outer;
        self.refs.extend(refs.into_iter().flatten());
        Query { columns, rows }
    }

    /// Where relations meet, how often a value is there may tell what it met.
    fn count_pairs(&mut self, columns: &mut Columns<'a>, rows: NodeId) {
        let pairs = self.graph.pairs(rows);
        for node in columns.list.iter_mut().map(|(_, node)| node).chain(&mut columns.open) {
            *node = self.graph.copy(vec![*node]);
            self.graph.imply(*node, &[pairs]);
        }
    }

    /// What is selected, and the columns each output names.
    pub(super) fn targets(&mut self, list: &[Node]) -> (Columns<'a>, Vec<Vec<NodeId>>) {
        let mut columns = Columns::default();
        let mut refs = Vec::new();
        let outer = std::mem::take(&mut self.refs);
        for target in list {
            let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { continue };
            let Some(value) = target.val.as_deref() else { continue };
            if let Some(stars) = self.star(value) {
                self.facts.named.extend(stars.nodes());
                for (name, node) in stars.list {
                    columns.list.push((name, node));
                    refs.push(vec![node]);
                }
                if let Some(open) = stars.open {
                    columns.open = Some(match columns.open {
                        Some(before) => self.graph.made(vec![before, open]),
                        None => open,
                    });
                }
                continue;
            }
            let node = self.expression(value);
            let name = if target.name.is_empty() { output_name(value) } else { target.name.clone() };
            columns.list.push((Cow::Owned(name), self.graph.copy(vec![node])));
            refs.push(std::mem::take(&mut self.refs));
        }
        self.refs = outer;
        (columns, refs)
    }

    /// `*`, `c.*` and `(row).*`.
    pub(super) fn star(&mut self, value: &Node) -> Option<Columns<'a>> {
        match value.node.as_ref()? {
            NodeEnum::ColumnRef(reference) => {
                let last = reference.fields.last()?.node.as_ref()?;
                if !matches!(last, NodeEnum::AStar(_)) {
                    return None;
                }
                let names = strings(&reference.fields);
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Some(self.star_of(&names))
            }
            NodeEnum::AIndirection(indirection) => {
                let last = indirection.indirection.last()?.node.as_ref()?;
                matches!(last, NodeEnum::AStar(_)).then(|| self.expand(indirection))
            }
            _ => None,
        }
    }

    fn star_of(&mut self, names: &[&str]) -> Columns<'a> {
        let items = match names {
            [] => {
                let mut all = Columns::default();
                let items = self.levels.last().map(|level| level.items.clone()).unwrap_or_default();
                for item in items.into_iter().filter(|item| item.is_open) {
                    all.list.extend(item.columns.list);
                    if let Some(open) = item.columns.open {
                        let both: Vec<NodeId> = all.open.into_iter().chain([open]).collect();
                        all.open = Some(self.choose(&both));
                    }
                }
                return all;
            }
            [.., relation] => self.items_named(names.len().checked_sub(2).map(|at| names[at]), relation).0,
        };
        match &*items {
            [] => Columns::unknown(self.column(names)),
            [(_, item)] => item.columns.clone(),
            several => {
                let nodes = several.iter().flat_map(|(_, item)| item.columns.nodes()).collect();
                Columns::unknown(self.graph.made(nodes))
            }
        }
    }

    /// The fields of a row value.
    fn expand(&mut self, indirection: &protobuf::AIndirection) -> Columns<'a> {
        let argument = indirection.arg.as_deref();
        if let [_] = *indirection.indirection {
            match argument.and_then(|argument| argument.node.as_ref()) {
                Some(NodeEnum::ColumnRef(reference)) => {
                    let names = strings(&reference.fields);
                    if let [name] = &*names
                        && !self.is_before_row(name)
                        && let Some(item) = self.find_item(name)
                    {
                        return item.columns.clone();
                    }
                }
                Some(NodeEnum::FuncCall(call)) => {
                    let (node, columns) = self.call(call);
                    if let Some(columns) = columns {
                        return columns;
                    }
                    return Columns::unknown(node);
                }
                _ => {}
            }
        }
        let node = argument.map(|argument| self.expression(argument));
        let node = node.unwrap_or_else(|| self.graph.unknown(Untraceable::UnknownColumn));
        Columns::unknown(node)
    }

    /// A relation, or a common table expression where one has its name.
    pub(super) fn range_var(&mut self, relation: &protobuf::RangeVar) -> Item<'a> {
        let common = match &*relation.schemaname {
            "" => self.common_named(&relation.relname),
            _ => None,
        };
        let mut item = match common {
            Some(query) => {
                let mut item = self.item_of(query, None);
                item.name = Some(relation.relname.clone());
                item
            }
            None => self.relation_item(&relation.schemaname, &relation.relname),
        };
        self.alias(&mut item, relation.alias.as_ref());
        item
    }

    fn limits(&mut self, select: &SelectStmt) {
        for limit in [&select.limit_count, &select.limit_offset].into_iter().filter_map(Option::as_deref) {
            self.row_count(limit);
        }
    }

    /// An expression that says how many rows there are.
    pub(super) fn row_count(&mut self, node: &Node) -> Vec<NodeId> {
        let outer = std::mem::take(&mut self.refs);
        let value = self.expression(node);
        let mut nodes = std::mem::replace(&mut self.refs, outer);
        nodes.push(value);
        if let Some(level) = self.levels.last() {
            let rows = level.rows;
            self.graph.imply(rows, &nodes);
        }
        self.meet(nodes.clone(), Usage::RowCount, false);
        nodes
    }
}

/// The text of a String node, for callers that have just one.
pub(super) fn only_text(node: &Node) -> Option<&str> {
    text(node)
}

//! Where values come from, as a graph that is built while a statement is read and asked once it is complete.
//!
//! A node is a value that has as many instances as its part of the statement has rows: a column of a relation
//! in FROM, an output of a subquery, an expression. It is made `from` other nodes. What decides only whether a
//! row is there at all, or which of its neighbours are, is kept apart as `implied`: it names no value, but may
//! tell one.
//!
//! Because edges may be added until the end, nothing depends on the order in which clauses are read, and a
//! recursive query is just a cycle.

/// What many values are made of.
mod condensed;
/// What columns hold that were filled from masked ones.
mod filled;
/// What loops count, and what has a length.
mod loops;
/// What changes though a statement does not.
mod pace;
/// What rows are sorted or grouped by.
mod sorted;
/// What values that meet tell about each other.
mod spread;
/// What values tell.
mod tells;
/// Walks.
mod walk;

use std::{
    cell::RefCell,
    collections::HashSet,
    ops::{ControlFlow, Range},
};

pub(crate) use self::pace::is_relative_time;
use self::walk::Seen;
pub(super) use self::{
    condensed::AllDrawn,
    pace::{Changing, Pace},
    sorted::Among,
};
use super::{ColumnId, Untraceable, guesses::Guesses, holds::Holds};

/// One value of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// One relation in FROM, as often as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryId(u32);

#[derive(Debug, Default)]
struct Node {
    from: Vec<NodeId>,
    implied: Vec<NodeId>,
    /// It is one of `from` as it is, not something made of them.
    is_copy: bool,
    base: Option<ColumnId>,
    /// A view's column: what it is made of stands in `from`, and is what counts as its origin.
    is_view: bool,
    entry: Option<EntryId>,
    untraceable: Option<Untraceable>,
    type_oid: u32,
    /// Values of the rows around that a subquery was told: which it is depends on them.
    tied: Vec<NodeId>,
    /// Of the rows of a query: what says how often each is there.
    pairs: Option<NodeId>,
    /// A stored text in another case or without blanks around it, so that few are equal that were not.
    is_folded: bool,
    /// Each of `from` as it is, beside the others or in place of them.
    is_beside: bool,
    /// Values that are not alike may be equal to it, by its collation.
    is_loose: bool,
    pace: Pace,
    /// What a column of a relation holds that this transaction has made.
    pub(super) holds: Option<Holds>,
    /// Of a test for NULL: what is tested.
    tested: Option<NodeId>,
    /// Whether it is what a variable holds: what it was given, but for the type.
    is_held: bool,
    /// Whether it is what decides what happens in a body.
    is_flow: bool,
}

impl Node {
    fn is_constant(&self) -> bool {
        self.from.is_empty() && self.implied.is_empty() && self.untraceable.is_none() && self.entry.is_none()
    }
}

/// A predicate, or another place where values meet.
#[derive(Debug)]
pub(super) struct Meeting {
    pub(super) nodes: Vec<NodeId>,
    pub(super) usage: Usage,
    /// What says how often each row of the query it stands in is there.
    pub(super) pairs: Option<NodeId>,
    /// Whether each side is a column as it is or folded, so that only equal values meet.
    pub(super) is_plain: bool,
    /// Whether a masked value meets rows of another relation, so that their number tells it.
    pub(super) crosses: bool,
    /// Whether it gives rows an order or groups with a number of rows each.
    pub(super) numbers: bool,
    /// With how many values at once a column is compared.
    pub(super) guesses: Guesses,
    /// What is compared, each side as a whole; empty where it is no comparison.
    pub(super) sides: Vec<NodeId>,
    /// Whether it is of what a function is given that returns so many rows.
    pub(super) makes_rows: bool,
    /// What is computed among that which is looked for in a query, or which the query returns.
    pub(super) computed: Vec<NodeId>,
    /// Whether it only asks whether they are equal.
    pub(super) is_equality: bool,
    /// Whether it only tests for NULL, which is shown anyway but where it tells.
    pub(super) is_null_test: bool,
    /// Whether it stands in a definition of the database, which no statement can say otherwise.
    pub(super) is_standing: bool,
    /// What its answers tell of, where it is asked again and again about other values.
    pub(super) told: Option<NodeId>,
    /// Whether whoever sends the statement has it asked again and again.
    pub(super) is_looped: bool,
}

impl Meeting {
    /// How the columns that meet are used, where masked ones are or are not put among others.
    pub(super) fn usage(&self, among: Among) -> Usage {
        match self.usage {
            // The place of a row among rows of a list is its value, and so is a group of the list's that has one more.
            Usage::Grouping | Usage::Ordering if among == Among::Others && self.numbers => Usage::RowCount,
            // The list has one row less if the value is in it.
            Usage::Grouping if among == Among::Others => Usage::Range,
            Usage::Grouping | Usage::Ordering if among == Among::Computed => Usage::Function,
            // `numbers.i <= c.salary` is there once for each unit of the salary.
            Usage::Function | Usage::Pattern | Usage::Range if self.crosses => Usage::RowCount,
            // Half of all values in a list halve a search as well.
            Usage::Equality if self.guesses.is_long() => Usage::Range,
            usage => usage,
        }
    }
}

/// How a statement uses a column without showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// Compared for equality with a constant or another column.
    Equality,
    /// Put into a function or expression that is then compared.
    Function,
    /// GROUP BY, DISTINCT, PARTITION BY, set operations.
    Grouping,
    /// ORDER BY.
    Ordering,
    /// LIKE, SIMILAR TO, regular expressions, full text.
    Pattern,
    /// `<`, `>`, BETWEEN.
    Range,
    /// It says how many rows there are: LIMIT, OFFSET, TABLESAMPLE, `generate_series`.
    RowCount,
}

/// What makes a question about a column another one than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Asked {
    /// It may be another one each time, whatever is said.
    Anew,
    /// What the statement and its parameters say, and the definitions it names.
    Said,
    /// The definitions it names: a condition of a view, or of a policy of row-level security.
    Standing,
}

impl Usage {
    /// Its name in policies, explanations and the audit trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equality => "equality",
            Self::Function => "function",
            Self::Grouping => "grouping",
            Self::Ordering => "ordering",
            Self::Pattern => "pattern",
            Self::Range => "range",
            Self::RowCount => "row-count",
        }
    }
}

/// What a value was made from, as far as that can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Base columns, sorted; number 0 is the whole row.
    pub columns: Vec<ColumnId>,
    /// Columns of views on the way, sorted: they may be classified by themselves.
    pub views: Vec<ColumnId>,
    /// Columns that a row's being there tells about, sorted.
    pub implied: Vec<ColumnId>,
    /// Columns it tells to be NULL or not, sorted.
    pub nulls: Vec<ColumnId>,
    /// Whether the value is one of these columns' as it is.
    pub is_identity: bool,
    /// Whether values of more than one relation or list are in it.
    pub mixes: bool,
    /// Why more may be in it.
    pub untraceable: Option<Untraceable>,
}

impl Origins {
    /// Every column the value may tell about.
    pub fn all(&self) -> impl Iterator<Item = ColumnId> {
        self.columns.iter().chain(&self.views).chain(&self.implied).copied()
    }
}

/// Whether a subquery's value counts as made of what it was told by the query around.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ties {
    Followed,
    Ignored,
}

/// The values of one statement.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// For each relation in FROM, the node that says which of its rows are there.
    entries: Vec<NodeId>,
    /// Those of temporary relations, which clients fill.
    temporary: Vec<EntryId>,
    pub(super) meetings: Vec<Meeting>,
    /// Values that meet nothing, and are asked by a function.
    pub(super) asked_alone: HashSet<NodeId>,
    /// Whether any value is another one each time.
    has_pace: bool,
    /// Whether this transaction has filled any of the columns.
    has_holds: bool,
    /// Whether there is any value nobody knows, and any that is a column nobody knows.
    has_unknown: bool,
    has_unknown_column: bool,
    /// Values that are as long as others say.
    sized: Vec<(NodeId, Vec<NodeId>)>,
    /// Columns that a loop changes by what is in them, and relations in FROM that it reads.
    restless: Vec<ColumnId>,
    looped: Vec<Range<u32>>,
    /// Whether the collation of any value is one by which different values are equal.
    has_loose: bool,
    /// Room for the marks of the next walk.
    seen: RefCell<Seen>,
}

/// A type of the server's own, whichever: `bool`.
const BUILT_IN: u32 = 16;

impl Graph {
    fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }

    fn at(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// A value made of others; of none, a constant.
    pub(super) fn made(&mut self, from: Vec<NodeId>) -> NodeId {
        self.push(Node { from, ..Node::default() })
    }

    /// A value in a variable.
    pub(super) fn held(&mut self, from: Vec<NodeId>) -> NodeId {
        self.push(Node { from, is_held: true, ..Node::default() })
    }

    /// What decides what happens in a body, which everything in it implies.
    pub(super) fn flow(&mut self) -> NodeId {
        self.push(Node { is_flow: true, ..Node::default() })
    }

    /// A value that is others side by side, as a row is, or the first of them that is not NULL.
    pub(super) fn beside(&mut self, from: Vec<NodeId>) -> NodeId {
        self.push(Node { from, is_beside: true, ..Node::default() })
    }

    /// A value that is another one, or one of several, as it is.
    pub(super) fn copy(&mut self, from: Vec<NodeId>) -> NodeId {
        let type_oid = from.first().map_or(0, |first| self.node(*first).type_oid);
        self.push(Node { from, is_copy: true, type_oid, ..Node::default() })
    }

    /// A constant of this type.
    pub(super) fn typed(&mut self, type_oid: u32) -> NodeId {
        self.push(Node { type_oid, ..Node::default() })
    }

    /// A value nobody can tell anything about.
    pub(super) fn unknown(&mut self, why: Untraceable) -> NodeId {
        self.has_unknown = true;
        self.has_unknown_column |= why == Untraceable::UnknownColumn;
        self.push(Node { untraceable: Some(why), ..Node::default() })
    }

    /// A relation in FROM.
    pub(super) fn entry(&mut self) -> EntryId {
        let rows = self.made(Vec::new());
        let id = EntryId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.entries.push(rows);
        id
    }

    /// The node that says which rows of an entry are there.
    pub(super) fn rows(&self, entry: EntryId) -> NodeId {
        self.entries[entry.0 as usize]
    }

    /// Notes that an entry is a temporary relation.
    pub(super) fn temporary(&mut self, entry: EntryId) {
        self.temporary.push(entry);
    }

    /// Whether a value is made of anything stored.
    pub(super) fn reads(&self, id: NodeId) -> bool {
        let walked = self.walk(id, |_, node, open| {
            if node.base.is_some() && (node.from.is_empty() || node.is_view) {
                return ControlFlow::Break(());
            }
            open.extend(node.from.iter().chain(&node.tied));
            ControlFlow::Continue(())
        });
        walked.is_break()
    }

    /// A column of a relation the server stores.
    pub(super) fn base(&mut self, entry: EntryId, column: ColumnId, type_oid: u32) -> NodeId {
        self.push(Node { base: Some(column), entry: Some(entry), type_oid, ..Node::default() })
    }

    /// A column of a view.
    pub(super) fn view(&mut self, entry: EntryId, column: ColumnId, from: NodeId, type_oid: u32) -> NodeId {
        let base = Some(column);
        let from = vec![from];
        self.push(Node {
            base,
            is_view: true,
            is_copy: true,
            from,
            entry: Some(entry),
            type_oid,
            ..Node::default()
        })
    }

    /// A column of something else in FROM: a subquery, a function, VALUES.
    pub(super) fn column(&mut self, entry: EntryId, from: Vec<NodeId>) -> NodeId {
        let id = self.copy(from);
        self.at(id).entry = Some(entry);
        id
    }

    pub(super) fn add(&mut self, to: NodeId, from: &[NodeId]) {
        self.at(to).from.extend_from_slice(from);
    }

    pub(super) fn imply(&mut self, to: NodeId, from: &[NodeId]) {
        self.at(to).implied.extend_from_slice(from);
    }

    pub(super) fn tie(&mut self, node: NodeId, to: &[NodeId]) {
        self.at(node).tied.extend_from_slice(to);
    }

    /// What says how often each of a query's rows is there: more than one where relations meet.
    pub(super) fn pairs(&mut self, rows: NodeId) -> NodeId {
        if let Some(pairs) = self.node(rows).pairs {
            return pairs;
        }
        let pairs = self.made(Vec::new());
        self.at(rows).pairs = Some(pairs);
        self.imply(rows, &[pairs]);
        pairs
    }

    /// What says which rows a value stands in.
    pub(super) fn rows_behind(&self, id: NodeId) -> Vec<NodeId> {
        let mut rows = Vec::new();
        self.walk_all(id, |_, node, open| {
            rows.extend(node.entry.map(|entry| self.rows(entry)));
            rows.extend_from_slice(&node.implied);
            open.extend_from_slice(&node.from);
        });
        rows
    }

    /// What says how many rows a call returned: its result, or only what that is implied by where it was read.
    pub(super) fn rows_of_call(&self, call: NodeId) -> Vec<NodeId> {
        let node = self.node(call);
        if node.is_copy && !node.implied.is_empty() { node.implied.clone() } else { vec![call] }
    }

    pub(super) fn is_copy(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.is_copy || node.base.is_some()
    }

    /// The type of a value where it is known for certain, or 0.
    pub(super) fn own_type(&self, id: NodeId) -> u32 {
        let mut node = self.node(id);
        let mut left = self.nodes.len();
        while let ([only], true, None) = (&*node.from, node.is_copy && left > 0, node.base) {
            node = self.node(*only);
            left -= 1;
        }
        if node.is_copy && node.base.is_none() { 0 } else { node.type_oid }
    }

    pub(super) fn set_type(&mut self, id: NodeId, type_oid: u32) {
        self.at(id).type_oid = type_oid;
    }

    pub(super) fn type_oid(&self, id: NodeId) -> u32 {
        self.node(id).type_oid
    }

    /// Everything a value was made from.
    pub(super) fn origins(&self, id: NodeId) -> Origins {
        let mut origins = Origins { is_identity: true, ..Origins::default() };
        let mut seen = self.seen.take();
        seen.begin(self.nodes.len());
        let (mut implied, mut tested) = (Vec::new(), Vec::new());
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if !seen.is_first(id) {
                continue;
            }
            let node = self.node(id);
            tested.extend(node.tested);
            match node.base {
                Some(column) if node.is_view => origins.views.push(column),
                Some(column) => origins.columns.push(column),
                // A constant beside a column is shown as the column is.
                None => origins.is_identity &= node.is_copy || node.is_constant(),
            }
            if origins.untraceable.is_none() {
                origins.untraceable = node.untraceable;
            }
            implied.extend_from_slice(&node.implied);
            implied.extend(node.entry.map(|entry| self.rows(entry)));
            open.extend_from_slice(&node.from);
        }
        self.implied(implied, &mut seen, &mut origins);
        self.seen.replace(seen);
        origins.nulls = self.columns_of(tested);
        let Origins { columns, views, implied, .. } = &mut origins;
        for list in [columns, views, implied] {
            list.sort_unstable();
            list.dedup();
        }
        origins.is_identity &= origins.untraceable.is_none() && !origins.columns.is_empty();
        origins
    }

    fn implied(&self, mut open: Vec<NodeId>, seen: &mut Seen, origins: &mut Origins) {
        while let Some(id) = open.pop() {
            if !seen.is_first(id) {
                continue;
            }
            let node = self.node(id);
            origins.implied.extend(node.base);
            if origins.untraceable.is_none() {
                origins.untraceable = node.untraceable;
            }
            open.extend(node.from.iter().chain(&node.implied));
            open.extend(node.entry.map(|entry| self.rows(entry)));
        }
    }

    /// Every stored column, or column of a view, that any of these values is made from.
    pub(super) fn columns_of(&self, ids: impl IntoIterator<Item = NodeId>) -> Vec<ColumnId> {
        let mut columns = Vec::new();
        let mut seen = self.seen.take();
        seen.begin(self.nodes.len());
        let mut open: Vec<NodeId> = ids.into_iter().collect();
        while let Some(id) = open.pop() {
            if seen.is_first(id) {
                columns.extend(self.node(id).base);
                open.extend_from_slice(&self.node(id).from);
            }
        }
        self.seen.replace(seen);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// What a value is as it is, one of these.
    pub(super) fn copied(&self, id: NodeId) -> &[NodeId] {
        let node = self.node(id);
        if node.is_copy { &node.from } else { &[] }
    }

    /// Whether a value is a stored one as it is, and never a constant.
    pub(super) fn is_stored(&self, id: NodeId) -> bool {
        let walked = self.walk(id, |_, node, open| {
            let stored = node.base.is_some() && !node.is_view;
            if node.untraceable.is_some() || !stored && (!node.is_copy || node.from.is_empty()) {
                return ControlFlow::Break(());
            }
            open.extend_from_slice(&node.from);
            ControlFlow::Continue(())
        });
        walked.is_continue()
    }

    /// Whether a value is a stored one as it is.
    pub(super) fn is_identity(&self, id: NodeId) -> bool {
        let mut is_stored = false;
        self.is_copy(id)
            && self
                .walk(id, |_, node, open| {
                    if node.base.is_none() && !node.is_copy && !node.is_constant() {
                        return ControlFlow::Break(());
                    }
                    is_stored |= node.base.is_some() && !node.is_view;
                    open.extend_from_slice(&node.from);
                    ControlFlow::Continue(())
                })
                .is_continue()
            && is_stored
            && !self.tells_unknown(id)
    }

    /// Notes that a value is a stored text in another case or without blanks around it.
    pub(super) fn fold(&mut self, id: NodeId) {
        self.at(id).is_folded = true;
    }

    /// Whether a value is a stored one as it is, or but for its case and the blanks around it.
    pub(super) fn is_folded(&self, id: NodeId) -> bool {
        let walked = self.walk(id, |_, node, open| {
            let is_whole = node.is_folded || node.base.is_some() && !node.is_view;
            if !is_whole && (!node.is_copy || node.from.is_empty()) || node.untraceable.is_some() {
                return ControlFlow::Break(());
            }
            if !is_whole {
                open.extend_from_slice(&node.from);
            }
            ControlFlow::Continue(())
        });
        walked.is_continue() || self.is_identity(id)
    }

    /// The types of what a value is made of; none where one is not known.
    pub(super) fn leaf_types(&self, id: NodeId) -> Vec<Option<u32>> {
        let mut types = Vec::new();
        self.walk_all(id, |_, node, open| {
            let is_row = node.base.is_some_and(|column| column.number >= 0) && node.type_oid == 0;
            let found = match node.type_oid {
                _ if node.untraceable.is_some() || is_row => None,
                0 if node.from.is_empty() => Some(BUILT_IN),
                oid if oid == 0 || node.is_copy && node.base.is_none() => {
                    open.extend_from_slice(&node.from);
                    return;
                }
                oid => Some(oid),
            };
            if !types.contains(&found) {
                types.push(found);
            }
        });
        types
    }

    /// The relations in FROM that a value's leaves belong to, those leaves that fit. Where the leaves are constants, as
    /// those of `unnest($1)`, it is what made rows of them.
    fn leaves(&self, id: NodeId, ties: Ties, fits: &dyn Fn(Option<ColumnId>) -> bool) -> Vec<EntryId> {
        let mut leaves = Vec::new();
        let mut lists = Vec::new();
        self.walk_all(id, |_, node, open| {
            if (node.from.is_empty() || node.is_view) && fits(node.base) {
                leaves.extend(node.entry);
            } else if node.base.is_none() && fits(None) {
                lists.extend(node.entry);
            }
            open.extend_from_slice(&node.from);
            if ties == Ties::Followed {
                open.extend_from_slice(&node.tied);
            }
        });
        let mut leaves = if leaves.is_empty() { lists } else { leaves };
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }
}

#[cfg(test)]
#[path = "graph/graph_tests.rs"]
mod tests;

//! Where values come from, as a graph that is built while a statement is read and asked once it is complete.
//!
//! A node is a value that has as many instances as its part of the statement has rows: a column of a relation
//! in FROM, an output of a subquery, an expression. It is made `from` other nodes. What decides only whether a
//! row is there at all, or which of its neighbours are, is kept apart as `implied`: it names no value, but may
//! tell one.
//!
//! Because edges may be added until the end, nothing depends on the order in which clauses are read, and a
//! recursive query is just a cycle.

use super::{ColumnId, Untraceable};

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
    /// Whether each side is a column as it is, so that only equal values meet.
    pub(super) is_plain: bool,
    /// Whether a masked value meets rows of another relation, so that their number tells it.
    pub(super) crosses: bool,
}

impl Meeting {
    /// How the columns that meet are used.
    pub(super) fn usage(&self) -> Usage {
        match self.usage {
            // `numbers.i <= c.salary` is there once for each unit of the salary.
            Usage::Function | Usage::Pattern | Usage::Range if self.crosses => Usage::RowCount,
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
    /// Whether the value is one of these columns' as it is.
    pub is_identity: bool,
    /// Why more may be in it.
    pub untraceable: Option<Untraceable>,
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
    pub(super) meetings: Vec<Meeting>,
}

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

    /// A value that is another one, or one of several, as it is.
    pub(super) fn copy(&mut self, from: Vec<NodeId>) -> NodeId {
        let type_oid = from.first().map_or(0, |first| self.node(*first).type_oid);
        self.push(Node { from, is_copy: true, type_oid, ..Node::default() })
    }

    /// A value nobody can tell anything about.
    pub(super) fn unknown(&mut self, why: Untraceable) -> NodeId {
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
        let mut seen = vec![false; self.nodes.len()];
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
                continue;
            }
            let node = self.node(id);
            rows.extend(node.entry.map(|entry| self.rows(entry)));
            rows.extend_from_slice(&node.implied);
            open.extend_from_slice(&node.from);
        }
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

    pub(super) fn type_oid(&self, id: NodeId) -> u32 {
        self.node(id).type_oid
    }

    /// Everything a value was made from.
    pub(super) fn origins(&self, id: NodeId) -> Origins {
        let mut origins = Origins { is_identity: true, ..Origins::default() };
        let mut seen = vec![false; self.nodes.len()];
        let mut implied = Vec::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
                continue;
            }
            let node = self.node(id);
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
        let Origins { columns, views, implied, .. } = &mut origins;
        for list in [columns, views, implied] {
            list.sort_unstable();
            list.dedup();
        }
        origins.is_identity &= origins.untraceable.is_none() && !origins.columns.is_empty();
        origins
    }

    fn implied(&self, mut open: Vec<NodeId>, seen: &mut [bool], origins: &mut Origins) {
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
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

    /// Whether a value is a stored one as it is.
    pub(super) fn is_identity(&self, id: NodeId) -> bool {
        self.is_copy(id) && self.origins(id).is_identity
    }

    /// Whether it is a stored column as it is, and always the same one.
    pub(super) fn is_one_column(&self, id: NodeId) -> bool {
        self.is_identity(id) && self.origins(id).columns.len() == 1
    }

    /// Whether a value is made of a column of a type that fits.
    pub(super) fn has_type(&self, id: NodeId, fits: &dyn Fn(u32) -> bool) -> bool {
        let mut seen = vec![false; self.nodes.len()];
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
                continue;
            }
            let node = self.node(id);
            if fits(node.type_oid) {
                return true;
            }
            open.extend_from_slice(&node.from);
        }
        false
    }

    /// The relations in FROM that a value's leaves belong to, those leaves that fit.
    fn leaves(&self, id: NodeId, ties: Ties, fits: &dyn Fn(Option<ColumnId>) -> bool) -> Vec<EntryId> {
        let mut leaves = Vec::new();
        let mut seen = vec![false; self.nodes.len()];
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
                continue;
            }
            let node = self.node(id);
            if (node.from.is_empty() || node.is_view) && fits(node.base) {
                leaves.extend(node.entry);
            }
            open.extend_from_slice(&node.from);
            if ties == Ties::Followed {
                open.extend_from_slice(&node.tied);
            }
        }
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }

    /// Follows what meets: a value that was compared with a masked one tells it by being there, unless it is a
    /// constant, which tells one bit.
    ///
    /// `where n.i <= c.salary` lets every `n.i` up to the salary through; the last one, or their number, is the
    /// salary. So the other relation's rows are implied by what they were compared with.
    pub(super) fn spread(&mut self, is_sensitive: &dyn Fn(ColumnId) -> bool) {
        let mut meetings = std::mem::take(&mut self.meetings);
        for _round in 0..=meetings.len() {
            let mut changed = false;
            for meeting in &mut meetings {
                changed |= self.spread_one(meeting, is_sensitive);
            }
            if !changed {
                break;
            }
        }
        self.meetings = meetings;
    }

    fn spread_one(&mut self, meeting: &mut Meeting, is_sensitive: &dyn Fn(ColumnId) -> bool) -> bool {
        let mut telling = Vec::new();
        let mut others = Vec::new();
        for id in &meeting.nodes {
            let origins = self.origins(*id);
            let by_value = origins.columns.iter().chain(&origins.views).any(|column| is_sensitive(*column));
            if by_value
                || origins.untraceable.is_some()
                || origins.implied.iter().any(|column| is_sensitive(*column))
            {
                telling.push(*id);
            }
            if !by_value && origins.untraceable.is_none() {
                others.push(*id);
            }
        }
        let masked = |base: Option<ColumnId>| base.is_some_and(is_sensitive);
        let own: Vec<EntryId> =
            telling.iter().flat_map(|id| self.leaves(*id, Ties::Followed, &masked)).collect();
        let mut changed = false;
        for id in others {
            let mut rows: Vec<EntryId> = self.leaves(id, Ties::Followed, &|_| true);
            let same_row = !rows.is_empty() && rows.iter().all(|entry| own.contains(entry));
            if same_row {
                // Two columns of one row: only their being equal says what the other is.
                if meeting.usage == Usage::Equality && meeting.is_plain && !telling.contains(&id) {
                    changed |= self.imply_new(id, &telling);
                }
                continue;
            }
            rows.extend(self.node(id).entry);
            meeting.crosses |= !rows.is_empty() && !telling.is_empty();
            // Equal values are there once, unless somebody stored them more often.
            let pairs = meeting.pairs.filter(|_| !rows.is_empty() && !meeting.is_plain);
            let targets: Vec<NodeId> =
                rows.iter().map(|entry| self.rows(*entry)).chain([id]).chain(pairs).collect();
            for target in targets {
                let sources: Vec<NodeId> =
                    telling.iter().copied().filter(|source| *source != target).collect();
                changed |= self.imply_new(target, &sources);
            }
        }
        changed | self.spread_mixed(meeting, &telling, &own)
    }

    /// A value that is in part masked and in part another relation's, as of a union or of `w = ssn`, tells the one
    /// by which rows of the other it stands beside.
    fn spread_mixed(&mut self, meeting: &Meeting, telling: &[NodeId], own: &[EntryId]) -> bool {
        let mut changed = false;
        for id in telling.iter().copied().filter(|_| !own.is_empty()) {
            let mut rows = self.leaves(id, Ties::Ignored, &|_| true);
            rows.retain(|entry| !own.contains(entry));
            let pairs = meeting.pairs.filter(|_| !rows.is_empty());
            let targets: Vec<NodeId> = rows.iter().map(|entry| self.rows(*entry)).chain(pairs).collect();
            for target in targets {
                changed |= self.imply_new(target, &[id]);
            }
        }
        changed
    }

    fn imply_new(&mut self, to: NodeId, from: &[NodeId]) -> bool {
        let known = &self.node(to).implied;
        let new: Vec<NodeId> = from.iter().copied().filter(|id| !known.contains(id)).collect();
        self.imply(to, &new);
        !new.is_empty()
    }
}

//! Definitions a transaction has changed, which no snapshot knows before it is committed.

/// What the server calls of itself.
mod bound;
/// What is put into one relation and is in another by that.
mod passed;
/// Policies of row-level security.
mod policy_made;
/// Other names.
mod renames;
/// Queries of views.
mod view_query;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub use self::{policy_made::PolicyMade, renames::Renames, view_query::ViewQuery};
use super::{
    ColumnId, Holds, Origins, Untraceable, Write, WriteTarget,
    cascade::Passed,
    graph::{EntryId, NodeId},
    operator::ANY,
    scope::{Columns, VIEW_DEPTH_MAX},
    trace::Tracer,
};
use crate::catalog::{Called, Routine};

/// What a statement makes or changes by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Anything, of any name: a type, an operator.
    Anything,
    /// A cast, of whatever, which may stand for anything as well.
    Cast,
    /// An extension of which nothing changes what names mean.
    Extension,
    /// Something by which the server calls functions of users that no statement names.
    Bound,
    /// A relation whose rows another one shows as well.
    Child {
        /// Its name.
        relation: String,
        /// The other one's.
        parent: String,
    },
    /// A relation that is no more, so that its name may mean another one; without a name, any.
    Dropped(Option<String>),
    /// A foreign key that passes on what is changed.
    Passed(Passed),
    /// A column of relations the catalog knows that has another name by now.
    Column {
        /// The relation's name.
        relation: String,
        /// Its name before.
        from: String,
        /// Its name.
        name: String,
        /// What it is in each relation that has it.
        columns: Vec<ColumnId>,
    },
    /// A relation with columns in which different values may be equal, by their collation.
    Loose(String),
    /// A foreign table, or one that passes on what it is given to one.
    Foreign(String),
    /// A function.
    Function {
        /// Its name, without schema.
        name: String,
        /// What it does, where that can be read.
        body: Option<Arc<Routine>>,
    },
    /// A column that is made of the others of its row.
    Generated {
        /// Its relation's name.
        relation: String,
        /// Its own.
        column: String,
    },
    /// A relation that has another name or schema by now.
    Moved {
        /// Its name before.
        from: String,
        /// Its name.
        name: String,
        /// The relations of the catalog it may be.
        relations: Vec<u32>,
    },
    /// A column of this name keeps only a part of what is put into it.
    Narrow(String),
    /// An operator.
    Operator {
        /// Its name, without schema.
        name: String,
        /// The function it is.
        function: Called,
    },
    /// A table whose rows lie where their keys say.
    Partitioned {
        /// Its name.
        relation: String,
        /// Names of its key's columns; `*` for any.
        key: Vec<String>,
    },
    /// A relation whose columns may stand in other places than they became known in.
    Placed(String),
    /// A policy of row-level security.
    Policy(Arc<PolicyMade>),
    /// Another name for anything but a relation, such as a function.
    Renamed,
    /// A relation with these columns, which hold what others held.
    Relation {
        /// Its name, without schema.
        name: String,
        /// Its columns, and what is in each.
        columns: Vec<(String, Origins)>,
    },
    /// Another name for a schema.
    Schema {
        /// Its name before.
        from: String,
        /// Its name.
        name: String,
    },
    /// A trigger.
    Trigger(Trigger),
    /// A type whose values nothing but the server's own code makes.
    Type(String),
    /// A relation of which nothing is known.
    Unknown(String),
    /// What was made under this name is a view, or is filled like one later.
    View {
        /// Its name.
        name: String,
        /// Relations it reads.
        reads: Vec<String>,
    },
    /// What a view of this name shows.
    Shows {
        /// Its name, without schema.
        name: String,
        /// To be read anew, whatever becomes of what it reads.
        shows: Arc<ViewQuery>,
        /// Its columns, and what was in each when it was made.
        columns: Vec<(String, Origins)>,
    },
}

/// A trigger no snapshot knows yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its relation's schema, empty where none is written.
    pub schema: String,
    /// Its relation.
    pub relation: String,
    /// Its function, without schema.
    pub function: String,
}

/// Names that may mean something else than the snapshot says.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    relations: HashMap<String, Vec<Vec<(String, Origins)>>>,
    unknown: HashSet<String>,
    foreign: HashSet<String>,
    loose: HashSet<String>,
    /// Relations whose columns may stand in any order.
    placed: HashSet<String>,
    functions: HashMap<String, Vec<Option<Arc<Routine>>>>,
    operators: Vec<(String, Called)>,
    triggers: Vec<Trigger>,
    types: HashSet<String>,
    policies: Vec<Arc<PolicyMade>>,
    /// Relations, and one whose rows they are as well.
    parents: Vec<(String, String)>,
    /// Columns that foreign keys fill.
    passed: Vec<Passed>,
    /// Columns that relations are partitioned by.
    keys: HashMap<String, Vec<String>>,
    /// What each reads, and how much was put there before.
    views: HashMap<String, Vec<(String, usize)>>,
    generated: HashSet<(String, String)>,
    /// Columns, of whatever relation, that keep only a part of what is put into them.
    narrow: HashSet<String>,
    /// Names of relations before and after.
    moved: Vec<(String, String)>,
    /// What names mean besides, by OID.
    others: HashMap<String, Vec<u32>>,
    /// Other names of columns, by their relation's OID.
    renamed: HashMap<u32, Vec<(i16, String)>>,
    /// Views: what they show, and did when they were made.
    queries: HashMap<String, Vec<Shown>>,
    dropped: HashSet<String>,
    is_any_dropped: bool,
    is_all: bool,
    has_cast: bool,
    /// The server may call functions of users that no statement names.
    has_bound: bool,
    /// Functions nobody knows may be an extension's.
    has_extension: bool,
    /// Names of schemas before and after.
    schemas: Vec<(String, String)>,
    /// Functions may have others' names.
    has_renamed: bool,
    /// How many of all these there are.
    size: usize,
}

/// What a view shows, and what was in its columns when it was made.
type Shown = (Arc<ViewQuery>, Vec<(String, Origins)>);

/// Adds what is not in a list yet, and counts it: what is done again, or renamed to and fro, is known once.
fn add<T: PartialEq>(list: &mut Vec<T>, item: T, size: &mut usize) {
    if !list.contains(&item) {
        list.push(item);
        *size += 1;
    }
}

impl Overlay {
    /// Whether the snapshot says all there is.
    pub fn is_empty(&self) -> bool {
        self.size == 0 && !self.is_any_dropped && !self.is_all
    }

    /// How much there is to be kept in mind.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether there are functions or triggers the snapshot does not know.
    pub(super) fn has_code(&self) -> bool {
        !self.functions.is_empty() || !self.operators.is_empty() || !self.triggers.is_empty()
    }

    /// Takes note of a statement that is sent. Nothing is taken back before the transaction ends, because a part
    /// of it may be: a name then means what it meant or what it was given.
    pub fn learn(&mut self, made: &Made) {
        let size = &mut self.size;
        match made {
            Made::Anything => self.is_all = true,
            Made::Cast => (self.is_all, self.has_cast) = (true, true),
            Made::Extension => self.has_extension = true,
            Made::Bound => *size += usize::from(!std::mem::replace(&mut self.has_bound, true)),
            Made::Child { relation, parent } => {
                add(&mut self.parents, (relation.clone(), parent.clone()), size);
            }
            Made::Column { relation, from, name, columns } => {
                for column in columns {
                    let renamed = self.renamed.entry(column.relation).or_default();
                    add(renamed, (column.number, name.clone()), size);
                }
                let lists = self.relations.get(relation).into_iter().flatten().flatten();
                let held = lists.filter(|(known, _)| known == from);
                let held: Vec<_> = held.map(|(_, origins)| (name.clone(), origins.clone())).collect();
                if !held.is_empty() {
                    add(self.relations.entry(relation.clone()).or_default(), held, size);
                }
                if self.narrow.contains(from) {
                    *size += usize::from(self.narrow.insert(name.clone()));
                }
                if self.is_generated(relation, from) {
                    self.generated.insert((relation.clone(), name.clone()));
                }
                self.passes_renamed((relation, Some(from)), (relation, name));
                self.keys_renamed(relation, from, name);
            }
            Made::Dropped(Some(name)) => *size += usize::from(self.dropped.insert(name.clone())),
            Made::Dropped(None) => self.is_any_dropped = true,
            Made::Foreign(name) => *size += usize::from(self.foreign.insert(name.clone())),
            Made::Function { name, body } => {
                self.functions.entry(name.clone()).or_default().push(body.clone());
                *size += 1;
            }
            Made::Generated { relation, column } => {
                *size += usize::from(self.generated.insert((relation.clone(), column.clone())));
            }
            Made::Loose(name) => *size += usize::from(self.loose.insert(name.clone())),
            Made::Moved { from, name, relations } => self.moves(from, name, relations),
            Made::Operator { name, function } => {
                add(&mut self.operators, (name.clone(), function.clone()), size);
            }
            Made::Partitioned { relation, key } => {
                for column in key {
                    add(self.keys.entry(relation.clone()).or_default(), column.clone(), size);
                }
            }
            Made::Placed(name) => *size += usize::from(self.placed.insert(name.clone())),
            Made::Policy(policy) => add(&mut self.policies, policy.clone(), size),
            Made::Passed(passed) => add(&mut self.passed, passed.clone(), size),
            Made::Renamed => (self.is_all, self.has_renamed) = (true, true),
            Made::Narrow(column) => *size += usize::from(self.narrow.insert(column.clone())),
            Made::Relation { name, columns } => {
                add(self.relations.entry(name.clone()).or_default(), columns.clone(), size);
            }
            Made::Schema { from, name } => add(&mut self.schemas, (from.clone(), name.clone()), size),
            Made::Trigger(trigger) => add(&mut self.triggers, trigger.clone(), size),
            Made::Type(name) => *size += usize::from(self.types.insert(name.clone())),
            Made::Unknown(name) => *size += usize::from(self.unknown.insert(name.clone())),
            Made::View { name, reads } => {
                for read in reads {
                    let filled = self.relations.get(read).map_or(0, Vec::len);
                    add(self.views.entry(name.clone()).or_default(), (read.clone(), filled), size);
                }
            }
            Made::Shows { name, shows, columns } => {
                let shown = (shows.clone(), columns.clone());
                add(self.queries.entry(name.clone()).or_default(), shown, size);
            }
        }
    }

    /// What is put into relations this transaction has made: they hold it from then on.
    pub(super) fn filled(&self, writes: &[Write]) -> Vec<Made> {
        let fills = writes.iter().filter(|write| write.origins != Origins::constant());
        let fills = fills.filter_map(|write| match &write.target {
            WriteTarget::New { relation, column, .. } if self.is_made(relation) => {
                let columns = vec![(column.clone(), write.origins.clone())];
                Some(Made::Relation { name: relation.clone(), columns })
            }
            WriteTarget::New { .. } | WriteTarget::Column(_) => None,
        });
        fills.collect()
    }

    pub(super) fn is_foreign(&self, name: &str) -> bool {
        self.foreign.contains(name)
    }

    /// Whether a name may mean what it did not, because something is no more.
    pub(super) fn may_uncover(&self, name: &str) -> bool {
        self.is_any_dropped || self.is_all || self.dropped.contains(name)
    }

    pub(super) fn is_view(&self, name: &str) -> bool {
        self.views.contains_key(name)
    }

    pub(super) fn is_generated(&self, relation: &str, column: &str) -> bool {
        self.generated.iter().any(|(of, name)| of == relation && name == column)
    }

    /// Relations of the catalog that have this name by now.
    pub(super) fn others(&self, name: &str) -> &[u32] {
        self.others.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names that columns of a relation of the catalog have by now.
    pub(super) fn renamed(&self, relation: u32) -> &[(i16, String)] {
        self.renamed.get(&relation).map_or(&[], Vec::as_slice)
    }

    /// Whether nobody knows which of a relation's columns stands where.
    pub(super) fn is_placed(&self, name: &str) -> bool {
        self.placed.contains(name)
    }

    /// Whether nothing is known of a relation of this name.
    pub(super) fn is_loose(&self, name: &str) -> bool {
        self.loose.contains(name)
    }

    pub(super) fn is_unknown(&self, name: &str) -> bool {
        self.unknown.contains(name)
    }

    /// What went into relations after the view over them was made.
    fn filled_since(&self, view: &str) -> Vec<&Origins> {
        let mut found: Vec<&Origins> = Vec::new();
        let mut seen: Vec<&str> = vec![view];
        let mut open: Vec<(&str, usize)> = self.reads(view);
        while let Some((name, before)) = open.pop() {
            let lists = self.relations.get(name).into_iter().flatten().skip(before).flatten();
            found.extend(lists.map(|(_, origins)| origins));
            if !seen.contains(&name) {
                seen.push(name);
                open.extend(self.reads(name));
                // Under another name the lists stand in another order.
                let moved = self.moved.iter().filter(|(from, _)| from == name);
                open.extend(moved.map(|(_, to)| (to.as_str(), 0)));
            }
        }
        found
    }

    /// Whether it is known what this transaction put into a relation it made, and that nothing of it tells of a masked
    /// column.
    pub(super) fn holds_nothing(&self, name: &str, is_masked: impl Fn(ColumnId) -> bool) -> bool {
        let held = self.held(name).chain(self.filled_since(name));
        self.is_made(name)
            && !self.unknown.contains(name)
            && !self.others.contains_key(name)
            && held.into_iter().all(|origins| origins.untraceable.is_none() && !origins.all().any(&is_masked))
    }

    fn reads(&self, view: &str) -> Vec<(&str, usize)> {
        let reads = self.views.get(view).into_iter().flatten();
        reads.map(|(name, before)| (name.as_str(), *before)).collect()
    }

    /// What is in the columns of a relation this transaction has made.
    pub(super) fn held(&self, name: &str) -> impl Iterator<Item = &Origins> {
        let stored = self.relations.get(name).into_iter().flatten();
        let shown = self.queries.get(name).into_iter().flatten().map(|(_, columns)| columns);
        stored.chain(shown).flatten().map(|(_, origins)| origins)
    }

    /// Whether this transaction has made a table or a view of this name.
    fn is_made(&self, name: &str) -> bool {
        self.relations.contains_key(name) || self.queries.contains_key(name)
    }

    /// Relations whose rows another one shows as well.
    pub(super) fn children(&self, parent: &str) -> impl Iterator<Item = &str> {
        self.parents.iter().filter(move |(_, of)| of == parent).map(|(child, _)| child.as_str())
    }

    /// Whether a type of this name was made whose values nothing but the server's own code makes.
    pub(super) fn makes_type(&self, name: &str) -> bool {
        self.types.contains(name)
    }

    /// Functions of the operators that were made under this name.
    pub(super) fn operators(&self, name: &str) -> impl Iterator<Item = &Called> {
        self.operators.iter().filter(move |(known, _)| known == name).map(|(_, function)| function)
    }

    pub(super) fn has_function(&self, name: &str) -> bool {
        self.is_all || self.makes_function(name)
    }

    /// Whether a function was made under this name.
    pub(super) fn makes_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// Whether a function of this name may do what nobody knows.
    pub(super) fn has_opaque_function(&self, name: &str) -> bool {
        self.is_all || self.functions.get(name).is_some_and(|bodies| bodies.iter().any(Option::is_none))
    }

    /// Whether the function a trigger names may be one nobody has read.
    pub(super) fn has_opaque_trigger(&self, name: &str) -> bool {
        self.has_renamed || self.functions.get(name).is_some_and(|bodies| bodies.iter().any(Option::is_none))
    }

    /// Functions of this name that can be read.
    pub(super) fn routines(&self, name: &str) -> impl Iterator<Item = &Routine> {
        let bodies = self.functions.get(name).map_or(&[][..], Vec::as_slice);
        bodies.iter().flatten().map(AsRef::as_ref)
    }

    /// The function that was made last under this name, where it can be read.
    pub(super) fn newest(&self, name: &str) -> Option<&Routine> {
        self.functions.get(name)?.last()?.as_deref()
    }

    /// Functions for triggers. One that was renamed may be any trigger's.
    pub(super) fn trigger_routines(&self, name: &str) -> Vec<&Routine> {
        if self.has_renamed {
            self.functions.values().flatten().flatten().map(AsRef::as_ref).collect()
        } else {
            self.routines(name).collect()
        }
    }

    pub(super) fn policies(&self) -> &[Arc<PolicyMade>] {
        &self.policies
    }

    pub(super) fn triggers(&self) -> &[Trigger] {
        &self.triggers
    }

    /// An OID for the next function, which has none yet.
    pub(super) fn next_oid(&self) -> u32 {
        let known = self.functions.values().map(Vec::len).sum::<usize>();
        u32::MAX - u32::try_from(known).unwrap_or(u32::MAX)
    }

    /// Whether a column of this name may keep only a part of what is put into it.
    pub(super) fn is_narrow(&self, column: &str) -> bool {
        let may_be_renamed = !self.renamed.is_empty() || column == "*";
        self.narrow.contains(column) || self.has_any_narrow() && may_be_renamed
    }

    /// Whether any column may.
    pub(super) fn has_any_narrow(&self) -> bool {
        !self.narrow.is_empty()
    }

    pub(super) fn has_relation(&self, name: &str) -> bool {
        self.is_made(name) || self.unknown.contains(name) || self.others.contains_key(name)
    }
}

impl<'a> Tracer<'a> {
    /// The columns a relation of this name has in this transaction.
    pub(super) fn overlay_columns(
        &mut self,
        name: &str,
        entry: EntryId,
        wholes: &mut Vec<NodeId>,
    ) -> Option<Columns<'a>> {
        let overlay = self.env.overlay;
        if overlay.unknown.contains(name) {
            let node = self.graph.unknown(Untraceable::Uncommitted);
            wholes.push(node);
            return Some(Columns::unknown(node));
        }
        let is_viewed = self.viewing.iter().any(|viewing| viewing == name);
        let queries = overlay.queries.get(name).filter(|_| !is_viewed).map_or(&[][..], Vec::as_slice);
        let lists = overlay.relations.get(name).map_or(&[][..], Vec::as_slice);
        if queries.is_empty() && lists.is_empty() {
            return None;
        }
        let views = self.views_now(name, queries, entry);
        let mut columns = self.shown(views, entry);
        let mut any: Vec<NodeId> = columns.open.take().into_iter().collect();
        wholes.extend(columns.nodes());
        wholes.extend(&any);
        for (name, origins) in lists.iter().flatten() {
            let node = self.node_of(entry, origins);
            wholes.push(node);
            if name == "*" {
                any.push(node);
                continue;
            }
            if let Some((_, known)) = columns.list.iter().find(|(known, _)| known == name) {
                self.graph.add(*known, &[node]);
            } else {
                // Its type is not noted.
                let typed = self.graph.typed(ANY);
                let node = self.graph.column(entry, vec![node, typed]);
                columns.list.push((Cow::Owned(name.clone()), node));
            }
        }
        let since: Vec<Origins> = overlay.filled_since(name).into_iter().cloned().collect();
        any.extend(since.iter().map(|origins| self.node_of(entry, origins)).collect::<Vec<_>>());
        // What went into an unknown one of its columns may be in each.
        for (_, node) in &columns.list {
            self.graph.add(*node, &any);
        }
        wholes.extend(&any);
        let stored: Vec<NodeId> = columns.list.iter().map(|(_, node)| *node).collect();
        for (column, node) in &columns.list {
            if overlay.is_generated(name, column) {
                let others: Vec<NodeId> = stored.iter().copied().filter(|other| other != node).collect();
                self.graph.add(*node, &others);
            }
        }
        if columns.list.is_empty() && !any.is_empty() {
            columns.open = Some(self.graph.made(any));
        }
        Some(columns)
    }

    /// What views of this name show by now; a view in its own query is another relation.
    fn views_now(&mut self, name: &str, queries: &'a [Shown], entry: EntryId) -> Vec<Columns<'a>> {
        self.viewing.push(name.to_owned());
        let mut views = Vec::new();
        for (shows, _) in queries {
            if self.depth >= VIEW_DEPTH_MAX || !self.expands_bytes(shows.bytes) {
                views.push(self.unread(Untraceable::TooDeep, entry));
                continue;
            }
            let read = |tracer: &mut Self| tracer.any_query(Some(&shows.query));
            let (mut query, _) = self.apart(None, shows.path.clone(), read);
            self.rename(&mut query.columns, &shows.names);
            let rows = self.graph.rows(entry);
            self.graph.imply(rows, &[query.rows]);
            views.push(query.columns);
        }
        self.viewing.pop();
        views
    }

    /// A value that was traced before.
    fn node_of(&mut self, entry: EntryId, origins: &Origins) -> NodeId {
        let columns = origins.columns.iter().chain(&origins.views).chain(&origins.implied);
        let from: Vec<NodeId> = columns.map(|column| self.graph.base(entry, *column, 0)).collect();
        let node = if origins.is_identity { self.graph.copy(from) } else { self.graph.made(from) };
        let holds = match (origins.is_identity, origins.mixes) {
            (true, _) => Holds::Paired,
            (false, true) => Holds::Mixed,
            (false, false) => Holds::Derived,
        };
        self.graph.set_holds(node, holds);
        if let Some(why) = origins.untraceable {
            let unknown = self.graph.unknown(why);
            self.graph.add(node, &[unknown]);
        }
        node
    }
}

//! Definitions a transaction has changed, which no snapshot knows before it is committed.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{
    Origins, Untraceable, Write, WriteTarget,
    graph::{EntryId, NodeId},
    scope::Columns,
    trace::Tracer,
};

/// What a statement makes or changes by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Anything, of any name: a type, an operator, a cast.
    Anything,
    /// A relation whose rows are seen in others as well.
    Child {
        /// Its name, without schema.
        name: String,
        /// Those it inherits from or is a partition of.
        parents: Vec<String>,
    },
    /// A relation that is no more, so that its name may mean another one; without a name, any.
    Dropped(Option<String>),
    /// A function.
    Function(String),
    /// A relation with these columns, which hold what others held.
    Relation {
        /// Its name, without schema.
        name: String,
        /// Its columns, and what is in each.
        columns: Vec<(String, Origins)>,
    },
    /// A relation of which nothing is known.
    Unknown(String),
    /// What was made under this name is a view.
    View(String),
}

/// Names that may mean something else than the snapshot says.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    relations: HashMap<String, Vec<Vec<(String, Origins)>>>,
    unknown: HashSet<String>,
    functions: HashSet<String>,
    views: HashSet<String>,
    parents: HashMap<String, Vec<String>>,
    dropped: HashSet<String>,
    is_any_dropped: bool,
    is_all: bool,
}

impl Overlay {
    /// Whether the snapshot says all there is.
    pub fn is_empty(&self) -> bool {
        let none = self.relations.is_empty() && self.unknown.is_empty() && self.functions.is_empty();
        none && self.dropped.is_empty() && !self.is_any_dropped && !self.is_all
    }

    /// Takes note of a statement that is sent. Nothing is taken back before the transaction ends, because a part
    /// of it may be: a name then means what it meant or what it was given.
    pub fn learn(&mut self, made: &Made) {
        match made {
            Made::Anything => self.is_all = true,
            Made::Child { name, parents } => {
                self.parents.entry(name.clone()).or_default().extend_from_slice(parents);
            }
            Made::Dropped(Some(name)) => drop(self.dropped.insert(name.clone())),
            Made::Dropped(None) => self.is_any_dropped = true,
            Made::Function(name) => drop(self.functions.insert(name.clone())),
            Made::Relation { name, columns } => {
                self.relations.entry(name.clone()).or_default().push(columns.clone());
            }
            Made::Unknown(name) => drop(self.unknown.insert(name.clone())),
            Made::View(name) => drop(self.views.insert(name.clone())),
        }
    }

    /// What is put into relations this transaction has made: they hold it from then on, and their parents show it.
    pub(super) fn filled(&self, writes: &[Write]) -> Vec<Made> {
        let mut filled = Vec::new();
        for write in writes.iter().filter(|write| write.origins != Origins::constant()) {
            let WriteTarget::New { relation, column, .. } = &write.target else { continue };
            let known = self.relations.contains_key(relation).then(|| relation.clone());
            for name in known.into_iter().chain(self.ancestors(relation)) {
                if column == "*" {
                    filled.push(Made::Unknown(name));
                    continue;
                }
                filled.push(Made::Relation { name, columns: vec![(column.clone(), write.origins.clone())] });
            }
        }
        filled
    }

    fn ancestors(&self, name: &str) -> Vec<String> {
        let mut found: Vec<String> = self.parents.get(name).cloned().unwrap_or_default();
        let mut at = 0;
        while let Some(name) = found.get(at) {
            let next = self.parents.get(name).into_iter().flatten();
            let more: Vec<String> = next.filter(|name| !found.contains(name)).cloned().collect();
            found.extend(more);
            at += 1;
        }
        found
    }

    /// Whether a name may mean what it did not, because something is no more.
    pub(super) fn may_uncover(&self, name: &str) -> bool {
        self.is_any_dropped || self.is_all || self.dropped.contains(name)
    }

    pub(super) fn is_view(&self, name: &str) -> bool {
        self.views.contains(name)
    }

    /// What is in the columns of a relation this transaction has made.
    pub(super) fn held(&self, name: &str) -> impl Iterator<Item = &Origins> {
        self.relations.get(name).into_iter().flatten().flatten().map(|(_, origins)| origins)
    }

    pub(super) fn has_function(&self, name: &str) -> bool {
        self.is_all || self.functions.contains(name)
    }

    pub(super) fn has_relation(&self, name: &str) -> bool {
        self.relations.contains_key(name) || self.unknown.contains(name)
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
        let lists = overlay.relations.get(name)?;
        let mut columns = Columns::default();
        for (name, origins) in lists.iter().flatten() {
            let node = self.node_of(entry, origins);
            wholes.push(node);
            if let Some((_, known)) = columns.list.iter().find(|(known, _)| known == name) {
                self.graph.add(*known, &[node]);
            } else {
                let node = self.graph.column(entry, vec![node]);
                columns.list.push((Cow::Owned(name.clone()), node));
            }
        }
        Some(columns)
    }

    /// A value that was traced before.
    fn node_of(&mut self, entry: EntryId, origins: &Origins) -> NodeId {
        let columns = origins.columns.iter().chain(&origins.views).chain(&origins.implied);
        let from: Vec<NodeId> = columns.map(|column| self.graph.base(entry, *column, 0)).collect();
        let node = if origins.is_identity { self.graph.copy(from) } else { self.graph.made(from) };
        if let Some(why) = origins.untraceable {
            let unknown = self.graph.unknown(why);
            self.graph.add(node, &[unknown]);
        }
        node
    }
}

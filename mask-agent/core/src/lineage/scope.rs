//! What a name in a statement means: relations in FROM, their columns, and those of the queries around.

use std::borrow::Cow;

use super::{
    ColumnId, Untraceable,
    facts::Name,
    graph::{EntryId, NodeId},
    plpgsql::Written,
    trace::Tracer,
};
use crate::catalog::{Relation, RelationKind};

/// Columns of a relation or a query.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns<'a> {
    pub(super) list: Vec<(Cow<'a, str>, NodeId)>,
    /// Where there are more, nobody knows how many: what any of them is made of.
    pub(super) open: Option<NodeId>,
}

impl Columns<'_> {
    /// Columns of which nothing is known.
    pub(super) fn unknown(node: NodeId) -> Self {
        Self { list: Vec::new(), open: Some(node) }
    }

    /// Those of this name; more than one where it may mean any of them.
    pub(super) fn named(&self, name: &str) -> Vec<NodeId> {
        self.list.iter().filter(|(known, _)| known == name).map(|(_, node)| *node).collect()
    }

    /// Every node in it.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.list.iter().map(|(_, node)| *node).chain(self.open).collect()
    }
}

/// One name in FROM.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    /// Its name or alias; none for a join or subquery without one.
    pub(super) name: Option<String>,
    /// The schema, where one was written and there is no alias.
    pub(super) schema: Option<String>,
    /// What it is called where it is a relation, whatever its alias.
    pub(super) source: Name,
    pub(super) columns: Columns<'a>,
    /// All of the row: a whole-row reference.
    pub(super) whole: NodeId,
    /// Relations it may be; the server's own columns such as `ctid` belong to them.
    pub(super) relations: Vec<u32>,
    pub(super) entry: EntryId,
    /// Whether its columns can be named without it.
    pub(super) is_open: bool,
    /// Whether it has an alias, which no schema stands before.
    pub(super) is_aliased: bool,
    /// Whether it may lack a column it is said to have: this transaction has changed it, and may have taken that back.
    pub(super) may_lack: bool,
}

impl<'a> Item<'a> {
    /// A relation that is no stored one.
    pub(super) fn new(name: Option<String>, columns: Columns<'a>, whole: NodeId, entry: EntryId) -> Self {
        let relations = Vec::new();
        let source = Name::default();
        Self {
            name,
            schema: None,
            source,
            columns,
            whole,
            relations,
            entry,
            is_open: true,
            is_aliased: false,
            may_lack: false,
        }
    }
}

impl Item<'_> {
    /// Names of its columns.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns.list.iter().map(|(name, _)| name.to_string()).collect()
    }
}

/// What a name may mean among the relations of one query.
enum Found {
    Column(NodeId),
    Nothing,
    /// A column of one of these, of which not all columns are known, or which may be others by now.
    Perhaps(Vec<NodeId>),
}

/// One query's FROM.
#[derive(Debug)]
pub(super) struct Level<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// Which of its rows are there.
    pub(super) rows: NodeId,
}

/// Columns every table has, and their numbers.
pub const SYSTEM_COLUMNS: [(&str, i16); 6] =
    [("ctid", -1), ("xmin", -2), ("cmin", -3), ("xmax", -4), ("cmax", -5), ("tableoid", -6)];

/// Views that stand in for each other, and queries that name others behind them: deeper is a loop, or nothing
/// anybody wrote.
pub(super) const VIEW_DEPTH_MAX: usize = 32;

impl<'a> Tracer<'a> {
    /// Gives the first columns other names, as `t (a, b)` does.
    pub(super) fn rename(&mut self, columns: &mut Columns<'a>, names: &[String]) {
        if names.is_empty() {
            return;
        }
        if columns.open.is_some() {
            // Which columns are renamed is unknown where their number is.
            let nodes = columns.nodes();
            let any = self.graph.made(nodes);
            columns.list = names.iter().map(|name| (Cow::Owned(name.clone()), any)).collect();
            columns.open = Some(any);
            return;
        }
        for ((name, _), new) in columns.list.iter_mut().zip(names) {
            *name = Cow::Owned(new.clone());
        }
    }

    /// Relations a name may mean, those this transaction has given it included.
    pub(super) fn candidates(&mut self, schema: &str, name: &str) -> Vec<&'a Relation> {
        let mut found = self.candidates_known(schema, name);
        for other in self.env.overlay.others(name).iter().filter_map(|oid| self.env.catalog.relation(*oid)) {
            if found.iter().all(|known| known.oid != other.oid) {
                found.push(other);
            }
        }
        found
    }

    /// Relations a name means in the catalog: the first on the search path, where that is known.
    fn candidates_known(&mut self, schema: &str, name: &str) -> Vec<&'a Relation> {
        let catalog = self.env.catalog;
        if !schema.is_empty() {
            let temporary = schema == "pg_temp";
            let before = self.env.overlay.schemas_before(schema);
            let fits = |relation: &&Relation| {
                if temporary {
                    relation.schema.starts_with("pg_temp")
                } else {
                    relation.schema == schema || before.contains(&&*relation.schema)
                }
            };
            return catalog.named(None, name).filter(fits).collect();
        }
        let all: Vec<&Relation> = catalog.named(None, name).collect();
        self.facts.needs_path |= self.path.is_none() && all.len() > 1;
        let Some(path) = self.path.as_ref().filter(|_| !self.env.overlay.may_uncover(name)) else {
            return all;
        };
        // Temporary relations come first, and whose they are is not known from here.
        let mut found: Vec<&Relation> =
            all.iter().copied().filter(|relation| relation.schema.starts_with("pg_temp_")).collect();
        let explicit = path.iter().any(|schema| schema == "pg_catalog");
        let implied = ["pg_catalog"].into_iter().filter(|_| !explicit);
        let first = implied
            .chain(path.iter().map(String::as_str))
            .find_map(|schema| all.iter().copied().find(|relation| relation.schema == schema));
        match first {
            Some(first) => found.push(first),
            // Where it is not on the path, it is an error, or nobody's.
            None => return all,
        }
        found
    }

    /// The columns of a stored relation or a view, all that the name may mean together.
    pub(super) fn relation_item(&mut self, schema: &str, name: &str) -> Item<'a> {
        let entry = self.graph.entry();
        let candidates = self.candidates(schema, name);
        self.facts.relations.push(Name { schema: schema.to_owned(), name: name.to_owned() });
        self.facts.oids.extend(candidates.iter().map(|relation| relation.oid));
        let mut columns = Columns::default();
        let mut wholes = Vec::new();
        let overlaid = self.overlay_columns(name, entry, &mut wholes);
        let overlay = self.env.overlay;
        let is_renamed = |relation: &&Relation| !overlay.renamed(relation.oid).is_empty();
        let may_lack = overlaid.is_some() || candidates.iter().any(is_renamed);
        if overlaid.is_some() || candidates.iter().any(|relation| relation.schema.starts_with("pg_temp")) {
            self.graph.temporary(entry);
        }
        match (&*candidates, overlaid) {
            ([], None) => columns.open = Some(self.graph.unknown(Untraceable::UnknownRelation)),
            (candidates, overlaid) => {
                let mut lists: Vec<Columns<'a>> = overlaid.into_iter().collect();
                for relation in candidates {
                    lists.push(self.relation_columns(relation, entry, &mut wholes));
                }
                columns = self.merge(lists);
            }
        }
        if columns.open.is_none() && overlay.is_placed(name) {
            let all = columns.nodes();
            columns.open = Some(self.graph.made(all));
        }
        if overlay.is_loose(name) {
            columns.nodes().into_iter().for_each(|node| self.graph.loosen(node));
        }
        let relations = candidates.iter().map(|relation| relation.oid).collect();
        wholes.extend(columns.open);
        let whole = self.graph.made(wholes);
        let source = Name { schema: schema.to_owned(), name: name.to_owned() };
        let schema = (!schema.is_empty()).then(|| schema.to_owned());
        let name = Some(name.to_owned());
        Item { schema, source, relations, may_lack, ..Item::new(name, columns, whole, entry) }
    }

    /// Columns of relations of which any may be meant.
    fn merge(&mut self, mut lists: Vec<Columns<'a>>) -> Columns<'a> {
        if lists.len() == 1 {
            return lists.pop().unwrap_or_default();
        }
        let same = lists.windows(2).all(|pair| {
            let [one, other] = pair else { return true };
            one.list.len() == other.list.len()
                && one.list.iter().zip(&other.list).all(|((a, _), (b, _))| a == b)
                && one.open.is_none()
                && other.open.is_none()
        });
        let mut merged = Columns::default();
        let mut opens: Vec<NodeId> = lists.iter().filter_map(|list| list.open).collect();
        for list in lists {
            for (name, node) in list.list {
                if let Some((_, known)) = merged.list.iter().find(|(known, _)| *known == name) {
                    self.graph.add(*known, &[node]);
                } else {
                    let node = self.graph.copy(vec![node]);
                    merged.list.push((name, node));
                }
            }
        }
        for (_, node) in &merged.list {
            // One of unknown columns may have one of this name as well.
            self.graph.add(*node, &opens);
        }
        if !same {
            // A star means other columns in each of them.
            let all: Vec<NodeId> = merged.nodes();
            opens.extend(all);
            merged.open = Some(self.graph.made(opens));
        }
        merged
    }

    pub(super) fn relation_columns(
        &mut self,
        relation: &'a Relation,
        entry: EntryId,
        wholes: &mut Vec<NodeId>,
    ) -> Columns<'a> {
        let column = |number| ColumnId { relation: relation.oid, number };
        let user = !matches!(&*relation.schema, "pg_catalog" | "information_schema");
        let derived = matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView) && user;
        let made = derived.then(|| self.view_columns(relation, entry));
        let mut columns = Columns::default();
        for (index, known) in relation.columns.iter().enumerate() {
            let node = match &made {
                Some(made) => {
                    let from = made.open.or_else(|| made.list.get(index).map(|(_, node)| *node));
                    let from = from.unwrap_or_else(|| self.graph.unknown(Untraceable::UnreadableView));
                    self.graph.view(entry, column(known.number), from, known.type_oid)
                }
                None => self.graph.base(entry, column(known.number), known.type_oid),
            };
            if known.is_loose {
                self.graph.loosen(node);
            }
            columns.list.push((Cow::Borrowed(&*known.name), node));
        }
        self.generated(relation, &columns, entry);
        self.policies(relation, &columns, entry);
        self.renamed(relation, &mut columns);
        if derived {
            wholes.extend(columns.nodes());
        } else {
            let whole = self.graph.base(entry, column(0), 0);
            wholes.push(whole);
        }
        columns
    }

    /// Names its columns were given in this transaction, beside those they had.
    fn renamed(&mut self, relation: &'a Relation, columns: &mut Columns<'a>) {
        let renamed = self.env.overlay.renamed(relation.oid);
        let stored: Vec<NodeId> = columns.list.iter().map(|(_, node)| *node).collect();
        for (number, name) in renamed {
            let at = relation.columns.iter().position(|column| column.number == *number);
            let Some(node) = at.and_then(|at| stored.get(at).copied()) else { continue };
            let node = self.graph.copy([columns.named(name), vec![node]].concat());
            columns.list.retain(|(known, _)| known != name);
            columns.list.push((Cow::Borrowed(name), node));
        }
        if !renamed.is_empty() {
            // Which stand where is not followed.
            let all = [columns.nodes(), stored].concat();
            columns.open = Some(self.graph.made(all));
        }
    }

    /// Generated columns are made of others of their row.
    fn generated(&mut self, relation: &'a Relation, columns: &Columns<'a>, entry: EntryId) {
        if self.depth >= VIEW_DEPTH_MAX {
            return;
        }
        for (column, (_, node)) in relation.columns.iter().zip(&columns.list) {
            let Some(expression) = &column.generated else { continue };
            let whole = self.graph.made(Vec::new());
            let item = Item::new(Some(relation.name.to_string()), columns.clone(), whole, entry);
            let from = self.expression_of(expression, vec![item]);
            self.graph.add(*node, &[from]);
        }
    }

    /// An expression of a definition; an empty one could not be read.
    pub(super) fn expression_of(&mut self, expression: &str, items: Vec<Item<'a>>) -> NodeId {
        if expression.is_empty() || !self.expands(expression) {
            return self.graph.unknown(Untraceable::UnreadableView);
        }
        let (from, _) = self.apart(None, Some(Vec::new()), |tracer| {
            let rows = tracer.graph.made(Vec::new());
            tracer.levels.push(Level { items, rows });
            let from = tracer.value_of(&Written::joined(expression.to_owned()));
            tracer.levels.pop();
            from
        });
        from
    }

    /// What the columns of a view are made of.
    fn view_columns(&mut self, relation: &'a Relation, entry: EntryId) -> Columns<'a> {
        let definition = relation.definition.as_deref().unwrap_or_default();
        if self.depth >= VIEW_DEPTH_MAX || !self.expands(definition) {
            return self.unread(Untraceable::TooDeep, entry);
        }
        match self.standing(|tracer| tracer.foreign_query(definition)) {
            Some(query) => {
                let rows = self.graph.rows(entry);
                self.graph.imply(rows, &[query.rows]);
                query.columns
            }
            None => self.unread(Untraceable::UnreadableView, entry),
        }
    }

    /// A view whose query is not read: its rows may be there for any reason, and tell it.
    pub(super) fn unread(&mut self, why: Untraceable, entry: EntryId) -> Columns<'a> {
        let unknown = self.graph.unknown(why);
        let rows = self.graph.rows(entry);
        self.graph.imply(rows, &[unknown]);
        Columns::unknown(unknown)
    }

    /// A column by the names it is written with.
    pub(super) fn column(&mut self, names: &[&str]) -> NodeId {
        let node = match names {
            [name] => self.bare_column(name),
            [relation, name] => self.qualified_column(None, relation, name),
            [schema, relation, name] | [_, schema, relation, name] => {
                self.qualified_column(Some(schema), relation, name)
            }
            _ => None,
        };
        let node = match (node, self.hidden_by(names, node)) {
            (Some(column), Some(variable)) => self.graph.made(vec![column, variable]),
            (Some(node), None) | (None, Some(node)) => node,
            (None, None) => self.graph.unknown(Untraceable::UnknownColumn),
        };
        self.refs.push(node);
        self.facts.named.push(node);
        node
    }

    fn bare_column(&mut self, name: &str) -> Option<NodeId> {
        // Relations of unknown columns may have it, or else it is what is found further out.
        let mut maybe = Vec::new();
        for level in (0..self.levels.len()).rev() {
            match self.column_at(level, name) {
                Found::Column(node) => {
                    self.correlate(level, node);
                    maybe.push(node);
                    return Some(self.any_of(maybe));
                }
                Found::Perhaps(nodes) => {
                    for node in &nodes {
                        self.correlate(level, *node);
                    }
                    maybe.extend(nodes);
                }
                Found::Nothing => {}
            }
        }
        // A relation's name by itself is its whole row; a variable's is its value.
        if let Some((level, item)) = self.find_item_at(name) {
            let whole = item.whole;
            self.correlate(level, whole);
            maybe.push(whole);
        } else {
            maybe.extend(self.variable(name));
        }
        if maybe.is_empty() { None } else { Some(self.any_of(maybe)) }
    }

    fn any_of(&mut self, nodes: Vec<NodeId>) -> NodeId {
        match *nodes {
            [node] => node,
            _ => self.graph.made(nodes),
        }
    }

    fn column_at(&mut self, level: usize, name: &str) -> Found {
        let items = self.levels.get(level).map_or(&[][..], |level| &level.items);
        let mut found: Vec<NodeId> = Vec::new();
        let mut open = Vec::new();
        let mut is_there = false;
        for item in items.iter().filter(|item| item.is_open) {
            let named = item.columns.named(name);
            if named.is_empty() {
                open.extend(item.columns.open);
            }
            is_there |= !(named.is_empty() || item.may_lack);
            found.extend(named);
        }
        if !found.is_empty() && !is_there {
            return Found::Perhaps(found);
        }
        if found.is_empty() {
            let system = SYSTEM_COLUMNS.iter().find(|(known, _)| *known == name);
            if let Some((_, number)) = system
                && let Some(item) = items.iter().find(|item| !item.relations.is_empty())
            {
                let (entry, relation) = (item.entry, item.relations[0]);
                return Found::Column(self.graph.base(entry, ColumnId { relation, number: *number }, 0));
            }
            return if open.is_empty() { Found::Nothing } else { Found::Perhaps(open) };
        }
        match *found {
            [node] => Found::Column(node),
            _ => Found::Column(self.graph.copy(found)),
        }
    }

    /// Whether a name by itself may mean something before it means a relation's row.
    pub(super) fn is_before_row(&self, name: &str) -> bool {
        let has = |item: &Item<'_>| item.columns.open.is_some() || !item.columns.named(name).is_empty();
        let mut items = self.levels.iter().flat_map(|level| &level.items);
        items.any(|item| item.is_open && has(item))
            || self.variables.as_ref().is_some_and(|variables| {
                variables.may_hide && variables.named.iter().any(|(known, _)| known == name)
            })
    }

    /// The nearest relation of this name.
    pub(super) fn find_item(&self, name: &str) -> Option<&Item<'a>> {
        self.find_item_at(name).map(|(_, item)| item)
    }

    /// The nearest relation of this name, and the level it stands on.
    pub(super) fn find_item_at(&self, name: &str) -> Option<(usize, &Item<'a>)> {
        let mut levels = self.levels.iter().enumerate().rev();
        let fits = |item: &&Item<'_>| item.name.as_deref() == Some(name);
        levels.find_map(|(at, level)| level.items.iter().find(fits).map(|item| (at, item)))
    }

    /// The relations that a name may mean, the nearest first, and whether the last of them is one for certain.
    pub(super) fn items_named(&self, schema: Option<&str>, name: &str) -> (Vec<(usize, Item<'a>)>, bool) {
        let Some(schema) = schema else {
            let found = self.find_item_at(name).map(|(at, item)| (at, item.clone()));
            return (found.into_iter().collect(), true);
        };
        let mut found = Vec::new();
        for (at, level) in self.levels.iter().enumerate().rev() {
            for item in level.items.iter().filter(|item| item.name.as_deref() == Some(name)) {
                match self.stands_in(item, schema) {
                    Some(false) => {}
                    is_certain => {
                        found.push((at, item.clone()));
                        if is_certain.is_some() {
                            return (found, true);
                        }
                    }
                }
            }
        }
        (found, false)
    }

    /// Whether a relation in FROM may be written with this schema; `None` where that is not certain.
    fn stands_in(&self, item: &Item<'_>, schema: &str) -> Option<bool> {
        if item.is_aliased || item.source.name.is_empty() {
            return Some(false);
        }
        if item.name.as_deref() != Some(&item.source.name) {
            // A row of a trigger stands behind the name that its function has by then.
            return self.variables.is_none().then_some(false);
        }
        let (catalog, overlay) = (self.env.catalog, self.env.overlay);
        if let Some(written) = item.schema.as_deref() {
            let may_be_one = overlay.has_schemas() || written.starts_with("pg_temp");
            return if written == schema { Some(true) } else { (!may_be_one).then_some(false) };
        }
        let known = item.relations.iter().filter_map(|oid| catalog.relation(*oid));
        let mut stands = known.map(|known| known.schema == *schema);
        let first = stands.next()?;
        let is_certain = !overlay.has_schemas()
            && !overlay.has_relation(&item.source.name)
            && !schema.starts_with("pg_temp")
            && stands.all(|other| other == first);
        is_certain.then_some(first)
    }

    fn qualified_column(&mut self, schema: Option<&str>, relation: &str, name: &str) -> Option<NodeId> {
        let (items, is_certain) = self.items_named(schema, relation);
        let mut found: Vec<NodeId> =
            items.iter().map(|(level, item)| self.column_of(*level, item, name)).collect();
        if items.is_empty() || !is_certain {
            found.extend(self.field_of_variable(relation, name));
        }
        if found.is_empty() { None } else { Some(self.any_of(found)) }
    }

    /// A column of a relation that is named with it.
    fn column_of(&mut self, level: usize, item: &Item<'a>, name: &str) -> NodeId {
        let mut found = item.columns.named(name);
        if item.may_lack && !found.is_empty() && self.is_user_routine(name) {
            found.push(self.call_by_name(&[name], vec![item.whole]));
        }
        self.correlate(level, found.first().copied().unwrap_or(item.whole));
        match *found {
            [node] => return node,
            [_, _, ..] => return self.graph.copy(found),
            [] => {}
        }
        if let (Some(relation), Some((_, number))) =
            (item.relations.first().copied(), SYSTEM_COLUMNS.iter().find(|(known, _)| *known == name))
        {
            return self.graph.base(item.entry, ColumnId { relation, number: *number }, 0);
        }
        if let Some(open) = item.columns.open {
            return open;
        }
        // `c.label` calls `label(c)` where c has no such column.
        self.call_by_name(&[name], vec![item.whole])
    }
}

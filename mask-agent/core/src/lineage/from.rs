//! FROM: relations, subqueries and joins, and which names they bring into scope.

use std::borrow::Cow;

use pg_query::{
    NodeEnum,
    protobuf::{self, Alias, Node},
};

use super::{
    Untraceable,
    graph::{Graph, NodeId, Usage},
    names::strings,
    scope::{Columns, Item},
    trace::{Query, Tracer},
};

impl<'a> Tracer<'a> {
    /// Reads FROM into the innermost level.
    pub(super) fn from(&mut self, list: &[Node]) {
        for node in list {
            let items = self.relation_or_join(node);
            self.bring(items);
        }
    }

    /// Puts relations into the innermost level's scope.
    pub(super) fn bring(&mut self, items: Vec<Item<'a>>) {
        let Some(level) = self.levels.last_mut() else { return };
        let rows: Vec<NodeId> = items.iter().map(|item| self.graph.rows(item.entry)).collect();
        self.graph.imply(level.rows, &rows);
        level.items.extend(items);
    }

    fn relation_or_join(&mut self, node: &Node) -> Vec<Item<'a>> {
        match node.node.as_ref() {
            Some(NodeEnum::RangeVar(relation)) => vec![self.range_var(relation)],
            Some(NodeEnum::RangeSubselect(subselect)) => {
                let (query, tied) = if subselect.lateral {
                    self.subquery(subselect.subquery.as_deref())
                } else {
                    // Its neighbours are out of its sight, though what stands around is not.
                    let items = self.levels.last_mut().map(|level| std::mem::take(&mut level.items));
                    let query = self.any_query(subselect.subquery.as_deref());
                    if let (Some(level), Some(items)) = (self.levels.last_mut(), items) {
                        level.items = items;
                    }
                    (query, Vec::new())
                };
                let item = self.item_of(query, subselect.alias.as_ref());
                for node in item.columns.nodes() {
                    self.graph.tie(node, &tied);
                }
                vec![item]
            }
            Some(NodeEnum::RangeFunction(function)) => vec![self.range_function(function)],
            Some(NodeEnum::RangeTableFunc(table)) => vec![self.xml_table(table)],
            Some(NodeEnum::JsonTable(table)) => vec![self.json_table(table)],
            Some(NodeEnum::RangeTableSample(sample)) => {
                let items =
                    sample.relation.as_deref().map(|node| self.relation_or_join(node)).unwrap_or_default();
                for argument in sample.args.iter().chain(sample.repeatable.as_deref()) {
                    self.row_count(argument);
                }
                items
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join),
            _ => {
                let query = self.unknown_query(Untraceable::UnknownStatement);
                vec![self.item_of(query, None)]
            }
        }
    }

    pub(super) fn alias(&mut self, item: &mut Item<'a>, alias: Option<&Alias>) {
        if let Some(alias) = alias {
            item.name = Some(alias.aliasname.clone());
            item.schema = None;
            item.is_aliased = true;
            self.rename(&mut item.columns, &strings(&alias.colnames));
        }
    }

    /// A query's outputs as a relation in FROM.
    pub(super) fn item_of(&mut self, query: Query<'a>, alias: Option<&Alias>) -> Item<'a> {
        let entry = self.graph.entry();
        let entry_rows = self.graph.rows(entry);
        self.graph.imply(entry_rows, &[query.rows]);
        let mut columns = Columns::default();
        for (name, node) in query.columns.list {
            columns.list.push((name, self.graph.column(entry, vec![node])));
        }
        columns.open = query.columns.open.map(|open| {
            let open = self.graph.made(vec![open]);
            self.graph.imply(open, &[entry_rows]);
            open
        });
        let nodes = columns.nodes();
        let whole = self.graph.beside(nodes);
        let mut item = Item::new(None, columns, whole, entry);
        self.alias(&mut item, alias);
        item
    }

    fn join(&mut self, join: &protobuf::JoinExpr) -> Vec<Item<'a>> {
        let left = join.larg.as_deref().map(|node| self.relation_or_join(node)).unwrap_or_default();
        // The right side may name the left one, if it is LATERAL.
        let mark = self.levels.last().map_or(0, |level| level.items.len());
        if let Some(level) = self.levels.last_mut() {
            level.items.extend(left);
        }
        let right = join.rarg.as_deref().map(|node| self.relation_or_join(node)).unwrap_or_default();
        let left = self.levels.last_mut().map(|level| level.items.split_off(mark)).unwrap_or_default();
        let names = if join.is_natural { shared_names(&left, &right) } else { strings(&join.using_clause) };
        let is_merging = join.is_natural || !join.using_clause.is_empty();
        let merged = is_merging.then(|| self.merge_join(join, &left, &right, &names));
        let both: Vec<Item<'a>> = left.into_iter().chain(right).collect();
        let around =
            self.levels.last_mut().map(|level| std::mem::replace(&mut level.items, both)).unwrap_or_default();
        self.condition(join.quals.as_deref());
        let mut items = self.levels.last_mut().map(|level| std::mem::replace(&mut level.items, around));
        let mut items = items.take().unwrap_or_default();
        if let Some(alias) = &join.alias {
            let columns = merged.unwrap_or_else(|| all_columns(&mut self.graph, &items));
            let entry = self.graph.entry();
            let rows: Vec<NodeId> = items.iter().map(|item| self.graph.rows(item.entry)).collect();
            let entry_rows = self.graph.rows(entry);
            self.graph.imply(entry_rows, &rows);
            let nodes = columns.nodes();
            let whole = self.graph.beside(nodes);
            let mut item = Item::new(None, columns, whole, entry);
            self.alias(&mut item, Some(alias));
            return vec![item];
        }
        if let Some(columns) = merged {
            for item in &mut items {
                item.is_open = false;
            }
            let entry = items.first().map_or_else(|| self.graph.entry(), |item| item.entry);
            let nodes = columns.nodes();
            let whole = self.graph.beside(nodes);
            if let Some(alias) = &join.join_using_alias {
                // It names the merged columns alone.
                let list = columns.list.iter().take(names.len()).cloned().collect();
                let merged = Columns { list, open: columns.open };
                let whole = self.graph.beside(merged.nodes());
                let item = Item::new(Some(alias.aliasname.clone()), merged, whole, entry);
                items.push(Item { is_open: false, ..item });
            }
            items.insert(0, Item::new(None, columns, whole, entry));
        }
        items
    }

    /// What is merged is compared, as by ON.
    fn meet_merging(&mut self, a: &[NodeId], b: &[NodeId]) {
        let operator = self.operator("=", a, b);
        let sides = [a, b].concat();
        let is_equality = operator.is_empty() && sides.iter().all(|side| self.graph.is_folded(*side));
        let usage = if is_equality { Usage::Equality } else { Usage::Function };
        self.meet([sides, operator].concat(), usage, is_equality);
    }

    /// The columns of a join that merges some: these first, then the others of both sides.
    fn merge_join(
        &mut self,
        join: &protobuf::JoinExpr,
        left: &[Item<'a>],
        right: &[Item<'a>],
        names: &[String],
    ) -> Columns<'a> {
        let one = all_columns(&mut self.graph, left);
        let other = all_columns(&mut self.graph, right);
        let mut columns = Columns::default();
        for name in names {
            let (a, b) = (one.named(name), other.named(name));
            let (a, b) = (
                if a.is_empty() { one.open.into_iter().collect() } else { a },
                if b.is_empty() { other.open.into_iter().collect() } else { b },
            );
            let both = [&*a, &*b].concat();
            self.meet_merging(&a, &b);
            let node = match join.jointype() {
                protobuf::JoinType::JoinInner | protobuf::JoinType::JoinLeft if !a.is_empty() => {
                    self.graph.copy(a)
                }
                protobuf::JoinType::JoinRight if !b.is_empty() => self.graph.copy(b),
                _ => self.graph.made(both),
            };
            columns.list.push((Cow::Owned(name.clone()), node));
        }
        let rest = |list: Vec<(Cow<'a, str>, NodeId)>| {
            list.into_iter().filter(|(known, _)| !names.iter().any(|name| name == known)).collect::<Vec<_>>()
        };
        columns.list.extend(rest(one.list));
        columns.list.extend(rest(other.list));
        let open: Vec<NodeId> = one.open.into_iter().chain(other.open).collect();
        columns.open = (!open.is_empty()).then(|| self.graph.made(open));
        columns
    }
}

/// Columns of several relations side by side, those that can be named without them.
fn all_columns<'a>(graph: &mut Graph, items: &[Item<'a>]) -> Columns<'a> {
    let mut all = Columns::default();
    let mut open = Vec::new();
    for item in items.iter().filter(|item| item.is_open) {
        all.list.extend(item.columns.list.iter().cloned());
        open.extend(item.columns.open);
    }
    all.open = (!open.is_empty()).then(|| graph.made(open));
    all
}

fn shared_names(left: &[Item<'_>], right: &[Item<'_>]) -> Vec<String> {
    let names = |items: &[Item<'_>]| -> Vec<String> {
        let open = items.iter().filter(|item| item.is_open);
        open.flat_map(|item| item.columns.list.iter().map(|(name, _)| name.to_string())).collect()
    };
    let other = names(right);
    let mut shared = Vec::new();
    for name in names(left) {
        if other.contains(&name) && !shared.contains(&name) {
            shared.push(name);
        }
    }
    shared
}

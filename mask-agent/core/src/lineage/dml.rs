//! INSERT, UPDATE, DELETE and MERGE: what is put where, and what RETURNING shows.

use pg_query::{
    NodeEnum,
    protobuf::{self, CmdType, Node},
};

use super::{
    ColumnId, Origins, Predicate, Untraceable,
    facts::Name,
    given,
    graph::{Asked, NodeId, Usage},
    guesses::Guesses,
    names::strings,
    scope::{Columns, Item, Level},
    trace::{Put, Query, Target, Tracer},
};
use crate::catalog::ConstraintKind;

/// What a statement does to the rows whose constraints it may break.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Probed {
    /// It changes them: columns it does not write stay.
    Changed,
    /// It adds them.
    New,
}

impl<'a> Tracer<'a> {
    /// Notes what a write's success tells: that no row has the value of a unique column, that one has that of a
    /// foreign key, that what stays of the row is fine with what is written.
    pub(super) fn probes(&mut self, item: &Item<'a>, written: &[String], rows: Probed) {
        let mut probe = |relation: u32, number: i16, usage: Usage| {
            let column = ColumnId { relation, number };
            let known = self.env.catalog.relation(relation).into_iter().flat_map(|known| &known.columns);
            let is_loose = known.into_iter().any(|known| known.number == number && known.is_loose);
            let usage = if is_loose && usage == Usage::Equality { Usage::Function } else { usage };
            self.facts.probes.push(Predicate { column, usage, guesses: Guesses::ONE, asked: Asked::Said });
        };
        for relation in item.relations.iter().filter_map(|oid| self.env.catalog.relation(*oid)) {
            let is_written = |number: i16| {
                let mut named = relation.columns.iter().filter(|column| column.number == number);
                number == 0 || named.any(|column| written.iter().any(|name| column.name == *name))
            };
            let is_changed = |number: &i16| {
                let mut named = relation.columns.iter().filter(|column| column.number == *number);
                is_written(*number) || !written.is_empty() && named.any(|column| column.generated.is_some())
            };
            let broken = relation.constraints.iter();
            for constraint in broken.filter(|constraint| constraint.columns.iter().any(is_changed)) {
                match &constraint.kind {
                    ConstraintKind::Check if rows == Probed::Changed => {
                        for number in constraint.columns.iter().filter(|number| !is_written(**number)) {
                            probe(relation.oid, *number, Usage::Range);
                        }
                    }
                    ConstraintKind::Check => {}
                    ConstraintKind::ForeignKey { relation, columns, .. } => {
                        for number in columns {
                            probe(*relation, *number, Usage::Equality);
                        }
                    }
                    // A range of the client's own lies about one value or another.
                    ConstraintKind::Excluding => {
                        for number in &constraint.columns {
                            probe(relation.oid, *number, Usage::Range);
                        }
                    }
                    ConstraintKind::Unique => {
                        for number in &constraint.columns {
                            probe(relation.oid, *number, Usage::Equality);
                        }
                    }
                }
            }
        }
    }

    /// Opens a level for a statement that writes; `leave` gives what RETURNING returns.
    fn enter_write(&mut self) -> NodeId {
        let rows = self.graph.made(Vec::new());
        self.levels.push(Level { items: Vec::new(), rows });
        rows
    }

    /// The relation that is written to, which is never a common table expression; `set` is what an UPDATE sets.
    fn target(&mut self, relation: Option<&protobuf::RangeVar>, set: &[Node]) -> Item<'a> {
        let relation = relation.cloned().unwrap_or_default();
        let mut item = self.relation_item(&relation.schemaname, &relation.relname);
        if relation.relname == "pg_settings" {
            // Its rule is `set_config`, with names and values nobody sees.
            self.facts.sets = true;
            self.facts.sets_lexer = true;
        }
        self.rewrites(&item, set);
        self.alias(&mut item, relation.alias.as_ref());
        let through = self.written_through(&item, "*").into_iter().map(|column| column.relation);
        let written: Vec<u32> = through.chain(item.relations.iter().copied()).collect();
        self.facts.written.extend(written.iter().map(|oid| ColumnId { relation: *oid, number: 0 }));
        self.runs_triggers(written);
        for oid in &item.relations {
            if let Some(known) = self.env.catalog.relation(*oid) {
                self.facts.reads_statement |= known
                    .columns
                    .iter()
                    .filter_map(|column| column.default.as_deref())
                    .any(given::reads_statement);
            }
        }
        item
    }

    /// Puts a value into a column of the target by name, under every relation it may be.
    pub(super) fn put(&mut self, item: &Item<'a>, column: &str, value: NodeId, rows: NodeId) {
        let kept = value;
        let value = self.put_here(item, column, value, rows);
        for column in self.written_through(item, column) {
            self.puts.push(Put { target: Target::Column(column), value, given: kept, is_touch: false });
        }
    }

    /// The same where a view's columns are but its own: a trigger says what is written to the tables behind it.
    pub(super) fn put_here(&mut self, item: &Item<'a>, column: &str, value: NodeId, rows: NodeId) -> NodeId {
        // That a row was changed may tell something as well.
        let given = value;
        let value = self.graph.made(vec![given]);
        self.may_be(value, &[given]);
        self.graph.imply(value, &[rows]);
        let guards = self.guards.clone();
        self.graph.imply(value, &guards);
        let overlay = self.env.overlay;
        let mut is_renamed = false;
        for oid in &item.relations {
            let relation = self.env.catalog.relation(*oid);
            let known = relation
                .and_then(|relation| relation.columns.iter().find(|known| known.name == column))
                .map(|column| column.number);
            let renamed = overlay.renamed(*oid);
            is_renamed |= !renamed.is_empty();
            let others = renamed.iter().filter(|(_, name)| name == column).map(|(number, _)| *number);
            let mut numbers: Vec<i16> = known.into_iter().chain(others).collect();
            if numbers.is_empty() {
                numbers.push(0);
            }
            for number in numbers {
                self.puts.push(Put {
                    target: Target::Column(ColumnId { relation: *oid, number }),
                    value,
                    given,
                    is_touch: false,
                });
            }
        }
        let is_renamed = is_renamed || overlay.has_schemas();
        if is_renamed || overlay.has_relation(&item.source.name) || item.relations.is_empty() {
            let target = Target::New { relation: item.source.clone(), column: column.to_owned() };
            self.puts.push(Put { target, value, given, is_touch: false });
        }
        value
    }

    /// The target as RETURNING sees it: its columns, and what was just put into them.
    fn written_item(&mut self, item: &Item<'a>, written: &[(String, NodeId)]) -> Item<'a> {
        let mut seen = item.clone();
        let all: Vec<NodeId> = written.iter().map(|(_, value)| *value).collect();
        for (name, node) in &mut seen.columns.list {
            if !all.is_empty() && self.is_made_of(item, name, written) {
                *node = self.graph.made([&[*node][..], &all].concat());
            }
            let values: Vec<NodeId> =
                written.iter().filter(|(column, _)| column == name).map(|(_, value)| *value).collect();
            if values.is_empty() {
                continue;
            }
            *node = self.graph.copy([&[*node][..], &values].concat());
        }
        let nodes: Vec<NodeId> = written.iter().map(|(_, value)| *value).chain([item.whole]).collect();
        seen.whole = self.graph.made(nodes);
        seen
    }

    /// What COPY asks of the rows it is given: the client's own values, and defaults in columns it does not name.
    pub(super) fn copied_rows(&mut self, item: &Item<'a>, names: &[String], condition: Option<&Node>) {
        if condition.is_none() {
            return;
        }
        let given = |tracer: &mut Self| tracer.graph.made(Vec::new());
        let mut written: Vec<(String, NodeId)> =
            names.iter().map(|name| (name.clone(), given(self))).collect();
        written.extend(self.defaults(item, &written));
        let mut row = item.clone();
        for (name, node) in &mut row.columns.list {
            let value = written.iter().find(|(column, _)| column == name);
            *node = value.map_or_else(|| given(self), |(_, value)| *value);
        }
        row.columns.open = row.columns.open.map(|_| given(self));
        row.whole = self.graph.made(written.iter().map(|(_, value)| *value).collect());
        let rows = given(self);
        self.levels.push(Level { items: vec![row], rows });
        self.condition(condition);
        self.levels.pop();
    }

    /// What RETURNING shows; rules are fired by the way.
    fn returning(
        &mut self,
        clause: Option<&protobuf::ReturningClause>,
        event: CmdType,
        item: &Item<'a>,
        written: &[(String, NodeId)],
        rows: NodeId,
    ) -> Query<'a> {
        let answered = self.fire(event, item, written, rows);
        let Some(clause) = clause.filter(|clause| !clause.exprs.is_empty()) else {
            return Query { columns: Columns::default(), rows };
        };
        let mut seen = self.written_item(item, written);
        if let Some(answered) = answered {
            seen = self.answered_item(seen, &answered);
        }
        let (mut old, mut new) = ("old".to_owned(), "new".to_owned());
        for option in &clause.options {
            if let Some(NodeEnum::ReturningOption(option)) = option.node.as_ref() {
                match option.option() {
                    protobuf::ReturningOptionKind::ReturningOptionOld => old.clone_from(&option.value),
                    protobuf::ReturningOptionKind::ReturningOptionNew => new.clone_from(&option.value),
                    protobuf::ReturningOptionKind::Undefined => {}
                }
            }
        }
        if let Some(level) = self.levels.last_mut() {
            // The target comes first, as the server has it; old and new show no column by itself.
            match level.items.iter_mut().find(|known| known.entry == item.entry) {
                Some(known) => *known = seen.clone(),
                None => level.items.insert(0, seen.clone()),
            }
            for name in [old, new] {
                let is_free = level.items.iter().all(|known| known.name.as_deref() != Some(&name));
                if is_free {
                    let alias = Item { name: Some(name), schema: None, is_open: false, ..seen.clone() };
                    level.items.push(alias);
                }
            }
        }
        let (columns, _) = self.targets(&clause.exprs);
        Query { columns, rows }
    }

    pub(super) fn insert(&mut self, insert: &protobuf::InsertStmt) -> Query<'a> {
        let generated = std::mem::take(&mut self.facts.generates);
        let before = self.enter_common(insert.with_clause.as_ref());
        let rows = self.enter_write();
        let mut item = self.target(insert.relation.as_ref(), &[]);
        let source = match insert.select_stmt.as_deref() {
            Some(select) => self.any_query(Some(select)),
            None => self.nothing(),
        };
        let guesses = match insert.select_stmt.as_deref() {
            Some(select) => self.guesses_of_rows(Some(select), self.facts.generates),
            None => Guesses::ONE,
        };
        self.facts.generates |= generated;
        self.graph.imply(rows, &[source.rows]);
        let inserted = self.graph.rows(item.entry);
        self.graph.imply(inserted, &[source.rows]);
        let mut names: Vec<String> = insert
            .cols
            .iter()
            .filter_map(|column| match column.node.as_ref() {
                Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
                _ => None,
            })
            .collect();
        let mut anywhere = Vec::new();
        if names.is_empty() {
            (names, anywhere) = self.places(&item, source.columns.nodes(), source.rows);
        }
        let mut written = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            if source.columns.open.is_none() && index >= source.columns.list.len() {
                break;
            }
            let from = self.at(&source.columns, index);
            let value = self.graph.copy(from);
            self.put(&item, &name, value, source.rows);
            written.push((name, value));
        }
        for (name, value) in self.defaults(&item, &written) {
            self.put(&item, &name, value, source.rows);
            written.push((name, value));
        }
        written.extend(anywhere);
        if let Some(conflict) = insert.on_conflict_clause.as_deref() {
            self.meet_conflicting(conflict, &item, &written, guesses);
            self.conflict(conflict, &item, &mut written, rows);
        }
        let probed = self.facts.probes.len();
        self.probes(&item, &names_of(&written), Probed::New);
        self.facts.probes[probed..].iter_mut().for_each(|probe| probe.asks(guesses));
        if let (Some(level), true) = (self.levels.last_mut(), insert.returning_clause.is_some()) {
            level.items.clear();
        }
        item.is_open = true;
        let query =
            self.returning(insert.returning_clause.as_ref(), CmdType::CmdInsert, &item, &written, rows);
        self.levels.pop();
        self.leave_common(before);
        query
    }

    /// What is put into columns that a new row says nothing of, where code of users may say what.
    fn defaults(&mut self, item: &Item<'a>, written: &[(String, NodeId)]) -> Vec<(String, NodeId)> {
        let catalog = self.env.catalog;
        let relations = item.relations.iter().filter_map(|oid| catalog.relation(*oid));
        let columns = relations.flat_map(|relation| &relation.columns);
        let unsaid = columns.filter(|column| !written.iter().any(|(name, _)| column.name == *name));
        let defaults =
            unsaid.filter_map(|column| Some((column.name.to_string(), column.default.as_deref()?)));
        defaults.map(|(name, default)| (name, self.expression_of(default, Vec::new()))).collect()
    }

    /// Which rows are inserted tells which values are there already.
    fn meet_conflicting(
        &mut self,
        conflict: &protobuf::OnConflictClause,
        item: &Item<'a>,
        written: &[(String, NodeId)],
        guesses: Guesses,
    ) {
        let elements = conflict.infer.as_deref().map_or(&[][..], |infer| &infer.index_elems);
        let element = |node: &Node| match node.node.as_ref() {
            Some(NodeEnum::IndexElem(element)) => element.name.clone(),
            _ => String::new(),
        };
        // Without names, or where there is an expression, it is any of them.
        let names: Vec<String> = elements.iter().map(element).collect();
        let is_any = |name: &String| name.is_empty() || self.is_generated(item, name);
        let any = names.is_empty() || names.iter().any(is_any);
        for (name, value) in written.iter().filter(|(name, _)| any || names.contains(name)) {
            let mut both = item.columns.named(name);
            both.push(*value);
            self.meet_guesses(both, Usage::Equality, true, guesses, &[]);
        }
    }

    fn conflict(
        &mut self,
        conflict: &protobuf::OnConflictClause,
        item: &Item<'a>,
        written: &mut Vec<(String, NodeId)>,
        rows: NodeId,
    ) {
        let mut excluded = self.written_item(item, &[]);
        excluded.name = Some("excluded".to_owned());
        excluded.schema = None;
        excluded.is_open = false;
        for (name, node) in &mut excluded.columns.list {
            *node = if self.is_made_of(item, name, written) {
                let values = written.iter().map(|(_, value)| *value).chain([*node]);
                self.graph.made(values.collect())
            } else {
                let values = written.iter().filter(|(column, _)| column == name).map(|(_, value)| *value);
                self.graph.copy(values.collect())
            };
        }
        excluded.whole = self.graph.made(excluded.columns.nodes());
        self.bring(vec![item.clone(), excluded]);
        self.assign(&conflict.target_list, item, written, rows);
        if !conflict.target_list.is_empty() {
            self.touch(item, rows);
            self.changes(item);
        }
        self.condition(conflict.where_clause.as_deref());
        if let Some(infer) = conflict.infer.as_deref() {
            self.condition(infer.where_clause.as_deref());
        }
    }

    /// `SET a = …, (b, c) = …`.
    fn assign(&mut self, list: &[Node], item: &Item<'a>, written: &mut Vec<(String, NodeId)>, rows: NodeId) {
        for target in list {
            let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { continue };
            let value = target.val.as_deref();
            let node =
                if let Some(NodeEnum::MultiAssignRef(part)) = value.and_then(|value| value.node.as_ref()) {
                    self.part_of_row(part)
                } else {
                    let nodes = self.optional(value);
                    match *nodes {
                        [node] => node,
                        _ => self.graph.made(nodes),
                    }
                };
            let node = if target.indirection.is_empty() {
                node
            } else {
                let mut parts = vec![node];
                for part in &target.indirection {
                    if let Some(NodeEnum::AIndices(indices)) = part.node.as_ref() {
                        parts.extend(self.optional(indices.lidx.as_deref()));
                        parts.extend(self.optional(indices.uidx.as_deref()));
                    }
                }
                self.graph.made(parts)
            };
            self.put(item, &target.name, node, rows);
            written.push((target.name.clone(), node));
        }
    }

    /// One column of `(a, b) = (x, y)` or `(a, b) = (select …)`.
    fn part_of_row(&mut self, part: &protobuf::MultiAssignRef) -> NodeId {
        let at = usize::try_from(part.colno).ok().and_then(|number| number.checked_sub(1)).unwrap_or(0);
        match part.source.as_deref().and_then(|source| source.node.as_ref()) {
            Some(NodeEnum::RowExpr(row)) => {
                let nodes = self.optional(row.args.get(at));
                match *nodes {
                    [node] => node,
                    _ => self.graph.made(nodes),
                }
            }
            Some(NodeEnum::SubLink(link)) => {
                let query = self.any_query(link.subselect.as_deref());
                let from = self.at(&query.columns, at);
                let node = self.graph.copy(from);
                self.graph.imply(node, &[query.rows]);
                node
            }
            _ => {
                let nodes = self.optional(part.source.as_deref());
                self.graph.made(nodes)
            }
        }
    }

    pub(super) fn update(&mut self, update: &protobuf::UpdateStmt) -> Query<'a> {
        let before = self.enter_common(update.with_clause.as_ref());
        let rows = self.enter_write();
        let item = self.target(update.relation.as_ref(), &update.target_list);
        self.bring(vec![item.clone()]);
        self.from(&update.from_clause);
        self.condition(update.where_clause.as_deref());
        let mut written = Vec::new();
        self.assign(&update.target_list, &item, &mut written, rows);
        self.touch(&item, rows);
        self.changes(&item);
        self.probes(&item, &names_of(&written), Probed::Changed);
        let query =
            self.returning(update.returning_clause.as_ref(), CmdType::CmdUpdate, &item, &written, rows);
        self.levels.pop();
        self.leave_common(before);
        query
    }

    pub(super) fn delete(&mut self, delete: &protobuf::DeleteStmt) -> Query<'a> {
        let before = self.enter_common(delete.with_clause.as_ref());
        let rows = self.enter_write();
        let item = self.target(delete.relation.as_ref(), &[]);
        self.bring(vec![item.clone()]);
        self.from(&delete.using_clause);
        self.condition(delete.where_clause.as_deref());
        self.changes(&item);
        self.put_rows(&item, rows, false);
        let query = self.returning(delete.returning_clause.as_ref(), CmdType::CmdDelete, &item, &[], rows);
        self.levels.pop();
        self.leave_common(before);
        query
    }

    /// Which rows are left tells by what they were chosen.
    fn put_rows(&mut self, item: &Item<'a>, rows: NodeId, is_touch: bool) {
        let value = self.graph.made(Vec::new());
        self.graph.imply(value, &[rows]);
        let guards = self.guards.clone();
        self.graph.imply(value, &guards);
        let mut relations = item.relations.clone();
        relations.extend(self.written_through(item, "*").iter().map(|column| column.relation));
        relations.dedup();
        for relation in relations {
            let target = Target::Column(ColumnId { relation, number: 0 });
            self.puts.push(Put { target, value, given: value, is_touch });
        }
        let is_made = self.env.overlay.has_relation(&item.source.name);
        let is_unknown = item.relations.is_empty() && !is_made;
        if is_unknown {
            // Its columns are nobody's, so that what they were compared with does not tell of its rows.
            let mut named = self.facts.named.clone();
            named.retain(|node| {
                let Origins { columns, untraceable, .. } = self.graph.origins(*node);
                untraceable.is_none() && !columns.is_empty()
            });
            self.graph.imply(value, &named);
        }
        if is_touch && is_made || is_unknown {
            let target = Target::New { relation: item.source.clone(), column: "*".to_owned() };
            self.puts.push(Put { target, value, given: value, is_touch });
        }
    }

    /// A row that is changed or locked has another place, and another `xmin` or `xmax`: which ones do tells by what they
    /// were chosen.
    pub(super) fn touch(&mut self, item: &Item<'a>, rows: NodeId) {
        self.put_rows(item, rows, true);
    }

    pub(super) fn merge_into(&mut self, merge: &protobuf::MergeStmt) -> Query<'a> {
        let before = self.enter_common(merge.with_clause.as_ref());
        let rows = self.enter_write();
        let item = self.target(merge.relation.as_ref(), &[]);
        self.bring(vec![item.clone()]);
        self.from(merge.source_relation.as_deref().map(std::slice::from_ref).unwrap_or_default());
        self.condition(merge.join_condition.as_deref());
        let mut written = Vec::new();
        for when in &merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(when)) = when.node.as_ref() else { continue };
            self.condition(when.condition.as_deref());
            if when.values.is_empty() {
                self.assign(&when.target_list, &item, &mut written, rows);
                continue;
            }
            let mut names: Vec<String> = when
                .target_list
                .iter()
                .filter_map(|target| match target.node.as_ref() {
                    Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
                    _ => None,
                })
                .collect();
            let values: Vec<NodeId> = when.values.iter().map(|value| self.expression(value)).collect();
            if names.is_empty() {
                let (places, anywhere) = self.places(&item, values.clone(), rows);
                names = places;
                written.extend(anywhere);
            }
            for (name, node) in names.into_iter().zip(values) {
                self.put(&item, &name, node, rows);
                written.push((name, node));
            }
        }
        self.changes(&item);
        self.put_rows(&item, rows, false);
        self.probes(&item, &names_of(&written), Probed::Changed);
        let query = self.returning(merge.returning_clause.as_ref(), CmdType::CmdMerge, &item, &written, rows);
        self.levels.pop();
        self.leave_common(before);
        query
    }

    /// What is written to relations may run code of users, that of their heirs as well.
    pub(super) fn runs_triggers(&mut self, written: Vec<u32>) {
        let catalog = self.env.catalog;
        let reached = catalog.with_heirs(written);
        let mut relations = reached.iter().filter_map(|oid| catalog.relation(*oid));
        self.facts.meets_user_code |= relations.any(|relation| relation.has_user_code);
    }

    /// A relation made of a query's rows.
    pub(super) fn make(&mut self, relation: &Name, names: &[Node], query: &Query<'a>) {
        let names = strings(names);
        let mut columns = query.columns.clone();
        self.rename(&mut columns, &names);
        for (column, node) in &columns.list {
            let value = self.graph.copy(vec![*node]);
            self.graph.imply(value, &[query.rows]);
            let target = Target::New { relation: relation.clone(), column: column.to_string() };
            self.puts.push(Put { target, value, given: *node, is_touch: false });
        }
        if columns.open.is_some() {
            let value = self.graph.unknown(Untraceable::UnknownColumn);
            let target = Target::New { relation: relation.clone(), column: "*".to_owned() };
            self.puts.push(Put { target, value, given: value, is_touch: false });
        }
    }
}

fn names_of(written: &[(String, NodeId)]) -> Vec<String> {
    written.iter().map(|(name, _)| name.clone()).collect()
}

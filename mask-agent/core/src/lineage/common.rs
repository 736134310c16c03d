//! WITH: queries that have a name, and which of them a name means.

use std::{borrow::Cow, rc::Rc};

use pg_query::{
    NodeEnum,
    protobuf::{CommonTableExpr, Node, SelectStmt, SetOperation, WithClause},
};

use super::{
    Untraceable,
    graph::Usage,
    names::strings,
    scope::{Columns, VIEW_DEPTH_MAX},
    trace::{Query, Tracer},
};

/// A common table expression in scope.
#[derive(Clone, Debug)]
pub(super) struct Common<'a> {
    name: String,
    body: Body<'a>,
}

#[derive(Clone, Debug)]
enum Body<'a> {
    /// Not read yet: `WITH RECURSIVE` lets a query name those behind it. What is in scope for it are so many
    /// common tables and levels.
    Ahead {
        table: Rc<CommonTableExpr>,
        common: usize,
        levels: usize,
    },
    Known(Query<'a>),
    /// It is being read, and names itself where only a UNION may.
    Open,
}

impl<'a> Tracer<'a> {
    /// Reads what stands behind WITH; `leave_common` with the result takes it out of scope.
    pub(super) fn enter_common(&mut self, with: Option<&WithClause>) -> usize {
        let before = self.common.len();
        let Some(with) = with else { return before };
        let tables = with.ctes.iter().filter_map(|table| match table.node.as_ref() {
            Some(NodeEnum::CommonTableExpr(table)) => Some(table),
            _ => None,
        });
        if !with.recursive {
            for table in tables {
                let body = Body::Known(self.common_table(table, false));
                self.common.push(Common { name: table.ctename.clone(), body });
            }
            return before;
        }
        let tables: Vec<_> = tables.map(|table| Rc::new((**table).clone())).collect();
        let (common, levels) = (before + tables.len(), self.levels.len());
        self.common.extend(tables.into_iter().map(|table| Common {
            name: table.ctename.clone(),
            body: Body::Ahead { table, common, levels },
        }));
        for at in before..common {
            self.common_at(at);
        }
        before
    }

    pub(super) fn leave_common(&mut self, before: usize) {
        self.common.truncate(before);
    }

    /// The query of a name, where one has it.
    pub(super) fn common_named(&mut self, name: &str) -> Option<Query<'a>> {
        let at = self.common.iter().rposition(|common| common.name == name)?;
        if self.depth >= VIEW_DEPTH_MAX {
            return Some(self.unknown_query(Untraceable::TooDeep));
        }
        self.depth += 1;
        let query = self.common_at(at);
        self.depth -= 1;
        Some(query)
    }

    fn common_at(&mut self, at: usize) -> Query<'a> {
        let body = std::mem::replace(&mut self.common[at].body, Body::Open);
        let query = match body {
            Body::Known(query) => query,
            Body::Open => return self.unknown_query(Untraceable::UnknownRelation),
            Body::Ahead { table, common, levels } => {
                let inner_common = self.common.split_off(common.min(self.common.len()));
                let inner_levels = self.levels.split_off(levels.min(self.levels.len()));
                let query = self.common_table(&table, true);
                self.common.extend(inner_common);
                self.levels.extend(inner_levels);
                query
            }
        };
        self.common[at].body = Body::Known(query.clone());
        query
    }

    fn common_table(&mut self, table: &CommonTableExpr, is_recursive: bool) -> Query<'a> {
        let names = strings(&table.aliascolnames);
        let refs = std::mem::take(&mut self.refs);
        let mut query = match table.ctequery.as_deref().and_then(|query| query.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) if is_recursive && select.op() == SetOperation::SetopUnion => {
                self.recursive(&table.ctename, &names, select)
            }
            _ => self.any_query(table.ctequery.as_deref()),
        };
        self.refs = refs;
        self.rename(&mut query.columns, &names);
        self.more_columns(table, &mut query);
        query
    }

    /// SEARCH and CYCLE add columns made of others.
    fn more_columns(&mut self, table: &CommonTableExpr, query: &mut Query<'a>) {
        let mut add = |tracer: &mut Self, name: &str, of: &[Node]| {
            let from = strings(of).iter().flat_map(|name| query.columns.named(name)).collect();
            let node = tracer.graph.made(from);
            query.columns.list.push((Cow::Owned(name.to_owned()), node));
        };
        if let Some(search) = &table.search_clause {
            add(self, &search.search_seq_column, &search.search_col_list);
        }
        if let Some(cycle) = &table.cycle_clause {
            add(self, &cycle.cycle_mark_column, &cycle.cycle_col_list);
            add(self, &cycle.cycle_path_column, &cycle.cycle_col_list);
            // A row whose columns were seen before ends the cycle.
            for node in strings(&cycle.cycle_col_list).iter().flat_map(|name| query.columns.named(name)) {
                self.meet(vec![node], Usage::Grouping, true);
            }
        }
    }

    /// `first UNION again`, in which the name stands for both.
    fn recursive(&mut self, name: &str, names: &[String], select: &SelectStmt) -> Query<'a> {
        let before = self.enter_common(select.with_clause.as_ref());
        let first = select.larg.as_deref().map(|first| self.select(first));
        let Some(first) = first else { return self.unknown_query(Untraceable::UnknownStatement) };
        let rows = self.graph.made(Vec::new());
        self.graph.imply(rows, &[first.rows]);
        let mut columns = Columns::default();
        for (name, node) in &first.columns.list {
            columns.list.push((name.clone(), self.graph.copy(vec![*node])));
        }
        columns.open = first.columns.open.map(|open| self.graph.made(vec![open]));
        let mut known = columns.clone();
        self.rename(&mut known, names);
        let body = Body::Known(Query { columns: known, rows });
        self.common.push(Common { name: name.to_owned(), body });
        self.facts.generates = true;
        let meetings = self.graph.meetings.len();
        let again = select.rarg.as_deref().map(|again| self.select(again));
        self.common.pop();
        if let Some(again) = again {
            self.graph.imply(rows, &[again.rows]);
            for (index, (_, node)) in columns.list.iter().enumerate() {
                let more = self.at(&again.columns, index);
                self.graph.add(*node, &more);
            }
            if let Some(open) = columns.open {
                let more = again.columns.nodes();
                self.graph.add(open, &more);
            }
        }
        // What is computed of itself is compared as what a loop counts is.
        let counted: Vec<_> =
            columns.nodes().into_iter().filter(|node| self.graph.is_computed_of_itself(*node)).collect();
        for node in &counted {
            self.graph.counts(*node);
        }
        for meeting in self.graph.meetings[meetings..].iter_mut().filter(|_| !counted.is_empty()) {
            meeting.is_looped = true;
        }
        if !select.all {
            for node in columns.nodes() {
                self.meet(vec![node], Usage::Grouping, true);
            }
        }
        self.leave_common(before);
        Query { columns, rows }
    }
}

//! What is put into one relation and is in another by that: parents show their children's rows, and foreign keys
//! change those that refer to what is changed.

use super::{Overlay, Passed, add};
use crate::{
    catalog::Catalog,
    lineage::{ColumnId, Write, WriteTarget},
};

/// Any column.
const ANY: &str = "*";

/// How a value comes to be in a relation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Put,
    /// It lies in a child, of which others show nothing.
    Shown,
}

/// Whether a write says what another one does; the same relation is written with its schema or without.
fn is_as((known, way): &(Write, Way), (found, found_way): &(Write, Way)) -> bool {
    let is_same = match (&known.target, &found.target) {
        (WriteTarget::New { relation, column, .. }, WriteTarget::New { relation: of, column: named, .. }) => {
            (relation, column) == (of, named)
        }
        (known, found) => known == found,
    };
    is_same
        && (known.holds, &known.origins) == (found.holds, &found.origins)
        && (way == found_way || *way == Way::Put)
}

/// What a target is called.
fn names<'a>(target: &'a WriteTarget, catalog: &'a Catalog) -> Option<(&'a str, &'a str)> {
    match target {
        WriteTarget::New { relation, column, .. } => Some((relation, column)),
        WriteTarget::Column(column) => {
            let known = catalog.relation(column.relation)?;
            let named = known.columns.iter().find(|known| known.number == column.number);
            Some((&known.name, named.map_or(ANY, |known| &*known.name)))
        }
    }
}

impl Overlay {
    /// What is written besides, because of what is written.
    pub(in crate::lineage) fn passed_on(&self, writes: &[Write], catalog: &Catalog) -> Vec<Write> {
        let mut all: Vec<(Write, Way)> = writes.iter().map(|write| (write.clone(), Way::Put)).collect();
        let mut at = 0;
        while let Some((write, way)) = all.get(at).cloned() {
            let mut reached = self.reached(&write.target, catalog);
            if way == Way::Put {
                reached.extend(self.behind(&write.target, catalog).map(|target| (target, Way::Put)));
            }
            for (target, way) in reached {
                let found = (Write { target, ..write.clone() }, way);
                if !all.iter().any(|known| is_as(known, &found)) {
                    all.push(found);
                }
            }
            at += 1;
        }
        let mut passed: Vec<Write> = Vec::new();
        for (write, _) in all.into_iter().skip(writes.len()) {
            if !writes.contains(&write) && !passed.contains(&write) {
                passed.push(write);
            }
        }
        passed
    }

    /// Where that lies which is put into a relation: in its partitions, and what is changed in any child; behind a view
    /// in a table, under whatever name.
    fn behind(&self, target: &WriteTarget, catalog: &Catalog) -> impl Iterator<Item = WriteTarget> {
        let mut behind = Vec::new();
        if let Some((relation, column)) = names(target, catalog) {
            for child in self.children(relation) {
                self.places(child, column, catalog, &mut behind);
            }
            for (read, _) in self.reads(relation).into_iter().filter(|(read, _)| self.is_made(read)) {
                let (schema, relation) = (String::new(), read.to_owned());
                behind.push(WriteTarget::New { schema, relation, column: ANY.to_owned() });
            }
        }
        behind.into_iter()
    }

    /// Where else that is which is put somewhere.
    fn reached(&self, target: &WriteTarget, catalog: &Catalog) -> Vec<(WriteTarget, Way)> {
        let Some((relation, column)) = names(target, catalog) else { return Vec::new() };
        let mut shown = Vec::new();
        let mut reached = Vec::new();
        if let WriteTarget::Column(ColumnId { relation, number: 0 }) = target {
            // Which rows are there.
            let cascades = catalog.cascades(*relation).iter();
            reached.extend(cascades.map(|oid| WriteTarget::Column(ColumnId { relation: *oid, number: 0 })));
        }
        // A parent of what the catalog knows was noted to show just that.
        let is_new = matches!(target, WriteTarget::New { .. });
        for (_, parent) in self.parents.iter().filter(|(child, _)| is_new && child == relation) {
            self.places(parent, column, catalog, &mut shown);
        }
        let is_any = |name: &str| name == ANY || column == ANY;
        for Passed { from, to } in &self.passed {
            if from.0 == relation && (from.1 == column || is_any(&from.1)) {
                let column = if column == ANY { ANY } else { &to.1 };
                self.places(&to.0, column, catalog, &mut reached);
            }
        }
        let shown = shown.into_iter().map(|target| (target, Way::Shown));
        shown.chain(reached.into_iter().map(|target| (target, Way::Put))).collect()
    }

    /// The columns this name may be, of those this transaction has made and of those the catalog knows.
    fn places(&self, relation: &str, column: &str, catalog: &Catalog, places: &mut Vec<WriteTarget>) {
        if self.has_relation(relation) {
            let (schema, relation) = (String::new(), relation.to_owned());
            places.push(WriteTarget::New { schema, relation, column: column.to_owned() });
        }
        for known in catalog.named(None, relation) {
            let found = known.columns.iter().find(|known| known.name == *column);
            let number = found.map_or(0, |found| found.number);
            places.push(WriteTarget::Column(ColumnId { relation: known.oid, number }));
        }
    }

    /// Relations whose rows change with those of these, besides what the catalog knows.
    pub(in crate::lineage) fn passed_to<'a>(&'a self, from: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut all: Vec<&str> = Vec::new();
        let mut open: Vec<&str> = from.collect();
        while let Some(relation) = open.pop() {
            for Passed { to, .. } in self.passed.iter().filter(|passed| passed.from.0 == relation) {
                if !all.contains(&to.0.as_str()) {
                    all.push(&to.0);
                    open.push(&to.0);
                }
            }
        }
        all
    }

    /// What is passed on to or from a relation or a column is so by its new name.
    pub(super) fn passes_renamed(&mut self, from: (&str, Option<&str>), name: (&str, &str)) {
        let renamed = |(relation, column): &(String, String)| {
            let is_it = relation == from.0 && from.1.is_none_or(|known| known == column);
            let named = if from.1.is_some() { name.1.to_owned() } else { column.clone() };
            if is_it { (name.0.to_owned(), named) } else { (relation.clone(), column.clone()) }
        };
        for passed in self.passed.clone() {
            let passed = Passed { from: renamed(&passed.from), to: renamed(&passed.to) };
            add(&mut self.passed, passed, &mut self.size);
        }
    }

    /// Columns that a relation of this transaction is partitioned by.
    pub(in crate::lineage) fn keys(&self, relation: &str) -> impl Iterator<Item = &str> {
        self.keys.get(relation).into_iter().flatten().map(String::as_str)
    }

    /// A column of a key is one by its new name.
    pub(super) fn keys_renamed(&mut self, relation: &str, from: &str, name: &str) {
        if let Some(key) = self.keys.get_mut(relation).filter(|key| key.iter().any(|column| column == from)) {
            add(key, name.to_owned(), &mut self.size);
        }
    }

    /// These relations and those of this transaction in which rows that are put there may lie.
    pub(in crate::lineage) fn with_behind(&self, names: Vec<String>) -> Vec<String> {
        let mut all = names;
        let mut at = 0;
        while let Some(name) = all.get(at) {
            let reads = self.reads(name).into_iter().map(|(read, _)| read);
            let behind = self.children(name).chain(reads).map(ToOwned::to_owned);
            let more: Vec<String> = behind.filter(|name| !all.contains(name)).collect();
            all.extend(more);
            at += 1;
        }
        all
    }
}

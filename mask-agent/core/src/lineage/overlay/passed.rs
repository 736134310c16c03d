//! What is put into one relation and is in another by that: parents show their children's rows, and foreign keys
//! change those that refer to what is changed.

use super::{Overlay, Passed, add};
use crate::{
    catalog::Catalog,
    lineage::{ColumnId, Write, WriteTarget},
};

/// Any column.
const ANY: &str = "*";

impl Overlay {
    /// What is written besides, because of what is written.
    pub(in crate::lineage) fn passed_on(&self, writes: &[Write], catalog: &Catalog) -> Vec<Write> {
        let mut passed: Vec<Write> = Vec::new();
        let mut open: Vec<Write> = writes.to_vec();
        while !open.is_empty() {
            let mut next: Vec<Write> = Vec::new();
            for write in &open {
                for target in self.reached(&write.target, catalog) {
                    let found = Write { target, origins: write.origins.clone(), holds: write.holds };
                    if !writes.contains(&found) && !passed.contains(&found) && !next.contains(&found) {
                        next.push(found);
                    }
                }
            }
            passed.extend(next.iter().cloned());
            open = next;
        }
        passed
    }

    /// Where else that is which is put somewhere.
    fn reached(&self, target: &WriteTarget, catalog: &Catalog) -> Vec<WriteTarget> {
        let mut reached = Vec::new();
        let (relation, column) = match target {
            WriteTarget::New { relation, column, .. } => (relation.as_str(), column.as_str()),
            WriteTarget::Column(column) => {
                let Some(known) = catalog.relation(column.relation) else { return reached };
                if column.number == 0 {
                    // Which rows are there.
                    let cascades = catalog.cascades(known.oid).iter();
                    reached.extend(
                        cascades.map(|oid| WriteTarget::Column(ColumnId { relation: *oid, number: 0 })),
                    );
                }
                let named = known.columns.iter().find(|known| known.number == column.number);
                (&*known.name, named.map_or(ANY, |known| &*known.name))
            }
        };
        // A parent of what the catalog knows was noted to show just that.
        let is_new = matches!(target, WriteTarget::New { .. });
        for (_, parent) in self.parents.iter().filter(|(child, _)| is_new && child == relation) {
            self.places(parent, column, catalog, &mut reached);
        }
        let is_any = |name: &str| name == ANY || column == ANY;
        for Passed { from, to } in &self.passed {
            if from.0 == relation && (from.1 == column || is_any(&from.1)) {
                let column = if column == ANY { ANY } else { &to.1 };
                self.places(&to.0, column, catalog, &mut reached);
            }
        }
        reached
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
}

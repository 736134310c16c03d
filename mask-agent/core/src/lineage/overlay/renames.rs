//! Other names that relations and columns of the catalog have by now.

use std::collections::HashMap;

use super::{Overlay, add};
use crate::lineage::ColumnId;

/// Other names that relations and columns of the catalog have by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    /// Whether a schema may have another.
    pub any_schema: bool,
    /// By the column; those of number 0 are a relation's.
    names: Vec<(ColumnId, String)>,
}

impl Renames {
    /// Those of a column, or of a relation.
    pub fn of(&self, column: ColumnId) -> impl Iterator<Item = &str> {
        self.names.iter().filter(move |(known, _)| *known == column).map(|(_, name)| name.as_str())
    }
}

impl Overlay {
    /// What is known of a relation under its old name is so under its new one.
    pub(super) fn moves(&mut self, from: &str, name: &str, relations: &[u32]) {
        let size = &mut self.size;
        for relation in relations {
            add(self.others.entry(name.to_owned()).or_default(), *relation, size);
        }
        if from == name {
            return;
        }
        if self.placed.contains(from) || self.relations.contains_key(name) || self.queries.contains_key(name)
        {
            *size += usize::from(self.placed.insert(name.to_owned()));
        }
        add(&mut self.moved, (from.to_owned(), name.to_owned()), size);
        also(&mut self.relations, from, name, size);
        also(&mut self.views, from, name, size);
        also(&mut self.queries, from, name, size);
        also(&mut self.keys, from, name, size);
        if self.loose.contains(from) {
            *size += usize::from(self.loose.insert(name.to_owned()));
        }
        let generated: Vec<_> =
            self.generated.iter().filter(|(relation, _)| relation == from).cloned().collect();
        self.generated.extend(generated.into_iter().map(|(_, column)| (name.to_owned(), column)));
        for (child, parent) in self.parents.clone() {
            let renamed = |end: String| if end == from { name.to_owned() } else { end };
            add(&mut self.parents, (renamed(child), renamed(parent)), size);
        }
        self.passes_renamed((from, None), (name, ""));
    }

    /// Names that the schema of this name may have in the catalog, besides its own.
    pub(in crate::lineage) fn schemas_before(&self, name: &str) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            for (from, _) in self.schemas.iter().filter(|(_, to)| to == name) {
                if !found.contains(&from.as_str()) {
                    found.push(from);
                    open.push(from);
                }
            }
        }
        found
    }

    /// Whether a schema has another name by now.
    pub(in crate::lineage) fn has_schemas(&self) -> bool {
        !self.schemas.is_empty()
    }

    pub(in crate::lineage) fn renames(&self) -> Renames {
        let relations = self.others.iter().flat_map(|(name, relations)| {
            relations.iter().map(|relation| (ColumnId { relation: *relation, number: 0 }, name.clone()))
        });
        let columns = self.renamed.iter().flat_map(|(relation, names)| {
            let column = |number| ColumnId { relation: *relation, number };
            names.iter().map(move |(number, name)| (column(*number), name.clone()))
        });
        Renames { any_schema: self.is_all, names: relations.chain(columns).collect() }
    }
}

/// Gives what stands under one name to another as well.
fn also<T: Clone + PartialEq>(lists: &mut HashMap<String, Vec<T>>, from: &str, name: &str, size: &mut usize) {
    for item in lists.get(from).cloned().unwrap_or_default() {
        add(lists.entry(name.to_owned()).or_default(), item, size);
    }
}

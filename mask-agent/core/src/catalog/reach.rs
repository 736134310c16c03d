//! Relations whose rows are in others, or change with theirs.

use std::collections::HashSet;

use super::Catalog;

impl Catalog {
    /// Relations that inherit directly from one, or are its partitions.
    pub fn heirs(&self, parent: u32) -> &[u32] {
        self.heirs.get(&parent).map_or(&[], Vec::as_slice)
    }

    /// Relations that foreign keys pass changes of one on to.
    pub fn cascades(&self, from: u32) -> &[u32] {
        self.cascades.get(&from).map_or(&[], Vec::as_slice)
    }

    /// These relations and all that inherit from them.
    pub fn with_heirs(&self, oids: Vec<u32>) -> Vec<u32> {
        closure(oids, |oid| self.heirs(oid).to_vec())
    }

    /// These relations and all whose rows change with theirs.
    pub fn with_cascades(&self, oids: Vec<u32>) -> Vec<u32> {
        closure(oids, |oid| [self.heirs(oid), self.cascades(oid)].concat())
    }
}

/// These, and whatever is found by way of them, each once.
fn closure(oids: Vec<u32>, further: impl Fn(u32) -> Vec<u32>) -> Vec<u32> {
    let mut all = oids;
    let mut seen = HashSet::new();
    let mut at = 0;
    while let Some(oid) = all.get(at) {
        let found = further(*oid);
        if seen.is_empty() && !found.is_empty() {
            seen.extend(all.iter().copied());
        }
        all.extend(found.into_iter().filter(|oid| seen.insert(*oid)));
        at += 1;
    }
    all
}

use super::Overlay;
use crate::catalog::Routine;

impl Overlay {
    /// Whether functions nobody knows may be an extension's.
    pub(in crate::lineage) fn has_extension(&self) -> bool {
        self.has_extension
    }

    /// Whether the server may call functions by what was made.
    pub(in crate::lineage) fn binds(&self) -> bool {
        self.is_all || self.has_bound || !self.operators.is_empty()
    }

    /// Whether anything may be there, of whatever name.
    pub(in crate::lineage) fn has_any(&self) -> bool {
        self.is_all
    }

    /// Whether a cast was made.
    pub(in crate::lineage) fn has_cast(&self) -> bool {
        self.has_cast
    }

    /// Functions that can be read.
    pub(in crate::lineage) fn all_routines(&self) -> impl Iterator<Item = &Routine> {
        self.functions.values().flatten().flatten().map(AsRef::as_ref)
    }

    /// Names of the functions there are, where there is nothing else but triggers.
    pub(in crate::lineage) fn only_code(&self) -> Option<Vec<&str>> {
        let functions: usize = self.functions.values().map(Vec::len).sum();
        let is_more = self.is_all || self.is_any_dropped || self.has_extension || self.has_renamed;
        (!is_more && self.size == functions + self.triggers.len())
            .then(|| self.functions.keys().map(String::as_str).collect())
    }

    /// What functions of a name do by now; none where that cannot be read.
    pub(in crate::lineage) fn bodies(&self, name: &str) -> impl Iterator<Item = Option<&Routine>> {
        self.functions.get(name).into_iter().flatten().map(Option::as_deref)
    }
}

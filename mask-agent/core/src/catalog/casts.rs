//! Casts that code of users makes.

use super::{Cast, Catalog, TypeShape};

impl Catalog {
    /// Types from which code of users makes values of this one; 0 is text that is read.
    pub fn casts_to(&self, type_oid: u32) -> &[Cast] {
        self.casts.get(&type_oid).map_or(&[], Vec::as_slice)
    }

    /// Whether code of users makes values of any type.
    pub fn has_casts(&self) -> bool {
        !self.casts.is_empty()
    }

    /// Whether a cast is a function of users that may read anything.
    pub fn has_casts_by_users(&self) -> bool {
        let is_readable = |cast: &Cast| self.routines(&cast.function.name).any(|routine| !routine.harmless);
        self.casts.values().flatten().any(is_readable)
    }

    /// Whether code of users makes rows of tables, whose types have no names of their own.
    pub fn has_casts_to_rows(&self) -> bool {
        let is_named = |target| self.type_names.values().flatten().any(|named| named == target);
        self.casts.keys().any(|target| {
            matches!(self.types.get(target), Some(TypeShape::Composite(_)) | None) && !is_named(target)
        })
    }
}

//! Casts that code of users makes.

use super::{Cast, Catalog, Routine, TypeShape};

impl Catalog {
    /// Types from which code of users makes values of this one; 0 is text that is read.
    pub fn casts_to(&self, type_oid: u32) -> &[Cast] {
        self.casts.get(&type_oid).map_or(&[], Vec::as_slice)
    }

    /// Whether code of users makes values of any type.
    pub fn has_casts(&self) -> bool {
        !self.casts.is_empty()
    }

    /// Functions of users by which values are cast, and others of their names.
    pub fn casting(&self) -> impl Iterator<Item = &Routine> {
        let functions = self.casts.values().flatten().map(|cast| &cast.function.name);
        functions.flat_map(|name| self.routines(name)).filter(|routine| !routine.harmless)
    }

    /// Whether code of users makes rows of tables, whose types have no names of their own.
    pub fn has_casts_to_rows(&self) -> bool {
        let is_named = |target| self.type_names.values().flatten().any(|named| named == target);
        self.casts.keys().any(|target| {
            matches!(self.types.get(target), Some(TypeShape::Composite(_)) | None) && !is_named(target)
        })
    }
}

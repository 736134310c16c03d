//! Functions that somebody vouches for.

use std::sync::Arc;

use super::{Catalog, Routine, Routines};

impl Catalog {
    /// The same, where these functions are known to return nothing but what is made of their arguments.
    #[must_use]
    pub fn trusting(self: &Arc<Self>, is_trusted: impl Fn(&Routine) -> bool) -> Arc<Self> {
        if !self.routines.list.iter().any(&is_trusted) {
            return self.clone();
        }
        let list = self.routines.list.iter();
        let list = list
            .map(|routine| Routine { harmless: routine.harmless || is_trusted(routine), ..routine.clone() });
        let routines = Arc::new(Routines::new(list.collect()));
        Arc::new(Self { routines, ..Self::clone(self) })
    }
}

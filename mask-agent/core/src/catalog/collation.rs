//! Collations of users.

use std::collections::HashSet;

use super::Catalog;

impl Catalog {
    /// Names of collations by which strings are equal that differ in more than case and accents, such as one whose
    /// rules make some digits equal: `ssn = '000-00-0000'` then asks where these are.
    pub fn loose_collations(&self) -> &HashSet<String> {
        &self.loose_collations
    }
}

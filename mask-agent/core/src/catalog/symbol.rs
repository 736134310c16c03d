//! Names that are kept once, however often they occur.

use std::{
    borrow::Borrow,
    collections::HashSet,
    fmt::{self, Display},
    ops::Deref,
    sync::Arc,
};

use serde::Serialize;

/// A name; a copy shares its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(transparent)]
pub struct Symbol(Arc<str>);

/// Names that are known already. The 200,000 columns of a large database have a few thousand.
#[derive(Debug, Default)]
pub struct Symbols(HashSet<Symbol>);

impl Symbols {
    /// The symbol of a name.
    pub fn of(&mut self, name: &str) -> Symbol {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let symbol = Symbol::from(name);
        self.0.insert(symbol.clone());
        symbol
    }
}

impl Deref for Symbol {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A set of symbols is searched by text, which hashes as the symbol does.
impl Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        self
    }
}

impl Display for Symbol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self)
    }
}

impl From<&str> for Symbol {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl PartialEq<str> for Symbol {
    fn eq(&self, name: &str) -> bool {
        **self == *name
    }
}

impl PartialEq<&str> for Symbol {
    fn eq(&self, name: &&str) -> bool {
        **self == **name
    }
}

impl PartialEq<String> for Symbol {
    fn eq(&self, name: &String) -> bool {
        **self == **name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let mut symbols = Symbols::default();
        let (first, again, other) = (symbols.of("email"), symbols.of("email"), symbols.of("mail"));
        assert!(Arc::ptr_eq(&first.0, &again.0));
        assert_eq!((&*first, &*other), ("email", "mail"));
    }
}

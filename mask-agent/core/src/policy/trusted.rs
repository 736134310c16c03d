//! Functions that an operator vouches for, because nobody else can read them.

use serde::Deserialize;

use crate::catalog::Routine;

/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// A function that is taken to return nothing but what is made of its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trusted {
    schema: String,
    name: String,
    sha256: String,
}

impl Trusted {
    /// Whether it is this function, and does what it did when it was listed.
    pub(super) fn is(&self, routine: &Routine) -> bool {
        routine.digest.as_deref() == Some(&*self.sha256)
            && routine.name == self.name
            && routine.schema == self.schema
    }
}

/// How far code of users in the database is believed.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFunctions {
    /// Functions that return nothing but what is made of their arguments, and write nothing.
    #[serde(default)]
    trusted: Vec<RawTrusted>,
}

/// A function, and what it does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrusted {
    /// `schema.function`, as the catalog writes them.
    name: RawFunction,
    /// What `mask-agent catalog` prints for it.
    sha256: RawDigest,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawFunction(String, String);

impl TryFrom<String> for RawFunction {
    type Error = String;

    fn try_from(function: String) -> Result<Self, String> {
        match function.split_once('.') {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() && !function.contains('*') => {
                Ok(Self(schema.to_owned(), name.to_owned()))
            }
            _ => Err(format!("`{function}` is no function; allowed: `schema.function`, without patterns")),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawDigest(String);

impl TryFrom<String> for RawDigest {
    type Error = String;

    fn try_from(digest: String) -> Result<Self, String> {
        let is_digit = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
        if digest.len() != DIGITS || !digest.chars().all(is_digit) {
            let what = "the 64 hexadecimal digits that `mask-agent catalog` prints";
            return Err(format!("`{digest}` is no SHA-256; allowed: {what}"));
        }
        Ok(Self(digest))
    }
}

impl RawFunctions {
    pub(super) fn trusted(self) -> Vec<Trusted> {
        let trusted = self.trusted.into_iter();
        let trusted = trusted.map(|RawTrusted { name: RawFunction(schema, name), sha256 }| Trusted {
            schema,
            name,
            sha256: sha256.0,
        });
        trusted.collect()
    }
}

#[cfg(test)]
#[path = "trusted_tests.rs"]
mod tests;

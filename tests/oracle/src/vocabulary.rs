//! Which node kinds and fields a major version writes, and through which of them a value flows.
//!
//! Promise: a tree that holds anything else is an error, so that a new version cannot bring a path we do not see.

use std::collections::HashMap;

use crate::tree::{self, Node, TreeError, Value};

/// The kinds and fields of all majors; its header explains it.
const TABLE: &str = include_str!("vocabulary.txt");

/// The majors whose trees were compared with the table.
pub(crate) const MAJORS: std::ops::RangeInclusive<u32> = 13..=18;

#[derive(Debug, thiserror::Error)]
pub(crate) enum VocabularyError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("PostgreSQL {0} is not in the table of node kinds; {MAJORS:?} are")]
    Major(u32),
    #[error("src/vocabulary.txt: {0:?} is no range of majors")]
    Table(String),
    #[error("PostgreSQL {major} wrote a node {kind:?}, which src/vocabulary.txt does not have; add it there")]
    Kind { major: u32, kind: String },
    #[error("PostgreSQL {major} wrote {kind}.{field}, which src/vocabulary.txt does not have; add it there")]
    Field { major: u32, kind: String, field: String },
}

/// The node kinds of one major.
pub(crate) struct Vocabulary {
    major: u32,
    kinds: HashMap<&'static str, Vec<Field>>,
    former: HashMap<&'static str, &'static str>,
}

/// A tree of which every node and field is known.
pub(crate) struct Tree(Value);

impl Tree {
    pub(crate) fn root(&self) -> &Value {
        &self.0
    }
}

struct Field {
    name: &'static str,
    carries: bool,
}

impl Vocabulary {
    pub(crate) fn of(major: u32) -> Result<Self, VocabularyError> {
        if !MAJORS.contains(&major) {
            return Err(VocabularyError::Major(major));
        }
        let (mut kinds, mut former) = (HashMap::new(), HashMap::new());
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            if let Some((name, kind)) = line.strip_prefix('=').and_then(|line| line.split_once(' ')) {
                former.extend(in_major(name, major)?.map(|name| (name, kind)));
                continue;
            }
            let Some(kind) = in_major(words.next().unwrap_or_default(), major)? else { continue };
            let mut fields = Vec::new();
            for word in words {
                let (word, carries) = word.strip_prefix('+').map_or((word, false), |word| (word, true));
                fields.extend(in_major(word, major)?.map(|name| Field { name, carries }));
            }
            kinds.insert(kind, fields);
        }
        Ok(Self { major, kinds, former })
    }

    /// Reads a tree of which every node and field is one we know. Utility statements, which rules may add, are not
    /// looked into.
    pub(crate) fn read(&self, text: &str) -> Result<Tree, VocabularyError> {
        let mut value = tree::parse(text)?;
        self.check(&mut value)?;
        Ok(Tree(value))
    }

    fn check(&self, value: &mut Value) -> Result<(), VocabularyError> {
        match value {
            Value::Null | Value::Atom(_) | Value::Datum => Ok(()),
            Value::List(items) => items.iter_mut().try_for_each(|item| self.check(item)),
            Value::Node(node) => {
                if let Some(kind) = self.former.get(node.kind.as_str()) {
                    (*kind).clone_into(&mut node.kind);
                }
                let known = self.fields(&node.kind)?;
                for (name, value) in &mut node.fields {
                    if !known.iter().any(|field| field.name == name.as_str()) {
                        let (kind, field) = (node.kind.clone(), name.clone());
                        return Err(VocabularyError::Field { major: self.major, kind, field });
                    }
                    if name.as_str() != "utilityStmt" {
                        self.check(value)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn fields(&self, kind: &str) -> Result<&[Field], VocabularyError> {
        let unknown = || VocabularyError::Kind { major: self.major, kind: kind.to_owned() };
        self.kinds.get(kind).map(Vec::as_slice).ok_or_else(unknown)
    }

    /// What a node's value draws on, where nothing but its fields decides.
    pub(crate) fn carriers<'n>(&self, node: &'n Node) -> Result<Vec<&'n Value>, VocabularyError> {
        let known = self.fields(&node.kind)?;
        let carries = |name: &str| known.iter().any(|field| field.name == name && field.carries);
        Ok(node.fields.iter().filter(|(name, _)| carries(name)).map(|(_, value)| value).collect())
    }
}

/// The word before the majors, where they include this one.
fn in_major(word: &'static str, major: u32) -> Result<Option<&'static str>, VocabularyError> {
    let Some((name, majors)) = word.split_once('@') else { return Ok(Some(word)) };
    let number = |text: &str| text.parse::<u32>().map_err(|_| VocabularyError::Table(word.to_owned()));
    let within = match majors.split_once('-') {
        None => number(majors)? <= major,
        Some(("", last)) => major <= number(last)?,
        Some((first, last)) => (number(first)?..=number(last)?).contains(&major),
    };
    Ok(within.then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(major: u32, text: &str) -> Result<Tree, VocabularyError> {
        Vocabulary::of(major)?.read(text)
    }

    #[test]
    fn a_kind_that_had_another_name_is_read_by_the_new_one() {
        let tree = check(14, "{CASE :args ({WHEN})}").unwrap();
        assert_eq!(tree.root().node().unwrap().kind, "CASEEXPR");
        assert!(matches!(check(15, "{CASE}"), Err(VocabularyError::Kind { .. })));
    }

    #[test]
    fn what_a_major_does_not_write_is_an_error() {
        assert!(check(16, "({MERGEACTION :matched true})").is_ok());
        assert!(matches!(check(17, "({MERGEACTION :matched true})"), Err(VocabularyError::Field { .. })));
        assert!(matches!(check(14, "({MERGEACTION})"), Err(VocabularyError::Kind { .. })));
        assert!(matches!(check(15, "{QUERY :jointree {NEW}}"), Err(VocabularyError::Kind { .. })));
        assert!(matches!(check(19, "<>"), Err(VocabularyError::Major(19))));
    }

    #[test]
    fn a_utility_statement_is_not_looked_into() {
        assert!(check(15, "{QUERY :utilityStmt {NOTIFYSTMT :conditionname x}}").is_ok());
    }

    #[test]
    fn every_major_has_its_table() {
        for major in MAJORS {
            assert!(Vocabulary::of(major).is_ok_and(|vocabulary| vocabulary.kinds.len() > 50), "{major}");
        }
    }
}

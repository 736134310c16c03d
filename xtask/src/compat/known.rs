//! Places that are known to differ, each with the reason why it stays so.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::compare::Difference;

/// What a reviewer reads.
const FILE: &str = "tests/compat/known.yaml";

/// The list of them.
pub(super) struct Known(Vec<Group>);

/// Places of one reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// For a reader who knows PostgreSQL and not the agent.
    reason: String,
    suite: String,
    /// `direct` for what is not the same twice without the agent; all of them where not written.
    mode: Option<String>,
    places: Vec<Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    test: String,
    /// Stands in one of the lines that differ.
    text: String,
}

impl Known {
    pub(super) fn load() -> Result<Self> {
        let known: Vec<Group> = serde_norway::from_str(&std::fs::read_to_string(FILE)?).context(FILE)?;
        for group in &known {
            ensure!(
                !group.reason.trim().is_empty(),
                "no reason for {:?}",
                group.places.first().map(|place| &place.test)
            );
        }
        Ok(Self(known))
    }

    /// Why a place differs.
    pub(super) fn reason(&self, suite: &str, mode: &str, difference: &Difference) -> Option<&str> {
        let group = self.0.iter().find(|group| {
            let is_meant = group.suite == suite && group.mode.as_ref().is_none_or(|only| only == mode);
            is_meant
                && group
                    .places
                    .iter()
                    .any(|place| place.test == difference.test && difference.holds(&place.text))
        });
        group.map(|group| group.reason.as_str())
    }
}

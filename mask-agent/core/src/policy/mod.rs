//! The policy file, and which columns it classifies.

mod classify;
mod denial;
mod file;
mod given;
mod mask;
mod rules;
mod ruling;
mod schema;
mod selection;
mod snapshot;
mod trusted;

use crate::{
    catalog::{Catalog, Routine},
    masking::ColumnRule,
};

pub use crate::lineage::Refusal;
pub use classify::Classification;
pub use denial::{Denial, denials, earlier_plan};
pub use file::PolicyError;
pub use given::{ComparedConstant, ComparedParameter, CopyIn, FilledColumn, GivenRuling};
pub use rules::{Admission, Budget, Budgeted, Charge, Cost, Derived, Rules, Use, Written};
pub use ruling::{ColumnRuling, Counts, Rows, Ruled, Taint, column_name, rule, standing_taints};
pub use schema::schema;
pub use selection::{CGROUP_DEPTH_MAX, Prefix, Selection, Subjects, Target};
pub use snapshot::Snapshot;

/// The policy that is in force where no file is given; the very file that ships.
const ZERO_CONFIG: &str = include_str!("../../../../policies/zero-config.yaml");

/// The port registered for `PostgreSQL`.
const DEFAULT_PORT: u16 = 5432;

/// Triggers that fill what others read; longer chains than that are followed no further.
const TRIGGERS_DEEP_MAX: usize = 8;

/// Whether rulings are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Mask and refuse.
    Enforce,
    /// Only record what would be masked and refused.
    Observe,
}

/// Columns of some tables that are masked, by name; * stands for any run of characters.
#[derive(Debug)]
struct ColumnPattern {
    /// `schema.table` pattern; none means every table.
    table: Option<String>,
    name: String,
    rule: ColumnRule,
}

/// A table of which only the listed columns are shown, even those a pattern matches.
#[derive(Debug)]
struct AllowList {
    table: String,
    columns: Vec<String>,
}

/// A policy, checked.
#[derive(Debug)]
pub struct Policy {
    name: String,
    mode: Mode,
    selection: Selection,
    patterns: Vec<ColumnPattern>,
    allow: Vec<AllowList>,
    /// What happens to columns an allow list leaves out.
    unlisted: ColumnRule,
    rules: Rules,
    /// Functions that are known by what an operator says.
    trusted: Vec<trusted::Trusted>,
}

impl Policy {
    /// The built-in policy.
    ///
    /// # Panics
    /// Never: a test parses the same file.
    pub fn zero_config() -> Self {
        Self::parse("zero-config.yaml", ZERO_CONFIG).expect("the built-in policy is tested to parse")
    }

    /// Reads a policy file's text; `file` is its name in errors.
    ///
    /// # Errors
    /// With the place, the key and what is allowed.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        file::parse(file, text)
    }

    /// Whether rulings are applied.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose connections to where are intercepted.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Number of column patterns and allow lists.
    pub fn rules(&self) -> usize {
        self.patterns.len() + self.allow.len()
    }

    /// What may be done with masked columns.
    pub fn usage_rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether a function is one that the policy trusts, and as it was when it was listed.
    pub fn trusts(&self, routine: &Routine) -> bool {
        self.trusted.iter().any(|trusted| trusted.is(routine))
    }

    /// Which columns of a database are masked: by the policy, and because masked values were put there.
    pub fn classify(&self, catalog: &Catalog, taints: &[Taint]) -> Classification {
        self.classify_after(None, catalog, taints)
    }

    /// The same after an earlier catalog was classified by this policy.
    fn classify_after(
        &self,
        before: Option<classify::Before<'_>>,
        catalog: &Catalog,
        taints: &[Taint],
    ) -> Classification {
        let own = classify::own(self, catalog, before);
        let remembered = taints;
        let mut taints: Vec<Taint> =
            remembered.iter().filter(|taint| taint.counts == Counts::Always).cloned().collect();
        loop {
            let mut classes = classify::classify(&own, catalog, &taints);
            // What one trigger fills may be what the next one reads.
            for _round in 0..TRIGGERS_DEEP_MAX {
                let (standing, more) = standing_taints(catalog, &classes);
                if more.is_empty() {
                    classes.standing = Some(standing);
                    break;
                }
                taints.extend(more);
                classes = classify::classify(&own, catalog, &taints);
            }
            let lost = classes.lost(catalog, remembered);
            if lost.is_empty() {
                classes.remember(catalog, remembered);
                return classes;
            }
            taints.extend(lost);
        }
    }
}

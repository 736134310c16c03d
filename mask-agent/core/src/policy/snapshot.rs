//! What a session judges by.

use std::sync::Arc;

use super::{Budget, Classification, Mode, Policy, Ruled, Rules, Taint, classify::Before, rule};
use crate::{catalog::Catalog, lineage::Statement};

/// A catalog and what the policy classifies in it.
pub struct Snapshot {
    /// The database as the server describes it, and what the policy says of its functions.
    pub catalog: Arc<Catalog>,
    /// The former without the latter.
    source: Arc<Catalog>,
    /// What the policy makes of its columns.
    pub classes: Arc<Classification>,
    /// Columns that were given masked values by then.
    taints: Vec<Taint>,
    /// Whether rulings are applied or only recorded.
    pub mode: Mode,
    /// What may be done with masked columns.
    pub rules: Rules,
    /// What all connections of the login have asked of masked columns lately.
    pub budget: Arc<Budget>,
}

impl Snapshot {
    /// Applies a policy to a catalog, and to columns that were given masked values.
    pub fn new(source: Arc<Catalog>, policy: &Policy, taints: &[Taint], budget: Arc<Budget>) -> Self {
        let catalog = source.trusting(|routine| policy.trusts(routine));
        let classes = Arc::new(policy.classify(&catalog, taints));
        let (rules, taints) = (policy.usage_rules().clone(), taints.to_vec());
        Self { catalog, source, classes, taints, mode: policy.mode(), rules, budget }
    }

    /// The same for a catalog that came after this one under the same policy: relations that are as they were are not
    /// looked at again, and nothing is where only functions are others that nothing there calls.
    #[must_use]
    pub fn next(&self, source: Arc<Catalog>, policy: &Policy, taints: &[Taint]) -> Self {
        let catalog = source.trusting(|routine| policy.trusts(routine));
        let are_apart =
            |names: Vec<&str>| ![&catalog, &self.catalog].iter().any(|catalog| catalog.mentions(&names));
        let classes =
            if taints == self.taints && catalog.differs_in_functions(&self.catalog).is_some_and(are_apart) {
                self.classes.clone()
            } else {
                let before = Before { catalog: &self.catalog, classes: &self.classes };
                Arc::new(policy.classify_after(Some(before), &catalog, taints))
            };
        let (rules, budget) = (policy.usage_rules().clone(), self.budget.clone());
        Self { catalog, source, classes, taints: taints.to_vec(), mode: policy.mode(), rules, budget }
    }

    /// The database as the server describes it.
    pub fn source(&self) -> &Arc<Catalog> {
        &self.source
    }

    /// What is ruled on a statement that was read over this snapshot.
    pub fn rule(&self, statement: &Statement) -> Ruled {
        rule(statement, &self.catalog, &self.classes, &self.rules)
    }
}

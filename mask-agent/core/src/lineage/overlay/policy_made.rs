//! Policies of row-level security that this transaction has made.

use pg_query::{
    NodeEnum,
    protobuf::{Node, RangeVar},
};

/// What a policy holds rows to, to be read anew once a function it may call is another.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyMade {
    pub(in crate::lineage) table: Option<RangeVar>,
    pub(in crate::lineage) conditions: [Option<Box<Node>>; 2],
}

/// No number in it is none.
impl Eq for PolicyMade {}

impl PolicyMade {
    /// The policy that a statement makes or alters.
    pub(in crate::lineage) fn of(kind: &NodeEnum) -> Option<Self> {
        let (table, using, check) = match kind {
            NodeEnum::CreatePolicyStmt(made) => (&made.table, &made.qual, &made.with_check),
            NodeEnum::AlterPolicyStmt(altered) => (&altered.table, &altered.qual, &altered.with_check),
            _ => return None,
        };
        Some(Self { table: table.clone(), conditions: [using.clone(), check.clone()] })
    }
}

//! TRUNCATE.

use pg_query::{NodeEnum, protobuf};

use super::trace::Tracer;

impl Tracer<'_> {
    /// It runs triggers of users, with CASCADE those of any table.
    pub(super) fn truncate(&mut self, truncate: &protobuf::TruncateStmt) {
        let mut named: Vec<u32> = Vec::new();
        for relation in &truncate.relations {
            if let Some(NodeEnum::RangeVar(relation)) = relation.node.as_ref() {
                let candidates = self.candidates(&relation.schemaname, &relation.relname);
                named.extend(candidates.iter().map(|relation| relation.oid));
            }
        }
        if truncate.behavior() == protobuf::DropBehavior::DropCascade {
            named.extend(self.env.catalog.relations().map(|relation| relation.oid));
        }
        self.runs_triggers(named);
    }

    /// The same where something decides whether it is done: that rows are gone tells it, as where they are deleted.
    pub(super) fn empties(&mut self, truncate: &protobuf::TruncateStmt) {
        self.truncate(truncate);
        for relation in &truncate.relations {
            if let Some(NodeEnum::RangeVar(relation)) = &relation.node {
                let delete = protobuf::DeleteStmt { relation: Some(relation.clone()), ..Default::default() };
                self.delete(&delete);
            }
        }
    }
}

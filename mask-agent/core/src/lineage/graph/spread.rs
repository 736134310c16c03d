//! Values that meet in a predicate, a union or a group tell about each other and about the rows they stand in.

use std::{collections::HashMap, ops::ControlFlow};

use super::{ColumnId, EntryId, Graph, Guesses, Holds, Meeting, NodeId, Pace, Ties, Usage};
use crate::lineage::Masked;

/// What a value tells of masked ones, or of what nobody knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Telling {
    Nothing,
    /// By the rows it stands in, and nothing by itself.
    Rows,
    /// By itself; nothing that is found out later makes it tell less.
    Value,
}

/// What has been found out of values: every meeting asks for the same ones, in every round.
#[derive(Default)]
struct Known {
    telling: HashMap<NodeId, Telling>,
    /// What no round changes.
    rows: HashMap<NodeId, Vec<EntryId>>,
    masked_rows: HashMap<NodeId, Vec<EntryId>>,
    paired: HashMap<NodeId, bool>,
}

impl Graph {
    /// Follows what meets: a value that was compared with a masked one tells it by being there, unless it is a
    /// constant, which tells one bit.
    ///
    /// `where n.i <= c.salary` lets every `n.i` up to the salary through; the last one, or their number, is the
    /// salary. So the other relation's rows are implied by what they were compared with.
    pub(in crate::lineage) fn spread(&mut self, classes: &dyn Masked) {
        if !self.nodes.iter().any(|node| {
            node.untraceable.is_some()
                || node.base.is_some_and(|base| classes.is_masked(base.relation, base.number))
        }) {
            return;
        }
        let mut known = Known::default();
        let mut meetings = std::mem::take(&mut self.meetings);
        for _round in 0..=meetings.len() {
            let mut changed = false;
            for meeting in &mut meetings {
                if self.spread_one(meeting, classes, &mut known) {
                    known.telling.retain(|_, telling| *telling == Telling::Value);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        self.meetings = meetings;
    }

    fn spread_one(&mut self, meeting: &mut Meeting, classes: &dyn Masked, known: &mut Known) -> bool {
        let is_sensitive = |column: ColumnId| classes.is_masked(column.relation, column.number);
        let holds = |column: ColumnId| classes.holds(column.relation, column.number);
        let mut telling = Vec::new();
        let mut others = Vec::new();
        let mut mixed = Vec::new();
        for id in &meeting.nodes {
            let told = *known.telling.entry(*id).or_insert_with(|| self.telling(*id, &is_sensitive));
            if told != Telling::Nothing {
                telling.push(*id);
            }
            if told == Telling::Value {
                mixed.push(*id);
            } else {
                others.push(*id);
            }
        }
        if telling.is_empty() {
            return false;
        }
        if meeting.usage == Usage::Equality && self.meets_temporary(meeting) {
            meeting.guesses = Guesses::Many;
        }
        let masked = |base: Option<ColumnId>| base.is_some_and(&is_sensitive);
        let mut own: Vec<EntryId> = Vec::new();
        for id in &telling {
            let rows = known.masked_rows.entry(*id);
            own.extend_from_slice(rows.or_insert_with(|| self.leaves(*id, Ties::Followed, &masked)));
        }
        // Rows of a list that somebody has put beside masked values are no ordinary ones.
        let is_paired = telling.iter().any(|id| {
            *known.paired.entry(*id).or_insert_with(|| {
                let stored = self.origins(*id).columns.into_iter().filter_map(holds).max();
                stored.max(self.holds(*id)) >= Some(Holds::Paired)
            })
        });
        let mut changed = false;
        for id in others {
            let rows = known.rows.entry(id).or_insert_with(|| self.leaves(id, Ties::Followed, &|_| true));
            let mut rows = rows.clone();
            // A constant of a row has none of its own, but stands in one.
            let stands = self.node(id).entry.filter(|_| rows.is_empty());
            let mut within = rows.iter().copied().chain(stands).peekable();
            let same_row = !is_paired && within.peek().is_some() && within.all(|entry| own.contains(&entry));
            if same_row {
                // Two columns of one row: only their being equal says what the other is.
                if meeting.usage == Usage::Equality && meeting.is_plain && !telling.contains(&id) {
                    changed |= self.imply_new(id, &telling);
                }
                continue;
            }
            rows.extend(self.node(id).entry);
            meeting.crosses |= !rows.is_empty() && !telling.is_empty();
            // Equal values are there once, unless somebody stored them more often.
            let pairs = meeting.pairs.filter(|_| !rows.is_empty() && !meeting.is_plain);
            let told = meeting.told.filter(|_| self.may_differ(id));
            let targets: Vec<NodeId> =
                rows.iter().map(|entry| self.rows(*entry)).chain([id]).chain(pairs).chain(told).collect();
            for target in targets {
                let sources: Vec<NodeId> =
                    telling.iter().copied().filter(|source| *source != target).collect();
                changed |= self.imply_new(target, &sources);
            }
        }
        changed | self.spread_mixed(meeting, &mixed, &own)
    }

    fn telling(&self, id: NodeId, is_sensitive: &dyn Fn(ColumnId) -> bool) -> Telling {
        let mut behind = Vec::new();
        let by_value = self.walk(id, |_, node, open| {
            if node.untraceable.is_some() || node.base.is_some_and(is_sensitive) {
                return ControlFlow::Break(());
            }
            behind.extend_from_slice(&node.implied);
            behind.extend(node.entry.map(|entry| self.rows(entry)));
            open.extend_from_slice(&node.from);
            ControlFlow::Continue(())
        });
        if by_value.is_break() {
            return Telling::Value;
        }
        let mut by_rows = Telling::Nothing;
        let untraceable = self.walk_from(behind, |_, node, open| {
            if node.untraceable.is_some() {
                return ControlFlow::Break(());
            }
            if node.base.is_some_and(is_sensitive) {
                by_rows = Telling::Rows;
            }
            open.extend(node.from.iter().chain(&node.implied));
            open.extend(node.entry.map(|entry| self.rows(entry)));
            ControlFlow::Continue(())
        });
        if untraceable.is_break() { Telling::Value } else { by_rows }
    }

    /// Whether a value may be another one the next time it is asked for.
    fn may_differ(&self, id: NodeId) -> bool {
        let node = self.node(id);
        !node.from.is_empty() || node.entry.is_some() || node.pace != Pace::Made
    }

    /// A value that is in part masked and in part another relation's, as of a union or of `w = ssn`, tells the one
    /// by which rows of the other it stands beside.
    fn spread_mixed(&mut self, meeting: &Meeting, mixed: &[NodeId], own: &[EntryId]) -> bool {
        let mut changed = false;
        for id in mixed.iter().copied().filter(|_| !own.is_empty()) {
            let mut rows = self.leaves(id, Ties::Ignored, &|_| true);
            rows.retain(|entry| !own.contains(entry));
            let pairs = meeting.pairs.filter(|_| !rows.is_empty());
            let targets: Vec<NodeId> = rows.iter().map(|entry| self.rows(*entry)).chain(pairs).collect();
            for target in targets {
                changed |= self.imply_new(target, &[id]);
            }
        }
        changed
    }

    /// Whether values of a temporary relation meet those of another.
    fn meets_temporary(&self, meeting: &Meeting) -> bool {
        if self.temporary.is_empty() {
            return false;
        }
        let entries =
            meeting.nodes.iter().flat_map(|id| self.leaves(*id, Ties::Followed, &|base| base.is_some()));
        let (temporary, other): (Vec<EntryId>, Vec<EntryId>) =
            entries.partition(|entry| self.temporary.contains(entry));
        !temporary.is_empty() && !other.is_empty()
    }

    fn imply_new(&mut self, to: NodeId, from: &[NodeId]) -> bool {
        let known = &self.node(to).implied;
        let new: Vec<NodeId> = from.iter().copied().filter(|id| !known.contains(id)).collect();
        self.imply(to, &new);
        !new.is_empty()
    }
}

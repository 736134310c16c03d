//! Values that meet in a predicate, a union or a group tell about each other and about the rows they stand in.

use std::{collections::HashMap, ops::ControlFlow};

use super::{
    ColumnId, EntryId, Graph, Guesses, Holds, Meeting, NodeId, Pace, Ties, Usage,
    condensed::AllLeaves,
    tells::{Telling, Tellings},
};
use crate::lineage::Masked;

/// What a masked value is compared with again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    /// Rows of another relation.
    Stored,
    /// What a loop counts, or a setting or the like.
    Made,
}

/// What has been found out of values: every meeting asks for the same ones, in every round.
struct Known {
    tellings: Tellings,
    /// What leaves there are, where many are asked for.
    leaves: Option<AllLeaves>,
    /// What no round changes.
    rows: HashMap<NodeId, Vec<EntryId>>,
    masked_rows: HashMap<NodeId, Vec<EntryId>>,
    paired: HashMap<NodeId, bool>,
}

/// What loops read, by value and by relation in FROM.
struct Reading {
    /// Whether a value is made of masked columns.
    masked: Vec<bool>,
    /// Of what says which rows of a relation are there: the relation.
    entries: Vec<Option<EntryId>>,
    /// Whether a loop reads the relation.
    looped: Vec<bool>,
}

impl Reading {
    fn new(graph: &Graph, masked: Vec<bool>) -> Self {
        let mut entries = vec![None; graph.nodes.len()];
        for (rows, at) in graph.entries.iter().zip(0..) {
            entries[rows.0 as usize] = Some(EntryId(at));
        }
        let mut looped = vec![false; graph.entries.len()];
        for range in &graph.looped {
            looped[range.start as usize..range.end as usize].fill(true);
        }
        Self { masked, entries, looped }
    }
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
        let tellings = Tellings::new(self, &|base| classes.is_masked(base.relation, base.number));
        let (rows, masked_rows, paired) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut meetings = std::mem::take(&mut self.meetings);
        let leaves =
            AllLeaves::new(self, meetings.len(), &|base| classes.is_masked(base.relation, base.number));
        let mut known = Known { tellings, leaves, rows, masked_rows, paired };
        let is_made =
            |meeting: &Meeting| !meeting.computed.is_empty() || meeting.makes_rows && !self.sized.is_empty();
        if meetings.iter().any(is_made) {
            self.spread_computed(&mut meetings, &|base| classes.is_masked(base.relation, base.number));
        }
        if meetings.iter().any(|meeting| meeting.is_looped) {
            let is_masked = |base: ColumnId| classes.is_masked(base.relation, base.number);
            self.spread_loops(&mut meetings, known.leaves.as_ref(), &is_masked);
        }
        for _round in 0..=meetings.len() {
            let mut changed = false;
            for meeting in &mut meetings {
                changed |= self.spread_one(meeting, classes, &mut known);
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
            let told = known.tellings.of(*id);
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
            own.extend_from_slice(rows.or_insert_with(|| match &known.leaves {
                Some(leaves) => leaves.masked_of(*id),
                None => self.leaves(*id, Ties::Followed, &masked),
            }));
        }
        // Rows of a list that somebody has put beside masked values are no ordinary ones.
        let is_paired = telling.iter().any(|id| {
            *known.paired.entry(*id).or_insert_with(|| {
                let stored = self.drawn(*id).columns.into_iter().filter_map(holds).max();
                stored.max(self.holds(*id)) >= Some(Holds::Paired)
            })
        });
        let mut changed = false;
        for id in others {
            let rows = known.rows.entry(id).or_insert_with(|| match &known.leaves {
                Some(leaves) => leaves.of(id),
                None => self.leaves(id, Ties::Followed, &|_| true),
            });
            let mut rows = rows.clone();
            // A constant of a row has none of its own, but stands in one.
            let stands = self.node(id).entry.filter(|_| rows.is_empty());
            let mut within = rows.iter().copied().chain(stands).peekable();
            let same_row = !is_paired && within.peek().is_some() && within.all(|entry| own.contains(&entry));
            if same_row {
                // Two columns of one row: only their being equal says what the other is.
                if meeting.usage == Usage::Equality && meeting.is_plain && !telling.contains(&id) {
                    changed |= self.imply_new(id, &telling, &mut known.tellings);
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
                changed |= self.imply_new(target, &sources, &mut known.tellings);
            }
        }
        changed | self.spread_mixed(meeting, &mixed, &own, &mut known.tellings)
    }

    /// What is made of a masked value is no more equal to it than it is less: `true in (select salary > 5 …)`.
    fn spread_computed(&self, meetings: &mut [Meeting], is_masked: &dyn Fn(ColumnId) -> bool) {
        let masked = self.made_of(is_masked);
        let is_any = |nodes: &[NodeId]| nodes.iter().any(|node| masked[node.0 as usize]);
        for meeting in meetings.iter_mut() {
            if meeting.usage == Usage::Equality && is_any(&meeting.computed) {
                (meeting.usage, meeting.is_plain) = (Usage::Function, false);
            }
            if meeting.makes_rows && meeting.nodes.iter().any(|node| self.is_sized(*node, &is_any)) {
                meeting.usage = Usage::RowCount;
            }
        }
    }

    /// Whether anything in a value is as long as values like these say.
    fn is_sized(&self, id: NodeId, is_such: &dyn Fn(&[NodeId]) -> bool) -> bool {
        let walked = self.walk(id, |at, node, open| {
            let known = self.sized.iter().filter(|(value, _)| *value == at);
            if known.into_iter().any(|(_, by)| is_such(by)) {
                return ControlFlow::Break(());
            }
            open.extend_from_slice(&node.from);
            ControlFlow::Continue(())
        });
        walked.is_break()
    }

    /// What a loop asks of a masked value with another one each time is asked as often as a list is long.
    fn spread_loops(
        &self,
        meetings: &mut [Meeting],
        leaves: Option<&AllLeaves>,
        is_masked: &dyn Fn(ColumnId) -> bool,
    ) {
        let reading = Reading::new(self, self.made_of(is_masked));
        let masked = &reading.masked;
        for meeting in meetings.iter_mut().filter(|meeting| meeting.is_looped) {
            let own = |id: &NodeId| match leaves {
                Some(leaves) => leaves.masked_of(*id),
                None => self.leaves(*id, Ties::Followed, &|base| base.is_some_and(is_masked)),
            };
            let own: Vec<EntryId> = meeting.nodes.iter().flat_map(own).collect();
            let values = meeting.nodes.iter().chain(&meeting.sides);
            let other = values.filter_map(|id| self.other_each_time(*id, &own, &reading)).max();
            meeting.crosses |= other.is_some();
            // What a variable holds is compared as it is.
            let is_plain =
                |side: &NodeId| self.is_identity(*side) || self.is_folded(*side) || !masked[side.0 as usize];
            let is_loose = meeting.nodes.iter().any(|node| self.is_loose(*node));
            if meeting.is_equality
                && !is_loose
                && !meeting.sides.is_empty()
                && meeting.sides.iter().all(is_plain)
            {
                meeting.usage = Usage::Equality;
            }
            if other == Some(Other::Made) && meeting.usage == Usage::Equality {
                meeting.guesses = Guesses::LOOP;
            }
        }
    }

    /// Of each value, whether it is made of a column like this.
    fn made_of(&self, fits: &dyn Fn(ColumnId) -> bool) -> Vec<bool> {
        let mut into: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len()];
        let mut made = vec![false; self.nodes.len()];
        let mut open = Vec::new();
        for (node, at) in self.nodes.iter().zip(0_u32..) {
            node.from.iter().for_each(|from| into[from.0 as usize].push(at));
            open.extend(node.base.is_some_and(fits).then_some(at));
        }
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut made[at as usize], true) {
                open.extend_from_slice(&into[at as usize]);
            }
        }
        made
    }

    /// Whether a value is another one each time though the masked ones in it, of these entries, are not.
    fn other_each_time(&self, id: NodeId, own: &[EntryId], reading: &Reading) -> Option<Other> {
        let mut other = None;
        self.walk_all(id, |at, node, open| {
            let is_other = |entry: &EntryId| !own.contains(entry);
            let is_of_other = node.entry.as_ref().is_some_and(is_other);
            let is_looped = node.entry.is_some_and(|entry| reading.looped[entry.0 as usize]);
            let is_restless = is_looped && node.base.is_some_and(|base| self.restless.contains(&base));
            if node.pace == Pace::Anew
                || is_restless
                || is_of_other && node.base.is_none() && node.from.is_empty()
            {
                other = Some(Other::Made);
            } else if is_of_other && node.base.is_some()
                || reading.entries[at.0 as usize].as_ref().is_some_and(is_other)
            {
                other = other.max(Some(Other::Stored));
            }
            open.extend_from_slice(&node.from);
            // Which rows a masked value is taken from makes no list of it.
            if !reading.masked[at.0 as usize] {
                open.extend(node.implied.iter().filter(|implied| !self.node(**implied).is_flow));
            }
        });
        other.map(|other| if self.is_computed(id) { Other::Made } else { other })
    }

    /// Whether a value is not just one that was read, or is in a variable.
    fn is_computed(&self, id: NodeId) -> bool {
        let walked = self.walk(id, |_, node, open| {
            if !(node.is_copy || node.base.is_some() || node.is_constant() || node.is_held) {
                return ControlFlow::Break(());
            }
            open.extend_from_slice(&node.from);
            ControlFlow::Continue(())
        });
        walked.is_break()
    }

    /// Whether a value may be another one the next time it is asked for.
    fn may_differ(&self, id: NodeId) -> bool {
        let node = self.node(id);
        !node.from.is_empty() || node.entry.is_some() || node.pace != Pace::Made
    }

    /// A value that is in part masked and in part another relation's, as of a union or of `w = ssn`, tells the one
    /// by which rows of the other it stands beside.
    fn spread_mixed(
        &mut self,
        meeting: &Meeting,
        mixed: &[NodeId],
        own: &[EntryId],
        tellings: &mut Tellings,
    ) -> bool {
        let mut changed = false;
        for id in mixed.iter().copied().filter(|_| !own.is_empty()) {
            let mut rows = self.leaves(id, Ties::Ignored, &|_| true);
            rows.retain(|entry| !own.contains(entry));
            let pairs = meeting.pairs.filter(|_| !rows.is_empty());
            let targets: Vec<NodeId> = rows.iter().map(|entry| self.rows(*entry)).chain(pairs).collect();
            for target in targets {
                changed |= self.imply_new(target, &[id], tellings);
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

    fn imply_new(&mut self, to: NodeId, from: &[NodeId], tellings: &mut Tellings) -> bool {
        let known = &self.node(to).implied;
        let new: Vec<NodeId> = from.iter().copied().filter(|id| !known.contains(id)).collect();
        self.imply(to, &new);
        for implied in &new {
            tellings.implies(to, *implied);
        }
        !new.is_empty()
    }
}

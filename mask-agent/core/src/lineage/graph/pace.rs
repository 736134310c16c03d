//! Whether what a column is compared with is another value each time, though the statement says the same.

use super::{Graph, NodeId};

/// How a value changes from one run of a statement to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::lineage) enum Pace {
    /// As what it is made of does, but a clock in it may have become anything.
    #[default]
    Made,
    /// It may be any value each time: a setting, a number of a sequence, a value by chance.
    Anew,
    /// It is the time.
    Clock,
    /// It is the same for a day at least, if what it is made of goes on as a clock does.
    Day,
    /// It goes on as a clock in it does, if nothing else in it is computed of what is stored.
    Steady,
}

/// Whether a text says a time by when it is read: `now`, `today 10:00`. Longer ones are no times.
pub(crate) fn is_relative_time(text: &[u8]) -> bool {
    const BYTES_MAX: usize = 64;
    const WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
    let is_relative = |word: &[u8]| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known));
    text.len() <= BYTES_MAX && text.split(|byte| !byte.is_ascii_alphabetic()).any(is_relative)
}

/// Whether a value may be another one, where that is known.
#[derive(Clone, Copy, Default)]
enum State {
    Changes,
    Stays,
    #[default]
    Unknown,
}

/// A value that a walk comes to, and the step it came from.
#[derive(Clone, Copy)]
struct Step {
    id: NodeId,
    bends: bool,
    after: Option<usize>,
}

/// What was found out so far of values that may be others, by whether what they go through bends them.
#[derive(Default)]
pub(in crate::lineage) struct Changing {
    states: Vec<[State; 2]>,
    /// Steps of this walk.
    steps: Vec<Step>,
}

impl Changing {
    fn begin(&mut self, nodes: usize) {
        self.states.resize(nodes, <[State; 2]>::default());
        self.steps.clear();
    }

    fn state(&self, id: NodeId, bends: bool) -> State {
        self.states[id.0 as usize][usize::from(bends)]
    }

    fn set(&mut self, step: Step, state: State) {
        self.states[step.id.0 as usize][usize::from(step.bends)] = state;
    }

    /// What is come to stays as it is unless this walk finds otherwise.
    fn enter(&mut self, step: Step) -> usize {
        self.set(step, State::Stays);
        self.steps.push(step);
        self.steps.len() - 1
    }

    /// Takes note that what led to this step changes; of all else that was come to, nothing is known.
    fn found(&mut self, mut after: Option<usize>) -> bool {
        let steps = std::mem::take(&mut self.steps);
        for step in &steps {
            self.set(*step, State::Unknown);
        }
        while let Some(at) = after {
            let step = steps[at];
            self.set(step, State::Changes);
            after = step.after;
        }
        true
    }
}

impl Graph {
    pub(in crate::lineage) fn set_pace(&mut self, id: NodeId, pace: Pace) {
        self.at(id).pace = pace;
        self.has_pace |= matches!(pace, Pace::Anew | Pace::Clock);
    }

    /// Whether a value that is stored goes through this as it is, or beside a clock.
    fn keeps_pace(&self, id: NodeId) -> bool {
        match self.node(id).pace {
            Pace::Day => true,
            Pace::Steady => self.is_steady(id),
            Pace::Anew | Pace::Clock | Pace::Made => self.is_identity(id) || !self.reads(id),
        }
    }

    fn is_steady(&self, id: NodeId) -> bool {
        self.node(id).from.iter().all(|from| self.keeps_pace(*from))
    }

    /// Whether a comparison of these values may be another question each time it is asked.
    ///
    /// Ordinary statements compare with the time, and a moment later that is the same question; but
    /// `salary > extract(epoch from now()) % 1000` is not.
    pub(in crate::lineage) fn changes(&self, ids: &[NodeId], is_comparison: bool) -> bool {
        self.changes_as_known(ids, is_comparison, &mut Changing::default())
    }

    /// The same for one of many, while nothing is added.
    pub(in crate::lineage) fn changes_as_known(
        &self,
        ids: &[NodeId],
        is_comparison: bool,
        known: &mut Changing,
    ) -> bool {
        if !self.has_pace {
            return false;
        }
        let bends = !is_comparison || !ids.iter().all(|id| self.keeps_pace(*id));
        known.begin(self.nodes.len());
        let mut open: Vec<Step> = ids.iter().map(|id| Step { id: *id, bends, after: None }).collect();
        while let Some(step) = open.pop() {
            let Step { id, bends, .. } = step;
            match known.state(id, bends) {
                State::Changes => return known.found(step.after),
                State::Stays => continue,
                State::Unknown => {}
            }
            let after = Some(known.enter(step));
            let node = self.node(id);
            let bends = match node.pace {
                Pace::Anew => return known.found(after),
                Pace::Clock if bends => return known.found(after),
                Pace::Day => false,
                Pace::Made => bends || !node.is_copy,
                Pace::Clock => bends,
                Pace::Steady => bends || !self.is_steady(id),
            };
            open.extend(node.from.iter().map(|from| Step { id: *from, bends, after }));
            // How many rows there are is no clock.
            let rows = node.entry.filter(|_| node.base.is_none()).map(|entry| self.rows(entry));
            let told = node.implied.iter().chain(&node.tied).copied().chain(rows);
            open.extend(told.map(|id| Step { id, bends: true, after }));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lineage::graph::tests::{graph, ids, kinds_and_edges};

    proptest! {
        #[test]
        fn what_is_known_of_some_values_says_the_same_of_others(
            (kinds, edges) in kinds_and_edges(),
            paces in prop::collection::vec(0..12_u8, 1..16),
        ) {
            let mut graph = graph(&kinds, &edges);
            let all: Vec<NodeId> = ids(&graph).collect();
            for (id, pace) in all.iter().zip(&paces) {
                let pace = match pace {
                    0 => Pace::Anew,
                    1 => Pace::Clock,
                    // A steady value is never computed of itself, as these may be.
                    2 => Pace::Day,
                    _ => Pace::Made,
                };
                graph.set_pace(*id, pace);
            }
            let mut known = Changing::default();
            for id in &all {
                for is_comparison in [false, true] {
                    let found = graph.changes_as_known(&[*id], is_comparison, &mut known);
                    prop_assert_eq!(found, graph.changes(&[*id], is_comparison));
                }
            }
        }
    }
}

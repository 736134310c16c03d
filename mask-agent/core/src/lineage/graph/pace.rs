//! Whether what a column is compared with is another value each time, though the statement says the same.

use std::collections::HashSet;

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
        if !self.has_pace {
            return false;
        }
        let bends = !is_comparison || !ids.iter().all(|id| self.keeps_pace(*id));
        let mut open: Vec<(NodeId, bool)> = ids.iter().map(|id| (*id, bends)).collect();
        let mut seen = HashSet::new();
        while let Some((id, bends)) = open.pop() {
            if !seen.insert((id, bends)) {
                continue;
            }
            let node = self.node(id);
            let bends = match node.pace {
                Pace::Anew => return true,
                Pace::Clock if bends => return true,
                Pace::Day => false,
                Pace::Made => bends || !node.is_copy,
                Pace::Clock => bends,
                Pace::Steady => bends || !self.is_steady(id),
            };
            open.extend(node.from.iter().map(|from| (*from, bends)));
            // How many rows there are is no clock.
            let rows = node.entry.filter(|_| node.base.is_none()).map(|entry| self.rows(entry));
            open.extend(node.implied.iter().chain(&node.tied).copied().chain(rows).map(|id| (id, true)));
        }
        false
    }
}

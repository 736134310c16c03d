//! Windows: what they are ordered by, and which of their rows are compared.

use pg_query::protobuf;

use super::{
    graph::{NodeId, Usage},
    scope::Columns,
    trace::Tracer,
};

/// `FRAMEOPTION_RANGE` of the server.
const FRAME_BY_RANGE: i32 = 0x2;
/// `FRAMEOPTION_GROUPS` of the server.
const FRAME_BY_GROUPS: i32 = 0x8;

/// Frames of windows whose order is another's.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What windows with a name order by.
    keys: Vec<NodeId>,
    offsets: Vec<NodeId>,
}

impl Tracer<'_> {
    /// PARTITION BY, ORDER BY and the frame of a window.
    pub(super) fn window(&mut self, window: &protobuf::WindowDef) {
        for part in &window.partition_clause {
            self.group(part, &Columns::default(), &[]);
        }
        let before = self.graph.meetings.len();
        self.order(&window.order_clause);
        let ordered = self.graph.meetings[before..].iter().filter(|meeting| meeting.usage == Usage::Ordering);
        let keys: Vec<NodeId> = ordered.flat_map(|meeting| meeting.nodes.iter().copied()).collect();
        let mut offsets = Vec::new();
        for offset in [&window.start_offset, &window.end_offset].into_iter().filter_map(Option::as_deref) {
            offsets.extend(self.row_count(offset));
        }
        // `range between 5 preceding and current row` compares keys of rows that are 5 apart.
        let by_value = window.frame_options & (FRAME_BY_RANGE | FRAME_BY_GROUPS) != 0 && !offsets.is_empty();
        if by_value && window.refname.is_empty() {
            self.meet([&*keys, &*offsets].concat(), Usage::Range, false);
        } else if by_value {
            self.frames.offsets.extend(offsets);
        }
        if !window.name.is_empty() {
            self.frames.keys.extend(keys);
        }
    }

    /// Once all windows of a query are known, meets what those order by that are named with the frames of others.
    pub(super) fn meet_frames(&mut self, outer: Frames) {
        let Frames { keys, offsets } = std::mem::replace(&mut self.frames, outer);
        if !offsets.is_empty() {
            self.meet([keys, offsets].concat(), Usage::Range, false);
        }
    }
}

//! Notes where values meet: conditions, groups, orders, tests.

use pg_query::{
    NodeEnum,
    protobuf::{self, AExprKind, Node},
};

use super::{
    graph::{Meeting, NodeId, Usage},
    guesses::Guesses,
    trace::Tracer,
};

impl Tracer<'_> {
    /// Notes that values meet; one that differs from row to row says which rows these are.
    pub(super) fn meet_varying(&mut self, mut nodes: Vec<NodeId>, usage: Usage, is_plain: bool) {
        if self.varies
            && !nodes.is_empty()
            && let Some(level) = self.levels.last()
        {
            let entries: Vec<_> = level.items.iter().map(|item| item.entry).collect();
            nodes.extend(entries.into_iter().map(|entry| self.graph.column(entry, Vec::new())));
        }
        self.meet(nodes, usage, is_plain);
    }

    /// Notes that values meet.
    pub(super) fn meet(&mut self, nodes: Vec<NodeId>, usage: Usage, is_plain: bool) {
        if !nodes.is_empty() {
            self.facts.named.extend_from_slice(&nodes);
            let rows = self.levels.last().map(|level| level.rows);
            let pairs = rows.map(|rows| self.graph.pairs(rows));
            // By such a collation any part of a value may be what is compared.
            let is_loose = usage == Usage::Equality && nodes.iter().any(|node| self.graph.is_loose(*node));
            let (usage, is_plain) = if is_loose { (Usage::Function, false) } else { (usage, is_plain) };
            if let ([node], Usage::Function) = (&*nodes, usage) {
                self.graph.asked_alone.insert(*node);
            }
            let meeting = Meeting {
                nodes,
                usage,
                pairs,
                is_plain,
                crosses: false,
                numbers: false,
                guesses: Guesses::ONE,
                sides: Vec::new(),
                makes_rows: false,
                computed: Vec::new(),
                is_equality: false,
                is_null_test: false,
                is_standing: self.is_standing,
                told: self.asking,
                is_looped: self.loops,
            };
            self.graph.meetings.push(meeting);
        }
    }

    /// Notes that what is NULL decides.
    pub(super) fn meet_null(&mut self, nodes: Vec<NodeId>) {
        let before = self.graph.meetings.len();
        self.meet(nodes, Usage::Function, false);
        for meeting in &mut self.graph.meetings[before..] {
            meeting.is_null_test = true;
        }
    }

    /// Notes that rows are sorted or grouped, so that their order or number tells.
    pub(super) fn meet_numbers(&mut self, nodes: Vec<NodeId>, usage: Usage, is_plain: bool) {
        let before = self.graph.meetings.len();
        self.meet(nodes, usage, is_plain);
        for meeting in &mut self.graph.meetings[before..] {
            meeting.numbers = true;
        }
    }

    /// Notes that a masked value would be compared with so many at once, where values have met at all; and what is on
    /// each side.
    pub(super) fn meet_guesses(
        &mut self,
        nodes: Vec<NodeId>,
        usage: Usage,
        is_plain: bool,
        guesses: Guesses,
        sides: &[NodeId],
    ) {
        let before = self.graph.meetings.len();
        self.meet_varying(nodes, usage, is_plain);
        for meeting in &mut self.graph.meetings[before..] {
            meeting.guesses = guesses;
            meeting.sides = sides.to_vec();
        }
    }

    /// Notes that something leaves a trace that others see: whether it runs tells what decides that, and with what it is
    /// called what these values are.
    pub(super) fn leaves_trace(&mut self, given: &[NodeId]) {
        self.traces += 1;
        let deciding = [&self.guards, given].concat();
        for node in deciding {
            if self.counted.contains(&node) || self.graph.asked_alone.contains(&node) {
                continue;
            }
            let is_plain = self.graph.is_identity(node);
            self.meet(vec![node], if is_plain { Usage::Equality } else { Usage::Function }, is_plain);
        }
    }

    /// Notes that what was read since then may be run or not, as these values say.
    pub(super) fn decides_traces(&mut self, before: usize, deciding: &[NodeId]) {
        if self.traces > before {
            self.leaves_trace(deciding);
        }
    }
}

/// Whether some of what is compared is only looked at if what comes before it has not decided.
pub(super) fn compares_in_order(expression: &protobuf::AExpr) -> bool {
    let is_row = |side: &Option<Box<Node>>| {
        matches!(side.as_deref().and_then(|node| node.node.as_ref()), Some(NodeEnum::RowExpr(_)))
    };
    let is_plain = matches!(
        expression.kind(),
        AExprKind::AexprOp | AExprKind::AexprDistinct | AExprKind::AexprNotDistinct | AExprKind::AexprNullif
    );
    !is_plain || is_row(&expression.lexpr) || is_row(&expression.rexpr)
}

/// `(a, b)` where each part is a column, or `c.*`: comparing rows compares these.
pub(super) fn is_row_of_columns(node: &Node) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::RowExpr(row)) => row.args.iter().all(|argument| {
            matches!(
                argument.node.as_ref(),
                Some(NodeEnum::ColumnRef(_) | NodeEnum::AConst(_) | NodeEnum::ParamRef(_))
            )
        }),
        Some(NodeEnum::ColumnRef(reference)) => {
            let last = reference.fields.last().and_then(|field| field.node.as_ref());
            matches!(last, Some(NodeEnum::AStar(_)))
        }
        _ => false,
    }
}

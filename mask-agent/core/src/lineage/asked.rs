//! What a statement asks of columns it does not show.

use super::{
    ColumnId, Holds, Predicate, Usage,
    graph::{AllDrawn, Among, Asked, Changing, Graph, Meeting},
    trace::Tracer,
};

/// Every use, each as often as it stands there.
pub(super) fn predicates(
    tracer: &Tracer<'_>,
    is_sensitive: &dyn Fn(ColumnId) -> bool,
    holds: &dyn Fn(ColumnId) -> Option<Holds>,
) -> Vec<Predicate> {
    let mut predicates = Vec::new();
    let (drawn_from, mut known) = (AllDrawn::new(&tracer.graph), Changing::default());
    for meeting in &tracer.graph.meetings {
        let before = predicates.len();
        let sorts = matches!(meeting.usage, Usage::Grouping | Usage::Ordering);
        let among = meeting.nodes.iter().filter(|_| sorts);
        let among = among.map(|node| tracer.graph.among(*node, is_sensitive)).max();
        let usage = meeting.usage(among.unwrap_or(Among::Alike));
        let asked = asked(&tracer.graph, meeting, &mut known);
        for node in &meeting.nodes {
            let drawn = drawn_from.of(*node);
            let filled = tracer.graph.holds(*node);
            let held = drawn.columns.iter().filter_map(|column| holds(*column)).max().max(filled);
            // The row of a list that a value stands in, by what came of comparing them.
            let is_answer = held >= Some(Holds::Paired)
                && drawn.columns.iter().any(|column| is_sensitive(*column))
                && tracer.graph.has_others(*node, is_sensitive);
            let usage = if is_answer { Usage::RowCount } else { usage };
            let columns = drawn.columns.iter().chain(&drawn.views);
            predicates.extend(columns.filter_map(|column| {
                let holds = filled.max(holds(*column));
                if meeting.is_null_test && !holds.is_some_and(Holds::tells_by_null) {
                    return None;
                }
                let usage = holds.map_or(usage, |holds| holds.usage(usage));
                Some(Predicate { column: *column, usage, guesses: meeting.guesses, asked })
            }));
        }
        // Once, however often a meeting names it.
        let mut once: Vec<Predicate> = predicates.drain(before..).collect();
        once.sort_unstable();
        once.dedup();
        predicates.append(&mut once);
    }
    predicates
}

/// Whether a meeting may be another question each time.
pub(super) fn is_asked_anew(graph: &Graph, meeting: &Meeting, known: &mut Changing) -> bool {
    match &*meeting.sides {
        [] => graph.changes_as_known(&meeting.nodes, false, known),
        sides => graph.changes_as_known(sides, true, known),
    }
}

/// What makes a meeting another question.
fn asked(graph: &Graph, meeting: &Meeting, known: &mut Changing) -> Asked {
    match (is_asked_anew(graph, meeting, known), meeting.is_standing) {
        (true, _) => Asked::Anew,
        (false, true) => Asked::Standing,
        (false, false) => Asked::Said,
    }
}

/// Masked columns that something is computed of.
pub(super) fn computed(tracer: &Tracer<'_>, is_sensitive: &dyn Fn(ColumnId) -> bool) -> Vec<ColumnId> {
    let puts = tracer.puts.iter().map(|put| put.value);
    let mut columns = tracer.graph.columns_of(tracer.facts.computed.iter().copied().chain(puts));
    columns.retain(|column| is_sensitive(*column));
    columns
}

/// Whether masked values with a constant in place of NULL give rows an order or groups.
pub(super) fn sorts_blanked(tracer: &Tracer<'_>, sensitive: &dyn Fn(ColumnId) -> bool) -> bool {
    let blanked = &tracer.facts.blanked;
    let sorts = |usage: Usage| matches!(usage, Usage::Grouping | Usage::Ordering);
    !blanked.is_empty()
        && tracer.graph.meetings.iter().any(|meeting| sorts(meeting.usage))
        && tracer.graph.columns_of(blanked.iter().copied()).into_iter().any(sensitive)
}

//! How many values a statement compares a column with at once.
//!
//! A list of guesses is as many questions as it has guesses, whatever it looks like: `in (…)`, `= any ($1)`, VALUES,
//! `unnest($1)`. One that is long, or whose length nobody knows, is a range in other words: half of all values in a
//! list halve the search. A list in FROM is no affair of this: what meets its rows says how many there are.

use pg_query::{
    NodeEnum,
    protobuf::{self, AExprKind, Node, SelectStmt},
};

use super::{
    ColumnId, Predicate,
    graph::{NodeId, Usage},
    names::{literal, qualified},
    trace::Tracer,
};

/// Longer lists count as ranges; mappers and drivers cut theirs at a thousand.
pub const GUESSES_MAX: u32 = 1_000;

/// What a list in a parameter counts for beside others; more than a few of them are as good as a long one.
const PARAMETER_GUESSES: u32 = GUESSES_MAX / 5;

/// How many values a column is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guesses {
    /// So many.
    Known(u32),
    /// Nobody knows how many.
    Many,
    /// As many as the array in this parameter has elements.
    Parameter(u16),
}

impl Guesses {
    /// Those of a loop: as dear as finding one of a million values by halves.
    pub(super) const LOOP: Self = Self::Known(20 * GUESSES_MAX);
    pub(super) const ONE: Self = Self::Known(1);

    fn count(list: usize) -> Self {
        Self::Known(u32::try_from(list).unwrap_or(u32::MAX))
    }

    /// Whether the list is as good as a range.
    pub(super) fn is_long(self) -> bool {
        match self {
            Self::Known(count) => count > GUESSES_MAX,
            Self::Many => true,
            Self::Parameter(_) => false,
        }
    }
}

impl Predicate {
    /// Notes how many values a column is compared with for equality.
    pub(super) fn asks(&mut self, guesses: Guesses) {
        if self.usage == Usage::Equality {
            self.guesses = guesses;
            self.usage = if guesses.is_long() { Usage::Range } else { Usage::Equality };
        }
    }
}

/// Whether a function makes rows of nothing but what it is given.
pub(super) fn unpacks(name: &str) -> bool {
    name == "unnest" || name.starts_with("json")
}

/// Lists of one statement that are long together are as good as one.
pub(super) fn sum_lists(predicates: &mut [Predicate]) {
    let sum = |of: &[Predicate], column: Option<ColumnId>| {
        let mut parameters = Vec::new();
        let equal = of.iter().filter(|use_| use_.usage == Usage::Equality);
        let lists = equal.filter(|use_| column.is_none_or(|column| use_.column == column));
        let counts = lists.map(|use_| match use_.guesses {
            Guesses::Known(count) => count,
            // The same array in two places is the same guesses.
            Guesses::Parameter(number) if parameters.contains(&number) => 0,
            Guesses::Parameter(number) => {
                parameters.push(number);
                PARAMETER_GUESSES
            }
            Guesses::Many => 0,
        });
        counts.fold(0, u32::saturating_add)
    };
    // Most statements are done here.
    if sum(predicates, None) <= GUESSES_MAX {
        return;
    }
    let mut columns: Vec<ColumnId> = predicates.iter().map(|use_| use_.column).collect();
    columns.sort_unstable();
    columns.dedup();
    for column in columns {
        let guesses = Guesses::Known(sum(predicates, Some(column)));
        let mut equal = predicates.iter_mut().filter(|use_| use_.usage == Usage::Equality);
        if guesses.is_long()
            && let Some(first) = equal.find(|use_| use_.column == column)
        {
            (first.usage, first.guesses) = (Usage::Range, guesses);
        }
    }
}

impl Tracer<'_> {
    /// Of a comparison, the right side of which was read into a value.
    pub(super) fn guesses(&mut self, expression: &protobuf::AExpr, value: Option<NodeId>) -> Guesses {
        let right = expression.rexpr.as_deref();
        if value.is_some_and(|value| self.graph.reads(value)) {
            // What is compared is stored, and met as such.
            return Guesses::ONE;
        }
        match (expression.kind(), right.and_then(|right| right.node.as_ref())) {
            (AExprKind::AexprIn, Some(NodeEnum::List(list))) => Guesses::count(list.items.len()),
            (AExprKind::AexprOpAny | AExprKind::AexprOpAll, _) => self.guesses_of_array(right),
            _ => Guesses::ONE,
        }
    }

    /// Of rows that are inserted: those that are stored are no guesses, nor are those of a document.
    pub(super) fn guesses_of_rows(&mut self, source: Option<&Node>, generates: bool) -> Guesses {
        match self.guesses_of_list(source) {
            Guesses::Many if !generates => Guesses::ONE,
            guesses => guesses,
        }
    }

    /// Of a subquery that reads nothing stored.
    pub(super) fn guesses_of_list(&mut self, query: Option<&Node>) -> Guesses {
        let Some(NodeEnum::SelectStmt(select)) = query.and_then(|query| query.node.as_ref()) else {
            return Guesses::Many;
        };
        if !select.values_lists.is_empty() {
            return Guesses::count(select.values_lists.len());
        }
        let SelectStmt { from_clause, target_list, with_clause: None, larg: None, .. } = &**select else {
            return Guesses::Many;
        };
        match (&**from_clause, &**target_list) {
            ([], [target]) => {
                let value = match target.node.as_ref() {
                    Some(NodeEnum::ResTarget(target)) => target.val.as_deref(),
                    _ => None,
                };
                match value.and_then(|value| value.node.as_ref()) {
                    Some(NodeEnum::FuncCall(call)) => self.guesses_of_call(call),
                    Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::TypeCast(_)) => Guesses::ONE,
                    _ => Guesses::Many,
                }
            }
            ([from], [_]) => match from.node.as_ref() {
                Some(NodeEnum::RangeFunction(function)) => self.guesses_of_function(function),
                Some(NodeEnum::RangeSubselect(query)) => self.guesses_of_list(query.subquery.as_deref()),
                _ => Guesses::Many,
            },
            _ => Guesses::Many,
        }
    }

    /// Of the rows of functions in FROM.
    fn guesses_of_function(&mut self, range: &protobuf::RangeFunction) -> Guesses {
        let [function] = &*range.functions else { return Guesses::Many };
        let Some(NodeEnum::List(parts)) = function.node.as_ref() else { return Guesses::Many };
        match parts.items.first().and_then(|call| call.node.as_ref()) {
            Some(NodeEnum::FuncCall(call)) => self.guesses_of_call(call),
            _ => Guesses::Many,
        }
    }

    fn guesses_of_call(&mut self, call: &protobuf::FuncCall) -> Guesses {
        match &*call.args {
            [array] if qualified(&call.funcname).1 == "unnest" => self.guesses_of_array(Some(array)),
            _ => Guesses::Many,
        }
    }

    fn guesses_of_array(&mut self, array: Option<&Node>) -> Guesses {
        let Some(node) = array else { return Guesses::Many };
        match node.node.as_ref() {
            Some(NodeEnum::AArrayExpr(array)) => Guesses::count(array.elements.len()),
            Some(NodeEnum::ParamRef(parameter)) => {
                u16::try_from(parameter.number).map_or(Guesses::Many, Guesses::Parameter)
            }
            Some(NodeEnum::TypeCast(cast)) => self.guesses_of_array(cast.arg.as_deref()),
            Some(NodeEnum::AConst(_)) => {
                self.facts.needs_literals = true;
                let text = literal(node).unwrap_or_default();
                Guesses::count(text.matches(',').count() + 1)
            }
            Some(NodeEnum::SubLink(link)) => self.guesses_of_list(link.subselect.as_deref()),
            _ => Guesses::Many,
        }
    }
}

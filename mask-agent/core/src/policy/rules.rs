//! What may be done with masked columns besides showing them, and what statements are sent at all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;

use crate::{
    catalog::FIRST_USER_OID,
    lineage::{Asked, ColumnId, GUESSES_MAX, Guesses, Holds, Predicate, Usage},
};

/// What becomes of a use of a masked column that does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// It passes.
    Allow,
    /// It passes as often as the limit says.
    Budget,
    /// It is refused.
    Refuse,
}

/// Whether a kind of statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admission {
    /// It is.
    Allow,
    /// It is not.
    Refuse,
}

/// What becomes of a value made of masked columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Derived {
    /// It is shown as the constant of its type.
    Redact,
    /// The statement is refused.
    Refuse,
}

/// What becomes of a value of a masked column that is put into a column that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// It is put there, and the column is masked from then on.
    Taint,
    /// The statement is refused.
    Refuse,
}

/// What may be done with masked columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Values made of them.
    pub derived: Derived,
    /// Uses that do not show them.
    pub uses: [(Usage, Use); 7],
    /// Values of theirs that are kept elsewhere.
    pub written: Written,
    /// Functions that cannot be read.
    pub opaque: Derived,
    /// CREATE, ALTER, DROP.
    pub definitions: Admission,
    /// Reading and writing large objects.
    pub large_objects: Admission,
    /// EXPLAIN of what uses masked columns.
    pub plans: Admission,
    /// DO and CALL.
    pub procedures: Admission,
    /// SET ROLE and SET SESSION AUTHORIZATION.
    pub roles: Admission,
    /// How many different budgeted uses of one column pass in one window.
    pub budget: u32,
    /// The window.
    pub window: Duration,
    /// Whether a client is told once which columns are masked.
    pub notices: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            derived: Derived::Redact,
            uses: [
                (Usage::Equality, Use::Allow),
                (Usage::Function, Use::Budget),
                (Usage::Grouping, Use::Allow),
                (Usage::Ordering, Use::Allow),
                (Usage::Pattern, Use::Budget),
                (Usage::Range, Use::Budget),
                (Usage::RowCount, Use::Refuse),
            ],
            written: Written::Taint,
            opaque: Derived::Redact,
            definitions: Admission::Allow,
            large_objects: Admission::Allow,
            plans: Admission::Allow,
            procedures: Admission::Allow,
            roles: Admission::Allow,
            budget: BUDGET,
            window: WINDOW,
            notices: false,
        }
    }
}

impl Rules {
    /// What becomes of a use.
    pub fn of(&self, usage: Usage) -> Use {
        self.uses.iter().find(|(known, _)| *known == usage).map_or(Use::Refuse, |(_, what)| *what)
    }
}

/// A search by halves finds an eight-character value in some 50 questions (measured: 74 for eleven); a person
/// or a report asks a handful.
const BUDGET: u32 = 40;
const WINDOW: Duration = Duration::from_mins(10);

/// What may be done with masked columns besides showing them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRules {
    /// Values made of masked columns: `redact` (default) or `refuse`.
    derived: Option<Derived>,
    /// Functions that cannot be read: `redact` (default) or `refuse`.
    opaque: Option<Derived>,
    /// What each kind of predicate is met with: `allow`, `budget` or `refuse`.
    #[serde(default)]
    predicates: BTreeMap<RawUsage, Use>,
    /// Values put into columns that are shown: `taint` (default) masks these from then on; or `refuse`.
    writes: Option<Written>,
}

/// A way to use a column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawUsage {
    Equality,
    Function,
    Grouping,
    Ordering,
    Pattern,
    Range,
    RowCount,
}

/// Which kinds of statements are sent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStatements {
    /// CREATE, ALTER, DROP and their like: `allow` (default) or `refuse`.
    definitions: Option<Admission>,
    /// Reading large objects, and the function call message, which is for large objects only: `allow` (default) or
    /// `refuse`.
    large_objects: Option<Admission>,
    /// EXPLAIN of a statement that compares, sorts or groups masked columns, for estimates tell how many rows have a
    /// value: `allow` (default) or `refuse`.
    plans: Option<Admission>,
    /// DO and CALL: `allow` (default) or `refuse`.
    procedures: Option<Admission>,
    /// SET ROLE and SET SESSION AUTHORIZATION but back to the login's own: `allow` (default) or `refuse`.
    roles: Option<Admission>,
}

/// How much is too much.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Different budgeted predicates on one masked column in one window.
    predicates: Option<u32>,
    /// Length of the window, in minutes.
    window_minutes: Option<u32>,
}

impl RawRules {
    pub(super) fn rules(
        raw: Option<Self>,
        statements: &RawStatements,
        limits: &RawLimits,
        notices: bool,
    ) -> Rules {
        let mut rules = Rules { notices, ..Rules::default() };
        if let Some(raw) = raw {
            rules.derived = raw.derived.unwrap_or(rules.derived);
            rules.opaque = raw.opaque.unwrap_or(rules.opaque);
            rules.written = raw.writes.unwrap_or(rules.written);
            for (usage, what) in raw.predicates {
                let usage = match usage {
                    RawUsage::Equality => Usage::Equality,
                    RawUsage::Function => Usage::Function,
                    RawUsage::Grouping => Usage::Grouping,
                    RawUsage::Ordering => Usage::Ordering,
                    RawUsage::Pattern => Usage::Pattern,
                    RawUsage::Range => Usage::Range,
                    RawUsage::RowCount => Usage::RowCount,
                };
                for known in &mut rules.uses {
                    if known.0 == usage {
                        known.1 = what;
                    }
                }
            }
        }
        rules.definitions = statements.definitions.unwrap_or(rules.definitions);
        rules.large_objects = statements.large_objects.unwrap_or(rules.large_objects);
        rules.plans = statements.plans.unwrap_or(rules.plans);
        rules.procedures = statements.procedures.unwrap_or(rules.procedures);
        rules.roles = statements.roles.unwrap_or(rules.roles);
        rules.budget = limits.predicates.unwrap_or(rules.budget);
        if let Some(minutes) = limits.window_minutes {
            rules.window = Duration::from_mins(u64::from(minutes.max(1)));
        }
        rules
    }
}

/// A use of a masked column that costs budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Budgeted {
    /// The column.
    pub column: ColumnId,
    /// What it costs.
    pub cost: Cost,
    /// What else is counted with it: all that was made of masked columns is, because any number of columns can be.
    pub counted: ColumnId,
    /// What makes it another question.
    pub asked: Asked,
    /// A hash of the definitions its statement names.
    pub definitions: u64,
}

/// What is made of masked columns is counted as this one, and so is what the server has in columns of its own: statements
/// with a value in them stand in several, and statistics of a column in many.
const TOGETHER: ColumnId = ColumnId { relation: 0, number: 0 };

/// What a use costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// One for each element of the array in this parameter.
    Elements(u16),
    /// So much.
    Fixed(u32),
    /// One for each further [`GUESSES_MAX`] elements of the array in this parameter.
    Thousands(u16),
}

impl Cost {
    /// What it comes to, where the array in a parameter has so many elements.
    pub fn of(self, elements: impl Fn(u16) -> u32) -> u32 {
        match self {
            Self::Elements(parameter) => elements(parameter),
            Self::Fixed(cost) => cost,
            Self::Thousands(parameter) => elements(parameter).saturating_sub(1) / GUESSES_MAX,
        }
    }
}

impl Budgeted {
    /// What a use of a masked column costs; none where it costs nothing.
    pub(super) fn of(
        use_: &Predicate,
        holds: Option<Holds>,
        definitions: u64,
        rules: &Rules,
    ) -> Option<Self> {
        let Predicate { column, usage, guesses, asked } = use_;
        let cost = match (rules.of(*usage), usage, guesses) {
            (Use::Budget, Usage::Equality, Guesses::Known(count)) => Cost::Fixed(*count),
            (Use::Budget, Usage::Equality, Guesses::Parameter(number)) => Cost::Elements(*number),
            // A long list is a range, whose length is known too late for that.
            (Use::Allow, Usage::Equality, Guesses::Parameter(number))
                if rules.of(Usage::Range) != Use::Allow =>
            {
                Cost::Thousands(*number)
            }
            (Use::Budget, Usage::Range, Guesses::Known(count)) => Cost::Fixed((count / GUESSES_MAX).max(1)),
            (Use::Budget, _, _) => Cost::Fixed(1),
            (Use::Allow | Use::Refuse, _, _) => return None,
        };
        let is_made = holds >= Some(Holds::Derived);
        let counted = if is_made { TOGETHER } else { *column };
        Some(Self { column: *column, cost, counted, asked: *asked, definitions })
    }
}

/// Statements that did not fail which are told apart, for each column: what fails after them tells 14 bits at most.
const SUCCESSES_MAX: usize = 1 << 14;

/// What all connections of a login have asked of masked columns lately.
#[derive(Debug, Default)]
pub struct Budget {
    windows: Mutex<HashMap<(ColumnId, Question), Window>>,
    redefinitions: AtomicU64,
    unlike: AtomicU64,
}

/// What is counted, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// A statement that computed something of the column has failed.
    Failure,
    /// A predicate on it.
    Predicate,
}

#[derive(Debug)]
struct Window {
    since: Duration,
    asked: HashSet<[u8; 16]>,
    spent: u32,
    is_told: bool,
}

impl Window {
    fn refuse(&mut self) -> Charge {
        if std::mem::replace(&mut self.is_told, true) { Charge::Refused } else { Charge::Spent }
    }
}

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It is within the budget.
    Granted,
    /// It is one too many, and not the first of its window.
    Refused,
    /// It is the first of its window that is one too many.
    Spent,
}

impl Budget {
    /// A number that no question has had.
    pub fn unlike(&self) -> u64 {
        self.unlike.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a definition by which words may mean something else than before.
    pub fn redefine(&self) {
        self.redefinitions.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there have been.
    pub fn redefinitions(&self) -> u64 {
        self.redefinitions.load(Ordering::Relaxed)
    }

    /// Takes what a predicate costs, for the same one once. `now` is on one clock for all.
    pub fn take(
        &self,
        column: ColumnId,
        question: [u8; 16],
        cost: u32,
        rules: &Rules,
        now: Duration,
    ) -> Charge {
        self.within(column, Question::Predicate, rules, now, |window| {
            if cost == 0 || window.asked.contains(&question) {
                return Charge::Granted;
            }
            if window.spent.saturating_add(cost) <= rules.budget {
                window.spent += cost;
                window.asked.insert(question);
                return Charge::Granted;
            }
            window.refuse()
        })
    }

    /// Counts a statement that computed something of a column and failed, after it had given so many rows: as many bits
    /// as that may have told, because others before it have not failed.
    pub fn fail(&self, column: ColumnId, rows: u64, rules: &Rules, now: Duration) -> Charge {
        self.within(column, Question::Failure, rules, now, |window| {
            let others = window.asked.len() as u64;
            window.asked.clear();
            let bits = (others + 1).ilog2() + (rows.saturating_add(1)).ilog2();
            window.spent = window.spent.saturating_add(bits.max(1));
            if window.spent <= rules.budget { Charge::Granted } else { window.refuse() }
        })
    }

    /// Takes note of a statement that computed something of a column and did not fail.
    pub fn succeeds(&self, column: ColumnId, question: [u8; 16], rules: &Rules, now: Duration) {
        self.within(column, Question::Failure, rules, now, |window| {
            if window.asked.len() < SUCCESSES_MAX {
                window.asked.insert(question);
            }
        });
    }

    /// Whether another statement may compute something of a column.
    pub fn computes(&self, column: ColumnId, rules: &Rules, now: Duration) -> Charge {
        self.within(column, Question::Failure, rules, now, |window| {
            if window.spent < rules.budget { Charge::Granted } else { window.refuse() }
        })
    }

    fn within<T>(
        &self,
        column: ColumnId,
        question: Question,
        rules: &Rules,
        now: Duration,
        charge: impl FnOnce(&mut Window) -> T,
    ) -> T {
        let column = if column.relation < FIRST_USER_OID { TOGETHER } else { column };
        let mut columns = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Window { since: now, asked: HashSet::new(), spent: 0, is_told: false };
        let window = columns.entry((column, question)).or_insert_with(new);
        if now.saturating_sub(window.since) > rules.window {
            *window = new();
        }
        charge(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMN: ColumnId = ColumnId { relation: 20_001, number: 1 };

    #[test]
    fn a_blind_search_ends_with_its_budget_and_a_repeated_question_costs_nothing() {
        let rules = Rules { budget: 2, ..Rules::default() };
        let budget = Budget::default();
        let ask =
            |question: u8, at: u64| budget.take(COLUMN, [question; 16], 1, &rules, Duration::from_secs(at));
        for (question, at) in [(1, 0), (1, 1), (2, 2)] {
            assert_eq!(ask(question, at), Charge::Granted);
        }
        assert_ne!(ask(3, 3), Charge::Granted);
        assert_eq!(ask(1, 4), Charge::Granted);
        assert_ne!(ask(3, 600), Charge::Granted);
        assert_eq!(ask(3, 601), Charge::Granted);
    }

    #[test]
    fn what_is_made_of_masked_columns_is_counted_together() {
        let use_ =
            Predicate { column: COLUMN, usage: Usage::Range, guesses: Guesses::Known(1), asked: Asked::Said };
        let counted = |holds| Budgeted::of(&use_, holds, 0, &Rules::default()).unwrap().counted;
        for holds in [None, Some(Holds::Copies), Some(Holds::Paired)] {
            assert_eq!(counted(holds), COLUMN, "{holds:?}");
        }
        for holds in [Holds::Derived, Holds::Mixed] {
            assert_eq!(counted(Some(holds)), TOGETHER, "{holds:?}");
        }
    }

    /// Each of the server's columns that shows a statement had a budget of its own, so that a value was found in four times
    /// as many steps as are allowed.
    #[test]
    fn columns_of_the_servers_own_are_counted_together_and_others_by_themselves() {
        let rules = Rules { budget: 2, ..Rules::default() };
        let budget = Budget::default();
        let (server, user) =
            (|relation| ColumnId { relation, number: 5 }, |number| ColumnId { relation: 20_001, number });
        let take = |column, question| budget.take(column, [question; 16], 1, &rules, Duration::ZERO);
        let fail = |column| budget.fail(column, 0, &rules, Duration::ZERO);
        for number in [1, 2] {
            assert_eq!(take(server(12_000 + u32::from(number)), number), Charge::Granted);
            assert_eq!(fail(server(12_000 + u32::from(number))), Charge::Granted);
        }
        assert_ne!(take(server(12_003), 3), Charge::Granted);
        assert_ne!(fail(server(12_003)), Charge::Granted);
        assert_eq!(take(server(12_003), 1), Charge::Granted, "the same question");
        for number in [1, 2, 3] {
            assert_eq!((take(user(number), 3), fail(user(number))), (Charge::Granted, Charge::Granted));
        }
        let first = ColumnId { relation: FIRST_USER_OID, number: 1 };
        assert_eq!((take(first, 3), fail(first)), (Charge::Granted, Charge::Granted));
    }

    #[test]
    fn definitions_are_counted_and_questions_like_no_other_have_numbers() {
        let budget = Budget::default();
        assert_ne!(budget.unlike(), budget.unlike());
        budget.redefine();
        budget.redefine();
        assert_eq!(budget.redefinitions(), 2);
    }

    #[test]
    fn statements_fail_within_a_budget_of_their_own_and_compute_no_more_beyond_it() {
        let rules = Rules { budget: 2, ..Rules::default() };
        let budget = Budget::default();
        let at = Duration::from_secs;
        assert_eq!(budget.computes(COLUMN, &rules, at(0)), Charge::Granted);
        assert_eq!(budget.fail(COLUMN, 0, &rules, at(0)), Charge::Granted);
        assert_eq!(budget.computes(COLUMN, &rules, at(1)), Charge::Granted);
        assert_eq!(budget.fail(COLUMN, 0, &rules, at(1)), Charge::Granted);
        assert_eq!(
            [budget.computes(COLUMN, &rules, at(2)), budget.computes(COLUMN, &rules, at(3))],
            [Charge::Spent, Charge::Refused]
        );
        assert_eq!(budget.fail(COLUMN, 0, &rules, at(4)), Charge::Refused);
        assert_eq!(budget.take(COLUMN, [1; 16], 2, &rules, at(5)), Charge::Granted);
        let other = ColumnId { number: 2, ..COLUMN };
        assert_eq!(budget.computes(other, &rules, at(5)), Charge::Granted);
        assert_eq!(budget.computes(COLUMN, &rules, at(601)), Charge::Granted);
    }

    #[test]
    fn a_failure_tells_the_more_the_more_has_not_failed_before_it() {
        let rules = Rules { budget: 9, ..Rules::default() };
        let budget = Budget::default();
        let now = Duration::ZERO;
        for question in (0..63).chain(0..63) {
            budget.succeeds(COLUMN, [question; 16], &rules, now);
        }
        assert_eq!(budget.fail(COLUMN, 0, &rules, now), Charge::Granted);
        // That took six, and these take one and two.
        assert_eq!(budget.fail(COLUMN, 0, &rules, now), Charge::Granted);
        assert_eq!(budget.fail(COLUMN, 3, &rules, now), Charge::Granted);
        assert_ne!(budget.computes(COLUMN, &rules, now), Charge::Granted);
        let other = ColumnId { number: 2, ..COLUMN };
        budget.succeeds(other, [1; 16], &rules, now);
        assert_eq!(budget.computes(other, &rules, now), Charge::Granted);
    }

    #[test]
    fn a_spent_budget_is_told_once_for_each_column_and_window() {
        let rules = Rules { budget: 1, ..Rules::default() };
        let budget = Budget::default();
        let ask = |number: i16, question: u8, at: u64| {
            let column = ColumnId { number, ..COLUMN };
            budget.take(column, [question; 16], 1, &rules, Duration::from_secs(at))
        };
        assert_eq!(
            [ask(1, 1, 0), ask(1, 2, 1), ask(1, 3, 2)],
            [Charge::Granted, Charge::Spent, Charge::Refused]
        );
        assert_eq!([ask(2, 1, 3), ask(2, 2, 4)], [Charge::Granted, Charge::Spent]);
        assert_eq!([ask(1, 1, 700), ask(1, 2, 701)], [Charge::Granted, Charge::Spent]);
    }
}

//! What a statement asks of masked columns, and whether the login's budget allows it.
//!
//! A statement that was given a name asks when it is run, with what it is given then: by Bind, or by EXECUTE.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{
    error::{Fault, is_about_text, sqlstate},
    frame::Fields,
    frontend::STATEMENTS_MAX,
    queue::{Analysed, Reply, Statement},
    record::Current,
    session::PostgresSession,
};
use crate::{
    audit::{Alert, Event},
    lineage::{Asked, ColumnId, Keeps, Usage, is_relative_time},
    policy::{self, Budgeted, Charge, Denial, Snapshot, Use},
    session::Outbox,
};

impl PostgresSession {
    /// Whether the budget allows what a statement asks of masked columns, by the name it was prepared under and
    /// with these parameters. A policy that only observes counts as well.
    pub(super) fn affords(
        &self,
        statement: &Statement,
        name: &[u8],
        parameters: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let analysed = &statement.analysed;
        let executed = analysed.executes.iter().map(String::as_bytes);
        let named = executed.chain(Some(name)).filter(|name| !name.is_empty());
        let kept = named.flat_map(|name| self.uses_of(name)).filter(|use_| !analysed.budgeted.contains(use_));
        self.may_fail(snapshot, &analysed.computes, out)?;
        for (index, use_) in analysed.budgeted.iter().chain(kept).enumerate() {
            let mut hash = Sha256::new();
            hash.update(use_.definitions.to_be_bytes());
            hash.update(snapshot.budget.redefinitions().to_be_bytes());
            hash.update(self.meaning.hash());
            if use_.asked != Asked::Standing {
                hash.update(statement.sql.as_bytes());
                hash.update([0]);
                hash.update(parameters);
                hash.update(index.to_be_bytes());
            }
            let is_anew = use_.asked == Asked::Anew || analysed.asks_by_data;
            if is_anew || self.meaning.is_restless() || use_.asked == Asked::Said && gives_time(parameters) {
                hash.update(snapshot.budget.unlike().to_be_bytes());
            }
            let question = short(hash);
            let cost = use_.cost.of(|number| elements(parameters, number, &statement.sql));
            let charge = snapshot.budget.take(use_.counted, question, cost, &snapshot.rules, out.now);
            if charge == Charge::Spent {
                out.events.push(self.alert(snapshot, Alert::PredicateBudget, use_.column));
            }
            if charge != Charge::Granted && self.enforces() {
                let denial = Denial::spent(use_.column, &snapshot.catalog, &snapshot.rules);
                return Err(Fault::denied(&denial, &snapshot.catalog));
            }
        }
        Ok(())
    }

    /// Whether statements that compute something of these columns may still fail: who sees them fail learns a bit of a
    /// value each time.
    fn may_fail(&self, snapshot: &Snapshot, columns: &[ColumnId], out: &mut Outbox) -> Result<(), Fault> {
        if snapshot.rules.of(Usage::Function) == Use::Allow {
            return Ok(());
        }
        for column in columns {
            let charge = snapshot.budget.computes(*column, &snapshot.rules, out.now);
            if charge == Charge::Spent {
                out.events.push(self.alert(snapshot, Alert::ErrorBudget, *column));
            }
            if charge != Charge::Granted && self.enforces() {
                let denial = Denial::failing(*column, &snapshot.catalog);
                return Err(Fault::denied(&denial, &snapshot.catalog));
            }
        }
        Ok(())
    }

    /// Counts what the server has answered with this error against the columns that it may tell of; what is said where it
    /// was one too many, as of statements that were sent before the others had failed.
    pub(super) fn counts_error(&self, body: &[u8], out: &mut Outbox) -> Option<Fault> {
        let snapshot = self.snapshot.as_ref().filter(|all| all.rules.of(Usage::Function) != Use::Allow);
        let (snapshot, statement) = (snapshot?, self.head_statement()?);
        let source = self.source().map(|source| source.analysed);
        let all = [Some(&statement.analysed), source.as_ref()];
        let all = || all.into_iter().flatten();
        // Code of users is run when a statement is planned, and gives its errors what SQLSTATE it likes. So do functions
        // of the server's that are called where a value decides: `currval`, `nextval` in a transaction that only reads.
        let runs_code = all().any(|one| one.calls_user_code || one.reaches || one.command == "DoStmt");
        let runs = matches!(self.queue.head(), Some(Reply::Execute { .. } | Reply::Simple { .. }));
        let tells_nothing = || sqlstate(body).is_some_and(|state| tells_nothing(&state));
        if is_about_text(b'E', body) || !runs_code && (!runs || tells_nothing()) {
            return None;
        }
        let mut columns: Vec<ColumnId> = all().flat_map(|one| &one.computes).copied().collect();
        columns.sort_unstable();
        columns.dedup();
        // Each row that came has not failed.
        let rows = self.current.as_ref().map_or(0, Current::rows);
        let mut over = None;
        for column in columns {
            let charge = snapshot.budget.fail(column, rows, &snapshot.rules, out.now);
            if charge == Charge::Spent {
                out.events.push(self.alert(snapshot, Alert::ErrorBudget, column));
            }
            over = over.or((charge != Charge::Granted).then_some(column));
        }
        let denial = Denial::failing(over.filter(|_| self.enforces())?, &snapshot.catalog);
        Some(Fault { severity: "FATAL", ..Fault::denied(&denial, &snapshot.catalog) })
    }

    /// Takes note of what the statement at the head of the queue has computed without failing: which one fails after it
    /// tells the more.
    pub(super) fn counts_success(&self, is_part: bool, now: Duration) {
        let snapshot = self.snapshot.as_ref().filter(|all| all.rules.of(Usage::Function) != Use::Allow);
        let (Some(snapshot), Some(statement)) = (snapshot, self.head_statement()) else { return };
        let analysed = &statement.analysed;
        let names = matches!(analysed.command, "ExecuteStmt" | "ExplainStmt" | "FetchStmt");
        let source = names.then(|| self.source()).flatten().map(|source| source.analysed);
        let computes = analysed.computes.iter().chain(source.iter().flat_map(|source| &source.computes));
        let mut computes = computes.peekable();
        if computes.peek().is_none() {
            return;
        }
        let mut hash = Sha256::new();
        hash.update(statement.sql.as_bytes());
        hash.update([0]);
        hash.update(statement.parameters);
        hash.update(snapshot.budget.redefinitions().to_be_bytes());
        hash.update(self.meaning.hash());
        if is_part || analysed.command == "FetchStmt" {
            hash.update(snapshot.budget.unlike().to_be_bytes());
        }
        let question = short(hash);
        for column in computes {
            snapshot.budget.succeeds(*column, question, &snapshot.rules, now);
        }
    }

    fn alert(&self, snapshot: &Snapshot, alert: Alert, column: ColumnId) -> Event {
        let login = self.login.as_ref();
        Event::Alert {
            alert,
            user: login.map(|login| login.user.clone()).unwrap_or_default(),
            database: login.map(|login| login.database.clone()).unwrap_or_default(),
            column: policy::column_name(&snapshot.catalog, column),
            asked: snapshot.rules.budget,
            window_s: snapshot.rules.window.as_secs(),
        }
    }

    /// Keeps what statements ask that are given names by PREPARE.
    pub(super) fn keep_uses(&mut self, analysed: &Analysed) {
        for part in &analysed.parts {
            if let Some(Keeps::Prepared(name)) = &part.keeps {
                self.keep_uses_of(name.as_bytes(), &part.budgeted);
            }
        }
    }

    /// Keeps what a statement asks that is given a name, beside what another asked under it: which of them the
    /// server has is only known once it has answered.
    pub(super) fn keep_uses_of(&mut self, name: &[u8], uses: &[Budgeted]) {
        if uses.is_empty() || name.is_empty() {
            return;
        }
        // Beyond the limit, all names ask what any does.
        let is_full = self.uses.len() >= STATEMENTS_MAX && !self.uses.contains_key(name);
        let kept = self.uses.entry(if is_full { Vec::new() } else { name.to_vec() }).or_default();
        kept.extend_from_slice(uses);
        kept.sort_unstable();
        kept.dedup();
    }

    fn uses_of(&self, name: &[u8]) -> impl Iterator<Item = &Budgeted> {
        [name, b""].into_iter().filter_map(|name| self.uses.get(name)).flatten()
    }
}

fn short(hash: Sha256) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// Whether a parameter says a time by when it is read, which a statement may compute with. A binary one does not, but may
/// look as if it did.
fn gives_time(parameters: &[u8]) -> bool {
    let given = || -> Option<bool> {
        let mut fields = Fields::new(parameters);
        let formats = usize::try_from(fields.int16()?).ok()?;
        fields.bytes(formats * 2)?;
        for _ in 0..fields.int16()?.cast_unsigned() {
            let length = fields.int32()?;
            if length != -1 && is_relative_time(fields.bytes(usize::try_from(length).ok()?)?) {
                return Some(true);
            }
        }
        Some(false)
    };
    !parameters.is_empty() && given().unwrap_or(true)
}

/// SQLSTATEs that no value decides on: of connections, transactions, locks, operators and privileges.
fn tells_nothing(state: &str) -> bool {
    ["08", "25", "40", "42501", "55", "57P"].iter().any(|known| state.starts_with(known))
}

/// Elements of the array in a parameter, by the parameters as Bind has them. EXECUTE has none: there no array has more
/// than the text has commas.
fn elements(parameters: &[u8], number: u16, sql: &str) -> u32 {
    let count = |text: &[u8]| u32::try_from(text.split(|byte| *byte == b',').count()).unwrap_or(u32::MAX);
    if parameters.is_empty() {
        return count(sql.as_bytes());
    }
    match parameter(parameters, number) {
        None => u32::MAX,
        Some((_, None)) => 0,
        Some((0, Some(text))) => count(text),
        Some((_, Some(array))) => dimensions(array).unwrap_or(u32::MAX),
    }
}

/// A parameter's format and value; an outer none where there is none of this number.
pub(super) fn parameter(parameters: &[u8], number: u16) -> Option<(i16, Option<&[u8]>)> {
    let mut fields = Fields::new(parameters);
    let formats = usize::try_from(fields.int16()?).ok()?;
    let formats: Vec<i16> = (0..formats).map(|_| fields.int16()).collect::<Option<_>>()?;
    let count = fields.int16()?.cast_unsigned();
    for index in 0..count {
        let length = fields.int32()?;
        let value = if length == -1 { None } else { Some(fields.bytes(usize::try_from(length).ok()?)?) };
        if index + 1 == number {
            let format = match *formats {
                [] => 0,
                [one] => one,
                [..] => *formats.get(usize::from(index))?,
            };
            return Some((format, value));
        }
    }
    None
}

/// Elements of an array in its binary form.
fn dimensions(array: &[u8]) -> Option<u32> {
    let mut fields = Fields::new(array);
    let (dimensions, _flags, _type) = (fields.int32()?, fields.int32()?, fields.int32()?);
    let mut elements = u32::from(dimensions > 0);
    for _ in 0..dimensions {
        let (length, _bound) = (fields.int32()?, fields.int32()?);
        elements = elements.saturating_mul(u32::try_from(length).ok()?);
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters as Bind has them, all in one format.
    fn bound(format: u8, values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, format, 0, values.len() as u8];
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(value.unwrap_or_default());
        }
        bytes
    }

    #[test]
    fn an_array_in_a_parameter_is_as_many_guesses_as_it_has_elements() {
        let text = bound(0, &[Some(b"1"), Some(b"{a,b,c}"), None]);
        assert_eq!([2, 3].map(|number| elements(&text, number, "")), [3, 0]);
        let two: Vec<u8> = [1, 0, 25, 2, 1].into_iter().flat_map(i32::to_be_bytes).collect();
        let none: Vec<u8> = [0, 0, 25].into_iter().flat_map(i32::to_be_bytes).collect();
        let binary = bound(1, &[Some(&two), Some(&none)]);
        assert_eq!([1, 2].map(|number| elements(&binary, number, "")), [2, 0]);
    }

    #[test]
    fn what_cannot_be_counted_is_more_than_any_budget() {
        let broken = bound(1, &[Some(b"abc")]);
        assert_eq!(elements(&broken, 1, ""), u32::MAX);
        assert_eq!(elements(&broken, 2, ""), u32::MAX);
        let negative: Vec<u8> = [1, 0, 25, -2, 1].into_iter().flat_map(i32::to_be_bytes).collect();
        assert_eq!(elements(&bound(1, &[Some(&negative)]), 1, ""), u32::MAX);
        assert_eq!(elements(b"", 1, "execute s('{a,b}')"), 2);
    }
}

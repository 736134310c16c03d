//! Which statements a message runs besides the one it was sent with.
//!
//! A name may stand for another statement than the last one sent under it: its Parse may have failed, or been
//! skipped. And EXECUTE names a statement that may mean something else than when it was prepared.

use std::sync::Arc;

use super::{
    error::{Fault, REFUSED},
    outputs::Source,
    queue::{Analysed, Prepared, Reply, Statement},
    ruling::ruled_plan,
    session::PostgresSession,
    tokens::stale,
};
use crate::{
    lineage::Keeps,
    masking::CellRule,
    policy::{ColumnRuling, Rows, Ruled, earlier_plan},
    session::Outbox,
};

impl PostgresSession {
    /// What the server may have under a name in place of what was sent last.
    pub(super) fn doubtful(&self, name: &[u8]) -> Vec<Statement> {
        let sent = self.sent.get(name);
        let known = self.prepared.get(name).map(|prepared| &prepared.statement);
        let is_sent =
            |statement: &Statement| sent.is_some_and(|sent| Arc::ptr_eq(&sent.statement.sql, &statement.sql));
        // Where its Parse fails, the server skips what follows up to the Sync.
        if sent.is_some_and(|sent| sent.run == Some(self.run)) || known.is_some_and(is_sent) {
            return Vec::new();
        }
        let mut others: Vec<Statement> = Vec::new();
        for statement in known.into_iter().chain(self.queue.parsed(name)) {
            let is_new = others.iter().all(|other| other.sql != statement.sql);
            if is_new && !is_sent(statement) {
                others.push(self.afresh(statement));
            }
        }
        others
    }

    /// A prepared statement as it is bound, given what was last sent under its name.
    pub(super) fn bound(&self, mut prepared: Prepared, sent: Option<Statement>, epoch: u64) -> Prepared {
        let known = &prepared.statement;
        let now = sent.filter(|sent| sent.sql == known.sql).or_else(|| {
            let analysed = self.anew(&known.sql).filter(|_| prepared.epoch != epoch)?;
            Some(Statement { analysed, ..known.clone() })
        });
        if let Some(statement) = now {
            prepared.statement = statement;
            prepared.epoch = epoch;
        }
        prepared
    }

    pub(super) fn source_of(prepared: &Prepared) -> Source {
        Source { analysed: prepared.statement.analysed.clone(), part: prepared.part }
    }

    /// The statement of a portal. Its names mean what they meant when it was opened, but what they call runs as it is
    /// defined by now: none, where that shows other columns.
    pub(super) fn settled(&self, prepared: &Prepared) -> Option<Source> {
        let kept = Self::source_of(prepared);
        if prepared.epoch == self.epoch || !prepared.statement.analysed.calls_user_code {
            return Some(kept);
        }
        let now = self.anew(&prepared.statement.sql)?;
        let is_same = shows_same(kept.rows()?, &now.parts.get(prepared.part)?.rows);
        is_same.then_some(kept)
    }

    /// What the plan of a prepared statement tells, which is what EXPLAIN of it would; none where that was planned by
    /// other definitions, of functions whose results the server has kept in it.
    pub(super) fn plan_of(&self, name: &str) -> Option<Source> {
        let prepared = self.prepared.get(name.as_bytes())?;
        let is_settled = prepared.epoch == self.epoch;
        let path = if is_settled { self.path.clone() } else { None };
        let analysed = self.explained(&prepared.statement.sql, prepared.part, path)?;
        let calls = prepared.statement.analysed.calls_user_code || analysed.calls_user_code;
        (is_settled || !calls).then(|| Source { analysed: Arc::new(analysed), part: prepared.part })
    }

    fn explained(&self, sql: &str, part: usize, path: Option<Vec<String>>) -> Option<Analysed> {
        ruled_plan(sql, part, self.snapshot.as_ref()?, path, &self.overlay)
    }

    /// Why the plan of a prepared statement is not asked for, whichever this one may mean by its name. Of one that
    /// nobody knows, no plan is shown.
    pub(super) fn admits_plans(&self, statement: &Statement) -> Result<(), Fault> {
        for part in &statement.analysed.parts {
            let Rows::Plan(name) = &part.rows else { continue };
            let known = self.prepared.get(name.as_bytes()).map(|known| (&known.statement, known.epoch));
            let sent = self.sent.get(name.as_bytes()).map(|sent| (&sent.statement, sent.epoch));
            // What stands before in the same string changes what names mean.
            let own = (statement.analysed.parts.len() > 1).then_some((statement, u64::MAX));
            for (statement, epoch) in [known, sent, own].into_iter().flatten() {
                if let Some(fault) = self.plan_refusal(statement, name, epoch == self.epoch) {
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn plan_refusal(&self, statement: &Statement, name: &str, is_settled: bool) -> Option<Fault> {
        let keeps = |part: &Ruled| matches!(&part.keeps, Some(Keeps::Prepared(kept)) if kept == name);
        let parts = &statement.analysed.parts;
        let part = parts.iter().rposition(keeps).or((parts.len() == 1).then_some(0))?;
        let explained = self.explained(&statement.sql, part, self.path.clone())?;
        self.refusal(&explained).or_else(|| {
            let calls = statement.analysed.calls_user_code || explained.calls_user_code;
            let snapshot = self.snapshot.as_ref().filter(|_| self.enforces() && calls && !is_settled)?;
            Some(Fault::denied(&earlier_plan(&snapshot.rules)?, &snapshot.catalog))
        })
    }

    /// Whether rows are due of a portal whose statement is not as it was.
    pub(super) fn runs_unsettled(&self) -> bool {
        let name = match self.queue.head() {
            Some(Reply::Execute { portal }) => portal.as_slice(),
            Some(Reply::Simple { statement, part, .. }) => match statement.analysed.parts.get(*part) {
                Some(Ruled { rows: Rows::Cursor(name), .. }) => name.as_bytes(),
                _ => return false,
            },
            _ => return false,
        };
        self.portals.get(name).is_some_and(|portal| self.settled(&portal.prepared).is_none())
    }

    /// Statements that EXECUTE names.
    pub(super) fn run_by(&self, analysed: &Analysed) -> Vec<Statement> {
        let of = |name: &String| {
            let prepared = self.prepared.get(name.as_bytes());
            let known = prepared.filter(|prepared| prepared.epoch == self.epoch);
            // What it has said of itself when it was prepared holds.
            let stale = known.is_none_or(|known| !known.statement.analysed.positions.is_empty());
            let sent = self.sent.get(name.as_bytes()).map(|sent| &sent.statement);
            let statement = prepared.map(|prepared| &prepared.statement).or(sent).filter(|_| stale)?;
            Some(self.afresh(statement))
        };
        analysed.executes.iter().filter_map(of).collect()
    }

    /// A statement as its names are now.
    fn afresh(&self, statement: &Statement) -> Statement {
        let analysed = self.anew(&statement.sql).unwrap_or_else(|| statement.analysed.clone());
        Statement { analysed, ..statement.clone() }
    }

    /// Remembers what these put where; false while it is not yet remembered for good.
    pub(super) fn remember(&mut self, statements: &[Statement], out: &mut Outbox) -> bool {
        statements.iter().all(|statement| self.remembers(&statement.analysed, out))
    }

    /// Why one of these may not run.
    pub(super) fn admit(
        &self,
        statements: &[Statement],
        parameters: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        for statement in statements {
            if let Some(fault) = self.refusal(&statement.analysed) {
                return Err(fault);
            }
            let still_turns =
                || self.now(&statement.sql).is_some_and(|analysed| self.still_turns(statement, &analysed));
            if statement.turned.is_some() && self.enforces() && !still_turns() {
                return Err(stale());
            }
            self.affords(statement, b"", parameters, out)?;
            self.stands(&statement.analysed)?;
        }
        Ok(())
    }

    /// The same for one that is no PREPARE, which runs nothing yet.
    pub(super) fn admits(&self, analysed: &Analysed) -> Result<(), Fault> {
        let prepares = analysed.parts.iter().any(|part| matches!(part.keeps, Some(Keeps::Prepared(_))));
        if prepares { Ok(()) } else { self.stands(analysed) }
    }

    /// Which row a cursor stands on tells by what it was chosen.
    fn stands(&self, analysed: &Analysed) -> Result<(), Fault> {
        let open = |name: &String| {
            let own =
                analysed.parts.iter().rev().find(
                    |part| matches!(&part.keeps, Some(Keeps::Cursor { name: kept, .. }) if kept == name),
                );
            let rows = own.map(|part| &part.rows).or_else(|| {
                let prepared = &self.portals.get(name.as_bytes())?.prepared;
                prepared.statement.analysed.parts.get(prepared.part).map(|part| &part.rows)
            });
            rows.is_some_and(is_told)
        };
        if !self.enforces() || analysed.positions.iter().all(open) {
            return Ok(());
        }
        Err(Fault::refusal(
            REFUSED,
            "position",
            "the row of this cursor was chosen by values of masked columns",
            "Name the row by its key.",
        ))
    }
}

/// Whether the same columns are clear by both.
fn shows_same(one: &Rows, other: &Rows) -> bool {
    let is_clear = |column: &ColumnRuling| matches!(column.cell, CellRule::Clear);
    match (one, other) {
        (Rows::Columns(one), Rows::Columns(other)) => one.iter().map(is_clear).eq(other.iter().map(is_clear)),
        (Rows::Each(one), Rows::Each(other)) => is_clear(one) == is_clear(other),
        (Rows::None, Rows::None) => true,
        (
            Rows::Columns(_)
            | Rows::Cursor(_)
            | Rows::Each(_)
            | Rows::None
            | Rows::Plan(_)
            | Rows::Prepared(_),
            _,
        ) => false,
    }
}

/// Whether rows are there whatever masked columns hold, as far as anybody can tell.
fn is_told(rows: &Rows) -> bool {
    let tells = |column: &ColumnRuling| matches!(&*column.rule, "builtin:implied" | "builtin:untraceable");
    match rows {
        Rows::Columns(columns) => !columns.iter().any(tells),
        Rows::Each(column) => !tells(column),
        Rows::Cursor(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => false,
    }
}

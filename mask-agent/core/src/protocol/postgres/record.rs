//! What the audit trail is told of the statement whose reply is arriving.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use super::{error::Fault, queue::Reply, session::PostgresSession};

use crate::{
    audit::{Event, MaskedColumn},
    masking::RowPlan,
    session::Outbox,
};

/// Sets of masked columns a connection is told of; who reads more of them reads no notices.
const TOLD_MAX: usize = 1_000;

/// The statement whose reply is arriving.
pub(super) struct Current {
    number: u64,
    started: Duration,
    rows: u64,
    bytes: u64,
    cells_masked: u64,
    pub(super) sqlstate: Option<String>,
    pub(super) rows_under: Rows,
}

/// How the rows of the current statement go.
#[derive(Clone)]
pub(super) enum Rows {
    /// Every cell is shown, and there are as many as were described.
    Clear {
        cells: usize,
    },
    Masked(Arc<RowPlan>),
    /// Nothing is ruled on.
    Pass,
    Unknown,
}

impl Current {
    pub(super) fn count_row(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes as u64;
    }

    /// How many rows have come.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn count_masked(&mut self, cells: u64) {
        self.cells_masked += cells;
    }
}

impl PostgresSession {
    /// Records the statement at the head of the queue, once, before anything of its reply leaves.
    pub(super) fn begin(&mut self, out: &mut Outbox, columns: Option<&Arc<[MaskedColumn]>>) {
        if self.current.is_some() {
            // A later statement of a string has no record of its own.
            self.tell(columns.map_or(&[], |columns| &columns[..]), out);
            return;
        }
        let refused = match self.queue.head() {
            Some(
                Reply::Probe { fault, .. } | Reply::Refused { fault, .. } | Reply::RefusedQuery { fault, .. },
            ) => Some(fault.code),
            Some(_) => None,
            None => return,
        };
        self.statements += 1;
        let columns = columns.cloned().unwrap_or_default();
        let told = columns.clone();
        let statement = self.head_statement().cloned();
        let analysed = statement.as_ref().map(|statement| &statement.analysed);
        let (ruling, rule) = match (refused, columns.first()) {
            (Some(code), _) => ("refuse", Cow::Borrowed(code)),
            (None, Some(column)) => ("mask", Cow::Owned(column.rule.to_string())),
            (None, None) => ("allow", Cow::Borrowed("default")),
        };
        self.tainted |= refused.is_none() && analysed.is_some_and(|analysed| analysed.withholds);
        out.events.push(Event::Statement {
            statement: self.statements,
            command: analysed.map_or("", |analysed| analysed.command),
            relations: analysed.map(|analysed| analysed.relations.clone()).unwrap_or_default(),
            findings: analysed.and_then(|analysed| analysed.findings.clone()),
            sql: statement.map_or_else(|| Arc::from(""), |statement| statement.sql),
            columns,
            ruling,
            rule,
        });
        if refused.is_none() {
            self.tell(&told, out);
        }
        self.current = Some(Current {
            number: self.statements,
            started: out.now,
            rows: 0,
            bytes: 0,
            cells_masked: 0,
            sqlstate: None,
            rows_under: Rows::Unknown,
        });
    }

    /// Tells the client which columns are masked and how, once for each set of them, so that it does not take
    /// placeholders for values.
    fn tell(&mut self, columns: &[MaskedColumn], out: &mut Outbox) {
        let tells = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.rules.notices);
        if columns.is_empty() || !tells || !self.enforces() || self.told.len() >= TOLD_MAX {
            return;
        }
        if self.told.insert(set(columns)) {
            let list: Vec<String> =
                columns.iter().map(|column| format!("{} ({})", column.name, column.mask)).collect();
            out.client.message(|out| Fault::masked(&list.join(", "), columns).write(out));
        }
    }

    /// Records the end of the statement, if one has begun.
    pub(super) fn finish(&mut self, out: &mut Outbox) {
        let Some(current) = self.current.take() else { return };
        let elapsed = out.now.saturating_sub(current.started);
        out.events.push(Event::StatementEnd {
            statement: current.number,
            rows: current.rows,
            bytes: current.bytes,
            cells_masked: current.cells_masked,
            duration_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            sqlstate: current.sqlstate,
        });
    }
}

/// What tells a set of masked columns from others, in whatever order they come and however often. A column of another
/// table is another column, whatever it is called.
fn set(columns: &[MaskedColumn]) -> u64 {
    let set: BTreeSet<_> =
        columns.iter().map(|column| (&column.name, column.mask, &column.origins)).collect();
    let mut hasher = DefaultHasher::new();
    set.hash(&mut hasher);
    hasher.finish()
}

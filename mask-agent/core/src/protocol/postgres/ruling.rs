//! What a statement means, and what is ruled on it before it is sent.
//!
//! A ruling is kept by the statement's text without its literals, where literals cannot matter.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    error::{Fault, REFUSED, SYNTAX},
    queue::{Analysed, Statement},
    session::PostgresSession,
};
use crate::{
    audit::Event,
    lineage::{self, Effect},
    policy::{self, Taint},
    session::{Freshness, Outbox, Snapshot, Want},
};

/// Decisions kept per connection; an agent repeats a few dozen statements.
const DECISIONS_MAX: usize = 256;
/// Longer statements are analysed each time they come.
const DECISION_SQL_BYTES_MAX: usize = 16 << 10;
/// How long a snapshot is believed when a statement names a relation that is not in it.
const STRANGER_SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(1);
/// How old a snapshot grows before a new statement asks for a newer one.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(5);
/// How old a snapshot may be at all: where none newer can be had, statements wait for it or fail.
const SNAPSHOT_AGE_LIMIT: Duration = Duration::from_mins(1);

impl PostgresSession {
    /// What the statement means, or `None` while a newer snapshot is awaited.
    pub(super) fn analysed(&mut self, sql: &[u8], out: &mut Outbox) -> Option<Arc<Analysed>> {
        if !self.lexer_is_safe {
            return Some(Arc::new(unsafe_lexer()));
        }
        let age = out.now.saturating_sub(self.snapshot_at);
        if age > SNAPSHOT_AGE_MAX {
            if age > SNAPSHOT_AGE_LIMIT {
                self.waiting = true;
                self.ask_snapshot(Freshness::Fresh, out);
                return None;
            }
            self.ask_snapshot(Freshness::Cached, out);
        }
        let sql = String::from_utf8_lossy(sql);
        let mut key = std::mem::take(&mut self.decision_key);
        let known = self.decision(&sql, &mut key);
        let analysed = known.or_else(|| self.analyse(&sql, &mut key, age, out));
        self.decision_key = key;
        analysed
    }

    /// Looks a statement up, first with its literals left out; `key` ends as its exact text.
    fn decision(&self, sql: &str, key: &mut Vec<u8>) -> Option<Arc<Analysed>> {
        if !self.overlay.is_empty() {
            exact(sql, key);
            return None;
        }
        if lineage::template(sql, key)
            && let Some(known) = self.decisions.get(&**key)
        {
            return Some(known.clone());
        }
        exact(sql, key);
        self.decisions.get(&**key).cloned()
    }

    fn analyse(
        &mut self,
        sql: &str,
        key: &mut Vec<u8>,
        age: Duration,
        out: &mut Outbox,
    ) -> Option<Arc<Analysed>> {
        let snapshot = self.snapshot.clone()?;
        let path = self.path.clone();
        let (analysed, any_literals) = ruled(sql, &snapshot, path, &self.overlay);
        let stranger = self.overlay.is_empty()
            && analysed.relations.iter().any(|name| {
                let (schema, name) =
                    name.rsplit_once('.').map_or((None, &**name), |(schema, name)| (Some(schema), name));
                snapshot.catalog.named(schema, name).next().is_none()
            });
        if stranger && age > STRANGER_SNAPSHOT_AGE_MAX && !self.in_transaction {
            self.waiting = true;
            self.ask_snapshot(Freshness::Fresh, out);
            return None;
        }
        let analysed = Arc::new(analysed);
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions.clear();
        }
        // What depends on what this transaction has made is worth nothing after it.
        if sql.len() <= DECISION_SQL_BYTES_MAX && !stranger && self.overlay.is_empty() {
            if !(any_literals && lineage::template(sql, key)) {
                exact(sql, key);
            }
            self.decisions.insert(key.as_slice().into(), analysed.clone());
        }
        Some(analysed)
    }

    /// What a statement kept under a name is now, wherever its names may lead.
    pub(super) fn anew(&self, sql: &str) -> Option<Arc<Analysed>> {
        let snapshot = self.snapshot.as_ref()?;
        Some(Arc::new(ruled(sql, snapshot, None, &self.overlay).0))
    }

    /// Takes note of a statement that is about to be sent: false while what it puts where is not yet remembered
    /// for good, so that it cannot be sent.
    pub(super) fn remembers(&mut self, analysed: &Analysed, out: &mut Outbox) -> bool {
        if !self.enforces() {
            return true;
        }
        let new: Vec<Taint> =
            analysed.taints.iter().filter(|taint| !self.remembered.contains(*taint)).cloned().collect();
        if new.is_empty() {
            return true;
        }
        self.remembered.extend(new.iter().cloned());
        let name = |taint: &Taint| match &*taint.schema {
            "" => format!("{}.{}", taint.relation, taint.column),
            schema => format!("{schema}.{}.{}", taint.relation, taint.column),
        };
        out.events.push(Event::ColumnsTainted { columns: new.iter().map(name).collect() });
        out.wants.push(Want::Taint(new));
        self.waiting = true;
        false
    }

    /// Whether the budget allows what a statement asks of masked columns; `parameters` are part of the question.
    pub(super) fn affords(
        &self,
        statement: &Statement,
        parameters: &[u8],
        now: Duration,
    ) -> Result<(), Fault> {
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.enforces()) else { return Ok(()) };
        for (index, column) in statement.analysed.budgeted.iter().enumerate() {
            let question = question(&statement.sql, parameters, index);
            if !snapshot.budget.take(*column, question, &snapshot.rules, now) {
                let name = policy::column_name(&snapshot.catalog, *column);
                let message = format!("too many different predicates on masked column {name}");
                return Err(Fault::refusal(
                    REFUSED,
                    "predicate-budget",
                    &message,
                    "Wait, or filter by columns that are not masked.",
                ));
            }
        }
        Ok(())
    }
}

/// What tells one question from another.
fn question(sql: &str, parameters: &[u8], index: usize) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(sql.as_bytes());
    hash.update([0]);
    hash.update(parameters);
    hash.update(index.to_be_bytes());
    let digest = hash.finalize();
    let mut question = [0; 16];
    question.copy_from_slice(&digest[..16]);
    question
}

/// Analyses a string and rules on it; whether its literals do not matter.
fn ruled(
    sql: &str,
    snapshot: &Snapshot,
    path: Option<Vec<String>>,
    overlay: &lineage::Overlay,
) -> (Analysed, bool) {
    let env = lineage::Env { catalog: &snapshot.catalog, path, overlay };
    match lineage::analyse(sql, &env, &snapshot.classes) {
        Ok(statements) => {
            let any_literals = statements.iter().all(|statement| !statement.needs_literals);
            (summary(statements, snapshot), any_literals)
        }
        Err(error) => (unreadable(&error), false),
    }
}

/// The key of a statement whose literals matter: no template ends in a NUL.
fn exact(sql: &str, key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(sql.as_bytes());
    key.push(0);
}

/// What is ruled on all statements of a string: any refusal refuses all.
fn summary(statements: Vec<lineage::Statement>, snapshot: &Snapshot) -> Analysed {
    let mut relations = Vec::new();
    let mut analysed = Analysed::nothing();
    for statement in statements {
        let ruled = policy::rule(&statement, &snapshot.catalog, &snapshot.classes, &snapshot.rules);
        if analysed.command.is_empty() {
            analysed.command = statement.command;
        }
        relations.extend(statement.relations);
        analysed.changes_catalog |= matches!(statement.effect, Effect::Catalog);
        analysed.changes_settings |= matches!(statement.effect, Effect::Settings);
        analysed.withholds |= ruled.withholds;
        analysed.budgeted.extend_from_slice(&ruled.budgeted);
        analysed.taints.extend_from_slice(&ruled.taints);
        analysed.made.extend(statement.made);
        analysed.positions.extend(statement.positions);
        analysed.runs.extend(statement.runs);
        if statement.sets_path.is_some() {
            analysed.sets_path = statement.sets_path;
        }
        if let Some(refusal) = ruled.refusal.as_ref().filter(|_| analysed.refusal.is_none()) {
            analysed.code = refusal.code;
            analysed.refusal = Some(Fault::refusal(REFUSED, refusal.code, &refusal.message, refusal.hint));
        }
        analysed.parts.push(ruled);
    }
    if analysed.parts.len() > 1 && analysed.sets_path.is_some() {
        // It may fail halfway, and what it set is taken back.
        analysed.sets_path = Some(None);
    }
    analysed.relations = relations.into();
    analysed
}

fn unreadable(error: &lineage::LineageError) -> Analysed {
    let refusal = Fault::refusal(
        SYNTAX,
        "syntax",
        &error.to_string(),
        "The statement was not sent, because what cannot be read cannot be masked.",
    );
    refused("syntax", refusal)
}

fn unsafe_lexer() -> Analysed {
    let refusal = Fault::refusal(
        REFUSED,
        "unsafe-setting",
        "standard_conforming_strings is off, so statements cannot be read as the server reads them",
        "Set standard_conforming_strings to on in the role's or the database's settings.",
    );
    refused("unsafe-setting", refusal)
}

fn refused(code: &'static str, fault: Fault) -> Analysed {
    Analysed { refusal: Some(fault), code, withholds: true, ..Analysed::nothing() }
}

//! What a statement means, and what is ruled on it before it is sent.
//!
//! A ruling is kept by the statement's text without its literals, where literals cannot matter.

use std::{sync::Arc, time::Duration};

use super::{
    error::{Fault, REFUSED, SYNTAX},
    queue::Analysed,
    session::PostgresSession,
};
use crate::{
    lineage::{self, Effect, Trust},
    session::{Freshness, Outbox},
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
        let (analysed, any_literals) = match lineage::analyse(sql, &snapshot.catalog, &snapshot.classes) {
            Ok(statements) => {
                let any_literals = statements.iter().all(|statement| !statement.needs_literals);
                (summary(statements), any_literals)
            }
            Err(error) => (unreadable(&error), false),
        };
        let stranger = analysed.relations.iter().any(|name| {
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
        if sql.len() <= DECISION_SQL_BYTES_MAX && !stranger {
            if !(any_literals && lineage::template(sql, key)) {
                exact(sql, key);
            }
            self.decisions.insert(key.as_slice().into(), analysed.clone());
        }
        Some(analysed)
    }
}

/// The key of a statement whose literals matter: no template ends in a NUL.
fn exact(sql: &str, key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(sql.as_bytes());
    key.push(0);
}

/// One ruling for all statements of a string: the least trusted decides, and any refusal refuses all.
fn summary(statements: Vec<lineage::Statement>) -> Analysed {
    let mut relations = Vec::new();
    let mut analysed = Analysed {
        command: "",
        relations: Arc::default(),
        trust: Trust::Plain,
        changes_catalog: false,
        changes_settings: false,
        refusal: None,
        code: "",
    };
    for statement in statements {
        // What a string creates in its first half is unknown in its second.
        if analysed.changes_catalog
            && matches!(statement.trust, Trust::Plain)
            && !statement.relations.is_empty()
        {
            analysed.trust = worse(analysed.trust, Trust::Origins);
        }
        if analysed.command.is_empty() {
            analysed.command = statement.command;
        }
        analysed.trust = worse(analysed.trust, statement.trust);
        relations.extend(statement.relations);
        analysed.changes_catalog |= matches!(statement.effect, Effect::Catalog);
        analysed.changes_settings |= matches!(statement.effect, Effect::Settings);
        if let Some(refusal) = statement.refusal
            && analysed.refusal.is_none()
        {
            analysed.code = refusal.code;
            analysed.refusal = Some(Fault::refusal(REFUSED, refusal.code, &refusal.message, refusal.hint));
        }
    }
    analysed.relations = relations.into();
    analysed
}

pub(super) fn worse(a: Trust, b: Trust) -> Trust {
    match (a, b) {
        (Trust::Opaque, _) | (_, Trust::Opaque) => Trust::Opaque,
        (Trust::Origins, _) | (_, Trust::Origins) => Trust::Origins,
        (Trust::Plain, Trust::Plain) => Trust::Plain,
    }
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
    Analysed {
        command: "",
        relations: Arc::default(),
        trust: Trust::Opaque,
        changes_catalog: false,
        changes_settings: false,
        refusal: Some(fault),
        code,
    }
}

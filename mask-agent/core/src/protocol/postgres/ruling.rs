//! What a statement means, and what is ruled on it before it is sent.
//!
//! A ruling is kept by the statement's text without its literals, where literals cannot matter.

use std::{sync::Arc, time::Duration};

use super::{
    copy,
    edit::{may_be_written_back, may_hold_token},
    error::{Fault, REFUSED, SYNTAX},
    queue::{Analysed, Reply, Statement},
    session::PostgresSession,
};
use crate::{
    audit::Event,
    explain,
    lineage::{self, ColumnId, Effect, Keeps, Masked, Untraceable, WriteTarget},
    policy::{self, Denial, Snapshot, Taint},
    session::{Freshness, Outbox, Want},
};

/// Decisions kept per connection; an agent repeats a few dozen statements.
const DECISIONS_MAX: usize = 256;
/// Longer statements are analysed each time they come.
const DECISION_SQL_BYTES_MAX: usize = 16 << 10;
/// How old a snapshot grows before a new statement asks for a newer one beside it.
const SNAPSHOT_AGE_ASKED: Duration = Duration::from_secs(3);
/// How old a snapshot grows before a new statement waits until it was compared with the server.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(5);
/// How long statements do without, once that could not be done.
const UNCHECKED_MAX: Duration = Duration::from_secs(5);
/// How old a snapshot may be at all: where none newer can be had, statements wait for it or fail.
const SNAPSHOT_AGE_LIMIT: Duration = Duration::from_mins(1);

/// What a transaction may define and fill before it is committed; a dump of some thousand tables fits in.
const OVERLAY_MAX: usize = 100_000;

impl PostgresSession {
    /// Why a statement is not sent: what is ruled on it, or that its transaction has made more than is kept in mind.
    pub(super) fn refusal(&self, analysed: &Analysed) -> Option<Fault> {
        let is_full = || !analysed.made.is_empty() && self.overlay.size() >= OVERLAY_MAX;
        let full =
            || is_full().then(|| Fault::limit("this transaction defines too much", "Commit in between."));
        analysed.refusal.clone().or_else(full).filter(|_| self.enforces())
    }

    /// What the statement means, or `None` while a newer snapshot is awaited.
    pub(super) fn analysed(&mut self, sql: &[u8], out: &mut Outbox) -> Option<Arc<Analysed>> {
        let text = self.encodings.text(sql);
        if let Some(fault) = self.encodings.doubt(sql, &text).filter(|_| self.enforces()) {
            return Some(Arc::new(refused(fault)));
        }
        if self.unreported > 0 && self.enforces() && sql.contains(&b'\\') {
            return Some(Arc::new(unsettled_lexer()));
        }
        self.analysed_text(&text, out)
    }

    /// The same for one whose names are read as the server reads them.
    pub(super) fn analysed_text(&mut self, sql: &str, out: &mut Outbox) -> Option<Arc<Analysed>> {
        if !self.lexer_is_safe {
            return Some(Arc::new(unsafe_lexer()));
        }
        if !self.is_current(out) {
            return None;
        }
        let mut key = std::mem::take(&mut self.decision_key);
        let known = self.decision(sql, &mut key);
        let analysed = known.or_else(|| self.analyse(sql, &mut key, out));
        self.decision_key = key;
        if analysed.as_ref().is_some_and(|analysed| analysed.needs_database) {
            out.wants.push(Want::Withdraw);
        }
        analysed
    }

    /// Whether the snapshot may be ruled by; false while a newer one is awaited.
    pub(super) fn is_current(&mut self, out: &mut Outbox) -> bool {
        let age = out.now.saturating_sub(self.snapshot_of);
        let Some(freshness) = self.freshness(age, out.now) else { return true };
        self.ask_snapshot(freshness, out);
        self.waiting |= freshness != Freshness::Cached;
        freshness == Freshness::Cached
    }

    /// What a snapshot of this age is to be replaced by before a statement is ruled on by it, or beside that.
    fn freshness(&self, age: Duration, now: Duration) -> Option<Freshness> {
        let is_unchecked = self.unchecked_at.is_some_and(|at| now.saturating_sub(at) < UNCHECKED_MAX);
        match age {
            _ if age > SNAPSHOT_AGE_LIMIT => Some(Freshness::Fresh),
            _ if age > SNAPSHOT_AGE_MAX && !is_unchecked => Some(Freshness::Checked),
            _ if age > SNAPSHOT_AGE_ASKED => Some(Freshness::Cached),
            _ => None,
        }
    }

    /// Looks a statement up, first with its literals left out; `key` ends as its exact text.
    fn decision(&self, sql: &str, key: &mut Vec<u8>) -> Option<Arc<Analysed>> {
        if !self.overlay.is_empty() {
            exact(sql, key);
            return None;
        }
        if !may_hold_token(sql.as_bytes())
            && lineage::template(sql, key)
            && let Some(known) = self.decisions.get(&**key)
            && !may_be_written_back(sql, &known.constant_columns)
        {
            return Some(known.clone());
        }
        exact(sql, key);
        self.decisions.get(&**key).cloned()
    }

    fn analyse(&mut self, sql: &str, key: &mut Vec<u8>, out: &mut Outbox) -> Option<Arc<Analysed>> {
        let snapshot = self.snapshot.clone()?;
        let path = self.path.clone();
        let (analysed, any_literals) = ruled(sql, &snapshot, path, &self.overlay);
        let stranger = self.overlay.is_empty()
            && analysed.relations.iter().any(|name| {
                let (schema, name) =
                    name.rsplit_once('.').map_or((None, &**name), |(schema, name)| (Some(schema), name));
                snapshot.catalog.named(schema, name).next().is_none()
            });
        let is_stranger = stranger || self.overlay.is_empty() && names_unknown(&analysed);
        // It may have been made just now, by anybody: only what was read since can say that it was not. Where nothing has
        // changed, that is one query, and the answer is kept.
        if is_stranger && self.snapshot_of < *self.stranger_since.get_or_insert(out.now) {
            self.waiting = true;
            self.ask_snapshot(Freshness::Fresh, out);
            return None;
        }
        self.stranger_since = None;
        let analysed = Arc::new(analysed);
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions.clear();
        }
        // What depends on what this transaction has made is worth nothing after it.
        if sql.len() <= DECISION_SQL_BYTES_MAX && !stranger && self.overlay.is_empty() {
            let any_literals = any_literals
                && !may_hold_token(sql.as_bytes())
                && !may_be_written_back(sql, &analysed.constant_columns);
            if !(any_literals && lineage::template(sql, key)) {
                exact(sql, key);
            }
            self.decisions.insert(key.as_slice().into(), analysed.clone());
        }
        Some(analysed)
    }

    /// What a statement kept under a name is for the next message.
    pub(super) fn now(&self, sql: &str) -> Option<Arc<Analysed>> {
        let snapshot = self.snapshot.as_ref()?;
        Some(Arc::new(ruled(sql, snapshot, self.path.clone(), &self.overlay).0))
    }

    /// What a statement kept under a name is now, wherever its names may lead.
    pub(super) fn anew(&self, sql: &str) -> Option<Arc<Analysed>> {
        let snapshot = self.snapshot.as_ref()?;
        Some(Arc::new(ruled(sql, snapshot, None, &self.overlay).0))
    }

    /// Rules anew on the statement whose description is arriving, as it reads by the snapshot that is here now.
    ///
    /// The server may have read it by what was defined before, so only columns it names itself are shown.
    pub(super) fn ruled_anew(&mut self) {
        let Some(before) = self.described().cloned() else { return };
        let Some(snapshot) = self.snapshot.as_ref() else { return };
        let (mut analysed, _) = ruled(&before.sql, snapshot, self.path.clone(), &self.overlay);
        if analysed.refusal.is_some() || !analysed.taints.is_empty() {
            return;
        }
        analysed.is_anew = true;
        analysed.withholds |= before.analysed.withholds;
        let now = Arc::new(analysed);
        let (prepared, portals) = (&mut self.prepared, &mut self.portals);
        let same = |statement: &Statement| Arc::ptr_eq(&statement.sql, &before.sql);
        let kept = prepared.values_mut().map(|prepared| &mut prepared.statement);
        let kept = kept.chain(portals.values_mut().map(|portal| &mut portal.prepared.statement));
        for statement in kept.filter(|statement| same(statement)) {
            statement.analysed = now.clone();
        }
        if let Some(Reply::Simple { statement, .. }) = self.queue.head_mut()
            && same(statement)
        {
            statement.analysed = now;
        }
    }

    /// The statement whose description is arriving: a cursor's, where the head only names it.
    fn described(&self) -> Option<&Statement> {
        let statement = self.head_statement()?;
        let part = if let Some(Reply::Simple { part, .. }) = self.queue.head() { *part } else { 0 };
        match statement.analysed.parts.get(part).map(|part| &part.rows) {
            Some(policy::Rows::Cursor(name)) => {
                self.portals.get(name.as_bytes()).map(|portal| &portal.prepared.statement)
            }
            Some(
                policy::Rows::Columns(_)
                | policy::Rows::Each(_)
                | policy::Rows::None
                | policy::Rows::Plan(_)
                | policy::Rows::Prepared(_),
            )
            | None => Some(statement),
        }
    }

    /// Whether a statement puts masked values where nobody knows of any.
    pub(super) fn puts_new(&self, analysed: &Analysed) -> bool {
        self.enforces() && analysed.taints.iter().any(|taint| !self.remembered.contains(taint))
    }

    /// Takes note of a statement that is about to be sent: false while what it puts where is not yet remembered
    /// for good, so that it cannot be sent.
    pub(super) fn remembers(&mut self, analysed: &Analysed, out: &mut Outbox) -> bool {
        if !self.enforces() {
            return true;
        }
        if let Some(copied) = analysed.copied.iter().find(|copied| !self.copied.contains(*copied)) {
            self.copied.insert(copied.clone());
            out.wants.push(Want::FollowCopy(copied.clone()));
            self.waiting = true;
            return false;
        }
        // What the server discards puts nothing anywhere.
        if !self.puts_new(analysed) || self.queue.is_skipping() {
            return true;
        }
        let new: Vec<Taint> =
            analysed.taints.iter().filter(|taint| !self.remembered.contains(*taint)).cloned().collect();
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
}

/// Whether an output is made of a column, relation or function that is not in the snapshot.
fn names_unknown(analysed: &Analysed) -> bool {
    let is_unknown = |column: &policy::ColumnRuling| {
        matches!(
            column.origins.untraceable,
            Some(Untraceable::UnknownColumn | Untraceable::UnknownFunction | Untraceable::UnknownRelation)
        )
    };
    analysed.parts.iter().any(|part| match &part.rows {
        policy::Rows::Columns(columns) => columns.iter().any(is_unknown),
        policy::Rows::Each(column) => is_unknown(column),
        policy::Rows::Cursor(_) | policy::Rows::None | policy::Rows::Plan(_) | policy::Rows::Prepared(_) => {
            false
        }
    })
}

/// What the plan tells of one of a string's statements.
pub(super) fn ruled_plan(
    sql: &str,
    part: usize,
    snapshot: &Snapshot,
    path: Option<Vec<String>>,
    overlay: &lineage::Overlay,
) -> Option<Analysed> {
    let env = lineage::Env { catalog: &snapshot.catalog, path, overlay };
    let statements = lineage::analyse_plan(sql, part, &env, &*snapshot.classes).ok()?;
    Some(summary(statements, snapshot))
}

/// Analyses a string and rules on it; whether its literals do not matter.
fn ruled(
    sql: &str,
    snapshot: &Snapshot,
    path: Option<Vec<String>>,
    overlay: &lineage::Overlay,
) -> (Analysed, bool) {
    let env = lineage::Env { catalog: &snapshot.catalog, path, overlay };
    match lineage::analyse(sql, &env, &*snapshot.classes) {
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
    let mut findings = Vec::new();
    let mut analysed = Analysed::nothing();
    let mut fills = false;
    let mut only_read: Vec<String> = Vec::new();
    for statement in statements {
        let ruled = snapshot.rule(&statement);
        if fills && ruled.executes.as_ref().is_some_and(|executes| !only_read.contains(&executes.name)) {
            analysed.refusal.get_or_insert_with(filled_before);
        }
        fills |= fills_new(&statement, snapshot);
        if let Some(Keeps::Prepared(name)) = &statement.keeps {
            only_read.retain(|known| known != name);
            let reads = statement.writes.is_empty() && !statement.calls_user_code;
            only_read.extend(reads.then(|| name.clone()));
        }
        findings.extend(explain::findings(&statement, &ruled, snapshot));
        if analysed.command.is_empty() {
            analysed.command = statement.command;
        }
        analysed.needs_database |= needs_database(&statement);
        relations.extend(statement.relations);
        analysed.changes_catalog |= matches!(statement.effect, Effect::Catalog);
        analysed.changes_settings |= matches!(statement.effect, Effect::Settings);
        analysed.withholds |= ruled.withholds;
        analysed.calls_user_code |= statement.calls_user_code;
        analysed.reaches |= statement.reaches;
        analysed.only_reads &= statement.only_reads;
        analysed.budgeted.extend_from_slice(&ruled.budgeted);
        analysed.computes.extend_from_slice(&ruled.computes);
        analysed.executes.extend(ruled.executes.iter().map(|executes| executes.name.clone()));
        analysed.asks_by_data |= statement.command == "CopyStmt" && ruled.copy.is_none();
        analysed.asks_by_data |= ruled.executes.as_ref().is_some_and(|executes| executes.gives_anew);
        analysed.taints.extend_from_slice(&ruled.taints);
        analysed.taints.extend_from_slice(&ruled.defined);
        analysed.constant_columns.extend_from_slice(&ruled.given.constant_columns);
        analysed.copied.extend(statement.copied);
        analysed.made.extend(statement.made);
        let settings = statement.settings.into_iter();
        analysed.settings.extend(settings.map(|setting| (analysed.parts.len(), setting)));
        analysed.redefines |= statement.redefines;
        analysed.positions.extend(statement.positions);
        if statement.sets_path.is_some() {
            analysed.sets_path = statement.sets_path;
        }
        let denial = ruled.denial.clone().or_else(|| copy::refusal(&ruled).map(Denial::always));
        if let Some(denial) = denial.filter(|_| analysed.refusal.is_none()) {
            analysed.refusal = Some(Fault::denied(&denial, &snapshot.catalog));
        }
        analysed.parts.push(ruled);
    }
    analysed.may_be_wrong =
        analysed.refusal.as_ref().is_some_and(|fault| fault.code == "derived") && names_unknown(&analysed);
    if analysed.parts.len() > 1 && analysed.sets_path.is_some() {
        // It may fail halfway, and what it set is taken back.
        analysed.sets_path = Some(None);
    }
    analysed.computes.sort_unstable();
    analysed.computes.dedup();
    analysed.relations = relations.into();
    analysed.findings = explain::written(&findings);
    analysed
}

/// Whether a masked value may be put into a relation of this transaction: what was prepared before knows nothing of it.
fn fills_new(statement: &lineage::Statement, snapshot: &Snapshot) -> bool {
    let is_masked = |column: &ColumnId| snapshot.classes.is_masked(column.relation, column.number);
    statement.writes.iter().any(|write| {
        matches!(write.target, WriteTarget::New { .. })
            && (write.origins.untraceable.is_some() || write.origins.all().any(|column| is_masked(&column)))
    })
}

fn filled_before() -> Fault {
    Fault::refusal(
        REFUSED,
        "hidden-flow",
        "EXECUTE is refused in one string with what fills a table of this transaction with masked values",
        "Send EXECUTE by itself.",
    )
}

/// Whether the server refuses it while another session is in the database that it is about. What is renamed and is no
/// relation may be one.
fn needs_database(statement: &lineage::Statement) -> bool {
    match statement.command {
        "AlterDatabaseStmt" | "CreatedbStmt" | "DropdbStmt" => true,
        "RenameStmt" => statement.relations.is_empty(),
        _ => false,
    }
}

fn unreadable(error: &lineage::LineageError) -> Analysed {
    let may_be_wrong = matches!(error, lineage::LineageError::Syntax(_));
    let refusal = Fault::refusal(
        SYNTAX,
        "syntax",
        &error.to_string(),
        "The statement was not sent, because what cannot be read cannot be masked.",
    );
    Analysed { may_be_wrong, ..refused(refusal) }
}

fn unsafe_lexer() -> Analysed {
    let refusal = Fault::refusal(
        REFUSED,
        "unsafe-setting",
        "standard_conforming_strings is off, so statements cannot be read as the server reads them",
        "Set standard_conforming_strings to on in the role's or the database's settings.",
    );
    refused(refusal)
}

fn unsettled_lexer() -> Analysed {
    let refusal = Fault::refusal(
        REFUSED,
        "unsettled-setting",
        "a backslash may mean something else once what was sent before has run",
        "Wait for the answer to what was sent before, then send this statement.",
    );
    refused(refusal)
}

fn refused(fault: Fault) -> Analysed {
    Analysed { refusal: Some(fault), withholds: true, ..Analysed::nothing() }
}

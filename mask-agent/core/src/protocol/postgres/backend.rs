//! The backend's half: rows, descriptions, errors.
//!
//! Promise: where rulings are applied, no `DataRow` is forwarded without a plan for its columns.

use std::{borrow::Cow, ops::Range, sync::Arc};

use super::{
    FRAME_BYTES_MAX,
    error::{LIMIT, is_about_session, sqlstate, write_scrubbed},
    frame::{Fields, HEADER_BYTES, header},
    outputs::{Shape, Source},
    probe,
    queue::{Asker, Portal, Prepared, Reply, Statement},
    record::Rows,
    session::{Phase, PostgresSession},
    sqlstate::is_known,
};
use crate::{
    lineage::{Keeps, Overlay},
    masking::RowPlan,
    policy::Rows as Ruling,
    session::{Freshness, Outbox, SessionError},
};

/// FETCH in a prepared statement that EXECUTE names: no statement names more.
const NAMES_DEEP_MAX: usize = 4;

/// The number of cells, before them.
const COUNT_BYTES: usize = 2;

impl PostgresSession {
    pub(super) fn server(&mut self, bytes: &[u8], out: &mut Outbox) -> Result<usize, SessionError> {
        let mut at = 0;
        while at < bytes.len() && self.proving.is_none() {
            if self.server_pass > 0 {
                let count = self.server_pass.min(bytes.len() - at);
                out.client.pass(at..at + count);
                self.server_pass -= count;
                at += count;
                continue;
            }
            let Some((kind, length)) = header(&bytes[at..]).map_err(SessionError::Server)? else { break };
            let end = at + HEADER_BYTES + length;
            if end > bytes.len() {
                at += self.partial(kind, length, &bytes[at + HEADER_BYTES..], at..bytes.len(), out)?;
                break;
            }
            let body = &bytes[at + HEADER_BYTES..end];
            if !self.backend(kind, at..end, body, out)? {
                break;
            }
            at = end;
        }
        Ok(at)
    }

    /// A frame whose end has not come yet: one that passes anyway streams, any other waits for the rest.
    fn partial(
        &mut self,
        kind: u8,
        length: usize,
        body: &[u8],
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<usize, SessionError> {
        let streams = match kind {
            b'D' if self.phase == Phase::Ready && range.len() < HEADER_BYTES + COUNT_BYTES => false,
            b'D' if self.phase == Phase::Ready => match self.rows(out)? {
                Rows::Clear { cells } => {
                    expect_cells(cells, &body[..COUNT_BYTES])?;
                    true
                }
                Rows::Pass => true,
                Rows::Masked(_) | Rows::Unknown => false,
            },
            b'd' => self.copy.as_ref().is_some_and(|copying| copying.plan.is_none()),
            _ => false,
        };
        if streams {
            if let Some(current) = &mut self.current {
                current.count_row(length);
            }
            let count = range.len();
            self.server_pass = HEADER_BYTES + length - count;
            out.client.pass(range);
            return Ok(count);
        }
        if length > FRAME_BYTES_MAX {
            let why = "a message is longer than masking can hold; select fewer or shorter values";
            return Err(Self::fatal(out, LIMIT, why, SessionError::Server("message too long to mask")));
        }
        Ok(0)
    }

    /// One whole message; false leaves it unread.
    fn backend(
        &mut self,
        kind: u8,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<bool, SessionError> {
        match self.phase {
            Phase::Opening | Phase::Proving(_) => return Err(SessionError::Server("message out of turn")),
            Phase::LoggingIn(_) => return self.backend_login(kind, range, body, out).map(|()| true),
            Phase::Ready | Phase::Starting => {}
        }
        match kind {
            b'D' => self.data_row(range, body, out)?,
            b'C' => self.command_complete(range, out)?,
            b'Z' => return self.ready_for_query(range, body, out),
            b'T' => return self.row_description(range, body, out),
            b'E' => self.error(range, body, out)?,
            b'N' => self.notice(range, body, out),
            b'S' => self.parameter_status(range, body, out)?,
            b'K' => self.backend_key(body, out)?,
            b'A' => self.notification(range, body, out)?,
            b'1' => self.parse_complete(range, out)?,
            b'2' => self.bind_complete(range, out)?,
            b'3' => {
                let Some(Reply::Close { kind, name }) = self.queue.pop() else {
                    return Err(SessionError::Server("unexpected CloseComplete"));
                };
                if kind == b'S' {
                    self.uses.remove(&name);
                    self.prepared.remove(&name).map(drop)
                } else {
                    self.portals.remove(&name).map(drop)
                };
                out.client.pass(range);
            }
            b't' => match self.queue.head() {
                Some(Reply::DescribeStatement { .. }) => out.client.pass(range),
                _ => return Err(SessionError::Server("unexpected ParameterDescription")),
            },
            b'n' => match self.queue.pop() {
                Some(Reply::DescribePortal { asker: Asker::Session, .. }) => {}
                Some(Reply::DescribeStatement { .. } | Reply::DescribePortal { .. }) => {
                    out.client.pass(range);
                }
                _ => return Err(SessionError::Server("unexpected NoData")),
            },
            b's' | b'I' => self.end_without_tag(kind, range, out)?,
            b'G' => {
                self.begin(out, None);
                self.queue.begin_copy();
                self.begin_copy_in();
                out.client.pass(range);
            }
            b'H' => self.copy_out(range, body, out)?,
            b'd' => self.copy_data(range, body, out)?,
            b'c' => self.copy_done(range, out)?,
            b'V' => self.function_result(range, out)?,
            // CopyBoth answers requests that are refused, and versions are negotiated before.
            _ => return Err(SessionError::Server("message type that nothing asked for")),
        }
        Ok(true)
    }

    /// The statement the head of the queue belongs to.
    pub(super) fn head_statement(&self) -> Option<&Statement> {
        match self.queue.head()? {
            Reply::Parse { statement, .. }
            | Reply::Probe { statement, .. }
            | Reply::Simple { statement, .. }
            | Reply::Trial { statement } => Some(statement),
            Reply::Execute { portal } | Reply::DescribePortal { portal, .. } => {
                self.portals.get(portal).map(|portal| &portal.prepared.statement)
            }
            Reply::Bind { name, .. } | Reply::DescribeStatement { name } => {
                self.prepared.get(name).map(|prepared| &prepared.statement)
            }
            Reply::Refused { statement, .. } | Reply::RefusedQuery { statement, .. } => statement.as_ref(),
            Reply::Close { .. } | Reply::Sync => None,
        }
    }

    /// The name of the statement or portal that the client's message is about.
    fn said(&self) -> Option<Cow<'_, str>> {
        let name = match self.queue.head()? {
            Reply::Bind { name, .. } | Reply::Close { name, .. } | Reply::DescribeStatement { name } => name,
            Reply::DescribePortal { portal, .. } | Reply::Execute { portal } => portal,
            Reply::Simple { statement, part, .. } => {
                return match &statement.analysed.parts.get(*part)?.rows {
                    Ruling::Cursor(name) | Ruling::Plan(name) | Ruling::Prepared(name) => {
                        Some(Cow::Borrowed(name))
                    }
                    Ruling::Columns(_) | Ruling::Each(_) | Ruling::None => None,
                };
            }
            Reply::Parse { .. }
            | Reply::Probe { .. }
            | Reply::Refused { .. }
            | Reply::RefusedQuery { .. }
            | Reply::Sync
            | Reply::Trial { .. } => return None,
        };
        Some(String::from_utf8_lossy(name))
    }

    /// How the rows of the statement at the head go.
    fn rows(&mut self, out: &mut Outbox) -> Result<Rows, SessionError> {
        if let Some(current) = &self.current
            && !matches!(current.rows_under, Rows::Unknown)
        {
            return Ok(current.rows_under.clone());
        }
        let rows = match self.queue.head() {
            Some(Reply::Execute { portal }) => {
                let portal = self.portals.get(portal).cloned();
                self.portal_rows(portal.as_ref(), out)?
            }
            Some(Reply::Simple { .. }) => return Err(SessionError::Server("row without a description")),
            _ => return Err(SessionError::Server("row that nothing asked for")),
        };
        if let Some(current) = &mut self.current {
            current.rows_under = rows.clone();
        }
        Ok(rows)
    }

    fn portal_rows(&mut self, portal: Option<&Portal>, out: &mut Outbox) -> Result<Rows, SessionError> {
        let enforces = self.enforces();
        let (Some(portal), Some(snapshot)) = (portal, self.snapshot.clone()) else {
            self.begin(out, None);
            return if enforces {
                Err(SessionError::Server("row of an unknown portal"))
            } else {
                Ok(Rows::Pass)
            };
        };
        let source = self.source();
        let Some(shape) = &portal.prepared.shape else {
            self.begin(out, None);
            return if enforces {
                Err(SessionError::Server("row without a description"))
            } else {
                Ok(Rows::Pass)
            };
        };
        let makes = !self.overlay.is_empty();
        let planned = self.outputs.plan(
            shape,
            source.as_ref(),
            &snapshot,
            Some(&portal.formats),
            makes,
            &self.encodings,
        );
        let plan = planned.plan.clone();
        let columns = planned.columns.clone();
        self.begin(out, Some(&columns));
        Ok(ruled(plan, enforces))
    }

    fn data_row(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<(), SessionError> {
        let rows = self.rows(out)?;
        let Some(current) = &mut self.current else {
            return Err(SessionError::Server("row without a statement"));
        };
        current.count_row(body.len());
        match rows {
            Rows::Clear { cells } => {
                expect_cells(cells, body)?;
                out.client.pass(range);
            }
            Rows::Pass => out.client.pass(range),
            Rows::Masked(plan) => {
                let masked = out.client.row(self.settings.keys.newest(), &plan, body);
                current.count_masked(masked.map_err(|_| SessionError::Server("malformed row"))?);
            }
            Rows::Unknown => return Err(SessionError::Server("row without a ruling")),
        }
        Ok(())
    }

    fn row_description(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<bool, SessionError> {
        let shape = self.outputs.shape(body).ok_or(SessionError::Server("malformed RowDescription"))?;
        if self.awaits_strangers(&shape, out) {
            return Ok(false);
        }
        match self.queue.head() {
            Some(Reply::Simple { .. }) => {
                self.describe_simple(&shape, out)?;
                out.client.pass(range);
            }
            Some(Reply::DescribeStatement { name }) => {
                if let Some(prepared) = self.prepared.get_mut(name) {
                    prepared.shape = Some(shape);
                }
                self.queue.pop();
                out.client.pass(range);
            }
            Some(Reply::DescribePortal { portal, asker }) => {
                if *asker == Asker::Client {
                    out.client.pass(range);
                }
                if let Some(portal) = self.portals.get_mut(portal) {
                    // The next portal of the same statement has the same columns.
                    if let Some(prepared) = self.prepared.get_mut(&portal.name)
                        && Arc::ptr_eq(&prepared.statement.sql, &portal.prepared.statement.sql)
                    {
                        prepared.shape = Some(shape.clone());
                    }
                    portal.prepared.shape = Some(shape);
                }
                self.queue.pop();
            }
            _ => return Err(SessionError::Server("unexpected RowDescription")),
        }
        Ok(true)
    }

    fn describe_simple(&mut self, shape: &Arc<Shape>, out: &mut Outbox) -> Result<(), SessionError> {
        let snapshot = self.snapshot.clone().ok_or(SessionError::Server("row before a snapshot"))?;
        let source = self.source();
        let makes = !self.overlay.is_empty();
        let planned = self.outputs.plan(shape, source.as_ref(), &snapshot, None, makes, &self.encodings);
        let plan = planned.plan.clone();
        let columns = planned.columns.clone();
        self.begin(out, Some(&columns));
        let enforces = self.enforces();
        if let Some(current) = &mut self.current {
            current.rows_under = ruled(plan, enforces);
        }
        Ok(())
    }

    fn bind_complete(&mut self, range: Range<usize>, out: &mut Outbox) -> Result<(), SessionError> {
        let Some(Reply::Bind { portal, name, formats, statement, epoch }) = self.queue.pop() else {
            return Err(SessionError::Server("unexpected BindComplete"));
        };
        match self.prepared.get(&name) {
            Some(prepared) => {
                let prepared = self.bound(prepared.clone(), statement, epoch);
                self.portals.insert(portal, Portal { prepared, name, formats, holds: false });
            }
            // The server knows it and we do not.
            None => drop(self.portals.remove(&portal)),
        }
        out.client.pass(range);
        Ok(())
    }

    /// `PortalSuspended` and `EmptyQueryResponse`.
    fn end_without_tag(
        &mut self,
        kind: u8,
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        self.begin(out, None);
        self.counts_success(kind == b's', out.now);
        out.client.pass(range);
        if matches!(self.queue.head(), Some(Reply::Execute { .. })) {
            self.queue.pop();
            self.finish(out);
        } else if kind == b's' {
            return Err(SessionError::Server("unexpected PortalSuspended"));
        }
        Ok(())
    }

    /// The statement whose rows are arriving: a cursor's or a prepared one's where the head only names it.
    pub(super) fn source(&self) -> Option<Source> {
        let mut source = match self.queue.head()? {
            Reply::Simple { statement, part, .. } => {
                Source { analysed: statement.analysed.clone(), part: *part }
            }
            Reply::Execute { portal } | Reply::DescribePortal { portal, .. } => {
                self.settled(&self.portals.get(portal)?.prepared)?
            }
            _ => return None,
        };
        for _ in 0..NAMES_DEEP_MAX {
            if self.hides_plan(&source) {
                return None;
            }
            source = match source.rows()? {
                Ruling::Columns(_) | Ruling::Each(_) | Ruling::None => return Some(source),
                Ruling::Cursor(name) => self.settled(&self.portals.get(name.as_bytes())?.prepared)?,
                Ruling::Plan(name) => return self.plan_of(name),
                Ruling::Prepared(name) => {
                    let prepared = self.prepared.get(name.as_bytes())?;
                    if prepared.epoch == self.epoch {
                        Self::source_of(prepared)
                    } else {
                        // Names may mean something else than when it was prepared.
                        let analysed = self.anew(&prepared.statement.sql)?;
                        Source { analysed, part: prepared.part }
                    }
                }
            };
        }
        None
    }

    fn command_complete(&mut self, range: Range<usize>, out: &mut Outbox) -> Result<(), SessionError> {
        self.begin(out, None);
        let statement = self.head_statement().cloned();
        self.end_copy();
        self.keep();
        self.has_run(out.now);
        match self.queue.head_mut() {
            Some(Reply::Execute { .. }) => {
                self.queue.pop();
                self.finish(out);
            }
            Some(Reply::Simple { part, .. }) => {
                *part += 1;
                if let Some(current) = &mut self.current {
                    current.rows_under = Rows::Unknown;
                }
            }
            _ => return Err(SessionError::Server("unexpected CommandComplete")),
        }
        let analysed = statement.map(|statement| statement.analysed);
        if let Some(analysed) = analysed {
            self.catalog_dirty |= analysed.changes_catalog;
            if analysed.changes_catalog || analysed.changes_settings {
                self.names_changed_by_statement();
            }
            if let Some(path) = &analysed.sets_path {
                // Within a transaction it may be taken back.
                self.next_path = path.clone().filter(|_| !self.in_transaction);
            }
        }
        out.client.pass(range);
        Ok(())
    }

    /// Keeps what DECLARE and PREPARE have given a name to.
    fn keep(&mut self) {
        let kept = match self.queue.head() {
            Some(Reply::Simple { statement, part, epoch }) => Some((statement.clone(), *part, *epoch)),
            Some(Reply::Execute { portal }) => self.portals.get(portal).map(|portal| {
                (portal.prepared.statement.clone(), portal.prepared.part, portal.prepared.epoch)
            }),
            _ => None,
        };
        let Some((statement, part, epoch)) = kept else { return };
        let keeps = statement.analysed.parts.get(part).and_then(|part| part.keeps.clone());
        let prepared = Prepared { statement, part, epoch, shape: None };
        match keeps {
            Some(Keeps::Cursor { name, holds }) => {
                let (name, formats) = (name.into_bytes(), Vec::new());
                self.portals.insert(name.clone(), Portal { prepared, name, formats, holds });
            }
            Some(Keeps::Prepared(name)) => drop(self.prepared.insert(name.into_bytes(), prepared)),
            None => {}
        }
    }

    fn ready_for_query(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<bool, SessionError> {
        let [status @ (b'I' | b'T' | b'E')] = *body else {
            return Err(SessionError::Server("malformed ReadyForQuery"));
        };
        if self.phase == Phase::Starting {
            if self.snapshot.is_none() {
                self.waiting = true;
                self.ask_snapshot(Freshness::Cached, out);
                return Ok(false);
            }
            self.phase = Phase::Ready;
            out.client.pass(range);
            return Ok(true);
        }
        if matches!(self.queue.head(), Some(Reply::Simple { .. })) {
            // A server may say nothing else; it has run the statement all the same.
            self.begin(out, None);
        }
        match self.queue.pop() {
            Some(Reply::Simple { .. } | Reply::RefusedQuery { .. }) => self.finish(out),
            // A Sync that crossed the error which ended a COPY FROM STDIN has lost its entry.
            Some(Reply::Sync) | None => {}
            Some(_) => return Err(SessionError::Server("unexpected ReadyForQuery")),
        }
        if self.queue.len() == 0 {
            self.unreported = 0;
        }
        self.in_transaction = status != b'I';
        if !self.in_transaction {
            self.portals.retain(|_, portal| portal.holds);
            if let Some(path) = self.next_path.take().filter(|_| self.queue.len() == 0) {
                self.take_path(Some(path));
            }
            if self.queue.len() == 0 {
                self.overlay = Overlay::default();
                self.tainted = false;
                self.undescribed.clear();
                self.transaction_may_end();
                self.settles_meaning(out.now);
            }
            if self.catalog_dirty {
                self.catalog_dirty = false;
                self.waiting = true;
                self.ask_snapshot(Freshness::Fresh, out);
            }
        }
        out.client.pass(range);
        Ok(true)
    }

    fn error(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<(), SessionError> {
        if self.phase == Phase::Starting {
            out.client.pass(range);
            return Ok(());
        }
        self.takes_back(out.now);
        if matches!(self.queue.head(), None | Some(Reply::Sync)) {
            // Nothing is owed: the server ends the connection (57P01 and its like), or COMMIT at Sync failed.
            if self.tainted && self.enforces() {
                out.client.message(|out| write_scrubbed(out, b'E', body, None));
            } else {
                out.client.pass(range);
            }
            return Ok(());
        }
        self.next_path = None;
        self.end_copy();
        self.begin(out, None);
        let withholds = self.withholds();
        let turned = self.head_statement().and_then(|statement| statement.turned.clone());
        let mut state = sqlstate(body).filter(|state| !withholds || is_known(state));
        let probed = match self.queue.head() {
            Some(Reply::Probe { fault, .. }) => Some(fault.clone()),
            _ => None,
        };
        let fault = match self.queue.head_mut() {
            Some(Reply::Refused { fault, .. }) => Some(fault.clone()),
            Some(Reply::RefusedQuery { fault, told, .. }) if !*told => {
                *told = true;
                Some(fault.clone())
            }
            _ => self.copy_refused.take(),
        };
        let ends = if probed.is_none() && fault.is_none() { self.counts_error(body, out) } else { None };
        if let Some(fault) = ends {
            fault.tell(out);
            return Err(SessionError::Client("too many errors"));
        }
        if let Some(fault) = &probed {
            state = probe::answer(fault, body, state, out);
        } else if let Some(fault) = &fault {
            state = Some(fault.sqlstate.to_owned());
            out.client.message(|out| fault.write(out));
        } else if (turned.is_some() || withholds && !self.speaks_of_definitions(body))
            && !is_about_session(body, self.said().as_deref())
        {
            out.client.message(|out| write_scrubbed(out, b'E', body, turned.as_deref()));
        } else {
            out.client.pass(range);
        }
        if let Some(current) = &mut self.current {
            current.sqlstate = state;
        }
        if !matches!(self.queue.head(), Some(Reply::Simple { .. } | Reply::RefusedQuery { .. })) {
            self.finish(out);
            if matches!(self.queue.head(), Some(Reply::Trial { .. })) {
                self.tried = Some(false);
            }
            self.queue.fail();
            // A Describe may be among what the server now skips.
            for sent in self.sent.values_mut() {
                sent.described = false;
            }
        }
        Ok(())
    }
}

fn ruled(plan: Arc<RowPlan>, enforces: bool) -> Rows {
    if !enforces {
        Rows::Pass
    } else if plan.is_clear() {
        Rows::Clear { cells: plan.cells().len() }
    } else {
        Rows::Masked(plan)
    }
}

/// A cell nobody described has no rule, not even the one to show it.
fn expect_cells(cells: usize, body: &[u8]) -> Result<(), SessionError> {
    let count = Fields::new(body).int16().and_then(|count| usize::try_from(count).ok());
    if count == Some(cells) { Ok(()) } else { Err(SessionError::Server("row unlike its description")) }
}

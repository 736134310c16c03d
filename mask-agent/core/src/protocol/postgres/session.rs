//! The session: state, and the backend's half.
//!
//! ```text
//! Opening ──Startup──▶ LoggingIn ──AuthenticationOk──▶ Starting ──snapshot, ReadyForQuery──▶ Ready
//! ```
//!
//! Promise: no `DataRow` of a statement that is not plain is forwarded without a plan for its columns.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use super::{
    FRAME_BYTES_MAX,
    error::{Fault, LIMIT, PROTOCOL, sqlstate, write_scrubbed},
    frame::{Fields, HEADER_BYTES, header},
    queue::{Analysed, Asker, Portal, Prepared, Queue, Reply},
    rows::Shape,
};
use crate::{
    audit::{Event, MaskedColumn},
    lineage::Trust,
    masking::{MaskKey, RowPlan},
    policy::Mode,
    session::{Freshness, Input, Login, Outbox, PasswordProof, Session, SessionError, Snapshot, Want},
};

/// Encodings whose second byte may be an ASCII character: masks and the lexer would read them wrong.
const UNSAFE_ENCODINGS: [&[u8]; 7] =
    [b"SJIS", b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB", b"SHIFT_JIS_2004"];

/// What a session is made with.
pub struct Settings {
    /// Key of the hash masks.
    pub key: MaskKey,
    /// Random bytes for the client's cancel key.
    pub cancel_secret: [u8; 32],
    /// How a password is proved to the server.
    pub proof: Box<dyn PasswordProof>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    LoggingIn(Asked),
    Opening,
    Ready,
    Starting,
}

/// What the server asked for, and so what the client's password is turned into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Clear,
    Md5([u8; 4]),
    Nothing,
    Scram,
}

/// The statement whose reply is arriving.
struct Current {
    number: u64,
    started: Duration,
    rows: u64,
    bytes: u64,
    cells_masked: u64,
    sqlstate: Option<String>,
    rows_under: Rows,
}

/// How the rows of the current statement go.
#[derive(Clone)]
enum Rows {
    Masked(Arc<RowPlan>),
    Pass,
    Unknown,
}

/// The last `RowDescription` of a simple query and what was made of it.
struct Described {
    body: Vec<u8>,
    trust: Trust,
    epoch: u64,
    shape: Arc<Shape>,
    plan: Arc<RowPlan>,
}

/// A PostgreSQL session between one client and one upstream.
pub struct PostgresSession {
    pub(super) settings: Settings,
    pub(super) phase: Phase,
    pub(super) encryption_asked: u8,
    pub(super) minor: u16,
    pub(super) login: Option<Login>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) snapshot_at: Duration,
    /// Nothing more from the client until the snapshot that was asked for is here.
    pub(super) waiting: bool,
    load_asked: bool,
    catalog_dirty: bool,
    /// Counts whatever may change what a statement's names mean.
    pub(super) epoch: u64,
    pub(super) lexer_is_safe: bool,
    pub(super) queue: Queue,
    prepared: HashMap<Vec<u8>, Prepared>,
    portals: HashMap<Vec<u8>, Portal>,
    /// Statements as the client's next message will find them, with the epoch they were analysed in.
    pub(super) sent: HashMap<Vec<u8>, (Arc<Analysed>, u64)>,
    pub(super) decisions: HashMap<String, Arc<Analysed>>,
    current: Option<Current>,
    described: Option<Described>,
    statements: u64,
    /// A statement of this transaction touched sensitive relations: a deferred constraint may quote them.
    tainted: bool,
    pub(super) in_transaction: bool,
    server_pass: usize,
    pub(super) client_pass: usize,
}

impl PostgresSession {
    /// A session that has read nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Opening,
            encryption_asked: 0,
            minor: 0,
            login: None,
            snapshot: None,
            snapshot_at: Duration::ZERO,
            waiting: false,
            load_asked: false,
            catalog_dirty: false,
            epoch: 0,
            lexer_is_safe: true,
            queue: Queue::default(),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            sent: HashMap::new(),
            decisions: HashMap::new(),
            current: None,
            described: None,
            statements: 0,
            tainted: false,
            in_transaction: false,
            server_pass: 0,
            client_pass: 0,
        }
    }

    /// Who logged in where; known from the first [`Want::LoadCatalog`] on.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    pub(super) fn enforces(&self) -> bool {
        self.snapshot.as_ref().is_none_or(|snapshot| snapshot.mode == Mode::Enforce)
    }

    /// Tells the client and ends the connection.
    pub(super) fn fatal(
        out: &mut Outbox,
        sqlstate: &'static str,
        why: &'static str,
        error: SessionError,
    ) -> SessionError {
        out.client.message(|out| Fault::fatal(sqlstate, why).write(out));
        error
    }

    fn server(&mut self, bytes: &[u8], out: &mut Outbox) -> Result<usize, SessionError> {
        let mut at = 0;
        while at < bytes.len() {
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
                at += self.partial(kind, length, at..bytes.len(), out)?;
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
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<usize, SessionError> {
        let streams = match kind {
            b'D' if self.phase == Phase::Ready => matches!(self.rows(out)?, Rows::Pass),
            b'd' => self.copy_passes()?,
            _ => false,
        };
        if streams {
            if let Some(current) = &mut self.current {
                current.rows += 1;
                current.bytes += length as u64;
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
            Phase::Opening => return Err(SessionError::Server("message before start-up")),
            Phase::LoggingIn(_) => return self.backend_login(kind, range, body, out).map(|()| true),
            Phase::Ready | Phase::Starting => {}
        }
        match kind {
            b'D' => self.data_row(range, body, out)?,
            b'C' => self.command_complete(range, out)?,
            b'Z' => return self.ready_for_query(range, body, out),
            b'T' => self.row_description(range, body, out)?,
            b'E' => self.error(range, body, out)?,
            b'N' => self.notice(range, body, out),
            b'S' => self.parameter_status(range, body, out)?,
            b'K' => self.backend_key(body, out)?,
            b'A' | b'v' => out.client.pass(range),
            b'1' => {
                let Some(Reply::Parse { statement, analysed }) = self.queue.pop() else {
                    return Err(SessionError::Server("unexpected ParseComplete"));
                };
                self.prepared.insert(statement, Prepared { analysed, shape: None });
                out.client.pass(range);
            }
            b'2' => self.bind_complete(range, out)?,
            b'3' => {
                let Some(Reply::Close { kind, name }) = self.queue.pop() else {
                    return Err(SessionError::Server("unexpected CloseComplete"));
                };
                if kind == b'S' {
                    self.prepared.remove(&name).map(drop)
                } else {
                    self.portals.remove(&name).map(drop)
                };
                out.client.pass(range);
            }
            b't' => match self.queue.head() {
                Some(Reply::DescribeStatement { asker: Asker::Client, .. }) => out.client.pass(range),
                Some(Reply::DescribeStatement { asker: Asker::Session, .. }) => {}
                _ => return Err(SessionError::Server("unexpected ParameterDescription")),
            },
            b'n' => match self.queue.pop() {
                Some(Reply::DescribeStatement { asker: Asker::Session, .. }) => {}
                Some(Reply::DescribeStatement { .. } | Reply::DescribePortal { .. }) => {
                    out.client.pass(range)
                }
                _ => return Err(SessionError::Server("unexpected NoData")),
            },
            b's' | b'I' => {
                self.begin(out, None);
                out.client.pass(range);
                if matches!(self.queue.head(), Some(Reply::Execute { .. })) {
                    self.queue.pop();
                    self.finish(out);
                } else if kind == b's' {
                    return Err(SessionError::Server("unexpected PortalSuspended"));
                }
            }
            b'G' => {
                self.begin(out, None);
                if matches!(self.queue.head(), Some(Reply::Execute { .. })) {
                    self.queue.drop_syncs();
                }
                out.client.pass(range);
            }
            b'H' | b'd' | b'c' => {
                self.begin(out, None);
                if !self.copy_passes()? {
                    return Err(SessionError::Server("COPY data without a ruling"));
                }
                if kind == b'd'
                    && let Some(current) = &mut self.current
                {
                    current.rows += 1;
                    current.bytes += body.len() as u64;
                }
                out.client.pass(range);
            }
            // CopyBoth and FunctionCallResponse answer requests that are refused.
            _ => return Err(SessionError::Server("message type that nothing asked for")),
        }
        Ok(true)
    }

    fn head_analysed(&self) -> Option<Arc<Analysed>> {
        match self.queue.head()? {
            Reply::Simple { analysed } | Reply::Parse { analysed, .. } => Some(analysed.clone()),
            Reply::Execute { portal } | Reply::DescribePortal { portal } => {
                self.portals.get(portal).map(|portal| portal.prepared.analysed.clone())
            }
            Reply::Bind { statement, .. } | Reply::DescribeStatement { statement, .. } => {
                self.prepared.get(statement).map(|prepared| prepared.analysed.clone())
            }
            Reply::Refused { analysed, .. } | Reply::RefusedQuery { analysed, .. } => analysed.clone(),
            Reply::Close { .. } | Reply::Sync => None,
        }
    }

    /// Records the statement at the head of the queue, once, before anything of its reply leaves.
    fn begin(&mut self, out: &mut Outbox, plan: Option<(&Shape, &RowPlan)>) {
        if self.current.is_some() {
            return;
        }
        let analysed = self.head_analysed();
        let refused = match self.queue.head() {
            Some(Reply::Refused { .. } | Reply::RefusedQuery { .. }) => true,
            Some(_) => false,
            None => return,
        };
        self.statements += 1;
        let columns = plan.map(|(shape, plan)| shape.masked(plan)).unwrap_or_default();
        let (ruling, rule) = match (&analysed, refused) {
            (Some(analysed), true) => ("refuse", analysed.code.to_owned()),
            (None, true) => ("refuse", "unsupported".to_owned()),
            (_, false) if columns.is_empty() => ("allow", "default".to_owned()),
            (_, false) => ("mask", columns[0].1.clone()),
        };
        if let Some(analysed) = &analysed
            && !refused
        {
            self.tainted |= !matches!(analysed.trust, Trust::Plain);
        }
        out.events.push(Event::Statement {
            statement: self.statements,
            sql: analysed.as_ref().map(|analysed| analysed.sql.clone()).unwrap_or_default(),
            command: analysed.as_ref().map_or("", |analysed| analysed.command).to_owned(),
            relations: analysed.as_ref().map(|analysed| analysed.relations.clone()).unwrap_or_default(),
            columns: columns
                .into_iter()
                .map(|(name, rule, mask)| MaskedColumn { name, rule, mask })
                .collect(),
            ruling,
            rule,
        });
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

    fn finish(&mut self, out: &mut Outbox) {
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
        let trust = &portal.prepared.analysed.trust;
        let Some(shape) = &portal.prepared.shape else {
            self.begin(out, None);
            return match trust {
                Trust::Plain => Ok(Rows::Pass),
                Trust::Opaque | Trust::Origins if !enforces => Ok(Rows::Pass),
                Trust::Opaque | Trust::Origins => Err(SessionError::Server("row without a description")),
            };
        };
        let plan = Arc::new(shape.plan(trust, &snapshot, Some(&portal.formats)));
        self.begin(out, Some((shape, &plan)));
        Ok(if plan.is_clear() || !enforces { Rows::Pass } else { Rows::Masked(plan) })
    }

    fn data_row(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<(), SessionError> {
        let rows = self.rows(out)?;
        let Some(current) = &mut self.current else {
            return Err(SessionError::Server("row without a statement"));
        };
        current.rows += 1;
        current.bytes += body.len() as u64;
        match rows {
            Rows::Pass => out.client.pass(range),
            Rows::Masked(plan) => {
                let masked = out.client.row(&self.settings.key, &plan, body);
                current.cells_masked += masked.map_err(|_| SessionError::Server("malformed row"))?;
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
    ) -> Result<(), SessionError> {
        let malformed = SessionError::Server("malformed RowDescription");
        match self.queue.head() {
            Some(Reply::Simple { analysed }) => {
                let analysed = analysed.clone();
                self.describe_simple(&analysed, body, out).ok_or(malformed)?;
                out.client.pass(range);
            }
            Some(Reply::DescribeStatement { .. } | Reply::DescribePortal { .. }) => {
                let shape = Arc::new(Shape::parse(body).ok_or(malformed)?);
                self.note_strangers(&shape, out);
                match self.queue.pop() {
                    Some(Reply::DescribeStatement { statement, asker }) => {
                        if let Some(prepared) = self.prepared.get_mut(&statement) {
                            prepared.shape = Some(shape);
                        }
                        if asker == Asker::Client {
                            out.client.pass(range);
                        }
                    }
                    Some(Reply::DescribePortal { portal }) => {
                        if let Some(portal) = self.portals.get_mut(&portal) {
                            portal.prepared.shape = Some(shape);
                        }
                        out.client.pass(range);
                    }
                    _ => return Err(SessionError::Server("unexpected RowDescription")),
                }
            }
            _ => return Err(SessionError::Server("unexpected RowDescription")),
        }
        Ok(())
    }

    fn describe_simple(&mut self, analysed: &Arc<Analysed>, body: &[u8], out: &mut Outbox) -> Option<()> {
        let snapshot = self.snapshot.clone()?;
        let (shape, plan) = match &self.described {
            Some(last) if last.body == body && last.trust == analysed.trust && last.epoch == self.epoch => {
                (last.shape.clone(), last.plan.clone())
            }
            _ => {
                let shape = Arc::new(Shape::parse(body)?);
                let plan = Arc::new(shape.plan(&analysed.trust, &snapshot, None));
                self.described = Some(Described {
                    body: body.to_vec(),
                    trust: analysed.trust.clone(),
                    epoch: self.epoch,
                    shape: shape.clone(),
                    plan: plan.clone(),
                });
                (shape, plan)
            }
        };
        self.note_strangers(&shape, out);
        self.begin(out, Some((&shape, &plan)));
        let pass = plan.is_clear() || !self.enforces();
        if let Some(current) = &mut self.current {
            current.rows_under = if pass { Rows::Pass } else { Rows::Masked(plan) };
        }
        Some(())
    }

    /// A relation the snapshot does not know is redacted now and looked up for the next time.
    fn note_strangers(&mut self, shape: &Shape, out: &mut Outbox) {
        if let Some(snapshot) = &self.snapshot
            && shape.has_stranger(snapshot)
            && out.now.saturating_sub(self.snapshot_at) > Duration::from_secs(1)
        {
            self.ask_snapshot(Freshness::Fresh, out);
        }
    }

    pub(super) fn ask_snapshot(&mut self, freshness: Freshness, out: &mut Outbox) {
        if !self.load_asked {
            self.load_asked = true;
            out.wants.push(Want::LoadCatalog { freshness });
        }
    }

    fn bind_complete(&mut self, range: Range<usize>, out: &mut Outbox) -> Result<(), SessionError> {
        let Some(Reply::Bind { portal, statement, formats }) = self.queue.pop() else {
            return Err(SessionError::Server("unexpected BindComplete"));
        };
        match self.prepared.get(&statement) {
            Some(prepared) => {
                self.portals.insert(portal, Portal { prepared: prepared.clone(), formats });
            }
            // A statement made by SQL PREPARE, which is refused where rulings are applied.
            None => drop(self.portals.remove(&portal)),
        }
        out.client.pass(range);
        Ok(())
    }

    fn copy_passes(&self) -> Result<bool, SessionError> {
        let analysed =
            self.head_analysed().ok_or(SessionError::Server("COPY data that nothing asked for"))?;
        Ok(matches!(analysed.trust, Trust::Plain) || !self.enforces())
    }

    fn command_complete(&mut self, range: Range<usize>, out: &mut Outbox) -> Result<(), SessionError> {
        self.begin(out, None);
        let analysed = self.head_analysed();
        match self.queue.head() {
            Some(Reply::Execute { .. }) => {
                self.queue.pop();
                self.finish(out);
            }
            Some(Reply::Simple { .. }) => {
                if let Some(current) = &mut self.current {
                    current.rows_under = Rows::Unknown;
                }
            }
            _ => return Err(SessionError::Server("unexpected CommandComplete")),
        }
        if let Some(analysed) = analysed {
            self.catalog_dirty |= analysed.changes_catalog;
            if analysed.changes_catalog || analysed.changes_settings {
                self.epoch += 1;
            }
        }
        out.client.pass(range);
        Ok(())
    }

    fn ready_for_query(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<bool, SessionError> {
        let [status] = *body else { return Err(SessionError::Server("malformed ReadyForQuery")) };
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
        match self.queue.pop() {
            Some(Reply::Sync) => {}
            Some(Reply::Simple { .. } | Reply::RefusedQuery { .. }) => self.finish(out),
            // A Sync that crossed the error which ended a COPY FROM STDIN has lost its entry.
            None => {}
            Some(_) => return Err(SessionError::Server("unexpected ReadyForQuery")),
        }
        self.in_transaction = status != b'I';
        if !self.in_transaction {
            self.portals.clear();
            if self.queue.len() == 0 {
                self.tainted = false;
            }
            if self.catalog_dirty {
                self.catalog_dirty = false;
                self.waiting = true;
                self.load_asked = false;
                self.ask_snapshot(Freshness::Fresh, out);
            }
        }
        out.client.pass(range);
        Ok(true)
    }

    fn withholds(&self) -> bool {
        let plain = self.head_analysed().is_none_or(|analysed| matches!(analysed.trust, Trust::Plain));
        self.enforces() && (self.tainted || !plain)
    }

    fn error(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<(), SessionError> {
        if self.phase == Phase::Starting {
            out.client.pass(range);
            return Ok(());
        }
        if matches!(self.queue.head(), None | Some(Reply::Sync)) {
            // Nothing is owed: the server ends the connection (57P01 and its like), or COMMIT at Sync failed.
            if self.tainted && self.enforces() {
                out.client.message(|out| write_scrubbed(out, b'E', body));
            } else {
                out.client.pass(range);
            }
            return Ok(());
        }
        self.begin(out, None);
        let withholds = self.withholds();
        let mut state = sqlstate(body);
        let fault = match self.queue.head_mut() {
            Some(Reply::Refused { fault, .. }) => Some(fault.clone()),
            Some(Reply::RefusedQuery { fault, told, .. }) if !*told => {
                *told = true;
                Some(fault.clone())
            }
            _ => None,
        };
        if let Some(fault) = &fault {
            state = Some(fault.sqlstate.to_owned());
            out.client.message(|out| fault.write(out));
        } else if withholds {
            out.client.message(|out| write_scrubbed(out, b'E', body));
        } else {
            out.client.pass(range);
        }
        if let Some(current) = &mut self.current {
            current.sqlstate = state;
        }
        if !matches!(self.queue.head(), Some(Reply::Simple { .. } | Reply::RefusedQuery { .. })) {
            self.finish(out);
            self.queue.fail();
        }
        Ok(())
    }

    fn notice(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) {
        if self.phase == Phase::Ready && self.withholds() {
            out.client.message(|out| write_scrubbed(out, b'N', body));
        } else {
            out.client.pass(range);
        }
    }

    fn parameter_status(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let (Some(name), Some(value)) = (fields.string(), fields.string()) else {
            return Err(SessionError::Server("malformed ParameterStatus"));
        };
        match name {
            b"client_encoding" if self.enforces() && UNSAFE_ENCODINGS.contains(&value) => {
                let why = "this client_encoding cannot be masked safely; use UTF8";
                return Err(Self::fatal(out, PROTOCOL, why, SessionError::Client("unsafe client_encoding")));
            }
            b"standard_conforming_strings" => self.lexer_is_safe = value == b"on",
            _ => {}
        }
        out.client.pass(range);
        Ok(())
    }
}

impl Session for PostgresSession {
    fn handle(&mut self, input: Input<'_>, out: &mut Outbox) -> Result<usize, SessionError> {
        match input {
            Input::Client(bytes) => self.client(bytes, out),
            Input::Server(bytes) => self.server(bytes, out),
            Input::Snapshot(snapshot) => {
                let same = self.snapshot.as_ref().is_some_and(|held| Arc::ptr_eq(held, &snapshot));
                if !same {
                    self.snapshot = Some(snapshot);
                    self.epoch += 1;
                    self.decisions.clear();
                    self.described = None;
                }
                self.snapshot_at = out.now;
                self.waiting = false;
                self.load_asked = false;
                Ok(0)
            }
            Input::DialFailed => {
                let why = "the database this connection was meant for cannot be reached";
                Err(Self::fatal(out, "08001", why, SessionError::Server("not reachable")))
            }
            Input::SnapshotFailed => {
                let why = "the database's catalog could not be read, so nothing can be shown";
                Err(Self::fatal(out, "58000", why, SessionError::Server("catalog not loaded")))
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    fn accepts_client(&self) -> bool {
        !self.waiting
    }

    fn accepts_server(&self) -> bool {
        !(self.waiting && self.phase == Phase::Starting)
    }
}

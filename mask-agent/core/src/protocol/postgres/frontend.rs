//! The frontend's half: start-up, queries, the extended protocol.
//!
//! A refused message is replaced by one that the server is certain to fail, so that transaction status, reply
//! order and the discarding up to Sync are the server's own; only the text of its error becomes ours.

use std::ops::Range;

use super::{
    FRAME_BYTES_MAX,
    copy_in::CopyEnd,
    error::{Fault, LIMIT, PROTOCOL, UNSUPPORTED},
    frame::{Fields, HEADER_BYTES, header, put, put_string},
    queue::{Analysed, Asker, Reply, Statement},
    session::{Asked, Phase, PostgresSession, Sent},
    startup::{self, Packet, Startup},
    tokens::{SentAs, Turning, stale},
};
use crate::lineage::Keeps;
use crate::session::{Disclosure, Handshake, Login, Outbox, SessionError, Want};

/// Fails in the server's grammar, and tells the reader of the server's log why.
const FAILING_SQL: &[u8] = b"mask_agent_refused_this_statement";
/// Prepared statements of a connection; drivers keep a few hundred.
pub(super) const STATEMENTS_MAX: usize = 10_000;
/// Bytes of SQL that prepared statements of a connection may hold together.
const STATEMENTS_BYTES_MAX: usize = 64 << 20;
/// Bytes of a message that holds names and numbers, its length included: `PQ_SMALL_MESSAGE_LIMIT` of servers from 14 on.
const SHORT_BYTES_MAX: usize = 10_000;
/// Portals of a transaction; drivers have a handful.
const PORTALS_MAX: usize = 10_000;
/// Replies owed at a time. Beyond that the client is not read on, and the server, which flushes long before,
/// catches up.
pub(super) const QUEUE_MAX: usize = 65_536;

impl PostgresSession {
    pub(super) fn client(&mut self, bytes: &[u8], out: &mut Outbox) -> Result<usize, SessionError> {
        let mut at = 0;
        while at < bytes.len() && !self.waiting && !self.settling && self.queue.len() < QUEUE_MAX {
            if self.phase == Phase::Opening {
                let Some(count) = self.open(&bytes[at..], at, out)? else { break };
                at += count;
                continue;
            }
            if self.client_pass > 0 {
                let count = self.client_pass.min(bytes.len() - at);
                if let Some(scan) = &mut self.copy_in {
                    scan.read(&bytes[at..at + count]);
                }
                out.server.0.input(at..at + count);
                self.client_pass -= count;
                at += count;
                continue;
            }
            let Some((kind, length)) = header(&bytes[at..]).map_err(SessionError::Client)? else { break };
            if !matches!(
                kind,
                b'B' | b'C'
                    | b'D'
                    | b'E'
                    | b'F'
                    | b'H'
                    | b'P'
                    | b'Q'
                    | b'S'
                    | b'X'
                    | b'c'
                    | b'd'
                    | b'f'
                    | b'p'
            ) {
                let why = "invalid frontend message type";
                return Err(Self::fatal(out, PROTOCOL, why, SessionError::Client(why)));
            }
            if kind == b'd' && self.phase == Phase::Ready {
                self.refuses_copy(CopyEnd::Open, out);
                // What is looked at is only the body.
                out.server.0.input(at..at + HEADER_BYTES);
                at += HEADER_BYTES;
                self.client_pass = length;
                continue;
            }
            let is_short = matches!(kind, b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f');
            if is_short && HEADER_BYTES - 1 + length > SHORT_BYTES_MAX {
                let why = "invalid message length";
                return Err(Self::fatal(out, PROTOCOL, why, SessionError::Client(why)));
            }
            if length > FRAME_BYTES_MAX {
                let why = "a message is longer than 64 MiB";
                return Err(Self::fatal(out, LIMIT, why, SessionError::Client(why)));
            }
            let end = at + HEADER_BYTES + length;
            let Some(body) = bytes.get(at + HEADER_BYTES..end) else { break };
            if !self.frontend(kind, at..end, body, out)? {
                break;
            }
            at = end;
        }
        Ok(at)
    }

    fn open(&mut self, bytes: &[u8], at: usize, out: &mut Outbox) -> Result<Option<usize>, SessionError> {
        if self.opens_with_tls(bytes) {
            self.secure(Handshake::Direct, out);
            return Ok(Some(bytes.len()));
        }
        let packet = startup::packet(bytes)
            .map_err(|why| Self::fatal(out, PROTOCOL, why, SessionError::Client(why)))?;
        let Some((packet, length)) = packet else { return Ok(None) };
        match packet {
            Packet::Gss | Packet::Ssl => {
                self.encryption_request(&packet, bytes.len() > length, out)?;
            }
            Packet::Cancel { pid, key } => {
                out.wants.push(Want::Cancel { pid, key: key.to_vec() });
                return Err(SessionError::Finished);
            }
            Packet::Startup(startup) => {
                self.start(startup, out)?;
                match self.login.as_ref().filter(|login| login.client_user.is_some()) {
                    Some(login) => {
                        let renamed = startup::renamed(&bytes[..length], &login.user, &login.database);
                        out.server.0.scratch(|out| out.extend_from_slice(&renamed));
                    }
                    None => out.server.0.input(at..at + length),
                }
            }
        }
        Ok(Some(length))
    }

    fn start(&mut self, startup: Startup, out: &mut Outbox) -> Result<(), SessionError> {
        self.check_encrypted(out)?;
        if startup.replication {
            let why = "replication connections carry every column and are refused";
            return Err(Self::fatal(out, UNSUPPORTED, why, SessionError::Client(why)));
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes);
        let (Ok(user), Ok(database)) = (text(startup.user), text(startup.database)) else {
            let why = "user and database names must be UTF-8";
            return Err(Self::fatal(out, PROTOCOL, why, SessionError::Client(why)));
        };
        self.minor = startup.minor;
        self.starts_with_path = startup.has_path;
        self.meaning.start(&startup.settings);
        let disclosure = Disclosure::Clear;
        self.login = Some(Login { user, database, password: None, disclosure, client_user: None });
        self.phase = Phase::LoggingIn(Asked::Nothing);
        self.choose_credential(out)
    }

    /// One whole message; false leaves it unread until a snapshot is here.
    fn frontend(
        &mut self,
        kind: u8,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<bool, SessionError> {
        if let Phase::LoggingIn(asked) | Phase::Proving(asked) = self.phase {
            return match kind {
                b'p' if self.proving.is_some() => self.prove(asked, body, out).map(|()| true),
                b'p' => self.password(asked, body, out).map(|()| true),
                b'X' => Err(SessionError::Finished),
                _ => Err(SessionError::Client("unexpected message during authentication")),
            };
        }
        match kind {
            b'Q' => return self.query(range, body, out),
            b'P' => return self.parse(range, body, out),
            b'B' => return self.bind(range, body, out),
            b'D' | b'C' => self.describe_or_close(kind, range, body, out)?,
            b'E' => return self.execute(range, body, out),
            // The server fails on it, and skips what comes then.
            b'S' | b'H' if !body.is_empty() => return Err(SessionError::Client("Sync or Flush has a body")),
            b'S' => {
                out.server.0.input(range);
                self.transaction_may_end();
                self.run += 1;
                self.queue.push(Reply::Sync);
            }
            b'F' => self.function_call(range, body, out)?,
            b'X' => {
                out.server.0.input(range);
            }
            b'c' if self.refuses_copy(CopyEnd::Done, out) => self.queue.end_copy(),
            b'H' => out.server.0.input(range),
            b'c' | b'f' => {
                out.server.0.input(range);
                self.queue.end_copy();
            }
            _ => return Err(SessionError::Client("unexpected message")),
        }
        Ok(true)
    }

    pub(super) fn put_query(out: &mut Outbox) {
        out.server.0.scratch(|out| put(out, b'Q', |out| put_string(out, FAILING_SQL)));
    }

    pub(super) fn put_parse(out: &mut Outbox) {
        out.server.0.scratch(|out| {
            put(out, b'P', |out| {
                put_string(out, b"");
                put_string(out, FAILING_SQL);
                out.extend_from_slice(&0u16.to_be_bytes());
            });
        });
    }

    fn query(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<bool, SessionError> {
        let mut fields = Fields::new(body);
        let sql = fields.string().filter(|_| fields.is_empty());
        let sql = sql.ok_or(SessionError::Client("malformed Query"))?;
        if self.tried == Some(false) {
            self.ends_trial(out);
            return Ok(true);
        }
        let Some(analysed) = self.analysed(sql, out) else { return Ok(false) };
        let mut statement = Statement::new(self.encodings.text(sql).into(), analysed);
        // A simple query ends the unnamed statement and portal.
        self.forget(b"");
        self.undescribed.remove(&b""[..]);
        if let Some(fault) = self.refusal(&statement.analysed) {
            self.refuse_query(fault, statement, sql, out);
            return Ok(true);
        }
        let turned = match self.turn_text(&statement, sql, SentAs::Query) {
            Turning::Nothing => None,
            Turning::Turned(turned) => Some(turned),
            Turning::Wait => {
                self.settle(out);
                return Ok(false);
            }
            Turning::Refused(fault) => {
                Self::put_query(out);
                self.queue.push(Reply::RefusedQuery { fault, statement: Some(statement), told: false });
                return Ok(true);
            }
        };
        let others = self.run_by(&statement.analysed);
        if !self.is_tried(&statement, sql, out) {
            return Ok(false);
        }
        if !self.remembers(&statement.analysed, out) || !self.remember(&others, out) {
            return Ok(false);
        }
        let admitted =
            self.affords(&statement, b"", b"", out).and_then(|()| self.admits(&statement.analysed));
        let admitted = admitted.and_then(|()| self.admits_plans(&statement));
        if let Err(fault) = admitted.and_then(|()| self.admit(&others, b"", out)) {
            Self::put_query(out);
            self.queue.push(Reply::RefusedQuery { fault, statement: Some(statement), told: false });
            return Ok(true);
        }
        if let Some(turned) = &turned {
            self.turned(&mut statement, b"", turned);
            out.server.0.scratch(|out| put(out, b'Q', |out| put_string(out, turned.text.as_bytes())));
        } else {
            out.server.0.input(range);
        }
        self.transaction_may_end();
        for other in &others {
            self.sends(&other.analysed);
        }
        self.sends(&statement.analysed);
        self.runs_setting(&statement.analysed, &others, out.now);
        self.meaning.sends(&statement.analysed, out.now, self.standing());
        let epoch = self.epoch;
        if let [part] = &*statement.analysed.parts
            && let Some(Keeps::Prepared(name)) = &part.keeps
        {
            // The protocol's Bind finds it as well.
            let sent =
                Sent { statement: statement.clone(), epoch, run: None, described: false, odd: Vec::new() };
            self.forget(name.as_bytes());
            self.statements_bytes += statement.sql.len();
            self.sent.insert(name.clone().into_bytes(), sent);
        }
        self.queue.push(Reply::Simple { statement, part: 0, epoch });
        Ok(true)
    }

    /// What a statement changes is taken note of when it is sent.
    pub(super) fn sends(&mut self, analysed: &Analysed) {
        if analysed.sets_path.is_some() {
            self.take_path(None);
        }
        self.keep_uses(analysed);
        self.redefines(analysed);
        if self.enforces() {
            for made in &analysed.made {
                self.overlay.learn(made);
            }
        }
        self.unreported += usize::from(analysed.changes_settings);
        if analysed.changes_settings || !analysed.made.is_empty() {
            self.names_changed_by_statement();
        }
    }

    fn parse(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<bool, SessionError> {
        let malformed = || SessionError::Client("malformed Parse");
        let mut fields = Fields::new(body);
        let name = fields.string().ok_or_else(malformed)?;
        let sql = fields.string().ok_or_else(malformed)?;
        let types = fields.int16().ok_or_else(malformed)?;
        let types = usize::try_from(types).map_err(|_| malformed())?;
        let types = fields.bytes(types * 4).filter(|_| fields.is_empty()).ok_or_else(malformed)?;
        let Some(analysed) = self.analysed(sql, out) else { return Ok(false) };
        let mut statement = Statement::new(self.encodings.text(sql).into(), analysed);
        if let Some(fault) = self.refusal(&statement.analysed) {
            self.forget(name);
            self.refuse_parse(fault, statement, sql, &body[body.len() - types.len() - 2..], out);
            return Ok(true);
        }
        let bytes = self.statements_bytes + statement.sql.len();
        let known = self.sent.contains_key(name);
        if !name.is_empty() && !known && (self.sent.len() >= STATEMENTS_MAX || bytes > STATEMENTS_BYTES_MAX) {
            Self::put_parse(out);
            let fault = Fault::limit("too many prepared statements", "Close some, or use fewer names.");
            self.queue.push(Reply::Refused { fault, statement: Some(statement) });
            return Ok(true);
        }
        let turned = match self.turn_text(&statement, sql, SentAs::Parse) {
            Turning::Nothing | Turning::Wait => None,
            Turning::Turned(turned) => Some(turned),
            Turning::Refused(fault) => {
                self.forget(name);
                Self::put_parse(out);
                self.queue.push(Reply::Refused { fault, statement: Some(statement) });
                return Ok(true);
            }
        };
        if let Some(turned) = &turned {
            self.turned(&mut statement, name, turned);
        }
        let (epoch, run) = (self.epoch, Some(self.run));
        let mut sent = Sent { statement: statement.clone(), epoch, run, described: false, odd: Vec::new() };
        sent.declare(types);
        self.statements_bytes = bytes;
        if let Some(before) = self.sent.insert(name.to_vec(), sent) {
            self.statements_bytes -= before.statement.sql.len();
        }
        self.keep_uses_of(name, &statement.analysed.budgeted);
        match turned {
            Some(turned) => out.server.0.scratch(|out| {
                put(out, b'P', |out| {
                    put_string(out, name);
                    put_string(out, turned.text.as_bytes());
                    out.extend_from_slice(&body[body.len() - types.len() - 2..]);
                });
            }),
            None => out.server.0.input(range),
        }
        self.queue.push(Reply::Parse { name: name.to_vec(), statement, epoch });
        Ok(true)
    }

    fn bind(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<bool, SessionError> {
        let Some((portal, name, formats, parameters)) = bind_fields(body) else {
            return Err(SessionError::Client("malformed Bind"));
        };
        // What it was ruled on may be another view by now.
        if !self.is_current(out) {
            return Ok(false);
        }
        self.undescribed.remove(portal);
        if self.portals.len().max(self.undescribed.len()) >= PORTALS_MAX && !self.portals.contains_key(portal)
        {
            Self::put_parse(out);
            let fault = Fault::limit("too many portals", "Close some, or end the transaction.");
            self.queue.push(Reply::Refused { fault, statement: None });
            return Ok(true);
        }
        if self.sent.get(name).is_some_and(|sent| sent.epoch != self.epoch) {
            match self.again(name, out) {
                None => return Ok(false),
                Some(Ok(())) => {}
                Some(Err(refused)) => {
                    Self::put_parse(out);
                    self.queue.push(refused);
                    return Ok(true);
                }
            }
        }
        let mut statement = self.sent.get(name).map(|sent| sent.statement.clone());
        if let Some(statement) = &mut statement {
            statement.is_given(parameters);
        }
        let turned = match self.turn_parameters(name, parameters) {
            Turning::Nothing => None,
            Turning::Turned(turned) => Some(turned),
            Turning::Wait => {
                self.settle(out);
                return Ok(false);
            }
            Turning::Refused(fault) => {
                Self::put_parse(out);
                self.queue.push(Reply::Refused { fault, statement });
                return Ok(true);
            }
        };
        let mut others = self.doubtful(name);
        if let Some(statement) = &statement {
            others.extend(self.run_by(&statement.analysed));
        }
        if !self.remember(&others, out) {
            return Ok(false);
        }
        let admitted = statement.as_ref().map_or(Ok(()), |statement| self.admits_plans(statement));
        if let Err(fault) = admitted.and_then(|()| self.admit(&others, parameters, out)) {
            Self::put_parse(out);
            self.queue.push(Reply::Refused { fault, statement: others.into_iter().next() });
            return Ok(true);
        }
        for other in &others {
            self.undescribed.insert(portal.to_vec(), name.to_vec());
            self.transaction_may_end();
            self.sends(&other.analysed);
        }
        if let Some(statement) = &statement {
            if !self.is_parsed(statement, name, out) || !self.remembers(&statement.analysed, out) {
                return Ok(false);
            }
            let admitted = self.affords(statement, name, parameters, out);
            if let Err(fault) = admitted.and_then(|()| self.admits(&statement.analysed)) {
                Self::put_parse(out);
                self.queue.push(Reply::Refused { fault, statement: Some(statement.clone()) });
                return Ok(true);
            }
            if self.sent.get(name).is_some_and(|sent| !sent.described) && !statement.analysed.is_rowless() {
                self.undescribed.insert(portal.to_vec(), name.to_vec());
            }
            if statement.analysed.ends_transaction() {
                self.transaction_may_end();
            }
            self.sends(&statement.analysed);
            self.runs_setting(&statement.analysed, &others, out.now);
            self.meaning.binds(portal, &statement.analysed, parameters, out.now);
        } else {
            self.runs_setting(&Analysed::nothing(), &others, out.now);
        }
        match turned {
            Some(turned) => {
                self.has_turned = true;
                out.server.0.scratch(|out| {
                    put(out, b'B', |out| {
                        put_string(out, portal);
                        put_string(out, name);
                        out.extend_from_slice(&turned);
                        let after = portal.len() + name.len() + 2 + parameters.len();
                        out.extend_from_slice(&body[after..]);
                    });
                });
            }
            None => out.server.0.input(range),
        }
        let (portal, name, epoch) = (portal.to_vec(), name.to_vec(), self.epoch);
        self.queue.push(Reply::Bind { portal, name, formats, statement, epoch });
        Ok(true)
    }

    fn forget(&mut self, name: &[u8]) {
        if let Some(sent) = self.sent.remove(name) {
            self.statements_bytes -= sent.statement.sql.len();
        }
    }

    /// Analyses a prepared statement anew, because names may mean something else now: its refusal, or `None`
    /// while a newer snapshot is awaited.
    fn again(&mut self, name: &[u8], out: &mut Outbox) -> Option<Result<(), Reply>> {
        let before = self.sent.get(name)?.statement.clone();
        let analysed = self.analysed_text(&before.sql, out)?;
        if let Some(fault) = self.refusal(&analysed) {
            let statement = Some(Statement { analysed, ..before });
            return Some(Err(Reply::Refused { fault, statement }));
        }
        if !self.still_turns(&before, &analysed) && self.enforces() {
            return Some(Err(Reply::Refused { fault: stale(), statement: Some(before) }));
        }
        let epoch = self.epoch;
        if let Some(sent) = self.sent.get_mut(name) {
            sent.epoch = epoch;
            sent.statement.analysed = analysed;
            sent.described = false;
        }
        Some(Ok(()))
    }

    /// A portal whose columns nobody asked for is described first; the answer is not shown to the client.
    fn execute(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<bool, SessionError> {
        let mut fields = Fields::new(body);
        let portal = fields.string().filter(|_| fields.int32().is_some() && fields.is_empty());
        let portal = portal.ok_or(SessionError::Client("malformed Execute"))?;
        match self.may_run(portal) {
            Turning::Nothing | Turning::Turned(()) => {}
            Turning::Wait => {
                self.settle(out);
                return Ok(false);
            }
            Turning::Refused(fault) => {
                Self::put_parse(out);
                self.queue.push(Reply::Refused { fault, statement: None });
                return Ok(true);
            }
        }
        if let Some(name) = self.undescribed.remove(portal) {
            out.server.0.scratch(|out| {
                put(out, b'D', |out| {
                    out.push(b'P');
                    put_string(out, portal);
                });
            });
            self.queue.push(Reply::DescribePortal { portal: portal.to_vec(), asker: Asker::Session });
            if let Some(sent) = self.sent.get_mut(&name) {
                sent.described = true;
            }
        }
        out.server.0.input(range);
        self.meaning.runs(portal, self.standing());
        self.queue.push(Reply::Execute { portal: portal.to_vec() });
        Ok(true)
    }

    fn describe_or_close(
        &mut self,
        message: u8,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let kind = fields.byte().filter(|kind| matches!(kind, b'S' | b'P'));
        let (Some(kind), Some(name), true) = (kind, fields.string(), fields.is_empty()) else {
            return Err(SessionError::Client("malformed Describe or Close"));
        };
        let name = name.to_vec();
        out.server.0.input(range);
        let reply = match (message, kind) {
            (b'C', _) => {
                if kind == b'S' {
                    self.forget(&name);
                } else {
                    self.undescribed.remove(&name);
                }
                Reply::Close { kind, name }
            }
            (_, b'S') => {
                if let Some(sent) = self.sent.get_mut(&name) {
                    sent.described = true;
                }
                Reply::DescribeStatement { name }
            }
            (_, _) => {
                if let Some(sent) = self.undescribed.remove(&name).and_then(|name| self.sent.get_mut(&name)) {
                    sent.described = true;
                }
                Reply::DescribePortal { portal: name, asker: Asker::Client }
            }
        };
        self.queue.push(reply);
        Ok(())
    }
}

/// Portal, statement, result formats, and the parameters as they came.
type BindFields<'a> = (&'a [u8], &'a [u8], Vec<i16>, &'a [u8]);

fn bind_fields(body: &[u8]) -> Option<BindFields<'_>> {
    let mut fields = Fields::new(body);
    let portal = fields.string()?;
    let statement = fields.string()?;
    let before = fields.rest();
    let parameter_formats = usize::try_from(fields.int16()?).ok()?;
    fields.bytes(parameter_formats * 2)?;
    // The count is unsigned: 65535 parameters are allowed.
    let parameters = fields.int16()?.cast_unsigned();
    for _ in 0..parameters {
        let length = fields.int32()?;
        if length != -1 {
            fields.bytes(usize::try_from(length).ok()?)?;
        }
    }
    let parameters = &before[..before.len() - fields.rest().len()];
    let formats = usize::try_from(fields.int16()?).ok()?;
    let formats = (0..formats).map(|_| fields.int16()).collect::<Option<Vec<_>>>()?;
    fields.is_empty().then_some((portal, statement, formats, parameters))
}

//! The frontend's half: start-up, queries, the extended protocol.
//!
//! A refused message is replaced by one that the server is certain to fail, so that transaction status, reply
//! order and the discarding up to Sync are the server's own; only the text of its error becomes ours.

use std::{ops::Range, sync::Arc, time::Duration};

use super::{
    FRAME_BYTES_MAX,
    error::{Fault, LIMIT, PROTOCOL, REFUSED, SYNTAX, UNSUPPORTED},
    frame::{Fields, HEADER_BYTES, header, put, put_string},
    queue::{Analysed, Asker, Reply},
    session::{Asked, Phase, PostgresSession},
    startup::{self, Packet, Startup},
};
use crate::{
    lineage::{self, Effect, Trust},
    session::{Freshness, Login, Outbox, SessionError, Want},
};

/// Fails in the server's grammar, and tells the reader of the server's log why.
const FAILING_SQL: &[u8] = b"mask_agent_refused_this_statement";
/// Decisions kept per connection; an agent repeats a few dozen statements.
const DECISIONS_MAX: usize = 256;
/// Longer statements are analysed each time they come.
const DECISION_SQL_BYTES_MAX: usize = 16 << 10;
/// How long a snapshot is believed when a statement names a relation that is not in it.
const STRANGER_SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(1);
/// How old a snapshot grows before a new statement asks for a newer one.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(5);

impl PostgresSession {
    pub(super) fn client(&mut self, bytes: &[u8], out: &mut Outbox) -> Result<usize, SessionError> {
        let mut at = 0;
        while at < bytes.len() && !self.waiting {
            if self.phase == Phase::Opening {
                let Some(count) = self.open(&bytes[at..], at, out)? else { break };
                at += count;
                continue;
            }
            if self.client_pass > 0 {
                let count = self.client_pass.min(bytes.len() - at);
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
                self.client_pass = HEADER_BYTES + length;
                continue;
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
        let packet = startup::packet(bytes)
            .map_err(|why| Self::fatal(out, PROTOCOL, why, SessionError::Client(why)))?;
        let Some((packet, length)) = packet else { return Ok(None) };
        match packet {
            Packet::Gss | Packet::Ssl => {
                let bit = if matches!(packet, Packet::Ssl) { 1 } else { 2 };
                // Bytes behind the request were sent before the answer: an injection (CVE-2021-23214).
                if self.encryption_asked & bit != 0 || bytes.len() > length {
                    return Err(SessionError::Client("unexpected bytes around an encryption request"));
                }
                self.encryption_asked |= bit;
                out.client.message(|out| out.push(b'N'));
            }
            Packet::Cancel { pid, key } => {
                out.wants.push(Want::Cancel { pid, key: key.to_vec() });
                return Err(SessionError::Finished);
            }
            Packet::Startup(startup) => {
                self.start(startup, out)?;
                out.server.0.input(at..at + length);
            }
        }
        Ok(Some(length))
    }

    fn start(&mut self, startup: Startup, out: &mut Outbox) -> Result<(), SessionError> {
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
        self.login = Some(Login { user, database, password: None });
        self.phase = Phase::LoggingIn(Asked::Nothing);
        Ok(())
    }

    /// One whole message; false leaves it unread until a snapshot is here.
    fn frontend(
        &mut self,
        kind: u8,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<bool, SessionError> {
        if let Phase::LoggingIn(asked) = self.phase {
            return match kind {
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
            b'E' => {
                let mut fields = Fields::new(body);
                let portal = fields.string().filter(|_| fields.int32().is_some() && fields.is_empty());
                let portal = portal.ok_or(SessionError::Client("malformed Execute"))?.to_vec();
                out.server.0.input(range);
                self.queue.push(Reply::Execute { portal });
            }
            b'S' => {
                if !body.is_empty() {
                    return Err(SessionError::Client("Sync has a body"));
                }
                out.server.0.input(range);
                self.queue.push(Reply::Sync);
            }
            b'F' if self.enforces() => {
                let fault = Fault::refusal(
                    REFUSED,
                    "function-call",
                    "the function call protocol is refused, because its result cannot be masked",
                    "Call the function in a SELECT.",
                );
                Self::put_query(out);
                self.queue.push(Reply::RefusedQuery { fault, analysed: None, told: false });
            }
            b'F' => return Err(SessionError::Client("function calls are not observed")),
            b'X' => {
                out.server.0.input(range);
            }
            b'H' | b'c' | b'f' => out.server.0.input(range),
            _ => return Err(SessionError::Client("unexpected message")),
        }
        Ok(true)
    }

    fn put_query(out: &mut Outbox) {
        out.server.0.scratch(|out| put(out, b'Q', |out| put_string(out, FAILING_SQL)));
    }

    fn put_parse(out: &mut Outbox) {
        out.server.0.scratch(|out| {
            put(out, b'P', |out| {
                put_string(out, b"");
                put_string(out, FAILING_SQL);
                out.extend_from_slice(&0u16.to_be_bytes());
            });
        });
    }

    /// Asks for the output columns of a statement; the answer is not shown to the client.
    fn put_describe(&mut self, statement: &[u8], out: &mut Outbox) {
        out.server.0.scratch(|out| {
            put(out, b'D', |out| {
                out.push(b'S');
                put_string(out, statement);
            });
        });
        self.queue.push(Reply::DescribeStatement { statement: statement.to_vec(), asker: Asker::Session });
    }

    fn query(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<bool, SessionError> {
        let mut fields = Fields::new(body);
        let sql = fields.string().filter(|_| fields.is_empty());
        let sql = sql.ok_or(SessionError::Client("malformed Query"))?;
        let Some(analysed) = self.analysed(sql, out) else { return Ok(false) };
        self.sent.remove(&b""[..]);
        match analysed.refusal.clone().filter(|_| self.enforces()) {
            Some(fault) => {
                Self::put_query(out);
                self.queue.push(Reply::RefusedQuery { fault, analysed: Some(analysed), told: false });
            }
            None => {
                out.server.0.input(range);
                if analysed.changes_settings {
                    self.epoch += 1;
                }
                self.queue.push(Reply::Simple { analysed });
            }
        }
        Ok(true)
    }

    fn parse(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<bool, SessionError> {
        let malformed = || SessionError::Client("malformed Parse");
        let mut fields = Fields::new(body);
        let statement = fields.string().ok_or_else(malformed)?;
        let sql = fields.string().ok_or_else(malformed)?;
        let types = fields.int16().ok_or_else(malformed)?;
        let types = usize::try_from(types).map_err(|_| malformed())?;
        fields.bytes(types * 4).filter(|_| fields.is_empty()).ok_or_else(malformed)?;
        let Some(analysed) = self.analysed(sql, out) else { return Ok(false) };
        if let Some(fault) = analysed.refusal.clone().filter(|_| self.enforces()) {
            self.sent.remove(statement);
            Self::put_parse(out);
            self.queue.push(Reply::Refused { fault, analysed: Some(analysed) });
            return Ok(true);
        }
        let plain = matches!(analysed.trust, Trust::Plain);
        self.sent.insert(statement.to_vec(), (analysed.clone(), self.epoch));
        out.server.0.input(range);
        self.queue.push(Reply::Parse { statement: statement.to_vec(), analysed });
        if !plain {
            self.put_describe(statement, out);
        }
        Ok(true)
    }

    fn bind(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) -> Result<bool, SessionError> {
        let Some((portal, statement, formats)) = bind_fields(body) else {
            return Err(SessionError::Client("malformed Bind"));
        };
        if let Some((analysed, epoch)) = self.sent.get(statement).cloned() {
            if epoch != self.epoch {
                let Some(again) = self.analysed(analysed.sql.as_bytes(), out) else { return Ok(false) };
                if let Some(fault) = again.refusal.clone().filter(|_| self.enforces()) {
                    Self::put_parse(out);
                    self.queue.push(Reply::Refused { fault, analysed: Some(again) });
                    return Ok(true);
                }
                // It reads more than it did: its shape is no longer worth anything, prepare it anew.
                if worse(analysed.trust.clone(), again.trust.clone()) != analysed.trust {
                    let fault = Fault::refusal(
                        "26000",
                        "statement-changed",
                        "what this prepared statement reads has changed",
                        "Prepare the statement again.",
                    );
                    Self::put_parse(out);
                    self.queue.push(Reply::Refused { fault, analysed: Some(again) });
                    return Ok(true);
                }
                if !matches!(analysed.trust, Trust::Plain) {
                    self.put_describe(statement, out);
                }
                self.sent.insert(statement.to_vec(), (analysed.clone(), self.epoch));
            }
            if analysed.changes_settings {
                self.epoch += 1;
            }
        }
        out.server.0.input(range);
        self.queue.push(Reply::Bind { portal: portal.to_vec(), statement: statement.to_vec(), formats });
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
        self.queue.push(match (message, kind) {
            (b'C', _) => {
                if kind == b'S' {
                    self.sent.remove(&name);
                }
                Reply::Close { kind, name }
            }
            (_, b'S') => Reply::DescribeStatement { statement: name, asker: Asker::Client },
            (_, _) => Reply::DescribePortal { portal: name },
        });
        Ok(())
    }

    /// What the statement means, or `None` while a newer snapshot is awaited.
    fn analysed(&mut self, sql: &[u8], out: &mut Outbox) -> Option<Arc<Analysed>> {
        let sql = String::from_utf8_lossy(sql);
        if let Some(known) = self.decisions.get(&*sql) {
            return Some(known.clone());
        }
        let snapshot = self.snapshot.clone()?;
        let age = out.now.saturating_sub(self.snapshot_at);
        if age > SNAPSHOT_AGE_MAX {
            self.ask_snapshot(Freshness::Cached, out);
        }
        let analysed = if self.lexer_is_safe {
            match lineage::analyse(&sql, &snapshot.catalog, &snapshot.classes) {
                Ok(statements) => summary(&sql, statements),
                Err(error) => unreadable(&sql, &error),
            }
        } else {
            unsafe_lexer(&sql)
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
            self.decisions.insert(sql.into_owned(), analysed.clone());
        }
        Some(analysed)
    }
}

fn bind_fields(body: &[u8]) -> Option<(&[u8], &[u8], Vec<i16>)> {
    let mut fields = Fields::new(body);
    let portal = fields.string()?;
    let statement = fields.string()?;
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
    let formats = usize::try_from(fields.int16()?).ok()?;
    let formats = (0..formats).map(|_| fields.int16()).collect::<Option<Vec<_>>>()?;
    fields.is_empty().then_some((portal, statement, formats))
}

/// One ruling for all statements of a string: the least trusted decides, and any refusal refuses all.
fn summary(sql: &str, statements: Vec<lineage::Statement>) -> Analysed {
    let mut analysed = Analysed {
        sql: sql.to_owned(),
        command: "",
        relations: Vec::new(),
        trust: Trust::Plain,
        changes_catalog: false,
        changes_settings: sql.contains("set_config"),
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
        analysed.relations.extend(statement.relations);
        analysed.changes_catalog |= matches!(statement.effect, Effect::Catalog);
        analysed.changes_settings |= matches!(statement.effect, Effect::Settings);
        if let Some(refusal) = statement.refusal
            && analysed.refusal.is_none()
        {
            analysed.code = refusal.code;
            analysed.refusal = Some(Fault::refusal(REFUSED, refusal.code, &refusal.message, refusal.hint));
        }
    }
    analysed
}

fn worse(a: Trust, b: Trust) -> Trust {
    match (a, b) {
        (Trust::Opaque, _) | (_, Trust::Opaque) => Trust::Opaque,
        (Trust::Origins, _) | (_, Trust::Origins) => Trust::Origins,
        (Trust::Plain, Trust::Plain) => Trust::Plain,
    }
}

fn unreadable(sql: &str, error: &lineage::LineageError) -> Analysed {
    let refusal = Fault::refusal(
        SYNTAX,
        "syntax",
        &error.to_string(),
        "The statement was not sent, because what cannot be read cannot be masked.",
    );
    refused(sql, "syntax", refusal)
}

fn unsafe_lexer(sql: &str) -> Analysed {
    let refusal = Fault::refusal(
        REFUSED,
        "unsafe-setting",
        "standard_conforming_strings is off, so statements cannot be read as the server reads them",
        "Set standard_conforming_strings to on in the role's or the database's settings.",
    );
    refused(sql, "unsafe-setting", refusal)
}

fn refused(sql: &str, code: &'static str, fault: Fault) -> Analysed {
    Analysed {
        sql: sql.to_owned(),
        command: "",
        relations: Vec::new(),
        trust: Trust::Opaque,
        changes_catalog: false,
        changes_settings: false,
        refusal: Some(fault),
        code,
    }
}

//! What the server says unasked: notices, parameters, notifications.
//!
//! Promise: where rulings are applied, none of them carries text that may quote a cell.

use std::ops::Range;

use super::{
    encoding,
    error::{PROTOCOL, is_about_definitions, write_scrubbed},
    frame::{Fields, put, put_string},
    session::{Phase, PostgresSession},
};
use crate::{
    policy::{Rows, Ruled},
    session::{Outbox, SessionError},
};

/// Reported parameters that are words of the server's. All others hold whatever a statement put there: a name, a
/// number, a text.
const WORDS: [&[u8]; 10] = [
    b"DateStyle",
    b"IntervalStyle",
    b"client_encoding",
    b"default_transaction_read_only",
    b"in_hot_standby",
    b"integer_datetimes",
    b"is_superuser",
    b"server_encoding",
    b"server_version",
    b"standard_conforming_strings",
];

impl PostgresSession {
    /// Whether text of the server may quote a cell.
    pub(super) fn withholds(&self) -> bool {
        let withholds = || {
            self.head_statement().is_some_and(|statement| statement.analysed.withholds)
                || self.source().is_some_and(|source| source.analysed.withholds)
                || self.runs_unsettled()
        };
        self.enforces() && (self.tainted || withholds())
    }

    /// Whether a message is about a definition of the client's own. Code of users may reach the same routines with names
    /// made of values, and without a context if it is in C.
    pub(super) fn speaks_of_definitions(&self, body: &[u8]) -> bool {
        is_about_definitions(body)
            && self.head_statement().is_some_and(|statement| {
                let analysed = &statement.analysed;
                let is_own =
                    |part: &Ruled| !matches!(part.rows, Rows::Cursor(_) | Rows::Plan(_) | Rows::Prepared(_));
                !analysed.calls_user_code && analysed.executes.is_empty() && analysed.parts.iter().all(is_own)
            })
    }

    pub(super) fn notice(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) {
        // The server's log quotes texts and parameters, whenever it is done with them.
        let quotes = self.has_turned && self.enforces() && is_log(body);
        let withholds = quotes || self.withholds() && !self.speaks_of_definitions(body);
        if self.phase == Phase::Ready && withholds {
            out.client.message(|out| write_scrubbed(out, b'N', body, None));
        } else {
            out.client.pass(range);
        }
    }

    pub(super) fn parameter_status(
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
            b"client_encoding" if self.enforces() && encoding::is_unsafe(value) => {
                let why = "this client_encoding cannot be masked safely; use UTF8";
                return Err(Self::fatal(out, PROTOCOL, why, SessionError::Client("unsafe client_encoding")));
            }
            // set_config('application_name', …) in a function: the client keeps the value it had.
            _ if !WORDS.contains(&name) && self.phase == Phase::Ready && self.withholds() => {
                return Ok(());
            }
            b"client_encoding" => {
                self.encodings.take_client(value);
                self.outputs.clear();
            }
            b"server_encoding" => self.encodings.take_server(value),
            b"standard_conforming_strings" => self.lexer_is_safe = value == b"on",
            _ => {}
        }
        out.client.pass(range);
        Ok(())
    }

    /// Keeps the payload of what this session says itself while it has read nothing masked. Another session's may
    /// hold whatever that one reads; a trigger that tells the whole row is a common one.
    pub(super) fn notification(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let (Some(pid), Some(channel), Some(payload)) = (fields.oid(), fields.string(), fields.string())
        else {
            return Err(SessionError::Server("malformed NotificationResponse"));
        };
        if payload.is_empty() || !self.enforces() || self.pid == Some(pid) && !self.withholds() {
            out.client.pass(range);
            return Ok(());
        }
        out.client.message(|out| {
            put(out, b'A', |out| {
                out.extend_from_slice(&pid.to_be_bytes());
                put_string(out, channel);
                put_string(out, b"");
            });
        });
        Ok(())
    }
}

/// Whether a notice is one of those the server writes for its log.
fn is_log(body: &[u8]) -> bool {
    let mut fields = Fields::new(body);
    let (mut severity, mut named) = (None, None);
    while let Some(kind) = fields.byte().filter(|kind| *kind != 0) {
        let Some(value) = fields.string() else { return true };
        match kind {
            // Translated, and not sent by itself before 9.6.
            b'S' => named = Some(value),
            b'V' => severity = Some(value),
            _ => {}
        }
    }
    !matches!(severity.or(named), Some(b"NOTICE" | b"WARNING" | b"INFO"))
}

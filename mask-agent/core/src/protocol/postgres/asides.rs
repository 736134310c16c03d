//! What the server says unasked: notices, parameters, notifications.
//!
//! Promise: where rulings are applied, none of them carries text that may quote a cell.

use std::ops::Range;

use super::{
    error::{PROTOCOL, write_scrubbed},
    frame::{Fields, put, put_string},
    session::{Phase, PostgresSession},
};
use crate::session::{Outbox, SessionError};

/// Encodings whose second byte may be an ASCII character: masks and the lexer would read them wrong.
const UNSAFE_ENCODINGS: [&[u8]; 7] =
    [b"SJIS", b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB", b"SHIFT_JIS_2004"];

/// Reported parameters that hold whatever a statement put there. All others are words of the server's.
const FREE_PARAMETERS: [&[u8]; 3] = [b"TimeZone", b"application_name", b"search_path"];

impl PostgresSession {
    /// Whether text of the server may quote a cell.
    pub(super) fn withholds(&self) -> bool {
        let withholds = || {
            self.head_statement().is_some_and(|statement| statement.analysed.withholds)
                || self.source().is_some_and(|source| source.analysed.withholds)
        };
        self.enforces() && (self.tainted || withholds())
    }

    pub(super) fn notice(&mut self, range: Range<usize>, body: &[u8], out: &mut Outbox) {
        // The server's log quotes texts and parameters, whenever it is done with them.
        let quotes = self.has_turned && self.enforces() && is_log(body);
        if self.phase == Phase::Ready && (quotes || self.withholds()) {
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
            b"client_encoding" if self.enforces() && UNSAFE_ENCODINGS.contains(&value) => {
                let why = "this client_encoding cannot be masked safely; use UTF8";
                return Err(Self::fatal(out, PROTOCOL, why, SessionError::Client("unsafe client_encoding")));
            }
            // set_config('application_name', …) in a function: the client keeps the value it had.
            _ if FREE_PARAMETERS.contains(&name) && self.phase == Phase::Ready && self.withholds() => {
                return Ok(());
            }
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

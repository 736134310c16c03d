//! Statements that are refused because nobody here can read them, or knows what they name.
//!
//! Most of them are mistakes, and a client that is told its mistake in the server's words can correct it. So the server
//! is asked first: it parses the text, which runs nothing, and is given another one to parse that fails for certain and
//! leaves nothing of the first behind. If the first fails, that is the answer; if not, the refusal is.
//!
//! A statement that masks a column for good is tried likewise, and sent once the server could parse it: a mistake would
//! have put nothing there.

use std::ops::Range;

use super::{
    error::{Fault, is_about_text, write_scrubbed},
    frame::{put, put_string},
    queue::{Prepared, Reply, Statement},
    session::PostgresSession,
};
use crate::session::{Outbox, SessionError};

impl PostgresSession {
    /// Refuses a simple query.
    pub(super) fn refuse_query(&mut self, fault: Fault, statement: Statement, sql: &[u8], out: &mut Outbox) {
        // The Sync it takes would end what was sent before it.
        if !statement.analysed.may_be_wrong || !self.queue.is_settled() {
            Self::put_query(out);
            self.queue.push(Reply::RefusedQuery { fault, statement: Some(statement), told: false });
            return;
        }
        self.refuse_parse(fault, statement, sql, &0_u16.to_be_bytes(), out);
        out.server.0.scratch(|out| put(out, b'S', |_| {}));
        self.transaction_may_end();
        self.run += 1;
        self.queue.push(Reply::Sync);
    }

    /// Whether the server can parse a simple query that masks columns for good, or need not be asked; false while it
    /// has not said so. A mistake puts nothing anywhere, and the column that it names is to stay as it is.
    pub(super) fn is_tried(&mut self, statement: &Statement, sql: &[u8], out: &mut Outbox) -> bool {
        let is_one = statement.analysed.parts.len() == 1;
        // Behind what is not answered yet, the Sync it may take would come too early.
        if self.tried.take() == Some(true) || !is_one || !self.queue.is_settled() {
            return true;
        }
        if !self.puts_new(&statement.analysed) {
            return true;
        }
        Self::put_trial(sql, &0_u16.to_be_bytes(), out);
        self.queue.push(Reply::Trial { statement: statement.clone() });
        self.settle(out);
        false
    }

    /// The same for a prepared statement that is about to be run: the answer to its Parse is waited for.
    pub(super) fn is_parsed(&mut self, statement: &Statement, name: &[u8], out: &mut Outbox) -> bool {
        let waits = self.puts_new(&statement.analysed)
            && !self.queue.is_skipping()
            && self.queue.parsed(name).next().is_some();
        if waits {
            self.settle(out);
        }
        !waits
    }

    /// The server could parse something.
    pub(super) fn parse_complete(
        &mut self,
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        match self.queue.pop() {
            Some(Reply::Probe { .. }) => {}
            Some(Reply::Trial { .. }) => self.tried = Some(true),
            Some(Reply::Parse { name, statement, epoch }) => {
                self.prepared.insert(name, Prepared { statement, part: 0, epoch, shape: None });
                out.client.pass(range);
            }
            _ => return Err(SessionError::Server("unexpected ParseComplete")),
        }
        Ok(())
    }

    /// The server has told the client what is wrong with its query, and waits for the end of what we began.
    pub(super) fn ends_trial(&mut self, out: &mut Outbox) {
        self.tried = None;
        out.server.0.scratch(|out| put(out, b'S', |_| {}));
        self.transaction_may_end();
        self.run += 1;
        self.queue.push(Reply::Sync);
    }

    fn put_trial(sql: &[u8], types: &[u8], out: &mut Outbox) {
        out.server.0.scratch(|out| {
            put(out, b'P', |out| {
                put_string(out, b"");
                put_string(out, sql);
                out.extend_from_slice(types);
            });
        });
    }

    /// Refuses a statement that was to be prepared; `types` are those of its parameters, as Parse has them.
    pub(super) fn refuse_parse(
        &mut self,
        fault: Fault,
        statement: Statement,
        sql: &[u8],
        types: &[u8],
        out: &mut Outbox,
    ) {
        if statement.analysed.may_be_wrong {
            Self::put_trial(sql, types, out);
            let (fault, statement) = (fault.clone(), statement.clone());
            self.queue.push(Reply::Probe { fault, statement });
        }
        Self::put_parse(out);
        self.queue.push(Reply::Refused { fault, statement: Some(statement) });
    }
}

/// The server's own word on a text it could not parse either: the SQLSTATE that the client gets.
pub(super) fn answer(fault: &Fault, body: &[u8], state: Option<String>, out: &mut Outbox) -> Option<String> {
    if is_about_text(b'E', body) {
        out.client.message(|out| write_scrubbed(out, b'E', body, None));
        return state;
    }
    out.client.message(|out| fault.write(out));
    Some(fault.sqlstate.to_owned())
}

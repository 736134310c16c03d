//! Statements that are refused because nobody here can read them, or knows what they name.
//!
//! Most of them are mistakes, and a client that is told its mistake in the server's words can correct it. So the server
//! is asked first: it parses the text, which runs nothing, and is given another one to parse that fails for certain and
//! leaves nothing of the first behind. If the first fails, that is the answer; if not, the refusal is.

use super::{
    error::{Fault, is_about_text, write_scrubbed},
    frame::{put, put_string},
    queue::{Reply, Statement},
    session::PostgresSession,
};
use crate::session::Outbox;

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
            out.server.0.scratch(|out| {
                put(out, b'P', |out| {
                    put_string(out, b"");
                    put_string(out, sql);
                    out.extend_from_slice(types);
                });
            });
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

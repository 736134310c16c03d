//! The function call message, by which drivers read and write large objects.
//!
//! Its result is no row and cannot be masked, so only functions whose results hold no column's value are called:
//! those of large objects, into which no masked value is put through the agent.

use std::{ops::Range, sync::Arc};

use super::{
    error::{Fault, REFUSED},
    frame::Fields,
    queue::{Analysed, Reply, Statement},
    session::PostgresSession,
};
use crate::{
    policy::Admission,
    session::{Outbox, SessionError},
};

/// What the audit trail calls the message.
const COMMAND: &str = "FunctionCall";

/// Functions that may be called, by the OIDs they have in every major.
const FUNCTIONS: [(u32, &str); 13] = [
    (715, "lo_create"),
    (952, "lo_open"),
    (953, "lo_close"),
    (954, "loread"),
    (955, "lowrite"),
    (956, "lo_lseek"),
    (957, "lo_creat"),
    (958, "lo_tell"),
    (964, "lo_unlink"),
    (1004, "lo_truncate"),
    (3170, "lo_lseek64"),
    (3171, "lo_tell64"),
    (3172, "lo_truncate64"),
];

impl PostgresSession {
    pub(super) fn function_call(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let oid = Fields::new(body).oid().ok_or(SessionError::Client("malformed FunctionCall"))?;
        let known = FUNCTIONS.iter().find(|(known, _)| *known == oid);
        let admits =
            self.snapshot.as_ref().is_some_and(|snapshot| snapshot.rules.large_objects == Admission::Allow);
        let name = known.map(|(_, name)| *name).filter(|_| admits);
        if name.is_none() && self.enforces() {
            let fault = Fault::refusal(
                REFUSED,
                "function-call",
                "this call of a function by its number is refused, because its result cannot be masked",
                "Call the function in a SELECT.",
            );
            Self::put_query(out);
            self.queue.push(Reply::RefusedQuery { fault, statement: None, told: false });
            return Ok(());
        }
        let sql: Arc<str> =
            name.map_or_else(|| format!("function {oid}"), |name| format!("{name}(…)")).into();
        let analysed = Arc::new(Analysed { command: COMMAND, ..Analysed::nothing() });
        let statement = Statement::new(sql, analysed);
        self.queue.push(Reply::Simple { statement, part: 0, epoch: self.epoch });
        out.server.0.input(range);
        Ok(())
    }

    pub(super) fn function_result(
        &mut self,
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        if self.head_statement().is_none_or(|statement| statement.analysed.command != COMMAND) {
            return Err(SessionError::Server("function result that nothing asked for"));
        }
        self.begin(out, None);
        out.client.pass(range);
        Ok(())
    }
}

//! What the audit trail says.
//!
//! The core says what happened; the shell adds when, who and a sequence number. No event holds a cell.

use std::{borrow::Cow, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;

/// Version of the record's form.
pub const RECORD_VERSION: u32 = 2;

/// A column whose cells were masked, and why.
#[derive(Clone, Debug, Serialize)]
pub struct MaskedColumn {
    /// Its name in the result.
    pub name: String,
    /// The rule that said so.
    pub rule: Arc<str>,
    /// The kind of mask.
    pub mask: &'static str,
    /// Columns of tables it is made of, the first 16; empty where that cannot be told.
    pub origins: Vec<String>,
}

/// What alerts are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alert {
    /// A database shows another certificate than before.
    DatabaseCertificate,
    /// A database that had TLS says it has none.
    DatabaseDowngraded,
    /// More statements that computed with a masked column have failed than the policy's limit, of all connections of a
    /// login.
    ErrorBudget,
    /// More was asked of a masked column than the policy's limit, by all connections of a login.
    PredicateBudget,
}

/// Bytes of a connection that was passed on unread.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Relayed {
    /// From the client.
    pub sent: u64,
    /// From the server.
    pub received: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// Something a person should look at.
    Alert {
        /// What.
        alert: Alert,
        /// Role.
        user: String,
        /// Database.
        database: String,
        /// The column it is about.
        column: String,
        /// How many different questions were answered in the window.
        asked: u32,
        /// Length of the window, in seconds.
        window_s: u64,
    },
    /// A database that may be somebody else was refused, which a person should look at.
    #[serde(rename = "alert")]
    Distrusted {
        /// What is odd about it.
        alert: Alert,
        /// The same in one sentence.
        reason: &'static str,
    },
    /// The server accepted the login.
    Authenticated {
        /// Role.
        user: String,
        /// Database.
        database: String,
        /// Who the client said it was, where the host's login is another role.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_user: Option<String>,
        /// Where the password comes from that the host holds; none where the client's own was used, or none was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
    },
    /// Columns that are given masked values, and so are masked from now on.
    ColumnsTainted {
        /// Each as `schema.relation.column`.
        columns: Vec<String>,
    },
    /// A connection ended.
    ConnectionClosed {
        /// Why, in one sentence.
        reason: String,
        /// How much passed, where it was no database's and so nothing else is known of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        relayed: Option<Relayed>,
    },
    /// A connection came through the redirect.
    ConnectionOpened {
        /// It is not to where a database is known to be, but its caller's connections are looked into.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        sniffed: bool,
    },
    /// A connection was turned away.
    ConnectionRefused {
        /// Why, in one sentence.
        reason: String,
        /// How long ago, in milliseconds, where it was the kernel that refused it.
        #[serde(skip_serializing_if = "Option::is_none")]
        age_ms: Option<u64>,
    },
    /// A connection that was looked into is to a database.
    DatabaseFound,
    /// What the client calls the database in its TLS (SNI), which the database is told.
    DatabaseNamed {
        /// In lower case.
        name: Arc<str>,
    },
    /// The hooks are in place.
    HooksAttached {
        /// The programs.
        programs: Vec<String>,
    },
    /// The hooks were removed by command: the database is open.
    HooksDetached {
        /// The programs.
        programs: Vec<String>,
    },
    /// The newest of the mask keys makes masks from now on, at connections that are opened from now on.
    KeysLoaded {
        /// Versions that are kept, the newest last.
        versions: Vec<u16>,
    },
    /// A policy came into force.
    PolicyLoaded {
        /// Its name.
        name: String,
    },
    /// A policy was not accepted; the one before stays.
    PolicyRejected {
        /// What is wrong with it.
        reason: String,
    },
    /// The trail ended inside a record; what was there of it stands on the line before.
    Recovered,
    /// Connections were turned away too fast to record each of them.
    RefusalsOmitted {
        /// How many have no record.
        count: u64,
    },
    /// A statement is about to be answered; in the spool before its first row leaves.
    Statement {
        /// Its number in the connection.
        statement: u64,
        /// Its text.
        sql: Arc<str>,
        /// Its first command.
        command: &'static str,
        /// Relations it names.
        relations: Arc<[String]>,
        /// Columns that are masked.
        columns: Arc<[MaskedColumn]>,
        /// `allow`, `mask` or `refuse`.
        ruling: &'static str,
        /// The rule that decided.
        rule: Cow<'static, str>,
        /// What was found in it that concerns masked columns, as `explain` says it; a list of
        /// [`Explained`](crate::explain::Explained), written out when the statement was ruled on.
        #[serde(skip_serializing_if = "Option::is_none")]
        findings: Option<Arc<RawValue>>,
    },
    /// A statement was answered.
    StatementEnd {
        /// Its number in the connection.
        statement: u64,
        /// Rows the server sent.
        rows: u64,
        /// Bytes of rows the server sent.
        bytes: u64,
        /// Cells masked.
        cells_masked: u64,
        /// From the first reply to the last, in microseconds.
        duration_us: u64,
        /// The error's SQLSTATE, where it failed.
        sqlstate: Option<String>,
    },
}

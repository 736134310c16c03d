//! The queue of replies the server owes.
//!
//! One entry per forwarded message that the server answers. What a name stands for is resolved when the
//! reply arrives, because only then is it certain which of several Parse messages succeeded.

use std::{collections::VecDeque, sync::Arc};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{edit::Edit, error::Fault, outputs::Shape};
use crate::{
    lineage::{ColumnId, CopiedDatabase, Made, Setting},
    policy::{Budgeted, FilledColumn, Ruled, Taint},
};

/// What was found out about a statement.
#[derive(Debug)]
pub(super) struct Analysed {
    pub(super) command: &'static str,
    pub(super) relations: Arc<[String]>,
    /// What is ruled on each statement of the string.
    pub(super) parts: Vec<Ruled>,
    /// Whether what the server says of it may quote a masked value.
    pub(super) withholds: bool,
    /// Uses of masked columns that cost budget.
    pub(super) budgeted: Vec<Budgeted>,
    /// Masked columns of which its failing may tell.
    pub(super) computes: Vec<ColumnId>,
    /// Prepared statements it runs, whose uses it repeats.
    pub(super) executes: Vec<String>,
    /// What it asks of masked columns depends on data that follows it.
    pub(super) asks_by_data: bool,
    /// Columns that hold masked values once it has run.
    pub(super) taints: Vec<Taint>,
    /// Databases that hold once it has run what others hold.
    pub(super) copied: Vec<CopiedDatabase>,
    /// Masked columns that its constants are put into.
    pub(super) constant_columns: Vec<FilledColumn>,
    /// Cursors whose row it changes.
    pub(super) positions: Vec<String>,
    /// Definitions it changes, which the snapshot does not know yet.
    pub(super) made: Vec<Made>,
    /// Settings it changes by which words may mean something else, and which statement of the string does.
    pub(super) settings: Vec<(usize, Setting)>,
    /// It changes definitions by which words may mean something else that do not name them.
    pub(super) redefines: bool,
    /// The search path it leaves; an inner none is one nobody knows.
    #[expect(clippy::option_option, reason = "it sets none, an unknown one, or this")]
    pub(super) sets_path: Option<Option<Vec<String>>>,
    /// Whether what follows it must be analysed on a fresh catalog.
    pub(super) changes_catalog: bool,
    /// Whether the server wants nobody else in the database that it is about.
    pub(super) needs_database: bool,
    /// Whether it may change what names mean.
    pub(super) changes_settings: bool,
    /// It calls code of users, whose bodies may be others by the time a portal is run.
    pub(super) calls_user_code: bool,
    /// It calls functions of the server's that do more than compute.
    pub(super) reaches: bool,
    /// None of its statements changes anything.
    pub(super) only_reads: bool,
    /// It was ruled on after it had been sent: only columns that the server names are shown.
    pub(super) is_anew: bool,
    pub(super) refusal: Option<Fault>,
    /// It is refused for what may be a mistake, of which the server has better words.
    pub(super) may_be_wrong: bool,
    /// What was found in it that concerns masked columns, as its records have it.
    pub(super) findings: Option<Arc<RawValue>>,
}

impl Analysed {
    /// Of a string without statements.
    pub(super) fn nothing() -> Self {
        Self {
            command: "",
            relations: Arc::default(),
            parts: Vec::new(),
            withholds: false,
            budgeted: Vec::new(),
            computes: Vec::new(),
            executes: Vec::new(),
            asks_by_data: false,
            taints: Vec::new(),
            copied: Vec::new(),
            constant_columns: Vec::new(),
            positions: Vec::new(),
            made: Vec::new(),
            settings: Vec::new(),
            redefines: false,
            sets_path: None,
            changes_catalog: false,
            needs_database: false,
            changes_settings: false,
            calls_user_code: false,
            reaches: false,
            only_reads: true,
            is_anew: false,
            refusal: None,
            may_be_wrong: false,
            findings: None,
        }
    }

    /// Whether it never has rows, so that nobody needs to ask for their columns.
    pub(super) fn is_rowless(&self) -> bool {
        matches!(self.command, "TransactionStmt" | "VariableSetStmt")
    }

    /// Whether it may end a transaction or go back in it.
    pub(super) fn ends_transaction(&self) -> bool {
        self.command == "TransactionStmt"
    }
}

/// A statement the client sent; statements that differ in their literals share what was found out.
#[derive(Clone)]
pub(super) struct Statement {
    /// As the client sent it.
    pub(super) sql: Arc<str>,
    /// How the text differs that the server was told.
    pub(super) turned: Option<Arc<[Edit]>>,
    /// A hash of the parameters it was given, where it computes something of masked columns.
    pub(super) parameters: [u8; 16],
    pub(super) analysed: Arc<Analysed>,
}

impl Statement {
    pub(super) fn new(sql: Arc<str>, analysed: Arc<Analysed>) -> Self {
        Self { sql, turned: None, parameters: [0; 16], analysed }
    }

    /// It is run with these parameters.
    pub(super) fn is_given(&mut self, parameters: &[u8]) {
        if !self.analysed.computes.is_empty() {
            self.parameters.copy_from_slice(&Sha256::digest(parameters)[..16]);
        }
    }
}

/// A prepared statement the server has.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    /// Which statement of the string it is.
    pub(super) part: usize,
    /// When it was analysed.
    pub(super) epoch: u64,
    /// Its output columns, once described.
    pub(super) shape: Option<Arc<Shape>>,
}

/// A bound statement.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) prepared: Prepared,
    /// The statement's name.
    pub(super) name: Vec<u8>,
    /// Result formats as Bind gave them: none, one for all, or one each.
    pub(super) formats: Vec<i16>,
    /// Whether it outlives its transaction.
    pub(super) holds: bool,
}

/// Whose message an entry answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Client,
    /// We asked; the client must not see the answer.
    Session,
}

/// One reply, or run of replies, the server owes.
pub(super) enum Reply {
    Bind {
        portal: Vec<u8>,
        /// The statement's name.
        name: Vec<u8>,
        formats: Vec<i16>,
        /// What the statement is now, where it was prepared on this connection.
        statement: Option<Statement>,
        epoch: u64,
    },
    Close {
        kind: u8,
        name: Vec<u8>,
    },
    DescribePortal {
        portal: Vec<u8>,
        asker: Asker,
    },
    DescribeStatement {
        name: Vec<u8>,
    },
    Execute {
        portal: Vec<u8>,
    },
    Parse {
        name: Vec<u8>,
        statement: Statement,
        epoch: u64,
    },
    /// A text the server is asked to parse before it is refused, which the client does not see the answer of.
    Probe {
        fault: Fault,
        statement: Statement,
    },
    /// A message that was replaced by one that fails; the server's error is replaced by this one.
    Refused {
        fault: Fault,
        statement: Option<Statement>,
    },
    /// A refused simple query or function call: an error, then `ReadyForQuery`.
    RefusedQuery {
        fault: Fault,
        statement: Option<Statement>,
        told: bool,
    },
    Simple {
        statement: Statement,
        /// Which statement of the string is being answered.
        part: usize,
        epoch: u64,
    },
    Sync,
    /// The text of a simple query that would mask columns for good, which the server is asked to parse before they are.
    Trial {
        statement: Statement,
    },
}

/// A reply, and how many copies the client had ended when it asked for it.
struct Entry {
    reply: Reply,
    ended: u64,
}

/// Entries in the order of their replies.
#[derive(Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// Copies that the client has ended, whether the server reads them or not.
    ended: u64,
    /// How many it had ended before the one that the server reads, or has read for the same entry.
    copy: Option<u64>,
    /// An error came in the extended protocol: the server discards everything up to the next Sync.
    skipping: bool,
}

impl Queue {
    pub(super) fn push(&mut self, reply: Reply) {
        match reply {
            Reply::Sync if self.copy == Some(self.ended) => return,
            Reply::Sync => self.skipping = false,
            _ if self.skipping => return,
            _ => {}
        }
        self.entries.push_back(Entry { reply, ended: self.ended });
    }

    pub(super) fn head(&self) -> Option<&Reply> {
        self.entries.front().map(|entry| &entry.reply)
    }

    pub(super) fn head_mut(&mut self) -> Option<&mut Reply> {
        self.entries.front_mut().map(|entry| &mut entry.reply)
    }

    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Reply> {
        self.entries.iter().map(|entry| &entry.reply)
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Reply> {
        self.entries.iter().rev().map(|entry| &entry.reply)
    }

    pub(super) fn pop(&mut self) -> Option<Reply> {
        self.copy = None;
        self.entries.pop_front().map(|entry| entry.reply)
    }

    /// Statements of a name that the server may not have seen yet.
    pub(super) fn parsed(&self, name: &[u8]) -> impl Iterator<Item = &Statement> {
        self.oldest_first().filter_map(move |entry| match entry {
            Reply::Parse { name: parsed, statement, .. } if parsed == name => Some(statement),
            Reply::Bind { .. }
            | Reply::Close { .. }
            | Reply::DescribePortal { .. }
            | Reply::DescribeStatement { .. }
            | Reply::Execute { .. }
            | Reply::Parse { .. }
            | Reply::Probe { .. }
            | Reply::Refused { .. }
            | Reply::RefusedQuery { .. }
            | Reply::Simple { .. }
            | Reply::Sync
            | Reply::Trial { .. } => None,
        })
    }

    /// Whether the server discards what is sent now.
    pub(super) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Whether nothing is owed, nor skipped.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.is_empty() && !self.skipping
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what the server will not answer after an error; a simple Query is discarded like the rest.
    pub(super) fn fail(&mut self) {
        while let Some(head) = self.head() {
            if matches!(head, Reply::Sync) {
                return;
            }
            self.pop();
        }
        self.skipping = true;
    }

    /// The server reads a copy for the head. Until it ends the server ignores Sync, and those already sent are not
    /// answered.
    pub(super) fn begin_copy(&mut self) {
        let Some(head) = self.entries.front() else { return };
        let copy = self.copy.map_or(head.ended, |before| before + 1);
        self.copy = Some(copy);
        self.entries.retain(|entry| entry.ended != copy || !matches!(entry.reply, Reply::Sync));
    }

    /// The client ends a copy, though there may be none.
    pub(super) fn end_copy(&mut self) {
        self.ended += 1;
    }
}

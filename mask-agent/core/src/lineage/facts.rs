//! What a statement does besides returning rows, noted while it is read.

use super::{ColumnId, Predicate, graph::NodeId, system::Rewrite};

/// A name of a relation as a statement writes it; no schema is an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) schema: String,
    pub(super) name: String,
}

impl Name {
    pub(super) fn written(&self) -> String {
        if self.schema.is_empty() { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

/// A value that leaves by another way than the result.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// The function or command that carries it.
    pub(super) by: String,
    pub(super) value: NodeId,
}

/// Everything noted.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Relations named, by the statement itself or by what it calls.
    pub(super) relations: Vec<Name>,
    /// OIDs of those the catalog knows.
    pub(super) oids: Vec<u32>,
    /// It calls code of users, which may do anything that is not followed here.
    pub(super) calls_user_code: bool,
    /// It calls code of users that cannot be read: another language, or SQL put together while running.
    pub(super) calls_opaque_code: bool,
    /// It calls a function that nobody has made yet.
    pub(super) calls_missing: bool,
    /// It calls functions of the server's that do more than compute, and so may fail by what they find.
    pub(super) reaches: bool,
    /// A function that reaches values nobody named, by name.
    pub(super) dangerous: Option<String>,
    /// It reads large objects.
    pub(super) reads_large_objects: bool,
    pub(super) carried: Vec<Carried>,
    /// Cursors whose row the statement itself changes.
    pub(super) positions: Vec<String>,
    /// It moves sequences on.
    pub(super) counts: bool,
    /// Results of functions of users.
    pub(super) called: Vec<NodeId>,
    /// OIDs of functions of users, those that others call included.
    pub(super) routines: Vec<u32>,
    /// Columns named anywhere, whatever becomes of them.
    pub(super) named: Vec<NodeId>,
    /// Values that something is computed of, so that whether it fails may tell what they are.
    pub(super) computed: Vec<NodeId>,
    /// Values that errors of the statement, or of code it calls, may quote on purpose.
    pub(super) raised: Vec<NodeId>,
    /// A block or function changes definitions.
    pub(super) defines: bool,
    /// What a block defines.
    pub(super) defined: Vec<pg_query::NodeEnum>,
    /// It changes a setting by function, such as the search path.
    pub(super) sets: bool,
    /// It takes another role by function.
    pub(super) sets_role: bool,
    /// One of these changes what the same words mean.
    pub(super) sets_meaning: bool,
    /// It changes how statements and values are read.
    pub(super) sets_lexer: bool,
    /// Another literal in the place of one would mean something else, as of a number of a column or a length.
    pub(super) needs_literals: bool,
    /// Values where `''` or `0` stands in place of NULL; another constant there would be a guess.
    pub(super) blanked: Vec<NodeId>,
    /// A hash of the definitions that were read for it.
    pub(super) definitions: u64,
    /// Which of several a name without a schema means depends on a search path that is not known here.
    pub(super) needs_path: bool,
    /// It reads settings, where a session may have kept a value.
    pub(super) reads_settings: bool,
    /// It reads the text of the statement that is running.
    pub(super) reads_statement: bool,
    /// It writes to a relation whose rules do what nobody knows.
    pub(super) meets_rules: bool,
    /// A rule answers with rows of its own, beside or in place of the statement's.
    pub(super) answers_by_rule: bool,
    /// It writes to a relation whose triggers, rules or defaults run code of users.
    pub(super) meets_user_code: bool,
    /// It makes rows of nothing, as many as it likes.
    pub(super) generates: bool,
    /// What its success tells of columns it does not name: constraints on what it writes.
    pub(super) probes: Vec<Predicate>,
    /// It changes rows of a relation nobody knows, as one that was made just now.
    pub(super) changes_unknown: bool,
    /// It writes to a catalog of the server.
    pub(super) rewrites: Option<Rewrite>,
    /// Relations written to, with number 0, or their columns.
    pub(super) written: Vec<ColumnId>,
}

impl Facts {
    /// Whether all that was noted leaves everything as it is.
    pub(super) fn only_reads(&self) -> bool {
        self.written.is_empty()
            && self.carried.is_empty()
            && !(self.calls_user_code
                || self.changes_unknown
                || self.counts
                || self.defines
                || self.meets_user_code
                || self.reaches
                || self.sets)
    }
}

//! What a statement reads, what its outputs are made of, and where else it puts values.
//!
//! A statement is read by `PostgreSQL`'s own grammar into a graph of values (`graph`); names are resolved over
//! the catalog (`scope`), views and functions of users are read through. What cannot be told is untraceable,
//! and nothing untraceable is ever shown.

/// What leaves for another server.
mod abroad;
/// Tables that are made and altered: what is in their columns then.
mod altered;
/// What a statement asks of columns it does not show.
mod asked;
/// Blocks of PL/pgSQL.
mod block;
/// Bodies of functions.
mod body;
/// Functions of the server, classified.
mod builtins;
/// Function calls.
mod call;
/// Foreign keys that pass changes on.
mod cascade;
/// Casts.
mod cast;
/// Errors that are caught.
mod caught;
/// What definitions check of stored rows.
mod checked;
/// Functions as they were read.
mod code;
/// Kinds of statements.
mod command;
/// Queries behind WITH.
mod common;
/// COPY.
mod copy;
/// Databases that are made of others.
mod databases;
/// Aggregates and operators.
mod define;
/// Statements that change what names mean.
mod definition;
/// Statements that write.
mod dml;
/// Tables that are emptied.
mod empty;
/// Expressions and conditions.
mod expr;
/// Functions of well-known extensions, classified.
mod extensions;
/// What else a statement does.
mod facts;
mod filled;
/// What definitions will do later.
mod follow;
/// FROM.
mod from;
/// Functions that reach past the statement they stand in.
mod functions;
/// Values the client gives, and where they stand.
mod given;
/// Where values come from.
mod graph;
/// How many values a column is compared with at once.
mod guesses;
/// What is stored that was made of masked columns.
mod holds;
/// What definitions will ask later.
mod later;
/// What changes the meaning of words said later.
mod meaning;
/// Where values meet.
mod meet;
/// Names in the parse tree.
mod names;
/// Types that keep only a part.
mod narrow;
/// Nodes of the serialised parse tree.
mod node;
/// Operators of users.
mod operator;
/// What is returned.
mod outputs;
/// Definitions that are not committed yet.
mod overlay;
/// The parser.
mod parse;
/// Values that are put into columns by their place.
mod places;
/// Definitions by which no value moves.
mod plain;
/// Bodies in PL/pgSQL, piece by piece.
mod plpgsql;
/// Rules, and views that are written through.
mod rewrite;
/// Partitions.
mod routed;
/// Bodies of functions a statement makes.
mod routine;
/// Row-level security.
mod row_policy;
/// What names mean.
mod scope;
/// Settings that change how statements are read.
mod setting;
/// Names with letters beyond ASCII.
mod spelling;
/// One statement, put together.
mod statement;
/// Functions that the server calls of itself.
mod support;
/// Writes to catalogs.
mod system;
/// A statement's text without its literals.
mod template;
/// Constant texts that functions run.
mod texts;
/// Queries.
mod trace;
/// The serialised parse tree, walked node by node.
mod tree;
/// Statements that are no query.
mod utility;
/// Windows.
mod window;

use std::borrow::Cow;

use crate::catalog::{Catalog, Relation};

pub use cascade::Passed;
pub use databases::CopiedDatabase;
pub use extensions::COMPUTING_EXTENSIONS;
pub use follow::Standing;
pub use given::{Executes, Extent, Given, Place, Shows, Value, is_watched};
pub(crate) use graph::is_relative_time;
pub use graph::{Asked, Origins, Usage};
pub use guesses::{GUESSES_MAX, Guesses};
pub use holds::Holds;
pub use meaning::{Lasts, SetTo, Setting};
pub use overlay::{Made, Overlay, PolicyMade, Renames, Trigger, ViewQuery};
pub use scope::SYSTEM_COLUMNS;
pub use spelling::{Doubt, doubtful};
pub use template::{constants, differ_in_constants, template};

/// Whether no value of a setting changes what a statement means.
pub(crate) fn is_harmless_setting(name: &str) -> bool {
    setting::cannot_mean(name)
}

/// Whether text in this encoding can be told apart byte by byte where it is ASCII.
pub(crate) fn is_safe_encoding(name: &str) -> bool {
    !setting::is_unsafe("client_encoding", Some(name))
}

/// The number of a column that this transaction has added, which has none in any snapshot.
pub const ADDED: i16 = i16::MIN;

/// A column of a relation; number 0 is the whole row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId {
    /// `pg_class.oid`.
    pub relation: u32,
    /// `pg_attribute.attnum`.
    pub number: i16,
}

/// Why it cannot be told what is in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untraceable {
    /// A function that reads what nobody named.
    Dangerous,
    /// SQL that is put together while running.
    DynamicSql,
    /// A function whose body cannot be read.
    OpaqueFunction,
    /// Views or functions nest deeper than anybody writes them.
    TooDeep,
    /// A definition that was changed in this transaction.
    Uncommitted,
    /// A column the catalog does not know.
    UnknownColumn,
    /// An expression of a form that is not known here.
    UnknownExpression,
    /// A function nobody knows.
    UnknownFunction,
    /// A relation the catalog does not know.
    UnknownRelation,
    /// A statement of a form that is not known here.
    UnknownStatement,
    /// A view whose definition cannot be read.
    UnreadableView,
    /// An operator, cast or type of users.
    UserCode,
    /// A rule may run something else.
    UserRule,
}

impl Untraceable {
    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Dangerous => "a function reads values that the statement does not name",
            Self::DynamicSql => "a function puts SQL together while it runs",
            Self::OpaqueFunction => "the body of a function cannot be read",
            Self::TooDeep => "views or functions nest too deeply",
            Self::Uncommitted => "a definition was changed in this transaction",
            Self::UnknownColumn => "a column is not in the catalog",
            Self::UnknownExpression => "an expression of an unknown form",
            Self::UnknownFunction => "a function is not in the catalog",
            Self::UnknownRelation => "a relation is not in the catalog",
            Self::UnknownStatement => "a statement of an unknown form",
            Self::UnreadableView => "the definition of a view cannot be read",
            Self::UserCode => "an operator, cast or type runs code of users",
            Self::UserRule => "a rule may run something else",
        }
    }
}

/// Which columns are masked: all that lineage has to know of a policy.
pub trait Masked {
    /// Whether a column is masked; number 0 is the whole row.
    fn is_masked(&self, relation: u32, number: i16) -> bool;

    /// Whether any column of the relation is masked.
    fn is_sensitive(&self, relation: u32) -> bool;

    /// What a column has been filled with from masked ones, as far as that is remembered.
    fn holds(&self, relation: u32, number: i16) -> Option<Holds>;

    /// Whether a masked column anywhere in the database has this name.
    fn names_column(&self, name: &str) -> bool;

    /// What triggers and defaults of the snapshot put where, if that has been read.
    fn standing(&self) -> Option<&Standing> {
        None
    }
}

/// What a statement is read with.
pub struct Env<'a> {
    /// The database.
    pub catalog: &'a Catalog,
    /// Schemas that names without one are looked up in; none where that is unknown.
    pub path: Option<Vec<String>>,
    /// What this transaction has changed.
    pub overlay: &'a Overlay,
}

/// What a statement changes besides rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Definitions: the catalog must be read again.
    Catalog,
    /// Nothing.
    None,
    /// Settings, such as the search path or the role.
    Settings,
}

/// Why a statement is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One machine-readable word.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// What to do instead.
    pub hint: &'static str,
}

/// One output column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub origins: Origins,
}

/// What a statement returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outputs {
    /// These columns.
    Columns(Vec<Output>),
    /// The rows of a cursor, by its name.
    Cursor(String),
    /// Any number of columns, each made of this.
    Each(Box<Origins>),
    /// No rows.
    #[default]
    None,
    /// The plan of a prepared statement, by its name.
    Plan(String),
    /// The rows of a prepared statement, by its name.
    Prepared(String),
}

/// A query a statement gives a name to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// DECLARE, and whether it outlives its transaction.
    Cursor {
        /// Its name.
        name: String,
        /// WITH HOLD.
        holds: bool,
    },
    /// PREPARE.
    Prepared(String),
}

/// A column used without being shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Predicate {
    /// The column.
    pub column: ColumnId,
    /// How.
    pub usage: Usage,
    /// With how many values at once; one where that is no question.
    pub guesses: Guesses,
    /// What makes it another question.
    pub asked: Asked,
}

/// A column that is given a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WriteTarget {
    /// One the catalog knows; number 0 is any of the relation's.
    Column(ColumnId),
    /// One of a relation this transaction makes.
    New {
        /// Its schema, empty where none is written.
        schema: String,
        /// The relation's name.
        relation: String,
        /// Its own.
        column: String,
    },
}

/// A value that is put into a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub target: WriteTarget,
    /// What it is made of.
    pub origins: Origins,
    /// What the column holds by it, if that is anything masked.
    pub holds: Holds,
}

/// A value that leaves by another way than the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The function that carries it.
    pub by: String,
    /// What it is made of.
    pub origins: Origins,
}

/// The form COPY writes rows in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOut {
    /// The options as written: name and value in lower case, except for the value of a delimiter and its like.
    pub options: Vec<(String, Option<String>)>,
    /// Columns of FORCE QUOTE.
    pub force_quote: Vec<String>,
}

/// The form COPY reads rows in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyIn {
    /// The columns of each row; none where one is not known.
    pub columns: Vec<Option<ColumnId>>,
    /// The options as written: name and value.
    pub options: Vec<(String, Option<String>)>,
}

/// One statement of a string.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The grammar's name for it.
    pub command: &'static str,
    /// What it returns; of DECLARE and PREPARE, what will be returned under the name.
    pub outputs: Outputs,
    /// The name it gives to its query.
    pub keeps: Option<Keeps>,
    /// Set where the outputs leave as COPY data.
    pub copy: Option<CopyOut>,
    /// Set where rows come as COPY data: the columns they are put into.
    pub copy_in: Option<CopyIn>,
    /// What it changes besides rows.
    pub effect: Effect,
    /// Relations it names, with the schema where one is written.
    pub relations: Vec<String>,
    /// OIDs of relations it reads or writes, in views and functions as well.
    pub touched: Vec<u32>,
    /// Columns it uses without showing them.
    pub predicates: Vec<Predicate>,
    /// A hash of the definitions it names: of views, functions, rules and policies.
    pub definitions: u64,
    /// Masked columns it computes something of, or puts elsewhere: whether it fails may tell what they are.
    pub computes: Vec<ColumnId>,
    /// What it puts where.
    pub writes: Vec<Write>,
    /// Values the client gives, each at each of its places.
    pub given: Vec<Given>,
    /// The prepared statement it executes.
    pub executes: Option<Executes>,
    /// The database it makes of another.
    pub copied: Option<CopiedDatabase>,
    /// What is put where it may leave for another server.
    pub abroad: Vec<Origins>,
    /// Arguments of functions that show them elsewhere.
    pub channels: Vec<Channel>,
    /// Cursors whose row it changes: WHERE CURRENT OF.
    pub positions: Vec<String>,
    /// What it makes or changes by name.
    pub made: Vec<Made>,
    /// Of one that changes definitions, what its transaction has renamed.
    pub renames: Renames,
    /// Settings it changes by which the same words may mean something else.
    pub settings: Vec<Setting>,
    /// It changes definitions by which the same words may mean something else, though none of those words names them.
    pub redefines: bool,
    /// The value of `search_path` it sets for the session; an inner none is one nobody knows.
    pub sets_path: Option<Option<Vec<String>>>,
    /// It takes another role than the login's own.
    pub sets_role: bool,
    /// Code it runs may read the text of the statement.
    pub reads_statement: bool,
    /// It calls code that cannot be read, and may do anything.
    pub is_opaque: bool,
    /// Its errors and notices may quote what nobody followed.
    pub may_quote: bool,
    /// It calls code of users.
    pub calls_user_code: bool,
    /// It calls functions of the server's that do more than compute, and so may fail by what they find.
    pub reaches: bool,
    /// It is a query that changes nothing, so that nobody misses it whom nobody reads the answer of.
    pub only_reads: bool,
    /// It writes where rules may do something else.
    pub meets_rules: bool,
    /// It reads large objects.
    pub reads_large_objects: bool,
    /// Why it is not sent, whatever the policy says.
    pub refusal: Option<Refusal>,
    /// Whether any of this could be otherwise with other literals in the same places.
    pub needs_literals: bool,
}

/// Why a string cannot be analysed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// `PostgreSQL`'s own grammar rejects it.
    #[error("{0}")]
    Syntax(String),
    /// Nested deeper than the parser can follow.
    #[error("statement is nested too deeply to be read")]
    TooDeep,
    /// Longer than any statement that names relations needs to be.
    #[error("statement is longer than {SQL_BYTES_MAX} bytes")]
    TooLong,
}

/// Longer strings are refused; bulk data belongs into parameters or COPY.
pub const SQL_BYTES_MAX: usize = 4 << 20;
/// Stack that the deepest tree the parser lets through needs, some 2,000 levels, even without optimisation.
/// A thread should have more. On one that has less, a stack of this size is made for the call, but there the
/// parser, which measures the thread's own, may stop at a few dozen levels.
pub const STACK_BYTES: usize = 32 << 20;
/// A level takes two bytes of text at least, and without optimisation some 16 KiB of stack.
const STACK_PER_BYTE: usize = 8 << 10;

/// Analyses every statement of a string, each after what those before it change.
///
/// # Errors
/// When the string cannot be read as the server would read it.
pub fn analyse(sql: &str, env: &Env<'_>, classes: &dyn Masked) -> Result<Vec<Statement>, LineageError> {
    analyse_as(sql, None, env, classes)
}

/// The same with EXPLAIN before one of the statements, as where it was prepared and its plan is asked for.
///
/// # Errors
/// When the string cannot be read as the server would read it.
pub fn analyse_plan(
    sql: &str,
    part: usize,
    env: &Env<'_>,
    classes: &dyn Masked,
) -> Result<Vec<Statement>, LineageError> {
    analyse_as(sql, Some(part), env, classes)
}

fn analyse_as(
    sql: &str,
    explained: Option<usize>,
    env: &Env<'_>,
    classes: &dyn Masked,
) -> Result<Vec<Statement>, LineageError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(LineageError::TooLong);
    }
    stacker::maybe_grow(sql.len().saturating_mul(STACK_PER_BYTE).min(STACK_BYTES), STACK_BYTES, || {
        let parsed = parse::statements(sql)?;
        let mut overlay = Cow::Borrowed(env.overlay);
        let mut path = env.path.clone();
        let mut statements = Vec::with_capacity(parsed.len());
        for (raw, left) in parsed.iter().zip((0..parsed.len()).rev()) {
            let Some(node) = raw.stmt.as_deref() else { continue };
            let env = Env { catalog: env.catalog, path: path.clone(), overlay: &overlay };
            let explained = (explained == Some(statements.len())).then(|| statement::explaining(node));
            let statement = statement::read(explained.as_ref().unwrap_or(node), &env, classes)?;
            for made in statement.made.iter().filter(|_| left > 0) {
                overlay.to_mut().learn(made);
            }
            if let Some(set) = &statement.sets_path {
                path.clone_from(set);
            }
            statements.push(statement);
        }
        given::count_parameters(sql, &mut statements);
        Ok(statements)
    })
}

/// What triggers and defaults put where, whoever writes.
pub fn standing(catalog: &Catalog, classes: &dyn Masked) -> Standing {
    let overlay = Overlay::default();
    follow::standing(&Env { catalog, path: None, overlay: &overlay }, classes, &|_| true)
}

/// What a relation keeps that its definition made of others.
pub fn stored(relation: &Relation, catalog: &Catalog, classes: &dyn Masked) -> Vec<Write> {
    let overlay = Overlay::default();
    follow::stored(relation, &Env { catalog, path: None, overlay: &overlay }, classes)
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
#[path = "lineage_tests.rs"]
mod tests;

#[cfg(test)]
mod asked_tests;

#[cfg(test)]
mod block_tests;

#[cfg(test)]
mod caught_tests;

#[cfg(test)]
mod code_tests;

#[cfg(test)]
mod effort_tests;

#[cfg(test)]
mod generated_tests;

#[cfg(test)]
mod hidden_tests;

#[cfg(test)]
mod later_tests;
#[cfg(test)]
mod loop_tests;

#[cfg(test)]
mod recorded_tests;

#[cfg(test)]
mod renamed_tests;

#[cfg(test)]
mod search_tests;

#[cfg(test)]
mod system_tests;

#[cfg(test)]
mod tell_tests;

#[cfg(test)]
mod trace_tests;

#[cfg(test)]
mod use_tests;

#[cfg(test)]
mod utility_tests;

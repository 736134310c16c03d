//! Reads a string by `PostgreSQL`'s own grammar.
//!
//! The library hands its tree over as a message, and writing one takes three times as long as parsing: whatever a node
//! may be is asked of each node. What programs mostly send is copied out of the parser's own structs instead; a tree
//! with any other node in it comes as a message.
#![expect(unsafe_code, reason = "the parser is written in C")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use pg_query::{
    Error,
    protobuf::{ParseResult, RawStmt},
};
use prost::Message;

use self::layout::List;
use super::LineageError;

/// Nodes of the parser as nodes of messages.
mod convert;
/// The parser's structs.
mod layout;

/// The statements of a string.
///
/// # Errors
/// When the grammar does not have it, or it is nested too deeply.
pub(super) fn statements(sql: &str) -> Result<Vec<RawStmt>, Error> {
    let sql = CString::new(sql)?;
    let Some(statements) = by_struct(&sql) else { return by_message(&sql) };
    #[cfg(debug_assertions)]
    if let Ok(message) = by_message(&sql) {
        assert_eq!(message, statements, "both ways lead to one tree: {sql:?}");
    }
    Ok(statements)
}

/// Copied from the parser's structs; none where there is an error, or a node that is not known here.
fn by_struct(sql: &CStr) -> Option<Vec<RawStmt>> {
    let _context = Context::enter();
    // SAFETY: the string is one of C's, and the memory context this must be called in has been entered.
    let parsed = unsafe { pg_query_raw_parse(sql.as_ptr(), 0) };
    let statements = if parsed.error.is_null() { convert::statements(parsed.tree).ok() } else { None };
    // SAFETY: both are the caller's, null or made by malloc; the tree, which is freed with the context, is not used
    // any more.
    unsafe {
        if !parsed.error.is_null() {
            pg_query_free_error(parsed.error);
        }
        free(parsed.warnings.cast());
    }
    statements
}

/// As a message.
fn by_message(sql: &CStr) -> Result<Vec<RawStmt>, Error> {
    // SAFETY: the string is one of C's.
    let parsed = unsafe { pg_query_parse_protobuf_opts(sql.as_ptr(), 0) };
    let result = if parsed.error.is_null() {
        // SAFETY: without an error there is a message of this length, which stays until it is freed below.
        let message = unsafe { std::slice::from_raw_parts(parsed.message.cast::<u8>(), parsed.length) };
        ParseResult::decode(message).map(|result| result.stmts).map_err(Error::Decode)
    } else {
        // SAFETY: an error begins with its message, a string of C's, and stays until it is freed below.
        let message = unsafe { CStr::from_ptr((*parsed.error).message) };
        Err(Error::Parse(message.to_string_lossy().into_owned()))
    };
    // SAFETY: nothing in it is used any more.
    unsafe { pg_query_free_protobuf_parse_result(parsed) };
    result
}

impl From<pg_query::Error> for LineageError {
    /// The parser checks its stack and how deep its tree is, so what reads the tree may recurse.
    fn from(error: pg_query::Error) -> Self {
        match error {
            pg_query::Error::Decode(_) => Self::TooDeep,
            pg_query::Error::Parse(message)
                if ["stack depth limit exceeded", "memory exhausted", "nested too deeply"]
                    .iter()
                    .any(|limit| message.contains(limit)) =>
            {
                Self::TooDeep
            }
            error => Self::Syntax(error.to_string()),
        }
    }
}

/// What the parser allocates in; leaving it frees that.
struct Context(*mut c_void);

impl Context {
    fn enter() -> Self {
        // SAFETY: on a thread that is in no context, which one is left before another is entered makes sure of.
        Self(unsafe { pg_query_enter_memory_context() })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was entered, and is left once.
        unsafe { pg_query_exit_memory_context(self.0) };
    }
}

/// `PgQueryError`, of which more follows.
#[repr(C)]
struct ParserError {
    message: *const c_char,
}

/// `PgQueryInternalParsetreeAndError`.
#[repr(C)]
struct Parsed<'t> {
    tree: Option<&'t List<'t>>,
    warnings: *mut c_char,
    error: *mut ParserError,
}

/// `PgQueryProtobufParseResult`.
#[repr(C)]
struct ParsedMessage {
    length: usize,
    message: *mut c_char,
    warnings: *mut c_char,
    error: *mut ParserError,
}

// All but `free` are the parser's, which `pg_query` links.
unsafe extern "C" {
    fn free(allocated: *mut c_void);
    fn pg_query_enter_memory_context() -> *mut c_void;
    fn pg_query_exit_memory_context(context: *mut c_void);
    fn pg_query_free_error(error: *mut ParserError);
    fn pg_query_free_protobuf_parse_result(result: ParsedMessage);
    fn pg_query_parse_protobuf_opts(sql: *const c_char, options: c_int) -> ParsedMessage;
    fn pg_query_raw_parse<'t>(sql: *const c_char, options: c_int) -> Parsed<'t>;
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

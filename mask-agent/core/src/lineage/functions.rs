//! Functions that reach past the statement they stand in.

use super::builtins::{Builtin, Class, builtin, extension};

/// Functions of the server that turn a row they are given into a value, and may be written as its column.
const WHOLE_ROW: [&str; 13] = [
    "concat",
    "hash_record",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "quote_literal",
    "quote_nullable",
    "record_out",
    "record_send",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

/// Functions that read large objects; those that write them are channels.
const LARGE_OBJECTS: [&str; 3] = ["lo_get", "lo_open", "loread"];

pub(super) fn is_dangerous(name: &str) -> bool {
    class(name) == Some(Class::Dangerous) && !reads_large_objects(name)
}

/// Whether it reads large objects, into which no masked value is put through the agent.
pub(super) fn reads_large_objects(name: &str) -> bool {
    LARGE_OBJECTS.contains(&name)
}

pub(super) fn has_side_channel(name: &str) -> bool {
    class(name) == Some(Class::Channel)
}

/// Whether it carries or reads more than its arguments and its result.
pub(super) fn reaches(name: &str) -> bool {
    class(name).is_some_and(|class| matches!(class, Class::Channel | Class::Dangerous))
}

/// In whatever major, and as whatever extension names it.
fn class(name: &str) -> Option<Class> {
    builtin(0, name).map(|builtin| builtin.class).max(extension(name))
}

pub(super) fn takes_whole_row(name: &str) -> bool {
    WHOLE_ROW.contains(&name)
}

/// Whether others see that a function of the server's was called: it acts on the server, or gives the transaction a number.
/// What counts in a sequence is carried there.
pub(super) fn leaves_trace(name: &str, builtin: Builtin) -> bool {
    let acts = builtin.volatile && builtin.class == Class::Metadata && name != "nextval";
    acts || matches!(name, "pg_current_xact_id" | "txid_current")
}

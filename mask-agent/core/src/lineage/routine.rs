//! Bodies of functions that a statement makes: may they move values where nobody looks?
//!
//! What a function returns is not understood anyway, wherever it is called. What it writes on the way would be
//! seen by nobody, so only a body that cannot write is let through.

use serde_json::Value;

use super::{
    functions,
    node::{named, strings, text},
};

/// Words of a body that write, run text, change settings or speak to others. As names they stand in quotes.
const WRITES: [&str; 16] = [
    "alter", "call", "copy", "create", "delete", "do", "drop", "execute", "grant", "import", "insert",
    "merge", "notify", "set", "truncate", "update",
];

/// Whether a function in this language, with these texts as its body, might write.
pub(super) fn may_write(language: Option<&str>, bodies: &[String]) -> bool {
    match language.map(str::to_lowercase).as_deref() {
        // In SQL it makes a table, in PL/pgSQL it fills a variable.
        Some("sql") => bodies.iter().any(|body| writes(body, &["into"])),
        Some("plpgsql") => bodies.iter().any(|body| writes(body, &[])),
        _ => true,
    }
}

/// What cannot be read counts as writing.
fn writes(body: &str, more: &[&str]) -> bool {
    let Ok(tokens) = pg_query::scan_tokens(body) else { return true };
    tokens.iter().any(|token| {
        let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end)) else {
            return true;
        };
        let Some(word) = body.get(start..end) else { return true };
        if let Some(name) = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
            return reaches(name);
        }
        let word = word.to_lowercase();
        // A name may be written by the numbers of its characters.
        let escaped = word.starts_with("u&\"");
        escaped || WRITES.contains(&&*word) || more.contains(&&*word) || reaches(&word)
    })
}

fn reaches(name: &str) -> bool {
    name == "set_config" || functions::is_dangerous(name) || functions::has_side_channel(name)
}

/// The language and the texts of a `CREATE FUNCTION`.
pub(super) fn read(statement: &Value) -> (Option<String>, Vec<String>) {
    let options = statement.get("options").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let option = |name: &str| {
        options.iter().filter_map(|option| named(option)).find_map(|(_, option)| {
            (option.get("defname")?.as_str()? == name).then(|| option.get("arg")).flatten()
        })
    };
    let word = |value: &Value| named(value)?.1.get("sval").and_then(text);
    let bodies = option("as").and_then(named).and_then(|(_, list)| list.get("items"));
    (option("language").and_then(word), bodies.map(strings).unwrap_or_default())
}

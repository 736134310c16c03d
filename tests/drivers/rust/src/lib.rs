//! What the Rust programs have in common: where they connect, and how they write down what they saw.

use std::{
    env,
    io::{self, BufRead},
};

use serde_json::{Value, json};

pub const ROWS: &str = "select id, label, size, made from parts order by id";

/// A variable that the caller sets.
pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// The connection string with more in it.
pub fn dsn(more: &str) -> String {
    format!("{}?{more}", variable("DSN"))
}

/// Names of a column of every type, and of one of its arrays, with the table that has it.
pub fn columns(prefix: &str) -> Vec<(&'static str, String)> {
    let count = variable("TYPES").parse().unwrap_or(0);
    let of = |table| (0..count).map(move |number: u32| (table, number));
    of("scalars").chain(of("arrays")).map(|(table, number)| (table, format!("{prefix}_{number}"))).collect()
}

/// A masked column of every type, as a key and the query that reads it beside its neighbour.
pub fn masked_columns() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for schema in variable("SCHEMAS").split(',') {
        for (table, secret) in columns("secret") {
            let open = secret.replace("secret", "open");
            let sql = format!("select {secret}, {open} from {schema}.{table} order by id");
            all.push((format!("{schema}.{table}.{secret}"), sql));
        }
    }
    all
}

/// Has the server restarted.
pub fn until_restarted() {
    println!("ready");
    let mut line = String::new();
    let _ = io::stdin().lock().read_line(&mut line);
}

/// The feature that the command line names; lists them all where it asks for them.
pub fn wanted(version: &str, features: &[&str]) -> Option<String> {
    let wanted = env::args().nth(1)?;
    if wanted == "features" {
        println!("{}", json!({ "version": version, "features": features }));
        return None;
    }
    Some(wanted)
}

/// Bytes as text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A version of a crate, from the file that pins them.
pub fn version(name: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let found = lock.split("[[package]]").find(|package| package.contains(&format!("name = \"{name}\"\n")));
    let version = found.and_then(|package| package.split("version = \"").nth(1)?.split('"').next());
    format!("{name} {}", version.unwrap_or("?"))
}

/// What came of it: a value, or what the error says.
pub fn told<T: Into<Value>, E>(result: Result<T, E>, failure: impl Fn(&E) -> Value) -> Value {
    match result {
        Ok(value) => value.into(),
        Err(error) => failure(&error),
    }
}

//! COPY to the client, in every form and of every type: masked cells are values of their types, all else is as the
//! server sent it.

#[path = "../../mask-agent/core/tests/copies/mod.rs"]
pub(super) mod copies;

use std::{fs, process::Command};

use anyhow::{Context, Result};
use copies::{Csv, Form, Row};
use mask_tests::{
    Agent, Postgres, Scratch, driver_python, have_root, output,
    wire::{field, query, shows, talk, unhex},
};
use serde_json::{Map, Value, json};

use super::types;

/// A few, because every type is read in each.
pub(super) fn forms() -> Vec<Form> {
    let csv = |delimiter, null, quote, escape, header, forced: [bool; 2]| {
        Form::Csv(Csv { delimiter, null, quote, escape, header, forced: forced.to_vec() })
    };
    vec![
        Form::Binary { extension: Vec::new() },
        Form::Text { delimiter: b'\t', null: "\\N", header: false },
        Form::Text { delimiter: b'|', null: "\\-", header: true },
        csv(b',', "", b'"', b'"', false, [false; 2]),
        csv(b';', "NULL", b'\'', b'\\', true, [true, false]),
        csv(b'|', "\\N", b'~', b'~', false, [true; 2]),
    ]
}

/// Types without a binary form.
const TEXT_ONLY: [&str; 1] = ["aclitem"];
/// Domains with a check that their constant does not pass.
const CHECKED: [&str; 3] = ["digits", "mood_domain", "digitsrange"];
/// Shorter forms are found by chance in bytes that have nothing to do with them.
const CANARY_BYTES_MIN: usize = 4;

pub(super) fn run(mut command: Command, port: u16, way: &str, asked: &[Value]) -> Result<Map<String, Value>> {
    let scratch = Scratch::new("copies")?;
    let file = scratch.0.join("asked");
    fs::write(&file, serde_json::to_vec(asked)?)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/run_copies.py");
    let (ok, text) = output(command.arg(script).arg(port.to_string()).arg(way).arg(&file))?;
    anyhow::ensure!(ok, "{text}");
    serde_json::from_str(text.lines().last().unwrap_or_default()).context(text)
}

fn rows(form: &Form, result: &Value) -> Option<Vec<Row>> {
    form.read(&unhex(result.as_str()?), 2)
}

pub(super) fn fault(form: &Form, clear: &Value, shown: &Value, mask_is_null: bool) -> Option<&'static str> {
    let Some(clear) = rows(form, clear) else { return Some("the server's rows are not read") };
    let Some(shown) = rows(form, shown) else { return Some("rows are not of their form") };
    if clear.len() != 3 || shown.len() != 3 {
        return Some("rows are missing");
    }
    for (clear, shown) in clear.iter().zip(&shown) {
        if clear[1] != shown[1] {
            return Some("the neighbour differs");
        }
        match (&clear[0], &shown[0]) {
            (None, Some(_)) => return Some("NULL became a value"),
            (Some(_), None) if mask_is_null => {}
            (Some(_), None) => return Some("a value became NULL"),
            (Some(clear), Some(shown)) if clear == shown => return Some("the clear value is shown"),
            (Some(clear), Some(shown)) if clear.len() >= CANARY_BYTES_MIN => {
                if shown.windows(clear.len()).any(|part| part == clear) {
                    return Some("the clear value is part of what is shown");
                }
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
    None
}

#[test]
fn every_type_is_copied_masked_in_every_form_and_can_be_copied_back() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&types::schema())?;
    let agent = Agent::start_with(postgres.port, Some(&types::policy()))?;
    let forms = forms();
    let tables = [("scalars", ""), ("arrays", "[]")];
    let mut asked = Vec::new();
    let mut cases = Vec::new();
    for (number, (declaration, _, _)) in types::TYPES.iter().enumerate() {
        for (table, suffix) in tables {
            for (index, form) in forms.iter().enumerate() {
                let columns = [format!("secret_{number}"), format!("open_{number}")];
                let key = format!("{declaration}{suffix} in form {index}, column {number}");
                let [secret, open] = &columns;
                let sql = format!(
                    "copy redacted.{table} ({secret}, {open}) to stdout ({})",
                    form.options(&[secret, open])
                );
                cases.push((key.clone(), *declaration, suffix, form));
                asked.push(json!([key, sql]));
            }
        }
    }
    let python = driver_python()?;
    let direct = run(Command::new(&python), postgres.port, "out", &asked)?;
    let masked = run(agent.client(&python), postgres.port, "out", &asked)?;
    let mut faults = Vec::new();
    let mut back = Vec::new();
    for (key, declaration, suffix, form) in &cases {
        let (clear, shown) = (&direct[key], &masked[key]);
        if clear.is_object() {
            let known = TEXT_ONLY.contains(declaration) && matches!(form, Form::Binary { .. });
            assert!(known, "{key}: the server does not copy it: {clear}");
            continue;
        }
        if let Some(fault) = fault(form, clear, shown, false) {
            faults.push(format!("{key}: {fault}\n    {clear}\n    {shown}"));
            continue;
        }
        // The server itself cannot read an empty one in binary.
        let is_vector =
            matches!(*declaration, "int2vector" | "oidvector") && matches!(form, Form::Binary { .. });
        if !is_vector && (!CHECKED.contains(declaration) || !suffix.is_empty()) {
            let made = format!("create table made (a {declaration}{suffix}, b {declaration}{suffix})");
            let into = format!("copy made from stdin ({})", form.reading_options(&["a", "b"]));
            // Oids are the same in every database for built-in types alone.
            let plain =
                ["int4", "text", "numeric", "timestamptz(3)", "uuid", "jsonb", "inet", "bool", "date"];
            let types: &[&str] = if plain.contains(declaration) && suffix.is_empty() {
                let name = declaration.split('(').next().unwrap_or_default();
                &[name, name]
            } else {
                &[]
            };
            back.push(json!([key, made, into, shown, types]));
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    assert!(back.len() > 1_000, "{}", back.len());
    for (key, result) in run(Command::new(&python), postgres.port, "in", &back)? {
        if !result.is_null() {
            faults.push(format!("{key}: {result}\n    {}", masked[&key]));
        }
    }
    assert!(faults.is_empty(), "{} that cannot be copied back\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text);
    insert into customers values (1, E'Lis\\\\bon\\t\"x\"', 'ana.canary@example.org'), (2, '\\.', null), (3, null, ''),
        (4, '', E'bob.canary\\n\"q\"''~@example.org');
    create table parts (id int primary key, label text);
    insert into parts values (1, 'Bolt'), (2, '\\.'), (3, null);
    create table empty_rows (); insert into empty_rows default values; insert into empty_rows default values";

fn copied(agent: Option<&Agent>, port: u16, sql: &str) -> Result<Vec<(u8, Vec<u8>)>> {
    talk(agent, port, &[query(sql)])?.pop().context("an answer")
}

#[test]
fn what_is_not_masked_is_copied_as_the_server_sent_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    for sql in [
        "copy parts to stdout",
        "copy parts to stdout (format csv, header, force_quote *, quote '''', escape '''')",
        "copy parts to stdout (format csv, null 'Bolt', delimiter ';')",
        "copy parts to stdout (null 'Bolt')",
        "copy parts to stdout (format binary)",
        "copy binary parts to stdout",
        "copy parts (label) to stdout csv quote as '\"' force quote label",
        "copy (select label, null, '\\.' from parts) to stdout",
        "copy parts to stdout (encoding 'SJIS')",
        "copy (select 1 where false) to stdout",
        "copy empty_rows to stdout",
        "copy empty_rows to stdout (format csv)",
        "copy empty_rows to stdout (format binary)",
        "copy (select id, city from customers) to stdout (format csv, escape '\\')",
        "copy parts to stdout (format xml)",
        "copy parts to stdout (delimiter 'ab')",
        "copy parts to stdout; copy (select id from customers) to stdout (format binary); select 1",
    ] {
        assert_eq!(copied(Some(&agent), postgres.port, sql)?, copied(None, postgres.port, sql)?, "{sql}");
    }
    Ok(())
}

#[test]
fn masked_rows_keep_null_and_whatever_is_beside_them() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let policy = "{ version: 1, name: copies, masks: { email: redact },
        classification: { columns: [{ name: email, tag: email }] } }";
    let agent = Agent::start_with(postgres.port, Some(policy))?;
    let text = |sql: &str| -> Result<String> {
        let answer = copied(Some(&agent), postgres.port, sql)?;
        let rows = answer.iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body.clone());
        Ok(String::from_utf8_lossy(&rows.collect::<Vec<_>>()).into_owned())
    };
    assert_eq!(
        text("copy customers to stdout")?,
        "1\tLis\\\\bon\\t\"x\"\t***\n2\t\\\\.\t\\N\n3\t\\N\t***\n4\t\t***\n"
    );
    assert_eq!(
        text("copy customers to stdout (format csv, header)")?,
        "id,city,email\n1,\"Lis\\bon\t\"\"x\"\"\",***\n2,\\.,\n3,,***\n4,\"\",***\n"
    );
    assert_eq!(
        text(
            "copy (select email, id from customers) to stdout (format csv, quote '*', escape '*', null 'no')"
        )?,
        "********,1\nno,2\n********,3\n********,4\n"
    );
    assert_eq!(text("copy (select email from customers) to stdout (null '\\x')")?, "***\n\\x\n***\n***\n");
    assert_eq!(text("copy (select '\\N', email from customers where id = 1) to stdout")?, "\\\\N\t***\n");
    Ok(())
}

#[test]
fn a_copy_whose_rows_cannot_be_told_apart_is_refused_and_the_connection_goes_on() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    for options in [
        "encoding 'SJIS'",
        "encoding 'GB18030', format csv",
        "null 'ana.canary@example.org'",
        "null '\\t'",
        "format csv, quote E'\\n'",
        "format csv, escape E'\\r'",
        "format csv, null 'é'",
    ] {
        let sql = format!("copy customers to stdout ({options})");
        let answers = talk(Some(&agent), postgres.port, &[query(&sql), query("copy parts to stdout")])?;
        let [refused, after] = &answers[..] else { panic!("{options}: {answers:?}") };
        let error = refused
            .iter()
            .find(|(kind, _)| *kind == b'E')
            .with_context(|| format!("{options}: {refused:?}"))?;
        let message = field(&error.1, b'M').unwrap_or_default();
        assert!(message.starts_with("mask-agent: COPY of masked columns is refused: "), "{message}");
        assert_eq!(field(&error.1, b'C').as_deref(), Some("42501"));
        assert!(!shows(refused, b"canary"), "{options}");
        assert!(shows(after, b"Bolt"), "{options}: {after:?}");
    }
    Ok(())
}

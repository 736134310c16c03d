//! A masked column of any type, in either format, is a value its readers accept and shows nothing of the clear
//! one; a column beside it that is not masked is what the server sent.

use std::{fmt::Write, fs};

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, Scratch, driver_python, have_root, output, wire::unhex};
use serde_json::{Map, Value};

pub(super) use mask_tests::types::TYPES;

const MASKS: [(&str, &str); 12] = [
    ("redacted", "redact"),
    ("nulled", "'null'"),
    ("hashed", "hash"),
    ("patterned", "pattern"),
    ("shortened", "{ partial: { first: 1, last: 2 } }"),
    ("tokenised", "token"),
    ("sealed", "{ token: { reversible: true } }"),
    ("carded", "{ fpe: card }"),
    ("digited", "{ fpe: digits }"),
    ("mailed", "{ fpe: email }"),
    ("yearly", "generalise"),
    ("monthly", "{ generalise: { date: month, bucket: 1000, prefix4: 16, prefix6: 48 } }"),
];

/// Shorter forms are found by chance in bytes that have nothing to do with them.
const CANARY_BYTES_MIN: usize = 4;

pub(super) fn schema() -> String {
    mask_tests::types::schema(&MASKS.map(|(schema, _)| schema))
}

pub(super) fn policy() -> String {
    let mut columns = String::new();
    let mut masks = String::new();
    for (schema, mask) in MASKS {
        let _ = writeln!(columns, "    - {{ name: secret*, table: {schema}.*, tag: {schema} }}");
        let _ = writeln!(masks, "  {schema}: {mask}");
    }
    format!("version: 1\nname: types\nclassification:\n  columns:\n{columns}masks:\n{masks}")
}

/// Client and column to rows, or to the text of an error.
type Results = Map<String, Value>;

fn results(text: &str) -> Result<Results> {
    let last = text.lines().last().with_context(|| format!("no output: {text}"))?;
    serde_json::from_str(last).with_context(|| text.to_owned())
}

#[test]
fn a_masked_cell_of_any_type_is_a_value_of_its_type_and_its_neighbour_is_untouched() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&schema())?;
    let agent = Agent::start_with(postgres.port, Some(&policy()))?;
    let kept = Scratch::new("kept")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/read_types.py");
    let read = |mut command: std::process::Command, file: &str, masks: &str| -> Result<_> {
        let file = kept.0.join(file);
        let port = postgres.port.to_string();
        let (ok, text) = output(command.arg(script).arg(port).arg(&file).arg(masks))?;
        assert!(ok, "{text}\n{}", agent.log());
        Ok((results(&text)?, fs::read(file)?))
    };
    let python = driver_python()?;
    let (direct, _) = read(std::process::Command::new(&python), "direct", MASKS[0].0)?;
    let direct = direct[MASKS[0].0].as_object().context("clients")?;
    let masks = MASKS.map(|(schema, _)| schema).join(",");
    let (masked, received) = read(agent.client(&python), "masked", &masks)?;

    let mut faults = Vec::new();
    for (schema, mask) in MASKS {
        for (client, columns) in direct {
            let columns = columns.as_object().context("columns")?;
            let unread: Vec<_> = columns.iter().filter(|(_, rows)| !rows.is_array()).collect();
            // It has no binary form.
            let known = unread.iter().all(|(column, _)| declared(column) == "aclitem");
            assert!(known, "{client} cannot read what the server sends: {unread:?}");
            assert_eq!(columns.len(), 2 * TYPES.len());
            for (column, clear) in columns {
                let shown = &masked[schema][client][column];
                if let Some(fault) = fault(client, mask, clear, shown) {
                    faults.push(format!(
                        "{mask}, {client}, {}: {fault}\n    {clear}\n    {shown}",
                        declared(column)
                    ));
                }
            }
        }
    }
    for form in ["simple", "binary"] {
        for (number, (declaration, _, _)) in TYPES.iter().enumerate() {
            let Some(cell) = direct[form][format!("scalars.secret_{number}")][0][0].as_str() else {
                continue;
            };
            let canary = unhex(cell);
            let found = || received.windows(canary.len()).any(|window| window == canary);
            if canary.len() >= CANARY_BYTES_MIN && found() {
                faults.push(format!("{declaration}: its {form} form {cell} reached a client"));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn an_extension_makes_no_operator_suspect_and_its_functions_show_no_row() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(
        "create extension citext; create extension hstore; create extension ltree; create extension pg_trgm;
         create extension \"uuid-ossp\";
         create table customers (id int primary key, email citext);
         insert into customers values (1, 'ana.canary@example.org');
         create table parts (id uuid default uuid_generate_v4(), label citext, size int, tags hstore);
         insert into parts (label, size, tags) values ('Bolt', 7, 'a=>1')",
    )?;
    let agent = Agent::start(postgres.port)?;
    for sql in [
        "select size + 1, label || '!', label = 'bolt', size % 2 from parts where label = 'BOLT'",
        "select tags -> 'a', tags ? 'b', 'a.b'::ltree || 'c', similarity('bolt', 'bold') from parts",
        "insert into parts (label, size) values ('Nut', 3) returning label, size * 2",
    ] {
        let (ok, clear) = postgres.psql(sql)?;
        let (_, text) = agent.psql(&postgres.dsn(), sql)?;
        assert!(ok && text == clear, "{sql}: {text} instead of {clear}\n{}", agent.log());
    }
    for sql in [
        "select hstore(c) from customers c",
        "select c.hstore -> 'email' from customers c",
        "select each(hstore(c)) from customers c",
        "insert into parts (label, size) select hstore(c)::text, 1 from customers c returning label",
        "insert into parts (label, size) select c.hstore::text, 1 from customers c",
        "insert into parts (label, size) select hstore('email', email)::text, 1 from customers",
        "select email || '' from customers",
        "select label from parts",
    ] {
        let (_, text) = agent.psql(&postgres.dsn(), sql)?;
        assert!(!text.contains("canary"), "{sql}: {text}");
    }
    Ok(())
}

/// Reads a date and a timestamp as text under every style there is.
const READ_STYLES: &str = "
import sys, psycopg
for style in sys.argv[2:]:
    login = dict(host='127.0.0.1', port=sys.argv[1], user='postgres', dbname='postgres')
    with psycopg.connect(options='-c datestyle=' + style, **login) as db:
        print(*db.execute('select born, seen from people').fetchone())
";

#[test]
fn a_masked_date_is_one_in_the_style_its_reader_asked_for() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(
        "create table people (born date, seen timestamp);
         insert into people values ('1957-06-25', '1957-06-25 13:57:46')",
    )?;
    let policy =
        "{ version: 1, name: dates, classification: { columns: [{ name: [born, seen], tag: date }] } }";
    let agent = Agent::start_with(postgres.port, Some(policy))?;
    let styles = ["ISO", "German", "SQL,MDY", "SQL,DMY", "Postgres,MDY", "Postgres,DMY"];
    let python = driver_python()?;
    let read = |mut command: std::process::Command| {
        output(command.args(["-c", READ_STYLES, &postgres.port.to_string()]).args(styles))
    };
    let (ok, text) = read(std::process::Command::new(&python))?;
    assert!(ok && text == "1957-06-25 1957-06-25 13:57:46\n".repeat(styles.len()), "{text}");
    let (ok, text) = read(agent.client(&python))?;
    assert!(ok && text == "2000-01-01 2000-01-01 00:00:00\n".repeat(styles.len()), "{text}\n{}", agent.log());
    Ok(())
}

/// What is wrong with the rows of one column as a client read them.
fn fault(client: &str, mask: &str, clear: &Value, shown: &Value) -> Option<&'static str> {
    let (Some(clear), shown) = (clear.as_array(), shown.as_array()) else {
        // The client cannot read the type of the clear value either.
        return None;
    };
    let Some(shown) = shown else { return Some("an error") };
    if clear.len() != 3 || shown.len() != 3 {
        return Some("rows are missing");
    }
    let null = |cell: &Value| cell.is_null() || cell == "None";
    let raw = matches!(client, "simple" | "text" | "binary");
    let nulls = mask == "'null'";
    for (clear, shown) in clear.iter().zip(shown) {
        if clear[1] != shown[1] {
            return Some("the neighbour differs");
        }
        if null(&clear[0]) {
            if !null(&shown[0]) {
                return Some("NULL became a value");
            }
        } else if clear[0] == shown[0] {
            return Some("the clear value is shown");
        } else if raw && null(&shown[0]) != nulls {
            return Some("NULL where it should be a value, or the other way round");
        }
    }
    None
}

/// The declaration of a column such as `scalars.secret_7`; of an array its elements'.
fn declared(column: &str) -> &'static str {
    let number = column.rsplit_once('_').and_then(|(_, number)| number.parse::<usize>().ok());
    number.and_then(|number| TYPES.get(number)).map_or("?", |(declaration, _, _)| declaration)
}

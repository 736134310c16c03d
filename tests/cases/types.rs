//! A masked column of any type, in either format, is a value its readers accept and shows nothing of the clear
//! one; a column beside it that is not masked is what the server sent.

use std::{fmt::Write, fs};

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Postgres, Scratch, driver_python, have_root, output,
    wire::{Message, bind, cells, describe, execute, field, parse, query, sync, talk, unhex},
};
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
    check_every_type(&Postgres::start("trust")?, &MASKS)
}

/// With two masks, as all of them are tried on another version.
#[test]
fn a_masked_cell_of_any_type_is_a_value_of_its_type_on_the_newest_server_too() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    check_every_type(&Postgres::start_major(18)?, &[MASKS[0], MASKS[2]])
}

fn check_every_type(postgres: &Postgres, tried: &[(&'static str, &'static str)]) -> Result<()> {
    let schemas: Vec<_> = tried.iter().map(|(schema, _)| *schema).collect();
    postgres.setup(&mask_tests::types::schema(&schemas))?;
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
    let (direct, _) = read(std::process::Command::new(&python), "direct", schemas[0])?;
    let direct = direct[schemas[0]].as_object().context("clients")?;
    let (masked, received) = read(agent.client(&python), "masked", &schemas.join(","))?;

    let mut faults = Vec::new();
    for &(schema, mask) in tried {
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

/// Every major version that `cargo xtask setup` or the distribution has put here.
const INSTALLED: [u16; 5] = [13, 15, 16, 17, 18];

/// Types of `pg_catalog` that a column can have and that nobody can write a value of; a query gives one that the server
/// has itself, where it has any.
const UNWRITABLE: [(&str, &str); 7] = [
    ("gtsvector", ""),
    ("pg_brin_bloom_summary", ""),
    ("pg_brin_minmax_multi_summary", ""),
    ("pg_dependencies", "select stxddependencies from pg_statistic_ext_data"),
    ("pg_mcv_list", "select stxdmcv from pg_statistic_ext_data"),
    ("pg_ndistinct", "select stxdndistinct from pg_statistic_ext_data"),
    ("pg_node_tree", "select adbin from pg_attrdef where adrelid = 'watched'::regclass"),
];

/// Statistics of extended kinds, and a default, of values that must not be seen.
const WATCHED: &str = "
    create table watched (label text, other text default 'canary of a default');
    insert into watched select 'canary of ' || n % 5, 'canary of ' || n % 10 from generate_series(1, 200) n;
    create statistics watch (ndistinct, dependencies, mcv) on label, other from watched; analyze watched";

/// What a client is told of a statement: NULL in both masked cells, and their neighbours as they are; or an error that is the
/// server's own, or a refusal.
fn is_null_or_refused(clear: &[Message], shown: &[Message], neighbour: &[u8]) -> bool {
    let error = |answer: &[Message]| {
        answer.iter().find(|(kind, _)| *kind == b'E').and_then(|(_, error)| field(error, b'C'))
    };
    let rows = shown.iter().filter(|(kind, _)| *kind == b'D').map(|(_, body)| cells(body));
    let rows: Vec<_> = rows.collect();
    if let Some(told) = error(shown) {
        return rows.is_empty() && (told == "42501" || Some(told) == error(clear));
    }
    let is_hidden = |row: &Vec<Option<Vec<u8>>>| row[0].is_none() && row[1].as_deref() == Some(neighbour);
    rows.len() == 2 && rows.iter().all(is_hidden)
}

#[test]
fn every_type_of_every_version_is_tried_or_is_never_shown() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let tried: Vec<_> = TYPES
        .iter()
        // Of `numeric(5,-2)` the oldest server says more than that there is none.
        .filter(|(declared, ..)| !declared.contains(",-"))
        .map(|(declared, ..)| format!("'{declared}'"))
        .collect();
    let untried = format!(
        "select typname from pg_type t where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'd', 'e', 'm', 'r')
            and not exists (select from pg_type e where e.typarray = t.oid)
            and oid not in (select oid from unnest(array[{}]) d, to_regtype(d) oid where oid is not null) order by 1",
        tried.join(", ")
    );
    for major in INSTALLED {
        let postgres = Postgres::start_major(major)?;
        let (ok, untried) = postgres.psql(&untried)?;
        assert!(ok && !untried.is_empty(), "{major}: {untried}");
        postgres.setup(WATCHED)?;
        let mut made = Vec::new();
        for name in untried.lines() {
            let known = UNWRITABLE.iter().find(|(known, _)| *known == name);
            let (_, value) =
                known.with_context(|| format!("{name} of {major} is not in harness/types.rs"))?;
            let value = if value.is_empty() { "null" } else { &format!("({value} limit 1)") };
            postgres.setup(&format!(
                "create table of_{name} (secret {name}, open int); insert into of_{name} values (null, 7);
                 insert into of_{name} select {value}, 7"
            ))?;
            made.push(name);
        }
        let policy = "{ version: 1, name: unwritable, masks: { secret: redact },
            classification: { columns: [{ name: secret, tag: secret }] } }";
        let agent = Agent::start_with(postgres.port, Some(policy))?;
        for name in made {
            let sql = format!("select secret, open from of_{name}");
            let extended = [parse("", &sql), bind("", "", &[1]), describe(b'P', ""), execute("", 0), sync()];
            let asked = [query(&sql), extended.concat(), query(&format!("copy of_{name} to stdout"))];
            let direct = talk(None, postgres.port, &asked)?;
            let has_value = UNWRITABLE.iter().any(|(known, value)| *known == name && !value.is_empty());
            let values = direct[0].iter().filter(|(kind, body)| *kind == b'D' && cells(body)[0].is_some());
            assert_eq!(values.count(), usize::from(has_value), "{name} of {major}");
            let shown = talk(Some(&agent), postgres.port, &asked)?;
            for (form, neighbour) in [&b"7"[..], &[0, 0, 0, 7]].iter().enumerate() {
                let is_hidden = is_null_or_refused(&direct[form], &shown[form], neighbour);
                assert!(is_hidden, "{name} of {major}: {:?}", shown[form]);
            }
            let is_null = |body: &[u8]| body == b"\\N\t7\n";
            let copied = &shown[2];
            assert!(copied.iter().all(|(kind, body)| *kind != b'd' || is_null(body)), "{name}: {copied:?}");
        }
    }
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

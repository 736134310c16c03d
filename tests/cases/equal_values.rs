//! Equal values have equal masks in every table, database, server and format, so that a client may join what it was
//! shown; another tag gives other masks.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, Start, driver_python, have_root, output};
use serde::Deserialize;

/// One table in three databases, under other names, types and in another order.
const CUSTOMERS: &str = "
    create table t (label text, id int4, email text, card text, iban varchar(40), phone text, key uuid, total numeric(12, 2),
        alias text);
    insert into t values
        ('ana', 1987654, 'ana.canary@example.org', '4111 1111 1111 1111', 'DE89370400440532013000', '+49 30 901820',
            'aaaaaaaa-cccc-4a4a-8a8a-123456789012', 8765432.25, 'ana.canary@example.org'),
        ('bob', 1987655, 'bob.canary@example.org', '5500000000000004', 'GB29 NWBK 6016 1331 9268 19', '+1 212 555 0123',
            'bbbbbbbb-cccc-4a4a-8a8a-123456789012', 8765433.5, 'bob.canary@example.org'),
        ('none', null, null, null, null, null, null, null, null)";
const CONTACTS: &str = "
    create domain mail as varchar(120);
    create table t (total numeric(20, 2), key uuid, iban text, phone varchar(60), card varchar(60), email mail,
        id int8, label text, alias text);
    insert into t (label, id, email, card, iban, phone, key, total, alias) values
        ('bob', 1987655, 'bob.canary@example.org', '5500000000000004', 'GB29 NWBK 6016 1331 9268 19', '+1 212 555 0123',
            'bbbbbbbb-cccc-4a4a-8a8a-123456789012', 8765433.5, 'bob.canary@example.org'),
        ('eve', 1987656, 'eve.canary@example.org', '4012888888881881', 'DE75512108001245126199', '+49 30 901821',
            'eeeeeeee-cccc-4a4a-8a8a-123456789012', 8765434.75, 'eve.canary@example.org'),
        ('ana', 1987654, 'ana.canary@example.org', '4111 1111 1111 1111', 'DE89370400440532013000', '+49 30 901820',
            'aaaaaaaa-cccc-4a4a-8a8a-123456789012', 8765432.25, 'ana.canary@example.org')";
/// Long enough not to be in a mask by chance.
const CLEAR: [&str; 8] =
    ["canary", "198765", "4111 1111 1111 1111", "0532013", "6016 1331", "30 90182", "876543", "cccc-4a4a"];

/// Columns whose masks are for joining, by the mask they have in each policy.
const MASKS: [(&str, [&str; 2]); 7] = [
    ("id", ["token", "{ fpe: digits }"]),
    ("email", ["hash", "token"]),
    ("card", ["{ fpe: card }", "hash"]),
    ("iban", ["{ fpe: iban }", "token"]),
    ("phone", ["{ fpe: phone }", "{ fpe: digits }"]),
    ("key", ["hash", "token"]),
    ("total", ["token", "{ fpe: digits }"]),
];

fn policy(ports: [u16; 2], which: usize) -> String {
    let columns = MASKS.map(|(name, _)| format!("    - {{ name: {name}, tag: {name} }}")).join("\n");
    let masks = MASKS.map(|(name, masks)| format!("  {name}: {}", masks[which])).join("\n");
    format!(
        "version: 1\nname: equal\nports: [{}, {}]\nclassification:\n  columns:\n{columns}\n    \
         - {{ name: alias, tag: alias }}\nmasks:\n{masks}\n  alias: {}\n",
        ports[0], ports[1], MASKS[1].1[which]
    )
}

/// Reads the table of each place in every format, each cell as its text.
const READ: &str = "
import csv, io, json, sys, psycopg
types = dict(id=None, email='text', card='text', iban='text', phone='text', key='uuid', total='numeric', alias='text',
    label='text')
names = ', '.join(types)
query = f'select {names} from t'
found = []

def texts(rows):
    return [[None if cell is None else str(cell) for cell in row] for row in rows]

def copied(db, options):
    with db.cursor().copy(f'copy ({query}) to stdout {options}') as copy:
        return b''.join(map(bytes, copy))

def read(db, integer):
    wide = [integer if name == 'id' else kind for name, kind in types.items()]
    for binary in (False, True):
        yield f'rows, binary {binary}', texts(db.cursor(binary=binary).execute(query + ' where %s', (True,)))
    yield 'simple', texts(psycopg.ClientCursor(db).execute(query))
    yield 'copy', texts([None if cell == '\\\\N' else cell for cell in line.split('\\t')]
        for line in copied(db, '').decode().splitlines())
    yield 'csv', texts([cell or None for cell in row]
        for row in csv.reader(io.StringIO(copied(db, '(format csv)').decode())))
    with db.cursor().copy(f'copy ({query}) to stdout (format binary)') as copy:
        copy.set_types(wide)
        yield 'copy binary', texts(copy.rows())

for place in sys.argv[1:]:
    port, database, integer = place.split('/')
    with psycopg.connect(host='127.0.0.1', port=port, user='postgres', dbname=database) as db:
        for form, rows in read(db, integer):
            found.append(dict(place=place, form=form, rows=[dict(zip(types, row)) for row in rows]))
print(json.dumps(found))
";

#[derive(Deserialize)]
struct Read {
    place: String,
    form: String,
    rows: Vec<BTreeMap<String, Option<String>>>,
}

/// By the label, which is clear: the masks of a column.
fn by_label<'a>(read: &'a Read, column: &str) -> BTreeMap<&'a str, &'a str> {
    let cell = |row: &'a BTreeMap<String, Option<String>>, column: &str| row.get(column)?.as_deref();
    read.rows.iter().filter_map(|row| Some((cell(row, "label")?, cell(row, column)?))).collect()
}

fn read(agent: &Agent, places: &[String]) -> Result<Vec<Read>> {
    let (ok, text) = output(agent.client(&driver_python()?).args(["-c", READ]).args(places))?;
    anyhow::ensure!(ok, "{text}\n{}", agent.log());
    for clear in CLEAR {
        assert!(!text.contains(clear), "{clear} in {text}");
    }
    serde_json::from_str(&text).with_context(|| text.clone())
}

#[test]
fn equal_values_have_equal_masks_in_every_database_server_and_format() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let servers = [Postgres::start("trust")?, Postgres::start("trust")?];
    let ports = [servers[0].port, servers[1].port];
    servers[0].setup("create database shop")?;
    servers[0].setup(CUSTOMERS)?;
    servers[1].setup(CONTACTS)?;
    let shop = servers[0].dsn().replace("dbname=postgres", "dbname=shop");
    let (ok, text) = output(std::process::Command::new("psql").args(["-X", "-q", "-c", CONTACTS, &shop]))?;
    assert!(ok, "{text}");
    let places = [
        format!("{}/postgres/int4", ports[0]),
        format!("{}/shop/int8", ports[0]),
        format!("{}/postgres/int8", ports[1]),
    ];
    for which in [0, 1] {
        let policy = policy(ports, which);
        let agent =
            Agent::start_as(0, &Start { policy: Some(&policy), policy_ports: true, ..Start::default() })?;
        let all = read(&agent, &places)?;
        assert_eq!(all.len(), 18);
        let mut masks: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for read in &all {
            for (column, mask) in MASKS {
                let shown = by_label(read, column);
                let own: BTreeSet<&str> = shown.values().copied().collect();
                let people = if read.place == places[0] { 2 } else { 3 };
                let at = format!("{column} ({}): {} {}: {shown:?}", mask[which], read.place, read.form);
                assert_eq!((shown.len(), own.len()), (people, people), "{at}");
                for (label, mask) in shown {
                    assert_eq!(*masks.entry((column, label)).or_insert(mask), mask, "{at}");
                }
            }
            let nulls = read.rows.iter().filter(|row| row["label"].as_deref() == Some("none"));
            assert!(nulls.flatten().all(|(name, cell)| name == "label" || cell.is_none()), "NULL stays NULL");
            let same = by_label(read, "email");
            let other = by_label(read, "alias");
            assert!(
                same.iter().all(|(label, mask)| other[label] != *mask),
                "another tag: {same:?} {other:?}"
            );
        }
        let joined = join(&all, &places, "email");
        assert_eq!(joined, [("ana", "ana"), ("bob", "bob")].into(), "by a policy's masks number {which}");
        assert_eq!(join(&all, &places, "id"), joined);
    }
    Ok(())
}

/// The labels of what a client joins that reads one database as text and another, on another server, in binary.
fn join<'a>(all: &'a [Read], places: &[String], column: &str) -> BTreeSet<(&'a str, &'a str)> {
    let of = |place: usize, form: &str| {
        let read = all.iter().find(|read| read.place == places[place] && read.form == form);
        read.map(|read| by_label(read, column)).unwrap_or_default()
    };
    let (left, right) = (of(0, "rows, binary False"), of(2, "copy binary"));
    let pairs = left.iter().flat_map(|(label, mask)| {
        right.iter().filter(move |(_, other)| *other == mask).map(move |(other, _)| (*label, *other))
    });
    pairs.collect()
}

//! Types, operators and functions of pgvector and `PostGIS`: masked values are values of their types, and what reads
//! nothing masked is the server's.
//!
//! `PostGIS` is the distribution's, pgvector one of a newer server.

use std::process::Command;

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Postgres, driver_python, have_root,
    wire::{Message, bind, bind_values, cells, execute, field, parse, query, shows, sync, talk},
};
use serde_json::json;

use super::copy::{copies::Form, fault, forms, run};

/// Extension, declaration, a secret and a value that may be seen.
const TYPES: [(&str, &str, &str, &str); 18] = [
    ("vector", "vector", "[98765.5,2,3,4]", "[1]"),
    ("vector", "vector(3)", "[98765.5,2,3]", "[1,2,3]"),
    ("vector", "halfvec", "[8765,2]", "[1]"),
    ("vector", "halfvec(3)", "[8765,2,3]", "[1,2,3]"),
    ("vector", "sparsevec", "{1:98765.5,3:2}/5", "{}/2"),
    ("vector", "sparsevec(5)", "{1:98765.5,3:2}/5", "{1:1}/5"),
    ("postgis", "geometry", "POINT(98765.25 1)", "POINT(1 2)"),
    (
        "postgis",
        "geometry(PointZM,4326)",
        "SRID=4326;POINT ZM (98765.25 2 3 4)",
        "SRID=4326;POINT ZM (1 2 3 4)",
    ),
    ("postgis", "geometry(PointM)", "POINT M (98765.25 2 3)", "POINT M (1 2 3)"),
    (
        "postgis",
        "geometry(Polygon)",
        "POLYGON((98765.25 0,0 1,1 1,98765.25 0))",
        "POLYGON((0 0,0 1,1 1,0 0))",
    ),
    (
        "postgis",
        "geometry(MultiLineString,3857)",
        "SRID=3857;MULTILINESTRING((98765.25 1,2 2))",
        "SRID=3857;MULTILINESTRING EMPTY",
    ),
    ("postgis", "geometry(TinZ)", "TIN Z (((0 0 98765.25,0 1 0,1 1 0,0 0 98765.25)))", "TIN Z EMPTY"),
    ("postgis", "geometry(Geometry,3857)", "SRID=3857;LINESTRING(98765.25 1,2 2)", "SRID=3857;POINT(1 1)"),
    ("postgis", "geography", "POINT(98.765 1)", "POINT(1 2)"),
    ("postgis", "geography(LineString,4326)", "LINESTRING(98.765 1,2 3)", "LINESTRING(1 1,2 3)"),
    ("postgis", "box2d", "BOX(1 2,98765.25 4)", "BOX(1 2,3 4)"),
    ("postgis", "box3d", "BOX3D(1 2 3,98765.25 4 5)", "BOX3D(1 2 3,4 5 6)"),
    (
        "postgis_raster",
        "raster",
        "0100000000000000000000F03F000000000000F0BF000000000000F84000000000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000F03F000000000000F0BF00000000000000000000000000000000000000000000000000000000000000000000000000000000",
    ),
];

const POLICY: &str = "{ version: 1, name: extensions, masks: { secret: redact, hashed: hash, nulled: 'null' }, classification:
    { columns: [{ name: 'secret_*', table: hashed.*, tag: hashed }, { name: 'secret_*', table: nulled.*, tag: nulled },
    { name: ['secret_*', home, embedding], table: public.*, tag: secret }] } }";

/// Schemas of other masks than the one of `public`.
const SCHEMAS: [&str; 3] = ["public", "hashed", "nulled"];

/// Types that have no binary form.
const TEXT_ONLY: [&str; 3] = ["box2d", "box3d", "raster"];

/// Major version for which `cargo xtask setup` installs pgvector.
const VECTOR_MAJOR: u16 = 18;

/// Gives a server extensions.
fn with(postgres: &Postgres, extensions: &[&str]) -> Result<()> {
    for extension in extensions {
        postgres
            .setup(&format!("create extension {extension}"))
            .with_context(|| format!("{extension} is missing; run `cargo xtask setup`"))?;
    }
    Ok(())
}

#[test]
fn masked_vectors_are_values_of_their_types() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    check_masked(&Postgres::start_major(VECTOR_MAJOR)?, &["vector"])
}

#[test]
fn masked_geometries_are_values_of_their_types() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    check_masked(&Postgres::start("trust")?, &["postgis", "postgis_raster"])
}

fn check_masked(postgres: &Postgres, extensions: &[&str]) -> Result<()> {
    with(postgres, extensions)?;
    let cases: Vec<_> = TYPES.iter().filter(|known| extensions.contains(&known.0)).enumerate().collect();
    postgres.setup("create schema hashed; create schema nulled")?;
    for (number, (_, declared, secret, open)) in &cases {
        for schema in SCHEMAS {
            let table = format!("{schema}.secrets_{number}");
            let (a, b) = (format!("'{secret}'::{declared}"), format!("'{open}'::{declared}"));
            postgres.setup(&format!(
                "create table {table} (secret_a {declared}, open_a {declared}, secret_b {declared}[], open_b {declared}[]);
                 insert into {table} values ({a}, {b}, array[{a}, null], array[{b}]),
                     (null, {b}, null, array[{b}]), ({a}, null, array[[{a}], [{a}]], null)"
            ))?;
        }
    }
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let forms = forms();
    let mut asked = Vec::new();
    for (number, _) in &cases {
        for (index, form) in forms.iter().enumerate() {
            let options = form.options(&["secret_a", "open_a"]);
            asked.push(json!([
                format!("{number} {index}"),
                format!("copy secrets_{number} (secret_a, open_a) to stdout ({options})")
            ]));
        }
    }
    check_rows(postgres, &agent, &cases)?;
    let python = driver_python()?;
    let direct = run(Command::new(&python), postgres.port, "out", &asked)?;
    let masked = run(agent.client(&python), postgres.port, "out", &asked)?;
    let mut back = Vec::new();
    for (number, (_, declared, ..)) in cases {
        for (index, form) in forms.iter().enumerate() {
            let key = format!("{number} {index}");
            let (clear, shown) = (&direct[&key], &masked[&key]);
            if clear.is_object() {
                let binary = matches!(form, Form::Binary { .. });
                assert!(binary && TEXT_ONLY.contains(declared), "{declared}: {clear}");
                continue;
            }
            assert_eq!(
                fault(form, clear, shown, false),
                None,
                "{declared} in form {index}: {clear}, {shown}"
            );
            let made = format!("create table made (a {declared}, b {declared})");
            let into = format!("copy made from stdin ({})", form.reading_options(&["a", "b"]));
            back.push(json!([format!("{declared} {index}"), made, into, shown, []]));
        }
    }
    for (key, result) in run(Command::new(&python), postgres.port, "in", &back)? {
        assert!(result.is_null(), "{key} cannot be copied back: {result}");
    }
    Ok(())
}

/// How a result is asked for: as text by a simple query, in either format by the extended protocol.
const FORMATS: [(&str, u8); 3] = [("simple", 0), ("text", 0), ("binary", 1)];

type Declared = (&'static str, &'static str, &'static str, &'static str);

/// Rows in every form of a query and under every mask: what is shown in place of a secret is a value that the server takes
/// back in the same form, and gives again as it was.
fn check_rows(postgres: &Postgres, agent: &Agent, cases: &[(usize, &Declared)]) -> Result<()> {
    let (mut names, mut asked) = (Vec::new(), Vec::new());
    for (number, (_, declared, ..)) in cases {
        for (suffix, columns) in [("", "secret_a, open_a"), ("[]", "secret_b, open_b")] {
            for schema in SCHEMAS {
                for (form, format) in FORMATS {
                    let sql = format!("select {columns} from {schema}.secrets_{number}");
                    names.push((schema, format!("{declared}{suffix}"), form, format));
                    asked.push(if form == "simple" { query(&sql) } else { extended(&sql, &[], format) });
                }
            }
        }
    }
    let direct = talk(None, postgres.port, &asked)?;
    let masked = talk(Some(agent), postgres.port, &asked)?;
    let (mut sent, mut back) = (Vec::new(), Vec::new());
    for ((name, clear), shown) in names.iter().zip(&direct).zip(&masked) {
        let (schema, declared, form, format) = name;
        if clear.iter().any(|(kind, _)| *kind == b'E') {
            let element = declared.trim_end_matches("[]");
            assert!(*form == "binary" && TEXT_ONLY.contains(&element), "{name:?}: {clear:?}");
            assert!(!shown.iter().any(|(kind, _)| *kind == b'D'), "{name:?}: {shown:?}");
            continue;
        }
        let (clear, shown) = (rows(clear), rows(shown));
        assert!(clear.len() == 3 && shown.len() == 3, "{name:?}: {} rows", shown.len());
        for (clear, shown) in clear.iter().zip(&shown) {
            assert_eq!(clear[1], shown[1], "the neighbour of {name:?}");
            let is_null = clear[0].is_none() || *schema == "nulled";
            assert_eq!(shown[0].is_none(), is_null, "{name:?}: {shown:?}");
            let Some(cell) = &shown[0] else { continue };
            assert_ne!(clear[0], shown[0], "{name:?}");
            let canary = clear[0].clone().unwrap_or_default();
            assert!(!shows(&[(b'D', cell.clone())], &canary), "{name:?}");
            sent.push((name, cell.clone()));
            back.push(extended(&format!("select $1::{declared}"), &[(*format, cell.clone())], *format));
        }
    }
    assert!(sent.len() > 12 * cases.len(), "{} values", sent.len());
    for ((name, cell), answer) in sent.iter().zip(talk(None, postgres.port, &back)?) {
        let error = answer.iter().find(|(kind, _)| *kind == b'E').and_then(|(_, error)| field(error, b'M'));
        assert_eq!(error, None, "{name:?} is no value: {cell:?}");
        assert_eq!(rows(&answer), [[Some(cell.clone())]], "{name:?} is another value");
    }
    Ok(())
}

/// A statement by the extended protocol, with its parameters, and the format of its result.
fn extended(sql: &str, values: &[(u8, Vec<u8>)], format: u8) -> Vec<u8> {
    let bound =
        if values.is_empty() { bind("", "", &[format]) } else { bind_values("", "", values, &[format]) };
    [parse("", sql), bound, execute("", 0), sync()].concat()
}

fn rows(answer: &[Message]) -> Vec<Vec<Option<Vec<u8>>>> {
    answer.iter().filter(|(kind, _)| *kind == b'D').map(|(_, body)| cells(body)).collect()
}

/// Statements that show what they do direct, and statements that show nothing masked.
fn check_code(postgres: &Postgres, open: &[&str], closed: &[&str]) -> Result<()> {
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for sql in open {
        let (ok, clear) = postgres.psql(&format!("begin; {sql}; rollback"))?;
        let (_, seen) = agent.psql(&postgres.dsn(), &format!("begin; {sql}; rollback"))?;
        assert!(ok && seen == clear, "{sql}: {seen} instead of {clear}\n{}", agent.log());
    }
    for sql in closed {
        let (_, seen) = agent.psql(&postgres.dsn(), sql)?;
        let shows = ["98765", "98.7", "B81E85EB51B1"].iter().any(|part| seen.contains(part));
        assert!(!shows, "{sql}: {seen}");
    }
    Ok(())
}

#[test]
fn operators_and_functions_of_vectors_are_as_good_as_built_in() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start_major(VECTOR_MAJOR)?;
    with(&postgres, &["vector"])?;
    postgres.setup(
        "create table notes (id int, body text, place vector(3)); insert into notes values (1, 'one', '[1,2,3]'), (2, 'two', '[3,2,1]');
             create index on notes using hnsw (place vector_l2_ops);
             create table people (id int, embedding vector(3)); insert into people values (1, '[98765,2,3]')",
    )?;
    check_code(
        &postgres,
        &[
            "select body, place <-> '[1,2,4]', place <=> '[1,2,4]', place <#> '[1,2,4]' from notes order by place <-> '[1,2,4]'",
            "select avg(place), sum(place), vector_dims(place), l2_distance(place, '[2,3,4]'), place + '[1,1,1]' from notes group by place",
            "insert into notes values (3, 'three', '[1,1,1]') returning place, id + 1, body || '!'",
        ],
        &[
            "select embedding, embedding::text, embedding::real[] from people",
            "select embedding <-> '[0,0,0]', embedding + '[0,0,0]', l2_norm(embedding) from people",
            "select avg(embedding) from people",
        ],
    )
}

#[test]
fn operators_and_functions_of_geometries_are_as_good_as_built_in() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    with(&postgres, &["postgis"])?;
    postgres.setup(
        "create table shops (id int, name text, spot geometry(Point, 4326), area geography);
             insert into shops values (1, 'one', 'SRID=4326;POINT(1 2)', 'POINT(1 2)'), (2, 'two', 'SRID=4326;POINT(3 4)', 'POINT(3 4)');
             create index on shops using gist (spot);
             create table people_of_town (id int, home geometry(Point, 4326));
             insert into people_of_town values (1, 'SRID=4326;POINT(98.765 1)'); analyze people_of_town",
    )?;
    check_code(
        &postgres,
        &[
            "select name, st_astext(spot), st_x(spot), st_srid(spot) from shops where spot && st_makeenvelope(0, 0, 2, 3, 4326)",
            "select name from shops where st_dwithin(spot, 'SRID=4326;POINT(1 2)'::geometry, 1) order by spot <-> 'SRID=4326;POINT(1 2)'::geometry",
            "select st_asgeojson(spot), st_distance(area, 'POINT(0 0)'::geography) > 1, id + 1, name || '!' from shops",
            "select st_astext(st_union(spot)), st_extent(spot), count(*) from shops",
            "select st_transform(spot, 3857) = st_transform(spot, 3857), st_within(spot, st_buffer(spot, 1)) from shops",
            "insert into shops values (3, 'three', st_setsrid(st_makepoint(5, 6), 4326)) returning st_astext(spot)",
        ],
        &[
            "select home, st_astext(home), st_x(home), st_asgeojson(home), home::text from people_of_town",
            "select st_asgeojson(p) from people_of_town p",
            "select st_astext(st_union(home)), st_extent(home)::text from people_of_town",
            "select st_estimatedextent('people_of_town', 'home')",
            "select encode(st_asgeobuf(p), 'escape'), encode(st_asmvt(p), 'escape') from people_of_town p",
            "select st_fromflatgeobuftotable('public', 'leak', st_asflatgeobuf(p)) from people_of_town p; select * from leak",
            "copy people_of_town to stdout",
        ],
    )
}

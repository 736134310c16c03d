//! What is said beside rows: names of columns and channels, tags, states of parameters, fields of errors. None of it
//! carries a masked value, whatever a statement makes its names of.

use anyhow::Result;
use mask_tests::{
    Agent, Postgres, have_root,
    wire::{bind, describe, execute, field, parse, query, shows, sync, talk},
};

const SCHEMA: &str = "
    create type mood as enum ('calm', 'glad');
    create table customers (id int primary key, city text, email text, card text, salary int);
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org', '4CANA', 98765432);
    create table parts (id int primary key, label text); insert into parts values (1, 'Bolt');
    create function shout(state text) returns int language plpgsql as
        $$ begin raise exception 'no' using errcode = state; end $$;";

const POLICY: &str = "{ version: 1, name: asides, classification: { columns:
    [{ table: public.customers, name: [email, card, salary], tag: secret }] }, masks: { secret: redact } }";

/// Run by plpgsql with the values of a masked row in `e`, `c` and `s`.
const MADE: [&str; 18] = [
    "execute format('create temp table leak (%I int)', e)",
    "execute format('create temp view leak as select 1 as %I', e)",
    "execute format('create temp table leak as select 1 as %I', e)",
    "execute format('create table public.%I ()', e)",
    "execute format('alter table parts rename label to %I', e)",
    "execute format('declare leak cursor for select 1 as %I', e)",
    "execute format('prepare leak as select 1 as %I', e)",
    "execute format('listen %I', e); execute format('notify %I', e)",
    "perform pg_notify(e, '')",
    "execute format('alter type mood add value %L before ''calm''', e)",
    "execute format('set application_name = %L', e)",
    "execute format('create role %I', e); execute format('set session authorization %I', e)",
    "execute format('comment on table parts is %L', e)",
    "raise exception using errcode = c",
    "raise exception using errcode = '4' || upper(substr(e, 5, 4))",
    "raise exception using column = e, table = e, constraint = e, datatype = e, schema = e, message = e, detail = e, hint = e",
    "raise notice using errcode = c, column = e, table = e, constraint = e, message = e",
    "raise exception '%', e",
];

/// What may show what such a block has left behind.
const READ: [&str; 7] = [
    "select * from leak",
    "fetch all from leak",
    "execute leak",
    "table parts",
    "show application_name",
    "select enum_first(null::mood)",
    "select 1",
];

fn leaks(answer: &[(u8, Vec<u8>)]) -> bool {
    ["canary", "CANA", "98765432"].iter().any(|part| shows(answer, part.as_bytes()))
}

fn block(made: &str) -> String {
    format!(
        "declare e text; c text; s int;
         begin select email, card, salary into e, c, s from customers where id = 1; {made}; end"
    )
}

#[test]
fn nothing_said_beside_rows_is_made_of_masked_values() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for made in MADE {
        let block = block(made);
        for first in [
            vec![format!("do $$ {block} $$")],
            vec![
                format!("create function pg_temp.leaks() returns void language plpgsql as $$ {block} $$"),
                "select pg_temp.leaks()".to_owned(),
            ],
        ] {
            let mut texts = vec![query("begin")];
            texts.extend(first.iter().map(|sql| query(sql)));
            texts.extend(READ.map(query));
            texts.push([parse("", "select * from leak"), describe(b'S', ""), sync()].concat());
            texts.push(query("rollback"));
            let answers = talk(Some(&agent), postgres.port, &texts)?;
            assert!(!answers.iter().any(|answer| leaks(answer)), "{made}: {answers:?}");
        }
        // Where a failed statement ends nothing else.
        let texts: Vec<_> =
            [format!("do $$ {block} $$")].iter().map(|sql| query(sql)).chain(READ.map(query)).collect();
        let answers = talk(Some(&agent), postgres.port, &texts)?;
        assert!(!answers.iter().any(|answer| leaks(answer)), "{made}: {answers:?}");
    }
    Ok(())
}

#[test]
fn a_sqlstate_is_a_known_one() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for (sql, state) in [
        ("select shout(card) from customers", "P0001"),
        ("select shout('4' || upper(substr(email, 5, 4))) from customers", "P0001"),
        ("select shout('23505'), email from customers", "23505"),
        ("select email::int from customers", "22P02"),
        // Nothing masked is read.
        ("select shout('4CANX')", "4CANX"),
    ] {
        let simple = talk(Some(&agent), postgres.port, &[query(sql)])?;
        let extended = [parse("", sql), bind("", "", &[]), execute("", 0), sync()].concat();
        for answers in [simple, talk(Some(&agent), postgres.port, &[extended])?] {
            let error = answers.iter().flatten().find(|(kind, _)| *kind == b'E');
            let seen = error.and_then(|(_, body)| field(body, b'C')).unwrap_or_default();
            let refused = error
                .and_then(|(_, body)| field(body, b'M'))
                .is_some_and(|text| text.starts_with("mask-agent:"));
            assert!(seen == state || refused && state == "P0001", "{sql}: {answers:?}");
            assert!(!answers.iter().any(|answer| leaks(answer)), "{sql}: {answers:?}");
        }
    }
    Ok(())
}

#[test]
fn names_and_states_that_nothing_masked_is_in_are_the_servers() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for sql in [
        "select 1 as \"a name of the client's\", label from parts",
        "set application_name = 'mine'; set timezone = 'Asia/Kathmandu'; set datestyle = 'German'",
        "set session authorization postgres; reset all",
        "listen mine; notify mine; select 1",
        "select 1 / 0",
        "insert into parts values (1, 'Nut')",
        "select shout('P0001')",
        "copy parts to stdout; select * from parts; update parts set label = label",
        "do $$ begin raise notice 'hello' using errcode = '01ABC', column = 'a', hint = 'b'; end $$",
    ] {
        let [seen, clear] = [Some(&agent), None].map(|agent| talk(agent, postgres.port, &[query(sql)]));
        let (mut seen, mut clear) = (seen?, clear?);
        // Who notified is another process each time.
        for answer in seen.iter_mut().chain(&mut clear).flatten().filter(|(kind, _)| *kind == b'A') {
            answer.1.drain(..4);
        }
        assert_eq!(seen, clear, "{sql}");
    }
    Ok(())
}

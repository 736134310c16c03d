//! A prepared statement is ruled on by what its names mean when it is executed.

use anyhow::Result;
use mask_tests::{
    Agent, Postgres, have_root,
    wire::{bind, close, describe, execute, parse, query, shows, sync, talk},
};

use super::corners::{
    CANARIES, Conversation,
    Expected::{Answered, Refused},
    POLICY, SCHEMA, kinds,
};

/// Two schemas of their own for a conversation that changes them.
const SCHEMAS: &str = "
    create schema open; create schema hidden;
    create table open.things as table parts; create table hidden.things as table customers;
    alter table hidden.things rename email to label; alter table hidden.things rename salary to size";

/// What comes between a statement's preparation and its execution, in schemas `open` and `hidden`.
fn changes(open: &str, hidden: &str) -> Vec<Conversation> {
    [lasting(open, hidden), taken_back(open, hidden)].concat()
}

fn lasting(open: &str, hidden: &str) -> Vec<Conversation> {
    let say = |sql: &str| query(&sql.replace("hidden", hidden).replace("open", open));
    vec![
        ("the search path", Answered, vec![say("set search_path = hidden"), again()]),
        ("the search path, in a pipeline", Answered, vec![[set_path(hidden), run(), sync()].concat()]),
        (
            "the search path, by a function",
            Answered,
            vec![say("select set_config('search_path', 'hidden', false)"), again()],
        ),
        (
            "the search path of a transaction",
            Answered,
            vec![say("begin; set local search_path = hidden"), again(), query("rollback"), again()],
        ),
        (
            "the names of schemas",
            Refused,
            vec![say("alter schema open rename to closed_open; alter schema hidden rename to open"), again()],
        ),
        (
            "the schema of a table",
            Refused,
            vec![say("drop table things; alter table hidden.things set schema open"), again()],
        ),
        (
            "a table that is dropped before another",
            Answered,
            vec![say("set search_path = open, hidden"), again(), say("drop table open.things"), again()],
        ),
        (
            "a temporary table that is dropped",
            Answered,
            vec![
                say("create temp table things as table open.things; set search_path = hidden"),
                again(),
                query("drop table pg_temp.things"),
                again(),
            ],
        ),
        (
            "the search path, by a function of users",
            Answered,
            vec![say("select public.enter('hidden')"), again()],
        ),
        (
            "the search path, by a function of users in a pipeline",
            Answered,
            vec![[parse("", &format!("select public.enter('{hidden}')")), unnamed(), run(), sync()].concat()],
        ),
        (
            "the search path, by a function in a view",
            Answered,
            vec![
                say("update public.target set name = 'hidden'"),
                query("select * from public.entered"),
                again(),
            ],
        ),
        (
            "the search path, by a trigger",
            Answered,
            vec![say("insert into public.visits values ('hidden')"), again()],
        ),
        (
            "everything but the name of the statement",
            Answered,
            vec![
                query("discard all"),
                [parse("s", "select 'free', 1::int8"), describe(b'S', "s"), sync()].concat(),
                [
                    close(b'S', "s"),
                    set_path(hidden),
                    parse("s", "select label, size from things"),
                    run(),
                    sync(),
                ]
                .concat(),
            ],
        ),
    ]
}

/// Changes that end with their transaction, or with a part of it.
fn taken_back(open: &str, hidden: &str) -> Vec<Conversation> {
    let say = |sql: &str| query(&sql.replace("hidden", hidden).replace("open", open));
    vec![
        (
            "the end of a transaction",
            Answered,
            vec![
                say("set search_path = hidden"),
                say("begin; set local search_path = open"),
                again(),
                query("commit"),
                again(),
            ],
        ),
        (
            "the end of a transaction, in a pipeline",
            Answered,
            vec![
                say("set search_path = hidden"),
                say("begin; set local search_path = open"),
                [run(), parse("", "rollback"), unnamed(), run(), sync()].concat(),
            ],
        ),
        (
            "a savepoint",
            Answered,
            vec![
                say("begin; set local search_path = hidden; savepoint a; set local search_path = open"),
                again(),
                query("rollback to a"),
                again(),
            ],
        ),
        (
            "a pipeline that fails",
            Answered,
            vec![
                say("set search_path = hidden"),
                [set_path(open), run(), parse("", "select 1/0"), unnamed(), sync()].concat(),
                again(),
            ],
        ),
        (
            "a pipeline that fails before the next",
            Answered,
            vec![
                say("set search_path = hidden"),
                [set_path(open), run(), parse("", "select 1/0"), unnamed(), sync(), run(), sync()].concat(),
                // The answer to the second Sync, then to this.
                query("select 1"),
                query("select 1"),
            ],
        ),
        (
            "a query that fails",
            Answered,
            vec![say("set search_path = hidden"), say("set search_path = open; select 1/0"), again()],
        ),
        (
            "a temporary table that goes with its transaction",
            Answered,
            vec![
                say("set search_path = hidden"),
                say("begin; create temp table things on commit drop as table open.things"),
                again(),
                query("commit"),
                again(),
            ],
        ),
        (
            "a table whose making is rolled back",
            Answered,
            vec![
                say("drop table open.things; set search_path = open, hidden"),
                say("begin; create table open.things as table public.parts"),
                again(),
                query("rollback"),
                again(),
            ],
        ),
    ]
}

fn run() -> Vec<u8> {
    [bind("", "s", &[1]), execute("", 0)].concat()
}

fn again() -> Vec<u8> {
    [run(), sync()].concat()
}

fn unnamed() -> Vec<u8> {
    [bind("", "", &[]), execute("", 0)].concat()
}

fn set_path(schema: &str) -> Vec<u8> {
    [parse("", &format!("set search_path = {schema}")), unnamed()].concat()
}

#[test]
fn a_prepared_statement_whose_names_come_to_mean_something_else_shows_no_masked_cell() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    postgres.setup(
        "create function enter(name text) returns int language plpgsql as
            $$ begin perform set_config('search_path', name, false); return 1; end $$;
         create table target (name text);
         insert into target values ('nowhere');
         create view entered as select enter(name) from target;
         create table visits (name text);
         create function visit() returns trigger language plpgsql as
            $$ begin perform public.enter(new.name); return new; end $$;
         create trigger visit after insert on visits for each row execute function visit()",
    )?;
    let count = changes("", "").len();
    // Each conversation has schemas of its own, because it changes them.
    for number in 0..2 * count {
        let names = |sql: &str| sql.replace("open", &format!("open{number}"));
        postgres.setup(&names(SCHEMAS).replace("hidden", &format!("hidden{number}")))?;
    }
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut faults = Vec::new();
    for number in 0..count {
        let talk = |agent: Option<&Agent>, number: usize, turn: usize| -> Result<_> {
            let (open, hidden) = (format!("open{turn}"), format!("hidden{turn}"));
            let (name, expected, change) = changes(&open, &hidden).swap_remove(number);
            let prepared = parse("s", "select label, size from things order by id");
            let first = [prepared, bind("", "s", &[1]), execute("", 0), sync()].concat();
            let said = [vec![query(&format!("set search_path = {open}")), first], change].concat();
            Ok((name, expected, talk(agent, postgres.port, &said)?))
        };
        let (name, expected, direct) = talk(None, number, number)?;
        let (_, _, masked) = talk(Some(&agent), number, count + number)?;
        let shown = |canary: &&[u8]| direct.iter().any(|answer| shows(answer, canary));
        assert!(CANARIES.iter().any(shown), "{name}: there is nothing to show: {direct:02x?}");
        if CANARIES.iter().any(|canary| masked.iter().any(|answer| shows(answer, canary))) {
            faults.push(name);
        }
        assert!(shows(&masked[1], b"bolt"), "{name}: what is not masked was not shown: {masked:02x?}");
        assert_eq!(kinds(&direct) == kinds(&masked), expected == Answered, "{name}: {masked:02x?}");
    }
    assert!(faults.is_empty(), "a masked cell was shown after a change of {faults:#?}");
    Ok(())
}

#[test]
fn the_same_text_is_ruled_on_anew_under_another_search_path() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    postgres.setup(SCHEMAS)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    // The server names no origin of an expression, so only what was decided can hide it.
    let text = query("select lower(label || '') from things order by id");
    let said = [
        query("set search_path = open"),
        text.clone(),
        query("set search_path = hidden"),
        text.clone(),
        query("set search_path = open"),
        text,
    ];
    let direct = talk(None, postgres.port, &said)?;
    let masked = talk(Some(&agent), postgres.port, &said)?;
    assert!(shows(&direct[3], b"canary"), "there is nothing to show: {direct:02x?}");
    assert!(
        !CANARIES.iter().any(|canary| masked.iter().any(|answer| shows(answer, canary))),
        "{masked:02x?}"
    );
    for open in [1, 5] {
        assert_eq!(direct[open], masked[open], "what is not masked is shown as it is");
    }
    Ok(())
}

//! What reading the catalogs takes: all of them, and what has changed; and what of it a client feels that defines one
//! thing after the other.

use std::{
    fmt::Write,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use mask_tests::{
    Agent, Postgres, Scratch,
    follower::{Followed, Follower},
    output,
};

/// Tables of the databases that are read.
const SIZES: [u32; 2] = [1_000, 20_000];
/// Tables made in one transaction; each is locked until it ends.
const BATCH: u32 = 500;
const ROUNDS: u32 = 7;

/// What a client defines, with a number for `$1`.
const DEFINITIONS: [&str; 8] = [
    "create table d$1 (id int primary key, name text, email text, at timestamptz default now())",
    "create index on d$1 (name)",
    "alter table d$1 add note text",
    "create view w$1 as select id, email from d$1",
    "create function f$1(int) returns text language sql as 'select name from d$1 limit 1'",
    "comment on table d$1 is 'people'",
    "alter table d$1 rename note to remark",
    "drop view w$1",
];
/// How often.
const SETS: u32 = 20;

/// What happens before a reading, with the round's number for `$1`.
const EVENTS: [(&str, &str); 5] = [
    ("nothing happened", ""),
    ("a row was inserted", "insert into t1 (id) values ($1)"),
    ("a table was made", "create table made$1 (id int primary key, email text, note text)"),
    ("a column was renamed", "alter table t8 rename kind$0 to kind$1"),
    (
        "a view was replaced",
        "create or replace view v10 as select id, name || $1 as name, email as address from t10",
    ),
];

pub(crate) fn run() -> Result<()> {
    println!(
        "{:>6} tables {:<22} {:>8} {:>10} {:>8} {:>10} {:>9}",
        "", "", "whole ms", "server ms", "ours ms", "policy ms", "RSS MiB"
    );
    for tables in SIZES {
        let postgres = Postgres::start_with("trust", &["-c", "shared_buffers=256MB"])?;
        fill(&postgres, tables)?;
        let mut firsts = Vec::new();
        for _ in 0..3 {
            firsts.push(Follower::start(&super::bench::release_agent()?, &postgres.dsn())?.first.clone());
        }
        print(tables, "everything", &firsts);
        let mut follower = Follower::start(&super::bench::release_agent()?, &postgres.dsn())?;
        for (name, statement) in EVENTS {
            let mut readings = Vec::new();
            for round in 1..=ROUNDS {
                if !statement.is_empty() {
                    let before = (round - 1).to_string();
                    postgres.setup(&statement.replace("$1", &round.to_string()).replace("$0", &before))?;
                }
                let reading = follower.again()?;
                ensure!(reading.is_same, "{name}: {reading:?} is not what reading everything gives");
                readings.push(reading);
            }
            print(tables, name, &readings);
        }
        drop(follower);
        print_definitions(tables, &postgres)?;
    }
    println!(
        "Medians; the server's time has the way there in it, and ours applying the policy. RSS is the process's."
    );
    Ok(())
}

/// Direct and through the agent in turn, each in one session.
fn print_definitions(tables: u32, postgres: &Postgres) -> Result<()> {
    let agent = Agent::start_release(postgres.port)?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        direct.push(define(postgres, Command::new("psql"), 2 * round)?.as_secs_f64());
        through.push(define(postgres, agent.client("psql"), 2 * round + 1)?.as_secs_f64());
    }
    let (direct, through) = (super::bench::median(direct), super::bench::median(through));
    let count = SETS as usize * DEFINITIONS.len();
    println!(
        "{tables:>6} tables {count} definitions: {direct:.2} s direct, {through:.2} s through the agent"
    );
    Ok(())
}

fn define(postgres: &Postgres, mut psql: Command, round: u32) -> Result<Duration> {
    let mut script = String::new();
    for set in 0..SETS {
        for definition in DEFINITIONS {
            writeln!(script, "{};", definition.replace("$1", &format!("{round}_{set}")))?;
        }
    }
    let scratch = Scratch::new("definitions")?;
    let file = scratch.0.join("script.sql");
    std::fs::write(&file, script)?;
    let begun = Instant::now();
    let (ok, text) =
        output(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).arg(postgres.dsn()))?;
    ensure!(ok, "{text}");
    Ok(begun.elapsed())
}

/// Tables of ten columns, and a view on every tenth.
fn fill(postgres: &Postgres, tables: u32) -> Result<()> {
    for first in (1..=tables).step_by(BATCH as usize) {
        postgres.setup(&format!(
            "do $$ begin for n in {first} .. {} loop
                execute format('create table t%s (id int primary key, name text, email text, phone text, city_id int,
                    created_at timestamptz, amount numeric(10, 2), note text, status text, kind0 int)', n);
                if n % 10 = 0 then
                    execute format('create view v%s as select id, name, email as address from t%s', n, n);
                end if;
            end loop; end $$",
            (first + BATCH - 1).min(tables)
        ))?;
    }
    postgres.setup("vacuum analyze")
}

fn print(tables: u32, name: &str, readings: &[Followed]) {
    let median = |of: fn(&Followed) -> f64| super::bench::median(readings.iter().map(of).collect());
    println!(
        "{tables:>6} tables {name:<22} {:>8.1} {:>10.1} {:>8.1} {:>10.1} {:>9.0}",
        median(|one| one.whole_ms),
        median(|one| one.whole_ms - one.own_ms),
        median(|one| one.own_ms),
        median(|one| one.classify_ms),
        median(|one| f64::from(one.resident_kib)) / 1024.0,
    );
}

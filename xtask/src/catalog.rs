//! What reading the catalogs takes: all of them, and what has changed.

use anyhow::{Result, ensure};
use mask_tests::{
    Postgres,
    follower::{Followed, Follower},
};

/// Tables of the databases that are read.
const SIZES: [u32; 2] = [1_000, 20_000];
/// Tables made in one transaction; each is locked until it ends.
const BATCH: u32 = 500;
const ROUNDS: u32 = 7;

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
    }
    println!(
        "Medians; the server's time has the way there in it, and ours applying the policy. RSS is the process's."
    );
    Ok(())
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

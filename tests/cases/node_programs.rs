//! Object mappers of Node look at a schema, make one, fill and read it as they do direct, but for masked cells.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use mask_tests::{Agent, Postgres, have_root};

use super::programs::{SHOP, assert_nothing_refused, assert_same, both, parts_of, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/programs.cjs");
/// Written by `cargo xtask setup`.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/node/programs");

fn check_installed() -> Result<()> {
    ensure!(std::path::Path::new(INSTALLED).exists(), "Node programs are missing; run `cargo xtask setup`");
    Ok(())
}

/// What a program prints of the shop's schema has to be the same, and to have this in it.
fn check_looks(program: &str, seen: &str) -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    check_installed()?;
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SHOP)?;
    let agent = Agent::start(postgres.port)?;
    let port = postgres.port.to_string();
    let (direct, through) = both(&agent, "node", &[SCRIPT, program, &port, "postgres"])?;
    assert!(direct.contains(seen), "{direct}");
    assert_same(program, &direct, &through);
    assert_nothing_refused(&agent)
}

/// A program that makes a schema and works with it leaves the same, and sees the same but for the e-mails.
fn check_works(program: &str) -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    check_installed()?;
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup("create database direct")?;
    postgres.setup("create database through")?;
    let agent = Agent::start(postgres.port)?;
    let port = postgres.port.to_string();
    let direct = run(Command::new("node"), &[SCRIPT, program, &port, "direct"])?;
    let through =
        run(agent.client("node"), &[SCRIPT, program, &port, "through"]).with_context(|| agent.log())?;
    let masked = |text: &str| text.lines().filter(|line| line.starts_with("masked")).count();
    let others = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("masked")).map(str::to_owned).collect()
    };
    assert_same(program, &others(&direct).join("\n"), &others(&through).join("\n"));
    assert!(direct.contains("masked ana.canary@example.org"), "{direct}");
    assert_eq!((masked(&direct), masked(&through)), (2, 2), "{through}");
    assert!(!through.contains("canary"), "{through}");
    let dump = |database: &str| {
        let dsn = postgres.dsn().replace("dbname=postgres", &format!("dbname={database}"));
        run(Command::new("pg_dump"), &[&dsn])
    };
    let (direct, through) = (dump("direct")?, dump("through")?);
    let ((outside, copies), (outside_through, copies_through)) = (parts_of(&direct), parts_of(&through));
    assert!(outside.iter().any(|line| line.starts_with("CREATE TABLE public.member")), "{outside:#?}");
    assert_same("the schema", &outside.join("\n"), &outside_through.join("\n"));
    assert_eq!(copies, copies_through, "what was written");
    assert_nothing_refused(&agent)
}

#[test]
fn prisma_pulls_the_schema_it_pulls_direct() -> Result<()> {
    check_looks("prisma", "model customers {")
}

#[test]
fn prisma_pushes_a_schema_and_its_client_works() -> Result<()> {
    check_works("prisma-members")
}

#[test]
fn drizzle_pulls_the_schema_it_pulls_direct() -> Result<()> {
    check_looks("drizzle", "export const customersInShop")
}

#[test]
fn sequelize_describes_what_it_does_direct() -> Result<()> {
    check_looks("sequelize", "customers_email_key")
}

#[test]
fn sequelize_makes_a_schema_and_works_with_it() -> Result<()> {
    check_works("sequelize-members")
}

#[test]
fn typeorm_finds_the_tables_it_finds_direct() -> Result<()> {
    check_looks("typeorm", "shop.customers")
}

#[test]
fn typeorm_makes_a_schema_and_works_with_it() -> Result<()> {
    check_works("typeorm-members")
}

//! Ordinary programs see through the agent what they see direct, but for the cells of classified columns.

use std::{collections::HashMap, process::Command};

use anyhow::{Context, Result, ensure};
use mask_tests::{Agent, Postgres, driver_python, have_root};

pub(crate) const SHOP: &str = include_str!("programs/shop.sql");
const TPCH: &str = include_str!("programs/tpch.sql");
const QUERIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/tpch_queries.sql");
const TPCH_SCHEMA: &str = include_str!("../oracle/schemas/tpch.sql");
const TPCH_DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/tpch.py");
const MOVIES_SCHEMA: &str = include_str!("../oracle/schemas/imdb.sql");
const MOVIES: &str = include_str!("programs/movies.sql");
const MOVIES_QUERIES: &str = include_str!("programs/movies_queries.sql");
/// The join order benchmark states no licence, so its queries are not here.
const JOB_QUERIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/job.sql");
const MIGRATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/migration.sql");
const METADATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/Metadata.java");
/// Where the distribution puts pgjdbc.
const PGJDBC: &str = "/usr/share/java/postgresql.jar";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/programs/programs.py");

/// Columns of the two schemas that the built-in policy classifies, and what is derived from them.
const MASKED: [&str; 8] =
    ["email", "phone", "address", "c_address", "c_phone", "s_address", "s_phone", "cntrycode"];

/// psql's descriptions, each of which asks the catalogs in its own way.
const DESCRIPTIONS: &str = r"
    \d|\d+ customers|\d customers|\d+ parts|\d+ orders|\d+ orders_old|\d+ long_notes|\d+ buyers|\d+ labels
    \d+ cities|\d+ tickets|\d+ customers_city|\d+ abroad.far|\d+ parcel|\d shop.*|\da+ shop.*|\dA+|\dAc btree|\dAf btree
    \dAo+ btree text_ops|\dAp+ btree text_ops|\db+|\dc+ *utf8*|\dC+|\dC+ parcel|\dconfig|\dd shop.*|\dD+|\dD+ shop.*
    \ddp|\dE+|\des+|\det+|\deu+|\dew+|\df+|\df+ shop.*|\df+ pg_catalog.lower|\dF+|\dFd+|\dFp+|\dFt+|\dg+|\di|\di+
    \dl|\dL+|\dm|\dm+|\dn+|\do|\do+ shop.*|\dO+|\dO+ shop.*|\dp|\dP+|\dRp+|\dRs+|\ds|\ds+|\dS pg_cl*|\dt
    \dt+|\dT+|\dT+ shop.*|\du|\du+|\dv+|\dx+|\dX|\dy+|\l|\l+|\sf doubled|\sf+ contact|\sf stamp|\sv buyers
    \sv+ labels|\z|\z shop.*";

/// Runs a program direct or protected, and takes only what a clean run prints.
pub(crate) fn run(mut command: Command, arguments: &[&str]) -> Result<String> {
    let ran = command.args(arguments).env("PGPASSWORD", "clear-secret").output()?;
    let errors = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success() && !errors.contains("ERROR"), "{arguments:?}: {errors}");
    Ok(String::from_utf8(ran.stdout)?)
}

/// The same program with the same arguments, direct and then through the agent.
pub(crate) fn both(agent: &Agent, program: &str, arguments: &[&str]) -> Result<(String, String)> {
    let direct = run(Command::new(program), arguments)?;
    let through = run(agent.client(program), arguments)
        .with_context(|| format!("direct it succeeds\n{}", agent.log()))?;
    Ok((direct, through))
}

pub(crate) fn assert_nothing_refused(agent: &Agent) -> Result<()> {
    let trail = agent.trail()?;
    let statements: Vec<_> = trail.iter().filter(|record| record["kind"] == "statement").collect();
    assert!(!statements.is_empty(), "the trail holds no statement");
    let refused: Vec<_> = statements.iter().filter(|record| record["ruling"] == "refuse").collect();
    assert!(refused.is_empty(), "{refused:#?}");
    Ok(())
}

/// What a psql script printed after each of its `== ` marks.
fn sections(text: &str) -> Vec<(&str, &str)> {
    text.split("== ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

pub(crate) fn assert_same(what: &str, direct: &str, through: &str) {
    let first = direct.lines().zip(through.lines()).find(|(direct, through)| direct != through);
    assert!(direct == through, "{what} differs, first at {first:#?}\ndirect:\n{direct}\nthrough:\n{through}");
}

/// Equal cell by cell, but that cells of masked columns differ where they are not NULL; how many those are.
fn assert_same_but_masked(what: &str, columns: &[&str], rows: (&[&str], &[&str]), between: char) -> usize {
    let (direct, through) = rows;
    assert_eq!(direct.len(), through.len(), "{what}: rows\n{direct:#?}\n{through:#?}");
    let mut masked = 0;
    for (direct, through) in direct.iter().zip(through) {
        let cells: Vec<_> = direct.split(between).zip(through.split(between)).collect();
        assert_eq!(cells.len(), columns.len(), "{what}: {direct}\n{through}");
        for (column, (direct, through)) in columns.iter().zip(cells) {
            if MASKED.contains(column) && direct != "\\N" {
                assert_ne!(direct, through, "{what}: {column} is in clear");
                masked += 1;
            } else {
                assert_eq!(direct, through, "{what}: {column}");
            }
        }
    }
    masked
}

#[test]
fn psql_describes_a_database_as_it_does_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SHOP)?;
    let agent = Agent::start(postgres.port)?;
    let commands = DESCRIPTIONS.split(['|', '\n']).map(str::trim).filter(|command| !command.is_empty());
    let marked: Vec<_> = commands.map(|command| format!("\\echo == '\\{command}'\n{command}\n")).collect();
    let scratch = mask_tests::Scratch::new("psql")?;
    let script = scratch.0.join("describe.sql");
    std::fs::write(&script, format!("set search_path = shop, pg_catalog;\n{}", marked.concat()))?;
    let script = script.to_str().context("path is text")?;
    let dsn = postgres.dsn();
    let (direct, through) = both(&agent, "psql", &["-X", "-f", script, &dsn])?;
    let (direct, through) = (sections(&direct), sections(&through));
    assert_eq!(direct.len(), marked.len(), "{direct:#?}");
    for ((command, direct), (_, through)) in direct.iter().zip(&through) {
        assert_same(command, direct, through);
    }
    assert_eq!(direct.len(), through.len());
    assert_nothing_refused(&agent)
}

/// Lines of a dump outside its COPY blocks, and the rows of each block by its COPY line.
pub(crate) fn parts_of(dump: &str) -> (Vec<&str>, HashMap<&str, Vec<&str>>) {
    let (mut outside, mut copies) = (vec![], HashMap::new());
    // Newer releases of pg_dump print a key of chance in \restrict.
    let mut lines = dump.lines().filter(|line| !line.contains("restrict "));
    while let Some(line) = lines.next() {
        outside.push(line);
        if line.starts_with("COPY ") {
            copies.insert(line, lines.by_ref().take_while(|line| *line != "\\.").collect());
        }
    }
    (outside, copies)
}

#[test]
fn pg_dump_writes_what_it_writes_direct_but_for_masked_cells() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SHOP)?;
    let agent = Agent::start(postgres.port)?;
    let dsn = postgres.dsn();
    let whole = ["--exclude-table-data=abroad.far", &dsn];
    for options in [&["--schema-only", dsn.as_str()][..], &whole, &["--clean", "--if-exists", "-s", &dsn]] {
        let (direct, through) = both(&agent, "pg_dump", options)?;
        let ((outside, copies), (outside_through, copies_through)) = (parts_of(&direct), parts_of(&through));
        assert_same("the dump", &outside.join("\n"), &outside_through.join("\n"));
        let mut masked = 0;
        for (copy, rows) in &copies {
            let columns = copy.split(['(', ')']).nth(1).context("columns")?;
            let columns: Vec<_> = columns.split(", ").collect();
            masked += assert_same_but_masked(copy, &columns, (rows, &copies_through[copy]), '\t');
        }
        assert_eq!((copies.is_empty(), masked), if options == whole { (false, 7) } else { (true, 0) });
    }
    let inserts = ["--inserts", "--table=shop.parts", "--table=shop.orders*", "--table=shop.*notes", &dsn];
    let (direct, through) = both(&agent, "pg_dump", &inserts)?;
    assert!(direct.contains("INSERT INTO shop.parts VALUES (1, 'bolt'"), "{direct}");
    assert_same("inserts", &parts_of(&direct).0.join("\n"), &parts_of(&through).0.join("\n"));
    let roles = ["--globals-only", "--no-role-passwords", "-d", &dsn];
    let (direct, through) = both(&agent, "pg_dumpall", &roles)?;
    assert!(direct.contains("CREATE ROLE clerk"), "{direct}");
    assert_same("globals", &parts_of(&direct).0.join("\n"), &parts_of(&through).0.join("\n"));
    assert_nothing_refused(&agent)
}

#[test]
fn large_objects_are_brought_and_fetched_by_psql() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(
        "create table customers (id int, email text); insert into customers values (1, 'ana.canary')",
    )?;
    let agent = Agent::start(postgres.port)?;
    let scratch = mask_tests::Scratch::new("objects")?;
    let (brought, fetched) = (scratch.0.join("brought"), scratch.0.join("fetched"));
    let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&brought, &content)?;
    let script = scratch.0.join("objects.sql");
    let lines = format!(
        "\\lo_import '{}' 'numbers'\n\\lo_export :LASTOID '{}'\n\\lo_list\n\\lo_unlink :LASTOID\n",
        brought.display(),
        fetched.display()
    );
    std::fs::write(&script, lines)?;
    let script = script.to_str().context("path is text")?;
    run(agent.client("psql"), &["-X", "-f", script, &postgres.dsn()]).with_context(|| agent.log())?;
    assert!(std::fs::read(&fetched)? == content, "it comes back as it was brought");
    assert_nothing_refused(&agent)?;

    let (ok, text) = agent.psql(
        &postgres.dsn(),
        "select lo_from_bytea(7, 'a word'); select convert_from(lo_get(7), 'UTF8'); select lo_open(7, 262144) >= 0",
    )?;
    assert!(ok && text.contains("a word"), "{text}");
    let (ok, text) = agent.psql(&postgres.dsn(), "select lo_put(7, 0, email::bytea) from customers")?;
    assert!(!ok && text.contains("side-channel"), "{text}");
    let (_, text) = agent.psql(&postgres.dsn(), "select lo_export(7, '/tmp/x')")?;
    assert!(text.contains("dangerous-function"), "{text}");

    let strict = include_str!("../../policies/agent-strict.yaml").replace("ports: [5432]", "");
    let agent = Agent::start_with(postgres.port, Some(&strict))?;
    let (ok, text) = agent.psql(&postgres.dsn(), "select lo_get(7)")?;
    assert!(!ok && text.contains("large-object"), "{text}");
    let failed = run(agent.client("psql"), &["-X", "-f", script, &postgres.dsn()]);
    assert!(failed.is_err_and(|error| error.to_string().contains("function-call")));
    Ok(())
}

#[test]
fn reports_in_the_manner_of_tpch_are_equal_but_for_masked_cells() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(TPCH)?;
    let agent = Agent::start(postgres.port)?;
    let dsn = postgres.dsn();
    let (direct, through) = both(&agent, "psql", &["-X", "-A", "-P", "footer=off", "-f", QUERIES, &dsn])?;
    let (direct, through) = (sections(&direct), sections(&through));
    assert_eq!((direct.len(), through.len()), (15, 15), "{direct:#?}\n{through:#?}");
    let mut masked = vec![];
    for ((query, direct), (_, through)) in direct.iter().zip(&through) {
        let (direct, through): (Vec<_>, Vec<_>) = (direct.lines().collect(), through.lines().collect());
        assert!(direct.len() > 1, "{query} finds nothing");
        assert_eq!(direct[0], through[0], "{query}: column names");
        let columns: Vec<_> = direct[0].split('|').collect();
        if assert_same_but_masked(query, &columns, (&direct[1..], &through[1..]), '|') > 0 {
            masked.push(*query);
        }
    }
    assert_eq!(masked, ["cheapest supplier", "returned items", "top supplier", "sales opportunity"]);
    assert_nothing_refused(&agent)
}

/// Sections of a report direct and through the agent, of which some cells are masked; the marks of those that have any.
fn compare_reports<'a>(direct: &'a str, through: &str) -> Vec<&'a str> {
    let (direct, through) = (sections(direct), sections(through));
    assert_eq!(direct.len(), through.len(), "{through:#?}");
    let mut masked = vec![];
    for ((query, direct), (_, through)) in direct.iter().zip(&through) {
        let (direct, through): (Vec<_>, Vec<_>) = (direct.lines().collect(), through.lines().collect());
        assert_eq!(direct[0], through[0], "{query}: column names");
        let columns: Vec<_> = direct[0].split('|').collect();
        if assert_same_but_masked(query, &columns, (&direct[1..], &through[1..]), '|') > 0 {
            masked.push(*query);
        }
    }
    masked
}

#[test]
fn tpch_is_answered_as_direct_but_for_masked_cells() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let scratch = mask_tests::Scratch::new("tpch")?;
    let folder = scratch.0.to_str().context("path is text")?;
    run(Command::new(driver_python()?), &[TPCH_DATA, folder])?;
    let postgres = Postgres::start("trust")?;
    postgres.setup(TPCH_SCHEMA)?;
    let dsn = postgres.dsn();
    for table in ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"] {
        let copy = format!("\\copy {table} from '{folder}/{table}.csv' csv header");
        run(Command::new("psql"), &["-X", "-q", "-c", &copy, &dsn])?;
    }
    postgres.setup(
        "create index on lineitem (l_orderkey); create index on lineitem (l_partkey, l_suppkey);
        create index on orders (o_orderkey); create index on orders (o_custkey); create index on part (p_partkey);
        create index on partsupp (ps_partkey, ps_suppkey); create index on customer (c_custkey);
        create index on supplier (s_suppkey); analyze",
    )?;
    let agent = Agent::start(postgres.port)?;
    let queries = scratch.0.join("queries.sql");
    let queries = queries.to_str().context("path is text")?;
    let (direct, through) = both(&agent, "psql", &["-X", "-A", "-P", "footer=off", "-f", queries, &dsn])?;
    let answered = sections(&direct).iter().filter(|(_, rows)| rows.lines().count() > 1).count();
    assert_eq!((sections(&direct).len(), answered), (22, 22), "queries, and those that find anything");
    assert_eq!(compare_reports(&direct, &through), ["2", "10", "15", "20", "22"]);
    assert_nothing_refused(&agent)
}

/// Reports about movies, direct and through the agent, which refuses none: the sections, and how many find something.
fn check_movies(script: &str) -> Result<(usize, usize)> {
    let postgres = Postgres::start("trust")?;
    postgres.setup(MOVIES_SCHEMA)?;
    postgres.setup(MOVIES)?;
    let agent = Agent::start(postgres.port)?;
    let scratch = mask_tests::Scratch::new("movies")?;
    let path = scratch.0.join("queries.sql");
    std::fs::write(&path, script)?;
    let path = path.to_str().context("path is text")?;
    let dsn = postgres.dsn();
    let (direct, through) = both(&agent, "psql", &["-X", "-A", "-P", "footer=off", "-f", path, &dsn])?;
    assert_eq!(compare_reports(&direct, &through), [""; 0]);
    assert_nothing_refused(&agent)?;
    let finds = |rows: &str| rows.lines().nth(1).is_some_and(|row| row.contains(char::is_alphanumeric));
    let found = sections(&direct).iter().filter(|(_, rows)| finds(rows)).count();
    Ok((sections(&direct).len(), found))
}

#[test]
fn joins_of_many_tables_are_answered_as_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    assert_eq!(check_movies(MOVIES_QUERIES)?, (12, 12), "queries, and those that find anything");
    Ok(())
}

#[test]
#[cfg_attr(not(has_job), ignore = "tests/data/job.sql is missing, and not ours to ship")]
fn the_join_order_benchmark_is_answered_as_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let queries = std::fs::read_to_string(JOB_QUERIES).context(JOB_QUERIES)?;
    let statements = queries.split_inclusive(';').filter(|query| !query.trim().is_empty());
    let marked: Vec<_> =
        statements.enumerate().map(|(at, query)| format!("\\echo == {at}\n{query}\n")).collect();
    let (asked, answered) = check_movies(&marked.concat())?;
    assert_eq!(asked, 113);
    assert!(answered >= 60, "only {answered} find anything");
    Ok(())
}

#[test]
fn a_migration_with_triggers_makes_what_it_makes_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup("create database direct")?;
    postgres.setup("create database through")?;
    let agent = Agent::start(postgres.port)?;
    let dsn = |database: &str| postgres.dsn().replace("dbname=postgres", &format!("dbname={database}"));
    let arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", MIGRATION];
    let direct = run(Command::new("psql"), &[&arguments[..], &[&dsn("direct")]].concat())?;
    let through = run(agent.client("psql"), &[&arguments[..], &[&dsn("through")]].concat())
        .with_context(|| agent.log())?;
    let (direct, through): (Vec<_>, Vec<_>) = (direct.lines().collect(), through.lines().collect());
    assert_eq!(direct[..direct.len() - 2], through[..through.len() - 2]);
    // The log of whole rows holds e-mails from now on, and so does what is read from it.
    assert_eq!(direct[direct.len() - 2..], ["Lisbon", "rui.canary@example.org"]);
    assert!(!through.concat().contains("canary"), "{through:?}");
    let dump = |database: &str| run(Command::new("pg_dump"), &["-s", &dsn(database)]);
    let (direct, through) = (dump("direct")?, dump("through")?);
    assert!(direct.contains("CREATE TRIGGER members_noted"), "{direct}");
    assert_same("the migrated schema", &parts_of(&direct).0.join("\n"), &parts_of(&through).0.join("\n"));
    assert_nothing_refused(&agent)
}

#[test]
fn pgjdbc_describes_and_reads_what_it_does_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    ensure!(std::path::Path::new(PGJDBC).exists(), "pgjdbc is missing; run `cargo xtask setup`");
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SHOP)?;
    let agent = Agent::start(postgres.port)?;
    let port = postgres.port.to_string();
    let (direct, through) = both(&agent, "java", &["-cp", PGJDBC, METADATA, &port, "postgres"])?;
    assert!(direct.contains("a large object|23|23"), "{direct}");
    let masked = compare_reports(&direct, &through);
    // Every round that finds customers: two modes of transfer that prepare, and one that does not.
    assert!(masked.len() >= 18 && masked.iter().all(|mark| mark.starts_with("customers ")), "{masked:?}");
    assert_nothing_refused(&agent)
}

#[test]
fn sqlalchemy_reflects_what_it_reflects_direct() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SHOP)?;
    let agent = Agent::start(postgres.port)?;
    let port = postgres.port.to_string();
    let (direct, through) = both(&agent, &driver_python()?, &[SCRIPT, "reflect", &port, "postgres"])?;
    assert!(direct.contains("CREATE TABLE shop.customers") && direct.contains("buyers"), "{direct}");
    assert_same("the reflection", &direct, &through);
    assert_nothing_refused(&agent)
}

#[test]
fn django_inspects_migrates_and_finds_its_users() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SHOP)?;
    postgres.setup("create database direct")?;
    postgres.setup("create database through")?;
    let agent = Agent::start(postgres.port)?;
    let (python, port) = (driver_python()?, postgres.port.to_string());
    let (direct, through) = both(&agent, &python, &[SCRIPT, "inspectdb", &port, "postgres"])?;
    assert!(direct.contains("class Customers(models.Model)"), "{direct}");
    assert_same("inspectdb", &direct, &through);

    let direct = run(Command::new(&python), &[SCRIPT, "migrate", &port, "direct"])?;
    let through =
        run(agent.client(&python), &[SCRIPT, "migrate", &port, "through"]).with_context(|| agent.log())?;
    let but_masked = |text: &str| -> String {
        text.lines()
            .filter(|line| !line.starts_with("masked"))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    assert_same("what Django printed", &but_masked(&direct), &but_masked(&through));
    assert!(through.contains("login 2 rui True ['auth.view_group"), "{through}");
    assert!(direct.contains("masked rui.canary@example.org Rui"), "{direct}");
    assert!(!through.contains("rui.canary") && !through.contains("Rui"), "{through}");
    let dump = |database: &str| {
        let dsn = postgres.dsn().replace("dbname=postgres", &format!("dbname={database}"));
        let times = ["--exclude-table-data=django_migrations", "--exclude-table-data=auth_user", &dsn];
        run(Command::new("pg_dump"), &times)
    };
    let (direct, through) = (dump("direct")?, dump("through")?);
    let ((outside, copies), (outside_through, copies_through)) = (parts_of(&direct), parts_of(&through));
    assert!(outside.iter().any(|line| line.contains("CREATE TABLE public.auth_user ")), "{outside:#?}");
    assert_same("the migrated schema", &outside.join("\n"), &outside_through.join("\n"));
    assert_eq!(copies, copies_through, "what the migrations wrote");
    assert_nothing_refused(&agent)
}

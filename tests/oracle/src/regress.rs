//! PostgreSQL's regression tests: fetched, run, and taken as statements.
//!
//! Run as they are, they leave little behind: each file drops what it made. So each is run a second time in a schema of
//! its own, without what drops, rolls back or is temporary, and its statements are compared there.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;
use mask_tests::source::postgresql_source;

use crate::{
    server::{Server, run},
    sets::{Batch, distinct},
    split::split,
};

const DATABASE: &str = "regression";

/// One leaves subscriptions that keep the database from being dropped, the other needs folders the server may not write.
const SKIPPED: [&str; 2] = ["subscription", "tablespace"];

pub(crate) fn batches(server: &Server) -> Result<Vec<Batch>> {
    let suite = postgresql_source()?.join("src/test/regress");
    let files = schedule(&suite)?;
    let marker = server.folder.join("loaded");
    if !marker.exists() {
        load(server, &suite, &files)?;
        fs::write(&marker, "")?;
    }
    let mut batches = Vec::new();
    for file in files {
        let script = fs::read_to_string(suite.join(format!("sql/{file}.sql")))?;
        let search_path = Some(format!("{},public", schema(&file)));
        batches.push(Batch { database: DATABASE.into(), search_path, statements: distinct(&split(&script)) });
    }
    Ok(batches)
}

fn schema(file: &str) -> String {
    format!("f_{}", file.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

/// The files in the order they run; later ones use what earlier ones made.
fn schedule(suite: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(suite.join("parallel_schedule"))?;
    let tests = text.lines().filter_map(|line| line.strip_prefix("test:"));
    let names = tests.flat_map(str::split_whitespace).filter(|name| !SKIPPED.contains(name));
    Ok(names.filter(|name| suite.join(format!("sql/{name}.sql")).exists()).map(str::to_owned).collect())
}

/// Runs every file twice; many of their statements are meant to fail.
fn load(server: &Server, suite: &Path, files: &[String]) -> Result<()> {
    // The server reads data files itself, as its own user.
    let readable = server.folder.join("regress");
    if readable.exists() {
        fs::remove_dir_all(&readable)?;
    }
    run(Command::new("cp").args(["-r"]).arg(suite).arg(&readable))?;
    fs::create_dir_all(readable.join("results"))?;
    run(Command::new("chown").args(["-R", "postgres"]).arg(&readable))?;
    run(server.psql_command("postgres").args(["-c", &format!("drop database if exists {DATABASE}")]))?;
    let create = format!("create database {DATABASE} template template0");
    run(server.psql_command("postgres").args(["-c", &create]))?;
    println!("running the {} regression files as they are", files.len());
    for file in files {
        let script = fs::read_to_string(readable.join(format!("sql/{file}.sql")))?;
        play(server, &readable, &script, "public")?;
    }
    println!("running them again without what drops");
    for file in files {
        let script = fs::read_to_string(readable.join(format!("sql/{file}.sql")))?;
        let schema = schema(file);
        server.ready()?;
        run(server.psql_command(DATABASE).args(["-c", &format!("create schema {schema}")]))?;
        play(server, &readable, &kept(&script), &format!("{schema},public"))?;
    }
    Ok(())
}

/// Runs one file as the suite's own driver does; what it answers is no concern of ours.
fn play(server: &Server, readable: &Path, script: &str, search_path: &str) -> Result<()> {
    // Some builds of some majors crash on some of the files.
    server.ready()?;
    let path = readable.join("current.sql");
    fs::write(&path, script)?;
    let options = format!("-c statement_timeout=20s -c lock_timeout=5s -c search_path={search_path}");
    let mut psql = server.psql_command(DATABASE);
    psql.arg("-f").arg(&path).current_dir(readable).env("PGOPTIONS", options);
    psql.env("PGTZ", "PST8PDT").env("PGDATESTYLE", "Postgres, MDY").env("PG_ABS_SRCDIR", readable);
    psql.env("PG_ABS_BUILDDIR", readable).env("PG_LIBDIR", readable).env("PG_DLSUFFIX", ".so");
    psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    mask_tests::check_interrupt()
}

/// A script that leaves its objects behind.
fn kept(script: &str) -> String {
    let mut kept = String::new();
    let mut fresh = true;
    let mut dropping = false;
    for line in script.lines() {
        let lower = line.to_ascii_lowercase();
        dropping |= fresh && lower.starts_with("drop ");
        fresh = line.trim_end().ends_with(';') || line.trim().is_empty() || line.starts_with(['-', '\\']);
        if dropping {
            dropping = !fresh;
            continue;
        }
        match lower.trim() {
            "rollback;" | "abort;" | "rollback work;" => kept.push_str("commit;"),
            create if create.starts_with("create ") => kept.push_str(&lasting(line)),
            _ => kept.push_str(line),
        }
        kept.push('\n');
    }
    kept
}

/// A line without the word that makes what it creates temporary.
fn lasting(line: &str) -> String {
    let words = line.split(' ').take(6);
    let temporary =
        words.clone().position(|word| ["temp", "temporary"].contains(&word.to_ascii_lowercase().as_str()));
    let Some(at) = temporary else { return line.to_owned() };
    let mut words: Vec<_> = line.split(' ').collect();
    words.remove(at);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_without_what_drops_leaves_its_objects_behind() {
        let script = "CREATE TEMP TABLE t (a int);\nDROP TABLE t,\n u;\nalter table t\ndrop column a;\nROLLBACK;\n\
            create or replace temporary view v as select 1 as temp;\n";
        assert_eq!(
            kept(script),
            "CREATE TABLE t (a int);\nalter table t\ndrop column a;\ncommit;\ncreate or replace view v as select 1 as temp;\n"
        );
    }
}

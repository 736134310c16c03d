//! Functions that nobody can read are believed where the policy lists what they do, and only for as long as they do it.

use std::process::Command;

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, agent::binary, have_root, output, wait_for};

/// SQL that is put together, and a library's code: neither can be read.
const SCHEMA: &str = "
    create table people (id int, email text, town text);
    insert into people values (1, 'canary@example.org', 'porto');
    create function loud(text) returns text language plpgsql stable set search_path = pg_catalog as
        $$ declare t text; begin execute 'select upper($1)' into t using $1; return t; end $$;
    create function far(text, text) returns int language c immutable strict as '$libdir/fuzzystrmatch', 'levenshtein';
    create function loose(text) returns text language plpgsql stable as
        $$ declare t text; begin execute 'select upper($1)' into t using $1; return t; end $$;
    create function filled(text, text default 'x') returns text language plpgsql stable set search_path = pg_catalog as
        $$ declare t text; begin execute 'select $1 || $2' into t using $1, $2; return t; end $$;
    create function fickle(text) returns text language plpgsql set search_path = pg_catalog as
        $$ declare t text; begin execute 'select $1 || random()' into t using $1; return t; end $$;
    create schema other;
    create function other.loud(text) returns text language plpgsql stable set search_path = pg_catalog as
        $$ declare t text; begin execute 'select upper($1)' into t using $1; return t; end $$";

/// The same function with another body, which a client may give it.
const REPLACED: &str = "create or replace function loud(text) returns text language plpgsql stable set search_path = pg_catalog as
    $$ begin return (select email from public.people); end $$";
/// The same by an operator.
const LOWER: &str = "create or replace function loud(text) returns text language plpgsql stable set search_path = pg_catalog as
    $$ declare t text; begin execute 'select lower($1)' into t using $1; return t; end $$";

/// What `mask-agent catalog` offers for a policy, by name.
fn offered(postgres: &Postgres, name: &str) -> Result<Option<String>> {
    let (ok, text) = output(Command::new(binary()?).args(["catalog", "--dsn", &postgres.dsn()]))?;
    anyhow::ensure!(ok, "{text}");
    Ok(text.lines().find(|line| line.contains(&format!("\"{name}\""))).map(str::to_owned))
}

fn policy(postgres: &Postgres, trusted: &[String]) -> String {
    let columns = "classification: { columns: [{ name: email, tag: email }] }";
    let trusted = if trusted.is_empty() { "    []".to_owned() } else { trusted.join("\n") };
    format!(
        "version: 1\nname: trusting\nports: [{}]\n{columns}\nfunctions:\n  trusted:\n{trusted}\n",
        postgres.port
    )
}

fn start() -> Result<(Postgres, Agent, Vec<String>)> {
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let trusted = ["public.loud", "public.far"].map(|name| offered(&postgres, name));
    let trusted = trusted.into_iter().map(|line| line?.context("offered")).collect::<Result<Vec<_>>>()?;
    let agent = Agent::start_with(postgres.port, Some(&policy(&postgres, &trusted)))?;
    Ok((postgres, agent, trusted))
}

fn ask(agent: &Agent, postgres: &Postgres, sql: &str) -> Result<String> {
    let (ok, text) = agent.psql(&postgres.dsn(), sql)?;
    anyhow::ensure!(ok, "{sql}: {text}\n{}", agent.log());
    assert!(!text.to_lowercase().contains("canary"), "{sql}: {text}");
    Ok(text.trim().to_owned())
}

#[test]
fn what_a_listed_function_makes_of_clear_columns_is_shown() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, agent, trusted) = start()?;
    let both = "select loud(town), far(town, 'ports') from people";
    assert_eq!(ask(&agent, &postgres, both)?, "PORTO|1");
    assert_eq!(ask(&agent, &postgres, "select town from people where loud(town) = 'PORTO'")?, "porto");
    for masked in ["loud(email)", "far(email, town)", "loud(loud(email))", "other.loud(town)", "loose(town)"]
    {
        let told = ask(&agent, &postgres, &format!("select {masked}, id from people"))?;
        let direct = postgres.psql(&format!("select {masked}, id from people"))?.1;
        assert_ne!(told, direct.trim(), "{masked}");
    }
    // Nobody vouches for it any longer.
    agent.reload(&policy(&postgres, &trusted[1..]))?;
    assert_ne!(ask(&agent, &postgres, both)?, "PORTO|1");
    assert_eq!(ask(&agent, &postgres, "select far(town, 'ports') from people")?, "1");
    Ok(())
}

#[test]
fn a_listed_function_that_has_changed_is_not_believed() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, agent, _) = start()?;
    assert_eq!(ask(&agent, &postgres, "select loud(town) from people")?, "PORTO");
    // By the client itself, in its own transaction.
    ask(&agent, &postgres, &format!("begin; {REPLACED}; select loud('x'); rollback"))?;
    let longer = "alter function loud(text) set search_path = public";
    let told = ask(&agent, &postgres, &format!("begin; {longer}; select loud(town) from people; rollback"))?;
    assert!(!told.contains("PORTO"), "{told}");
    assert_eq!(ask(&agent, &postgres, "select loud(town) from people")?, "PORTO");
    // By somebody else.
    postgres.setup(LOWER)?;
    wait_for("the function to be another one", || {
        !matches!(ask(&agent, &postgres, "select loud(town) from people").as_deref(), Ok("PORTO" | "porto"))
    })?;
    ask(&agent, &postgres, "select loud(town) from people")?;
    Ok(())
}

#[test]
fn what_depends_on_more_than_the_function_cannot_be_listed() -> Result<()> {
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    assert!(offered(&postgres, "public.loud")?.is_some_and(|line| line.ends_with("# plpgsql")));
    for name in ["public.loose", "public.filled", "public.fickle"] {
        assert_eq!(offered(&postgres, name)?, None, "{name}");
    }
    Ok(())
}

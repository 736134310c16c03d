//! The connection that is kept for reading the catalog is noticed by nobody.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, agent::Psql, have_root, output, wait_for};

use super::corners::{POLICY, SCHEMA};

/// Longer than anything takes here, and shorter than one is kept unused.
const AT_ONCE: Duration = Duration::from_millis(2_500);

/// Processes of the server that read the catalog of a database.
fn readers(postgres: &Postgres, database: &str) -> Result<Vec<u32>> {
    let (ok, text) = postgres.psql(&format!(
        "select pid from pg_stat_activity where application_name = 'mask-agent catalog' and datname = '{database}'"
    ))?;
    anyhow::ensure!(ok, "{text}");
    text.lines().map(|line| Ok(line.parse()?)).collect()
}

/// The one that is kept after what a session defines has been read.
fn kept(postgres: &Postgres, session: &mut Psql, database: &str) -> Result<u32> {
    for name in ["warm_1", "warm_2"] {
        session.ask(&format!("create table {name} (id int); drop table {name};"))?;
        session.ask("select 1;")?;
    }
    let readers = readers(postgres, database)?;
    anyhow::ensure!(readers.len() == 1, "{} are kept, not one", readers.len());
    Ok(readers[0])
}

fn dsn(postgres: &Postgres, user: &str, database: &str) -> String {
    let dsn = postgres.dsn().replace("user=postgres", &format!("user={user}"));
    dsn.replace("dbname=postgres", &format!("dbname={database}"))
}

/// Memory of a process that is its own, in KiB.
fn private_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    Ok(line.split_whitespace().next().context("no number")?.parse()?)
}

#[test]
fn definitions_one_after_the_other_are_read_on_one_connection_that_does_not_grow() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&postgres.dsn())?;
    let pid = kept(&postgres, &mut session, "postgres")?;
    let mut grown = 0;
    for round in 0..90 {
        session.ask(&format!("create table t{round} (id int primary key, email text);"))?;
        session.ask(&format!("create view v{round} as select id, email as label from t{round};"))?;
        session.ask(&format!("insert into t{round} values ({round}, 'eve.canary');"))?;
        let answer = session.ask(&format!("select id, label from v{round};"))?;
        assert!(answer.starts_with(&format!("{round}|")) && !answer.contains("canary"), "{answer}");
        if round == 20 {
            grown = private_kib(pid)?;
        }
    }
    assert_eq!(readers(&postgres, "postgres")?, [pid], "one reads all");
    let more = private_kib(pid)?.saturating_sub(grown);
    assert!(more < 6 << 10, "140 readings took {more} KiB of the server's");
    let held = "select count(*) from pg_locks where pid = PID or (select xact_start from pg_stat_activity
        where pid = PID) is not null";
    assert_eq!(postgres.psql(&held.replace("PID", &pid.to_string()))?, (true, "0\n".to_owned()), "it waits");
    wait_for("it to go while nobody needs it", || {
        readers(&postgres, "postgres").is_ok_and(|readers| readers.is_empty())
    })?;
    session.ask("create table later as select 1 as id, 'fay.canary'::text as email;")?;
    let answer = session.ask("select * from later;")?;
    assert!(answer.starts_with("1|") && !answer.contains("canary"), "{answer}");
    Ok(())
}

/// What the server does only where nobody is in the database `x`.
const ALONE: [&str; 4] = [
    "create database y template x",
    "alter database x rename to z",
    "alter database z rename to x",
    "drop database x",
];

#[test]
fn a_database_is_nobodys_once_its_last_client_has_gone() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup("create role alice superuser login")?;
    postgres.setup("create database x")?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for sql in ALONE {
        let database = if sql.contains("database z") { "z" } else { "x" };
        let mut sessions = vec![];
        for user in ["postgres", "alice"] {
            let mut session = agent.open_psql(&dsn(&postgres, user, database))?;
            for round in 0..3 {
                session.ask(&format!("create table made (id int, n{round} int); drop table made;"))?;
                session.ask("select 1;")?;
            }
            sessions.push(session);
        }
        assert_eq!(readers(&postgres, database)?.len(), 2, "{sql}: one of each role is kept");
        for session in sessions {
            session.finish()?;
        }
        let begun = Instant::now();
        // Past the agent, which is not to see it coming.
        let (ok, text) = postgres.psql(sql)?;
        assert!(ok, "{sql}: {text}");
        assert!(begun.elapsed() < AT_ONCE, "{sql} took {:?}", begun.elapsed());
    }
    Ok(())
}

#[test]
fn a_database_with_a_client_is_refused_in_the_servers_words() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup("create database x")?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&dsn(&postgres, "postgres", "x"))?;
    kept(&postgres, &mut session, "x")?;
    let (ok, through) = agent.psql(&postgres.dsn(), "drop database x")?;
    assert!(!ok, "{through}");
    assert_eq!(readers(&postgres, "x")?, [0; 0], "it is away");
    let (ok, direct) = postgres.psql("drop database x")?;
    assert!(!ok && direct.contains("There is 1 other session"), "{direct}");
    let line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    assert_eq!(line(&through), line(&direct));
    session.finish()?;
    let (ok, text) = agent.psql(&postgres.dsn(), "drop database x")?;
    assert!(ok, "{text}");
    Ok(())
}

#[test]
fn a_client_that_is_alone_in_its_database_may_copy_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup("create database x")?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&dsn(&postgres, "postgres", "x"))?;
    for copy in ["y", "z"] {
        kept(&postgres, &mut session, "x")?;
        let begun = Instant::now();
        let answer = session.ask(&format!("create database {copy} template x;"))?;
        assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
        assert_eq!(answer, "CREATE DATABASE\n");
    }
    let (ok, text) = postgres.psql("select count(*) from pg_database where datname in ('y', 'z')")?;
    assert!(ok && text == "2\n", "{text}");
    Ok(())
}

#[test]
fn a_reader_that_is_ended_is_replaced() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&postgres.dsn())?;
    session.ask("set idle_session_timeout = 0;")?;
    for (round, end) in
        ["select pg_terminate_backend(PID)", "alter role postgres set idle_session_timeout = '300ms'"]
            .into_iter()
            .enumerate()
    {
        let pid = kept(&postgres, &mut session, "postgres")?;
        postgres.setup(&end.replace("PID", &pid.to_string()))?;
        if end.starts_with("alter") {
            // It is replaced by one that has the new setting, which the server ends.
            let other = kept(&postgres, &mut session, "postgres")?;
            assert_ne!(other, pid, "settings of the role have changed");
        }
        let ended = |pid| readers(&postgres, "postgres").is_ok_and(|readers| !readers.contains(&pid));
        wait_for("the server to end it", || ended(pid))?;
        if end.starts_with("alter") {
            wait_for("the server to end the other", || {
                readers(&postgres, "postgres").is_ok_and(|readers| readers.is_empty())
            })?;
        }
        session.ask(&format!("create table t{round} as select 1 as id, 'eve.canary'::text as email;"))?;
        let answer = session.ask(&format!("select * from t{round};"))?;
        assert!(answer.starts_with("1|") && !answer.contains("canary"), "{end}: {answer}");
        assert_eq!(session.ask("select label from parts where id = 1;")?, "bolt\n", "{end}");
    }
    assert!(!agent.log().contains("ERROR"), "{}", agent.log());
    Ok(())
}

/// What makes a new session of `alice` read other tables, and whether they show a masked value.
const PATHS: [(&str, bool); 6] = [
    ("alter role alice set search_path = hides", true),
    ("alter role alice set search_path = shows", false),
    ("alter role alice in database postgres set search_path = hides", true),
    ("alter role alice in database postgres reset search_path", false),
    ("alter role alice reset search_path; alter database postgres set search_path = hides", true),
    ("alter database postgres set search_path = shows", false),
];

#[test]
fn settings_of_a_role_are_those_of_a_new_session() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(
        "create role alice superuser login; create schema shows; create schema hides;
         create table shows.t as select 1 as id, 'bolt'::text as label;
         create table hides.t as select 1 as id, 'ana.canary'::text as email;
         alter role alice set search_path = shows",
    )?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let dsn = dsn(&postgres, "alice", "postgres");
    let mut first = agent.open_psql(&dsn)?;
    for (change, is_masked) in PATHS {
        kept(&postgres, &mut first, "postgres")?;
        postgres.setup(change)?;
        // What is read from here on is what new sessions are given.
        first.ask("create table hides.made (id int); drop table hides.made;")?;
        first.ask("select 1;")?;
        let (ok, answer) = agent.psql(&dsn, "select upper(x) from (select * from t) s (i, x)")?;
        let shown = if is_masked { ok && !answer.contains("CANARY") } else { ok && answer == "BOLT\n" };
        assert!(shown, "{change}: {answer}");
        let direct = postgres.psql("select 1")?;
        assert!(direct.0);
    }
    Ok(())
}

#[test]
fn a_password_that_was_changed_is_the_next_sessions_own() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SCHEMA)?;
    postgres.setup("create role alice superuser login password 'first'")?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let first_dsn = dsn(&postgres, "alice", "postgres").replace("clear-secret", "first");
    let mut first = agent.open_psql(&first_dsn)?;
    kept(&postgres, &mut first, "postgres")?;
    postgres.setup("alter role alice password 'second'")?;
    let (ok, text) = agent.psql(&first_dsn, "select 1")?;
    assert!(!ok && text.contains("password authentication failed"), "{text}");
    let mut second = agent.open_psql(&first_dsn.replace("first", "second"))?;
    for session in [&mut second, &mut first] {
        session.ask("create table made as select 1 as id, 'eve.canary'::text as email;")?;
        let answer = session.ask("select * from made;")?;
        assert!(answer.starts_with("1|") && !answer.contains("canary"), "{answer}");
        session.ask("drop table made;")?;
    }
    Ok(())
}

/// Processes that serve a role, the oldest first.
fn serving(user: &str) -> Vec<u32> {
    let title = format!("postgres: {user} ");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.starts_with(&title))
        })
        .collect();
    pids.sort_unstable();
    pids
}

/// Stops all but the oldest of them for a moment, again and again: a busy machine.
fn hinder(user: &str, is_over: &AtomicBool) -> Result<usize> {
    let signal = |name: &str, pid: u32| Command::new("kill").args([name, &pid.to_string()]).status();
    let mut stopped = 0;
    while !is_over.load(Ordering::Relaxed) {
        for pid in serving(user).into_iter().skip(1) {
            if signal("-STOP", pid)?.success() {
                stopped += 1;
                std::thread::sleep(Duration::from_millis(40));
                signal("-CONT", pid)?;
            }
        }
    }
    Ok(stopped)
}

#[test]
fn a_server_that_is_slow_to_let_one_go_has_room_for_the_next() -> Result<()> {
    const USER: &str = "hindered";
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres
        .setup("create role hindered login connection limit 2; grant create on schema public to hindered")?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&dsn(&postgres, USER, "postgres"))?;
    session.ask("select 1;")?;
    let is_over = AtomicBool::new(false);
    let stopped = std::thread::scope(|scope| {
        let hindering = scope.spawn(|| hinder(USER, &is_over));
        let asked = (0..15).try_for_each(|n| {
            session.ask(&format!("create table t{n} (id int);"))?;
            let answer = session.ask(&format!("insert into t{n} values ({n}) returning id;"))?;
            anyhow::ensure!(answer == format!("{n}\nINSERT 0 1\n"), "{n}: {answer}");
            anyhow::Ok(())
        });
        is_over.store(true, Ordering::Relaxed);
        asked.and(hindering.join().map_err(|_| anyhow::anyhow!("it panicked"))?)
    })?;
    assert!(stopped > 0, "nothing was hindered");
    Ok(())
}

#[test]
fn nothing_is_kept_where_sessions_are_few() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start_with("trust", &["-c", "max_connections=16"])?;
    postgres.setup("create role alice superuser login")?;
    postgres.setup("create role bob login connection limit 2; grant create on schema public to bob")?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;

    // Of a role that may have two sessions, the second is the client's.
    let bob = dsn(&postgres, "bob", "postgres");
    let mut first = agent.open_psql(&bob)?;
    for name in ["a", "b", "c"] {
        first.ask(&format!("create table {name} (id int);"))?;
        first.ask("select 1;")?;
    }
    assert_eq!(readers(&postgres, "postgres")?, [0; 0]);
    let (ok, text) = agent.psql(&bob, "select 1")?;
    assert!(ok, "{text}");
    first.finish()?;

    // Of a server whose slots are nearly all taken, the rest are the clients'.
    let alice = dsn(&postgres, "alice", "postgres");
    let mut session = agent.open_psql(&alice)?;
    kept(&postgres, &mut session, "postgres")?;
    let mut others = Vec::new();
    for _ in 0..11 {
        let mut other = agent.open_psql(&alice)?;
        other.ask("select 1;")?;
        others.push(other);
    }
    session.ask("create table d (id int);")?;
    session.ask("select 1;")?;
    assert_eq!(readers(&postgres, "postgres")?, [0; 0]);
    let (ok, text) = output(agent.client("psql").args(["-X", "-c", "select 1", &alice]))?;
    assert!(ok, "{text}");
    Ok(())
}

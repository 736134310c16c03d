//! A catalog that cannot be read: nobody is shown anything, everybody is told what to do, and once it can be read all is as
//! it should be.

use anyhow::Result;
use mask_tests::{Agent, Postgres, driver_python, have_root, output};

const SCHEMA: &str = "
    create table customers (id int primary key, email text);
    insert into customers values (1987654, 'ana.canary@example.org');
    create role single login connection limit 1; grant select on customers to single";

/// Its lines are what an open session got before the catalog became unreadable, when it asked for a table it does not know
/// while it was, and what the next session got afterwards; by simple query or, with a parameter, by the extended protocol.
const ASKS: &str = "
import sys, psycopg
login = dict(host='127.0.0.1', port=sys.argv[1], dbname='postgres', autocommit=True)

def ask(user, sql, given):
    try:
        return user.execute(sql, given).fetchall()
    except psycopg.Error as error:
        return [error.sqlstate, user.closed, str(error)]

with psycopg.connect(user='postgres', **login) as admin:
    for table, given, where in (('simple', None, 'true'), ('extended', (True,), '%s')):
        admin.execute('alter role single connection limit 2')
        user = psycopg.connect(user='single', **login)
        print(table, 'before', ask(user, 'select id, email from customers where ' + where, given))
        admin.execute('alter role single connection limit 1')
        admin.execute(f'create table {table} (id int, email text)')
        admin.execute(f\"insert into {table} values (1987655, 'bob.canary@example.org')\")
        admin.execute(f'grant select on {table} to single')
        asked = f'select id, email from {table} where ' + where
        print(table, 'unread', ask(user, asked, given))
        user.close()
        admin.execute('alter role single connection limit 2')
        with psycopg.connect(user='single', **login) as user:
            print(table, 'after', ask(user, asked, given))
";

fn says_what_to_do(text: &str) -> bool {
    ["mask-agent: the database's catalog could not be read", "connection limit", "pg_hba.conf"]
        .iter()
        .all(|part| text.contains(part))
}

#[test]
fn whoever_may_have_one_session_is_told_that_two_are_needed() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let single = postgres.dsn().replace("user=postgres", "user=single");
    let sql = "select id, email from customers";

    postgres.wait_until("user=single", true)?;
    let (ok, refused) = agent.psql(&single, sql)?;
    assert!(!ok && says_what_to_do(&refused), "{refused}");
    assert!(!refused.contains("canary") && !refused.contains("1987654"), "{refused}");
    assert!(agent.log().contains("the catalog could not be loaded"), "{}", agent.log());

    postgres.setup("alter role single connection limit 2")?;
    let (ok, shown) = agent.psql(&single, sql)?;
    assert!(ok && shown.starts_with("1987654|") && !shown.contains("canary"), "{shown}");
    Ok(())
}

#[test]
fn an_open_session_is_shown_nothing_of_a_table_that_nobody_could_read_of() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let mut client = agent.client(&driver_python()?);
    let (ok, text) = output(client.args(["-c", ASKS, &postgres.port.to_string()]))?;
    assert!(ok && !text.contains("canary"), "{text}\n{}", agent.log());
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(['s', 'e'])).collect();
    assert_eq!(lines.len(), 6, "{text}");
    for [before, unread, after] in lines.as_chunks().0 {
        assert!(before.contains("before [(1987654, '"), "{before}");
        assert!(unread.contains("unread ['58000', True, ") && says_what_to_do(unread), "{unread}");
        assert!(after.contains("after [(1987655, '"), "{after}");
    }
    Ok(())
}

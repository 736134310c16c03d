//! Settings that change how statements are read or values written, set in every way there is: what is masked stays
//! masked, and who reads something else notices nothing.

use std::{fmt::Write, process::Command};

use anyhow::Result;
use mask_tests::{
    Agent, Postgres, have_root, output,
    wire::{bind, execute, frame, parse, query, shows, sync, talk},
};

/// A setting and a value it does not have by itself.
const SETTINGS: [(&str, &str); 27] = [
    ("array_nulls", "off"),
    ("backslash_quote", "on"),
    ("bytea_output", "escape"),
    ("client_encoding", "LATIN1"),
    ("datestyle", "German"),
    ("datestyle", "SQL, DMY"),
    ("datestyle", "Postgres, MDY"),
    ("default_text_search_config", "pg_catalog.english"),
    ("escape_string_warning", "off"),
    ("extra_float_digits", "-12"),
    ("intervalstyle", "iso_8601"),
    ("intervalstyle", "sql_standard"),
    ("intervalstyle", "postgres_verbose"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_time", "C"),
    ("plan_cache_mode", "force_generic_plan"),
    ("quote_all_identifiers", "on"),
    ("row_security", "off"),
    ("search_path", "app, public"),
    ("session_replication_role", "replica"),
    ("standard_conforming_strings", "on"),
    ("timezone", "Asia/Kathmandu"),
    ("transform_null_equals", "on"),
    ("xmlbinary", "hex"),
    ("xmloption", "document"),
    ("application_name", "a settings test"),
];

/// Values under which statements or rows could not be read as the server reads them.
const REFUSED: [(&str, &str); 9] = [
    ("standard_conforming_strings", "off"),
    ("client_encoding", "SJIS"),
    ("client_encoding", "BIG5"),
    ("client_encoding", "GBK"),
    ("client_encoding", "UHC"),
    ("client_encoding", "GB18030"),
    ("client_encoding", "JOHAB"),
    ("client_encoding", "SHIFT_JIS_2004"),
    ("client_encoding", "mskanji"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// The clause `SET` of a function that reads.
    Function,
    /// `ALTER ROLE … SET`.
    Role,
    Set,
    SetConfig,
    /// `options` of the start-up packet.
    Startup,
}

const WAYS: [Way; 5] = [Way::Function, Way::Role, Way::Set, Way::SetConfig, Way::Startup];

const SCHEMA: &str = r#"
    create schema app;
    create table public.customers (id int primary key, email text, seen timestamptz, income float8, data bytea,
        emails text[], doc xml);
    insert into customers values (1, 'ana.canary@example.org', '1957-06-25 13:57:46.5+00', 98765432.125,
        'canary\\x', '{ana.canary@example.org,NULL}', '<canary/>');
    create table app.parts (id int primary key, label text, made date, seen timestamptz, took interval, amount float8,
        price money, data bytea, tags text[], doc xml, nothing int);
    insert into app.parts values (1, E'a\\b''c"d', '2001-02-03', '2001-02-03 04:05:06+00', '1 day 02:03:04', 1.1, 12.5,
        E'a\\\\b', '{NULL,a}', '<a>b</a>', null);
    create role reader login superuser;"#;

/// What nothing masked is read by.
const OPEN: [&str; 7] = [
    "select * from app.parts",
    "select id from app.parts where nothing = null",
    r"select 'a\b', E'a\'b', '{NULL,a}'::text[], U&'d\0061t', $$a\$$",
    "select xmlelement(name a, 'x'::bytea), '01/02/2003'::date, 'a' ~ '\\w'",
    "copy app.parts to stdout",
    "copy app.parts to stdout (format csv, force_quote *)",
    "select id from customers",
];

/// What would show what is masked.
const CLOSED: [&str; 9] = [
    "select * from customers",
    "select email || '', income + 1, seen::date, data::text, doc::text from public.customers",
    "copy public.customers to stdout",
    "copy public.customers to stdout (format csv)",
    r"select 'a\'', email, '\'b' from public.customers",
    r"select '\', email, ' from public.customers --' from public.customers",
    r"select E'a\'', email, E'\'b' from public.customers",
    "select email::int from public.customers",
    "select email from public.customers where email like '%canary%' or 1 / (id - 1) = 0",
];

fn schema() -> String {
    let mut sql = SCHEMA.to_owned();
    for (number, (name, value)) in SETTINGS.iter().chain(&REFUSED).enumerate() {
        let value = value.replace(", ", "', '");
        let _ = write!(
            sql,
            "create function public.open_{number}() returns text set {name} to '{value}' language sql as
                'select string_agg(p::text, '';'') from app.parts p';
            create function public.closed_{number}() returns text set {name} to '{value}' language sql as
                'select string_agg(c::text, '';'') from public.customers c';"
        );
    }
    sql
}

/// Runs statements by psql under a setting that is set in some way.
fn read(
    mut psql: Command,
    postgres: &Postgres,
    way: Way,
    setting: (&str, &str),
    sql: &[String],
) -> Result<String> {
    let (name, value) = setting;
    let user = if way == Way::Role { "reader" } else { "postgres" };
    let mut dsn = format!("host=127.0.0.1 port={} dbname=postgres user={user}", postgres.port);
    psql.args(["-X", "-A"]);
    match way {
        Way::Function | Way::Role => {}
        Way::Set => {
            psql.args(["-c", &format!("set {name} to '{}'", value.replace(", ", "', '"))]);
        }
        Way::SetConfig => {
            psql.args(["-c", &format!("select set_config('{name}', '{value}', false)")]);
        }
        Way::Startup => dsn = format!("{dsn} options='-c {name}={}'", value.replace(' ', "\\\\ ")),
    }
    for sql in sql {
        psql.args(["-c", sql]);
    }
    Ok(output(psql.arg(dsn))?.1)
}

fn statements(way: Way, number: usize, all: &[&str], function: &str) -> Vec<String> {
    if way == Way::Function {
        return vec![
            format!("select public.{function}_{number}()"),
            format!("select * from public.{function}_{number}()"),
        ];
    }
    all.iter().map(|sql| (*sql).to_owned()).collect()
}

/// In whatever form a cell may be written.
fn is_shown(text: &str) -> bool {
    ["canary", "63616e617279", "\\x63", "98765432", "13:57:46"].iter().any(|part| text.contains(part))
}

const POLICY: &str = "{ version: 1, name: settings, masks: { secret: redact }, classification: { columns:
    [{ table: public.customers, name: [email, emails, seen, income, data, doc], tag: secret }] } }";

#[test]
fn no_setting_shows_what_is_masked_or_changes_what_is_not() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&schema())?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for (number, setting) in SETTINGS.into_iter().enumerate() {
        postgres.setup(&format!(
            "alter role reader set {} to '{}'",
            setting.0,
            setting.1.replace(", ", "', '")
        ))?;
        for way in WAYS {
            let open = statements(way, number, &OPEN, "open");
            let clear = read(Command::new("psql"), &postgres, way, setting, &open)?;
            let seen = read(agent.client("psql"), &postgres, way, setting, &open)?;
            assert_eq!(seen, clear, "{way:?} {setting:?}\n{}", agent.log());
            let closed = statements(way, number, &CLOSED, "closed");
            if number == 0 {
                let clear = read(Command::new("psql"), &postgres, way, setting, &closed)?;
                assert!(is_shown(&clear), "{way:?} {setting:?}: {clear}");
            }
            let masked = read(agent.client("psql"), &postgres, way, setting, &closed)?;
            assert!(!is_shown(&masked), "{way:?} {setting:?}: {masked}");
        }
        postgres.setup(&format!("alter role reader reset {}", setting.0))?;
    }
    Ok(())
}

#[test]
fn a_setting_under_which_statements_cannot_be_read_is_refused_in_a_sentence() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&schema())?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for (number, setting) in REFUSED.into_iter().enumerate() {
        postgres.setup(&format!("alter role reader set {} to '{}'", setting.0, setting.1))?;
        for way in WAYS {
            let closed = statements(way, SETTINGS.len() + number, &CLOSED, "closed");
            let masked = read(agent.client("psql"), &postgres, way, setting, &closed)?;
            assert!(!is_shown(&masked), "{way:?} {setting:?}: {masked}");
            // What is set for a function alone is reset before anybody reads on.
            assert!(way == Way::Function || masked.contains("mask-agent: "), "{way:?} {setting:?}: {masked}");
        }
        postgres.setup(&format!("alter role reader reset {}", setting.0))?;
    }
    Ok(())
}

#[test]
fn a_setting_that_a_function_hides_changes_nothing_that_is_sent_behind_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(
        "create table customers (id int primary key, city text, email text);
         insert into customers values (1, U&'\\30BD', 'ana.canary@example.org');
         create table parts (id int, label text); insert into parts values (1, 'Bolt');
         create function quiet() returns int language plpgsql as
            $$ begin execute 'set ' || 'standard_conforming_strings = off'; return 1; end $$;
         create function katakana() returns int language plpgsql as
            $$ begin execute 'set ' || 'client_encoding = SJIS'; return 1; end $$;
         create function idle() returns int language plpgsql as $$ begin return 1; end $$",
    )?;
    let agent = Agent::start(postgres.port)?;
    let behind = |first: &str, second: &[u8]| {
        let extended = [parse("", first), bind("", "", &[]), execute("", 0), sync()].concat();
        let simple = frame(b'Q', &[second, b"\0"].concat());
        [query(first), extended].map(|first| [first, simple.clone()].concat())
    };
    let hostile: [(&str, &[u8]); 4] = [
        ("select quiet()", br"select 'a\'', email, '\'b' from customers"),
        ("select quiet()", br"select '\', email, ' from customers --' from customers"),
        ("select katakana()", b"select E'\x83\\', email, E'' from customers"),
        ("select katakana()", b"copy (select city, email, city from customers) to stdout (delimiter '|')"),
    ];
    for (first, second) in hostile {
        for texts in behind(first, second) {
            let answers = talk(Some(&agent), postgres.port, &[texts, query("select 1")]);
            let answers = answers.unwrap_or_default();
            assert!(answers.iter().all(|answer| !shows(answer, b"canary")), "{first}: {answers:?}");
        }
    }
    let hidden =
        "select katakana(); copy (select city, email, city from customers) to stdout (delimiter '|')";
    let answers = talk(Some(&agent), postgres.port, &[query(hidden)])?;
    assert!(answers.iter().all(|answer| !shows(answer, b"canary")), "{answers:?}");
    // The twins: a function that changes nothing, and what has no backslash.
    for sql in ["select idle(); copy parts to stdout", "select idle(); select label from parts"] {
        let [masked, clear] = [Some(&agent), None].map(|agent| talk(agent, postgres.port, &[query(sql)]));
        assert_eq!(masked?, clear?, "{sql}");
    }
    Ok(())
}

//! Databases and clients that do not speak UTF-8: what is masked stays masked, names mean what the server takes them
//! for, and what cannot be read is refused in a sentence.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

use anyhow::Result;
use mask_tests::{
    Agent, Postgres, have_root,
    wire::{Message, bind_values, cells, execute, field, parse, query, shows, sync, talk},
};

/// Bytes of an answer, both streams.
fn answer(
    mut psql: Command,
    postgres: &Postgres,
    database: &str,
    client: &str,
    sql: &[&[u8]],
) -> Result<Vec<u8>> {
    psql.env("PGCLIENTENCODING", client).args(["-X", "-A", "-t"]);
    for sql in sql {
        psql.arg("-c").arg(OsStr::from_bytes(sql));
    }
    psql.arg(format!("host=127.0.0.1 port={} user=postgres dbname={database}", postgres.port));
    let output = psql.output()?;
    Ok([output.stdout, output.stderr].concat())
}

const DATABASES: [(&str, &str); 4] =
    [("utf", "UTF8"), ("latin", "LATIN1"), ("ascii", "SQL_ASCII"), ("japan", "EUC_JP")];

const SCHEMA: &str = "
    create type mood as enum ('\u{e9}tat', 'calm');
    create table customers (id int primary key, city text, email text, mood mood, nick varchar(5));
    insert into customers values (1, 'Lisbon', 'ana.canary@example.org', 'calm', 'canar');
    create table parts (id int primary key, label text); insert into parts values (1, 'Bolt')";

const POLICY: &str = "{ version: 1, name: encodings, masks: { email: { redact: { placeholder: '•••' } }, mood: redact, nick: hash },
    classification: { columns: [{ table: public.customers, name: email, tag: email }, { table: public.customers, name: mood, tag: mood },
        { table: public.customers, name: nick, tag: nick }] } }";

fn start() -> Result<(Postgres, Agent)> {
    let postgres = Postgres::start("trust")?;
    for (name, encoding) in DATABASES {
        postgres
            .setup(&format!("create database {name} template template0 encoding '{encoding}' locale 'C'"))?;
        // EUC_JP has no such letter in one-byte form, but has it.
        let made = answer(Command::new("psql"), &postgres, name, "UTF8", &[SCHEMA.as_bytes()])?;
        let made = String::from_utf8_lossy(&made).into_owned();
        assert!(!made.contains("ERROR"), "{name}: {made}");
    }
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    Ok((postgres, agent))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_mask_is_text_of_the_clients_encoding() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, agent) = start()?;
    for (database, encoding) in DATABASES {
        for client in ["UTF8", "LATIN1", "SQL_ASCII", "EUC_JP", "WIN1252"] {
            for sql in
                ["select email, mood, nick from customers", "copy customers (email, mood, nick) to stdout"]
            {
                let shown = answer(agent.client("psql"), &postgres, database, client, &[sql.as_bytes()])?;
                assert!(!contains(&shown, b"can") && !shown.is_empty(), "{database} {client}: {shown:?}");
                let is_utf8 = client == "UTF8" && encoding != "SQL_ASCII"
                    || client == "SQL_ASCII" && encoding == "UTF8";
                assert!(
                    is_utf8 || shown.is_ascii(),
                    "{database} {client}: {}",
                    String::from_utf8_lossy(&shown)
                );
            }
            let open: [&[u8]; 2] = [b"select id, label from parts", b"copy parts to stdout"];
            let seen = answer(agent.client("psql"), &postgres, database, client, &open)?;
            let clear = answer(Command::new("psql"), &postgres, database, client, &open)?;
            assert_eq!(
                String::from_utf8_lossy(&seen),
                String::from_utf8_lossy(&clear),
                "{database} {client}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_name_in_another_encoding_is_the_servers_or_is_refused() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, agent) = start()?;
    let hostile: [&[u8]; 8] = [
        b"select \"\xe8\" from (select id::text as \"\xe9\", email as \"\xe8\" from customers) t",
        b"select \"\xe9\" from (select id::text as \"\xe8\", email as \"\xe9\" from customers) t",
        b"with \"\xe9\" as (select id::text v from customers), \"\xe8\" as (select email v from customers) select v from \"\xe8\"",
        b"select $\xe9$ $\xe8$||$a$ $\xe9$||email||$\xe9$ $a$ from customers",
        b"select \xc9 from (select email as \xe9, id::text as \"\xc9\" from customers) t",
        b"select \"\xc3\xa9\" from (select id::text as \"\xe9\", email as \"\xc3\xa9\" from customers) t",
        b"select \"\xb4\xc1\" from (select id::text as \"\xb4\xc2\", email as \"\xb4\xc1\" from customers) t",
        b"select email, '\xe9' from customers where city <> '\xe8'",
    ];
    for (database, _) in DATABASES {
        for client in ["UTF8", "LATIN1", "SQL_ASCII", "EUC_JP", "WIN1252"] {
            for sql in hostile {
                let shown = answer(agent.client("psql"), &postgres, database, client, &[sql])?;
                let text = String::from_utf8_lossy(&shown);
                assert!(
                    !text.contains("canary"),
                    "{database} {client} {}: {text}",
                    String::from_utf8_lossy(sql)
                );
            }
        }
    }
    // Names that are cut where a server of one byte a letter does not cut them.
    let long = "é".repeat(35);
    let sql = format!(
        "select \"{long}1\" from (select id::text as \"{long}2\", email as \"{long}1\" from customers) t"
    );
    for (database, _) in DATABASES {
        let shown = answer(agent.client("psql"), &postgres, database, "UTF8", &[sql.as_bytes()])?;
        assert!(!contains(&shown, b"canary"), "{database}: {}", String::from_utf8_lossy(&shown));
    }
    Ok(())
}

#[test]
fn names_beyond_ascii_are_read_where_they_can_be_and_text_everywhere() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (postgres, agent) = start()?;
    let read: [(&str, &str, &[u8]); 7] = [
        ("utf", "LATIN1", b"select id as \"caf\xe9\", label || '\xe9' from parts"),
        ("utf", "UTF8", "select id as café, label || 'é' from parts".as_bytes()),
        ("latin", "LATIN1", b"select id as caf\xe9, label || '\xe9' from parts"),
        ("latin", "UTF8", "select id as café, label || 'é' from parts".as_bytes()),
        ("ascii", "SQL_ASCII", b"select id, label || '\xe9' from parts -- \xe9"),
        ("japan", "EUC_JP", b"select id, label || '\xb4\xc1' from parts"),
        ("utf", "WIN1252", b"select id, label || '\xe9' from parts"),
    ];
    for (database, client, sql) in read {
        let [clear, seen] = [Command::new("psql"), agent.client("psql")]
            .map(|psql| answer(psql, &postgres, database, client, &[sql]));
        let (clear, seen) = (clear?, seen?);
        assert!(contains(&clear, b"Bolt"), "{database} {client}: {}", String::from_utf8_lossy(&clear));
        assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(&clear), "{database} {client}");
    }
    let refused: [(&str, &str, &[u8]); 3] = [
        ("utf", "WIN1252", b"select id as \"caf\xe9\" from parts"),
        ("japan", "EUC_JP", b"select id as \"\xb4\xc1\" from parts"),
        ("ascii", "SQL_ASCII", b"select id as \"caf\xe9\" from parts"),
    ];
    for (database, client, sql) in refused {
        let seen = answer(agent.client("psql"), &postgres, database, client, &[sql])?;
        let text = String::from_utf8_lossy(&seen);
        assert!(text.contains("a name has letters beyond ASCII"), "{database} {client}: {text}");
    }
    Ok(())
}

/// Texts beyond ASCII, one of them behind a token.
const PEOPLE: &str = "
    create table people (id int primary key, city text, email text, mail text);
    insert into people values (1, 'M\u{e1}laga', 'ana.canary@example.org', 'zo\u{eb}.canary@example.org'),
        (2, 'Lisbon', 'bob.canary@example.org', 'bob.canary@example.org')";
const TOKENS: &str = "{ version: 1, name: encodings, masks: { email: { redact: { placeholder: '•••' } },
    mail: { token: { reversible: true } } }, classification: { columns: [{ name: email, tag: email }, { name: mail, tag: mail }] } }";

/// A statement by the extended protocol, with a parameter as it is on the wire.
fn bound(sql: &str, value: &[u8]) -> Vec<u8> {
    [parse("", sql), bind_values("", "", &[(0, value.to_vec())], &[0]), execute("", 0), sync()].concat()
}

fn rows(answer: &[Message]) -> Vec<Vec<Option<Vec<u8>>>> {
    answer.iter().filter(|(kind, _)| *kind == b'D').map(|(_, body)| cells(body)).collect()
}

fn sqlstate(answer: &[Message]) -> Option<String> {
    answer.iter().find(|(kind, _)| *kind == b'E').and_then(|(_, error)| field(error, b'C'))
}

#[test]
fn a_parameter_is_text_of_the_clients_encoding_and_one_that_is_not_read_is_not_taken() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&format!("{SCHEMA}; {PEOPLE}"))?;
    let agent = Agent::start_with(postgres.port, Some(TOKENS))?;
    let latin = query("set client_encoding = 'LATIN1'");
    let by_city = "select id, city, email, mail from people where city = $1";
    let label = bound("select id, label || $1, $1 from parts where label <> $1", b"caf\xe9");
    let asked = [
        latin.clone(),
        label.clone(),
        bound(by_city, b"M\xe1laga"),
        bound(by_city, "M\u{e1}laga".as_bytes()),
    ];
    let clear = talk(None, postgres.port, &asked)?;
    let seen = talk(Some(&agent), postgres.port, &asked)?;
    assert_eq!(seen[1], clear[1]);
    assert_eq!(
        rows(&clear[1]),
        [[Some(b"1".to_vec()), Some(b"Boltcaf\xe9".to_vec()), Some(b"caf\xe9".to_vec())]]
    );
    assert!(shows(&clear[2], b"zo\xeb.canary") && !shows(&seen[2], b"canary"), "{:?}", seen[2]);
    let [shown] = &rows(&seen[2])[..] else { panic!("one row: {:?}", seen[2]) };
    assert_eq!(shown[..2], [Some(b"1".to_vec()), Some(b"M\xe1laga".to_vec())]);
    assert!(shown[2].as_ref().is_some_and(|email| email.is_ascii()), "{shown:?}");
    assert_eq!((rows(&clear[3]).len(), rows(&seen[3]).len()), (0, 0), "UTF-8 is other letters in LATIN1");

    // A token stands for text in UTF-8: of letters beyond ASCII a client of another encoding has none, and finds none.
    let tokens = query("select mail from people order by id");
    let utf: Vec<_> = rows(&talk(Some(&agent), postgres.port, std::slice::from_ref(&tokens))?[0]).concat();
    let [Some(beyond), Some(ascii)] = &utf[..] else { panic!("two tokens: {utf:?}") };
    assert!(beyond.starts_with(b"mskt_") && ascii.starts_with(b"mskt_"), "{utf:?}");
    let by_mail = |token: &[u8]| bound("select id from people where mail = $1", token);
    let asked = [by_mail(ascii), by_mail(beyond), latin.clone(), tokens, by_mail(ascii), by_mail(beyond)];
    let found = talk(Some(&agent), postgres.port, &asked)?;
    assert_eq!([rows(&found[0]), rows(&found[1])].concat(), [[Some(b"2".to_vec())], [Some(b"1".to_vec())]]);
    assert_eq!(rows(&found[3]), [[Some(b"***".to_vec())], [Some(ascii.clone())]]);
    assert_eq!(rows(&found[4]), [[Some(b"2".to_vec())]]);
    assert_eq!((rows(&found[5]).len(), sqlstate(&found[5])), (0, None));
    assert!(!found.iter().any(|answer| shows(answer, b"canary")));

    let show = query("show client_encoding");
    let set =
        [parse("", "set client_encoding = 'SJIS'"), bind_values("", "", &[], &[]), execute("", 0), sync()];
    let configure = bound("select set_config('client_encoding', $1, false)", b"SJIS");
    for change in [set.concat(), configure] {
        let asked = [latin.clone(), change, show.clone(), label.clone(), bound(by_city, b"M\xe1laga")];
        let direct = talk(None, postgres.port, &asked[..3])?;
        assert!(sqlstate(&direct[1]).is_none() && shows(&direct[2], b"SJIS"), "{:?}", direct[1]);
        let answers = talk(Some(&agent), postgres.port, &asked)?;
        assert_eq!(sqlstate(&answers[1]).as_deref(), Some("42501"), "{:?}", answers[1]);
        assert!(shows(&answers[2], b"LATIN1"), "{:?}", answers[2]);
        assert_eq!(answers[3], clear[1], "the session goes on");
        assert_eq!(rows(&answers[4]), rows(&seen[2]));
    }
    Ok(())
}

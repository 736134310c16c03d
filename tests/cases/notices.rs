//! With `notices: true` a client is told once for each set of masked columns which they are and how they are masked;
//! otherwise, and where nothing is masked, every byte is the server's own.

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Postgres, have_root,
    wire::{Message, bind, describe, execute, field, parse, query, shows, sync, talk},
};
use serde_json::{Value, json};

const SCHEMA: &str = "
    create table customers (id int primary key, email text, card text, city text);
    create table staff (id int primary key, email text);
    create table parts (id int primary key, label text);
    insert into customers values (1, 'ana.canary', '4111 canary', 'Lisbon'), (2, 'bob.canary', null, 'Porto');
    insert into staff values (1, 'eve.canary');
    insert into parts values (1, 'bolt'), (2, 'nut')";

const POLICY: &str = "
version: 1
name: told
classification: { columns: [{ name: email, tag: email }, { name: card, tag: card }] }
masks: { email: pattern, card: { partial: { first: 4 } } }
notices: true
";

/// Sets of masked columns a connection is told of.
const TOLD_MAX: usize = 1_000;

fn extended(sql: &str, format: u8) -> Vec<u8> {
    [parse("", sql), bind("", "", &[format]), describe(b'P', ""), execute("", 0), sync()].concat()
}

/// A statement in every form whose rows are masked.
fn forms(sql: &str) -> [Vec<u8>; 6] {
    [
        query(sql),
        extended(sql, 0),
        extended(sql, 1),
        query(&format!("prepare told as {sql}; execute told; deallocate told")),
        query(&format!("begin; declare told cursor for {sql}; fetch all from told; commit")),
        query(&format!("copy ({sql}) to stdout")),
    ]
}

/// What the notices of an answer say, and each as the reader of its detail has it.
fn told(answer: &[Message]) -> Result<Vec<(String, Value)>> {
    let notices = answer.iter().filter(|(kind, _)| *kind == b'N');
    let told = notices.map(|(_, body)| {
        let text = field(body, b'M').context("a message")?;
        let detail = field(body, b'D').context("a detail")?;
        anyhow::ensure!(field(body, b'C').as_deref() == Some("00000"), "{text}");
        anyhow::ensure!(field(body, b'H').is_some_and(|hint| hint.contains("placeholders")), "{text}");
        Ok((text, serde_json::from_str(&detail)?))
    });
    told.collect()
}

fn texts(answer: &[Message]) -> Result<Vec<String>> {
    Ok(told(answer)?.into_iter().map(|(text, _)| text).collect())
}

const EMAIL: &str = "mask-agent: masked columns: email (pattern)";

#[test]
fn a_client_is_told_once_which_columns_are_masked_and_how() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for first in forms("select city, email from customers order by id") {
        // Whatever form comes first is told, and no form after it on the same connection.
        let mut said = vec![first];
        said.extend(forms("select email, id from customers order by id"));
        said.push(query("select upper(city) as city, email, upper(card) as card from customers"));
        let answers = talk(Some(&agent), postgres.port, &said)?;
        let form = String::from_utf8_lossy(&said[0]).into_owned();
        for answer in &answers {
            assert!(!shows(answer, b"canary") && !shows(answer, b"CANARY"), "{form}: {answer:?}");
            assert!(answer.iter().all(|(kind, _)| *kind != b'E'), "{form}: {answer:?}");
        }
        let [first, again @ .., other] = &answers[..] else { anyhow::bail!("{answers:?}") };
        let [(text, detail)] = &told(first)?[..] else { anyhow::bail!("{form}: {first:?}") };
        assert_eq!(text, EMAIL, "{form}");
        let column = json!({ "name": "email", "rule": "email", "mask": "pattern", "origins": ["public.customers.email"] });
        assert_eq!(*detail, json!({ "code": "masked", "columns": [column] }), "{form}");
        let place = |wanted: &[u8]| first.iter().position(|(kind, _)| wanted.contains(kind));
        assert!(place(b"N") < place(b"Dd"), "{form}: the notice comes before what it is about");
        for answer in again {
            assert_eq!(texts(answer)?, [""; 0], "{form}");
        }
        let both = "mask-agent: masked columns: email (pattern), card (redact)";
        assert_eq!(texts(other)?, [both], "{form}: another set");
    }
    Ok(())
}

/// What is asked one after the other on one connection, and whether it is told of a set it has not met.
const SETS: [(&str, bool); 9] = [
    ("select email, card from customers", true),
    ("select card, email from customers", false),
    ("select email, id, card, email from customers where id = 1", false),
    ("select card from customers", true),
    ("select email from customers", true),
    ("select email from staff", true),
    ("select s.email from staff s", false),
    ("select email as label from customers", true),
    ("select label from parts", false),
];

/// The order of columns made another set, and columns of one name in two tables did not.
#[test]
fn a_set_is_the_columns_in_whatever_order() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let said: Vec<_> = SETS.iter().map(|(sql, _)| query(sql)).collect();
    // A new connection has been told nothing.
    for _ in 0..2 {
        for ((sql, is_new), answer) in SETS.iter().zip(talk(Some(&agent), postgres.port, &said)?) {
            assert_eq!(told(&answer)?.len(), usize::from(*is_new), "{sql}");
        }
    }
    Ok(())
}

#[test]
fn an_unmodified_client_prints_the_notice() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for _ in 0..2 {
        let mut session = agent.open_psql(&postgres.dsn())?;
        for _ in 0..3 {
            assert_eq!(session.ask("select email from customers where id = 1;")?, "xxx.xxxxxx\n");
            assert_eq!(session.ask("select label from parts where id = 1;")?, "bolt\n");
        }
        let errors = session.finish()?;
        assert_eq!(errors.matches(&format!("NOTICE:  {EMAIL}\n")).count(), 1, "{errors}");
        assert!(!errors.contains("canary"), "{errors}");
    }
    Ok(())
}

#[test]
fn who_reads_more_sets_than_are_remembered_is_told_no_more() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let said: Vec<_> =
        (0..TOLD_MAX + 3).map(|number| query(&format!("select email as n{number} from staff"))).collect();
    let answers = talk(Some(&agent), postgres.port, &said)?;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(told(answer)?.len(), usize::from(number < TOLD_MAX), "{number}");
        assert!(!shows(answer, b"canary"), "{number}");
    }
    Ok(())
}

#[test]
fn where_nothing_is_masked_or_notices_are_off_nobody_is_told() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let plain = forms("select id, label from parts order by id");
    let masked = forms("select id, email from customers order by id");
    let direct = talk(None, postgres.port, &plain)?;
    for (policy, is_masked) in [
        (POLICY.to_owned(), None),
        (POLICY.replace("notices: true", "notices: false"), Some(true)),
        (POLICY.replace("notices: true", ""), Some(true)),
        (POLICY.replace("name: told", "name: told\nmode: observe"), Some(false)),
    ] {
        let agent = Agent::start_with(postgres.port, Some(&policy))?;
        assert_eq!(talk(Some(&agent), postgres.port, &plain)?, direct, "{policy}");
        // Where notices are on they are the other tests' business.
        let Some(is_masked) = is_masked else { continue };
        let through = talk(Some(&agent), postgres.port, &masked)?;
        let direct = talk(None, postgres.port, &masked)?;
        for (through, direct) in through.iter().zip(&direct) {
            let kinds = |answer: &[Message]| answer.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
            assert_eq!(kinds(through), kinds(direct), "{policy}");
            assert_eq!(shows(through, b"canary"), !is_masked, "{policy}");
        }
    }
    Ok(())
}

//! Masked values are worth something: they join, they are valid, and their keys can be changed.

use std::process::Command;

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, agent::binary, driver_python, have_root, output, wait_for};

const SCHEMA: &str = "
    create domain mail as varchar(90);
    create table customers (id int primary key, email text, card varchar(19), iban text, phone text, born date,
        emails text[]);
    insert into customers values
        (1987654, 'ana.canary@example.org', '4111 1111 1111 1111', 'DE89370400440532013000', '+49 30 901820',
            '1957-06-25', '{ana.canary@example.org,NULL,\"bo \\\"b\\\" canary\"}'),
        (1987655, 'bob.canary@example.org', '5500000000000004', 'GB29 NWBK 6016 1331 9268 19', '+1 212 555 0123',
            '1990-12-31', '{}');
    alter table customers add place int;
    update customers set place = id;
    create table orders (customer_id bigint, contact mail);
    insert into orders select id, email from customers";
const POLICY: &str = "
version: 1
name: masks
classification:
  columns:
    - { name: [id, customer_id], tag: person }
    - { name: [email, contact, emails], tag: email }
    - { name: card, tag: card }
    - { name: iban, tag: iban }
    - { name: phone, tag: phone }
    - { name: born, tag: birth }
masks:
  person: token
  email: { token: { reversible: true } }
  card: { fpe: card }
  iban: { fpe: iban }
  phone: { fpe: phone }
  birth: generalise
";

/// Reads both tables in both formats and joins what came.
const JOIN: &str = "
import sys, psycopg
login = dict(host='127.0.0.1', port=sys.argv[1], user='postgres', dbname='postgres')
with psycopg.connect(**login) as db:
    people, orders = {}, {}
    for binary in (False, True):
        rows = db.cursor(binary=binary).execute('select id, email, emails from customers where %s', (True,)).fetchall()
        people[binary] = {row[0]: row[1] for row in rows}
        assert any(row[2][:2] == [row[1], None] and len(row[2]) == 3 for row in rows), rows
        rows = db.cursor(binary=binary).execute('select customer_id, contact from orders where %s', (True,)).fetchall()
        orders[binary] = dict(rows)
    assert len(people[True]) == 2, people
    assert people[True] == people[False] == orders[True] == orders[False], (people, orders)
    print(sorted(people[True].values()))
";

#[test]
fn whether_what_is_made_of_masked_values_is_null_is_not_shown() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    // Of the two customers, each question is NULL for one.
    for question in [
        "case when {} > 1987654 then 1 end",
        "nullif({} = 1987654, false)",
        "case when {} = 1987655 then date '1999-01-01' end",
    ] {
        let ask = |column: &str, form: &str| -> Result<Vec<String>> {
            let sql = format!("select {} from customers order by place", question.replace("{}", column));
            let (ok, text) = agent.psql(&postgres.dsn(), &form.replace("{}", &sql))?;
            assert!(ok, "{question}: {text}");
            Ok(text.lines().map(str::to_owned).collect())
        };
        for form in [
            "{}",
            "copy ({}) to stdout",
            "copy ({}) to stdout with (format csv)",
            "begin; declare c cursor for {}; fetch all from c",
        ] {
            let told = ask("id", form)?;
            let [.., one, other] = &*told else { anyhow::bail!("two rows: {told:?}") };
            assert_eq!(one, other, "{question} in {form}");
            let plain = ask("place", form)?;
            let [.., one, other] = &*plain else { anyhow::bail!("two rows: {plain:?}") };
            assert_ne!(one, other, "{question} in {form}");
        }
    }
    Ok(())
}

#[test]
fn masks_of_one_tag_join_over_tables_types_and_formats() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut command = agent.client(&driver_python()?);
    let (ok, text) = output(command.args(["-c", JOIN, &postgres.port.to_string()]))?;
    assert!(ok && text.matches("mskt_").count() == 2 && !text.contains("canary"), "{text}\n{}", agent.log());
    let (_, text) =
        agent.psql(&postgres.dsn(), "select card, iban, phone, born from customers order by born")?;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('|').collect()).collect();
    let [ana, bob] = &lines[..] else { panic!("{text}\n{}", agent.log()) };
    assert!(ana[0].starts_with("4111 11") && ana[0].ends_with(" 1111"), "{text}");
    assert!(bob[0].starts_with("550000") && bob[0].ends_with("0004"), "{text}");
    assert!(ana[1].starts_with("DE") && bob[1].starts_with("GB"), "{text}");
    assert!(ana[2].starts_with("+49 ") && bob[2].starts_with("+1 "), "{text}");
    assert_eq!((ana[3], bob[3]), ("1957-01-01", "1990-01-01"));
    for clear in ["4111 1111 1111 1111", "5500000000000004", "0532013", "1331 9268", "901820", "555 0123"] {
        assert!(!text.contains(clear), "{clear} in {text}");
    }
    Ok(())
}

/// Finds a row by each token, by constant and by parameter, and by what was no token; then tries to store it.
const SEND_BACK: &str = "
import sys, psycopg
login = dict(host='127.0.0.1', port=sys.argv[1], user='postgres', dbname='postgres', autocommit=True)
with psycopg.connect(**login) as db:
    for token in sys.argv[2:]:
        asked = 'select place, email from customers where email = '
        rows = db.execute(asked + chr(39) + token + chr(39)).fetchall()
        for binary in (False, True):
            assert db.cursor(binary=binary).execute(asked + '%s', [token]).fetchall() == rows, token
        try:
            db.execute('update customers set email = %s where place = 1987655', [token])
            stored = 'stored'
        except psycopg.Error as error:
            stored = error.sqlstate
        print(stored, rows)
";

/// The first e-mail, as it was shown under each key, is found by all of them on a new connection, shown under the new key
/// alone, and stored by none.
fn check_sent_back(agent: &Agent, postgres: &Postgres, shown: [&str; 2]) -> Result<()> {
    let token = |rows: &str| {
        let mut words = rows.split(['|', '\n']).filter(|word| word.starts_with("mskt_"));
        words.next().map(str::to_owned).context("a token is shown")
    };
    let [old, new] = [token(shown[0])?, token(shown[1])?];
    // What only looks like the old one was made by nobody.
    let last = if old.ends_with('a') { "b" } else { "a" };
    let false_one = format!("{}{last}", &old[..old.len() - 1]);
    let mut client = agent.client(&driver_python()?);
    client.args(["-c", SEND_BACK, &postgres.port.to_string(), &old, &new, &false_one]);
    let (ok, text) = output(&mut client)?;
    let lines: Vec<&str> = text.lines().collect();
    let [by_old, by_new, by_false] = &lines[..] else { anyhow::bail!("{text}\n{}", agent.log()) };
    assert!(ok && !text.contains("canary"), "{text}");
    assert!(by_old.contains(&new) && !by_old.contains(&old), "{text}");
    assert_eq!(by_old, by_new);
    assert!(by_new.starts_with("42501 [(19876"), "{text}");
    assert!(by_false.ends_with(" []"), "{text}");
    let (_, clear) =
        postgres.psql("select count(*) from customers where email like '%canary@example.org'")?;
    assert_eq!(clear, "2\n", "nothing was stored");
    Ok(())
}

#[test]
fn a_new_key_changes_the_masks_of_new_connections_and_is_in_the_trail() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let mut agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let query = "select id, email from customers order by email;";
    let mut open = agent.open_psql(&postgres.dsn())?;
    let before = open.ask(query)?;
    let (_, same) = agent.psql(&postgres.dsn(), query)?;
    assert_eq!(before, same);

    let key =
        |what: &str| output(Command::new(binary()?).args(["key", what, "--state-dir"]).arg(agent.state()));
    let (ok, text) = key("rotate")?;
    assert!(ok && text.starts_with("version 2: "), "{text}");
    let (_, text) = key("list")?;
    assert!(text.lines().count() == 2 && text.contains("mask.key.2  makes new masks"), "{text}");
    let in_force = |agent: &Agent| {
        let trail = agent.trail()?;
        let loaded = trail.iter().rfind(|record| record["kind"] == "keys_loaded");
        loaded.map(|record| record["versions"].clone()).context("keys are in the trail")
    };
    wait_for("the new key", || in_force(&agent).is_ok_and(|versions| versions == serde_json::json!([1, 2])))?;
    let (_, after) = agent.psql(&postgres.dsn(), query)?;
    assert!(after != before && after.contains("mskt_"), "{after}\n{}", agent.log());
    assert_eq!(open.ask(query)?, before, "a connection that is open keeps its key");
    check_sent_back(&agent, &postgres, [&before, &after])?;

    // A key that is gone must not be replaced by one that makes other masks.
    let path = agent.state().join("mask.key");
    let kept = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    wait_for("the complaint", || agent.log().contains("version 1 is gone"))?;
    let (_, text) = agent.psql(&postgres.dsn(), query)?;
    assert_eq!(text, after);
    std::fs::write(&path, kept)?;
    drop(open);
    agent.kill()?;
    agent.restart()?;
    let (_, text) = agent.psql(&postgres.dsn(), query)?;
    assert_eq!(text, after, "keys outlive the daemon");
    Ok(())
}

//! Tokens come back from drivers: they find their rows, show nothing, and are not stored.

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, driver_python, have_root, output};
use serde_json::{Value, json};

const SCHEMA: &str = "
    create domain mail as varchar(120);
    create table customers (id int primary key, email text, card text, note text);
    insert into customers values (1, 'ana.canary@example.org', '4111 canary', 'one'),
        (2, 'bob''s.canary@exämple.org', '5500 canary', 'two'), (3, 'carl@example.org', null, 'three');
    create view contacts as select id, email as contact from customers;
    create table orders (customer int, contact mail);
    insert into orders select id, email from customers;
    create table watched (email text, label text);
    insert into watched select email, 'w' from customers;
    create table watch_log (said text);
    create function watch() returns trigger language plpgsql as
        $$ begin insert into watch_log values (current_query()); return null; end $$;
    create table owners (email text primary key);
    insert into owners select email from customers;
    alter table watched add owner text references owners on delete cascade;
    update watched set owner = email;
    create trigger watch after update or delete on watched for each row execute function watch()";
const POLICY: &str = "
version: 1
name: tokens
classification:
  columns:
    - { name: [email, contact], table: public.*, tag: email }
    - { name: card, tag: card }
masks:
  email: { token: { reversible: true } }
  card: { partial: { first: 4 } }
";

struct Stand {
    postgres: Postgres,
    agent: Agent,
}

impl Stand {
    fn start() -> Result<Self> {
        let postgres = Postgres::start("trust")?;
        postgres.setup(SCHEMA)?;
        let agent = Agent::start_with(postgres.port, Some(POLICY))?;
        Ok(Self { postgres, agent })
    }

    /// What the script found, and how many texts were withheld; no clear value was among what the drivers were sent.
    fn script(&self, what: &str) -> Result<(Value, u64)> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/tokens.py");
        let mut client = self.agent.client(&driver_python()?);
        let (ok, text) = output(client.arg(script).arg(self.postgres.port.to_string()).arg(what))?;
        assert!(ok, "{text}\n{}", self.agent.log());
        let said: Value = serde_json::from_str(text.lines().last().context("no output")?)?;
        assert_eq!(said["leaks"], false, "{}", said["around"]);
        assert!(
            said["heard"].as_u64() > Some(1_000)
                && said["known"]["a"].as_str().context("token")?.starts_with("mskt_")
        );
        let trail = self.agent.trail()?;
        let trail = serde_json::to_string(&trail)?;
        assert!(
            trail.contains(said["known"]["a"].as_str().unwrap_or("-")),
            "the trail has what the client said"
        );
        // The script says one of them itself, to see that nobody else does.
        assert!(
            !trail.replace("'ana.canary@example.org'", "").contains("canary"),
            "the trail has a clear value"
        );
        Ok((said["found"].clone(), said["withheld"].as_u64().unwrap_or(0)))
    }
}

#[test]
fn tokens_find_their_rows_in_every_form_drivers_send_them() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (found, _) = Stand::start()?.script("find")?;
    for (name, rows) in [
        ("by constant", json!([1])),
        ("by parameter", json!([1])),
        ("by cast parameter", json!([1])),
        ("in a list", json!([1, 2])),
        ("in an array", json!([1, 2])),
        ("in a written array", json!([1, 2])),
        ("in a row", json!([1])),
        ("in a written row", json!([1])),
        ("in a row by range", json!([])),
        ("through a view", json!([1])),
        ("through a common table", json!([1])),
        ("the others", json!([2, 3])),
        ("by count", json!([1])),
        ("in a join", json!([1])),
        ("in a domain of another table", json!([1])),
        ("of another scope", json!([])),
        ("of an unmasked column", json!([])),
        ("by pattern", json!([])),
        ("as an output", json!([])),
    ] {
        let each = found[name].as_array().with_context(|| format!("{name}: {found}"))?;
        assert!(each.len() >= 7 && each.iter().all(|one| *one == rows), "{name}: {each:?}");
    }
    for (name, rows) in [
        ("pipeline", json!([[[1]], [[2]], [[1]], [[2]]])),
        ("execute", json!([[1]])),
        ("prepared", json!([[2]])),
        ("cursor", json!([[2]])),
        ("copy", json!([["2"]])),
        ("kept", json!([[true]])),
        ("update", json!([[2, "seen"]])),
    ] {
        assert_eq!(found[name], rows, "{name}");
    }
    Ok(())
}

#[test]
fn what_was_shown_is_not_stored_and_what_only_looks_like_it_is() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let stand = Stand::start()?;
    let before = stand.postgres.psql("select email, card from customers where id < 3 order by id")?;
    let (found, _) = stand.script("back")?;
    let refused = json!(["42501", "placeholder-write", true]);
    for name in [
        "token False",
        "token True",
        "stars False",
        "stars True",
        "constant",
        "insert",
        "conflict",
        "merge",
        "pipeline",
        "execute",
        "copy",
    ] {
        assert_eq!(found[name], refused, "{name}: {found}");
    }
    for name in ["value False", "value True", "copy of others", "own value", "token elsewhere"] {
        assert_eq!(found[name], "done", "{name}: {found}");
    }
    let after = stand.postgres.psql("select email, card from customers where id < 3 order by id")?;
    assert_eq!(before, after);
    let (_, stored) = stand
        .postgres
        .psql("select count(*), count(*) filter (where note = '***') from customers where id >= 1000")?;
    assert!(stored.contains("2001") && stored.contains("2000"), "{stored}");
    Ok(())
}

#[test]
fn no_channel_shows_what_the_server_was_told() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let stand = Stand::start()?;
    let direct = "select query from pg_stat_activity where pid = pg_backend_pid() and exists (select from customers where email = 'ana.canary@example.org')";
    let (_, shown) = stand.postgres.psql(direct)?;
    assert!(shown.contains("canary"), "the server shows a statement with its values: {shown}");
    let (found, withheld) = stand.script("attack")?;
    assert!(withheld > 50, "the server's log was sent to the client {withheld} times");
    let said = found["said"].as_array().context("said")?;
    let of = |start: &str| {
        let found = said.iter().find(|one| one[0].as_str().is_some_and(|sql| sql.starts_with(start)));
        found.map(|one| one[1].clone()).with_context(|| format!("{start} in {said:?}"))
    };
    for allowed in [
        "select id from customers where email = 'mskt_",
        "select id from customers where email = %s",
        "execute p",
        "execute byname",
        "fetch all",
        "select * from pg_prepared_statements",
        "explain execute p",
        "explain (analyze",
        "update watched set label = 'y'",
        "select query, application_name from pg_stat_activity where pid =",
        "select query, a from pg_stat_activity a where pid = pg_backend_pid() and exists (select from customers where email = 'mskt_",
        "select query, a from pg_stat_activity a where pid = pg_backend_pid() and exists (select from customers where email = %s)",
    ] {
        assert_eq!(of(allowed)?, "rows", "{allowed}");
    }
    for refused in [
        "select current_query()",
        "update watched set label = 'x'",
        "delete from owners where email = 'mskt_",
        "select * from pg_prepared_statement()",
        "select * from pg_cursor()",
        "select pg_stat_get_backend_activity(n)",
    ] {
        assert_eq!(of(refused)?, "42501", "{refused}");
    }
    assert_eq!(of("select citty")?, "42703");
    // A prepared text is not run where its names mean something else, and is where they mean the same again.
    let executed: Vec<&Value> = said.iter().filter(|one| one[0] == "execute r").map(|one| &one[1]).collect();
    assert_eq!(executed, ["42501", "rows"]);
    Ok(())
}

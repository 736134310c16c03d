//! The snapshot of the catalog has what the server knows, follows what others change, and waits for nobody's lock.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use mask_tests::{Agent, Postgres, agent::binary, follower::Follower, have_root, output, wait_within};
use serde_json::{Value, json};

use super::corners::{POLICY, SCHEMA};

/// One of everything.
pub(crate) const EVERYTHING: &str = r#"
    create role reader login;
    create schema reader authorization reader;
    create schema shop; create schema "Odd, ""one"""; create schema closed;
    grant usage on schema shop, "Odd, ""one""" to reader;
    alter role reader set search_path = "$user", nowhere, closed, shop, "Odd, ""one""", pg_temp;
    create domain shop.address as text check (value like '%@%');
    create type shop.mood as enum ('good', 'bad');
    create type shop.price as (amount int, currency text);
    create table shop.customers (id int primary key, email varchar(40), gone int, mood shop.mood,
        low text generated always as (lower(email)) stored);
    alter table shop.customers drop column gone;
    create view shop.contacts as select id, email as address from shop.customers;
    create materialized view shop.kept as select address from shop.contacts;
    create table shop.events (id int, at date) partition by range (at);
    create table shop.events_2026 partition of shop.events for values from ('2026-01-01') to ('2027-01-01');
    create function shop.next_id() returns int language sql volatile as 'select 7';
    create table shop.numbered (id int default shop.next_id());
    create table shop.mirror (id int);
    create rule copy as on insert to shop.mirror do also insert into shop.numbered values (new.id);
    create policy own on shop.customers using (email = current_user) with check (id > 0);
    create policy plain on shop.customers;
    create function shop.touch() returns trigger language plpgsql as 'begin return new; end';
    create trigger touch before insert on shop.events for each row execute function shop.touch();
    create function shop.find(who int, int, out address text, inout found bool) language sql stable
        security definer set search_path = shop, pg_temp as 'select email, found from customers where id = who';
    create function shop.rows() returns table (id int, email text) language plpgsql immutable
        as 'begin return query select 1, ''a''; end';
    create procedure shop.tidy() language plpgsql as 'begin delete from shop.mirror; end';
    create aggregate shop.biggest(int) (sfunc = int4larger, stype = int);
    create function shop.same(a text, b text) returns bool language sql as 'select $1 = $2';
    create operator shop.=== (function = shop.same, leftarg = text, rightarg = text);
    create function shop.worded(shop.price) returns text language sql as 'select ($1).currency';
    create cast (shop.price as text) with function shop.worded(shop.price);
    create foreign data wrapper afar; create server afar foreign data wrapper afar;
    create foreign table shop.away (id int, post text options (column_name 'email')) server afar
        options (table_name 'home')"#;

/// The versions that are tried: the oldest, the newest, and the ones people have.
pub(crate) const MAJORS: [u16; 4] = [13, 15, 17, 18];

struct Shown(Value);

impl Shown {
    /// What `mask-agent catalog` prints of a database, as one role reads it.
    fn read(postgres: &Postgres, role: &str) -> Result<Self> {
        let dsn = postgres.dsn().replace("user=postgres", &format!("user={role}"));
        let (ok, text) = output(Command::new(binary()?).args(["catalog", "--json", "--dsn", &dsn]))?;
        anyhow::ensure!(ok, "{text}");
        Ok(Self(serde_json::from_str(&text).with_context(|| text.clone())?))
    }

    fn found(&self, list: &str, schema: &str, name: &str) -> Result<&Value> {
        let mut all = self.0[list].as_array().context("a list")?.iter();
        let found = all.find(|one| one["schema"] == schema && one["name"] == name);
        found.with_context(|| format!("no {schema}.{name}"))
    }

    fn relation(&self, name: &str) -> Result<&Value> {
        self.found("relations", "shop", name)
    }

    fn routine(&self, name: &str) -> Result<&Value> {
        self.found("routines", "shop", name)
    }

    fn column(&self, relation: &str, name: &str) -> Result<&Value> {
        let mut columns = self.relation(relation)?["columns"].as_array().context("a list")?.iter();
        columns.find(|column| column["name"] == name).with_context(|| format!("no {relation}.{name}"))
    }

    /// What rows of a relation are held to, in words.
    fn held(&self, relation: &str) -> Result<String> {
        let customers = &self.relation("customers")?["oid"];
        let held = self.relation(relation)?["constraints"].as_array().context("a list")?.iter();
        let words = held.map(|held| {
            let columns: Vec<i16> = serde_json::from_value(held["columns"].clone())?;
            let kind = &held["kind"];
            let Some(key) = kind.get("foreign_key") else {
                return Ok(format!("{} {columns:?}", kind.as_str().context("a kind")?));
            };
            anyhow::ensure!(key["relation"] == *customers, "it refers to another: {key}");
            let others: Vec<i16> = serde_json::from_value(key["columns"].clone())?;
            Ok(format!("refers {columns:?} to {others:?}"))
        });
        Ok(words.collect::<Result<Vec<_>>>()?.join("; "))
    }

    fn has_user_name(&self, name: &str) -> bool {
        self.0["user_names"].as_array().is_some_and(|names| names.contains(&name.into()))
    }

    fn shape(&self, name: &str) -> &Value {
        let oid = self.0["type_names"][name][0].as_u64().unwrap_or_default();
        &self.0["types"][oid.to_string()]
    }
}

/// Text without the layout that versions differ in.
fn words(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default().replace(['(', ')'], " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_snapshot_has_relations_as_the_server_knows_them() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for major in MAJORS {
        let postgres = Postgres::start_major(major)?;
        postgres.setup(EVERYTHING)?;
        let shown = Shown::read(&postgres, "postgres")?;
        assert_eq!(shown.0["major"], major);
        let kinds = [
            ("customers", "table"),
            ("contacts", "view"),
            ("kept", "materialized_view"),
            ("events", "table"),
            ("away", "foreign"),
        ];
        for (name, kind) in kinds {
            assert_eq!(shown.relation(name)?["kind"], kind, "{major}: {name}");
        }
        let definition = |name: &str| shown.relation(name).map(|relation| words(&relation["definition"]));
        assert!(
            definition("contacts")?.ends_with("FROM shop.customers;"),
            "{major}: {}",
            definition("contacts")?
        );
        assert!(definition("contacts")?.contains("email AS address"), "{major}: {}", definition("contacts")?);
        assert!(definition("kept")?.ends_with("FROM shop.contacts;"), "{major}: {}", definition("kept")?);
        assert_eq!(shown.relation("customers")?["definition"], Value::Null);
        let foreign = json!({ "schema": null, "name": "home", "columns": [[2, "email"]] });
        assert_eq!(shown.relation("away")?["foreign"], foreign, "{major}");
        assert_eq!(shown.relation("customers")?["foreign"], Value::Null);
        let email = shown.column("customers", "email")?;
        assert_eq!(email["type_modifier"], 44, "{major}");
        assert_eq!((&email["number"], &email["generated"]), (&2.into(), &Value::Null), "{major}");
        assert!(shown.column("customers", "gone").is_err(), "{major}");
        let low = shown.column("customers", "low")?;
        assert_eq!(
            (words(&low["generated"]).as_str(), &low["number"]),
            ("lower email ::text", &5.into()),
            "{major}"
        );
        assert_eq!(shown.relation("events_2026")?["parents"], json!([shown.relation("events")?["oid"]]));
        assert_eq!(shown.relation("events")?["triggers"], json!([shown.routine("touch")?["oid"]]), "{major}");
        for (name, has_user_code, has_rules) in [
            ("events", true, false),
            ("mirror", true, true),
            ("numbered", true, false),
            ("contacts", false, false),
        ] {
            let relation = shown.relation(name)?;
            assert_eq!(relation["has_user_code"], has_user_code, "{major}: {name}");
            let rules = relation["rules"].as_array().context("a list of rules")?;
            let is_rule = |rule: &Value| rule.as_str().is_some_and(|text| text.starts_with("CREATE RULE"));
            assert!(rules.iter().all(is_rule) && rules.is_empty() != has_rules, "{major}: {name}");
        }
        let policies = &shown.relation("customers")?["policies"];
        assert_eq!(words(&policies[0]), "email ::text = CURRENT_USER and id > 0", "{major}");
        assert_eq!(words(&policies[1]), "true", "{major}");
        // Not the server's own views, which are told apart by name.
        assert_eq!(shown.found("relations", "pg_catalog", "pg_stats")?["definition"], Value::Null);
        if major >= 18 {
            postgres.setup(
                "alter table shop.customers add loud text generated always as (upper(email)) virtual",
            )?;
            let shown = Shown::read(&postgres, "postgres")?;
            assert_eq!(words(&shown.column("customers", "loud")?["generated"]), "upper email ::text");
        }
    }
    Ok(())
}

#[test]
fn a_snapshot_has_functions_types_and_the_search_path_as_the_server_knows_them() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for major in MAJORS {
        let postgres = Postgres::start_major(major)?;
        postgres.setup(EVERYTHING)?;
        let shown = Shown::read(&postgres, "reader")?;
        let find = shown.routine("find")?;
        assert_eq!(find["security_definer"], true, "{major}");
        assert_eq!((&find["language"], &find["volatility"]), (&"sql".into(), &"stable".into()), "{major}");
        assert_eq!(find["inputs"], json!(["who", "", "found"]), "{major}");
        assert_eq!(find["outputs"], json!(["address", "found"]), "{major}");
        assert_eq!(find["search_path"], "shop, pg_temp", "{major}");
        assert!(words(&find["definition"]).contains("select email, found from customers"), "{major}: {find}");
        let rows = shown.routine("rows")?;
        assert_eq!(
            (&rows["returns_set"], &rows["outputs"]),
            (&true.into(), &json!(["id", "email"])),
            "{major}"
        );
        assert_eq!((&rows["inputs"], &rows["volatility"]), (&json!([]), &"immutable".into()), "{major}");
        assert!(words(&rows["definition"]).contains("return query select 1"), "{major}: {rows}");
        let tidy = shown.routine("tidy")?;
        assert_eq!(
            (&tidy["kind"], &tidy["security_definer"]),
            (&"procedure".into(), &false.into()),
            "{major}"
        );
        assert!(words(&tidy["definition"]).contains("delete from shop.mirror"), "{major}: {tidy}");
        let biggest = shown.routine("biggest")?;
        assert_eq!(
            (&biggest["kind"], &biggest["definition"]),
            (&"aggregate".into(), &Value::Null),
            "{major}"
        );
        let list = shown.0["routines"].as_array().context("a list")?;
        assert!(
            list.iter().all(|one| one["schema"] == "shop" && one["harmless"] == false),
            "{major}: {list:?}"
        );

        for (name, expected) in
            [("===", true), ("price", true), ("address", false), ("mood", false), ("find", false)]
        {
            assert_eq!(shown.has_user_name(name), expected, "{major}: {name}");
        }
        assert_eq!(shown.0["type_names"]["varchar"], json!([1043]), "{major}");
        assert_eq!(shown.0["type_names"]["_mood"], Value::Null, "{major}");
        assert_eq!(shown.0["type_names"]["customers"], Value::Null, "{major}");
        assert_eq!(shown.shape("mood"), &json!({ "enum": "good" }), "{major}");
        assert_eq!(shown.shape("address"), &json!({ "domain": 25 }), "{major}");
        assert_eq!(shown.shape("price"), &json!({ "composite": [23, 25] }), "{major}");
        let path = json!(["reader", "shop", "Odd, \"one\"", "pg_temp"]);
        assert_eq!(shown.0["search_path"], path, "{major}");
        assert_eq!(Shown::read(&postgres, "postgres")?.0["search_path"], json!(["public"]), "{major}");
        if major >= 14 {
            let total = "create function shop.total() returns text begin atomic select email from shop.customers; end";
            postgres.setup(total)?;
            let shown = Shown::read(&postgres, "reader")?;
            let total = words(&shown.routine("total")?["definition"]);
            assert!(total.contains("FROM shop.customers"), "{major}: {total}");
        }
    }
    Ok(())
}

#[test]
fn functions_of_well_known_extensions_are_told_from_those_of_users() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(
        "create extension citext; create extension dblink;
         create function citext_eq(text, text) returns bool language sql as 'select true'",
    )?;
    let shown = Shown::read(&postgres, "postgres")?;
    let list = shown.0["routines"].as_array().context("a list")?;
    let harmless = |name: &str| -> Vec<(&Value, bool)> {
        let named = list.iter().filter(|one| one["name"] == name);
        named.map(|one| (&one["language"], one["harmless"] == true)).collect()
    };
    assert_eq!(harmless("citext_eq"), [(&"c".into(), true), (&"sql".into(), false)]);
    assert!(!harmless("dblink").is_empty() && harmless("dblink").iter().all(|(_, harmless)| !harmless));
    assert!(!shown.has_user_name("="), "an operator of citext is not code of users");
    Ok(())
}

/// What somebody does, and what rows of `shop.letters` are then held to.
const HELD: [(&str, &str); 8] = [
    ("create table shop.letters (id int primary key, sender text)", "unique [1]"),
    ("alter table shop.letters add check (id > 0 and sender <> '')", "check [1, 2]; unique [1]"),
    (
        "create unique index senders on shop.letters (lower(sender)) where id > 7",
        "check [1, 2]; unique [0, 0]; unique [1]",
    ),
    ("drop index shop.senders", "check [1, 2]; unique [1]"),
    (
        "alter table shop.letters add foreign key (id) references shop.customers (id)",
        "check [1, 2]; refers [1] to [1]; unique [1]",
    ),
    (
        "alter table shop.letters drop constraint letters_check, drop constraint letters_pkey",
        "refers [1] to [1]",
    ),
    ("create index on shop.letters (sender)", "refers [1] to [1]"),
    ("alter table shop.letters drop constraint letters_id_fkey", ""),
];

#[test]
fn constraints_that_somebody_adds_or_drops_are_followed() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for major in MAJORS {
        let postgres = Postgres::start_major(major)?;
        postgres.setup(EVERYTHING)?;
        let mut follower = Follower::start(&binary()?, &postgres.dsn())?;
        let mut before = "";
        for (change, held) in HELD {
            postgres.setup(change)?;
            let shown = Shown::read(&postgres, "postgres")?;
            assert_eq!(shown.held("letters")?, held, "{major}: {change}");
            let read = follower.again()?;
            let fits = read.is_same && (read.extent.as_str(), read.is_news) == ("changes", held != before);
            assert!(fits, "{major}: {change}: {read:?}");
            before = held;
        }
    }
    Ok(())
}

#[test]
fn ddl_in_flight_leaves_definitions_out_and_is_not_waited_for() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for major in MAJORS {
        let postgres = Postgres::start_major(major)?;
        postgres.setup(EVERYTHING)?;
        if major >= 14 {
            postgres.setup(
                "create function shop.total() returns text begin atomic select email from shop.customers; end",
            )?;
        }
        // The lock must outlive the reading, so the reading happens within its transaction.
        let program = binary()?;
        let read = format!("{} catalog --json --dsn '{}'", program.display(), postgres.dsn());
        let script = format!(
            "begin;\nlock table shop.customers in access exclusive mode;\n\\! {read}\nrollback;\n\\! {read}\n"
        );
        let file = std::env::temp_dir().join(format!("mask-test-locked-{}.sql", postgres.port));
        std::fs::write(&file, script)?;
        let (ok, text) =
            output(Command::new("psql").args(["-X", "-q", "-f"]).arg(&file).arg(postgres.dsn()))?;
        std::fs::remove_file(&file)?;
        anyhow::ensure!(ok, "{text}");
        let shown: Vec<_> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok().map(Shown)).collect();
        let [locked, free] = &shown[..] else { panic!("{major}: two snapshots, not {text}") };
        assert_eq!(locked.relation("contacts")?["definition"], Value::Null, "{major}");
        assert_eq!(locked.column("customers", "low")?["generated"], "", "{major}");
        assert_ne!(locked.relation("kept")?["definition"], Value::Null, "{major}: it reads another view");
        assert_ne!(locked.routine("find")?["definition"], Value::Null, "{major}: its body is text");
        assert_ne!(free.relation("contacts")?["definition"], Value::Null, "{major}");
        assert_ne!(free.column("customers", "low")?["generated"], "", "{major}");
        if major >= 14 {
            assert_eq!(locked.routine("total")?["definition"], Value::Null, "{major}");
            assert_ne!(free.routine("total")?["definition"], Value::Null, "{major}");
        }
    }
    Ok(())
}

/// A snapshot is read again after this time where statements come.
const SERVES: Duration = Duration::from_secs(5);
/// What reading and statements take on a busy machine, at most.
const SLACK: Duration = Duration::from_secs(10);

/// What others do while a session is open, and the statement that then shows a canary to whoever is not masked.
const CHANGES: [(&str, &str); 6] = [
    ("alter table renamed rename label to email", "select * from renamed"),
    (
        "drop table remade; create table remade (id int, email text);
         insert into remade values (1, 'eve.canary')",
        "select * from remade",
    ),
    ("create table made as select email from customers", "select * from made"),
    (
        "create or replace view seen as select id, email as label from customers where id = 1",
        "select label from seen",
    ),
    (
        "alter table moved set schema hidden_away; alter table hidden_moved rename to moved",
        "select * from moved",
    ),
    (
        "alter table customers add unique (email);
         alter table referring add foreign key (label) references customers (email)",
        "select label from referring",
    ),
];

/// What they find: what is shown of it is none of the policy's business.
const BEFORE: &str = "
    create table renamed as select 1 as id, 'dan.canary'::text as label;
    create table remade as select 1 as id, 'bolt'::text as label;
    create view seen as select id, label from parts where id = 1;
    create schema hidden_away;
    create table moved as select 1 as id, 'bolt'::text as label;
    create table hidden_moved as select 1 as id, 'fay.canary'::text as email;
    create table referring as select 1 as id, 'ana.canary'::text as label;
    create table noise (id int)";

#[test]
fn what_others_change_is_followed_while_a_session_is_open() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    postgres.setup(BEFORE)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&postgres.dsn())?;
    assert_eq!(session.ask("select label from moved;")?, "bolt\n");
    assert_eq!(session.ask("select label from renamed;")?, "dan.canary\n");
    assert_eq!(session.ask("select label from referring;")?, "ana.canary\n");
    // One by one: what makes the agent read again must be this change, not the next.
    for (change, query) in CHANGES {
        postgres.setup(change)?;
        let (ok, direct) = postgres.psql(query)?;
        assert!(ok && direct.contains("canary"), "{change}: there is nothing to show: {direct}");
        let mut answer = String::new();
        wait_within(SERVES + SLACK, &format!("the agent to follow: {change}"), || {
            // Transactions end all the time on a real server, so that none of them says anything about DDL.
            let noise = postgres.setup("insert into noise values (1)");
            answer = session.ask(&format!("{query};")).unwrap_or_default();
            noise.is_ok() && !answer.is_empty() && !answer.contains("canary")
        })?;
        let again = session.ask(&format!("{query};"))?;
        assert_eq!(again, answer, "{change}");
    }
    assert_eq!(
        session.ask("select label from parts where id = 1;")?,
        "bolt\n",
        "the rest is shown as before"
    );
    Ok(())
}

/// A row with a column that had just been added was redacted whole until the next snapshot.
#[test]
fn a_column_that_was_just_added_is_shown_or_masked_at_once() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&postgres.dsn())?;
    let before = session.ask("select * from parts where id = 1;")?;
    let begun = Instant::now();
    postgres.setup("alter table parts add shade text default 'grey', add email text default 'gil.canary'")?;
    let after = session.ask("select * from parts where id = 1;")?;
    assert!(after.starts_with(&format!("{}|grey|", before.trim_end())), "{before}{after}");
    assert!(!after.contains("canary"), "{after}");
    postgres.setup("alter table parts add tint text default 'blue'")?;
    assert_eq!(session.ask("select tint from parts where id = 1;")?, "blue\n");
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited {:?}", begun.elapsed());
    Ok(())
}

#[test]
fn ddl_in_the_sessions_own_transaction_does_not_make_the_agent_wait_for_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    postgres.setup(
        "alter table parts add twice int8 generated always as (size * 2) stored;
         create view small as select label from parts where size < 18",
    )?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut session = agent.open_psql(&postgres.dsn())?;
    let begun = Instant::now();
    session.ask("begin; alter table parts add note text; alter table customers add note text;")?;
    assert_eq!(session.ask("select label from parts where id = 2;")?, "nut\n");
    let answer = session.ask("select email from customers where id = 1;")?;
    assert!(!answer.is_empty() && !answer.contains("canary"), "{answer}");
    session.ask("commit;")?;
    assert_eq!(session.ask("select label, twice from parts where id = 1;")?, "bolt|34\n");
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited {:?}", begun.elapsed());
    Ok(())
}

/// A connection that nobody used for a while showed what an operator had put into a view meanwhile.
#[test]
fn the_first_statement_after_a_pause_is_ruled_on_by_what_is_there() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    postgres.setup("create view listed as select id, label as said from parts")?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    let mut sessions = [agent.open_psql(&postgres.dsn())?, agent.open_psql(&postgres.dsn())?];
    let [simple, prepared] = &mut sessions;
    prepared.ask("prepare p as select said from listed where id = 1;")?;
    let query = "select said from listed where id = 1;";
    assert_eq!(simple.ask(query)?, "bolt\n");
    assert_eq!(prepared.ask("execute p;")?, "bolt\n");
    // As long as a snapshot is believed: what is asked of it now is ruled on by what is there.
    let pause = Duration::from_secs(6);
    std::thread::sleep(pause);
    postgres.setup("create or replace view listed as select id, email as said from customers")?;
    for (session, query) in [(simple, query), (prepared, "execute p;")] {
        let begun = Instant::now();
        let answer = session.ask(query)?;
        assert!(!answer.is_empty() && !answer.contains("canary"), "{query}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{query}: it waited {:?}", begun.elapsed());
    }
    Ok(())
}

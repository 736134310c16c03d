//! Errors, notices and other messages of the server quote no masked value; where nothing is masked they are the
//! server's own, to the last field.

use anyhow::Result;
use mask_tests::{
    Agent, Postgres, have_root,
    wire::{Message, bind, execute, field, frame, parse, query, shows, sync, talk},
};

/// Two tables that differ in their names only, and functions an operator made that tell a row of each.
fn schema(table: &str, a: &str, b: &str) -> String {
    format!(
        "create table {table} (id int primary key check (id > 0), {a} text unique not null, {b} text,
            city text not null, constraint short check (length(city) < 20), constraint fits check (length({a}) < 90));
         insert into {table} values (1, 'ana.canary@example.org', '078-05-1120', 'Lisbon'),
            (2, 'bob.canary@example.org', '078-05-1121', 'Lisbon');
         create table {table}_orders (id int primary key, {b} text references {table} ({a})
            deferrable initially deferred);
         create function {table}_notice() returns int language plpgsql as $$ begin
            raise notice 'message %', (select {a} from {table} where id = 1)
                using detail = (select {b} from {table} where id = 1), hint = (select {a} from {table} where id = 2);
            return 1; end $$;
         create function {table}_error() returns int language plpgsql as $$
            declare value text := (select {a} from {table} where id = 1); begin
            raise exception 'message %', value using detail = value, hint = value, column = value,
                constraint = value, datatype = value, table = value, schema = value, errcode = 'P7777'; end $$;
         create function {table}_where() returns int language plpgsql as $$
            declare value text := (select {a} from {table} where id = 1); begin
            execute format('select 1/0 /* %s */', value); return 1; end $$;
         create function {table}_setting() returns int language plpgsql as $$ begin
            perform set_config('application_name', (select {a} from {table} where id = 1), false); return 1; end $$;
         create function {table}_notify() returns int language plpgsql as $$ begin
            perform pg_notify('news', (select {a} from {table} where id = 1)); return 1; end $$;
         create function {table}_told() returns trigger language plpgsql as $$ begin
            perform pg_notify('news', row_to_json(new)::text);
            raise warning 'changed %', new; return new; end $$;
         create table {table}_watched as table {table};
         create trigger told after update on {table}_watched for each row execute function {table}_told();"
    )
}

/// Statements that fail or tell something; `T` stands for the table, `A` and `B` for its columns.
const STATEMENTS: [&str; 49] = [
    "insert into T values (1, 'x', 'y', 'Porto')",
    "update T set id = 1 where id = 2",
    "update T set id = -1 where id = 1",
    "update T set city = null where id = 1",
    "update T set city = 'a city whose name is too long' where id = 1",
    "insert into T (id, city) values (7, 'Porto')",
    "insert into T_orders values (1, 'nobody')",
    "begin; insert into T_orders values (1, 'nobody'); commit",
    "create unique index on T (city, (A = 'nobody'))",
    "create unique index on T ((left(A, 0)))",
    "alter table T add exclude using btree (city with =)",
    "alter table T alter A type int using A::int",
    "alter table T alter B type date using B::date",
    "alter table T add foreign key (B) references T_orders (id)",
    "alter table T add constraint c check (length(A) < 3)",
    "select A::int from T",
    "select id from T where A::int = 1",
    "select id from T where A::uuid is not null",
    "select id from T where A::json is not null",
    "select id from T where A::xml is not null",
    "select id from T where A::inet is not null",
    "select id from T where A::point is not null",
    "select id from T where A::int[] is not null",
    "select id from T where A::numeric > 0",
    "select id from T where A::timestamptz > now()",
    "select id from T where A::interval > '1 day'",
    "select id from T where A::regclass is not null",
    "select id from T where A::tsquery is not null",
    "select id from T where A::bool",
    "select id from T where date_trunc(A, now()) is not null",
    "select id from T where to_date(B, 'YYYY-DD-MM') is not null",
    "select id from T where encode('x', A) is not null",
    "select id from T where current_setting(A) is not null",
    "select id from T where 'x' ~ ('(' || A)",
    "select id from T where replace(B, '-', '')::int2 > 0",
    "select id from T where 1 / (length(A) - 22) > 0",
    "select id from T where format('%z', A) is not null",
    "select id from T order by (A::json ->> 'x')",
    "select count(*) from T group by A::int",
    "select id, T_notice() from T where id = 1",
    "select id from T where T_error() = 1",
    "select id from T where T_where() = 1",
    "select T_setting()",
    "listen news; select T_notify()",
    "listen news; update T_watched set city = 'Faro' where id = 2",
    "copy T (id) from stdin",
    "select pg_notify('news', A) from T",
    "select set_config('application_name', A, false) from T",
    "select A from T where id = 'no number'",
];

const CANARIES: [&str; 5] = ["ana.canary", "bob.canary", "078-05-112", "078051120", "canary@"];

/// Said in the simple and in the extended protocol, each followed by proof that the connection goes on.
fn texts(sql: &str) -> [Vec<u8>; 4] {
    let mut simple = query(sql);
    let mut extended = query("select 1");
    if sql.starts_with("copy") {
        // The line is no number, and its context quotes it.
        simple.extend([frame(b'd', b"no number\n"), frame(b'c', b"")].concat());
    } else if !sql.contains(';') {
        extended = [parse("", sql), bind("", "", &[1]), execute("", 0), sync()].concat();
    }
    [simple, extended, query("rollback"), query("select 1")]
}

/// The answers to all statements on one connection, past an agent or not.
fn answers(agent: Option<&Agent>, port: u16, statements: &[String]) -> Result<Vec<Vec<Vec<Message>>>> {
    let said: Vec<_> = statements.iter().flat_map(|sql| texts(sql)).collect();
    let answers = talk(agent, port, &said)?;
    assert_eq!(answers.len(), said.len());
    Ok(answers.chunks(4).map(<[_]>::to_vec).collect())
}

fn statements(table: &str, a: &str, b: &str) -> Vec<String> {
    let named = |sql: &str| sql.replace('T', table).replace('A', a).replace('B', b);
    STATEMENTS.iter().map(|sql| named(sql)).collect()
}

fn state(answer: &[Message]) -> Option<String> {
    answer.iter().find(|(kind, _)| *kind == b'E').and_then(|(_, body)| field(body, b'C'))
}

fn written(answers: &[Vec<Message>]) -> String {
    let line = |(kind, body): &Message| format!("  {} {}", char::from(*kind), String::from_utf8_lossy(body));
    answers.iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_message_of_the_server_quotes_a_masked_value_and_sqlstates_stay() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&schema("customers", "email", "ssn"))?;
    let agent = Agent::start(postgres.port)?;
    let statements = statements("customers", "email", "ssn");
    let direct = answers(None, postgres.port, &statements)?;
    let masked = answers(Some(&agent), postgres.port, &statements)?;
    let mut told = 0;
    for (sql, (direct, masked)) in statements.iter().zip(direct.iter().zip(&masked)) {
        for answer in masked {
            for canary in CANARIES {
                assert!(!shows(answer, canary.as_bytes()), "{sql} showed {canary}\n{}", written(masked));
            }
        }
        for (direct, masked) in direct.iter().zip(masked) {
            let (direct, masked) = (state(direct), state(masked));
            let refused = masked.as_deref() == Some("42501");
            // One that is none of the server's could be made of a value.
            let direct = direct.map(|state| if state == "P7777" { "P0001".to_owned() } else { state });
            assert!(refused || direct == masked, "{sql}: {masked:?} instead of {direct:?}");
            told += usize::from(direct.is_some() && !refused);
        }
        assert_eq!(direct.last(), masked.last(), "{sql}: the connection is not what it was");
    }
    assert!(told > 40, "only {told} errors came through: the others were refused, and tried nothing");
    Ok(())
}

#[test]
fn errors_and_notices_where_nothing_is_masked_are_the_servers_own() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&schema("parts", "label", "code"))?;
    let agent = Agent::start(postgres.port)?;
    let statements = statements("parts", "label", "code");
    let direct = answers(None, postgres.port, &statements)?;
    let through = answers(Some(&agent), postgres.port, &statements)?;
    for (sql, (direct, through)) in statements.iter().zip(direct.iter().zip(&through)) {
        if sql.contains("parts_") && !sql.contains("parts_orders") {
            // A function or trigger of users may read anything.
            continue;
        }
        // Process numbers differ from connection to connection.
        let plain = |answers: &[Vec<Message>]| -> Vec<Message> {
            answers.iter().flatten().filter(|(kind, _)| *kind != b'A').cloned().collect()
        };
        assert_eq!(plain(direct), plain(through), "{sql}:\n{}\n{}", written(direct), written(through));
    }
    Ok(())
}

/// Mistakes and repetitions of whoever defines things, on what no snapshot knows and beside masked columns.
const DEFINITIONS: [&str; 24] = [
    "create table if not exists customers (id int)",
    "create table customers (id int)",
    "create table if not exists customers as select 1 as id",
    "create index customers_pkey on customers (city)",
    "create index if not exists customers_pkey on customers (city)",
    "create sequence if not exists customers",
    "create schema if not exists public",
    "create schema public",
    "create extension if not exists plpgsql",
    "alter table customers add column email text",
    "alter table customers add column if not exists email text",
    "alter table customers drop column nosuch",
    "alter table customers drop column if exists nosuch",
    "alter table customers drop constraint nosuch",
    "alter table customers drop constraint if exists nosuch",
    "alter table if exists nosuch add column email text",
    "alter table if exists nosuch rename to other",
    "drop table nosuch",
    "drop table if exists nosuch, other",
    "drop view customers",
    "drop index if exists nosuch",
    "drop type if exists nosuch",
    "drop function if exists nosuch(int)",
    "drop trigger if exists nosuch on customers",
];

#[test]
fn what_is_wrong_with_a_definition_is_told_in_the_servers_words() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&schema("customers", "email", "ssn"))?;
    let agent = Agent::start(postgres.port)?;
    // Also in a transaction that has read masked columns.
    let read = || query("begin; select email from customers");
    let said: Vec<Vec<u8>> =
        DEFINITIONS.iter().flat_map(|sql| [query(sql), read(), query(sql), query("rollback")]).collect();
    let direct = talk(None, postgres.port, &said)?;
    let through = talk(Some(&agent), postgres.port, &said)?;
    for (sql, (direct, through)) in DEFINITIONS.iter().zip(direct.chunks(4).zip(through.chunks(4))) {
        assert_eq!(direct[0], through[0], "{sql}");
        assert_eq!(direct[2], through[2], "in a transaction: {sql}");
    }
    Ok(())
}

#[test]
fn a_notification_of_another_session_keeps_its_channel_only_and_of_ones_own_its_payload() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(&schema("customers", "email", "ssn"))?;
    let agent = Agent::start(postgres.port)?;
    let mut listener = agent.open_psql(&postgres.dsn())?;
    listener.ask("listen news;")?;
    postgres.setup("update customers_watched set city = 'Faro'")?;
    let text = listener.ask("select 1;")?;
    assert!(text.contains("\"news\"") && !text.contains("canary"), "{text}");
    assert!(!text.contains("payload"), "nobody knows what it was made of: {text}");
    let text = listener.ask("notify news, 'plain words';")?;
    assert!(text.contains("\"news\" with payload \"plain words\""), "{text}");
    let text = listener.ask("begin; notify news, 'words beside it'; select email from customers; commit;")?;
    assert!(text.contains("\"news\"") && !text.contains("words beside it"), "{text}");
    Ok(())
}

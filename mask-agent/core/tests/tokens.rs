//! Tokens that come back: the server is told the value where a column is compared with them, and nobody else is.

#![allow(clippy::unwrap_used, reason = "a test's own bytes")]

mod peer;

use mask_core::{
    audit::Event,
    catalog::{Catalog, Contents, Relation},
    policy::Policy,
};
use peer::*;
use proptest::prelude::*;

const POLICY: &str = "
version: 1
name: tokens
classification:
  columns: [{ name: email, tag: email }]
masks:
  email: { token: { reversible: true } }
";

fn policy() -> Policy {
    Policy::parse("tokens.yaml", POLICY).unwrap()
}

/// A session, and the token of the canary as the client is shown it.
fn ready() -> (Peer, String) {
    let mut peer = Peer::ready_under(&policy());
    peer.feed(From::Client, &query("select id, city, email from customers"));
    let answers = Server::default().answer(&peer.to_server);
    peer.feed(From::Server, &answers);
    let shown = String::from_utf8_lossy(&peer.to_client).into_owned();
    let at = shown.find("mskt_").unwrap();
    let body = shown[at + 5..].bytes().take_while(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')).count();
    let token = shown[at..at + 5 + body].trim_end_matches('C').to_owned();
    peer.to_client.clear();
    peer.to_server.clear();
    peer.events.clear();
    (peer, token)
}

/// What the server is told of a conversation's last message.
fn told(messages: &[Vec<u8>]) -> Vec<u8> {
    let (mut peer, _) = ready();
    peer.feed(From::Client, &messages.concat());
    assert_eq!(peer.ended, None);
    peer.to_server
}

fn kinds(bytes: &[u8]) -> String {
    frames(bytes).into_iter().map(|(kind, _)| char::from(kind)).collect()
}

#[test]
fn a_token_beside_its_column_is_turned_back_and_the_rest_of_the_text_stays() {
    let (_, token) = ready();
    for (sql, expected) in [
        (
            "select city from customers where email = 'TOKEN'",
            "select city from customers where email = 'CANARY'",
        ),
        (
            "select 'é', city from customers where E'TOKEN' = email -- TOKEN",
            "select 'é', city from customers where 'CANARY' = email -- TOKEN",
        ),
        (
            "update customers set city = 'TOKEN' where email in ('x', $$TOKEN$$)",
            "update customers set city = 'TOKEN' where email in ('x', 'CANARY')",
        ),
        (
            "select 1 from customers where email = any('{x,TOKEN}') and (city, email) = ('TOKEN', 'TOKEN')",
            "select 1 from customers where email = any('{\"x\",\"CANARY\"}') and (city, email) = ('TOKEN', 'CANARY')",
        ),
        (
            "begin; delete from customers where email <> 'TOKEN'; commit",
            "begin; delete from customers where email <> 'CANARY'; commit",
        ),
        (
            "declare c cursor for select 1 from customers where email = 'TOKEN'",
            "declare c cursor for select 1 from customers where email = 'CANARY'",
        ),
        (
            "prepare p as select 1 from customers where email = 'TOKEN'",
            "prepare p as select 1 from customers where email = 'CANARY'",
        ),
    ] {
        let said = |text: &str| text.replace("TOKEN", &token).replace("CANARY", CANARY);
        assert_eq!(told(&[query(&said(sql))]), query(&said(expected)), "{sql}");
        let name = "s";
        assert_eq!(told(&[parse(name, &said(sql))]), parse(name, &said(expected)), "{sql}");
    }
}

#[test]
fn a_token_anywhere_else_stays_what_it_is() {
    let (_, token) = ready();
    let mut other = token.clone();
    let last = if other.ends_with('a') { "b" } else { "a" };
    other.replace_range(other.len() - 1.., last);
    for sql in [
        "select 'TOKEN'",
        "select 'TOKEN' from customers where email = 'OTHER'",
        "insert into parts (label) values ('TOKEN')",
        "select 1 from parts where label = 'TOKEN'",
        "select 1 from customers where city = 'TOKEN'",
        "select 1 from customers where email like 'TOKEN'",
        "select 1 from customers where email > 'TOKEN'",
        "select 1 from customers where email = 'TOKEN ' || ''",
        "select 1 from customers where email = upper('TOKEN')",
        "select 1 from customers where email < any('{TOKEN}')",
        "select 1 from customers where email = 'xTOKEN'",
        "select email = 'TOKEN' from customers",
        "explain select 1 from customers where email = 'TOKEN'",
        "create view v as select 1 from customers where email = 'TOKEN'",
        "alter table parts alter label set default 'TOKEN'",
        "do $$ begin perform 1 from customers where email = 'TOKEN'; end $$",
        "comment on table parts is 'TOKEN'",
        "/* email = 'TOKEN' */ select 1",
    ] {
        let sql = sql.replace("TOKEN", &token).replace("OTHER", &other);
        assert_eq!(told(&[query(&sql)]), query(&sql), "{sql}");
        assert_eq!(told(&[parse("s", &sql)]), parse("s", &sql), "{sql}");
    }
}

const BY_EMAIL: &str = "select id from customers where email = $1 and city = $2";
const BY_EMAILS: &str = "select id from customers where email = any($1)";

fn array(elements: &[&str]) -> Vec<u8> {
    let mut out = [1_i32, 0].iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    out.extend_from_slice(&TEXT.to_be_bytes());
    out.extend_from_slice(&u32::try_from(elements.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&1_u32.to_be_bytes());
    for element in elements {
        out.extend_from_slice(&u32::try_from(element.len()).unwrap().to_be_bytes());
        out.extend_from_slice(element.as_bytes());
    }
    out
}

#[test]
fn parameters_are_turned_back_in_either_format_and_in_arrays() {
    let (_, token) = ready();
    for format in [0, 1] {
        let bound = |email: &str| {
            let city = token.as_bytes();
            bind_with("p", "s", &[(format, Some(email.as_bytes())), (format, Some(city))], &[1])
        };
        let start = parse("s", BY_EMAIL);
        assert_eq!(told(&[start.clone(), bound(&token)]), [start.clone(), bound(CANARY)].concat());
        assert_eq!(told(&[start.clone(), bound("x")]), [start, bound("x")].concat());
    }
    let start = parse("", BY_EMAILS);
    let bound = |format, value: &[u8]| bind_with("", "", &[(format, Some(value))], &[]);
    let binary = [array(&["x", &token]), array(&["x", CANARY])];
    let text = [format!("{{x,{token}}}"), format!("{{\"x\",\"{CANARY}\"}}")];
    for (format, [from, to]) in [(1, binary), (0, text.map(String::into_bytes))] {
        assert_eq!(
            told(&[start.clone(), bound(format, &from)]),
            [start.clone(), bound(format, &to)].concat()
        );
    }
    // Written otherwise than drivers do, of another type, declared to be another type, and used in two places.
    let odd = format!("{{ {token} }}").into_bytes();
    assert_eq!(told(&[start.clone(), bound(0, &odd)]), [start.clone(), bound(0, &odd)].concat());
    let mut integers = array(&[&token]);
    integers[8..12].copy_from_slice(&INT4.to_be_bytes());
    assert_eq!(told(&[start.clone(), bound(1, &integers)]), [start, bound(1, &integers)].concat());
    let declared = message(
        b'P',
        &[b"\0select 1 from customers where email = $1\0\0\x01", &INT4.to_be_bytes()[..]].concat(),
    );
    assert_eq!(
        told(&[declared.clone(), bound(1, token.as_bytes())]),
        [declared, bound(1, token.as_bytes())].concat()
    );
    for sql in [
        "select $1 from customers where email = $1",
        "select 1 from customers where email = $1 and city = $1",
        "explain select 1 from customers where email = $1",
        "select 1 from customers where email like $1",
        "insert into parts (label) values ($1)",
    ] {
        let start = parse("", sql);
        let bound = bound(0, token.as_bytes());
        assert_eq!(told(&[start.clone(), bound.clone()]), [start, bound].concat(), "{sql}");
    }
}

#[test]
fn a_name_that_may_mean_another_statement_to_the_server_is_waited_for() {
    let by_email = "select id from customers where email = $1";
    let bound = |name, token: &str| bind_with("", name, &[(0, Some(token.as_bytes()))], &[]);
    let done = |parts: &[Vec<u8>]| [parts.concat(), peer::ready(b'I')].concat();
    // The second Parse of the name will fail, and the server goes on with the first.
    let (mut peer, token) = ready();
    peer.feed(From::Client, &[parse("s", "select $1::text"), sync()].concat());
    peer.feed(From::Server, &done(&[message(b'1', &[])]));
    peer.to_server.clear();
    peer.feed(
        From::Client,
        &[parse("s", by_email), sync(), bound("s", &token), execute("", 0), sync()].concat(),
    );
    assert_eq!(kinds(&peer.to_server), "PSH", "the server is asked to answer");
    peer.to_server.clear();
    peer.feed(From::Server, &done(&[error("42P05", "prepared statement \"s\" already exists")]));
    assert!(kinds(&peer.to_server).starts_with('B'), "{}", kinds(&peer.to_server));
    assert!(!contains(&peer.to_server, CANARY) && contains(&peer.to_server, &token));

    // It succeeds.
    let (mut peer, token) = ready();
    peer.feed(From::Client, &[parse("s", by_email), sync(), bound("s", &token)].concat());
    peer.feed(From::Server, &done(&[message(b'1', &[])]));
    assert_eq!((kinds(&peer.to_server).as_str(), contains(&peer.to_server, CANARY)), ("PSHB", true));

    // Within one pipeline nothing is waited for, nor again and again.
    let (mut peer, token) = ready();
    let run = || [bound("s", &token), execute("", 0)].concat();
    peer.feed(From::Client, &[parse("s", by_email), run(), run(), sync(), query("select 1")].concat());
    assert_eq!(kinds(&peer.to_server), "PBDEBESQ");

    // What was deallocated and prepared anew in a string.
    let (mut peer, token) = ready();
    peer.feed(From::Client, &[parse("s", by_email), sync()].concat());
    peer.feed(From::Server, &done(&[message(b'1', &[])]));
    let anew = "deallocate s; prepare s as select $1::text";
    peer.feed(From::Client, &[query(anew), bound("s", &token), sync()].concat());
    peer.feed(From::Server, &done(&[complete("DEALLOCATE"), complete("PREPARE")]));
    assert_eq!((kinds(&peer.to_server).as_str(), contains(&peer.to_server, CANARY)), ("PSQHBS", false));
}

#[test]
fn arguments_of_execute_are_turned_back_as_the_prepared_statement_uses_them() {
    let (mut peer, token) = ready();
    peer.feed(From::Client, &query("prepare p as select id from customers where email = $1 and city = $2"));
    let execute = |email: &str| query(&format!("execute p('{email}'::text, '{token}')"));
    peer.feed(From::Client, &execute(&token));
    assert_eq!(kinds(&peer.to_server), "QH");
    peer.to_server.clear();
    peer.feed(From::Server, &[complete("PREPARE"), peer::ready(b'I')].concat());
    assert_eq!(peer.to_server, execute(CANARY));
    for sql in [
        "explain execute p('TOKEN', '')",
        "execute q('TOKEN')",
        "execute p('a', 'TOKEN')",
        "begin; execute p('TOKEN', '')",
    ] {
        let sql = sql.replace("TOKEN", &token);
        peer.feed(From::Server, &[complete("SELECT 0"), peer::ready(b'I')].concat());
        peer.to_server.clear();
        peer.feed(From::Client, &query(&sql));
        assert_eq!(peer.to_server, query(&sql), "{sql}");
    }
}

#[test]
fn a_text_that_what_it_runs_may_read_keeps_its_token_and_is_refused() {
    let (_, token) = ready();
    for sql in [
        "select current_query() from customers where email = 'TOKEN'",
        "select 1 from customers where email = 'TOKEN'; select current_query()",
        "select 1 from customers where email = 'TOKEN'; fetch all from c",
        "select 1 from customers where email = 'TOKEN'; execute nobody_knows",
    ] {
        let sql = sql.replace("TOKEN", &token);
        let (mut peer, _) = ready();
        peer.feed(From::Client, &query(&sql));
        assert!(
            contains(&peer.to_server, "mask_agent_refused") && !contains(&peer.to_server, CANARY),
            "{sql}"
        );
        peer.feed(From::Server, &[error("42601", "syntax error"), peer::ready(b'I')].concat());
        assert!(contains(&peer.to_client, "42501") && contains(&peer.to_client, "token-text"), "{sql}");
    }
}

#[test]
fn errors_and_the_trail_say_what_the_client_said() {
    let (mut peer, token) = ready();
    let sql = format!("select citty from customers where email = '{token}' and nowhere");
    peer.feed(From::Client, &query(&sql));
    let sent = String::from_utf8_lossy(&peer.to_server[5..]).into_owned();
    let fault = |state: &str, text: &str, at: usize| {
        message(b'E', format!("SERROR\0VERROR\0C{state}\0M{text}\0P{}\0\0", at + 1).as_bytes())
    };
    let at = sent.find("nowhere").unwrap();
    let text = "column \"nowhere\" does not exist";
    peer.feed(From::Server, &[fault("42703", text, at), peer::ready(b'I')].concat());
    let own = format!("P{}\0", sql.find("nowhere").unwrap() + 1);
    assert!(
        contains(&peer.to_client, text) && contains(&peer.to_client, &own),
        "{:?}",
        String::from_utf8_lossy(&peer.to_client)
    );
    for state in ["22P02", "42601"] {
        peer.to_client.clear();
        peer.feed(From::Client, &query(&sql));
        let text = format!("near \"{CANARY}\"");
        peer.feed(From::Server, &[fault(state, &text, 40), peer::ready(b'I')].concat());
        assert!(contains(&peer.to_client, state) && !contains(&peer.to_client, CANARY));
    }
    let said = peer.events.iter().filter_map(|event| match event {
        Event::Statement { sql, .. } => Some(sql.to_string()),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), vec![sql; 3]);
    // What the server writes for its log comes when it likes, also between statements.
    peer.to_client.clear();
    let log = |severity: &str| {
        message(b'N', format!("S{severity}\0V{severity}\0C00000\0Mparameters: {CANARY}\0\0").as_bytes())
    };
    peer.feed(From::Server, &[log("LOG"), log("DEBUG1")].concat());
    assert!(!contains(&peer.to_client, CANARY) && contains(&peer.to_client, "DEBUG1"));
    let (mut fresh, _) = ready();
    fresh.feed(From::Server, &log("LOG"));
    assert!(contains(&fresh.to_client, CANARY), "nothing was turned back there");
}

#[test]
fn the_plan_of_a_prepared_statement_with_a_value_in_its_text_is_not_shown() {
    let plan = |text: &str| {
        let described = row_description(&[("QUERY PLAN", 0, 0, TEXT, 0)]);
        [described, data_row(&[Some(text.as_bytes())]), complete("EXPLAIN"), peer::ready(b'I')].concat()
    };
    for prepares_token in [true, false] {
        let (mut peer, token) = ready();
        let constant = if prepares_token { &*token } else { "x" };
        let sql = format!("prepare p as select id from customers where email = '{constant}'");
        peer.feed(From::Client, &query(&sql));
        peer.feed(From::Server, &[complete("PREPARE"), peer::ready(b'I')].concat());
        peer.feed(From::Client, &query("explain execute p"));
        let constant = if prepares_token { CANARY } else { "x" };
        peer.feed(From::Server, &plan(&format!("Filter: (email = '{constant}'::text)")));
        assert_eq!(contains(&peer.to_client, "Filter"), !prepares_token);
        assert!(!contains(&peer.to_client, CANARY));
    }
}

/// A database in which the table's name may mean one that holds guesses in the clear.
fn with_guesses() -> Peer {
    let email = [("id", INT4), ("city", TEXT), ("email", TEXT)];
    let guesses = Relation { schema: "guesses".into(), ..relation(20_009, "customers", &email) };
    let relations = vec![relation(CUSTOMERS, "customers", &email), guesses];
    let search_path = Some(vec!["public".to_owned()]);
    let catalog = Catalog::new(Contents { relations, search_path, ..Contents::default() });
    let policy = POLICY.replace("name: email,", "name: email, table: public.*,");
    Peer::ready_with(catalog.into(), &Policy::parse("tokens.yaml", &policy).unwrap())
}

#[test]
fn a_prepared_text_is_not_run_once_its_names_may_mean_something_else() {
    let (_, token) = ready();
    let text = format!("select id from customers where email = '{token}'");
    let done = |tag: &str| [complete(tag), peer::ready(b'I')].concat();
    for (between, is_refused) in [("set search_path = guesses, public", true), ("select 1", false)] {
        let mut peer = with_guesses();
        peer.feed(From::Client, &[parse("s", &text), sync()].concat());
        assert!(contains(&peer.to_server, CANARY));
        peer.feed(From::Server, &[message(b'1', &[]), peer::ready(b'I')].concat());
        peer.feed(From::Client, &query(&format!("prepare p as {text}")));
        peer.feed(From::Server, &done("PREPARE"));
        peer.feed(From::Client, &query(between));
        peer.feed(From::Server, &done("SET"));
        for run in [
            [bind("", "s", &[]), execute("", 0), sync()].concat(),
            query("execute p"),
            [parse("", "execute p"), bind("", "", &[]), execute("", 0), sync()].concat(),
            // What it makes is masked, which is for the shell to remember.
            query(if is_refused { "create table t as execute p" } else { "execute p" }),
            query(&text),
        ] {
            peer.to_server.clear();
            peer.feed(From::Client, &run);
            if peer.holds(From::Client) {
                assert!(kinds(&peer.to_server).ends_with('H'), "the server is asked to answer");
                let answers = Server::default().answer(&peer.to_server);
                peer.to_server.clear();
                peer.feed(From::Server, &answers);
            }
            let says = String::from_utf8_lossy(&run).into_owned();
            // The text by itself is only what it says: the token means nothing in the other table.
            let refused = contains(&peer.to_server, "mask_agent_refused");
            assert_eq!(refused, is_refused && !says.contains("mskt_"), "{between}: {says}");
            assert!(!(is_refused && contains(&peer.to_server, CANARY)), "{between}: {says}");
            let answers = Server::default().answer(&peer.to_server);
            peer.feed(From::Server, &answers);
        }
    }
}

#[test]
fn a_parameter_is_bound_by_what_the_names_of_its_statement_mean_then() {
    let (_, token) = ready();
    let mut peer = with_guesses();
    let bound = || bind_with("", "s", &[(0, Some(token.as_bytes()))], &[]);
    peer.feed(
        From::Client,
        &[parse("s", "select id from customers where email = $1"), bound(), sync()].concat(),
    );
    assert!(contains(&peer.to_server, CANARY));
    peer.feed(From::Server, &[message(b'1', &[]), message(b'2', &[]), peer::ready(b'I')].concat());
    peer.to_server.clear();
    let path = [parse("", "set search_path = guesses, public"), bind("", "", &[]), execute("", 0)].concat();
    peer.feed(From::Client, &[path, bound(), execute("", 0), sync()].concat());
    assert!(contains(&peer.to_server, &token) && !contains(&peer.to_server, CANARY));
}

#[test]
fn rows_of_a_copy_into_a_masked_column_are_looked_at() {
    let (_, token) = ready();
    for (rows, is_refused) in
        [(format!("1\tx\t{token}\n2\ty\tz\n"), true), (format!("1\t{token}\tx\n"), false)]
    {
        for cut in [1, 7, rows.len()] {
            let (mut peer, _) = ready();
            peer.feed(From::Client, &query("copy customers (id, city, email) from stdin"));
            peer.feed(From::Server, &message(b'G', &[0, 0, 3, 0, 0, 0, 0, 0, 0]));
            peer.to_server.clear();
            let data: Vec<u8> = rows.as_bytes().chunks(cut).flat_map(|part| message(b'd', part)).collect();
            peer.feed(From::Client, &[data, message(b'c', &[])].concat());
            assert_eq!(kinds(&peer.to_server).contains('f'), is_refused, "{rows}");
            let answer =
                if is_refused { error("57014", "COPY from stdin failed") } else { complete("COPY 2") };
            peer.feed(From::Server, &[answer, peer::ready(b'I')].concat());
            assert_eq!(contains(&peer.to_client, "placeholder-write"), is_refused, "{rows}");
            peer.to_client.clear();
            peer.feed(From::Client, &query("select 1"));
            peer.feed(From::Server, &[error("22012", "division by zero"), peer::ready(b'I')].concat());
            assert!(contains(&peer.to_client, "22012") && peer.ended.is_none());
        }
    }
}

#[test]
fn what_was_shown_is_not_written_into_its_column() {
    let (_, token) = ready();
    let refused = |messages: &[Vec<u8>]| {
        let (mut peer, _) = ready();
        peer.feed(From::Client, &[messages.concat(), sync()].concat());
        let refused = contains(&peer.to_server, "mask_agent_refused");
        assert!(!contains(&peer.to_server, CANARY));
        let answers = Server::default().answer(&peer.to_server);
        peer.feed(From::Server, &answers);
        assert_eq!(peer.ended, None);
        assert_eq!(
            contains(&peer.to_client, "\"code\":\"placeholder-write\""),
            refused,
            "{}",
            String::from_utf8_lossy(&peer.to_client)
        );
        let said = String::from_utf8_lossy(&peer.to_client);
        assert_eq!(said.contains("42501"), refused, "{said}");
        refused
    };
    let bound = |value: &str, format| bind_with("", "", &[(format, Some(value.as_bytes()))], &[]);
    for (sql, parameter, is_refused) in [
        ("update customers set email = $1 where id = 1", &*token, true),
        ("update customers set email = $1 where id = 1", "***", true),
        ("update customers set email = $1 where id = 1", "a2b3c4d5@masked.invalid", true),
        ("update customers set email = coalesce($1::varchar, email)", &*token, true),
        ("update customers set email = $1 where id = 1", "ana@example.org", false),
        ("update customers set city = $1 where id = 1", "***", false),
        ("update customers set city = $1 where id = 1", &*token, false),
        ("insert into parts (label) values ($1)", &*token, false),
        ("insert into customers (city, email) values ('***', $1) on conflict do nothing", "***", true),
    ] {
        for format in [0, 1] {
            let messages = [parse("", sql), bound(parameter, format), execute("", 0)];
            assert_eq!(refused(&messages), is_refused, "{sql} with {parameter}");
        }
        let text = sql.replace("$1", &format!("'{parameter}'"));
        assert_eq!(refused(&[query(&text)]), is_refused, "{text}");
    }
    let many = "insert into customers (email) select * from unnest($1::text[])";
    for (value, is_refused) in [(array(&["x", &token]), true), (array(&["x"]), false)] {
        let bound = bind_with("", "", &[(1, Some(&value))], &[]);
        assert_eq!(refused(&[parse("", many), bound]), is_refused);
    }
}

#[test]
fn a_constant_is_looked_at_where_the_statement_was_decided_without_its_constants() {
    let (mut peer, token) = ready();
    let mut said = |sql: &str| {
        peer.to_server.clear();
        peer.feed(From::Client, &query(sql));
        let told = peer.to_server.clone();
        let answers = Server::default().answer(&told);
        peer.feed(From::Server, &answers);
        told
    };
    for _ in 0..2 {
        for value in ["ana@example.org", "it''s", &*token, "***", "bob@example.org"] {
            let sql = format!("update customers set email = '{value}' where id = 1");
            let is_refused = value.starts_with("mskt_") || value == "***";
            assert_eq!(contains(&said(&sql), "mask_agent_refused"), is_refused, "{sql}");
            let sql = format!("select id from customers where email = '{value}'");
            let expected = sql.replace(&token, CANARY);
            assert_eq!(said(&sql), query(&expected), "{sql}");
        }
    }
}

#[test]
fn where_rulings_are_only_recorded_nothing_is_turned_back_or_refused() {
    let (_, token) = ready();
    let observe = Policy::parse("observe.yaml", &format!("{POLICY}mode: observe\n")).unwrap();
    let mut peer = Peer::ready_under(&observe);
    let messages = [
        query(&format!("select id from customers where email = '{token}'")),
        query("update customers set email = '***'"),
        parse("", "select id from customers where email = $1"),
        bind_with("", "", &[(0, Some(token.as_bytes()))], &[]),
    ];
    peer.feed(From::Client, &messages.concat());
    assert_eq!(peer.to_server, messages.concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Without a token everything is sent byte by byte as it came.
    #[test]
    fn what_holds_no_token_is_sent_as_it_came(
        value in "[ -~äé]{0,40}",
        other in prop::collection::vec(any::<u8>(), 0..40),
        format in 0..=1_i16,
    ) {
        prop_assume!(!value.contains("mskt_") && !contains(&other, "mskt_"));
        let literal = value.replace('\'', "''");
        // An array whose length cannot be told costs all of the budget.
        let binary = array(&[&value]);
        let list: &[u8] = if format == 1 { &binary } else { &other };
        let messages = [
            query(&format!("select id, 'x' from customers where email = '{literal}' and city <> '{literal}'")),
            parse("s", &format!("select id from customers where email in ('{literal}', $1)")),
            bind_with("", "s", &[(format, Some(&other))], &[1]),
            parse("", BY_EMAILS),
            bind_with("", "", &[(format, Some(list))], &[]),
        ];
        let mut peer = Peer::ready_under(&policy());
        peer.feed(From::Client, &messages.concat());
        prop_assert_eq!(peer.to_server, messages.concat());
    }
}

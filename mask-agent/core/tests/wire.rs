//! Whole conversations: cut anywhere they come out the same, and the masked stream is the clear one but for
//! masked cells.

mod peer;

use std::time::Duration;

use mask_core::session::{Freshness, Input, Want};
use peer::*;

/// A conversation and its name.
type Transcript = (&'static str, Vec<(From, Vec<u8>)>);

fn client(parts: &[Vec<u8>]) -> (From, Vec<u8>) {
    (From::Client, parts.concat())
}

fn server(parts: &[Vec<u8>]) -> (From, Vec<u8>) {
    (From::Server, parts.concat())
}

fn customer(id: &str, email: Option<&str>) -> Vec<u8> {
    data_row(&[Some(id.as_bytes()), Some(b"Lisbon"), email.map(str::as_bytes)])
}

const SELECT: &str = "select id, city, email from customers";

/// What drivers do, in the order the messages cross the proxy.
#[expect(clippy::too_many_lines, reason = "one list, each entry by itself")]
fn transcripts() -> Vec<Transcript> {
    let columns = || row_description(&[ID, CITY, EMAIL]);
    let label = || row_description(&[("label", PARTS, 2, TEXT, 0)]);
    let one = || message(b'1', &[]);
    let two = || message(b'2', &[]);
    let parameters = || message(b't', &[0, 0]);
    let after = |steps: Vec<(From, Vec<u8>)>| [login(), steps].concat();
    vec![
        ("login after a request for encryption", {
            let ssl = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
            let gss = [&8_u32.to_be_bytes()[..], &80_877_104_u32.to_be_bytes()].concat();
            [vec![(From::Client, gss), (From::Client, ssl)], login()].concat()
        }),
        (
            "scram",
            vec![
                (From::Client, startup()),
                server(&[message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")]),
                client(&[message(b'p', b"secret\0")]),
                server(&[message(b'R', b"\0\0\0\x0br=x,s=y,i=4096")]),
                server(&[message(b'R', b"\0\0\0\x0cv=z"), login()[1].1.clone()]),
            ],
        ),
        (
            "md5",
            vec![
                (From::Client, startup()),
                server(&[message(b'R', b"\0\0\0\x05salt")]),
                client(&[message(b'p', b"secret\0")]),
                login()[1].clone(),
            ],
        ),
        (
            "simple query",
            after(vec![
                client(&[query(SELECT)]),
                server(&[
                    columns(),
                    customer("1", Some(CANARY)),
                    customer("2", None),
                    complete("SELECT 2"),
                    ready(b'I'),
                ]),
                client(&[query("select label from parts"), message(b'X', &[])]),
                server(&[label(), data_row(&[Some(b"bolt")]), complete("SELECT 1"), ready(b'I')]),
            ]),
        ),
        (
            "several statements in one string",
            after(vec![
                client(&[query(&format!("begin; {SELECT}; select label from parts"))]),
                server(&[
                    complete("BEGIN"),
                    columns(),
                    customer("1", Some(CANARY)),
                    complete("SELECT 1"),
                    label(),
                    data_row(&[Some(b"bolt")]),
                    complete("SELECT 1"),
                    ready(b'T'),
                ]),
            ]),
        ),
        (
            "extended, described before it is bound",
            after(vec![
                client(&[parse("s", SELECT), describe(b'S', "s"), sync()]),
                server(&[one(), parameters(), columns(), ready(b'I')]),
                client(&[bind("", "s", &[1]), execute("", 0), sync()]),
                server(&[two(), data_row(&[Some(&[0, 0, 0, 1]), Some(b"Lisbon"), Some(CANARY.as_bytes())])]),
                server(&[complete("SELECT 1"), ready(b'I')]),
            ]),
        ),
        (
            "extended, described after it is bound, in parts",
            after(vec![
                client(&[parse("", SELECT), bind("p", "", &[]), describe(b'P', "p"), execute("p", 1)]),
                client(&[execute("p", 0), close(b'P', "p"), sync()]),
                server(&[one(), two(), columns(), customer("1", Some(CANARY)), message(b's', &[])]),
                server(&[customer("2", Some(CANARY)), complete("SELECT 1"), message(b'3', &[]), ready(b'I')]),
            ]),
        ),
        (
            "extended, never described by the client",
            after(vec![
                client(&[parse("", SELECT), bind("", "", &[]), execute("", 0), message(b'H', &[]), sync()]),
                server(&[
                    one(),
                    two(),
                    columns(),
                    customer("1", Some(CANARY)),
                    complete("SELECT 1"),
                    ready(b'I'),
                ]),
            ]),
        ),
        (
            "pipeline with an error in the middle",
            after(vec![
                client(&[parse("a", SELECT), bind("", "a", &[]), describe(b'P', ""), execute("", 0)]),
                client(&[parse("b", "select label from parts"), bind("", "b", &[]), execute("", 0), sync()]),
                client(&[bind("", "a", &[]), describe(b'P', ""), execute("", 0), sync()]),
                server(&[one(), two(), columns(), error("22P02", "invalid input: ana.canary@example.org")]),
                server(&[
                    ready(b'I'),
                    two(),
                    columns(),
                    customer("1", Some(CANARY)),
                    complete("SELECT 1"),
                    ready(b'I'),
                ]),
            ]),
        ),
        (
            "refusals, simple and extended",
            after(vec![
                client(&[
                    query("copy customers to stdout"),
                    parse("", "do $$ begin end $$"),
                    bind("", "", &[]),
                    sync(),
                ]),
                server(&[
                    error("42601", "syntax error"),
                    ready(b'I'),
                    error("42601", "syntax error"),
                    ready(b'I'),
                ]),
                client(&[query("select label from parts")]),
                server(&[label(), data_row(&[Some(b"bolt")]), complete("SELECT 1"), ready(b'I')]),
            ]),
        ),
        (
            "COPY both ways",
            after(vec![
                client(&[query("copy parts from stdin")]),
                server(&[message(b'G', &[0, 0, 2, 0, 0, 0, 0])]),
                client(&[message(b'd', b"1\tbolt\n"), message(b'c', &[])]),
                server(&[complete("COPY 1"), ready(b'I')]),
                client(&[query("copy parts to stdout")]),
                server(&[
                    message(b'H', &[0, 0, 2, 0, 0, 0, 0]),
                    message(b'd', b"1\tbolt\n"),
                    message(b'c', &[]),
                ]),
                server(&[complete("COPY 1"), ready(b'I')]),
            ]),
        ),
        (
            "notices, notifications, settings, an empty query",
            after(vec![
                client(&[query("")]),
                server(&[message(b'I', &[]), ready(b'I')]),
                // Of this session, and of another.
                server(&[message(b'A', b"\0\0\0\x2achannel\0payload\0")]),
                server(&[message(b'A', b"\0\0\0\x07channel\0ana.canary@example.org\0")]),
                server(&[message(b'S', b"TimeZone\0UTC\0")]),
                client(&[query(SELECT)]),
                server(&[message(b'N', b"SNOTICE\0C00000\0Mana.canary@example.org\0\0"), columns()]),
                server(&[customer("1", Some(CANARY)), error("57014", "canceling"), ready(b'I')]),
            ]),
        ),
    ]
}

fn play(steps: &[(From, Vec<u8>)]) -> Peer {
    let mut peer = Peer::default();
    for (from, bytes) in steps {
        peer.feed(*from, bytes);
        peer.shake_hands();
    }
    peer
}

#[test]
fn sync_is_owed_an_answer_but_while_a_copy_is_read() {
    let copy = || query("copy parts from stdin");
    let begun = || server(&[message(b'G', &[0, 0, 2, 0, 0, 0, 0])]);
    let (row, done) = (|| message(b'd', b"2\tnut\n"), || message(b'c', &[]));
    let ended = || server(&[complete("COPY 1"), ready(b'I'), ready(b'I')]);
    let failed = || server(&[error("22P02", "invalid input")]);
    let (twice, first) = (query("copy a from stdin; copy b from stdin"), || server(&[complete("COPY 1")]));
    let in_turn = vec![client(&[copy(), sync()]), begun(), client(&[row(), sync(), done(), sync()]), ended()];
    let at_once = vec![client(&[copy(), sync(), row(), done(), sync()]), begun(), ended()];
    let needless = vec![client(&[done(), copy(), sync(), row(), done(), sync()]), begun(), ended()];
    let over = server(&[ready(b'I'), ready(b'I')]);
    let after_error = vec![client(&[copy()]), begun(), failed(), client(&[sync()]), over];
    let said = client(&[twice, sync(), row(), done(), sync(), row(), done(), sync()]);
    let two = vec![said, begun(), first(), begun(), ended()];
    for (name, steps) in [
        ("one by one", in_turn),
        ("all at once", at_once),
        ("behind an end of none", needless),
        ("behind an error", after_error),
        ("two of one string", two),
    ] {
        let mut steps = [login(), steps].concat();
        steps.push(client(&[query("select label from parts")]));
        let label = row_description(&[("label", PARTS, 2, TEXT, 0)]);
        steps.push(server(&[label, data_row(&[Some(b"bolt")]), complete("SELECT 1"), ready(b'I')]));
        let peer = play(&steps);
        assert_eq!(peer.ended, None, "{name}");
        assert!(contains(&peer.to_client, "bolt"), "{name}");
    }
}

fn same(name: &str, what: &str, whole: &Peer, cut: &Peer) {
    assert_eq!(whole.to_client, cut.to_client, "{name}, {what}: the client got something else");
    assert_eq!(whole.to_server, cut.to_server, "{name}, {what}: the server got something else");
    assert_eq!(whole.ended, cut.ended, "{name}, {what}");
    assert_eq!(whole.events.len(), cut.events.len(), "{name}, {what}: the trail says something else");
}

#[test]
fn a_conversation_cut_at_any_byte_comes_out_the_same() {
    for (name, steps) in transcripts() {
        let whole = play(&steps);
        for (index, (from, bytes)) in steps.iter().enumerate() {
            for at in 1..bytes.len() {
                let mut cut = steps.clone();
                cut[index].1.truncate(at);
                cut.insert(index + 1, (*from, bytes[at..].to_vec()));
                same(name, &format!("step {index} cut at {at}"), &whole, &play(&cut));
            }
        }
        let bytes = steps.iter().flat_map(|(from, bytes)| bytes.iter().map(|byte| (*from, vec![*byte])));
        same(name, "byte by byte", &whole, &play(&bytes.collect::<Vec<_>>()));
    }
}

#[test]
fn conversations_come_to_their_end_without_the_canary_and_with_what_is_not_masked() {
    for (name, steps) in transcripts() {
        let peer = play(&steps);
        assert_eq!(peer.ended, None, "{name}");
        assert!(!peer.holds(From::Client) && !peer.holds(From::Server), "{name}: something was left unread");
        assert!(!contains(&peer.to_client, "canary"), "{name}");
        let sent: Vec<u8> = steps
            .iter()
            .filter(|(from, _)| *from == From::Server)
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        for benign in ["Lisbon", "bolt", "payload", "TimeZone"] {
            assert_eq!(contains(&sent, benign), contains(&peer.to_client, benign), "{name}: {benign}");
        }
    }
}

#[test]
fn a_description_we_asked_for_is_not_shown_and_one_the_client_asked_for_is() {
    for (asks, described) in [(false, 0), (true, 1)] {
        let mut peer = Peer::ready();
        let question = if asks { describe(b'P', "") } else { Vec::new() };
        let messages = [parse("", SELECT), bind("", "", &[]), question, execute("", 0), sync()];
        peer.feed(From::Client, &messages.concat());
        let answers = Server::default().answer(&peer.to_server);
        peer.feed(From::Server, &answers);
        let kinds: Vec<u8> = frames(&peer.to_client).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds.split(|kind| *kind == b'T').count() - 1, described);
        assert_eq!(kinds.last(), Some(&b'Z'), "{:?}", peer.ended);
        assert!(!contains(&peer.to_client, "canary") && contains(&peer.to_client, "Lisbon"));
    }
}

/// One side's bytes after login, and what the connection must end with; nothing of them is forwarded.
#[test]
fn nonsense_ends_the_connection_and_is_not_forwarded() {
    let long = [&b"Q"[..], &0x7fff_ffff_u32.to_be_bytes(), b"select"].concat();
    let short = [&b"Q"[..], &3_u32.to_be_bytes(), b"select"].concat();
    for (bytes, expected) in [
        (long, "length is out of range"),
        (short, "length is out of range"),
        (message(b'z', b"x"), "message type"),
        (message(b'Q', b"select 1"), "malformed Query"),
        (message(b'Q', b"select 1\0 rest\0"), "malformed Query"),
        (message(b'P', b"s\0select 1\0\0"), "malformed Parse"),
        (message(b'P', b"s\0select 1\0\xff\xff"), "malformed Parse"),
        (message(b'B', b"p\0s\0\0\0\0\x01\0\0\0\x09x\0\0"), "malformed Bind"),
        (message(b'B', b"p\0s\0\xff\xff\0\0\0\0"), "malformed Bind"),
        (message(b'D', b"X\0"), "malformed Describe"),
        (message(b'E', b"p\0\0\0"), "malformed Execute"),
        (message(b'S', b"x"), "Sync or Flush has a body"),
        (message(b'H', b"x"), "Sync or Flush has a body"),
        (message(b'p', b"secret\0"), "unexpected message"),
        (startup(), "message type"),
    ] {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &bytes);
        let ended = peer.ended.unwrap_or_default();
        assert!(ended.contains(expected) && ended.contains("client"), "{bytes:?}: {ended:?}");
        assert_eq!(peer.to_server, b"", "{bytes:?} was forwarded");
    }
    for bytes in
        [&b"\0\0\0\x04"[..], b"\0\0\x27\x11\0\x03\0\0", b"\0\0\0\x08\0\x02\0\0", b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut peer = Peer::default();
        peer.feed(From::Client, bytes);
        assert!(peer.ended.is_some() && peer.to_server.is_empty(), "{bytes:?}");
    }
}

#[test]
fn a_server_that_breaks_the_protocol_ends_the_connection_and_shows_nothing() {
    let canary = CANARY.as_bytes();
    let row = || data_row(&[Some(b"1"), Some(b"Lisbon"), Some(canary)]);
    let columns = || row_description(&[ID, CITY, EMAIL]);
    for bytes in [
        row(),
        [columns(), data_row(&[Some(canary)])].concat(),
        [columns(), message(b'D', &[&[0, 3, 0, 0, 0, 200][..], canary].concat())].concat(),
        [columns(), message(b'D', &[&[0, 3, 0xff, 0xff, 0xff, 0xfe][..], canary].concat())].concat(),
        [columns(), message(b'D', &[&row()[5..], canary].concat())].concat(),
        message(b'T', &[&[0, 1][..], canary].concat()),
        message(b'T', &[&[0xff, 0xff][..], canary].concat()),
        message(b'd', canary),
        message(b'H', &[0, 0, 0]),
        message(b'W', &[0, 0, 0]),
        message(b'V', &[&[0, 0, 0, 22][..], canary].concat()),
        message(b'1', &[]),
        message(b'2', &[]),
        message(b'3', &[]),
        message(b'n', &[]),
        message(b's', &[]),
        message(b't', &[0, 0]),
        message(b'R', &[0, 0, 0, 0]),
        message(b'z', canary),
        ready(b'D'),
        [&b"D"[..], &[0xff; 4], canary].concat(),
    ] {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(SELECT));
        peer.feed(From::Server, &bytes);
        assert!(
            peer.ended.as_ref().is_some_and(|ended| ended.contains("server")),
            "{bytes:?}: {:?}",
            peer.ended
        );
        assert!(!contains(&peer.to_client, "canary"), "{bytes:?}");
    }
}

#[test]
fn a_row_that_is_cut_off_is_not_shown() {
    let row = data_row(&[Some(b"1"), Some(b"Lisbon"), Some(CANARY.as_bytes())]);
    for cut in 1..row.len() {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(SELECT));
        let before = row_description(&[ID, CITY, EMAIL]);
        peer.feed(From::Server, &[&before[..], &row[..cut]].concat());
        assert_eq!(peer.to_client, before, "cut at {cut}");
    }
}

#[test]
fn a_row_nobody_described_is_not_shown_and_a_described_one_is() {
    let row = data_row(&[Some(b"1"), Some(b"Lisbon"), Some(CANARY.as_bytes())]);
    let bound = [message(b'1', &[]), message(b'2', &[])].concat();
    for sql in ["set search_path = public", "begin", "select 1", SELECT] {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &[parse("", sql), bind("", "", &[]), execute("", 0), sync()].concat());
        peer.feed(From::Server, &[&bound[..], &row].concat());
        assert!(peer.ended.is_some() && !contains(&peer.to_client, "canary"), "{sql}");
    }
    let mut peer = Peer::ready();
    peer.feed(From::Client, &[parse("", "select 1"), bind("", "", &[]), execute("", 0), sync()].concat());
    let described = row_description(&[("?column?", 0, 0, INT4, 0)]);
    peer.feed(From::Server, &[&bound[..], &described, &data_row(&[Some(b"1")])].concat());
    assert!(peer.ended.is_none() && peer.to_client.ends_with(b"\0\0\0\x011"), "{:?}", peer.ended);
}

#[test]
fn a_row_with_more_cells_than_were_described_is_not_shown_and_one_like_its_description_is() {
    let more = data_row(&[Some(b"1"), Some(CANARY.as_bytes())]);
    for columns in [&[][..], &[ID]] {
        // Cut behind the row's head, it would stream.
        for cut in [more.len(), more.len() - 4] {
            let mut peer = Peer::ready();
            peer.feed(From::Client, &query("select id from customers"));
            peer.feed(From::Server, &[&row_description(columns)[..], &more[..cut]].concat());
            peer.feed(From::Server, &more[cut..]);
            assert!(peer.ended.is_some() && !contains(&peer.to_client, "ana"), "{columns:?}");
        }
    }
    let mut peer = Peer::ready();
    peer.feed(From::Client, &query("select id, city from customers"));
    let row = data_row(&[Some(b"1"), Some(b"Lisbon")]);
    peer.feed(From::Server, &[row_description(&[ID, CITY]), row].concat());
    assert!(peer.ended.is_none() && peer.to_client.ends_with(b"Lisbon"));
}

#[test]
fn a_prepared_statement_that_is_not_text_is_accounted_for_as_it_is_kept() {
    let mut peer = Peer::ready();
    for _ in 0..9 {
        peer.feed(From::Client, &message(b'P', b"s\0select \xff\xfe\xfd\0\0\0"));
    }
    assert_eq!(peer.ended, None);
    assert!(frames(&peer.to_server).iter().all(|(kind, _)| *kind == b'P'));
}

#[test]
fn an_error_after_an_answer_without_a_result_is_scrubbed_where_something_masked_was_read() {
    for (sql, scrubbed) in [(SELECT, true), ("select label from parts", false)] {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(sql));
        peer.feed(From::Server, &[ready(b'T'), error("57P01", CANARY)].concat());
        assert_eq!(contains(&peer.to_client, "canary"), !scrubbed, "{sql}");
        assert!(contains(&peer.to_client, "57P01"), "{sql}");
    }
}

#[test]
fn what_grows_with_the_client_has_an_end_and_says_so() {
    let mut peer = Peer::ready();
    let mut server = Server::default();
    let mut refused = None;
    for number in 0..10_100 {
        peer.feed(From::Client, &[parse(&format!("s{number}"), "select 1"), sync()].concat());
        let answers = server.answer(&std::mem::take(&mut peer.to_server));
        peer.feed(From::Server, &answers);
        if contains(&peer.to_client, "54000") {
            refused = Some(number);
            break;
        }
        peer.to_client.clear();
    }
    assert_eq!(refused, Some(10_000), "prepared statements");
    assert_eq!(peer.ended, None, "the connection goes on");
    peer.feed(From::Client, &[close(b'S', "s1"), parse("again", "select 1"), sync()].concat());
    peer.to_client.clear();
    let answers = server.answer(&std::mem::take(&mut peer.to_server));
    peer.feed(From::Server, &answers);
    assert!(!contains(&peer.to_client, "54000"), "closing one makes room");

    // A client that sends without reading is not read on, and is once the server has answered.
    let mut peer = Peer::ready();
    let pipeline = sync().repeat(70_000);
    peer.feed(From::Client, &pipeline);
    assert!(peer.holds(From::Client) && peer.to_server.len() < pipeline.len());
    let mut server = Server::default();
    while !peer.to_server.is_empty() {
        let answers = server.answer(&std::mem::take(&mut peer.to_server));
        peer.feed(From::Server, &answers);
    }
    assert_eq!(frames(&peer.to_client).len(), 70_000);
}

/// A session whose statements wait for the catalog to be read, and the time is up.
fn waits_for_catalog() -> Peer {
    let mut peer = Peer::ready();
    peer.snapshot_age = None;
    peer.now = Duration::from_hours(1);
    peer
}

fn extended(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", "", &[1]), describe(b'P', ""), execute("", 0), sync()].concat()
}

/// The client was told what to do, and the connection is over.
fn says_unread(peer: &Peer) -> bool {
    let messages = frames(&peer.to_client);
    let Some((b'E', error)) = messages.last() else { return false };
    ["SFATAL\0", "C58000\0", "Mmask-agent: the database's catalog could not be read", "pg_hba.conf"]
        .iter()
        .all(|part| contains(error, part))
        && peer.ended.is_some()
}

#[test]
fn where_the_catalog_cannot_be_read_no_statement_is_sent_and_where_it_can_it_is() {
    let fresh = [Want::LoadCatalog { freshness: Freshness::Fresh }];
    let row = [row_description(&[ID, CITY, EMAIL]), data_row(&[None, None, Some(CANARY.as_bytes())])];
    let rest = [complete("SELECT 1"), ready(b'I')];
    let bound = [message(b'1', &[]), message(b'2', &[])];
    for (asked, answer) in
        [(query(SELECT), [&row[..], &rest].concat()), (extended(SELECT), [&bound[..], &row, &rest].concat())]
    {
        let mut peer = waits_for_catalog();
        peer.feed(From::Client, &asked);
        assert_eq!((&*peer.to_server, &*peer.wants), (&b""[..], &fresh[..]));
        peer.tell(Input::SnapshotFailed);
        peer.feed(From::Client, b"");
        assert!(says_unread(&peer), "{:?}", peer.ended);
        assert_eq!(peer.to_server, b"", "it was sent after all");

        let mut peer = waits_for_catalog();
        peer.feed(From::Client, &asked);
        peer.tell(Input::Snapshot(snapshot(), Duration::ZERO));
        peer.feed(From::Client, b"");
        peer.feed(From::Server, &answer.concat());
        assert_eq!(peer.ended, None);
        assert!(peer.to_client.ends_with(&ready(b'I')) && !contains(&peer.to_client, "canary"));
    }
}

#[test]
fn where_the_catalog_cannot_be_read_nobody_is_let_in() {
    let mut peer = Peer::default();
    peer.snapshot_age = None;
    for (from, bytes) in login() {
        peer.feed(from, &bytes);
    }
    assert!(!frames(&peer.to_client).iter().any(|(kind, _)| *kind == b'Z'));
    peer.tell(Input::SnapshotFailed);
    assert!(says_unread(&peer), "{:?}", peer.ended);
}

#[test]
fn a_column_no_snapshot_knows_is_redacted_where_the_catalog_cannot_be_read_and_its_neighbour_is_shown() {
    let stranger = ("email", 29_999, 1, TEXT, 0);
    let label = ("label", PARTS, 2, TEXT, 0);
    let row = [row_description(&[stranger, label]), data_row(&[Some(CANARY.as_bytes()), Some(b"bolt")])];
    let rest = [complete("SELECT 1"), ready(b'I')];
    let bound = [message(b'1', &[]), message(b'2', &[])];
    let sql = "select label, label from parts";
    for (asked, before) in [(query(sql), Vec::new()), (extended(sql), bound.concat())] {
        let mut peer = Peer::ready();
        peer.snapshot_age = None;
        peer.feed(From::Client, &asked);
        peer.feed(From::Server, &before);
        peer.feed(From::Server, &[&row[..], &rest].concat().concat());
        assert!(!contains(&peer.to_client, "bolt"), "it does not wait for the catalog");
        peer.tell(Input::SnapshotFailed);
        peer.feed(From::Server, b"");
        assert_eq!(peer.ended, None);
        assert!(contains(&peer.to_client, "bolt") && !contains(&peer.to_client, "canary"));
        assert!(peer.to_client.ends_with(&ready(b'I')));
    }
}

#[test]
fn an_unread_catalog_is_not_told_within_a_row() {
    let mut peer = waits_for_catalog();
    peer.tell(Input::Snapshot(snapshot(), Duration::ZERO));
    peer.feed(From::Client, &query("select label from parts"));
    let described = row_description(&[("label", PARTS, 2, TEXT, 0)]);
    let row = data_row(&[Some(&vec![b'x'; 100_000])]);
    peer.feed(From::Server, &[&described[..], &row[..50_000]].concat());
    let shown = peer.to_client.clone();
    assert!(shown.len() > described.len(), "the row is not passed on as it comes");
    peer.now *= 2;
    peer.feed(From::Client, &query(SELECT));
    peer.tell(Input::SnapshotFailed);
    assert_eq!(peer.to_client, shown);
    assert!(peer.ended.is_some());
}

//! A name of the protocol may stand for another statement than the last one sent under it.

mod peer;

use mask_core::session::Want;
use peer::*;

const WRITE: &str = "insert into parts (label) select email from customers";

fn answered(peer: &mut Peer, answers: &[Vec<u8>]) {
    peer.feed(From::Server, &answers.concat());
    assert_eq!(peer.ended, None);
}

fn taints(peer: &Peer) -> usize {
    peer.wants.iter().filter(|want| matches!(want, Want::Taint(_))).count()
}

fn one() -> Vec<u8> {
    message(b'1', &[])
}

/// A connection on which the server has the statement under the name `s`.
fn prepared(sql: &str) -> Peer {
    let mut peer = Peer::ready();
    peer.feed(From::Client, &[parse("s", sql), sync()].concat());
    answered(&mut peer, &[one(), ready(b'I')]);
    assert_eq!(taints(&peer), 0, "nothing is written by Parse");
    peer
}

#[test]
fn a_statement_whose_name_could_not_be_given_to_another_still_runs() {
    let run = || [bind("", "s", &[]), execute("", 0), sync()].concat();
    for (sql, tainted) in [(WRITE, 1), ("insert into parts (label) select 'a'", 0)] {
        // 42P05: the name is taken.
        let mut peer = prepared(sql);
        peer.feed(From::Client, &[parse("s", "select 1"), sync()].concat());
        answered(&mut peer, &[error("42P05", "exists"), ready(b'I')]);
        peer.feed(From::Client, &run());
        assert_eq!(taints(&peer), tainted, "refused by the server: {sql}");

        // Parse and Close are skipped behind an error.
        for skipped in [parse("s", "select 1"), close(b'S', "s")] {
            let mut peer = prepared(sql);
            peer.feed(From::Client, &[bind("", "unknown", &[]), skipped, sync()].concat());
            answered(&mut peer, &[error("26000", "no such statement"), ready(b'I')]);
            peer.feed(From::Client, &run());
            assert_eq!(taints(&peer), tainted, "skipped: {sql}");
        }

        // Refused by us, so that the server never sees it.
        let mut peer = prepared(sql);
        peer.feed(From::Client, &[parse("s", "select pg_read_file('a')"), sync()].concat());
        answered(&mut peer, &[error("42601", "syntax error"), ready(b'I')]);
        peer.feed(From::Client, &run());
        assert_eq!(taints(&peer), tainted, "refused by the agent: {sql}");

        // All at once, before anything is answered.
        let mut peer = Peer::ready();
        peer.feed(From::Client, &[parse("s", sql), sync(), parse("s", "select 1"), sync(), run()].concat());
        assert_eq!(taints(&peer), tainted, "at once: {sql}");
    }
}

#[test]
fn a_statement_of_a_name_is_what_was_sent_where_nothing_failed() {
    let mut peer = Peer::ready();
    for sql in [WRITE, "select 1"] {
        let before = taints(&peer);
        peer.feed(From::Client, &[parse("", sql), bind("", "", &[]), execute("", 0), sync()].concat());
        peer.wants.clear();
        if sql == WRITE {
            assert_eq!(before, 0);
            answered(&mut peer, &[]);
        } else {
            assert_eq!(taints(&peer), 0, "{sql} writes nothing");
        }
    }
}

#[test]
fn a_cursor_whose_rows_a_masked_value_chose_does_not_say_where_it_stands() {
    let refused = |cursor: &str| {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(&format!("begin; declare c cursor for {cursor}")));
        answered(&mut peer, &[complete("BEGIN"), complete("DECLARE CURSOR"), ready(b'T')]);
        peer.to_server.clear();
        peer.feed(From::Client, &query("update parts set label = label where current of c returning label"));
        contains(&peer.to_server, "mask_agent_refused")
    };
    assert!(refused("select * from parts where label in (select email from customers)"));
    assert!(!refused("select * from parts where label = 'bolt' for update"));
    assert!(!refused("select * from customers where email = 'a' for update"));

    // A locked row has another `xmax`.
    let mut peer = Peer::ready();
    let locks = "select 1 from parts where label in (select email from customers) for update";
    peer.feed(From::Client, &query(locks));
    answered(&mut peer, &[one()]);
    assert_eq!(taints(&peer), 1);

    // In one string, and without a cursor anybody knows.
    for (sql, is_refused) in [
        ("begin; declare c cursor for table parts; fetch c; delete from parts where current of c", false),
        ("delete from parts where current of c", true),
    ] {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(sql));
        assert_eq!(contains(&peer.to_server, "mask_agent_refused"), is_refused, "{sql}");
    }
}

#[test]
fn what_masks_a_column_is_parsed_by_the_server_before_it_does() {
    let kinds = |bytes: &[u8]| -> Vec<u8> { frames(bytes).iter().map(|(kind, _)| *kind).collect() };
    let wrong = || error("42703", "column does not exist");
    // By a simple query, which is read again once the answer is there.
    let mut peer = Peer::ready();
    peer.feed(From::Client, &query(WRITE));
    assert_eq!((kinds(&peer.to_server).as_slice(), taints(&peer)), (&b"PH"[..], 0));
    answered(&mut peer, &[one()]);
    assert_eq!((kinds(&peer.to_client).as_slice(), taints(&peer)), (&b""[..], 1));

    let mut peer = Peer::ready();
    peer.feed(From::Client, &[query(WRITE), query("select 1")].concat());
    answered(&mut peer, &[wrong()]);
    assert_eq!(kinds(&peer.to_server), b"PHSQ", "it is not sent, and what follows is");
    answered(&mut peer, &[ready(b'I')]);
    assert_eq!((kinds(&peer.to_client).as_slice(), taints(&peer)), (&b"EZ"[..], 0));

    // By the extended protocol, in one go.
    let run = [parse("", WRITE), bind("", "", &[]), execute("", 0), sync()].concat();
    let mut peer = Peer::ready();
    peer.feed(From::Client, &run);
    assert_eq!((kinds(&peer.to_server).as_slice(), taints(&peer)), (&b"PH"[..], 0));
    answered(&mut peer, &[one()]);
    assert_eq!(taints(&peer), 1);

    let mut peer = Peer::ready();
    peer.feed(From::Client, &run);
    answered(&mut peer, &[wrong(), ready(b'I')]);
    assert_eq!((kinds(&peer.to_client).as_slice(), taints(&peer)), (&b"EZ"[..], 0));
}

#[test]
fn what_cannot_be_read_is_answered_in_the_servers_words_and_never_run() {
    const MISTAKE: &str = "selec 1";
    let place = b"SERROR\0VERROR\0C42601\0Msyntax error at or near \"selec\"\0P1\0\0";
    let (own, later) = (message(b'E', place), error("42601", "syntax error at or near \"mask_agent\""));
    let sent = |extended: bool| {
        let said = if extended { [parse("s", MISTAKE), sync()].concat() } else { query(MISTAKE) };
        let mut peer = Peer::ready();
        peer.feed(From::Client, &said);
        let kinds: Vec<u8> = frames(&peer.to_server).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, b"PPS", "it is only parsed, and something that fails behind it");
        let frames = frames(&peer.to_server);
        assert!(frames[0].1.starts_with(b"\0selec 1\0") && contains(&frames[1].1, "mask_agent"));
        peer
    };
    for extended in [false, true] {
        let mut peer = sent(extended);
        answered(&mut peer, &[own.clone(), ready(b'I')]);
        assert_eq!(peer.to_client, [own.clone(), ready(b'I')].concat());

        // The server can read it, and we cannot.
        let mut peer = sent(extended);
        answered(&mut peer, &[one(), later.clone(), ready(b'I')]);
        assert!(!contains(&peer.to_client, "mask_agent") && contains(&peer.to_client, "mask-agent: "));
        let kinds: Vec<u8> = frames(&peer.to_client).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, b"EZ");
    }

    // What was sent before is not ended by a Sync of ours.
    let mut peer = Peer::ready();
    peer.feed(From::Client, &[parse("s", "select 1"), query(MISTAKE)].concat());
    let kinds: Vec<u8> = frames(&peer.to_server).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, b"PQ");
}

//! A statement that wants a database to itself finds nobody of ours in it, and one that makes a database of another is
//! sent once that is remembered.

mod peer;

use std::time::Duration;

use mask_core::{
    lineage::CopiedDatabase,
    session::{Input, Want},
};
use peer::*;

fn copies(peer: &Peer) -> Vec<CopiedDatabase> {
    let copied = peer.wants.iter().filter_map(|want| match want {
        Want::FollowCopy(copied) => Some(copied.clone()),
        _ => None,
    });
    copied.collect()
}

/// Says that what was to be remembered is.
fn remembered(peer: &mut Peer) {
    peer.tell(Input::Snapshot(snapshot(), Duration::ZERO));
    peer.feed(From::Client, b"");
}

fn withdraws(messages: &[u8]) -> bool {
    let mut peer = Peer::ready();
    peer.feed(From::Client, messages);
    for _ in copies(&peer) {
        remembered(&mut peer);
    }
    assert!(!peer.to_server.is_empty());
    peer.wants.contains(&Want::Withdraw)
}

#[test]
fn what_the_server_wants_nobody_in_a_database_for_is_announced() {
    for (sql, announced) in [
        ("create database y template x", true),
        ("drop database if exists x", true),
        ("select 1; drop database x", true),
        ("alter database x rename to y", true),
        ("alter database x set tablespace other", true),
        ("alter database x set search_path = a", false),
        ("alter table customers rename email to mail", false),
        ("alter table customers rename to clients", false),
        ("alter view customers rename to clients", false),
        ("create table x (id int)", false),
        ("comment on database x is 'x'", false),
        ("select 'drop database x'", false),
    ] {
        assert_eq!(withdraws(&query(sql)), announced, "{sql}");
        if !sql.contains(';') {
            assert_eq!(withdraws(&[parse("", sql), sync()].concat()), announced, "{sql}");
        }
    }
}

#[test]
fn a_database_is_made_of_another_once_that_is_remembered() {
    const COPY: &str = "create database y template 'x'";
    let run = || [bind("", "s", &[]), execute("", 0), sync()].concat();
    for (sql, from, to) in [
        (COPY, "x", "y"),
        ("create database y template 'z'", "z", "y"),
        ("create database y", "template1", "y"),
        ("alter database w rename to y", "w", "y"),
    ] {
        let expected = [CopiedDatabase { from: from.to_owned(), to: to.to_owned() }];
        let mut peer = Peer::ready();
        // Another template written the same way does not stand for this one.
        peer.feed(From::Client, &query(COPY));
        remembered(&mut peer);
        peer.feed(From::Server, &[complete("CREATE DATABASE"), ready(b'I')].concat());
        peer.to_server.clear();
        peer.wants.clear();
        peer.feed(From::Client, &query(sql));
        if sql != COPY {
            assert_eq!(copies(&peer), expected, "{sql}");
            assert!(peer.to_server.is_empty(), "{sql}: it is sent before it is remembered");
            remembered(&mut peer);
        }
        assert_eq!(peer.to_server, query(sql), "{sql}");

        let mut peer = Peer::ready();
        peer.feed(From::Client, &[parse("s", sql), sync()].concat());
        peer.feed(From::Server, &[message(b'1', &[]), ready(b'I')].concat());
        assert_eq!(copies(&peer), [], "{sql}: nothing is made by Parse");
        peer.to_server.clear();
        peer.feed(From::Client, &run());
        assert_eq!(copies(&peer), expected, "{sql}");
        assert!(!contains(&peer.to_server, "B"), "{sql}: it is bound before it is remembered");
        remembered(&mut peer);
        assert!(frames(&peer.to_server).iter().any(|(kind, _)| *kind == b'E'), "{sql}");
    }
    for sql in ["drop database x", "alter database x set work_mem = 1", "alter table parts rename to pieces"]
    {
        let mut peer = Peer::ready();
        peer.feed(From::Client, &query(sql));
        assert_eq!(copies(&peer), [], "{sql}");
        assert_eq!(peer.to_server, query(sql), "{sql}");
    }
}

//! A statement that wants a database to itself finds nobody of ours in it.

mod peer;

use mask_core::session::Want;
use peer::*;

fn withdraws(messages: &[u8]) -> bool {
    let mut peer = Peer::ready();
    peer.feed(From::Client, messages);
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

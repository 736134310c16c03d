//! Any bytes from a server, before login and while it owes an answer: no panic, the same wherever they are cut.
#![no_main]

#[path = "../../tests/peer/mod.rs"]
mod peer;

use libfuzzer_sys::fuzz_target;
use peer::{From, Peer, bind, execute, parse, query, startup, sync};

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (phase, cut, bytes) = input;
    let start = || {
        let mut peer = if phase % 4 == 0 { Peer::default() } else { Peer::ready() };
        let asked = match phase % 4 {
            0 => startup(),
            1 => query("select * from customers"),
            2 => query("select * from parts"),
            _ => [parse("", "select * from customers"), bind("", "", &[]), execute("", 0), sync()].concat(),
        };
        peer.feed(From::Client, &asked);
        peer
    };
    let mut whole = start();
    whole.feed(From::Server, bytes);
    let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let mut parts = start();
    parts.feed(From::Server, head);
    parts.feed(From::Server, tail);
    // What broke off may have let a part of a row that needs no mask pass before.
    if whole.ended.is_none() {
        assert_eq!(whole.to_server, parts.to_server);
        assert_eq!(whole.to_client, parts.to_client);
    }
    assert_eq!(whole.ended.is_some(), parts.ended.is_some());
});

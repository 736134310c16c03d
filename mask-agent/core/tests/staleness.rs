//! How old a snapshot may be that statements are ruled on: from 3 s on a newer one is asked for beside them, from 5 s
//! on they wait a while until it was compared with the server, from 60 s on for as long as it takes. What counts is when
//! it was read, whenever it came.

mod peer;

use std::time::Duration;

use mask_core::session::{Freshness, Input, Want};
use peer::*;

const SQL: &str = "select label from parts";

/// What a statement does at a time.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    Sent,
    /// It is sent, and a newer snapshot asked for.
    SentAndAsked,
    /// It waits for a while.
    WaitsAWhile,
    Waits,
}

fn seconds(whole: u64, after_ms: u64) -> Duration {
    Duration::from_millis(whole * 1_000 + after_ms)
}

fn at(peer: &mut Peer, now: Duration) -> Done {
    peer.now = now;
    peer.to_server.clear();
    peer.wants.clear();
    peer.feed(From::Client, &query(SQL));
    let asked = |freshness| peer.wants.contains(&Want::LoadCatalog { freshness });
    if peer.to_server.is_empty() {
        assert!(asked(Freshness::Fresh) != asked(Freshness::Checked), "it waits for nothing");
        return if asked(Freshness::Fresh) { Done::Waits } else { Done::WaitsAWhile };
    }
    assert_eq!(peer.to_server, query(SQL));
    assert!(!asked(Freshness::Fresh));
    let done = if asked(Freshness::Cached) { Done::SentAndAsked } else { Done::Sent };
    peer.feed(From::Server, &[complete("SELECT 0"), ready(b'I')].concat());
    done
}

/// A session whose snapshot was this old when it came.
fn peer_with(age: Duration, came: Duration) -> Peer {
    let mut peer = Peer::ready();
    peer.snapshot_age = None;
    peer.now = came;
    peer.tell(Input::Snapshot(snapshot(), age));
    peer
}

/// Tells what a statement waits for, and lets the server answer it.
fn goes_on(peer: &mut Peer, input: Input<'_>) {
    peer.tell(input);
    peer.feed(From::Client, b"");
    assert_eq!(peer.to_server, query(SQL));
    peer.feed(From::Server, &[complete("SELECT 0"), ready(b'I')].concat());
}

#[test]
fn a_snapshot_serves_for_five_seconds_whenever_it_came() {
    for age in [seconds(0, 0), seconds(3, 0), seconds(4, 999)] {
        let read = seconds(100, 0);
        let mut peer = peer_with(age, read + age);
        if age <= seconds(3, 0) {
            assert_eq!(at(&mut peer, read + seconds(3, 0)), Done::Sent, "{age:?}");
        }
        assert_eq!(at(&mut peer, read + seconds(5, 0)), Done::SentAndAsked, "{age:?}");
        assert_eq!(at(&mut peer, read + seconds(5, 1)), Done::WaitsAWhile, "{age:?}");
        goes_on(&mut peer, Input::Snapshot(snapshot(), seconds(1, 0)));
        assert_eq!(at(&mut peer, read + seconds(7, 1)), Done::Sent, "{age:?}");
        assert_eq!(at(&mut peer, read + seconds(7, 2)), Done::SentAndAsked, "{age:?}");
    }
}

#[test]
fn where_nobody_answers_what_is_known_serves_for_a_minute() {
    let read = seconds(100, 0);
    let mut peer = peer_with(seconds(0, 0), read);
    assert_eq!(at(&mut peer, read + seconds(6, 0)), Done::WaitsAWhile);
    goes_on(&mut peer, Input::Unchecked);
    assert_eq!(at(&mut peer, read + seconds(10, 999)), Done::SentAndAsked);
    assert_eq!(at(&mut peer, read + seconds(11, 0)), Done::WaitsAWhile);
    goes_on(&mut peer, Input::Unchecked);
    assert_eq!(at(&mut peer, read + seconds(60, 0)), Done::WaitsAWhile);
    goes_on(&mut peer, Input::Unchecked);
    assert_eq!(at(&mut peer, read + seconds(60, 1)), Done::Waits);
}

/// Each snapshot that came was taken for new, and so one that somebody else had brought, or one in which columns were
/// masked meanwhile, put off reading what had changed.
#[test]
fn a_snapshot_that_comes_again_is_no_younger() {
    let read = seconds(100, 0);
    let mut peer = peer_with(seconds(0, 0), read);
    for after in 1..=60 {
        peer.now = read + seconds(after, 0);
        peer.tell(Input::Snapshot(snapshot(), seconds(after, 0)));
    }
    assert_eq!(at(&mut peer, read + seconds(60, 1)), Done::Waits);
}

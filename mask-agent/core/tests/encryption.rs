//! How a connection opens, with hostile bytes: what is asked for encryption, and what a login is bound to.

mod peer;

use mask_core::{
    audit::Event,
    protocol::postgres::{Answer, ClientTls, SSL_REQUEST},
    session::{CancelKey, ChannelBinding, DialFault, Handshake, Input, Want},
};
use peer::{From, Peer, contains, message, startup};

const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];
/// As a TLS record with a `ClientHello` begins.
const CLIENT_HELLO: [u8; 6] = [0x16, 3, 1, 0, 200, 1];

fn cancel() -> Vec<u8> {
    [&[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 7][..], b"key!"].concat()
}

fn asked_for_tls(peer: &Peer) -> Option<Handshake> {
    peer.wants.iter().find_map(|want| match want {
        Want::StartTls(handshake) => Some(*handshake),
        _ => None,
    })
}

/// A client that has asked for TLS and been through its handshake.
fn encrypted() -> Peer {
    let mut peer = Peer::default();
    peer.feed(From::Client, &SSL_REQUEST);
    peer.tell(Input::Encrypted(None));
    peer
}

#[test]
fn a_request_for_tls_is_answered_and_nothing_is_read_until_the_handshake_is_over() {
    let mut peer = Peer::default();
    peer.feed(From::Client, &SSL_REQUEST);
    assert_eq!((&peer.to_client[..], asked_for_tls(&peer)), (&b"S"[..], Some(Handshake::Requested)));
    assert!(!peer.accepts_client());
    peer.feed(From::Client, &startup());
    assert!(peer.to_server.is_empty() && peer.holds(From::Client), "bytes before the handshake are nobody's");
    peer.tell(Input::Encrypted(None));
    assert!(peer.accepts_client() && peer.ended.is_none());
}

#[test]
fn requests_for_encryption_come_in_any_order_and_each_once() {
    let said = |packets: &[&[u8]]| {
        let mut peer = Peer::default();
        for packet in packets {
            peer.feed(From::Client, packet);
        }
        (String::from_utf8_lossy(&peer.to_client).into_owned(), peer.ended)
    };
    assert_eq!(said(&[&GSS_REQUEST, &SSL_REQUEST]), ("NS".to_owned(), None));
    assert_eq!(said(&[&SSL_REQUEST]), ("S".to_owned(), None));
    let (answers, ended) = said(&[&GSS_REQUEST, &GSS_REQUEST]);
    assert!(answers == "N" && ended.is_some(), "{answers} {ended:?}");
    let mut without = Peer::with_tls(ClientTls::Off);
    for packet in [&SSL_REQUEST, &GSS_REQUEST] {
        without.feed(From::Client, packet);
    }
    let mut twice = Peer::with_tls(ClientTls::Off);
    twice.feed(From::Client, &SSL_REQUEST);
    twice.feed(From::Client, &SSL_REQUEST);
    assert!(twice.ended.is_some() && twice.to_client == b"N");
    without.feed(From::Client, &startup());
    assert_eq!((&without.to_client[..], asked_for_tls(&without)), (&b"NN"[..], None));
    assert_eq!((without.to_server, without.ended), (startup(), None));
}

#[test]
fn bytes_behind_a_request_kill_the_connection_and_reach_nobody() {
    for request in [&SSL_REQUEST, &GSS_REQUEST] {
        for injected in [&startup()[..], &cancel(), &CLIENT_HELLO, b"\0"] {
            for policy in [ClientTls::Off, ClientTls::Offer, ClientTls::Require] {
                let mut peer = Peer::with_tls(policy);
                peer.feed(From::Client, &[&request[..], injected].concat());
                assert!(peer.ended.is_some(), "{request:?} {injected:?}");
                assert!(peer.to_server.is_empty() && peer.wants.is_empty() && peer.to_client.is_empty());
            }
        }
    }
}

#[test]
fn a_tls_record_opens_a_connection_only_as_its_first_byte() {
    let mut peer = Peer::default();
    peer.feed(From::Client, &CLIENT_HELLO[..1]);
    assert_eq!(asked_for_tls(&peer), Some(Handshake::Direct));
    assert!(!peer.holds(From::Client), "the handshake has it");
    peer.feed(From::Client, &startup());
    assert!(peer.to_server.is_empty());

    let mut without = Peer::with_tls(ClientTls::Off);
    without.feed(From::Client, &CLIENT_HELLO);
    assert!(without.ended.is_some() && without.wants.is_empty());
    let mut late = Peer::default();
    late.feed(From::Client, &GSS_REQUEST);
    late.feed(From::Client, &CLIENT_HELLO);
    assert!(late.ended.is_some() && late.wants.is_empty());
    let mut inside = encrypted();
    inside.feed(From::Client, &CLIENT_HELLO);
    assert!(inside.ended.is_some() && inside.wants.len() == 1, "TLS inside TLS");
}

#[test]
fn inside_tls_comes_a_login_or_a_cancel_request_and_no_other_request() {
    let mut login = encrypted();
    login.feed(From::Client, &startup());
    assert_eq!((login.to_server, login.ended), (startup(), None));

    let mut cancelled = encrypted();
    cancelled.feed(From::Client, &cancel());
    let CancelKey { pid, key } = CancelKey { pid: 7, key: b"key!".to_vec() };
    assert_eq!(cancelled.wants.last(), Some(&Want::Cancel { pid, key }));
    assert_eq!(cancelled.ended.as_deref(), Some("finished"));

    for request in [&SSL_REQUEST, &GSS_REQUEST] {
        let mut again = encrypted();
        again.feed(From::Client, request);
        assert!(again.ended.as_ref().is_some_and(|ended| ended.contains("encrypted already")));
        assert!(contains(&again.to_client, "08P01") && again.to_server.is_empty());
    }
}

#[test]
fn who_has_to_encrypt_and_does_not_is_told_and_may_still_cancel() {
    let mut plain = Peer::with_tls(ClientTls::Require);
    plain.feed(From::Client, &startup());
    assert!(plain.ended.is_some() && plain.to_server.is_empty());
    assert!(contains(&plain.to_client, "28000") && contains(&plain.to_client, "sslmode=require"));

    let mut secured = Peer::with_tls(ClientTls::Require);
    secured.feed(From::Client, &SSL_REQUEST);
    secured.tell(Input::Encrypted(None));
    secured.feed(From::Client, &startup());
    assert_eq!((secured.to_server, secured.ended), (startup(), None));

    let mut cancelled = Peer::with_tls(ClientTls::Require);
    cancelled.feed(From::Client, &cancel());
    assert_eq!(cancelled.ended.as_deref(), Some("finished"));
}

#[test]
fn a_server_answers_a_request_with_one_of_two_bytes() {
    for byte in 0..=u8::MAX {
        let expected = match byte {
            b'S' => Ok(Answer::Accepted),
            b'N' => Ok(Answer::Denied),
            _ => Err(DialFault::Handshake),
        };
        assert_eq!(Answer::read(byte), expected);
    }
}

#[test]
fn a_failed_dial_is_told_with_what_the_operator_can_do() {
    for (fault, state, words) in [
        (DialFault::Changed, "08006", "pins forget"),
        (DialFault::Downgraded, "08006", "pins forget"),
        (DialFault::Handshake, "08006", "could not be agreed on"),
        (DialFault::Unencrypted, "08006", "requires"),
        (DialFault::Unknown, "08004", "unknown_upstreams"),
        (DialFault::Unreachable, "08001", "cannot be reached"),
        (DialFault::Untrusted, "08006", "trusts"),
    ] {
        let mut peer = encrypted();
        peer.feed(From::Client, &startup());
        peer.tell(Input::DialFailed(fault));
        assert!(contains(&peer.to_client, state) && contains(&peer.to_client, words), "{fault:?}");
        assert!(peer.ended.is_some_and(|ended| ended.starts_with("database: ")));
        let alerts = peer.events.iter().filter(|event| matches!(event, Event::Distrusted { .. })).count();
        let expected = matches!(fault, DialFault::Changed | DialFault::Downgraded);
        assert_eq!(alerts == 1, expected, "{fault:?}");
    }
}

/// What a client's password becomes, on a connection that can be bound or cannot, for a server that offers these.
fn answer(binding: Option<ChannelBinding>, offered: &str) -> Vec<u8> {
    let mut peer = Peer::default();
    peer.feed(From::Client, &startup());
    peer.tell(Input::Connected(binding));
    peer.to_server.clear();
    peer.feed(From::Server, &message(b'R', &[&[0, 0, 0, 10], offered.as_bytes()].concat()));
    peer.feed(From::Client, &message(b'p', b"secret\0"));
    peer.to_server
}

#[test]
fn a_login_is_bound_to_the_certificate_where_the_server_offers_it() {
    let bound = || Some(ChannelBinding(vec![1; 32]));
    let both = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let answered = text(&answer(bound(), both));
    assert!(answered.contains("SCRAM-SHA-256-PLUS\0") && answered.contains("p=tls-server-end-point"));
    let answered = text(&answer(bound(), "SCRAM-SHA-256\0\0"));
    assert!(
        answered.contains("SCRAM-SHA-256\0") && answered.contains("y,,"),
        "the offer may have been taken away"
    );
    let answered = text(&answer(None, both));
    assert!(answered.contains("SCRAM-SHA-256\0") && answered.contains("n,,"));
    assert!(answer(None, "SCRAM-SHA-256-PLUS\0\0").is_empty());
}

//! Whose password is proved to a server: the client's, or one that the host holds.

mod peer;

use mask_core::{
    audit::Event,
    protocol::postgres::ClientTls,
    session::{Disclosure, Input},
};
use peer::{From, HELD, Host, Peer, contains, frames, login, message, startup};

const INJECT: Host = Host { user: None, disclosure: Disclosure::Proof, has_placeholder: false };
const SCRAM: Host = Host { has_placeholder: true, ..INJECT };

fn peer(host: Host) -> Peer {
    Peer::with(ClientTls::default(), Box::new(host))
}

fn request(kind: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes()[..], rest].concat())
}

fn sasl() -> Vec<u8> {
    request(10, b"SCRAM-SHA-256\0\0")
}

fn packet(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for (key, value) in pairs {
        body.extend_from_slice(format!("{key}\0{value}\0").as_bytes());
    }
    body.push(0);
    [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
}

#[test]
fn a_client_is_asked_for_nothing_where_the_host_holds_the_password() {
    for asked in [sasl(), request(5, b"salt")] {
        let mut peer = peer(INJECT);
        peer.feed(From::Client, &startup());
        assert_eq!(peer.to_server, startup());
        peer.to_server.clear();
        peer.feed(From::Server, &asked);
        assert!(peer.to_client.is_empty() && peer.to_server.starts_with(b"p"), "{:?}", peer.ended);
        if asked == sasl() {
            peer.feed(From::Server, &request(11, b"first"));
            peer.feed(From::Server, &request(12, b"final"));
        }
        peer.feed(From::Server, &login()[1].1);
        assert_eq!(frames(&peer.to_client)[0], (b'R', vec![0; 4]));
        let credential = peer.events.iter().find_map(|event| match event {
            Event::Authenticated { user, client_user, credential, .. } => {
                Some((user.clone(), client_user.clone(), credential.clone()))
            }
            _ => None,
        });
        assert_eq!(credential, Some(("postgres".to_owned(), None, Some("file /etc/x".to_owned()))));
    }
}

#[test]
fn the_password_itself_is_for_servers_that_are_verified() {
    let mut unsure = peer(INJECT);
    unsure.feed(From::Client, &startup());
    unsure.to_server.clear();
    unsure.feed(From::Server, &request(3, b""));
    assert!(unsure.to_server.is_empty() && unsure.ended.is_some());
    assert!(contains(&unsure.to_client, "verify-full") && !contains(&unsure.to_client, HELD));

    let mut sure = peer(Host { disclosure: Disclosure::Clear, ..INJECT });
    sure.feed(From::Client, &startup());
    sure.to_server.clear();
    sure.feed(From::Server, &request(3, b""));
    assert_eq!((sure.to_server, sure.ended), (message(b'p', format!("{HELD}\0").as_bytes()), None));
}

#[test]
fn another_role_is_named_to_the_server_in_the_database_the_client_meant() {
    for (sent, expected) in [
        (
            packet(&[("user", "agent"), ("application_name", "x"), ("database", "shop")]),
            packet(&[("user", "reader"), ("database", "shop"), ("application_name", "x")]),
        ),
        (packet(&[("user", "agent")]), packet(&[("user", "reader"), ("database", "agent")])),
        // The last of several counts, as for the server.
        (
            packet(&[("user", "a"), ("user", "agent"), ("options", "-c x=y")]),
            packet(&[("user", "reader"), ("database", "agent"), ("options", "-c x=y")]),
        ),
    ] {
        let mut peer = peer(Host { user: Some("reader"), ..INJECT });
        peer.feed(From::Client, &sent);
        assert_eq!(peer.to_server, expected);
        peer.feed(From::Server, &login()[1].1);
        let named = peer.events.iter().any(|event| {
            matches!(event, Event::Authenticated { user, client_user: Some(client), .. }
                if user == "reader" && client == "agent")
        });
        assert!(named, "{:?}", peer.events);
    }
}

#[test]
fn a_held_password_that_is_wrong_is_told_by_its_source_and_not_by_itself() {
    let refused = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"postgres\"\0\0";
    let mut held = peer(INJECT);
    held.feed(From::Client, &startup());
    held.feed(From::Server, &sasl());
    held.feed(From::Server, &message(b'E', refused));
    assert!(contains(&held.to_client, "file /etc/x") && contains(&held.to_client, "28000"));
    assert!(!contains(&held.to_client, HELD) && !contains(&held.to_client, "28P01"));
    let ended = held.ended.unwrap_or_default();
    assert!(ended.contains("file /etc/x") && !ended.contains(HELD), "{ended}");

    // Who may not come from here at all is told so by the server, whose words are about that.
    let mut early = peer(INJECT);
    early.feed(From::Client, &startup());
    early.feed(From::Server, &message(b'E', b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry\0\0"));
    assert!(contains(&early.to_client, "no pg_hba.conf entry") && early.ended.is_none());
}

#[test]
fn who_may_not_use_the_login_never_reaches_the_server() {
    let mut peer = peer(INJECT);
    peer.feed(From::Client, &packet(&[("user", "stranger")]));
    assert!(peer.to_server.is_empty() && peer.ended.is_some());
    assert!(contains(&peer.to_client, "28000") && contains(&peer.to_client, "stranger"));
}

#[test]
fn nothing_of_the_server_reaches_a_client_before_it_has_proved_the_placeholder() {
    for asked in [sasl(), request(5, b"salt"), login()[1].1.clone()] {
        let mut peer = peer(SCRAM);
        peer.feed(From::Client, &startup());
        peer.to_server.clear();
        peer.feed(From::Server, &asked);
        assert_eq!(peer.to_client, sasl(), "it is offered what a server offers");
        assert!(peer.to_server.is_empty() && peer.ended.is_none());
        let first = b"n,,n=,r=own";
        let length = u32::try_from(first.len()).unwrap().to_be_bytes();
        peer.feed(From::Client, &message(b'p', &[b"SCRAM-SHA-256\0", &length[..], first].concat()));
        assert_eq!(frames(&peer.to_client)[1].1[..4], [0, 0, 0, 11]);
        let challenge = String::from_utf8(frames(&peer.to_client)[1].1[4..].to_vec()).unwrap();
        let nonce = challenge.split(',').next().unwrap();
        peer.feed(From::Client, &message(b'p', format!("c=biws,{nonce},p={}=", "A".repeat(43)).as_bytes()));
        assert!(peer.to_server.is_empty() && peer.ended.is_some());
        let refusal = frames(&peer.to_client).pop().unwrap();
        assert!(contains(&refusal.1, "C28P01") && contains(&refusal.1, "failed for user \"postgres\""));
        assert!(!contains(&peer.to_client, "server_version") && !contains(&peer.to_client, "mask-agent"));
        assert!(!peer.events.iter().any(|event| matches!(event, Event::Authenticated { .. })));
    }
}

#[test]
fn a_client_inside_tls_is_offered_to_bind_its_login() {
    let mut peer = peer(SCRAM);
    peer.feed(From::Client, &mask_core::protocol::postgres::SSL_REQUEST);
    peer.tell(Input::Encrypted(Some(mask_core::session::ChannelBinding(vec![1; 32]))));
    peer.to_client.clear();
    peer.feed(From::Client, &startup());
    peer.feed(From::Server, &sasl());
    assert_eq!(peer.to_client, request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
}

#[test]
fn a_server_that_skips_its_own_proof_is_not_believed() {
    let mut peer = Peer::default();
    peer.feed(From::Client, &startup());
    peer.feed(From::Server, &sasl());
    peer.feed(From::Client, &message(b'p', b"secret\0"));
    peer.feed(From::Server, &login()[1].1);
    assert!(peer.ended.is_some() && contains(&peer.to_client, "has not proved"));
    assert!(!contains(&peer.to_client, "server_version"));
}

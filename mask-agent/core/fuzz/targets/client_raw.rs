//! Any bytes from a client, before, in and after login: no panic, and the same wherever they are cut.
#![no_main]

#[path = "../../tests/peer/mod.rs"]
mod peer;

use libfuzzer_sys::fuzz_target;
use mask_core::protocol::detect::{Detected, Detector};
use peer::{From, Peer};

fn detect(parts: &[&[u8]]) -> Detected {
    let mut detector = Detector::default();
    let mut detected = Detected::More(0);
    for part in parts {
        if matches!(detected, Detected::More(_)) {
            detected = detector.feed(part);
        }
    }
    detected
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (phase, cut, bytes) = input;
    let opening = phase % 3 == 1;
    let start = || match phase % 3 {
        0 => Peer::ready(),
        1 => Peer::default(),
        _ => Peer::proving(),
    };
    let mut whole = start();
    whole.feed(From::Client, bytes);
    let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let mut parts = start();
    parts.feed(From::Client, head);
    // What comes next came inside TLS.
    parts.shake_hands();
    parts.feed(From::Client, tail);
    if opening {
        let detected = detect(&[bytes]);
        assert_eq!(detected, detect(&[head, tail]));
        assert!(whole.to_server.is_empty() || detected == Detected::Postgres);
    }
    // Bytes behind a request for encryption are an injection when they come with it, and no answer came between.
    if !opening {
        assert_eq!(whole.to_server, parts.to_server);
        assert_eq!(whole.to_client, parts.to_client);
        assert_eq!(whole.ended, parts.ended);
    }
});

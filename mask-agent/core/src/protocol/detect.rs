//! What a connection is for, by the first bytes its client says.
//!
//! Nothing that a server takes for its database's protocol may be called something else here, for then it is relayed and
//! nobody looks at it. So what counts is what servers read, not what clients write: they read more. What is theirs and
//! no session's is called theirs, and the session refuses it.
//!
//! Neither may anything else wait for ever because it begins alike. What only may come in front of a database's
//! protocol, and is none of it, is passed on while what follows is still looked at:
//!
//! ```text
//! Opening ──PROXY header──▶ Opening     by which one proxy tells the next who is calling
//!    │
//!    ├─ClientHello without `postgresql`──▶ Retry ──the same again, with it──▶ PostgreSQL
//!    │                                       └──anything else──▶ other
//!    └─start-up packet, ClientHello with `postgresql`──▶ PostgreSQL
//! ```

use super::{
    hello::{self, Hello},
    postgres,
};

/// More than any client says before it is certain what it says. OpenSSL reads longer ones; they are refused.
const UNDECIDED_BYTES_MAX: usize = 32 << 10;
/// What a server that asks for another `ClientHello` skips in front of it: early data, 16 KiB by OpenSSL's default.
const RETRY_BYTES_MAX: usize = 64 << 10;
/// The longest text header: what the specification of the PROXY protocol has readers make room for.
const PROXY_TEXT_BYTES_MAX: usize = 107;
const PROXY_TEXT: &[u8] = b"PROXY ";
const PROXY_BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a client has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// It may become a database's protocol. So many bytes of all may be passed on: what follows decides.
    More(usize),
    /// It is no database's protocol that is known here.
    Other,
    /// It is `PostgreSQL`'s, or nothing that a server would answer but by an error.
    Postgres,
    /// It is `PostgreSQL`'s behind something that no session reads.
    PostgresBehind,
}

/// Looks at what a client says until it is certain.
#[derive(Debug, Default)]
pub struct Detector {
    /// What was said and not decided on.
    seen: Vec<u8>,
    /// How much was said before it.
    passed: usize,
    /// Bytes to come of a record that is no handshake's.
    skipped: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Opening,
    /// The server may ask for another `ClientHello`, which need not name what the first one did.
    Retry,
}

impl Detector {
    /// Takes what was said next. Once it is certain, it is not to be asked again.
    pub fn feed(&mut self, bytes: &[u8]) -> Detected {
        self.seen.extend_from_slice(bytes);
        loop {
            let decided = match self.stage {
                Stage::Opening => self.open(),
                Stage::Retry => self.retry(),
            };
            match decided {
                Some(Detected::More(_)) if self.seen.len() > UNDECIDED_BYTES_MAX => return self.postgres(),
                Some(decided) => return decided,
                None => {}
            }
        }
    }

    /// One step; none where another has to follow.
    fn open(&mut self) -> Option<Detected> {
        match proxy_header(&self.seen) {
            Header::Complete(length) => {
                self.pass(length);
                return None;
            }
            Header::Incomplete => return Some(Detected::More(self.passed + self.seen.len())),
            Header::None => {}
        }
        if self.seen.first() == Some(&hello::HANDSHAKE) {
            return self.hello();
        }
        Some(match postgres::opens(&self.seen) {
            None => Detected::More(self.passed),
            Some(true) => self.postgres(),
            Some(false) => Detected::Other,
        })
    }

    fn hello(&mut self) -> Option<Detected> {
        match hello::read(&self.seen) {
            Hello::Incomplete => Some(Detected::More(self.passed)),
            Hello::Malformed | Hello::Named => Some(self.postgres()),
            // Only version 1.3 has a second one, and that is the last.
            Hello::Other { may_retry: true, length } if self.stage == Stage::Opening => {
                self.pass(length);
                self.stage = Stage::Retry;
                None
            }
            Hello::None | Hello::Other { .. } => Some(Detected::Other),
        }
    }

    fn retry(&mut self) -> Option<Detected> {
        let skipped = self.skipped.min(self.seen.len());
        self.skipped -= skipped;
        self.pass(skipped);
        if self.passed > RETRY_BYTES_MAX {
            return Some(Detected::Other);
        }
        let Some((head, body)) = self.seen.split_first_chunk() else {
            return Some(Detected::More(self.passed));
        };
        let (kind, length) = hello::record(*head);
        if kind == hello::HANDSHAKE && length > 0 {
            let part = &body[..body.len().min(length)];
            return match hello::opens(part) {
                Some(false) => Some(Detected::Other),
                None if part.len() < length => Some(Detected::More(self.passed)),
                // What is too short to tell goes on in the next record.
                None | Some(true) => self.hello(),
            };
        }
        self.skipped = head.len() + length;
        None
    }

    fn postgres(&self) -> Detected {
        if self.passed == 0 { Detected::Postgres } else { Detected::PostgresBehind }
    }

    fn pass(&mut self, count: usize) {
        self.seen.drain(..count);
        self.passed += count;
    }
}

/// A header of the PROXY protocol (`proxy-protocol.txt` of `HAProxy`).
enum Header {
    Complete(usize),
    Incomplete,
    None,
}

fn proxy_header(bytes: &[u8]) -> Header {
    let begins = |mark: &[u8]| bytes.iter().zip(mark).all(|(byte, mark)| byte == mark);
    if bytes.is_empty() {
        return Header::None;
    }
    if begins(PROXY_TEXT) {
        let text = &bytes[..bytes.len().min(PROXY_TEXT_BYTES_MAX)];
        return match text.windows(2).position(|pair| pair == b"\r\n") {
            Some(end) => Header::Complete(end + 2),
            None if text.len() < PROXY_TEXT_BYTES_MAX => Header::Incomplete,
            None => Header::None,
        };
    }
    if begins(PROXY_BINARY) {
        let Some([a, b]) = bytes.get(14..16) else { return Header::Incomplete };
        let length = 16 + usize::from(u16::from_be_bytes([*a, *b]));
        return if bytes.len() < length { Header::Incomplete } else { Header::Complete(length) };
    }
    Header::None
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;

//! What a client of TLS says first, as far as it tells what it wants inside.
//!
//! A server puts the message together from records (RFC 8446, 5.1), so it is put together here: a name may be cut at
//! any byte. Between its parts OpenSSL takes alerts.

/// The kind of records that hold a handshake's messages.
pub(super) const HANDSHAKE: u8 = 22;
/// Kinds of records that may stand between: `change_cipher_spec` and `alert`.
const SKIPPED: [u8; 2] = [20, 21];
const CLIENT_HELLO: u8 = 1;
/// A record with what its encryption may add (RFC 5246, 6.2.3).
const RECORD_BYTES_MAX: usize = (16 << 10) + 2048;
/// What OpenSSL reads at most; shorter than what three bytes can say, so the first two tell something.
const MESSAGE_BYTES_MAX: usize = 131_396;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS13: [u8; 2] = [3, 4];
/// What PostgreSQL's protocol is called inside TLS.
const POSTGRES: &[u8] = b"postgresql";

/// What first bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// It is not all here.
    Incomplete,
    /// A server would not read on either.
    Malformed,
    /// It offers to speak `PostgreSQL`.
    Named,
    /// It is no TLS.
    None,
    /// It does not; `length` is that of its records.
    Other {
        /// It offers the version in which a server may ask for another one.
        may_retry: bool,
        /// How many bytes it took.
        length: usize,
    },
}

/// Kind and length of a record by its head.
pub(super) fn record(head: [u8; 5]) -> (u8, usize) {
    (head[0], usize::from(u16::from_be_bytes([head[3], head[4]])))
}

/// Whether a handshake's message may be a `ClientHello`; none while it is too short to tell. One that is encrypted
/// begins by chance, so all is looked at that cannot be otherwise: its kind, its length, that it has a version from 3 on.
pub(super) fn opens(message: &[u8]) -> Option<bool> {
    let (kind, rest) = message.split_first()?;
    if *kind != CLIENT_HELLO {
        return Some(false);
    }
    let [a, b, c, version, ..] = *rest else { return None };
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    Some(length <= MESSAGE_BYTES_MAX && version >= 3)
}

/// Reads the `ClientHello` that begins here.
pub(super) fn read(bytes: &[u8]) -> Hello {
    let mut message = Vec::new();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        // Every server looks at the first two bytes of a record.
        match rest {
            [] | [HANDSHAKE] => return Hello::Incomplete,
            [HANDSHAKE, 3, ..] => {}
            [kind, ..] if at > 0 && SKIPPED.contains(kind) => {}
            _ if at == 0 => return Hello::None,
            _ => return Hello::Malformed,
        }
        let Some((head, body)) = rest.split_first_chunk() else { return Hello::Incomplete };
        let (kind, length) = record(*head);
        if length > RECORD_BYTES_MAX {
            return Hello::Malformed;
        }
        let part = &body[..body.len().min(length)];
        if kind == HANDSHAKE {
            message.extend_from_slice(part);
        }
        if let Some((&[kind, a, b, c], hello)) = message.split_first_chunk() {
            let expected = u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != CLIENT_HELLO || expected > MESSAGE_BYTES_MAX {
                return Hello::Malformed;
            }
            if hello.len() >= expected {
                // Another message in the same record would be read as well.
                let ends = hello.len() == expected && part.len() == length;
                return wanted(hello).filter(|_| ends).map_or(Hello::Malformed, |(is_named, may_retry)| {
                    let length = at + head.len() + length;
                    if is_named { Hello::Named } else { Hello::Other { may_retry, length } }
                });
            }
        }
        if part.len() < length {
            return Hello::Incomplete;
        }
        at += head.len() + length;
    }
}

/// Whether `PostgreSQL` is offered, and whether version 1.3 is; none where it is malformed (RFC 8446, 4.1.2).
fn wanted(hello: &[u8]) -> Option<(bool, bool)> {
    let mut hello = Fields(hello);
    // Version and random, session, ciphers, compression.
    hello.bytes(2 + 32)?;
    hello.short()?;
    hello.long()?;
    hello.short()?;
    let (mut is_named, mut may_retry) = (false, false);
    if hello.0.is_empty() {
        return Some((is_named, may_retry));
    }
    let mut extensions = Fields(hello.long()?);
    while !extensions.0.is_empty() {
        let kind = extensions.int16()?;
        let body = extensions.long()?;
        match kind {
            ALPN => {
                let mut names = Fields(Fields(body).long()?);
                while !names.0.is_empty() {
                    is_named |= names.short()? == POSTGRES;
                }
            }
            SUPPORTED_VERSIONS => may_retry |= Fields(body).short()?.as_chunks().0.contains(&TLS13),
            _ => {}
        }
    }
    hello.0.is_empty().then_some((is_named, may_retry))
}

/// Reads fields; every read is checked against the end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn int16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    /// What has its length in one byte before it.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.bytes(1)?[0];
        self.bytes(length.into())
    }

    /// What has its length in two.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.int16()?;
        self.bytes(length.into())
    }
}

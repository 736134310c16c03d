//! Start-up packets: the only messages without a type byte.

use super::frame::{Fields, put_string};

/// PostgreSQL itself refuses longer start-up packets (`MAX_STARTUP_PACKET_LENGTH`).
const STARTUP_BYTES_MAX: usize = 10_000;

const CANCEL_CODE: u32 = 80_877_102;
pub(super) const SSL_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;

/// What a client may open with.
pub(super) enum Packet<'a> {
    Cancel { pid: u32, key: &'a [u8] },
    Gss,
    Ssl,
    Startup(Startup),
}

/// A start-up message; the raw packet is forwarded, these are the parts we need ourselves.
pub(super) struct Startup {
    pub(super) minor: u16,
    pub(super) user: Vec<u8>,
    pub(super) database: Vec<u8>,
    pub(super) replication: bool,
    /// It may set a search path.
    pub(super) has_path: bool,
    pub(super) client_encoding: Option<Vec<u8>>,
    /// The settings it asks for, each with its value.
    pub(super) settings: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The packet that starts here and its length, once it is complete.
pub(super) fn packet(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, &'static str> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err("start-up packet length is out of range");
    }
    let Some(body) = rest.get(..length - 4) else { return Ok(None) };
    let mut fields = Fields::new(body);
    let code = fields.oid().ok_or("start-up packet is cut")?;
    let packet = match code {
        SSL_CODE | GSS_CODE if !fields.is_empty() => return Err("encryption request has a body"),
        SSL_CODE => Packet::Ssl,
        GSS_CODE => Packet::Gss,
        CANCEL_CODE => cancel(fields)?,
        version if version >> 16 == 3 => Packet::Startup(startup(version as u16, fields)?),
        _ => return Err("protocol version is not 3"),
    };
    Ok(Some((packet, length)))
}

/// Whether a server would read first bytes as a start-up packet; none while more have to be seen.
///
/// That is more than [`packet`] reads: servers up to version 13 speak protocol 2, all of them read requests for
/// encryption with a body, packets a little longer than ours, and start-up messages whose last byte is no NUL. It is
/// less where a server would only answer with an error, because other protocols begin so: Kafka's third request is
/// `[length] 00 03`.
pub(in crate::protocol) fn opens(bytes: &[u8]) -> Option<bool> {
    /// Of protocol 2: length, version, and the database's name in 64 bytes stand before the user's.
    const USER_AT: usize = 4 + 4 + 64;
    let [a, b, rest @ ..] = bytes else { return bytes.iter().any(|byte| *byte != 0).then_some(false) };
    if [*a, *b] != [0, 0] {
        return Some(false);
    }
    let (&[c, d], rest) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([c, d]));
    // The server's limit is that of what follows the length.
    if !(8..=STARTUP_BYTES_MAX + 4).contains(&length) {
        return Some(false);
    }
    let named_at = match rest {
        [4, 0xd2, ..] => return Some(true),
        [] | [0 | 4] => return None,
        [0, 3, ..] => 8,
        [0, 2, ..] => USER_AT,
        _ => return Some(false),
    };
    // The first name, or the user's, is missing: a server ends with an error whatever follows.
    if length <= named_at { Some(false) } else { bytes.get(named_at).map(|byte| *byte != 0) }
}

/// The same start-up packet for another user, in the database that the one before would have been in.
pub(super) fn renamed(packet: &[u8], user: &str, database: &str) -> Vec<u8> {
    let (version, parameters) = packet.get(4..).and_then(|rest| rest.split_at_checked(4)).unwrap_or_default();
    let mut body = version.to_vec();
    for (key, value) in [(&b"user"[..], user), (b"database", database)] {
        put_string(&mut body, key);
        put_string(&mut body, value.as_bytes());
    }
    let mut fields = Fields::new(parameters);
    while let Some(key) = fields.string().filter(|key| !key.is_empty()) {
        let Some(value) = fields.string() else { break };
        if !matches!(key, b"user" | b"database") {
            put_string(&mut body, key);
            put_string(&mut body, value);
        }
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

fn cancel(mut fields: Fields<'_>) -> Result<Packet<'_>, &'static str> {
    let pid = fields.oid().ok_or("cancel request is cut")?;
    let key = fields.rest();
    // Protocol 3.2: 4 to 256 bytes.
    if !(4..=256).contains(&key.len()) {
        return Err("cancel key length is out of range");
    }
    Ok(Packet::Cancel { pid, key })
}

fn startup(minor: u16, mut fields: Fields<'_>) -> Result<Startup, &'static str> {
    let mut startup = Startup {
        minor,
        user: Vec::new(),
        database: Vec::new(),
        replication: false,
        has_path: false,
        client_encoding: None,
        settings: Vec::new(),
    };
    loop {
        let key = fields.string().ok_or("start-up packet has no terminator")?;
        if key.is_empty() {
            break;
        }
        let value = fields.string().ok_or("start-up parameter has no value")?;
        if !matches!(key, b"user" | b"database" | b"replication") {
            startup.settings.push((key.to_vec(), value.to_vec()));
        }
        match key {
            b"user" => startup.user = value.to_vec(),
            b"database" => startup.database = value.to_vec(),
            b"replication" => {
                startup.replication = !matches!(value, b"false" | b"off" | b"no" | b"0" | b"f" | b"n");
            }
            b"options" | b"search_path" => startup.has_path = true,
            b"client_encoding" => startup.client_encoding = Some(value.to_vec()),
            _ => {}
        }
    }
    if !fields.is_empty() {
        return Err("start-up packet has bytes behind its terminator");
    }
    if startup.user.is_empty() {
        return Err("start-up packet names no user");
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    Ok(startup)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_a_packet_here_opens_a_connection_from_its_first_byte(
            code in prop_oneof![Just(196_608), Just(196_610), Just(CANCEL_CODE), Just(SSL_CODE), Just(GSS_CODE), any::<u32>()],
            mut body in prop::collection::vec(prop_oneof![Just(0), Just(b'u'), any::<u8>()], 0..30),
            named in any::<bool>(),
        ) {
            if named {
                body = [b"user\0u\0", &body[..]].concat();
            }
            let length = u32::try_from(body.len() + 8).unwrap();
            let bytes = [&length.to_be_bytes()[..], &code.to_be_bytes(), &body].concat();
            let is_packet = packet(&bytes).is_ok_and(|packet| packet.is_some());
            prop_assert!(!is_packet || opens(&bytes) == Some(true));
            // It stays what it was said to be.
            let mut last = None;
            for end in 0..=bytes.len() {
                let now = opens(&bytes[..end]);
                prop_assert!(last.is_none() || last == now, "{end}: {last:?} {now:?}");
                last = now;
            }
        }
    }
}

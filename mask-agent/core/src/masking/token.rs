//! Tokens: `mskt_` and base32, so that everybody sees what they are.
//!
//! ```text
//! mskt_ + 16 characters                                  80 bits of HMAC-SHA-256; 8 at least in a narrow column
//! mskt_ + base32(version of the key, AES-SIV(value))     28 characters at least; can be turned back
//! ```

use super::{ColumnRule, Format, KeyRing, MaskKey, MaskKind, TextForm, array, kind::contains, redact::Width};

/// How every token begins.
pub const TOKEN_PREFIX: &str = "mskt_";
pub(super) const PREFIX: &str = TOKEN_PREFIX;
/// Characters of a token's body: 80 bits do not collide.
pub(super) const BODY_CHARACTERS: usize = 16;
/// In columns of fewer characters a token would soon stand for two values.
pub(super) const BODY_CHARACTERS_MIN: usize = 8;
/// Nobody sends a longer token back, and a frame should not grow much.
const REVERSIBLE_BYTES_MAX: usize = 1_024;

const VERSION_BYTES: usize = 2;
const TAG_BYTES: usize = 16;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Tries for a token that does not contain its value; only values of a few characters need a second.
const ROUNDS_MAX: u8 = 8;

/// Appends a token that cannot be turned back, and what stands behind it; false where there is no room.
pub(super) fn write(
    key: &MaskKey,
    scope: &str,
    text: &str,
    ends: [&str; 2],
    width: &Width,
    out: &mut Vec<u8>,
) -> bool {
    let room = width.characters.min(width.bytes).saturating_sub(ends[0].len() + ends[1].len());
    if room < BODY_CHARACTERS_MIN {
        return false;
    }
    let start = out.len();
    for round in 0..ROUNDS_MAX {
        out.truncate(start);
        out.extend_from_slice(ends[0].as_bytes());
        let body = out.len();
        encode(&key.token(scope, round, text.as_bytes())[..BODY_CHARACTERS * 5 / 8], out);
        out.truncate(body + room.min(BODY_CHARACTERS));
        out.extend_from_slice(ends[1].as_bytes());
        if !contains(&out[start..], text.as_bytes()) {
            return true;
        }
    }
    false
}

/// Appends a token that can be turned back; false where there is no room, and nothing is appended.
pub(super) fn seal(key: &MaskKey, scope: &str, text: &str, width: &Width, out: &mut Vec<u8>) -> bool {
    let sealed = VERSION_BYTES + TAG_BYTES + text.len();
    let characters = PREFIX.len() + (sealed * 8).div_ceil(5);
    if text.len() > REVERSIBLE_BYTES_MAX || characters > width.characters.min(width.bytes) {
        return false;
    }
    let start = out.len();
    out.extend_from_slice(PREFIX.as_bytes());
    // What is sealed stands behind where its text will be, for there is no other place to put it.
    out.resize(start + characters, 0);
    out.extend_from_slice(&key.version().to_be_bytes());
    out.extend_from_slice(&[0; TAG_BYTES]);
    out.extend_from_slice(text.as_bytes());
    let (shown, raw) = out[start..].split_at_mut(characters);
    let (tag, value) = raw[VERSION_BYTES..].split_at_mut(TAG_BYTES);
    // It refuses more header parts than anybody has, and nothing else.
    let Ok(siv) = key.siv().encrypt_inout_detached([scope], value.into()) else {
        out.truncate(start);
        return false;
    };
    tag.copy_from_slice(&siv);
    write_base32(raw, &mut shown[PREFIX.len()..]);
    out.truncate(start + characters);
    if contains(&out[start..], text.as_bytes()) {
        out.truncate(start);
        return false;
    }
    true
}

/// The value a reversible token of a rule stands for; none where it is no such token, is one of another scope, or
/// is of a key that is not kept.
pub(super) fn unmask_token(keys: &KeyRing, rule: &ColumnRule, text: &str) -> Option<String> {
    let MaskKind::Token { reversible: true, .. } = &*rule.mask else { return None };
    let body = text.trim_end_matches(' ').strip_prefix(PREFIX)?;
    let mut raw = decode(body)?;
    let (version, sealed) = raw.split_first_chunk_mut::<VERSION_BYTES>()?;
    let (tag, value) = sealed.split_first_chunk_mut::<TAG_BYTES>()?;
    let key = keys.version(u16::from_be_bytes(*version))?;
    key.siv().decrypt_inout_detached([rule.scope()], (&mut *value).into(), &(*tag).into()).ok()?;
    String::from_utf8(value.to_vec()).ok()
}

/// A value in which reversible tokens are turned back: itself, or elements of an array of text; none where there is
/// none.
pub fn turn_back(
    keys: &KeyRing,
    rule: &ColumnRule,
    form: TextForm,
    format: Format,
    value: &[u8],
) -> Option<Vec<u8>> {
    let turned = |value: &[u8]| unmask_token(keys, rule, std::str::from_utf8(value).ok()?);
    match form {
        TextForm::Text => turned(value).map(String::into_bytes),
        TextForm::Array => {
            let (mut out, mut any) = (Vec::with_capacity(value.len()), false);
            let mut element = |element: &[u8], out: &mut Vec<u8>| match turned(element) {
                Some(text) => {
                    any = true;
                    out.extend_from_slice(text.as_bytes());
                }
                None => out.extend_from_slice(element),
            };
            let whole = array::rewrite(format, value, &mut element, &mut out);
            (whole && any).then_some(out)
        }
    }
}

/// Whether a text is a token of either form.
pub(super) fn is_token(text: &str) -> bool {
    let Some(body) = text.strip_prefix(PREFIX) else { return false };
    let short = (BODY_CHARACTERS_MIN..=BODY_CHARACTERS).contains(&body.len()) && is_base32(body);
    short || decode(body).is_some_and(|raw| raw.len() >= VERSION_BYTES + TAG_BYTES)
}

pub(super) fn is_base32(text: &str) -> bool {
    text.bytes().all(|byte| ALPHABET.contains(&byte))
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + (bytes.len() * 8).div_ceil(5), 0);
    write_base32(bytes, &mut out[start..]);
}

/// RFC 4648 in lower case, without padding.
fn write_base32(bytes: &[u8], shown: &mut [u8]) {
    for (bytes, shown) in bytes.chunks(5).zip(shown.chunks_mut(8)) {
        let mut group = [0; 8];
        group[3..3 + bytes.len()].copy_from_slice(bytes);
        let group = u64::from_be_bytes(group);
        for (at, character) in shown.iter_mut().enumerate() {
            *character = ALPHABET[(group >> (35 - 5 * at) & 31) as usize];
        }
    }
}

/// The bytes of a text that `write_base32` could have written, bit for bit.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    for group in text.as_bytes().chunks(8) {
        let mut bits = 0_u64;
        for (at, character) in group.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == character)?;
            bits |= (value as u64) << (35 - 5 * at);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[3..3 + group.len() * 5 / 8]);
    }
    let mut again = Vec::with_capacity(text.len());
    encode(&bytes, &mut again);
    (again == text.as_bytes()).then_some(bytes)
}

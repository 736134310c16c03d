//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677), word for word as PostgreSQL has it.
//!
//! ```text
//! Offered ──client-first──▶ server-first ──client-final──▶ server-final
//! ```
//!
//! Promise: nothing a client can time or read tells a name that is unknown from a password that is wrong.

use std::cmp::Ordering;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};
use stringprep::tables;
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;

use super::error::{PROTOCOL, UNSUPPORTED};
use crate::session::{ChannelBinding, Secret};

/// As PostgreSQL makes verifiers (`SCRAM_SHA_256_DEFAULT_ITERATIONS`).
const ITERATIONS: u32 = 4096;
/// Bytes of a salt, as PostgreSQL makes them.
pub const SALT_BYTES: usize = 16;
/// Bytes of a server's part of the nonce, as PostgreSQL makes it.
pub const NONCE_BYTES: usize = 18;
/// Bytes of a hash.
const KEY_BYTES: usize = 32;
/// Bytes that are hashed at a time, and of a key of HMAC.
const BLOCK_BYTES: usize = 64;

pub(super) const SCRAM: &[u8] = b"SCRAM-SHA-256";
pub(super) const SCRAM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

/// The gs2 header of a message that is bound.
const BOUND_HEADER: &[u8] = b"p=tls-server-end-point,,";
/// `invalid_authorization_specification`.
const AUTHORIZATION: &str = "28000";
/// `invalid_password`.
const PASSWORD: &str = "28P01";

/// What a client's proof is compared with. It is of no use to log in with, and to pretend to be the server.
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    /// Of the client's key, the hash; then the server's key.
    keys: SecretBox<[[u8; KEY_BYTES]; 2]>,
    /// Nobody has the password.
    is_mock: bool,
}

impl Verifier {
    /// Reads one as PostgreSQL writes it: `SCRAM-SHA-256$4096:SALT$STORED:SERVER`.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| <[u8; KEY_BYTES]>::try_from(BASE64.decode(text).ok()?).ok();
        let (stored, server) = (key(stored)?, key(server)?);
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        let iterations = iterations.parse().ok().filter(|count| *count > 0)?;
        let keys = SecretBox::init_with(|| [stored, server]);
        Some(Self { iterations, salt, keys, is_mock: false })
    }

    /// Makes the one of a password.
    pub fn of(password: &Secret, salt: [u8; SALT_BYTES]) -> Self {
        let salted = salted(&prepared(password.expose()), &salt, ITERATIONS);
        let client = mac(&salted, &[b"Client Key"]);
        let server = mac(&salted, &[b"Server Key"]);
        let keys = SecretBox::init_with(|| [Sha256::digest(client).into(), server]);
        Self { iterations: ITERATIONS, salt: salt.to_vec(), keys, is_mock: false }
    }

    /// One that nobody can prove, which looks like another for as long as the secret is the same.
    #[must_use]
    pub fn mock(&self, secret: &[u8], user: &str) -> Self {
        let salt = Self::salt(secret, user)[..].to_vec();
        let keys = SecretBox::init_with(|| [[0; KEY_BYTES]; 2]);
        Self { iterations: self.iterations, salt, keys, is_mock: true }
    }

    /// A salt for a name, the same each time.
    pub fn salt(secret: &[u8], user: &str) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&mac(secret, &[user.as_bytes()])[..SALT_BYTES]);
        salt
    }
}

impl Clone for Verifier {
    fn clone(&self) -> Self {
        let keys = SecretBox::init_with(|| *self.keys.expose_secret());
        Self { iterations: self.iterations, salt: self.salt.clone(), keys, is_mock: self.is_mock }
    }
}

/// What PostgreSQL makes of a password before it hashes it (RFC 4013). One that is no UTF-8, has what is prohibited, or
/// has nothing else, is taken as it is.
///
/// PostgreSQL looks for what is prohibited before it normalizes, and not afterwards as the RFC has it
/// (`pg_saslprep`): an unassigned character that would become another is kept.
fn prepared(password: &[u8]) -> Secret {
    let mapped = |text: &str| -> Vec<char> {
        let spaces = text.chars().map(|c| if tables::non_ascii_space_character(c) { ' ' } else { c });
        spaces.filter(|c| !tables::commonly_mapped_to_nothing(*c)).collect()
    };
    let text = std::str::from_utf8(password).ok().filter(|text| !text.is_ascii());
    let mapped = text.map(mapped).filter(|text| !text.is_empty());
    let mapped = mapped.filter(|text| !text.iter().copied().any(is_prohibited) && is_of_one_direction(text));
    let bytes = mapped.map(|text| text.into_iter().nfkc().collect::<String>().into_bytes());
    Secret::new(bytes.unwrap_or_else(|| password.to_vec()))
}

fn is_prohibited(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// Whether a text that has what is written from right to left has nothing else in it.
fn is_of_one_direction(text: &[char]) -> bool {
    let is_leftward = |c: &char| tables::bidi_r_or_al(*c);
    let ends = [text.first(), text.last()];
    !text.iter().any(is_leftward)
        || ends.into_iter().flatten().all(is_leftward) && !text.iter().any(|c| tables::bidi_l(*c))
}

/// What has the same proof as a password, for whoever prepares it once more and otherwise than PostgreSQL: with a NUL
/// behind it nothing is changed any more, and HMAC fills a key up with zeros anyway, or hashes one that is longer than a
/// block. (One that fills the block is left as it is.)
pub(super) fn key(password: &Secret) -> Secret {
    let prepared = prepared(password.expose());
    let bytes = prepared.expose();
    match bytes.len().cmp(&BLOCK_BYTES) {
        Ordering::Less => Secret::new([bytes, b"\0"].concat()),
        Ordering::Equal => prepared,
        Ordering::Greater => Secret::new([&Sha256::digest(bytes)[..], b"\0"].concat()),
    }
}

fn salted(password: &Secret, salt: &[u8], iterations: u32) -> [u8; KEY_BYTES] {
    let keyed = keyed(password.expose());
    let mut last = finish(keyed.clone(), &[salt, &[0, 0, 0, 1]]);
    let mut sum = last;
    for _ in 1..iterations {
        last = finish(keyed.clone(), &[&last]);
        sum.iter_mut().zip(last).for_each(|(sum, last)| *sum ^= last);
    }
    sum
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC hashes a key that is longer than a block, and pads a shorter one with zeros.
    let mut block = [0; BLOCK_BYTES];
    if key.len() > block.len() {
        block[..KEY_BYTES].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    Hmac::new(&block.into())
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    finish(keyed(key), parts)
}

/// Why a client is not let in, in PostgreSQL's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScramFault {
    /// It bound its login to another certificate: somebody is between.
    Binding,
    /// It takes the offer of binding to be missing.
    BindingUnseen,
    /// It does not speak SCRAM.
    Malformed(&'static str),
    /// It asks for what nobody has.
    Unsupported(&'static str),
    /// It does not know the password, or nobody has that name.
    WrongPassword,
}

impl ScramFault {
    /// The SQLSTATE and the words; the user is the one it wants to be.
    pub(super) fn told(&self, user: &str) -> (&'static str, String) {
        match self {
            Self::Binding => (AUTHORIZATION, "SCRAM channel binding check failed".to_owned()),
            Self::BindingUnseen => (AUTHORIZATION, "SCRAM channel binding negotiation error".to_owned()),
            Self::Malformed(what) => (PROTOCOL, format!("malformed SCRAM message: {what}")),
            Self::Unsupported(what) => {
                (UNSUPPORTED, format!("client requires {what}, which is not supported"))
            }
            Self::WrongPassword => (PASSWORD, format!("password authentication failed for user \"{user}\"")),
        }
    }
}

/// What a client is offered, the best first.
pub(super) fn mechanisms(binding: Option<&ChannelBinding>) -> &'static [&'static [u8]] {
    if binding.is_some() { &[SCRAM_PLUS, SCRAM] } else { &[SCRAM] }
}

/// An exchange after the client's first message.
pub(super) struct Exchange {
    verifier: Verifier,
    /// What the client's last message has to say of binding.
    bound: Vec<u8>,
    /// Whether it is bound to a certificate.
    is_bound: bool,
    nonce: String,
    /// The client's first message without its header, and ours.
    said: String,
}

impl Exchange {
    /// Reads the client's first message and gives it with the answer.
    pub(super) fn begin(
        verifier: Verifier,
        nonce: [u8; NONCE_BYTES],
        binding: Option<&ChannelBinding>,
        mechanism: &[u8],
        message: &[u8],
    ) -> Result<(Self, String), ScramFault> {
        let is_plus = match mechanism {
            SCRAM => false,
            SCRAM_PLUS if binding.is_some() => true,
            _ => return Err(ScramFault::Malformed("the mechanism was not offered")),
        };
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(CUT)?;
        let (authorization, bare) = rest.split_once(',').ok_or(CUT)?;
        if !authorization.is_empty() {
            return Err(ScramFault::Unsupported("an authorization identity"));
        }
        let bound = match (flag, binding) {
            ("y", Some(_)) if !is_plus => return Err(ScramFault::BindingUnseen),
            ("n" | "y", _) if !is_plus => format!("{flag},,").into_bytes(),
            ("p=tls-server-end-point", Some(ChannelBinding(hash))) if is_plus => {
                [BOUND_HEADER, &hash[..]].concat()
            }
            (other, _) if is_plus && other.starts_with("p=") => {
                return Err(ScramFault::Unsupported("another kind of channel binding"));
            }
            _ => return Err(ScramFault::Malformed("what it says of channel binding does not fit")),
        };
        if bare.starts_with("m=") {
            return Err(ScramFault::Unsupported("a SCRAM extension"));
        }
        let mut fields = bare.split(',');
        // The name is the one of the start-up packet; this one is not looked at.
        fields.next().filter(|name| name.starts_with("n=")).ok_or(CUT)?;
        let own = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(CUT)?;
        if own.is_empty() || !own.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramFault::Malformed("the nonce cannot be printed"));
        }
        let nonce = format!("{own}{}", BASE64.encode(nonce));
        let first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let said = format!("{bare},{first}");
        Ok((Self { verifier, bound, is_bound: is_plus, nonce, said }, first))
    }

    /// Reads the client's last message, and proves that we know the password as well.
    pub(super) fn finish(self, message: &[u8]) -> Result<String, ScramFault> {
        let text = text(message)?;
        // The proof is the last field, so that all before it can be signed.
        let (before, proof) = text.rsplit_once(",p=").ok_or(CUT)?;
        let mut fields = before.split(',');
        let bound = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or(CUT)?;
        if bound != BASE64.encode(&self.bound) {
            let fault = ScramFault::Malformed("what it says of channel binding has changed");
            return Err(if self.is_bound { ScramFault::Binding } else { fault });
        }
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(CUT)?;
        if nonce != self.nonce {
            return Err(ScramFault::Malformed("the nonce does not match"));
        }
        let proof = BASE64.decode(proof).ok().and_then(|proof| <[u8; KEY_BYTES]>::try_from(proof).ok());
        let proof = proof.ok_or(ScramFault::Malformed("the proof is no hash"))?;
        let said = [self.said.as_bytes(), b",", before.as_bytes()];
        let [stored, server] = self.verifier.keys.expose_secret();
        let mut key = mac(stored, &said);
        key.iter_mut().zip(proof).for_each(|(key, proof)| *key ^= proof);
        let is_right: bool = Sha256::digest(key).as_slice().ct_eq(stored).into();
        let signature = mac(server, &said);
        if !is_right || self.verifier.is_mock {
            return Err(ScramFault::WrongPassword);
        }
        Ok(format!("v={}", BASE64.encode(signature)))
    }
}

const CUT: ScramFault = ScramFault::Malformed("a field is missing");

fn text(message: &[u8]) -> Result<&str, ScramFault> {
    let text = std::str::from_utf8(message).ok().filter(|text| !text.contains('\0'));
    text.ok_or(ScramFault::Malformed("it is no text"))
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;

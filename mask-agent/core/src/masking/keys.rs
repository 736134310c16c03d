//! Keys of masks, by version: the newest makes masks, the older ones read back the tokens they made.

use std::sync::Arc;

use aes_siv::siv::Aes256Siv;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::ff1::Ff1;

/// The version a key has that is given without one.
const FIRST_VERSION: u16 = 1;

/// One version of the key: values that are equal stay equal, and nobody without the key can try them out.
#[derive(Clone)]
pub struct MaskKey(Arc<Prepared>);

/// What the masks need of a key. Each has a key of its own, so that what one shows says nothing about another.
struct Prepared {
    version: u16,
    hash: Hmac<Sha256>,
    token: Hmac<Sha256>,
    ff1: Ff1,
    siv: [u8; 64],
}

impl MaskKey {
    /// Prepares the only key there is.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self::versioned(FIRST_VERSION, bytes)
    }

    /// Prepares a key of a version.
    pub fn versioned(version: u16, bytes: [u8; 32]) -> Self {
        let hash = hmac(bytes);
        let derived = |purpose: &str| -> [u8; 32] {
            hash.clone().chain_update("mask-agent ").chain_update(purpose).finalize().into_bytes().into()
        };
        let mut siv = [0; 64];
        siv[..32].copy_from_slice(&derived("siv mac"));
        siv[32..].copy_from_slice(&derived("siv encryption"));
        let (token, ff1) = (hmac(derived("token")), Ff1::new(derived("ff1")));
        Self(Arc::new(Prepared { version, hash, token, ff1, siv }))
    }

    /// Its number.
    pub fn version(&self) -> u16 {
        self.0.version
    }

    /// What stands for a value under a rule. Other rules get other hashes, so a column that is classified
    /// otherwise cannot be searched for it; other rounds too, for a hash that happens to show its value.
    pub(super) fn hash(&self, rule: &str, round: u8, value: &[u8]) -> [u8; 32] {
        digest(&self.0.hash, rule, round, value)
    }

    /// What stands for a value in a scope, unlike any hash.
    pub(super) fn token(&self, scope: &str, round: u8, value: &[u8]) -> [u8; 32] {
        digest(&self.0.token, scope, round, value)
    }

    pub(super) fn ff1(&self) -> &Ff1 {
        &self.0.ff1
    }

    pub(super) fn siv(&self) -> Aes256Siv {
        Aes256Siv::new(&self.0.siv.into())
    }
}

fn hmac(bytes: [u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a short key with zeros to the block of 64 bytes.
    let mut block = [0; 64];
    block[..32].copy_from_slice(&bytes);
    Hmac::new(&block.into())
}

fn digest(mac: &Hmac<Sha256>, scope: &str, round: u8, value: &[u8]) -> [u8; 32] {
    let mut mac = mac.clone();
    mac.update(scope.as_bytes());
    mac.update(&[0, round]);
    mac.update(value);
    mac.finalize().into_bytes().into()
}

/// Every version of the key that is kept; there is always one.
#[derive(Clone)]
pub struct KeyRing {
    newest: MaskKey,
    older: Arc<[MaskKey]>,
}

impl KeyRing {
    /// A ring of keys by version; none where there is no key.
    pub fn new(keys: impl IntoIterator<Item = (u16, [u8; 32])>) -> Option<Self> {
        let mut keys: Vec<MaskKey> =
            keys.into_iter().map(|(version, bytes)| MaskKey::versioned(version, bytes)).collect();
        keys.sort_by_key(MaskKey::version);
        let newest = keys.pop()?;
        Some(Self { newest, older: keys.into() })
    }

    /// The key that makes masks.
    pub fn newest(&self) -> &MaskKey {
        &self.newest
    }

    /// The versions that are kept, in order.
    pub fn versions(&self) -> Vec<u16> {
        self.older.iter().chain([&self.newest]).map(MaskKey::version).collect()
    }

    /// The key of a version, where it is kept.
    pub fn version(&self, version: u16) -> Option<&MaskKey> {
        [&self.newest].into_iter().chain(&*self.older).find(|key| key.version() == version)
    }
}

impl From<MaskKey> for KeyRing {
    fn from(newest: MaskKey) -> Self {
        Self { newest, older: Arc::default() }
    }
}

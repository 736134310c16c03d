//! Login: whatever the server asks for, the client is asked for a clear-text password.
//!
//! The password is needed in clear to answer upstream, and for the catalog connection. SCRAM passed through
//! would fail for every libpq client as soon as both legs are encrypted.

use std::ops::Range;

use super::{
    error::UNSUPPORTED,
    frame::{Fields, put, put_string},
    session::{Asked, Phase, PostgresSession},
};
use crate::{
    audit::Event,
    session::{Binding, CancelKey, Outbox, SessionError, Want},
};

const SCRAM: &[u8] = b"SCRAM-SHA-256";
const SCRAM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

impl PostgresSession {
    /// The client never learns the server's key: it gets one of ours, with the same process number.
    pub(super) fn backend_key(&mut self, body: &[u8], out: &mut Outbox) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let pid = fields.oid().ok_or(SessionError::Server("malformed BackendKeyData"))?;
        self.pid = Some(pid);
        let server = CancelKey { pid, key: fields.rest().to_vec() };
        let length = if self.minor >= 2 { 32 } else { 4 };
        let key = self.settings.cancel_secret[..length].to_vec();
        out.client.message(|out| {
            put(out, b'K', |out| {
                out.extend_from_slice(&pid.to_be_bytes());
                out.extend_from_slice(&key);
            });
        });
        out.wants.push(Want::RegisterCancel { client: CancelKey { pid, key }, server });
        Ok(())
    }

    pub(super) fn backend_login(
        &mut self,
        kind: u8,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        match kind {
            b'R' => self.authentication(range, body, out),
            b'E' | b'N' => {
                out.client.pass(range);
                Ok(())
            }
            b'v' => {
                // The newest minor version the server speaks is the low half of the first field.
                let newest = Fields::new(body).oid().ok_or(SessionError::Server("malformed negotiation"))?;
                self.minor = newest as u16;
                out.client.pass(range);
                Ok(())
            }
            _ => Err(SessionError::Server("unexpected message before authentication")),
        }
    }

    fn authentication(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let method = fields.oid().ok_or(SessionError::Server("malformed authentication request"))?;
        let asked = match method {
            0 => {
                self.phase = Phase::Starting;
                out.client.pass(range);
                let login = self.login.as_ref();
                out.events.push(Event::Authenticated {
                    user: login.map(|login| login.user.clone()).unwrap_or_default(),
                    database: login.map(|login| login.database.clone()).unwrap_or_default(),
                });
                return Ok(());
            }
            3 => Asked::Clear,
            5 => {
                let salt = fields.bytes(4).and_then(|salt| salt.try_into().ok());
                Asked::Md5(salt.ok_or(SessionError::Server("malformed MD5 request"))?)
            }
            10 => {
                let offered: Vec<_> =
                    std::iter::from_fn(|| fields.string().filter(|name| !name.is_empty())).collect();
                if self.binding.is_some() && offered.contains(&SCRAM_PLUS) {
                    Asked::ScramPlus
                } else if offered.contains(&SCRAM) {
                    Asked::Scram
                } else {
                    return Err(SessionError::Authentication("no supported SASL mechanism"));
                }
            }
            11 => {
                let answer = self.settings.proof.scram_next(fields.rest())?;
                out.server.0.scratch(|out| put(out, b'p', |out| out.extend_from_slice(&answer)));
                return Ok(());
            }
            12 => return self.settings.proof.scram_finish(fields.rest()),
            _ => {
                let why = "the server asks for a kind of authentication that cannot be relayed; \
                           use password, md5 or scram-sha-256";
                let error = SessionError::Authentication("unsupported method");
                return Err(Self::fatal(out, UNSUPPORTED, why, error));
            }
        };
        self.phase = Phase::LoggingIn(asked);
        out.client.message(|out| put(out, b'R', |out| out.extend_from_slice(&3u32.to_be_bytes())));
        Ok(())
    }

    /// Turns the client's clear-text password into what the server asked for.
    pub(super) fn password(
        &mut self,
        asked: Asked,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let password = fields.string().filter(|_| fields.is_empty());
        let password = password.ok_or(SessionError::Client("malformed password message"))?;
        let Some(login) = &mut self.login else {
            return Err(SessionError::Client("password before start-up"));
        };
        login.password = Some(password.to_vec());
        let proof = &mut self.settings.proof;
        let answer = match asked {
            Asked::Nothing => return Err(SessionError::Client("password that nothing asked for")),
            Asked::Clear => [password, b"\0"].concat(),
            Asked::Md5(salt) => {
                let mut answer = proof.md5(login.user.as_bytes(), password, salt).into_bytes();
                answer.push(0);
                answer
            }
            Asked::Scram | Asked::ScramPlus => {
                let (mechanism, binding) = match (asked, &self.binding) {
                    (Asked::ScramPlus, Some(binding)) => (SCRAM_PLUS, Binding::Bound(binding)),
                    (_, Some(_)) => (SCRAM, Binding::NotOffered),
                    (_, None) => (SCRAM, Binding::Unsupported),
                };
                let first = proof.scram_first(password, binding);
                let mut answer = Vec::new();
                put_string(&mut answer, mechanism);
                answer.extend_from_slice(&u32::try_from(first.len()).unwrap_or(0).to_be_bytes());
                answer.extend_from_slice(&first);
                answer
            }
        };
        out.server.0.scratch(|out| put(out, b'p', |out| out.extend_from_slice(&answer)));
        self.phase = Phase::LoggingIn(Asked::Nothing);
        Ok(())
    }
}

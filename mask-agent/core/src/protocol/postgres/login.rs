//! Login: whatever the server asks for, the client is asked for a clear-text password, unless the host holds one.
//!
//! The password is needed in clear to answer upstream, and for the catalog connection. SCRAM passed through
//! would fail for every libpq client as soon as both legs are encrypted. `credentials` says whose password it is.

use std::ops::Range;

use super::{
    encryption::CONNECTION,
    error::{UNSUPPORTED, sqlstate},
    frame::{Fields, put, put_string},
    scram::{SCRAM, SCRAM_PLUS, key},
    session::{Asked, Phase, PostgresSession},
};
use crate::{
    audit::Event,
    session::{Binding, CancelKey, Outbox, Secret, SessionError, Want},
};

/// What is told of a server that may be somebody else.
const UNPROVED: &str = "the database has not proved that it knows the password, so it may be somebody else";

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
            b'R' => self.authentication(body, out),
            // Class 28 is about who may log in. Before anything was answered, it is about where from.
            b'E' if self.has_answered && sqlstate(body).is_some_and(|state| state.starts_with("28")) => {
                if let Some(error) = self.credential_refused(out) {
                    return Err(error);
                }
                out.client.pass(range);
                Ok(())
            }
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

    fn authentication(&mut self, body: &[u8], out: &mut Outbox) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let method = fields.oid().ok_or(SessionError::Server("malformed authentication request"))?;
        let asked = match method {
            // A server that skips its own proof may not have one.
            0 if self.is_unproved => {
                let error = SessionError::Authentication("the server's proof is missing");
                return Err(Self::fatal(out, CONNECTION, UNPROVED, error));
            }
            0 => Asked::Nothing,
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
                    let why = "the database offers no SCRAM-SHA-256; use password, md5 or scram-sha-256";
                    let error = SessionError::Authentication("no supported SASL mechanism");
                    return Err(Self::fatal(out, UNSUPPORTED, why, error));
                }
            }
            11 => {
                let why =
                    "the database's challenge is malformed, or asks for more than 100000 scram_iterations";
                let answer = self.settings.proof.scram_next(fields.rest());
                let answer = answer.map_err(|error| Self::fatal(out, UNSUPPORTED, why, error))?;
                out.server.0.scratch(|out| put(out, b'p', |out| out.extend_from_slice(&answer)));
                return Ok(());
            }
            12 => {
                let finished = self.settings.proof.scram_finish(fields.rest());
                finished.map_err(|error| Self::fatal(out, CONNECTION, UNPROVED, error))?;
                self.is_unproved = false;
                return Ok(());
            }
            _ => {
                let why = "the server asks for a kind of authentication that cannot be relayed; \
                           use password, md5 or scram-sha-256";
                let error = SessionError::Authentication("unsupported method");
                return Err(Self::fatal(out, UNSUPPORTED, why, error));
            }
        };
        self.asked(asked, out)
    }

    /// The server is content, and so are we.
    pub(super) fn let_in(&mut self, out: &mut Outbox) -> Result<(), SessionError> {
        self.phase = Phase::Starting;
        out.client.message(|out| put(out, b'R', |out| out.extend_from_slice(&0_u32.to_be_bytes())));
        let login = self.login.as_ref().ok_or(SessionError::Server("login before start-up"))?;
        out.events.push(Event::Authenticated {
            user: login.user.clone(),
            database: login.database.clone(),
            client_user: login.client_user.clone(),
            credential: self.held.take().map(|held| held.source),
        });
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
        self.answer(asked, Secret::new(password.to_vec()), out)
    }

    /// Turns a password into what the server asked for.
    pub(super) fn answer(
        &mut self,
        asked: Asked,
        secret: Secret,
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let Some(login) = &mut self.login else {
            return Err(SessionError::Client("password before start-up"));
        };
        // The driver of the catalog's connection prepares passwords as well.
        let secret = if matches!(asked, Asked::Scram | Asked::ScramPlus) { key(&secret) } else { secret };
        let password = secret.expose();
        let proof = &mut self.settings.proof;
        let answer = match asked {
            Asked::Nothing => return Err(SessionError::Client("password that nothing asked for")),
            Asked::Clear => Secret::new([password, b"\0"].concat()),
            Asked::Md5(salt) => {
                let mut answer = proof.md5(login.user.as_bytes(), password, salt).into_bytes();
                answer.push(0);
                Secret::new(answer)
            }
            Asked::Scram | Asked::ScramPlus => {
                let (mechanism, binding) = match (asked, &self.binding) {
                    (Asked::ScramPlus, Some(binding)) => (SCRAM_PLUS, Binding::Bound(binding)),
                    (_, Some(_)) => (SCRAM, Binding::NotOffered),
                    (_, None) => (SCRAM, Binding::Unsupported),
                };
                self.is_unproved = true;
                let first = proof.scram_first(password, binding);
                let mut answer = Vec::new();
                put_string(&mut answer, mechanism);
                answer.extend_from_slice(&u32::try_from(first.len()).unwrap_or(0).to_be_bytes());
                answer.extend_from_slice(&first);
                Secret::new(answer)
            }
        };
        out.server.0.scratch(|out| put(out, b'p', |out| out.extend_from_slice(answer.expose())));
        login.password = Some(secret);
        self.has_answered = true;
        self.phase = Phase::LoggingIn(Asked::Nothing);
        Ok(())
    }
}

//! Whose password is proved to a server: the client's, which it is asked for, or one that the host holds.
//!
//! ```text
//!          ┌─ relayed ─────────────▶ the client is asked in clear ──────────────────┐
//! asked ───┼─ held ───────────────────────────────────────────────────────────────┼─▶ answered
//!          └─ held, placeholder ──▶ Proving: the client proves the placeholder ─────┘
//! ```
//!
//! "Asked" is also a server that asks for nothing: who has to prove a placeholder is not let in before.

use super::{
    error::Fault,
    frame::{Fields, put, put_string},
    scram::{Exchange, NONCE_BYTES, ScramFault, Verifier, mechanisms},
    session::{Asked, Phase, PostgresSession},
};
use crate::session::{Disclosure, Outbox, Secret, SessionError};

/// `invalid_authorization_specification`.
const AUTHORIZATION: &str = "28000";

/// What the host knows of logins.
pub trait Credentials: Send {
    /// Whose password it is for a client that wants to be this user in this database.
    fn find(&self, user: &str, database: &str) -> Access;
}

/// Holds none.
pub struct Relayed;

impl Credentials for Relayed {
    fn find(&self, _user: &str, _database: &str) -> Access {
        Access::Relayed
    }
}

/// How a client gets in.
pub enum Access {
    /// By what the host holds.
    Held(Held),
    /// Not under this name.
    Refused,
    /// By its own password.
    Relayed,
}

/// A credential of the host's.
pub struct Held {
    /// The role, where it is not the client's.
    pub user: Option<String>,
    /// Its password.
    pub password: Secret,
    /// Where that comes from, for people.
    pub source: String,
    /// Whether the server may be told it.
    pub disclosure: Disclosure,
    /// What the client has to prove; nothing where it is known by what it is.
    pub placeholder: Option<Placeholder>,
}

/// What a client proves in place of the real password.
pub struct Placeholder {
    /// What its proof is compared with.
    pub verifier: Verifier,
    /// Random bytes.
    pub nonce: [u8; NONCE_BYTES],
}

/// How far a client is with the proof of its placeholder.
pub(super) enum Proving {
    /// It was told what there is.
    Offered(Placeholder),
    /// It was told what to sign.
    Challenged(Box<Exchange>),
}

impl PostgresSession {
    /// Decides whose password it is; the client's user is another than the server's from here on.
    pub(super) fn choose_credential(&mut self, out: &mut Outbox) -> Result<(), SessionError> {
        let Some(login) = &mut self.login else { return Ok(()) };
        // Asked once: what the host holds by then, it may not hold later.
        let credentials = std::mem::replace(&mut self.settings.credentials, Box::new(Relayed));
        match credentials.find(&login.user, &login.database) {
            Access::Relayed => {}
            Access::Refused => {
                let why = format!("this host holds no login to the database for user \"{}\"", login.user);
                Fault::fatal(AUTHORIZATION, &why).tell(out);
                return Err(SessionError::Refused("the user is not one that may use the login"));
            }
            Access::Held(held) => {
                if let Some(user) = held.user.clone().filter(|user| *user != login.user) {
                    login.client_user = Some(std::mem::replace(&mut login.user, user));
                }
                login.disclosure = held.disclosure;
                self.held = Some(held);
            }
        }
        Ok(())
    }

    /// The server has asked for something, or for nothing: whoever has to answer is asked.
    pub(super) fn asked(&mut self, asked: Asked, out: &mut Outbox) -> Result<(), SessionError> {
        let Some(held) = &mut self.held else {
            if asked == Asked::Nothing {
                return self.let_in(out);
            }
            self.phase = Phase::LoggingIn(asked);
            out.client.message(|out| put(out, b'R', |out| out.extend_from_slice(&3_u32.to_be_bytes())));
            return Ok(());
        };
        if let Some(placeholder) = held.placeholder.take() {
            let offered = mechanisms(self.client_binding.as_ref());
            out.client.message(|out| {
                put(out, b'R', |out| {
                    out.extend_from_slice(&10_u32.to_be_bytes());
                    for name in offered {
                        put_string(out, name);
                    }
                    out.push(0);
                });
            });
            self.proving = Some(Proving::Offered(placeholder));
            self.phase = Phase::Proving(asked);
            return Ok(());
        }
        if asked == Asked::Nothing {
            return self.let_in(out);
        }
        if asked == Asked::Clear && held.disclosure == Disclosure::Proof {
            let why = "the database asks for the password itself, which this host gives only to one that is certain to \
                       be it; the operator has it ask for scram-sha-256, or sets TLS to it to verify-full";
            return Err(Self::fatal(out, AUTHORIZATION, why, SessionError::Authentication("clear password")));
        }
        let password = held.password.clone();
        self.answer(asked, password, out)
    }

    /// The client's next message about its placeholder.
    pub(super) fn prove(&mut self, asked: Asked, body: &[u8], out: &mut Outbox) -> Result<(), SessionError> {
        let proved = match self.proving.take() {
            Some(Proving::Offered(placeholder)) => self.challenge(placeholder, body, out),
            Some(Proving::Challenged(exchange)) => exchange.finish(body).map(Some),
            None => return Err(SessionError::Client("proof of nothing")),
        };
        match proved {
            Ok(None) => Ok(()),
            Ok(Some(signature)) => {
                put_sasl(out, 12, &signature);
                self.phase = Phase::LoggingIn(Asked::Nothing);
                self.asked(asked, out)
            }
            Err(fault) => {
                let login = self.login.as_ref();
                let user = login.map(|login| login.client_user.as_ref().unwrap_or(&login.user));
                let (sqlstate, message) = fault.told(user.map_or("", String::as_str));
                // As the server itself would say it.
                Fault { message, ..Fault::fatal(sqlstate, "") }.tell(out);
                Err(SessionError::Refused("the placeholder was not proved"))
            }
        }
    }

    fn challenge(
        &mut self,
        placeholder: Placeholder,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<Option<String>, ScramFault> {
        let malformed = || ScramFault::Malformed("the message is cut");
        let mut fields = Fields::new(body);
        let mechanism = fields.string().ok_or_else(malformed)?;
        let length = fields.oid().ok_or_else(malformed)?;
        let message = Some(fields.rest()).filter(|rest| rest.len() == length as usize);
        let binding = self.client_binding.as_ref();
        let Placeholder { verifier, nonce } = placeholder;
        let (exchange, first) =
            Exchange::begin(verifier, nonce, binding, mechanism, message.ok_or_else(malformed)?)?;
        put_sasl(out, 11, &first);
        self.proving = Some(Proving::Challenged(Box::new(exchange)));
        Ok(None)
    }

    /// The server does not take what the host holds: that is not the client's fault, and nothing it can mend.
    pub(super) fn credential_refused(&self, out: &mut Outbox) -> Option<SessionError> {
        let held = self.held.as_ref()?;
        let user = self.login.as_ref().map(|login| login.user.clone()).unwrap_or_default();
        let why = format!(
            "the database refused the login that this host holds for it: role \"{user}\", password of {}",
            held.source
        );
        let hint = Some("The operator has to correct that password, and send the daemon SIGHUP.");
        Fault { hint, ..Fault::fatal(AUTHORIZATION, &why) }.tell(out);
        Some(SessionError::Credential { user, source_name: held.source.clone() })
    }
}

fn put_sasl(out: &mut Outbox, kind: u32, text: &str) {
    out.client.message(|out| {
        put(out, b'R', |out| {
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        });
    });
}

//! TLS: who asks for it, what is answered, and what a client is told where it fails.
//!
//! ```text
//! Plain ──GSSENCRequest──▶ 'N' ──┐
//!  │ ▲────────────────────────────┘
//!  ├─SSLRequest──▶ 'S' ──▶ Securing ──handshake──▶ Encrypted ──Startup, CancelRequest──▶
//!  └─a TLS record─────────────┘
//! ```
//!
//! Promise: bytes that came before the handshake are never taken for bytes that came inside it.

use super::{
    error::PROTOCOL,
    session::PostgresSession,
    startup::{Packet, SSL_CODE},
};
use crate::{
    audit::{Alert, Event},
    session::{DialFault, Handshake, Outbox, SessionError, Want},
};

/// The first byte of a TLS record that opens a handshake; a start-up packet with it would be 352 MiB long.
const TLS_RECORD: u8 = 0x16;

/// `connection_failure`.
pub(super) const CONNECTION: &str = "08006";
/// `sqlclient_unable_to_establish_sqlconnection`.
const UNREACHABLE: &str = "08001";
/// `sqlserver_rejected_establishment_of_sqlconnection`.
const REJECTED: &str = "08004";
/// `invalid_authorization_specification`, as a server says whose rules admit encrypted connections only.
const UNENCRYPTED: &str = "28000";

/// Whether clients get TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientTls {
    /// Nobody.
    Off,
    /// Who asks for it.
    #[default]
    Offer,
    /// Who does not ask is turned away.
    Require,
}

/// What asks a server for TLS.
pub const SSL_REQUEST: [u8; 8] = {
    let [a, b, c, d] = SSL_CODE.to_be_bytes();
    [0, 0, 0, 8, a, b, c, d]
};

/// What a server answers to [`SSL_REQUEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The handshake may begin.
    Accepted,
    /// It has no TLS, and goes on in clear.
    Denied,
}

impl Answer {
    /// Reads the one byte that is an answer.
    ///
    /// # Errors
    /// For any other: an error message comes from whoever is between, for nothing proves that it is the server's
    /// (CVE-2024-10977), so what it says is not read.
    pub fn read(byte: u8) -> Result<Self, DialFault> {
        match byte {
            b'S' => Ok(Self::Accepted),
            b'N' => Ok(Self::Denied),
            _ => Err(DialFault::Handshake),
        }
    }
}

/// How far a client's connection is with encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encryption {
    /// It has none.
    #[default]
    Plain,
    /// The handshake is under way, and no byte before its end is the session's.
    Securing,
    /// It has it.
    Encrypted,
}

impl PostgresSession {
    /// Whether a connection opens with a handshake in place of a start-up packet.
    pub(super) fn opens_with_tls(&self, bytes: &[u8]) -> bool {
        bytes.first() == Some(&TLS_RECORD)
            && self.encryption == Encryption::Plain
            && self.encryption_asked == 0
            && self.settings.client_tls != ClientTls::Off
    }

    /// Leaves the connection to the handshake.
    pub(super) fn secure(&mut self, handshake: Handshake, out: &mut Outbox) {
        self.encryption = Encryption::Securing;
        out.wants.push(Want::StartTls(handshake));
    }

    /// A request for encryption; each may come once, in any order, and none once there is encryption.
    pub(super) fn encryption_request(
        &mut self,
        packet: &Packet<'_>,
        has_more: bool,
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let bit = if matches!(packet, Packet::Ssl) { 1 } else { 2 };
        if self.encryption == Encryption::Encrypted {
            let why = "the connection is encrypted already";
            return Err(Self::fatal(out, PROTOCOL, why, SessionError::Client(why)));
        }
        // Bytes behind the request were sent before the answer: an injection (CVE-2021-23214).
        if self.encryption_asked & bit != 0 || has_more {
            return Err(SessionError::Client("unexpected bytes around an encryption request"));
        }
        self.encryption_asked |= bit;
        let accepts = matches!(packet, Packet::Ssl) && self.settings.client_tls != ClientTls::Off;
        out.client.message(|out| out.push(if accepts { b'S' } else { b'N' }));
        if accepts {
            self.secure(Handshake::Requested, out);
        }
        Ok(())
    }

    /// Turns away who has to encrypt and does not.
    pub(super) fn check_encrypted(&self, out: &mut Outbox) -> Result<(), SessionError> {
        if self.settings.client_tls == ClientTls::Require && self.encryption == Encryption::Plain {
            let why = "connections have to be encrypted; use sslmode=require";
            return Err(Self::fatal(out, UNENCRYPTED, why, SessionError::Client("not encrypted")));
        }
        Ok(())
    }

    /// There is no upstream.
    pub(super) fn dial_failed(fault: DialFault, out: &mut Outbox) -> SessionError {
        let (sqlstate, why, blame) = match fault {
            DialFault::Changed => (
                CONNECTION,
                "the database shows another certificate than before, so it may be somebody else; \
                 if it was changed on purpose, the operator runs `mask-agent pins forget`",
                "certificate changed",
            ),
            DialFault::Downgraded => (
                CONNECTION,
                "the database had TLS before and says that it has none, so somebody may be between; \
                 if it was turned off on purpose, the operator runs `mask-agent pins forget`",
                "TLS is gone",
            ),
            DialFault::Handshake => {
                (CONNECTION, "encryption could not be agreed on with the database", "TLS failed")
            }
            DialFault::Unencrypted => {
                (CONNECTION, "the database has no TLS, which this host requires of it", "no TLS")
            }
            DialFault::Unknown => (
                REJECTED,
                "this host is configured to reach no such database; its operator adds it to `upstreams` of the \
                 configuration, or removes `unknown_upstreams: refuse` from it",
                "nothing is configured of it",
            ),
            DialFault::Unreachable => {
                let why = "the database this connection was meant for cannot be reached";
                (UNREACHABLE, why, "not reachable")
            }
            DialFault::Untrusted => (
                CONNECTION,
                "the database's certificate is not one this host trusts",
                "certificate not trusted",
            ),
        };
        let alert = match fault {
            DialFault::Changed => Some(Alert::DatabaseCertificate),
            DialFault::Downgraded => Some(Alert::DatabaseDowngraded),
            DialFault::Handshake
            | DialFault::Unencrypted
            | DialFault::Unknown
            | DialFault::Unreachable
            | DialFault::Untrusted => None,
        };
        out.events.extend(alert.map(|alert| Event::Distrusted { alert, reason: why }));
        Self::fatal(out, sqlstate, why, SessionError::Database(blame))
    }
}

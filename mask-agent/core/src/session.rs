//! The seam between the shell, which moves bytes, and a database protocol, which decides.
//!
//! The shell feeds what it read and is told how much was consumed; the rest it keeps and offers again with
//! more behind it. What is to be sent stands in the `Outbox`, as pieces of the very slice that was fed or
//! of a scratch arena, so that untouched bytes are never copied.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretSlice};

use crate::{
    audit,
    lineage::CopiedDatabase,
    masking::{Pieces, gate::ClientBytes},
    policy::{Snapshot, Taint},
};

/// One database connection between a client and its upstream.
pub trait Session: Send {
    /// Takes one input and says how many of its bytes were consumed.
    ///
    /// # Errors
    /// After an error nothing more may be fed: the shell sends what the outbox holds and closes both legs.
    fn handle(&mut self, input: Input<'_>, out: &mut Outbox) -> Result<usize, SessionError>;

    /// Whether start-up and authentication are over.
    fn is_ready(&self) -> bool;

    /// Whether it can be ended without breaking anything off.
    fn is_idle(&self) -> bool;

    /// Whether the server is doing something, and nothing but reading for an answer.
    fn only_reads(&self) -> bool;

    /// Whether bytes from the client would be consumed now; the shell leaves them unread otherwise.
    fn accepts_client(&self) -> bool;

    /// Whether bytes from the server would be consumed now; the shell leaves them unread otherwise.
    fn accepts_server(&self) -> bool;
}

/// What the shell feeds.
pub enum Input<'a> {
    /// Bytes the client sent, including what an earlier call left.
    Client(&'a [u8]),
    /// Bytes the server sent, including what an earlier call left.
    Server(&'a [u8]),
    /// The snapshot that was asked for, and how long ago reading it began: what has changed since may not be in it.
    Snapshot(Arc<Snapshot>, Duration),
    /// The upstream is connected; what a login to it can be bound to, where there is such a thing.
    Connected(Option<ChannelBinding>),
    /// There is no connection to the upstream.
    DialFailed(DialFault),
    /// The client's connection is encrypted from here on; what the client can bind a login to.
    Encrypted(Option<ChannelBinding>),
    /// There is no room for another connection.
    Overloaded,
    /// The connection is to end.
    Shutdown,
    /// The snapshot could not be loaded: unknown means refuse.
    SnapshotFailed,
    /// Nobody could say in time whether the snapshot is still what the server has.
    Unchecked,
    /// What happens cannot be recorded, so nothing may happen.
    Unrecorded,
}

/// What the shell is to do besides sending bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Want {
    /// Forward this cancel request, wait until upstream has closed it, then close the client's.
    Cancel {
        /// Process number as the client holds it.
        pid: u32,
        /// Key as the client holds it.
        key: Vec<u8>,
    },
    /// Load the catalog and feed it back.
    LoadCatalog {
        /// Whether a cached snapshot will do.
        freshness: Freshness,
    },
    /// Encrypt the client's connection once what the outbox holds is sent, and feed back that it is.
    StartTls(Handshake),
    /// Remember for good that these columns hold masked values, and feed back a snapshot that knows it.
    Taint(Vec<Taint>),
    /// Remember for good that a database holds what another of its server holds, and feed back a snapshot.
    FollowCopy(CopiedDatabase),
    /// Remember which upstream cancel key the client's stands for, until the connection ends.
    RegisterCancel {
        /// What the client was given.
        client: CancelKey,
        /// What the server gave.
        server: CancelKey,
    },
    /// Leave all databases before anything more is sent: the server has to have one of them to itself.
    Withdraw,
}

/// How a TLS handshake begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With the bytes that were consumed; the client has to name the protocol, for nothing else says what it means.
    Direct,
    /// With the next bytes: the client has asked for it.
    Requested,
}

/// A hash of the server's certificate (`tls-server-end-point`, RFC 5929), which proves that no other server is between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelBinding(pub Vec<u8>);

/// Why there is no connection to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFault {
    /// It shows another certificate than before.
    Changed,
    /// It had TLS before, and now says that it has none.
    Downgraded,
    /// Encryption could not be agreed on.
    Handshake,
    /// It has no TLS, and has to.
    Unencrypted,
    /// Nothing is configured of it, and has to be.
    Unknown,
    /// It does not answer.
    Unreachable,
    /// Nobody vouches for its certificate, and somebody has to.
    Untrusted,
}

/// How old a snapshot may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A shared one within the refresh interval.
    Cached,
    /// One loaded after this moment, if that is soon done; the statement that needs it waits.
    Checked,
    /// One loaded after this moment.
    Fresh,
}

/// What `BackendKeyData` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelKey {
    /// Process number.
    pub pid: u32,
    /// Secret, 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub key: Vec<u8>,
}

/// Who logs in where, for the catalog connection.
#[derive(Clone)]
pub struct Login {
    /// Role name.
    pub user: String,
    /// Database name.
    pub database: String,
    /// The password, where the server asked for one: the client's, or the one the host holds. Where it asked for SCRAM,
    /// what has the same proof in place of it.
    pub password: Option<Secret>,
    /// Whether a server may be told it as it is.
    pub disclosure: Disclosure,
    /// The name the client gave itself, where that is another.
    pub client_user: Option<String>,
}

/// Whether a server may be told a password as it is, or only be shown that we know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// It may be told.
    Clear,
    /// It is shown a proof.
    Proof,
}

/// A password. It is in no log and no error, and wiped once nobody holds it.
#[derive(Clone, Debug)]
pub struct Secret(Arc<SecretSlice<u8>>);

impl Secret {
    /// Takes the bytes, of which there should be no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes.into()))
    }

    /// The bytes, for whoever has to prove them.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// How the shell proves a password to the server: it has the randomness the core has not.
pub trait PasswordProof: Send {
    /// The response to an MD5 request, NUL not included.
    fn md5(&self, user: &[u8], password: &[u8], salt: [u8; 4]) -> String;
    /// The client-first message of SCRAM-SHA-256, or of -PLUS where it is bound.
    fn scram_first(&mut self, password: &[u8], binding: Binding<'_>) -> Vec<u8>;
    /// The client-final message.
    ///
    /// # Errors
    /// When the server's message is malformed.
    fn scram_next(&mut self, server_first: &[u8]) -> Result<Vec<u8>, SessionError>;
    /// Verifies the server's signature.
    ///
    /// # Errors
    /// When the server does not know the password either.
    fn scram_finish(&mut self, server_final: &[u8]) -> Result<(), SessionError>;
}

/// What a proof says of channel binding, so that nobody between can take the offer away unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding<'a> {
    /// It is bound.
    Bound(&'a ChannelBinding),
    /// It could be bound, and the server does not offer that.
    NotOffered,
    /// It cannot be bound.
    Unsupported,
}

/// Where a session puts what is to be sent, recorded and done.
#[derive(Default)]
pub struct Outbox {
    /// For the client.
    pub client: ClientBytes,
    /// For the server.
    pub server: ServerBytes,
    /// For the audit trail; in the spool before any client byte of the same outbox is sent.
    pub events: Vec<audit::Event>,
    /// For the shell.
    pub wants: Vec<Want>,
    /// Monotonic time on one clock for all connections, set by the shell before each call.
    pub now: Duration,
    /// Whether the client is told why its connection ends, by the last message for it.
    pub is_told: bool,
}

impl Outbox {
    /// Empties it for the next call; capacity stays.
    pub fn clear(&mut self) {
        self.client.clear();
        self.server.clear();
        self.events.clear();
        self.wants.clear();
        self.is_told = false;
    }
}

/// Bytes for the server.
#[derive(Debug, Default)]
pub struct ServerBytes(pub(crate) Pieces);

impl ServerBytes {
    /// The slices in order; `input` is the slice that was fed.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0.slices(input)
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes to be sent.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Empties it; capacity stays.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Why a session cannot go on, and who is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The database did not accept the login that this host holds for it.
    #[error("the database refused the login of `{user}` with the password of {source_name}")]
    Credential {
        /// The role.
        user: String,
        /// Where its password comes from.
        source_name: String,
    },
    /// The server answered a login in a way that cannot be trusted.
    #[error("upstream authentication failed: {0}")]
    Authentication(&'static str),
    /// The client broke the protocol, or asked for a form of it that is refused.
    #[error("client protocol violation: {0}")]
    Client(&'static str),
    /// There is no way to the server that may be taken.
    #[error("database: {0}")]
    Database(&'static str),
    /// The server broke the protocol.
    #[error("server protocol violation: {0}")]
    Server(&'static str),
    /// The session is over in good order.
    #[error("finished")]
    Finished,
    /// The client has not proved who it says it is.
    #[error("login refused: {0}")]
    Refused(&'static str),
}

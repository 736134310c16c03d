//! PostgreSQL, protocol 3.
//!
//! Every byte from outside passes our own framer and strict parsers: a frame is consumed exactly, its type
//! must fit the state, and nothing is forwarded half-parsed.

/// What the server says unasked.
mod asides;
/// The backend's half: rows, descriptions, errors.
mod backend;
/// What a statement asks of masked columns, and whether the login's budget allows it.
mod budget;
/// COPY to the client.
mod copy;
/// COPY from the client.
mod copy_in;
/// Whose password is proved to a server.
mod credentials;
/// Other constants and parameters than the client's.
mod edit;
/// What the bytes of statements and values mean.
mod encoding;
/// TLS: who asks for it, what is answered, and what a client is told where it fails.
mod encryption;
/// Errors we write, and errors of the server with everything that may quote a cell taken out.
mod error;
/// Frames and the fields in them.
mod frame;
/// The frontend's half: start-up, queries, the extended protocol.
mod frontend;
/// The function call message.
mod large_objects;
/// Login: what the server asks for, and who answers.
mod login;
/// What the session has changed of what words mean.
mod meaning;
/// Which statements a message runs besides the one it was sent with.
mod names;
/// `RowDescription` to a plan for its rows.
mod outputs;
/// The queue of replies the server owes.
mod probe;
mod queue;
/// What the audit trail is told of the statement whose reply is arriving.
mod record;
/// What a statement means, and what is ruled on it.
mod ruling;
/// The server's side of SCRAM.
mod scram;
/// The session: what it holds, and what the shell tells it.
mod session;
/// Conditions that servers report.
mod sqlstate;
/// Start-up packets.
mod startup;
/// Tokens that come back.
mod tokens;

pub use credentials::{Access, Credentials, Held, Placeholder, Relayed};
pub use encryption::{Answer, ClientTls, SSL_REQUEST};
pub use scram::{NONCE_BYTES, SALT_BYTES, Verifier};
pub use session::{PostgresSession, Settings};
pub(super) use startup::opens;

/// The longest message that is held as a whole. Rows that need no masking and COPY data stream past it.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

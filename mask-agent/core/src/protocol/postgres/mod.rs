//! PostgreSQL, protocol 3.
//!
//! Every byte from outside passes our own framer and strict parsers: a frame is consumed exactly, its type
//! must fit the state, and nothing is forwarded half-parsed.

/// What the server says unasked.
mod asides;
/// The backend's half: rows, descriptions, errors.
mod backend;
/// COPY to the client.
mod copy;
/// Errors we write, and errors of the server with everything that may quote a cell taken out.
mod error;
/// Frames and the fields in them.
mod frame;
/// The frontend's half: start-up, queries, the extended protocol.
mod frontend;
/// Login: whatever the server asks for, the client is asked for a clear-text password.
mod login;
/// Which statements a message runs besides the one it was sent with.
mod names;
/// `RowDescription` to a plan for its rows.
mod outputs;
/// The queue of replies the server owes.
mod queue;
/// What the audit trail is told of the statement whose reply is arriving.
mod record;
/// What a statement means, and what is ruled on it.
mod ruling;
/// The session: what it holds, and what the shell tells it.
mod session;
/// Start-up packets.
mod startup;

pub use session::{PostgresSession, Settings};

/// The longest message that is held as a whole. Rows that need no masking and COPY data stream past it.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

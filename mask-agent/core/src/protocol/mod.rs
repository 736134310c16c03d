//! Wire protocols, one folder each.

/// What a connection is for, by the first bytes its client says.
pub mod detect;
/// What a client of TLS says first.
mod hello;
/// PostgreSQL, protocol 3.
pub mod postgres;

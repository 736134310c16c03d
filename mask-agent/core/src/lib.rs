//! Decides what a database client may see; performs no I/O.
//!
//! Modules stand in the order a query meets them: bytes come in through [`session`] and [`protocol`], a
//! statement is traced by [`lineage`] over the [`catalog`], ruled on by [`policy`], its rows pass [`masking`],
//! and what happened is told to [`audit`]; [`explain`] tells what would.
#![deny(unsafe_code)]

/// The seam between the shell, which moves bytes, and a database protocol, which decides.
pub mod session;
/// Wire protocols, one folder each.
pub mod protocol;
/// Relations, columns and types of one database, as the server describes them.
pub mod catalog;
/// What a statement reads, and how far its outputs can be trusted.
pub mod lineage;
/// The policy file, and which columns it classifies.
pub mod policy;
/// Values in, masked values out; the only maker of bytes for the client.
pub mod masking;
/// What is found in a statement and ruled on it, told.
pub mod explain;
/// What the audit trail says.
pub mod audit;

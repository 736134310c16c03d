//! Wire protocols, one folder each.

/// PostgreSQL, protocol 3.
pub mod postgres;

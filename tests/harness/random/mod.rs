//! Random statements over the corpus' schema: each is run direct and through an agent per policy, in a transaction
//! that is rolled back, and every byte that the agent lets through is searched for canaries.
//!
//! Statements are trees (`Node`), made by a grammar from a seed (`program`), so that those that leak can be made
//! smaller as long as they do (`shrink`). A value may come out of a calculation that looks like a canary: what also
//! shows where the classified columns hold other values is none.

mod changes;
mod expr;
mod forms;
mod program;
mod query;
mod rng;
mod run;
mod sources;
mod told;
mod tree;
mod words;
mod writes;

pub use program::program;
pub use rng::Rng;
pub use run::{Leak, Search, Tally};
pub use tree::{Node, Sort, shrink};
pub use words::Kind;

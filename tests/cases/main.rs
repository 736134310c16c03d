//! What users were promised, one file per promise, in one binary.

mod bad_input;
mod catalog;
mod corners;
mod corpus;
mod drivers;
mod errors;
mod explain;
mod extended;
mod following;
mod interception;
mod main_path;
mod masks;
mod names;
mod opening;
mod operating;
mod programs;
mod random;
mod refusals;
mod selection;
mod takeover;
mod types;

//! What users were promised, one file per promise, in one binary.

mod asides;
mod bad_input;
mod budget;
mod catalog;
mod copy;
mod corners;
mod corpus;
mod drivers;
mod errors;
mod explain;
mod encodings;
mod extended;
mod extensions;
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
mod settings;
mod takeover;
mod types;

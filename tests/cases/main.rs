//! What users were promised, one file per promise, in one binary.

mod drivers;
mod extended;
mod main_path;
mod operating;
mod types;

//! What users were promised, one file per promise, in one binary.

mod main_path;

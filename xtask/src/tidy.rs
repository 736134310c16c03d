//! House rules that no other tool knows.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

/// A word and the only folder whose files may use it: one owner per dependency.
const OWNERS: [(&str, &str); 3] = [
    ("aya::", "mask-agent/src/intercept/"),
    ("aya_log::", "mask-agent/src/intercept/"),
    ("pg_query::", "mask-agent/core/src/lineage/"),
];

/// A file past this wants to be two.
const LINES_MAX: usize = 600;

pub(crate) fn run() -> Result<()> {
    let files =
        Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    let mut faults = Vec::new();
    for file in String::from_utf8(files.stdout)?.lines() {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let is_rust = Path::new(file).extension().is_some_and(|kind| kind == "rs");
        for (line, number) in text.lines().zip(1..) {
            if line.ends_with([' ', '\t', '\r']) {
                faults.push(format!("{file}:{number}: white space at the end of the line"));
            }
            for (word, owner) in OWNERS {
                let owned = file.starts_with(owner) || !file.starts_with("mask-agent/");
                if is_rust && !owned && line.contains(word) {
                    faults.push(format!("{file}:{number}: only {owner} names {word}"));
                }
            }
        }
        if is_rust && text.lines().count() > LINES_MAX {
            faults.push(format!("{file}: longer than {LINES_MAX} lines"));
        }
    }
    if !faults.is_empty() {
        bail!("tidy:\n{}", faults.join("\n"));
    }
    Ok(())
}

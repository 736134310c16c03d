//! Mutants that no test needs to see, and why.

use std::{collections::BTreeMap, fs};

use anyhow::{Result, ensure};

/// Reasons, each a line with `#`, and under it the mutants it is given for.
const FILE: &str = "xtask/src/mutants/explained.txt";

/// The reason for each.
pub(super) fn read() -> Result<BTreeMap<String, String>> {
    let mut explained = BTreeMap::new();
    let mut reason = None;
    for line in fs::read_to_string(FILE)?.lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("# ") {
            reason = Some(text);
            continue;
        }
        let Some(reason) = reason else { anyhow::bail!("{FILE}: no reason above {line}") };
        let twice = explained.insert(line.to_owned(), reason.to_owned());
        ensure!(twice.is_none(), "{FILE}: twice: {line}");
    }
    Ok(explained)
}

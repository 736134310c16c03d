//! House rules that no other tool knows.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

/// A word and the only folder whose files may use it: one owner per dependency.
const OWNERS: [(&str, &str); 3] = [
    ("aya::", "mask-agent/src/intercept/"),
    ("aya_log::", "mask-agent/src/intercept/"),
    ("pg_query::", "mask-agent/core/src/lineage/"),
];

/// Modules of the core; each names only those before it.
const CORE: [&str; 8] =
    ["catalog", "lineage", "masking", "policy", "explain", "audit", "session", "protocol"];
const CORE_FOLDER: &str = "mask-agent/core/src/";

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
        if let Some(inner) = file.strip_prefix(CORE_FOLDER).filter(|_| is_rust && !is_test(file)) {
            faults.extend(out_of_order(inner, &text).into_iter().map(|fault| format!("{file}: {fault}")));
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

fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.ends_with("fixture.rs")
}

/// Which later modules a file of the core names; `inner` is its path in there.
fn out_of_order(inner: &str, text: &str) -> Vec<String> {
    let own = inner.split(['/', '.']).next().unwrap_or_default();
    let Some(place) = CORE.iter().position(|module| *module == own) else {
        // The root names them all.
        let unknown = own != "lib";
        return unknown.then(|| format!("{own} has no place in the order of modules")).into_iter().collect();
    };
    let mut faults = Vec::new();
    for import in text.split("crate::").skip(1) {
        // A group is indented or follows a brace; a path is a single name.
        let end =
            if import.starts_with('{') { import.find("};") } else { import.find([':', ';', ')', '<', ' ']) };
        let import = import.get(..end.unwrap_or_default()).unwrap_or_default();
        for later in CORE.iter().skip(place + 1) {
            let mut names = import.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            if names.any(|name| name == *later) {
                faults.push(format!("{own} names {later}, which comes after it"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_only_those_before_it() {
        for (inner, text, expected) in [
            ("lineage/a.rs", "use crate::catalog::Catalog;", 0),
            ("lineage/a.rs", "use crate::policy::Policy;", 1),
            ("lineage/a.rs", "use crate::{\n    catalog::{A, B},\n    policy::C,\n};\n", 1),
            ("masking/b.rs", "fn f(p: &crate::session::Pieces) {}", 1),
            ("policy/b.rs", "use crate::{catalog, lineage::A, masking::B};\n", 0),
            ("session.rs", "use crate::{protocol::A};\n", 1),
            ("protocol/postgres/x.rs", "use crate::{explain, session::A};\n", 0),
            ("other.rs", "", 1),
            ("lib.rs", "pub mod policy;", 0),
        ] {
            assert_eq!(out_of_order(inner, text).len(), expected, "{inner}: {text}");
        }
    }
}

//! What could be changed, as cargo-mutants finds it.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// One change to the code.
pub(super) struct Mutant {
    /// What tells it from others, wherever its line moves: file, change and line as written.
    pub(super) key: String,
    /// Its file, from the root of the workspace.
    pub(super) file: String,
    /// What it puts there.
    pub(super) replacement: String,
    /// What it takes away.
    pub(super) span: Span,
}

impl Mutant {
    /// The folder it is in, of the core's.
    pub(super) fn module(&self) -> &str {
        self.key.split('/').next().unwrap_or_default()
    }
}

/// Lines and columns count characters, from 1.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Span {
    pub(super) start: Place,
    pub(super) end: Place,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Deserialize)]
struct Listed {
    file: String,
    name: String,
    replacement: String,
    span: Span,
}

/// All mutants of these modules of the core, in their order.
pub(super) fn mutants(modules: &[&str]) -> Result<Vec<Mutant>> {
    let mut list = Command::new("cargo");
    list.args(["mutants", "--list", "--json", "--package", "mask-core"]);
    for module in modules {
        list.arg("--file").arg(format!("mask-agent/core/src/{module}/**/*.rs"));
        list.arg("--file").arg(format!("mask-agent/core/src/{module}/*.rs"));
    }
    let listed = list.output()?;
    if !listed.status.success() {
        bail!("cargo mutants --list: {}", String::from_utf8_lossy(&listed.stderr));
    }
    let listed: Vec<Listed> = serde_json::from_slice(&listed.stdout)?;
    let mut sources = BTreeMap::new();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut mutants = Vec::with_capacity(listed.len());
    for Listed { file, name, replacement, span } in listed {
        if !sources.contains_key(&file) {
            sources.insert(file.clone(), std::fs::read_to_string(Path::new(&file))?);
        }
        let line = sources[&file].lines().nth(span.start.line - 1).context("a line of the file")?;
        let key = key(&file, &name, line);
        let times = seen.entry(key.clone()).or_default();
        *times += 1;
        let key = if *times == 1 { key } else { format!("{key} #{times}") };
        mutants.push(Mutant { key, file, replacement, span });
    }
    mutants.sort_by_key(|mutant| modules.iter().position(|module| *module == mutant.module()));
    Ok(mutants)
}

fn key(file: &str, name: &str, line: &str) -> String {
    let file = file.strip_prefix("mask-agent/core/src/").unwrap_or(file);
    // After the file stand line and column, then the change.
    let change = name.splitn(4, ':').nth(3).unwrap_or(name).trim();
    format!("{file}: {} | {}", change.replace('\n', " "), line.trim())
}

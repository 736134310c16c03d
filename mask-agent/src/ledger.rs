//! Columns that were given masked values, remembered for good.
//!
//! A line of JSON for each, in the state directory. It is on disk before the statement that puts the values is
//! sent, so that no crash forgets a column; a column remembered in vain is only masked in vain.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use mask_core::{lineage::Holds, policy::Taint};
use serde::{Deserialize, Serialize};

/// Its name in the state directory.
const FILE_NAME: &str = "tainted.jsonl";

/// A database, as clients reach it.
pub(crate) type Database = (SocketAddr, String);

#[derive(Serialize, Deserialize)]
struct Line {
    upstream: SocketAddr,
    database: String,
    schema: String,
    relation: String,
    column: String,
    /// What an older line does not say is taken for something made of masked values.
    #[serde(default)]
    holds: Holds,
}

/// The ledger.
pub(crate) struct Ledger(Mutex<Kept>);

struct Kept {
    file: File,
    taints: HashMap<Database, Vec<Taint>>,
}

impl Ledger {
    /// Reads what is remembered; a torn last line is one whose statement was never sent.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let path = state.join(FILE_NAME);
        let mut taints: HashMap<Database, Vec<Taint>> = HashMap::new();
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(&path).with_context(|| {
                format!("cannot open {}; is the state directory writable?", path.display())
            })?;
        let mut torn = false;
        for (number, line) in BufReader::new(&file).lines().enumerate() {
            let line = line.with_context(|| format!("cannot read {}", path.display()))?;
            if line.is_empty() {
                continue;
            }
            anyhow::ensure!(
                !torn,
                "{}:{number}: no line of the ledger; repair it, or remove the line to show that column again",
                path.display()
            );
            match serde_json::from_str::<Line>(&line) {
                Ok(Line { upstream, database, schema, relation, column, holds }) => {
                    let taint = Taint { schema, relation, column, holds };
                    taints.entry((upstream, database)).or_default().push(taint);
                }
                Err(_) => torn = true,
            }
        }
        if torn {
            file.write_all(b"\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self(Mutex::new(Kept { file, taints })))
    }

    /// Columns of a database.
    pub(crate) fn of(&self, database: &Database) -> Vec<Taint> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.taints.get(database).cloned().unwrap_or_default()
    }

    /// Remembers columns; they are on disk when it returns.
    pub(crate) fn add(&self, database: &Database, taints: &[Taint]) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.taints.entry(database.clone()).or_default();
        let new: Vec<Taint> = taints.iter().filter(|taint| !known.contains(taint)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        known.extend(new.iter().cloned());
        let mut lines = Vec::new();
        for taint in new {
            let (upstream, database) = database.clone();
            let Taint { schema, relation, column, holds } = taint;
            serde_json::to_writer(&mut lines, &Line { upstream, database, schema, relation, column, holds })?;
            lines.push(b'\n');
        }
        kept.file.write_all(&lines)?;
        kept.file.sync_data()
    }
}

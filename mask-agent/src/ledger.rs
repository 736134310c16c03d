//! Columns that were given masked values, remembered for good.
//!
//! A line of JSON for each, in the state directory. It is on disk before the statement that puts the values is
//! sent, so that no crash forgets a column; a column remembered in vain is only masked in vain.
//!
//! A database is found by where clients reach it and what it is called there, and by what its server says it is:
//! whoever has two addresses of a server reads the same columns at both. One that is copied or renamed holds under
//! its new name what it held, which a line of another kind says.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use mask_core::{
    lineage::{CopiedDatabase, Holds},
    policy::{Counts, Taint},
};
use serde::{Deserialize, Serialize};

/// Its name in the state directory.
const FILE_NAME: &str = "tainted.jsonl";

/// What every database of a server is made of.
const TEMPLATES: [&str; 2] = ["template0", "template1"];

/// A database, as clients reach it.
pub(crate) type Database = (SocketAddr, String);

/// A database, as its server knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// What tells a cluster, with its standbys, from all others.
    pub(crate) system: i64,
    /// Its name there, whatever a pooler calls it.
    pub(crate) name: String,
}

/// A database, by all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) upstream: SocketAddr,
    pub(crate) database: String,
    /// Where the role may ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Identity>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum What {
    Column {
        schema: String,
        relation: String,
        column: String,
        /// What an older line does not say is taken for something made of masked values.
        #[serde(default)]
        holds: Holds,
        #[serde(default, skip_serializing_if = "is_always")]
        counts: Counts,
    },
    /// It holds what another database of the server holds.
    Copy { copied_from: String },
}

/// What most lines say, and older ones do not write.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_always(counts: &Counts) -> bool {
    *counts == Counts::Always
}

impl From<&Taint> for What {
    fn from(taint: &Taint) -> Self {
        let Taint { schema, relation, column, holds, counts } = taint.clone();
        Self::Column { schema, relation, column, holds, counts }
    }
}

/// One way to find a database.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    At(SocketAddr, String),
    Is(Identity),
}

/// The ledger.
pub(crate) struct Ledger(Mutex<Kept>);

struct Kept {
    file: File,
    columns: HashMap<Key, BTreeSet<Taint>>,
    /// By the copy, what it was made of.
    copies: HashMap<Key, HashSet<Key>>,
}

impl Place {
    fn keys(&self) -> impl Iterator<Item = Key> {
        let at = Key::At(self.upstream, self.database.clone());
        [at].into_iter().chain(self.identity.clone().map(Key::Is))
    }
}

impl Key {
    fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Is(identity) => Some(identity),
            Self::At(..) => None,
        }
    }

    /// Another database of the same server.
    fn beside(&self, name: &str) -> Self {
        match self {
            Self::At(upstream, _) => Self::At(*upstream, name.to_owned()),
            Self::Is(Identity { system, .. }) => {
                Self::Is(Identity { system: *system, name: name.to_owned() })
            }
        }
    }
}

impl Ledger {
    /// Reads what is remembered. A last line that was cut short is left out: its statement was never sent.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let path = state.join(FILE_NAME);
        let mut open = OpenOptions::new();
        let mut file =
            open.create(true).read(true).append(true).mode(0o600).open(&path).with_context(|| {
                format!("cannot open {}; is the state directory writable?", path.display())
            })?;
        let cannot = |what: &str| format!("cannot {what} {}", path.display());
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(|| cannot("read"))?;
        let (whole, last) =
            text.split_at(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        if is_cut_short(last) {
            tracing::warn!(path = %path.display(), bytes = last.len(), "a line of the ledger was cut short, and is left out");
            file.set_len(whole.len() as u64).with_context(|| cannot("write"))?;
        } else if !last.is_empty() {
            file.write_all(b"\n").with_context(|| cannot("write"))?;
        }
        let lines = if is_cut_short(last) { whole } else { &text };
        let mut kept = Kept { file, columns: HashMap::new(), copies: HashMap::new() };
        for (at, line) in lines.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let line: Line = serde_json::from_slice(line).with_context(|| {
                format!(
                    "{}:{}: no line of the ledger; repair it, or remove it to show its column again",
                    path.display(),
                    at + 1
                )
            })?;
            kept.take(&line);
        }
        Ok(Self(Mutex::new(kept)))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Columns of a database.
    pub(crate) fn of(&self, place: &Place) -> Vec<Taint> {
        let kept = self.kept();
        let sources = kept.sources(place);
        let columns: BTreeSet<&Taint> =
            sources.iter().filter_map(|key| kept.columns.get(key)).flatten().collect();
        columns.into_iter().cloned().collect()
    }

    /// Whether what is remembered of one database is remembered of another.
    pub(crate) fn holds_what(&self, place: &Place, other: &Place) -> bool {
        let sources = self.kept().sources(place);
        other.keys().any(|key| sources.contains(&key))
    }

    /// The databases that one is known to be made of, the oldest first, and itself; the server's templates are in all.
    pub(crate) fn origins(&self, database: &Identity) -> Vec<Identity> {
        let kept = self.kept();
        let mut found = vec![database.clone()];
        let mut at = 0;
        while let Some(known) = found.get(at) {
            let sources = kept.copies.get(&Key::Is(known.clone())).into_iter().flatten();
            let sources: Vec<Identity> = sources.filter_map(Key::identity).cloned().collect();
            let is_new = |source: &Identity| !(TEMPLATES.contains(&&*source.name) || found.contains(source));
            let new: Vec<Identity> = sources.into_iter().filter(is_new).collect();
            found.extend(new);
            at += 1;
        }
        found.reverse();
        found
    }

    /// Remembers columns; they are on disk when it returns.
    pub(crate) fn add(&self, place: &Place, taints: &[Taint]) -> io::Result<()> {
        self.kept().write(place, taints.iter().map(What::from).collect())
    }

    /// Remembers that a database is a copy of another of its server, or the same under another name; it is on disk when
    /// this returns where it is. The place given is that of any database of the server.
    pub(crate) fn copy(&self, place: &Place, copied: &CopiedDatabase) -> io::Result<Place> {
        let CopiedDatabase { from, to } = copied.clone();
        let identity = place.identity.as_ref().map(|own| Identity { name: to.clone(), ..own.clone() });
        let copy = Place { upstream: place.upstream, database: to, identity };
        self.kept().write(&copy, vec![What::Copy { copied_from: from }])?;
        Ok(copy)
    }

    /// Takes note of what a database is that was known by its address only.
    pub(crate) fn recognise(&self, place: &Place) -> io::Result<()> {
        let at = Place { identity: None, ..place.clone() };
        let mut kept = self.kept();
        let known = kept.of(&at);
        kept.write(place, known)
    }
}

impl Kept {
    fn take(&mut self, line: &Line) {
        for key in line.place.keys() {
            match line.what.clone() {
                What::Column { schema, relation, column, holds, counts } => {
                    let taint = Taint { schema, relation, column, holds, counts };
                    self.columns.entry(key).or_default().insert(taint);
                }
                What::Copy { copied_from } => {
                    let from = key.beside(&copied_from);
                    self.copies.entry(key).or_default().insert(from);
                }
            }
        }
    }

    /// What is remembered of a database itself.
    fn of(&self, place: &Place) -> Vec<What> {
        let columns = place.keys().filter_map(|key| self.columns.get(&key)).flatten();
        let copies = place.keys().filter_map(|key| self.copies.get(&key)).flatten();
        let copies = copies.map(|from| {
            let (Key::At(_, name) | Key::Is(Identity { name, .. })) = from;
            What::Copy { copied_from: name.clone() }
        });
        columns.map(What::from).chain(copies).collect()
    }

    fn knows(&self, key: &Key, what: &What) -> bool {
        match what.clone() {
            What::Column { schema, relation, column, holds, counts } => {
                let taint = Taint { schema, relation, column, holds, counts };
                self.columns.get(key).is_some_and(|columns| columns.contains(&taint))
            }
            What::Copy { copied_from } => {
                let from = key.beside(&copied_from);
                self.copies.get(key).is_some_and(|copies| copies.contains(&from))
            }
        }
    }

    /// All keys under which something is remembered that a database holds.
    fn sources(&self, place: &Place) -> HashSet<Key> {
        let mut found = HashSet::new();
        let mut left: Vec<Key> = place.keys().collect();
        while let Some(key) = left.pop() {
            if found.insert(key.clone()) {
                left.extend(self.copies.get(&key).into_iter().flatten().cloned());
            }
        }
        found
    }

    /// Puts what is new of a database on disk, all of it or nothing.
    fn write(&mut self, place: &Place, what: Vec<What>) -> io::Result<()> {
        let is_new = |what: &What| place.keys().any(|key| !self.knows(&key, what));
        let new: Vec<What> = what.into_iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let lines = new.into_iter().map(|what| Line { place: place.clone(), what });
        let lines: Vec<Line> = lines.collect();
        let mut text = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line would spoil the next one. Where this fails too, the next start says so.
            let _ = self.file.set_len(before);
            return Err(error);
        }
        for line in &lines {
            self.take(line);
        }
        Ok(())
    }
}

/// Whether this is the start of a line: what a crash leaves, with nothing or zeros behind it.
fn is_cut_short(last: &[u8]) -> bool {
    let end = last.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let parsed = serde_json::from_slice::<Line>(&last[..end]);
    !last.is_empty() && parsed.is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests;

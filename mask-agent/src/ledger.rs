//! Columns that were given masked values, remembered for good.
//!
//! A line of JSON for each, in the state directory. It is on disk before the statement that puts the values is
//! sent, so that no crash forgets a column; a column remembered in vain is only masked in vain.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
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
        let mut taints: HashMap<Database, Vec<Taint>> = HashMap::new();
        for (at, line) in lines.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let line: Line = serde_json::from_slice(line).with_context(|| {
                format!(
                    "{}:{}: no line of the ledger; repair it, or remove it to show its column again",
                    path.display(),
                    at + 1
                )
            })?;
            let Line { upstream, database, schema, relation, column, holds } = line;
            taints.entry((upstream, database)).or_default().push(Taint { schema, relation, column, holds });
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
        let known = kept.taints.get(database).map_or(&[][..], Vec::as_slice);
        let new: Vec<Taint> = taints.iter().filter(|taint| !known.contains(taint)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for taint in new.clone() {
            let (upstream, database) = database.clone();
            let Taint { schema, relation, column, holds } = taint;
            serde_json::to_writer(&mut lines, &Line { upstream, database, schema, relation, column, holds })?;
            lines.push(b'\n');
        }
        kept.write(&lines)?;
        kept.taints.entry(database.clone()).or_default().extend(new);
        Ok(())
    }
}

impl Kept {
    /// Puts lines on disk, all of them or none.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line would spoil the next one. Where this fails too, the next start says so.
            let _ = self.file.set_len(before);
        }
        written
    }
}

/// Whether this is the start of a line: what a crash leaves, with nothing or zeros behind it.
fn is_cut_short(last: &[u8]) -> bool {
    let end = last.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let parsed = serde_json::from_slice::<Line>(&last[..end]);
    !last.is_empty() && parsed.is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mask-ledger-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn taint(column: &str, holds: Holds) -> Taint {
        Taint { schema: "public".into(), relation: "notes".into(), column: column.into(), holds }
    }

    fn database() -> Database {
        (([127, 0, 0, 1], 5432).into(), "shop".into())
    }

    const HOLDS: [Holds; 4] = [Holds::Copies, Holds::Paired, Holds::Derived, Holds::Mixed];

    /// A ledger of one column for each thing a column may hold; its text.
    fn written(folder: &Path) -> String {
        let ledger = Ledger::open(folder).unwrap();
        for (column, holds) in ["a", "b", "c", "é"].into_iter().zip(HOLDS) {
            ledger.add(&database(), &[taint(column, holds)]).unwrap();
        }
        fs::read_to_string(folder.join(FILE_NAME)).unwrap()
    }

    fn held(ledger: &Ledger) -> Vec<Holds> {
        ledger.of(&database()).iter().map(|taint| taint.holds).collect()
    }

    #[test]
    fn what_was_remembered_is_read_again_once_and_for_its_database_only() {
        let folder = folder("again");
        let text = written(&folder);
        let ledger = Ledger::open(&folder).unwrap();
        assert_eq!(held(&ledger), HOLDS);
        for (address, name) in [([127, 0, 0, 2], "shop"), ([127, 0, 0, 1], "other")] {
            assert_eq!(ledger.of(&((address, 5432).into(), name.into())), []);
        }
        ledger.add(&database(), &[taint("a", Holds::Copies)]).unwrap();
        assert_eq!(fs::read_to_string(folder.join(FILE_NAME)).unwrap(), text, "it is known");
        let mode = fs::metadata(folder.join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_line_that_was_cut_short_was_never_sent_and_the_next_one_is_whole() {
        let folder = folder("torn");
        let whole = written(&folder);
        let start = whole.trim_end().rfind('\n').unwrap() + 1;
        for end in start + 1..whole.len() - 1 {
            for tail in [&b""[..], b"\0\0\0"] {
                fs::write(folder.join(FILE_NAME), [&whole.as_bytes()[..end], tail].concat()).unwrap();
                let ledger = Ledger::open(&folder).unwrap();
                assert_eq!(held(&ledger), HOLDS[..3], "{end} {tail:?}");
                ledger.add(&database(), &[taint("é", Holds::Mixed)]).unwrap();
                assert_eq!(held(&Ledger::open(&folder).unwrap()), HOLDS, "{end} {tail:?}");
                assert_eq!(fs::read_to_string(folder.join(FILE_NAME)).unwrap(), whole, "{end} {tail:?}");
            }
        }
        // Who edits it by hand may leave out the last end of line.
        fs::write(folder.join(FILE_NAME), whole.trim_end()).unwrap();
        let ledger = Ledger::open(&folder).unwrap();
        assert_eq!(held(&ledger), HOLDS);
        ledger.add(&database(), &[taint("e", Holds::Copies)]).unwrap();
        assert_eq!(held(&Ledger::open(&folder).unwrap())[..4], HOLDS);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_line_that_is_none_stops_the_start_wherever_it_stands() {
        let folder = folder("garbage");
        let whole = written(&folder);
        let lines: Vec<&str> = whole.lines().collect();
        let old = lines[0].replace(",\"holds\":\"copies\"", "");
        for garbage in [
            "garbage",
            "{}",
            "\0\0\0",
            &lines[0][..40],
            &lines[0].replace("copies", "something-newer"),
            &lines[0].replace("\"column\"", "\"colum\""),
        ] {
            for at in 0..=lines.len() {
                let mut damaged = lines.clone();
                damaged.insert(at, garbage);
                let text = damaged.join("\n") + "\n";
                fs::write(folder.join(FILE_NAME), &text).unwrap();
                let error = format!("{:#}", Ledger::open(&folder).err().expect(garbage));
                let place = format!("tainted.jsonl:{}: ", at + 1);
                assert!(error.contains(&place) && error.contains("repair it"), "{error}");
                assert_eq!(fs::read_to_string(folder.join(FILE_NAME)).unwrap(), text, "it is left as it is");
            }
        }
        fs::write(folder.join(FILE_NAME), [&[0xff, b'\n'][..], whole.as_bytes()].concat()).unwrap();
        assert!(Ledger::open(&folder).is_err());
        fs::write(folder.join(FILE_NAME), format!("\n{old}\n\n{}\n", lines[3])).unwrap();
        assert_eq!(
            held(&Ledger::open(&folder).unwrap()),
            [Holds::Derived, Holds::Mixed],
            "older and empty ones"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_could_not_be_written_is_not_taken_for_written() {
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let ledger = Ledger(Mutex::new(Kept { file, taints: HashMap::new() }));
        for _ in 0..2 {
            assert!(ledger.add(&database(), &[taint("a", Holds::Copies)]).is_err());
            assert_eq!(ledger.of(&database()), []);
        }
    }
}

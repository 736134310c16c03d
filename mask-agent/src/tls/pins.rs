//! Keys of servers that nobody vouches for, as they were first seen.
//!
//! A file of JSON in the state directory, replaced as a whole. A running daemon looks at it again before it refuses a
//! server, so `mask-agent pins forget` needs no signal.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::write_whole;

const NAME: &str = "pins.json";
/// A host reaches a few databases; a client that connects to many cannot fill the disk. Beyond that none is remembered,
/// and so none is believed that nobody vouches for.
const PINS_MAX: usize = 4096;

/// What is remembered of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// SHA-256 of its public key with the algorithm, in hexadecimal digits.
    pub(crate) spki_sha256: String,
    /// Host names of its certificate where an authority of the system vouches for them: it may change its key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<String>,
}

type Kept = BTreeMap<SocketAddr, Pin>;

/// The pins of a state directory.
#[derive(Debug)]
pub(crate) struct Pins {
    folder: PathBuf,
    kept: Mutex<Kept>,
}

impl Pins {
    /// Reads them.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        Ok(Self { folder: state_dir.to_owned(), kept: Mutex::new(read(state_dir)?) })
    }

    /// What is remembered of a server.
    pub(super) fn find(&self, server: SocketAddr) -> Option<Pin> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&server).cloned()
    }

    /// Whether a server is remembered, by the file as it is now where it is.
    pub(crate) fn is_known(&self, server: SocketAddr) -> bool {
        self.find(server).is_some() && self.find_again(server).is_some()
    }

    /// The same by the file as it is now. Where that cannot be read, what was known stays.
    pub(super) fn find_again(&self, server: SocketAddr) -> Option<Pin> {
        match read(&self.folder) {
            Ok(kept) => *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept,
            Err(error) => tracing::error!(%error, "pins cannot be read again; those known stay in force"),
        }
        self.find(server)
    }

    /// Remembers a server; it is on disk when this returns.
    pub(super) fn remember(&self, server: SocketAddr, pin: Pin) -> Result<()> {
        if self.find(server).as_ref() == Some(&pin) {
            return Ok(());
        }
        let kept = change(&self.folder, |kept| {
            anyhow::ensure!(
                kept.len() < PINS_MAX || kept.contains_key(&server),
                "{PINS_MAX} servers are remembered, and none more; forget some"
            );
            kept.insert(server, pin);
            Ok(())
        })?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(())
    }
}

/// The pins there are, for people.
pub(super) fn list(state_dir: &Path) -> Result<Kept> {
    read(state_dir)
}

/// Forgets a server, or all; those that were forgotten.
pub(super) fn forget(state_dir: &Path, server: Option<SocketAddr>) -> Result<Vec<SocketAddr>> {
    let mut forgotten = Vec::new();
    change(state_dir, |kept| {
        forgotten.extend(kept.keys().copied().filter(|known| server.is_none_or(|server| server == *known)));
        kept.retain(|known, _| !forgotten.contains(known));
        Ok(())
    })?;
    Ok(forgotten)
}

/// Changes the file while nobody else does.
fn change(folder: &Path, edit: impl FnOnce(&mut Kept) -> Result<()>) -> Result<Kept> {
    let lock = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
    let mut kept = read(folder)?;
    edit(&mut kept)?;
    let text = serde_json::to_string_pretty(&kept)? + "\n";
    write_whole(&folder.join(NAME), text.as_bytes(), |draft, path| fs::rename(draft, path))?;
    Ok(kept)
}

fn read(folder: &Path) -> Result<Kept> {
    let path = folder.join(NAME);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::new()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} cannot be understood; restore it, or remove it to believe every server once more",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_remembered_and_forgotten_under_a_running_daemon() {
        let folder = std::env::temp_dir().join(format!("mask-pins-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let server: SocketAddr = "10.0.0.7:5432".parse().unwrap();
        let other: SocketAddr = "[fd00::7]:5432".parse().unwrap();
        let pin = |key: &str| Pin { spki_sha256: key.to_owned(), names: Vec::new() };
        let pins = Pins::open(&folder).unwrap();
        pins.remember(server, pin("aa")).unwrap();
        pins.remember(other, pin("bb")).unwrap();
        assert_eq!(Pins::open(&folder).unwrap().find(server), Some(pin("aa")));
        assert_eq!(forget(&folder, Some(server)).unwrap(), [server]);
        assert_eq!(pins.find(server), Some(pin("aa")), "it has not looked yet");
        assert_eq!((pins.find_again(server), pins.find(other)), (None, Some(pin("bb"))));
        assert_eq!((forget(&folder, None).unwrap(), list(&folder).unwrap().len()), (vec![other], 0));

        fs::write(folder.join(NAME), "{").unwrap();
        assert!(Pins::open(&folder).is_err_and(|error| error.to_string().contains("cannot be understood")));
        assert_eq!(pins.find_again(other), Some(pin("bb")), "a broken file makes nobody trusted anew");
        assert!(pins.remember(server, pin("cc")).is_err(), "nor is it overwritten");
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [NAME], "no draft is left");
        fs::remove_dir_all(folder).unwrap();
    }
}

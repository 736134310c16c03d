//! The files of the mask keys: `mask.key` is version 1, `mask.key.2` the next.
//!
//! A version is never overwritten and never deleted here: its tokens could not be read back.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use mask_core::masking::KeyRing;

const NAME: &str = "mask.key";
const FIRST_VERSION: u16 = 1;

/// Where a version is kept.
pub(crate) fn path(state_dir: &Path, version: u16) -> PathBuf {
    match version {
        FIRST_VERSION => state_dir.join(NAME),
        version => state_dir.join(format!("{NAME}.{version}")),
    }
}

/// The versions there are, in order.
pub(crate) fn versions(state_dir: &Path) -> io::Result<Vec<u16>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(state_dir)? {
        let name = entry?.file_name();
        versions.extend(name.to_str().and_then(version));
    }
    versions.sort_unstable();
    Ok(versions)
}

/// The version a file name stands for, written as `path` writes it.
fn version(name: &str) -> Option<u16> {
    let rest = name.strip_prefix(NAME)?;
    let Some(number) = rest.strip_prefix('.') else { return rest.is_empty().then_some(FIRST_VERSION) };
    let version: u16 = number.parse().ok().filter(|version| *version > FIRST_VERSION)?;
    (version.to_string() == number).then_some(version)
}

/// Reads every version; the first is made where there is none.
pub(crate) fn load(state_dir: &Path) -> Result<KeyRing> {
    let mut versions = versions(state_dir)
        .with_context(|| format!("cannot look for mask keys in {}", state_dir.display()))?;
    if versions.is_empty() {
        make(state_dir, FIRST_VERSION)?;
        versions.push(FIRST_VERSION);
    }
    let keys = versions.into_iter().map(|version| Ok((version, read(&path(state_dir, version))?)));
    KeyRing::new(keys.collect::<Result<Vec<_>>>()?).context("there is no mask key")
}

fn read(path: &Path) -> Result<[u8; 32]> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Ok(key) = bytes.try_into() else {
        bail!("{} is not a key of 32 bytes; restore it from a backup", path.display())
    };
    Ok(key)
}

/// Prints the versions there are.
pub(crate) fn list(state_dir: &Path) -> Result<()> {
    let mut out = io::stdout().lock();
    let versions = versions(state_dir)
        .with_context(|| format!("cannot look for mask keys in {}", state_dir.display()))?;
    for version in &versions {
        let newest = if versions.last() == Some(version) { "  makes new masks" } else { "" };
        writeln!(out, "{version:>5} {}{newest}", path(state_dir, *version).display())?;
    }
    Ok(())
}

/// Makes a newer version than all there are, and says so.
pub(crate) fn rotate(state_dir: &Path) -> Result<()> {
    let version = make_next(state_dir)?;
    let path = path(state_dir, version);
    writeln!(
        io::stdout(),
        "version {version}: {}; a running daemon uses it for connections opened from now on",
        path.display()
    )?;
    Ok(())
}

fn make_next(state_dir: &Path) -> Result<u16> {
    let versions = versions(state_dir)
        .with_context(|| format!("cannot look for mask keys in {}", state_dir.display()))?;
    let newest = versions.last().copied().unwrap_or(0);
    let version = newest.checked_add(1).context("there are as many mask keys as there can be")?;
    make(state_dir, version)?;
    Ok(version)
}

/// The key appears under its name all at once, and only if nobody else has made it.
fn make(state_dir: &Path, version: u16) -> Result<()> {
    let path = path(state_dir, version);
    let draft = state_dir.join(format!("{NAME}.draft-{}", std::process::id()));
    let written = write(&draft).and_then(|()| fs::hard_link(&draft, &path));
    let removed = fs::remove_file(&draft);
    written.with_context(|| format!("cannot write {}", path.display()))?;
    removed.with_context(|| format!("{} is a copy of the key; remove it", draft.display()))?;
    File::open(state_dir).and_then(|dir| dir.sync_all()).context("the new key may not outlive a power cut")
}

fn write(draft: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    // A draft of a process with the same number is a leftover.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(&key)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mask-keys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn a_rotation_adds_a_version_and_keeps_the_others() {
        let dir = folder("rotate");
        assert_eq!(load(&dir).unwrap().newest().version(), 1);
        let first = fs::read(path(&dir, 1)).unwrap();
        assert_eq!([make_next(&dir).unwrap(), make_next(&dir).unwrap()], [2, 3]);
        let ring = load(&dir).unwrap();
        assert_eq!((ring.newest().version(), ring.versions()), (3, vec![1, 2, 3]));
        assert_eq!(fs::read(path(&dir, 1)).unwrap(), first);
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "no draft is left: {names:?}");
        for version in 1..=3 {
            let mode = fs::metadata(path(&dir, version)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn other_files_are_no_keys_and_a_short_key_is_an_error() {
        let dir = folder("names");
        for name in
            ["mask.key.02", "mask.key.1", "mask.key.x", "mask.key.70000", "mask.keys", "mask.key.draft-7"]
        {
            fs::write(dir.join(name), [0; 32]).unwrap();
        }
        assert_eq!(versions(&dir).unwrap(), Vec::<u16>::new());
        fs::write(path(&dir, 2), [0; 31]).unwrap();
        let error = format!("{:#}", load(&dir).err().unwrap());
        assert!(error.contains("mask.key.2 is not a key of 32 bytes"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_that_somebody_else_has_made_is_not_overwritten() {
        let dir = folder("race");
        make(&dir, 1).unwrap();
        let key = fs::read(path(&dir, 1)).unwrap();
        assert!(make(&dir, 1).is_err());
        assert_eq!(fs::read(path(&dir, 1)).unwrap(), key);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }
}

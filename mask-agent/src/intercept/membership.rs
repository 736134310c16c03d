//! Whether a cgroup lies in another.

use std::{
    fs,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{cgroup_root, settings::number};

/// Cgroups that are looked at below one; a service has a few, and who may make thousands is left out.
const CGROUPS_MAX: usize = 4096;

/// Whether a cgroup is the one of this path or lies below it. The number is what the kernel said when it connected, so
/// it is looked for as it is: the process may be gone, or somewhere else.
pub fn is_within(id: u64, path: &str) -> bool {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let root = ROOT.get_or_init(|| cgroup_root().ok());
    path == "/" || root.as_deref().is_some_and(|root| is_within_at(root, id, path))
}

fn is_within_at(root: &Path, id: u64, path: &str) -> bool {
    let Some(top) = number(root, path) else { return false };
    if top == id {
        return true;
    }
    let mut folders = vec![root.join(path.trim_start_matches('/'))];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            seen += 1;
            if entry.ino() == id {
                return true;
            }
            if seen >= CGROUPS_MAX {
                return false;
            }
            folders.push(entry.path());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_cgroup_is_within_itself_and_those_above() {
        let root = std::env::temp_dir().join(format!("mask-membership-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir_all(root.join("ab")).unwrap();
        let id = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
        for (inner, outer, expected) in [
            ("a/b/c", "/a", true),
            ("a/b/c", "/a/b", true),
            ("a", "/a", true),
            ("a", "/a/b", false),
            ("ab", "/a", false),
            ("a", "/gone", false),
        ] {
            assert_eq!(is_within_at(&root, id(inner), outer), expected, "{inner} in {outer}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}

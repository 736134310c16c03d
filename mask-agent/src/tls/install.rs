//! Where a distribution keeps the authorities it trusts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder that is read by a command, which makes of it what programs trust.
struct Store {
    folder: &'static str,
    command: &'static str,
    /// Where the command is.
    program: &'static str,
}

const STORES: [Store; 4] = [
    // Debian, Ubuntu, Alpine.
    Store {
        folder: "usr/local/share/ca-certificates",
        command: "update-ca-certificates",
        program: "usr/sbin/update-ca-certificates",
    },
    // Fedora, Red Hat, Amazon.
    Store {
        folder: "etc/pki/ca-trust/source/anchors",
        command: "update-ca-trust",
        program: "usr/bin/update-ca-trust",
    },
    // Arch.
    Store {
        folder: "etc/ca-certificates/trust-source/anchors",
        command: "update-ca-trust",
        program: "usr/bin/update-ca-trust",
    },
    // SUSE.
    Store {
        folder: "etc/pki/trust/anchors",
        command: "update-ca-certificates",
        program: "usr/sbin/update-ca-certificates",
    },
];

/// What installing is: a file, and then a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) file: PathBuf,
    pub(super) command: &'static str,
}

impl Plan {
    /// For the distribution whose files lie below a folder.
    pub(super) fn below(root: &Path) -> Result<Self> {
        let known =
            STORES.iter().find(|store| root.join(store.folder).is_dir() && root.join(store.program).exists());
        let store = known.context(
            "it is not known where this distribution keeps the authorities it trusts; \
             run `mask-agent ca export`, and do with the file as its manual says",
        )?;
        Ok(Self { file: root.join(store.folder).join("mask-agent.crt"), command: store.command })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_folder_and_the_command_are_the_distributions() {
        let root = std::env::temp_dir().join(format!("mask-install-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for store in &STORES {
            fs::create_dir_all(root.join(store.folder)).unwrap();
            assert!(Plan::below(&root).is_err_and(|error| error.to_string().contains("ca export")));
            let program = root.join(store.program);
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::write(&program, "").unwrap();
            let file = root.join(store.folder).join("mask-agent.crt");
            assert_eq!(Plan::below(&root).unwrap(), Plan { file, command: store.command });
            fs::remove_dir_all(&root).unwrap();
        }
    }
}

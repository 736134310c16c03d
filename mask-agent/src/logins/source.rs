//! Where secrets come from: a file, a credential of systemd's, or the environment.

use std::{
    env, fmt,
    fs::File,
    io::Read,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use mask_core::session::Secret;
use serde::Deserialize;

/// PostgreSQL reads no longer password message (`PG_MAX_AUTH_TOKEN_LENGTH`).
const SECRET_BYTES_MAX: u64 = 65_535;
/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret comes from; in configurations it is never written itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) enum Source {
    /// One that systemd hands over (`LoadCredential=`, `LoadCredentialEncrypted=`).
    Credential(String),
    /// A variable of the daemon's environment.
    Environment(String),
    /// A file of the daemon's user, or root's, and nobody else's.
    File(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    credential: Option<String>,
    env: Option<String>,
    file: Option<PathBuf>,
}

impl TryFrom<Written> for Source {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written { credential: Some(name), env: None, file: None } => {
                let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
                is_name.then_some(Self::Credential(name)).ok_or_else(|| {
                    "`credential` is no name; allowed: one that `LoadCredential=` of the unit has".to_owned()
                })
            }
            Written { credential: None, env: Some(name), file: None } => Ok(Self::Environment(name)),
            Written { credential: None, env: None, file: Some(path) } if path.is_absolute() => {
                Ok(Self::File(path))
            }
            Written { credential: None, env: None, file: Some(path) } => {
                Err(format!("`{}` is no whole path; allowed: one that begins with `/`", path.display()))
            }
            _ => Err("a secret has one source; allowed: one of `file`, `credential`, `env`".to_owned()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Who may read a file besides its owner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// A group: what systemd hands to a user by an access list shows as the rights of a group.
    Group,
    Nobody,
}

impl Source {
    /// Reads it. A line's end behind it is not part of it.
    pub(super) fn read(&self) -> Result<Secret> {
        let secret = match self {
            Self::Credential(name) => {
                let folder = env::var_os(CREDENTIALS).with_context(|| {
                    format!(
                        "credential {name}: systemd has handed over none ({CREDENTIALS} is not set); \
                         add `LoadCredential={name}:/PATH` to the unit"
                    )
                })?;
                read(&Path::new(&folder).join(name), Readers::Group).with_context(|| {
                    format!("credential {name}: see `LoadCredential={name}:/PATH` of the unit")
                })?
            }
            Self::Environment(name) => {
                let value = env::var_os(name).with_context(|| format!("{self} is not set for the daemon"))?;
                value.into_vec()
            }
            Self::File(path) => read(path, Readers::Nobody)?,
        };
        let secret = Secret::new(secret);
        let bytes = secret.expose();
        let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
        ensure!(!bytes.is_empty(), "{self} is empty");
        ensure!(!bytes.contains(&0), "{self} has a NUL byte, which no password can have");
        Ok(Secret::new(bytes.to_vec()))
    }
}

fn read(path: &Path, readers: Readers) -> Result<Vec<u8>> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    // Of what is open: the name may stand for another file by now.
    let found = file.metadata().with_context(|| format!("cannot read {shown}"))?;
    ensure!(found.is_file(), "{shown} is no file");
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != 0 && found.uid() != own {
        bail!("{shown} belongs to user {}, who can read and write it; run `chown root {shown}`", found.uid());
    }
    let others = if readers == Readers::Group { 0o037 } else { 0o077 };
    if found.mode() & others != 0 {
        bail!(
            "{shown} has mode {:04o}, so others can use it; run `chmod 600 {shown}`",
            found.mode() & 0o7777
        );
    }
    ensure!(found.len() <= SECRET_BYTES_MAX, "{shown} is longer than {SECRET_BYTES_MAX} bytes");
    let mut bytes = Vec::with_capacity(found.len() as usize + 1);
    file.by_ref()
        .take(SECRET_BYTES_MAX)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    Ok(bytes)
}

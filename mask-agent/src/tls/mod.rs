//! TLS on both legs: handshakes, certificates, and whom to believe. What is asked for and answered is the core's.
//!
//! A client is shown a certificate of the host's own authority (`authority`, `clients`) with the names of the
//! server's. The server's is verified, or remembered on first use (`trust`, `pins`); decision 9 says why.

/// The host's own certificate authority.
mod authority;
/// What a certificate says.
mod certificate;
/// The client's leg.
mod clients;
/// `mask-agent ca` and `mask-agent pins`.
pub(crate) mod commands;
/// TLS for tokio-postgres.
mod driver;
/// Where a distribution keeps the authorities it trusts.
mod install;
/// Keys of servers that nobody vouches for, as they were first seen.
mod pins;
/// A socket, in clear or encrypted.
mod stream;
/// Whether a server's certificate is believed.
mod trust;

use std::{fs, io, path::Path, sync::Arc};

use anyhow::{Context, Result};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

pub(crate) use self::{
    certificate::{Certificate, Name},
    clients::{Clients, Greeted},
    driver::{Bound, Established, Unverified},
    pins::Pins,
    stream::Stream,
    trust::{Trust, Verifier, fault},
};

/// What PostgreSQL's protocol is called inside TLS.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Who does the arithmetic (decision 9).
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("{} has no certificates in PEM", path.display());
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().with_context(wrong)?;
    anyhow::ensure!(!found.is_empty(), wrong());
    Ok(found)
}

/// The private key of a PEM file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    PrivateKeyDer::from_pem_slice(&text)
        .with_context(|| format!("{} has no private key in PEM without a passphrase", path.display()))
}

/// Writes a file all at once, so that nobody ever reads a part of it; `place` puts the draft under its name.
fn write_whole(
    path: &Path,
    content: &[u8],
    place: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};

    let folder = path.parent().context("a file lies in a folder")?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".draft-{}", std::process::id()));
    let draft = Path::new(&draft);
    // A draft of a process with the same number is a leftover.
    let _ = fs::remove_file(draft);
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        place(draft, path)?;
        fs::File::open(folder)?.sync_all()
    };
    let written = write();
    // It is gone where it was renamed.
    let _ = fs::remove_file(draft);
    written.with_context(|| format!("cannot write {}", path.display()))
}

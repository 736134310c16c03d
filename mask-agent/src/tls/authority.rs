//! The host's own certificate authority: one file, key and certificate, which only its owner may read.
//!
//! Whoever has the key can be any server to every client that trusts the certificate.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{Name, provider, write_whole};

const NAME: &str = "ca.pem";
/// The key stands before the certificate.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
/// It is installed by hand on every host, once.
const VALID: Duration = Duration::from_hours(3650 * 24);
/// Of a leaf. The daemon makes them as it needs them, and nobody keeps a copy.
pub(super) const LEAF_VALID: Duration = Duration::from_hours(7 * 24);
/// Clocks of two hosts, or of a host before and after it asks for the time, differ.
const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// The authority, ready to sign.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// The same, as it is written.
    pem: String,
}

/// Where it lies.
pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

impl Authority {
    /// Reads it; the first time it is made.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        match Self::read(state_dir)? {
            Some(authority) => Ok(authority),
            None => Self::make(state_dir),
        }
    }

    /// Reads it; none where there is none yet.
    pub(super) fn read(state_dir: &Path) -> Result<Option<Self>> {
        let path = path(state_dir);
        if !check_private(&path)? {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).map(Some).with_context(|| {
            format!(
                "{} is not a key and its certificate; restore it, or remove it and run `mask-agent ca init`",
                path.display()
            )
        })
    }

    fn parse(text: &str) -> Result<Self> {
        let key = KeyPair::from_pem(text)?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())?;
        let (_, read) = X509Certificate::from_der(&certificate)?;
        ensure!(read.public_key().raw == key.subject_public_key_info(), "the certificate is of another key");
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let pem = &text[text.find(BEGIN).context("it has no certificate")?..];
        Ok(Self { issuer, certificate, pem: pem.to_owned() })
    }

    /// Makes one where there is none; the file appears under its name all at once.
    pub(super) fn make(state_dir: &Path) -> Result<Self> {
        let path = path(state_dir);
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already; clients may trust it", path.display());
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "mask-agent");
        params.distinguished_name.push(DnType::CommonName, format!("mask-agent on {}", host()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + VALID).into();
        let certificate = params.self_signed(&key)?;
        let text = format!("{}{}", key.serialize_pem(), certificate.pem());
        // A link fails where somebody else was faster.
        write_whole(&path, text.as_bytes(), |draft, path| fs::hard_link(draft, path))?;
        tracing::info!(path = %path.display(), "a certificate authority was made");
        Self::parse(&text)
    }

    /// Its certificate, as clients are given it.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of its certificate, as other tools print it.
    pub(super) fn fingerprint(&self) -> String {
        let pairs: Vec<_> =
            Sha256::digest(&self.certificate).iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// Its subject, and until when it is valid.
    pub(super) fn describe(&self) -> Result<(String, String)> {
        let (_, read) = X509Certificate::from_der(&self.certificate)?;
        let until = read.validity().not_after.to_rfc2822();
        Ok((read.subject().to_string(), until.unwrap_or_else(|error| error)))
    }

    /// A key and its certificate for these names, valid from now on.
    pub(super) fn certify(&self, names: &[Name]) -> Result<Arc<CertifiedKey>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "mask-agent");
        params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + LEAF_VALID).into();
        let leaf = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
    }
}

fn alternative_name(name: &Name) -> Result<SanType, rcgen::Error> {
    Ok(match name {
        Name::Address(address) => SanType::IpAddress(match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(*address, IpAddr::V4),
            IpAddr::V4(_) => *address,
        }),
        Name::Host(host) => SanType::DnsName(host.as_str().try_into()?),
    })
}

/// Whether the file is there. One that others can read or have written is not used.
fn check_private(path: &Path) -> Result<bool> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata.with_context(|| format!("cannot look at {}", path.display()))?,
    };
    let file = path.display();
    let own = rustix::process::geteuid().as_raw();
    ensure!(metadata.is_file(), "{file} is no regular file; whoever made it may read the key");
    ensure!(
        metadata.uid() == own,
        "{file} belongs to user {}, who can read the key; run `chown {own} {file}`, or make another",
        metadata.uid()
    );
    let mode = metadata.mode() & 0o777;
    ensure!(
        mode | 0o700 == 0o700,
        "{file} has mode {mode:04o}, so others can read the key that clients trust; if none has, run `chmod 600 {file}`"
    );
    Ok(true)
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this host".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Certificate;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mask-ca-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn fault(folder: &Path) -> String {
        format!("{:#}", Authority::open(folder).err().unwrap())
    }

    #[test]
    fn it_is_made_once_and_a_leaf_has_the_names_it_was_asked_for() {
        let folder = folder("made");
        let made = Authority::open(&folder).unwrap();
        assert_eq!(Authority::open(&folder).unwrap().fingerprint(), made.fingerprint());
        assert_eq!(fs::metadata(path(&folder)).unwrap().mode() & 0o777, 0o600);
        assert!(!made.pem().contains("PRIVATE"), "the key is not given away with the certificate");
        let names = [Name::Address([10, 0, 0, 7].into()), Name::Host("*.db.example".to_owned())];
        let leaf = made.certify(&names).unwrap();
        assert_eq!(Certificate::read(&leaf.cert[0]).unwrap().names, names);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_cut_mixed_or_somebody_elses_is_not_used_nor_overwritten() {
        let (folder, other) = (folder("own"), folder("other"));
        Authority::make(&folder).unwrap();
        Authority::make(&other).unwrap();
        let [own, strange] = [&folder, &other].map(|folder| fs::read_to_string(path(folder)).unwrap());
        let (key, _) = own.split_once(BEGIN).unwrap();
        let (_, certificate) = strange.split_once(BEGIN).unwrap();
        for (text, words) in [
            (format!("{key}{BEGIN}{certificate}"), "of another key"),
            (key.to_owned(), "ca init"),
            (own[..own.len() / 2].to_owned(), "ca init"),
            (String::new(), "ca init"),
        ] {
            fs::write(path(&folder), &text).unwrap();
            assert!(fault(&folder).contains(words), "{}", fault(&folder));
            assert_eq!(fs::read_to_string(path(&folder)).unwrap(), text);
        }
        fs::remove_file(path(&folder)).unwrap();
        std::os::unix::fs::symlink(path(&other), path(&folder)).unwrap();
        assert!(fault(&folder).contains("no regular file"));
        fs::remove_dir_all(folder).unwrap();
        fs::remove_dir_all(other).unwrap();
    }
}

//! What a certificate says: names, key, and what a login can be bound to.

use std::net::IpAddr;

use mask_core::session::ChannelBinding;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer,
    signature_algorithm::SignatureAlgorithm,
};

/// More names than a certificate of a database has; a leaf with all of them still fits a handshake.
const NAMES_MAX: usize = 128;

/// Who a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Name {
    /// An address.
    Address(IpAddr),
    /// A host name, perhaps with a wildcard.
    Host(String),
}

/// What a server's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its alternative names, or where it has none, its common name.
    pub(crate) names: Vec<Name>,
    /// The name stands in the subject only.
    pub(crate) named_by_subject: bool,
    /// SHA-256 of the public key with its algorithm.
    pub(crate) key: [u8; 32],
    /// The key itself.
    pub(crate) key_info: Vec<u8>,
    /// None for signatures without a hash, as Ed25519: nobody has said what to bind to.
    pub(crate) binding: Option<ChannelBinding>,
}

impl Certificate {
    /// Reads one in DER.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = alternative_names(&certificate);
        let named_by_subject = names.is_empty();
        if named_by_subject {
            names.extend(common_name(&certificate));
        }
        let key_info = certificate.public_key().raw;
        Some(Self {
            names,
            named_by_subject,
            key: Sha256::digest(key_info).into(),
            key_info: key_info.to_vec(),
            binding: binding(&certificate, der),
        })
    }

    /// The key as rustls takes it.
    pub(crate) fn key_info(&self) -> SubjectPublicKeyInfoDer<'_> {
        SubjectPublicKeyInfoDer::from(&self.key_info[..])
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<Name> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) => host_name(host),
        GeneralName::IPAddress(bytes) => address(bytes).map(Name::Address),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).take(NAMES_MAX).collect()
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<Name> {
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    name.parse().map(Name::Address).ok().or_else(|| host_name(name))
}

/// A name only where it is one, for ours carry it on.
fn host_name(text: &str) -> Option<Name> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let host = text.strip_prefix("*.").unwrap_or(text);
    let is_name = text.len() <= 253 && host.split('.').all(is_label);
    is_name.then(|| Name::Host(text.to_ascii_lowercase()))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// RFC 5929: the hash of the signature's own algorithm, with SHA-256 in place of MD5 and SHA-1.
fn binding(certificate: &X509Certificate<'_>, der: &[u8]) -> Option<ChannelBinding> {
    let algorithm = &certificate.signature_algorithm;
    let mut oid = algorithm.algorithm.to_id_string();
    if let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm) {
        oid = parameters.hash_algorithm_oid().to_id_string();
    }
    let hash = match &*oid {
        // MD5, SHA-1 and SHA-256: of RSA, of ECDSA, and alone, as RSA-PSS has them.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2"
        | "1.3.14.3.2.26"
        | "2.16.840.1.101.3.4.2.1" => Sha256::digest(der).to_vec(),
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" | "2.16.840.1.101.3.4.2.4" => {
            Sha224::digest(der).to_vec()
        }
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => {
            Sha384::digest(der).to_vec()
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => {
            Sha512::digest(der).to_vec()
        }
        _ => return None,
    };
    Some(ChannelBinding(hash))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn made(params: &CertificateParams, algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_the_alternative_ones_or_else_the_subjects() {
        let mut params =
            CertificateParams::new(vec!["DB.example".to_owned(), "10.0.0.7".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "other.example");
        params.subject_alt_names.push(SanType::DnsName("*.db.example".try_into().unwrap()));
        params.subject_alt_names.push(SanType::DnsName("no name at all".try_into().unwrap()));
        let read = Certificate::read(&made(&params, &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
        let host = |name: &str| Name::Host(name.to_owned());
        let expected = [host("db.example"), Name::Address([10, 0, 0, 7].into()), host("*.db.example")];
        assert_eq!((&read.names[..], read.named_by_subject), (&expected[..], false));

        params.subject_alt_names.clear();
        let read = Certificate::read(&made(&params, &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
        assert_eq!((&read.names[..], read.named_by_subject), (&[host("other.example")][..], true));
        params.distinguished_name.push(DnType::CommonName, "Acme Root CA");
        let read = Certificate::read(&made(&params, &rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
        assert_eq!(read.names, []);
    }

    #[test]
    fn a_login_is_bound_by_the_hash_of_the_signature() {
        let params = CertificateParams::default();
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let read = Certificate::read(&made(&params, algorithm)).unwrap();
            assert_eq!(read.binding.map(|binding| binding.0.len()), length);
        }
    }

    #[test]
    fn what_is_cut_or_altered_is_no_certificate_or_another_and_never_a_panic() {
        let der = made(&CertificateParams::default(), &rcgen::PKCS_ECDSA_P256_SHA256);
        for cut in 0..der.len() {
            assert_eq!(Certificate::read(&der[..cut]), None);
        }
        for at in 0..der.len() {
            let mut altered = der.clone();
            altered[at] ^= 0xff;
            // Whatever it is read as, it is read.
            let _ = Certificate::read(&altered);
        }
    }
}

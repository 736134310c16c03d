//! Whether a server's certificate is believed.
//!
//! Who vouches for it is asked first: an authority the operator named, then those of the system. Where a mode does not
//! insist on that, a key nobody vouches for is believed when it is first seen, and from then on only that one is.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use mask_core::session::DialFault;
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{Certificate, Name, Pins, pins::Pin};

/// What has to be true of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// An authority vouches for it, or it is the one first seen.
    Pinned,
    /// An authority vouches for it.
    Authority,
    /// An authority vouches for it, and it has the server's name.
    Name,
}

/// Who vouches for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voucher {
    Configured,
    Nobody,
    System,
}

/// What a certificate is, next to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Findings {
    voucher: Voucher,
    /// It has the server's name or address.
    is_named: bool,
    /// Against what is remembered; none where nothing is.
    is_pinned: Option<bool>,
}

impl Trust {
    /// The rule itself.
    fn judge(self, findings: Findings) -> Result<(), DialFault> {
        let Findings { voucher, is_named, is_pinned } = findings;
        let is_trusted = match self {
            Self::Name => voucher != Voucher::Nobody && is_named,
            Self::Authority => voucher != Voucher::Nobody,
            // That anybody got a certificate of a public authority says nothing of this server but with its name.
            Self::Pinned if voucher == Voucher::Configured || voucher == Voucher::System && is_named => true,
            Self::Pinned => return is_pinned.unwrap_or(true).then_some(()).ok_or(DialFault::Changed),
        };
        is_trusted.then_some(()).ok_or(DialFault::Untrusted)
    }
}

/// Authorities of the system, read when they are first needed.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "an authority of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
});

/// Judges the certificate of one server.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    /// Authorities the operator named, and as they were written: a server's own certificate may be among them.
    configured: Option<(RootCertStore, Vec<CertificateDer<'static>>)>,
    /// What its certificate is to say.
    name: ServerName<'static>,
    server: SocketAddr,
    pins: Arc<Pins>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Carries a fault through the handshake.
#[derive(Debug, thiserror::Error)]
#[error("the certificate is refused: {0:?}")]
struct Distrust(DialFault);

/// Why a handshake failed.
pub(crate) fn fault(error: &io::Error) -> DialFault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            other.downcast_ref::<Distrust>().map_or(DialFault::Handshake, |distrust| distrust.0)
        }
        _ => DialFault::Handshake,
    }
}

impl Verifier {
    pub(crate) fn new(
        trust: Trust,
        configured: Option<&[CertificateDer<'static>]>,
        name: ServerName<'static>,
        server: SocketAddr,
        pins: Arc<Pins>,
        provider: &CryptoProvider,
    ) -> Self {
        let configured = configured.map(|certificates| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            (roots, certificates.to_vec())
        });
        let algorithms = provider.signature_verification_algorithms;
        Self { trust, configured, name, server, pins, algorithms }
    }

    /// Remembers a server that has proved its key. It is judged once more: another connection may have remembered it
    /// meanwhile, and where a session is taken up again nobody was asked.
    pub(crate) fn remember(&self, shown: &[CertificateDer<'_>]) -> Result<(), DialFault> {
        let (first, rest) = shown.split_first().ok_or(DialFault::Handshake)?;
        let certificate = Certificate::read(first).ok_or(DialFault::Handshake)?;
        let voucher = self.judge(first, rest, UnixTime::now())?;
        if self.trust != Trust::Pinned {
            return Ok(());
        }
        let hosts = certificate.names.iter().filter_map(|name| match name {
            Name::Host(host) if voucher == Voucher::System => Some(host.clone()),
            Name::Host(_) | Name::Address(_) => None,
        });
        let pin = Pin { spki_sha256: hex(&certificate.key), names: hosts.collect() };
        self.pins.remember(self.server, pin).map_err(|error| {
            // What cannot be remembered cannot be compared next time either.
            tracing::error!(error = format!("{error:#}"), server = %self.server, "a certificate cannot be remembered");
            DialFault::Untrusted
        })
    }

    fn judge(
        &self,
        shown: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Voucher, DialFault> {
        let certificate = Certificate::read(shown).ok_or(DialFault::Handshake)?;
        let voucher = self.voucher(shown, rest, now);
        let is_named = self.is_named(shown, &certificate);
        let is_pinned = |pin: Option<Pin>| pin.map(|pin| Self::fits(&pin, shown, &certificate, voucher));
        let judge = |is_pinned| self.trust.judge(Findings { voucher, is_named, is_pinned });
        let judged = judge(is_pinned(self.pins.find(self.server))).or_else(|fault| match fault {
            DialFault::Changed => judge(is_pinned(self.pins.find_again(self.server))),
            fault => Err(fault),
        });
        judged.map(|()| voucher)
    }

    fn voucher(&self, shown: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Voucher {
        let vouches = |roots: &RootCertStore| {
            ParsedCertificate::try_from(shown).is_ok_and(|parsed| {
                let all = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, rest, now, all).is_ok()
            })
        };
        let is_configured = self
            .configured
            .as_ref()
            .is_some_and(|(roots, certificates)| certificates.contains(shown) || vouches(roots));
        if is_configured {
            Voucher::Configured
        } else if vouches(&SYSTEM) {
            Voucher::System
        } else {
            Voucher::Nobody
        }
    }

    fn is_named(&self, shown: &CertificateDer<'_>, certificate: &Certificate) -> bool {
        // A subject counts where there is nothing else, as it does for libpq.
        if certificate.named_by_subject {
            let wanted = match &self.name {
                ServerName::DnsName(name) => Name::Host(name.as_ref().to_ascii_lowercase()),
                ServerName::IpAddress(address) => Name::Address((*address).into()),
                _ => return false,
            };
            return certificate.names.contains(&wanted);
        }
        is_for(shown, &self.name)
    }

    fn fits(pin: &Pin, shown: &CertificateDer<'_>, certificate: &Certificate, voucher: Voucher) -> bool {
        let keeps_name = |name: &String| {
            // A wildcard stands for a name under it.
            let host = name.replacen('*', "any", 1);
            ServerName::try_from(host).is_ok_and(|name| is_for(shown, &name))
        };
        pin.spki_sha256 == hex(&certificate.key)
            || voucher == Voucher::System && pin.names.iter().any(keeps_name)
    }
}

fn is_for(shown: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    ParsedCertificate::try_from(shown).is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A certificate of version 1, as `openssl x509 -req` makes, is none for webpki, but has a key.
fn by_key(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let certificate = Certificate::read(shown).ok_or(CertificateError::BadEncoding)?;
    verify_tls13_signature_with_raw_key(message, &certificate.key_info(), signature, algorithms)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(shown, rest, now)
            .map(|_| ServerCertVerified::assertion())
            .map_err(|fault| CertificateError::Other(OtherError(Arc::new(Distrust(fault)))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, shown, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        by_key(message, shown, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Believes whoever answers, as libpq does without a root file: for commands, which are clients like any other.
#[derive(Debug)]
pub(super) struct Anybody(WebPkiSupportedAlgorithms);

impl Anybody {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, shown, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        by_key(message, shown, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_vouches_and_what_was_seen_before_decide() {
        use DialFault::{Changed, Untrusted};
        use Voucher::{Configured, Nobody, System};
        let cases = [
            // A first use, the same key again, another key.
            (Trust::Pinned, Nobody, false, None, Ok(())),
            (Trust::Pinned, Nobody, true, Some(true), Ok(())),
            (Trust::Pinned, Nobody, true, Some(false), Err(Changed)),
            // A public authority vouches for a name, and not for this server.
            (Trust::Pinned, System, false, Some(false), Err(Changed)),
            (Trust::Pinned, System, true, Some(false), Ok(())),
            (Trust::Pinned, Configured, false, Some(false), Ok(())),
            (Trust::Authority, Nobody, true, Some(true), Err(Untrusted)),
            (Trust::Authority, Configured, false, None, Ok(())),
            (Trust::Authority, System, false, None, Ok(())),
            (Trust::Name, Nobody, true, None, Err(Untrusted)),
            (Trust::Name, Configured, false, None, Err(Untrusted)),
            (Trust::Name, System, true, Some(false), Ok(())),
        ];
        for (trust, voucher, is_named, is_pinned, expected) in cases {
            let findings = Findings { voucher, is_named, is_pinned };
            assert_eq!(trust.judge(findings), expected, "{trust:?} {findings:?}");
        }
    }
}

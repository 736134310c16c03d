//! What is configured of the way to databases: how far it is encrypted, and whom to believe.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use mask_core::policy::Prefix;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;

use super::{Target, hosts::Hosts};
use crate::tls::{self, Trust};

/// How far the way to a database is encrypted, in libpq's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsMode {
    /// Never.
    Off,
    /// Where the database has TLS.
    #[default]
    Prefer,
    /// Always.
    Require,
    /// And an authority vouches for the certificate.
    VerifyCa,
    /// And it has the database's name.
    VerifyFull,
}

impl TlsMode {
    /// Whether it is certain who answers: without a name, anybody whom a public authority knows may.
    pub(super) fn is_certain(self) -> bool {
        matches!(self, Self::VerifyFull)
    }

    /// What has to be true of a certificate; none where there is no TLS.
    pub(super) fn trust(self) -> Option<Trust> {
        match self {
            Self::Off => None,
            Self::Prefer | Self::Require => Some(Trust::Pinned),
            Self::VerifyCa => Some(Trust::Authority),
            Self::VerifyFull => Some(Trust::Name),
        }
    }
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Negotiation {
    /// At once; PostgreSQL 17 and later.
    Direct,
    /// After a request in clear.
    #[default]
    Request,
}

/// TLS on the way to a database, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpstreamTls {
    pub(crate) mode: TlsMode,
    pub(crate) negotiation: Negotiation,
    /// Authorities, or the servers' own certificates, besides those the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// What the certificate has to say, and the server is told; its address without it.
    pub(crate) name: Option<String>,
    /// A certificate for the server to know this host by.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
}

/// What becomes of connections to databases of which nothing is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unknown {
    /// They are served like any other.
    #[default]
    Allow,
    /// They are turned away.
    Refuse,
}

/// Databases with settings of their own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// Every port without it.
    #[serde(default)]
    pub(crate) port: Option<u16>,
    /// Every address without it, and without a host.
    #[serde(default)]
    pub(crate) prefix: Option<Prefix>,
    /// The addresses that its name leads to, in place of a prefix.
    #[serde(default)]
    pub(crate) host: Option<String>,
    /// As everywhere without it.
    #[serde(default)]
    pub(crate) tls: Option<UpstreamTls>,
}

impl Upstream {
    fn covers(&self, to: SocketAddr, hosts: &Hosts) -> bool {
        covers(self.port, self.prefix, to) && self.host.as_ref().is_none_or(|host| hosts.leads(host, to.ip()))
    }
}

/// Whether a port and an address are meant, where each means all without it.
pub(crate) fn covers(port: Option<u16>, prefix: Option<Prefix>, to: SocketAddr) -> bool {
    port.is_none_or(|port| port == to.port()) && prefix.is_none_or(|prefix| contains(prefix, to.ip()))
}

fn contains(prefix: Prefix, address: IpAddr) -> bool {
    let (own, other, width) = match (prefix.address, address.to_canonical()) {
        (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let rest = u32::from(width - prefix.length);
    let above = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
    above(own) == above(other)
}

/// The same with its files read.
pub(super) struct Ready {
    pub(super) tls: UpstreamTls,
    pub(super) authorities: Option<Vec<CertificateDer<'static>>>,
    pub(super) name: Option<ServerName<'static>>,
    pub(super) identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Ready {
    fn read(tls: &UpstreamTls) -> Result<Self> {
        let authorities = tls.ca.as_deref().map(tls::certificates).transpose()?;
        let wrong = |name: &String| format!("`{name}` is no name; allowed: a host name or an address");
        let named = |name: &String| ServerName::try_from(name.clone()).with_context(|| wrong(name));
        let name = tls.name.as_ref().map(named).transpose()?;
        let identity = match (&tls.certificate, &tls.key) {
            (Some(chain), Some(key)) => Some((tls::certificates(chain)?, tls::private_key(key)?)),
            (None, None) => None,
            _ => bail!("`certificate` and `key` of an upstream go together"),
        };
        ensure!(
            tls.negotiation == Negotiation::Request || !matches!(tls.mode, TlsMode::Off | TlsMode::Prefer),
            "`negotiation: direct` leaves a server without TLS no way; allowed with it: require, verify-ca, verify-full"
        );
        Ok(Self { tls: tls.clone(), authorities, name, identity })
    }
}

/// Settings by database.
pub(crate) struct Ways {
    some: Vec<(Upstream, Ready)>,
    default: Ready,
    unknown: Unknown,
    hosts: Arc<Hosts>,
}

impl Ways {
    /// Reads the files they name.
    pub(crate) fn read(default: &UpstreamTls, some: &[Upstream], unknown: Unknown) -> Result<Self> {
        let some = some.iter().map(|upstream| {
            let Upstream { host, prefix, tls, .. } = upstream;
            ensure!(
                host.is_none() || prefix.is_none(),
                "`host` and `prefix` of an upstream exclude each other"
            );
            // What holds everywhere says nothing of a name of its own.
            let everywhere =
                || UpstreamTls { name: host.clone().or(default.name.clone()), ..default.clone() };
            let mut tls = tls.clone().unwrap_or_else(everywhere);
            tls.name = tls.name.or(host.clone());
            let mut upstream = upstream.clone();
            upstream.host = upstream.host.map(|host| host.to_ascii_lowercase());
            Ok((upstream, Ready::read(&tls)?))
        });
        let some: Vec<_> = some.collect::<Result<_>>().context("`upstreams`")?;
        let hosts = Hosts::new(some.iter().filter_map(|(upstream, _)| upstream.host.clone()));
        let default = Ready::read(default).context("`upstream_tls`")?;
        Ok(Self { some, default, unknown, hosts: Arc::new(hosts) })
    }

    /// The database at an address, by the first entry that covers it. Where hosts are configured and none does, they are
    /// looked up before.
    pub(super) async fn at(&self, address: SocketAddr) -> Target {
        self.hosts.refresh(self.covering(address).is_some()).await;
        Target { address, name: None, way: self.covering(address) }
    }

    fn covering(&self, address: SocketAddr) -> Option<usize> {
        self.some.iter().position(|(upstream, _)| upstream.covers(address, &self.hosts))
    }

    /// The same once a client has called it something. That may be anything, so it chooses only among entries by which
    /// whoever answers has to prove to be it; and it makes no difference where another name is configured.
    pub(super) fn called(&self, to: &Target, name: &str) -> Target {
        let named = || {
            self.some.iter().position(|(upstream, ready)| {
                upstream.host.as_deref() == Some(name)
                    && upstream.port.is_none_or(|port| port == to.address.port())
                    && ready.tls.mode.is_certain()
            })
        };
        let way = to.way.or_else(named);
        let is_told = self.way(way).name.is_none();
        Target { address: to.address, name: is_told.then(|| name.into()), way }
    }

    fn way(&self, way: Option<usize>) -> &Ready {
        way.and_then(|way| self.some.get(way)).map_or(&self.default, |(_, ready)| ready)
    }

    /// What is configured of a database.
    pub(super) fn of(&self, to: &Target) -> &Ready {
        self.way(to.way)
    }

    /// Whether clients may reach a database.
    pub(super) fn allows(&self, to: &Target) -> bool {
        self.unknown == Unknown::Allow || to.way.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(text: &str) -> Result<Ways> {
        Ways::read(&UpstreamTls::default(), &serde_norway::from_str::<Vec<Upstream>>(text)?, Unknown::Refuse)
    }

    #[tokio::test]
    async fn the_first_that_covers_a_database_holds() {
        let text = "
            - { port: 5433, prefix: 10.1.0.0/16, tls: { mode: off } }
            - { prefix: 10.1.2.0/24, tls: { mode: verify-full, name: db.example } }
            - { prefix: fd00::/8, tls: { mode: require, negotiation: direct } }";
        let ways = ways(text).unwrap();
        for (to, mode) in [
            ("10.1.2.3:5433", TlsMode::Off),
            ("10.1.2.3:5432", TlsMode::VerifyFull),
            ("[::ffff:10.1.2.3]:5432", TlsMode::VerifyFull),
            ("10.2.2.3:5433", TlsMode::Prefer),
            ("[fd00::1]:5432", TlsMode::Require),
            ("[fe00::1]:5432", TlsMode::Prefer),
        ] {
            let to = ways.at(to.parse().unwrap()).await;
            assert_eq!(ways.of(&to).tls.mode, mode, "{to}");
            assert_eq!(ways.allows(&to), mode != TlsMode::Prefer, "{to}");
        }
    }

    #[test]
    fn what_a_client_says_chooses_only_who_has_to_prove_it() {
        let text = "
            - { prefix: 10.1.0.0/16, tls: { mode: off } }
            - { prefix: 10.3.0.0/16, tls: { mode: require, name: other.example } }
            - { host: One.Invalid, port: 5433, tls: { mode: verify-full } }
            - { host: lax.invalid, tls: { mode: require } }";
        let ways = ways(text).unwrap();
        let at = |address: &str| {
            let address = address.parse().unwrap();
            Target { address, name: None, way: ways.covering(address) }
        };
        for (address, name, mode, told) in [
            ("10.2.0.1:5433", "one.invalid", TlsMode::VerifyFull, None),
            ("10.2.0.1:5432", "one.invalid", TlsMode::Prefer, Some("one.invalid")),
            ("10.2.0.1:5433", "two.invalid", TlsMode::Prefer, Some("two.invalid")),
            ("10.2.0.1:5433", "lax.invalid", TlsMode::Prefer, Some("lax.invalid")),
            ("10.1.0.1:5433", "one.invalid", TlsMode::Off, Some("one.invalid")),
            ("10.3.0.1:5433", "one.invalid", TlsMode::Require, None),
        ] {
            let to = ways.called(&at(address), name);
            assert_eq!((ways.of(&to).tls.mode, to.name.as_deref()), (mode, told), "{to}");
        }
        let to = ways.called(&at("10.2.0.1:5433"), "one.invalid");
        assert_eq!(ways.of(&to).name, Some(ServerName::try_from("One.Invalid").unwrap()));
    }

    #[test]
    fn a_host_is_the_name_unless_its_entry_has_another() {
        let default = UpstreamTls { name: Some("everywhere.example".to_owned()), ..UpstreamTls::default() };
        let text = "
            - { host: one.invalid }
            - { host: two.invalid, tls: { mode: require } }
            - { host: three.invalid, tls: { name: db.example } }
            - { port: 5433 }";
        let some: Vec<Upstream> = serde_norway::from_str(text).unwrap();
        let ways = Ways::read(&default, &some, Unknown::Allow).unwrap();
        for (way, name) in
            ["one.invalid", "two.invalid", "db.example", "everywhere.example"].iter().enumerate()
        {
            assert_eq!(ways.way(Some(way)).name, Some(ServerName::try_from(*name).unwrap()));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let wrong = |text: &str| format!("{:#}", ways(text).err().unwrap());
        assert!(wrong("[{ tls: { negotiation: direct } }]").contains("require, verify-ca"));
        assert!(wrong("[{ tls: { certificate: a } }]").contains("go together"));
        assert!(wrong("[{ tls: { name: 'a b' } }]").contains("no name"));
        assert!(wrong("[{ host: 'a b' }]").contains("no name"));
        assert!(wrong("[{ host: a, prefix: 10.0.0.0/8 }]").contains("exclude each other"));
        assert!(wrong("[{ tls: { ca: /nowhere } }]").contains("/nowhere"));
        assert!(wrong("[{ tls: { mode: allow } }]").contains("verify-full"));
        assert!(wrong("[{ tls: { insecure: true } }]").contains("negotiation"));
    }
}

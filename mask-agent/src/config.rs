//! Where the daemon keeps its things, from flags and an optional file; what it protects is the policy's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use mask_core::protocol::postgres::ClientTls;
use serde::Deserialize;

use crate::{
    cli::Overrides,
    logins::Login,
    upstream::{Unknown, Upstream, UpstreamTls},
};

/// Half of what a process may have open by systemd's default hard limit, two descriptors for each connection.
const CONNECTIONS_MAX: u32 = 65_536;

/// PostgreSQL's own limit for `authentication_timeout`.
const LOGIN_TIMEOUT_S_MAX: u16 = 600;

/// As long as Linux itself waits before it looks whether a silent peer is still there.
const SILENCE_S: std::ops::RangeInclusive<u16> = 2..=7_200;

/// Whether clients get TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientTlsMode {
    Off,
    #[default]
    Offer,
    Require,
}

impl From<ClientTlsMode> for ClientTls {
    fn from(mode: ClientTlsMode) -> Self {
        match mode {
            ClientTlsMode::Off => Self::Off,
            ClientTlsMode::Offer => Self::Offer,
            ClientTlsMode::Require => Self::Require,
        }
    }
}

/// The settings of one host. A flag wins over the file, the file over the default.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Policy file; without one the built-in policy is in force.
    pub(crate) policy: Option<PathBuf>,
    /// Folder for the audit trail, the masking keys and the control socket.
    pub(crate) state_dir: PathBuf,
    /// Folder on bpffs for the pinned hooks.
    pub(crate) pin_dir: PathBuf,
    /// Protect this cgroup only, instead of every process on the host.
    pub(crate) cgroup: Option<PathBuf>,
    /// Port the proxy listens on, on both loopback addresses.
    pub(crate) listen_port: u16,
    /// Connections served at a time.
    pub(crate) max_connections: u32,
    /// Seconds a client has to log in.
    pub(crate) login_timeout_s: u16,
    /// Whether clients get TLS.
    pub(crate) client_tls: ClientTlsMode,
    /// Authorities of clients, who then have to show a certificate of one where they use TLS.
    pub(crate) client_ca: Option<PathBuf>,
    /// TLS on the way to databases.
    pub(crate) upstream_tls: UpstreamTls,
    /// Databases for which it is another.
    pub(crate) upstreams: Vec<Upstream>,
    /// What becomes of connections to databases that none of these covers.
    pub(crate) unknown_upstreams: Unknown,
    /// Seconds after which a database that acknowledges nothing is given up.
    pub(crate) upstream_silence_s: u16,
    /// Logins that this host holds for clients.
    pub(crate) logins: Vec<Login>,
    /// Ports to intercept in place of the policy's.
    pub(crate) ports: Vec<u16>,
    /// Log what the eBPF programs do.
    pub(crate) debug_ebpf: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: None,
            state_dir: PathBuf::from("/var/lib/mask-agent"),
            pin_dir: PathBuf::from("/sys/fs/bpf/mask-agent"),
            cgroup: None,
            listen_port: 15_432,
            max_connections: 4_096,
            // As PostgreSQL's own `authentication_timeout`.
            login_timeout_s: 60,
            client_tls: ClientTlsMode::default(),
            client_ca: None,
            upstream_tls: UpstreamTls::default(),
            upstreams: Vec::new(),
            unknown_upstreams: Unknown::default(),
            upstream_silence_s: 120,
            logins: Vec::new(),
            ports: Vec::new(),
            debug_ebpf: false,
        }
    }
}

impl Config {
    /// Reads the file, if one is given, and lays the flags over it.
    pub(crate) fn load(path: Option<&Path>, flags: Overrides) -> Result<Self> {
        let file = match path {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("cannot read the configuration {}", path.display()))?;
                Self::parse(&path.display().to_string(), &text)?
            }
            None => Self::default(),
        };
        let Overrides { policy, state_dir, pin_dir, cgroup, listen_port, max_connections, ports, debug_ebpf } =
            flags;
        let config = Self {
            policy: policy.or(file.policy),
            state_dir: state_dir.unwrap_or(file.state_dir),
            pin_dir: pin_dir.unwrap_or(file.pin_dir),
            cgroup: cgroup.or(file.cgroup),
            listen_port: listen_port.unwrap_or(file.listen_port),
            max_connections: max_connections.unwrap_or(file.max_connections),
            login_timeout_s: file.login_timeout_s,
            client_tls: file.client_tls,
            client_ca: file.client_ca,
            upstream_tls: file.upstream_tls,
            upstreams: file.upstreams,
            unknown_upstreams: file.unknown_upstreams,
            upstream_silence_s: file.upstream_silence_s,
            logins: file.logins,
            ports: if ports.is_empty() { file.ports } else { ports },
            debug_ebpf: debug_ebpf || file.debug_ebpf,
        };
        config.check()?;
        Ok(config)
    }

    fn parse(file: &str, text: &str) -> Result<Self> {
        let says_nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if text.lines().all(says_nothing) {
            return Ok(Self::default());
        }
        serde_norway::from_str(text).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
            let message = error.to_string();
            // The library ends some of its texts with the place, which stands in front here.
            let message = message.split(" at line ").next().unwrap_or(&message);
            anyhow!("{file}:{line}:{column}: {}", message.replace(", expected", "; allowed:"))
        })
    }

    fn check(&self) -> Result<()> {
        if !(1..=CONNECTIONS_MAX).contains(&self.max_connections) {
            bail!("max_connections is {}; allowed: 1 to {CONNECTIONS_MAX}", self.max_connections);
        }
        if !(1..=LOGIN_TIMEOUT_S_MAX).contains(&self.login_timeout_s) {
            bail!("login_timeout_s is {}; allowed: 1 to {LOGIN_TIMEOUT_S_MAX}", self.login_timeout_s);
        }
        if !SILENCE_S.contains(&self.upstream_silence_s) {
            bail!(
                "upstream_silence_s is {}; allowed: {} to {}",
                self.upstream_silence_s,
                SILENCE_S.start(),
                SILENCE_S.end()
            );
        }
        if self.listen_port == 0 || self.ports.contains(&0) {
            bail!("port 0 stands for no port; allowed: 1 to 65535");
        }
        if self.ports.contains(&self.listen_port) {
            bail!("the proxy cannot listen on port {}, which it is to intercept", self.listen_port);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let folder = std::env::temp_dir().join(format!("mask-config-{}", std::process::id()));
        fs::write(&folder, "listen_port: 7000\nports: [5433]\n").unwrap();
        let flags = Overrides { listen_port: Some(7001), ..Overrides::default() };
        let config = Config::load(Some(&folder), flags);
        fs::remove_file(&folder).unwrap();
        let config = config.unwrap();
        assert_eq!((config.listen_port, config.ports), (7001, vec![5433]));
        assert_eq!(config.state_dir, Config::default().state_dir);
        assert_eq!(Config::load(None, Overrides::default()).unwrap(), Config::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        let wrong = |text: &str| {
            let config = Config::parse("c.yaml", text).and_then(|config| config.check().map(|()| config));
            format!("{:#}", config.unwrap_err())
        };
        let unknown = wrong("listen_prot: 7000\n");
        assert!(
            unknown.contains("listen_prot")
                && unknown.contains("listen_port")
                && unknown.starts_with("c.yaml:1:1: ")
        );
        assert!(wrong("policy: a\nlisten_port: 70000\n").starts_with("c.yaml:2:14: "));
        assert!(wrong("max_connections: 0\n").contains("allowed: 1 to"));
        assert!(wrong("login_timeout_s: 0\n").contains("allowed: 1 to 600"));
        assert!(wrong("upstream_silence_s: 1\n").contains("allowed: 2 to 7200"));
        assert!(wrong("ports: [15432]\n").contains("15432"));
        assert_eq!(Config::parse("c.yaml", "# nothing\n").unwrap(), Config::default());
    }
}

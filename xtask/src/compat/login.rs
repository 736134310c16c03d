//! How clients come to the server: in clear or in TLS, and what they are asked for.

use std::process::Command;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use mask_tests::{Agent, Certificates, Postgres, agent::binary, output};

/// What a password is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    Md5,
    Scram,
    /// Everybody is let in.
    Trust,
}

/// What clients want to know of the other end; neither leg is let in without TLS then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    Require,
    VerifyCa,
}

/// One way in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login {
    pub(super) auth: Auth,
    pub(super) tls: Option<Tls>,
}

/// A server and what it takes to be let in.
pub(super) struct Server {
    pub(super) postgres: Postgres,
    login: Login,
    /// It reads them when it is told to read its configuration again.
    certificates: Option<Certificates>,
}

impl Tls {
    fn mode(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
        }
    }
}

impl Login {
    pub(super) fn name(self) -> String {
        let auth = match self.auth {
            Auth::Md5 => "md5",
            Auth::Scram => "scram",
            Auth::Trust => "trust",
        };
        self.tls.map_or_else(|| auth.to_owned(), |tls| format!("{auth}-{}", tls.mode()))
    }

    /// Starts a server, of a major version or the system's own.
    pub(super) fn start(self, major: Option<u16>, arguments: &[&str]) -> Result<Server> {
        let method = match self.auth {
            Auth::Md5 => "md5",
            Auth::Scram => "scram-sha-256",
            Auth::Trust => "trust",
        };
        let postgres = match major {
            Some(major) => Postgres::start_major_as(major, method, arguments)?,
            None => Postgres::start_with(method, arguments)?,
        };
        let certificates = self.tls.map(|_| -> Result<Certificates> {
            let certificates = Certificates::new()?;
            certificates.signed("server", "/CN=db.example", "DNS:db.example,IP:127.0.0.1")?;
            certificates.turn_on(&postgres, "server")?;
            Ok(certificates)
        });
        let certificates = certificates.transpose()?;
        let kind = if self.tls.is_some() { "hostssl" } else { "host" };
        // Roles that the tests make have no password.
        postgres.setup("create role compat login")?;
        postgres.admit(&format!("{kind} all postgres all {method}\n{kind} all all all trust"))?;
        postgres.wait_until("user=compat", true)?;
        if self.tls.is_some() {
            postgres.wait_until("sslmode=disable", false)?;
        }
        postgres.setup("drop role compat")?;
        Ok(Server { postgres, login: self, certificates })
    }
}

impl Server {
    /// What clients are told, direct or of an agent.
    pub(super) fn environment(&self, agent: Option<&Agent>) -> Result<Vec<(&'static str, String)>> {
        let mut all = Vec::new();
        if self.login.auth != Auth::Trust {
            all.push(("PGPASSWORD", "clear-secret".to_owned()));
        }
        if let (Some(tls), Some(certificates)) = (self.login.tls, &self.certificates) {
            all.push(("PGSSLMODE", tls.mode().to_owned()));
            if tls == Tls::VerifyCa {
                all.push(("PGSSLROOTCERT", authority(agent, certificates)?));
            }
        }
        Ok(all)
    }
}

/// The authority that vouches for who a client meets.
fn authority(agent: Option<&Agent>, certificates: &Certificates) -> Result<String> {
    let Some(agent) = agent else { return Ok(certificates.text("ca.crt")) };
    let file = certificates.text("agent.crt");
    let mut export = Command::new(binary()?);
    let (ok, text) = output(export.args(["ca", "export", &file, "--state-dir"]).arg(agent.state()))?;
    ensure!(ok, "{text}");
    Ok(file)
}

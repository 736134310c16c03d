//! How clients come to the server: in clear or in TLS, and what they are asked for.

use anyhow::Result;
use clap::ValueEnum;
use mask_tests::{Certificates, Postgres};

/// One way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Login {
    Md5,
    /// In clear, and everybody is let in.
    Plain,
    Scram,
    /// Neither leg is let in without TLS.
    Tls,
}

/// A server and what it takes to be let in.
pub(super) struct Server {
    pub(super) postgres: Postgres,
    pub(super) environment: Vec<(&'static str, String)>,
    /// It reads them when it is told to read its configuration again.
    _certificates: Option<Certificates>,
}

impl Login {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Plain => "plain",
            Self::Scram => "scram",
            Self::Tls => "tls",
        }
    }

    /// Starts a server, of a major version or the system's own.
    pub(super) fn start(self, major: Option<u16>, arguments: &[&str]) -> Result<Server> {
        let method = match self {
            Self::Md5 => "md5",
            Self::Plain | Self::Tls => "trust",
            Self::Scram => "scram-sha-256",
        };
        let postgres = match major {
            Some(major) => Postgres::start_major_as(major, method, arguments)?,
            None => Postgres::start_with(method, arguments)?,
        };
        match self {
            Self::Plain => Ok(Server { postgres, environment: vec![], _certificates: None }),
            Self::Md5 | Self::Scram => {
                // Roles that the tests make have no password.
                postgres.setup("create role compat login")?;
                postgres.admit(&format!("host all postgres all {method}\nhost all all all trust"))?;
                postgres.wait_until("user=compat", true)?;
                postgres.setup("drop role compat")?;
                let environment = vec![("PGPASSWORD", "clear-secret".to_owned())];
                Ok(Server { postgres, environment, _certificates: None })
            }
            Self::Tls => {
                let certificates = Certificates::new()?;
                certificates.self_signed("server", "/CN=db.example")?;
                certificates.turn_on(&postgres, "server")?;
                postgres.admit("hostssl all all all trust")?;
                postgres.wait_until("sslmode=disable", false)?;
                let environment = vec![("PGSSLMODE", "require".to_owned())];
                Ok(Server { postgres, environment, _certificates: Some(certificates) })
            }
        }
    }
}

//! Logins that the host holds: to which databases, for which clients, and what these have to prove.
//!
//! A client is known by what the kernel says of it, so whoever can run as it can use the login; nobody can read it.
//! Whom none of them covers logs in with its own password.

/// Where secrets come from.
mod source;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use mask_core::{
    policy::Prefix,
    protocol::postgres::{Access, Credentials, Held, NONCE_BYTES, Placeholder, SALT_BYTES, Verifier},
    session::{Disclosure, Secret},
};
use serde::Deserialize;

use self::source::Source;
use crate::{
    intercept::{self, Caller},
    upstream::covers,
};

/// How a client is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// By what it is; whatever password it has is not asked for.
    Inject,
    /// By what it is, and by the proof of a placeholder.
    Scram,
}

/// Clients, by what the kernel knows of them: who is in one of the lists is meant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clients {
    /// Cgroups with all below them, as `/proc/PID/cgroup` shows them; `/` has every process.
    #[serde(default)]
    cgroups: Vec<String>,
    /// Real users.
    #[serde(default)]
    uids: Vec<u32>,
}

impl Clients {
    fn check(&self) -> Result<()> {
        let named = !self.cgroups.is_empty() || !self.uids.is_empty();
        ensure!(named, "`clients` names nobody; allowed: `cgroups`, `uids` or both, with at least one entry");
        let odd = |part: &str| matches!(part, "" | "." | "..");
        for path in self.cgroups.iter().filter(|path| *path != "/") {
            let is_path = path.strip_prefix('/').is_some_and(|path| !path.split('/').any(odd));
            ensure!(
                is_path,
                "`{path}` is no cgroup; allowed: a path as in `/system.slice/agent.service`, or `/`"
            );
        }
        Ok(())
    }

    fn has(&self, caller: &Caller) -> bool {
        self.uids.contains(&caller.uid)
            || self.cgroups.iter().any(|path| intercept::is_within(caller.cgroup_id, path))
    }
}

/// A login as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Where the database is: what answers elsewhere is not shown that we know the password.
    prefix: Prefix,
    /// Every port without it.
    #[serde(default)]
    port: Option<u16>,
    /// Every database without it.
    #[serde(default)]
    databases: Option<Vec<String>>,
    /// Who uses it.
    clients: Clients,
    /// Who they may say they are; anybody without it.
    #[serde(default)]
    users: Option<Vec<String>>,
    method: Method,
    /// The role; who the client says it is without it.
    #[serde(default)]
    user: Option<String>,
    /// Its password.
    password: Source,
    /// What clients have to prove, where they have to.
    #[serde(default)]
    placeholder: Option<Source>,
}

impl Login {
    fn covers(&self, to: SocketAddr, database: &str) -> bool {
        covers(self.port, Some(self.prefix), to)
            && self.databases.as_ref().is_none_or(|names| names.iter().any(|name| name == database))
    }

    fn admits(&self, user: &str) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|name| name == user))
    }
}

/// What proofs are compared with.
enum Proofs {
    Any(Verifier),
    /// By the name a client gives itself, so that each has a salt of its own, as names have that nobody has.
    Named(HashMap<String, Verifier>),
}

/// The same with its secrets read.
struct Ready {
    login: Login,
    password: Secret,
    proofs: Option<Proofs>,
}

impl Ready {
    fn read(login: &Login, salts: &[u8; 32]) -> Result<Self> {
        login.clients.check()?;
        for (name, list) in [("users", &login.users), ("databases", &login.databases)] {
            ensure!(!list.as_ref().is_some_and(Vec::is_empty), "`{name}` is empty; leave it out to mean all");
        }
        let password = login.password.read().context("the password")?;
        let proofs = match (login.method, &login.placeholder) {
            (Method::Inject, None) => None,
            (Method::Inject, Some(_)) => bail!("`placeholder` goes with `method: scram`"),
            (Method::Scram, None) => {
                bail!("`method: scram` needs a `placeholder`, which clients have to prove")
            }
            (Method::Scram, Some(source)) => {
                let placeholder = source.read().context("the placeholder")?;
                ensure!(
                    placeholder.expose() != password.expose(),
                    "the placeholder is the password itself; clients are to have another one"
                );
                Some(proofs(login, &placeholder, salts).context("the placeholder")?)
            }
        };
        Ok(Self { login: login.clone(), password, proofs })
    }

    fn source(&self) -> String {
        self.login.password.to_string()
    }
}

fn proofs(login: &Login, placeholder: &Secret, salts: &[u8; 32]) -> Result<Proofs> {
    let text =
        std::str::from_utf8(placeholder.expose()).ok().filter(|text| text.starts_with("SCRAM-SHA-256$"));
    if let Some(text) = text {
        let wrong = "it begins as a verifier and is none; allowed: SCRAM-SHA-256$ITERATIONS:SALT$KEY:KEY, or a password";
        return Ok(Proofs::Any(Verifier::parse(text).context(wrong)?));
    }
    let verifier = |user: &str| Verifier::of(placeholder, Verifier::salt(salts, user));
    Ok(match &login.users {
        Some(users) => Proofs::Named(users.iter().map(|user| (user.clone(), verifier(user))).collect()),
        None => Proofs::Any(verifier("")),
    })
}

/// The logins of a host.
pub(crate) struct Logins {
    some: Vec<Ready>,
    /// What salts are made of; the same for as long as the daemon runs.
    salts: [u8; 32],
}

impl Logins {
    /// Reads the secrets they name.
    pub(crate) fn read(written: &[Login], salts: [u8; 32]) -> Result<Self> {
        let ready = written.iter().zip(1..).map(|(login, number)| {
            Ready::read(login, &salts).with_context(|| format!("`logins`, entry {number}"))
        });
        Ok(Self { some: ready.collect::<Result<_>>()?, salts })
    }

    /// The same with secrets as they are now.
    pub(crate) fn read_again(&self) -> Result<Self> {
        let written: Vec<_> = self.some.iter().map(|ready| ready.login.clone()).collect();
        Self::read(&written, self.salts)
    }

    /// The first that covers a login.
    fn find(&self, asking: &Asking, user: &str, database: &str) -> Access {
        let covers = |ready: &&Ready| {
            ready.login.covers(asking.caller.original, database) && ready.login.clients.has(&asking.caller)
        };
        let Some(ready) = self.some.iter().find(covers) else { return Access::Relayed };
        let admits = ready.login.admits(user);
        let verifier = match &ready.proofs {
            None if admits => None,
            None => return Access::Refused,
            Some(Proofs::Any(verifier)) if admits => Some(verifier.clone()),
            Some(Proofs::Any(verifier)) => Some(verifier.mock(&self.salts, user)),
            Some(Proofs::Named(named)) => match named.get(user) {
                Some(verifier) => Some(verifier.clone()),
                None => named.values().next().map(|verifier| verifier.mock(&self.salts, user)),
            },
        };
        let placeholder = verifier.map(|verifier| Placeholder { verifier, nonce: asking.nonce });
        Access::Held(Held {
            user: ready.login.user.clone(),
            password: ready.password.clone(),
            source: ready.source(),
            disclosure: asking.disclosure,
            placeholder,
        })
    }
}

const _: () = assert!(SALT_BYTES <= 32 && NONCE_BYTES <= 32, "both are made of 32 random bytes");

/// A connection that logs in.
pub(crate) struct Asking {
    pub(crate) logins: Arc<Logins>,
    pub(crate) caller: Caller,
    /// Whether it is certain that the database is the one that is meant.
    pub(crate) disclosure: Disclosure,
    /// Random bytes.
    pub(crate) nonce: [u8; NONCE_BYTES],
}

impl Credentials for Asking {
    fn find(&self, user: &str, database: &str) -> Access {
        self.logins.find(self, user, database)
    }
}

#[cfg(test)]
mod tests;

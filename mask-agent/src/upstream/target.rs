//! Which database is meant.

use std::{
    fmt::{self, Display, Formatter},
    net::SocketAddr,
    sync::Arc,
};

/// A database as a client means it: where it is, and what the client calls it where it says so (SNI). Several may share
/// an address, behind a proxy that tells them apart by that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// In lower case. None as well where the way there has no TLS in which it could be said.
    pub(crate) name: Option<Arc<str>>,
    /// Which entry of `upstreams` covers it, none where no entry does. Settled once for a connection: where a host leads
    /// may change meanwhile, and what is believed of a server must not.
    pub(super) way: Option<usize>,
}

#[cfg(test)]
impl Target {
    /// One of which nothing is configured.
    pub(crate) fn named(address: SocketAddr, name: &str) -> Self {
        Self { address, name: Some(name.into()), way: None }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} at {}", self.address),
            None => self.address.fmt(f),
        }
    }
}

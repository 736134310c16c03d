//! Who is behind an accepted connection, by the kernel's word only.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{MapData, SkStorage};
use mask_common::Origin;

/// A process whose connection we hold, and where it meant to go.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where it meant to go; IPv4-mapped addresses are IPv4 here.
    pub original: SocketAddr,
    /// Process.
    pub pid: u32,
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Cgroup of the task when it connected.
    pub cgroup_id: u64,
    /// Network namespace cookie.
    pub netns: u64,
    /// Thread name: a hint, anyone may set it.
    pub comm: String,
    /// What led the connection here.
    pub cause: Cause,
}

/// Why a connection was redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its caller's connections are, wherever they go: it may be to anything.
    Subject,
    /// It is to where a database is.
    Target,
}

impl From<Origin> for Caller {
    fn from(origin: Origin) -> Self {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(origin.addr) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let address = IpAddr::V6(Ipv6Addr::from(octets)).to_canonical();
        let end = origin.comm.iter().position(|byte| *byte == 0).unwrap_or(origin.comm.len());
        Self {
            original: SocketAddr::new(address, origin.port as u16),
            pid: (origin.pid_tgid >> 32) as u32,
            uid: origin.uid_gid as u32,
            gid: (origin.uid_gid >> 32) as u32,
            cgroup_id: origin.cgroup,
            netns: origin.netns,
            comm: String::from_utf8_lossy(&origin.comm[..end]).into_owned(),
            cause: if origin.sniffed == 0 { Cause::Target } else { Cause::Subject },
        }
    }
}

/// A handle every connection task has.
#[derive(Clone)]
pub struct Peers {
    peer: Arc<SkStorage<MapData, Origin>>,
    bypass: Arc<Mutex<SkStorage<MapData, u32>>>,
}

impl Peers {
    pub(super) fn new(peer: SkStorage<MapData, Origin>, bypass: SkStorage<MapData, u32>) -> Self {
        Self { peer: Arc::new(peer), bypass: Arc::new(Mutex::new(bypass)) }
    }

    /// The caller behind an accepted connection; none where it did not come through the redirect.
    pub fn caller(&self, accepted: BorrowedFd<'_>) -> Option<Caller> {
        self.peer.get(&accepted, 0).ok().map(Caller::from)
    }

    /// Lets a socket of ours pass the hooks; to be called before it connects.
    ///
    /// # Errors
    /// When the kernel refuses the map write.
    pub fn exempt(&self, upstream: BorrowedFd<'_>) -> io::Result<()> {
        let mut bypass = self.bypass.lock().unwrap_or_else(PoisonError::into_inner);
        bypass.insert(&upstream, 1, 0).map_err(io::Error::other)
    }
}

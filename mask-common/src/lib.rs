//! Types both sides of the kernel border share: written by `mask-ebpf`, read by the daemon, or the reverse.
//!
//! Every struct is free of padding, because the verifier refuses a map write from uninitialised bytes.
#![no_std]

use core::mem::size_of;

/// Version of the map layout; part of the pin path, so that a changed struct never meets an old map.
pub const LAYOUT: u32 = 3;

/// How deep a cgroup may lie that is named as a subject; each level costs a look-up on every connect
/// that may be redirected.
pub const CGROUP_DEPTH_MAX: u32 = 16;

/// In `Config::subjects`: only listed subjects are protected, instead of everyone.
pub const ONLY_INCLUDED: u32 = 1;
/// In `Config::subjects`: some subjects are listed, so they have to be looked up.
pub const LISTED: u32 = 2;
/// In `Config::subjects`: connections of some listed subjects are redirected wherever they go.
pub const SNIFFING: u32 = 4;
/// Of a listed subject: it is protected.
pub const INCLUDED: u32 = 1;
/// Of a listed subject: it is not, whatever else it is.
pub const EXCLUDED: u32 = 2;
/// Of a listed subject: its connections are redirected wherever they go.
pub const SNIFFED: u32 = 4;

/// What the programs need to know.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The proxy's port on 127.0.0.1 and `::1`, host byte order.
    pub proxy_port: u32,
    /// Non-zero refuses multipath TCP, whose `getpeername` shows the proxy.
    pub refuse_mptcp: u32,
    /// [`ONLY_INCLUDED`], [`LISTED`] and [`SNIFFING`]; zero protects everyone.
    pub subjects: u32,
    /// So that the size is a multiple of eight.
    pub reserved: u32,
}

/// Where databases are: a port, and behind it as much of the address as a prefix has.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Host byte order; always matched in full.
    pub port: u32,
    /// Network order, IPv4 as IPv4-mapped.
    pub addr: [u32; 4],
}

/// Who opened a redirected connection, and where to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Origin {
    /// Original address in network order; IPv4 is stored IPv4-mapped, so one map serves both families.
    pub addr: [u32; 4],
    /// Network namespace cookie.
    pub netns: u64,
    /// Cgroup of the calling task.
    pub cgroup: u64,
    /// Thread group in the high half, thread in the low.
    pub pid_tgid: u64,
    /// Real group in the high half, real user in the low.
    pub uid_gid: u64,
    /// Original port, host byte order.
    pub port: u32,
    /// `AF_INET` or `AF_INET6`, as the hook saw it.
    pub family: u32,
    /// Name of the calling thread: a hint, anyone may set it.
    pub comm: [u8; 16],
    /// Non-zero where no target leads there, and the caller's connections are redirected wherever they go.
    pub sniffed: u32,
    /// So that the size is a multiple of eight.
    pub reserved: u32,
}

/// One connection to the proxy as both ends see it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FlowKey {
    /// Client's address, IPv4-mapped.
    pub addr: [u32; 4],
    /// Network namespace cookie.
    pub netns: u64,
    /// Client's port, host byte order.
    pub source_port: u32,
    /// Proxy's port, host byte order.
    pub proxy_port: u32,
}

/// A connection that the kernel side refused.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Refusal {
    /// Who, and where to; a socket that was refused before it could connect has port 0.
    pub origin: Origin,
    /// Nanoseconds since the host started, suspended time included.
    pub time_ns: u64,
    /// Why: a [`Stat`].
    pub reason: u32,
    /// So that the size is a multiple of eight.
    pub reserved: u32,
}

/// What is counted; the index into the `STATS` map.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum Stat {
    /// Connections sent to the proxy.
    Redirected,
    /// The daemon's own connections.
    Bypassed,
    /// Refused because no listener of the daemon holds the proxy's port.
    NoListener,
    /// Refused because the socket is bound to a device that cannot reach the proxy.
    ForeignDevice,
    /// Refused because the kernel could not remember where the connection was to go.
    StorageFailed,
    /// Multipath TCP sockets refused.
    MptcpRefused,
    /// Accepted connections with a known caller.
    PeerKnown,
    /// Accepted connections without one.
    PeerUnknown,
    /// Refusals that nobody was told of, because the daemon did not read for too long.
    RefusalsLost,
    /// Of the connections sent to the proxy, those that no target leads to.
    Sniffed,
}

/// Names of the counters, in order.
pub const STATS: [&str; 10] = [
    "redirected",
    "bypassed",
    "no_listener",
    "foreign_device",
    "storage_failed",
    "mptcp_refused",
    "peer_known",
    "peer_unknown",
    "refusals_lost",
    "sniffed",
];

const _: () = assert!(size_of::<Config>() == 16);
const _: () = assert!(size_of::<Target>() == 4 + 16);
const _: () = assert!(size_of::<Origin>() == 16 + 4 * 8 + 8 + 16 + 8);
const _: () = assert!(size_of::<Refusal>() == size_of::<Origin>() + 8 + 8);
const _: () = assert!(size_of::<FlowKey>() == 16 + 8 + 8);

#[cfg(feature = "user")]
mod user {
    use super::{Config, FlowKey, Origin, Refusal, Target};

    // SAFETY: plain integers without padding; every bit pattern is a value.
    unsafe impl aya::Pod for Config {}
    // SAFETY: plain integers without padding; every bit pattern is a value.
    unsafe impl aya::Pod for Origin {}
    // SAFETY: plain integers without padding; every bit pattern is a value.
    unsafe impl aya::Pod for Refusal {}
    // SAFETY: plain integers without padding; every bit pattern is a value.
    unsafe impl aya::Pod for FlowKey {}
    // SAFETY: plain integers without padding; every bit pattern is a value.
    unsafe impl aya::Pod for Target {}
}

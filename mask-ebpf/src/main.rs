//! Kernel side: sends database connections to the proxy and remembers who opened them and where to.
//!
//! Every path that cannot do its work refuses the connection: the database is never reached in clear.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::{bpf_sock_addr, bpf_sock_ops, bpf_sock_tuple},
    btf_maps::SkStorage,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_boot_ns,
        generated::{
            bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_netns_cookie,
            bpf_set_retval, bpf_sk_lookup_tcp, bpf_sk_release, bpf_sk_storage_delete, bpf_sk_storage_get,
        },
    },
    macros::{btf_map, cgroup_sock, cgroup_sock_addr, map, sock_ops},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie::Key},
    programs::{SockAddrContext, SockContext, SockOpsContext},
};
use aya_log_ebpf::info;
use mask_common::{
    CGROUP_DEPTH_MAX, Config, EXCLUDED, FlowKey, INCLUDED, LISTED, ONLY_INCLUDED, Origin, Refusal, SNIFFED,
    SNIFFING, STATS as STAT_NAMES, Stat, Target,
};

#[map]
static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
/// Where databases are.
#[map]
static TARGETS: LpmTrie<Target, u32> = LpmTrie::with_max_entries(4096, 0);
/// Users that are listed as subjects.
#[map]
static UIDS: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);
/// Cgroups that are listed as subjects.
#[map]
static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(1024, 0);
#[map]
static FLOWS: LruHashMap<FlowKey, Origin> = LruHashMap::with_max_entries(65_536, 0);
#[map]
static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STAT_NAMES.len() as u32, 0);
/// Refusals, for the trail.
#[map]
static REFUSALS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
/// On the client's socket: where it meant to go.
#[btf_map]
static ORIGIN: SkStorage<Origin> = SkStorage::new();
/// On the accepted socket: who is calling.
#[btf_map]
static PEER: SkStorage<Origin> = SkStorage::new();
/// On the daemon's upstream sockets. A mark or a uid could be forged; this needs the map.
#[btf_map]
static BYPASS: SkStorage<u32> = SkStorage::new();
/// On the daemon's listeners, so that nobody else can take the proxy's port.
#[btf_map]
static LISTENER: SkStorage<u32> = SkStorage::new();

const REFUSE: i32 = 0;
const ALLOW: i32 = 1;
const SOCK_STREAM: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const IPPROTO_MPTCP: u32 = 262;
const ECONNREFUSED: i32 = 111;
/// The loopback device has index 1 in every network namespace.
const LOOPBACK_DEVICE: u32 = 1;
const LOOPBACK4: u32 = 0x7f00_0001_u32.to_be();
const LOOPBACK6: [u32; 4] = [0, 0, 0, 1_u32.to_be()];
const MAPPED: u32 = 0x0000_ffff_u32.to_be();
const TCP_CONNECT_CB: u32 = 3;
const PASSIVE_ESTABLISHED_CB: u32 = 5;
/// "The current network namespace", for `bpf_sk_lookup_tcp`.
const CURRENT_NETNS: u64 = u64::MAX;
const STORAGE_CREATE: u64 = 1;

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    connect(&ctx, Family::V4)
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    connect(&ctx, Family::V6)
}

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    peername(&ctx, Family::V4);
    ALLOW
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    peername(&ctx, Family::V6);
    ALLOW
}

// Named unlike its section: a symbol `sockops` would collide with the section's own.
#[sock_ops]
pub fn track_flow(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        TCP_CONNECT_CB => remember_flow(&ctx),
        PASSIVE_ESTABLISHED_CB => name_peer(&ctx),
        _ => {}
    }
    // Anything else would void what another program on this host answers.
    1
}

#[cgroup_sock(sock_create)]
pub fn refuse_mptcp(ctx: SockContext) -> i32 {
    // SAFETY: the kernel hands a valid context.
    let protocol = unsafe { (*ctx.sock).protocol };
    let Some(config) = CONFIG.get(0) else { return ALLOW };
    if protocol == IPPROTO_MPTCP && config.refuse_mptcp != 0 && is_subject(config, listed(config)) {
        // SAFETY: as above.
        let family = unsafe { (*ctx.sock).family };
        tell(&ctx, &caller(&ctx, [0; 4], 0, family), Stat::MptcpRefused);
        return REFUSE;
    }
    ALLOW
}

#[derive(Clone, Copy, PartialEq)]
enum Family {
    V4,
    V6,
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, family: Family) -> i32 {
    // SAFETY: the kernel hands a valid context for the length of the call.
    let address = unsafe { &mut *ctx.sock_addr };
    if address.type_ != SOCK_STREAM {
        return ALLOW;
    }
    let Some(config) = CONFIG.get(0) else { return REFUSE };
    let port = u32::from(u16::from_be(address.user_port as u16));
    let meant = meant(ctx, family);
    let target = TARGETS.get(Key::new(u32::BITS + 128, Target { port, addr: meant })).is_some();
    let redirected = if target {
        is_subject(config, listed(config))
    } else {
        // The proxy itself is no way to anywhere: it asks who is calling, as it does of everybody.
        config.subjects & SNIFFING != 0 && !is_proxy(config, meant, port) && is_sniffed(listed(config))
    };
    if !redirected {
        forget(ctx);
        return ALLOW;
    }
    // SAFETY: the storage is looked up on the context's own socket.
    if !unsafe { BYPASS.get_ptr_mut(ctx) }.is_null() {
        count(Stat::Bypassed);
        return ALLOW;
    }
    // SAFETY: a sock_addr context always has a socket.
    let device = unsafe { (*address.__bindgen_anon_1.sk).bound_dev_if };
    let mut origin = caller(ctx, meant, port, if family == Family::V4 { AF_INET } else { AF_INET6 });
    origin.sniffed = u32::from(!target);
    if device != 0 && device != LOOPBACK_DEVICE {
        return refuse(ctx, &origin, Stat::ForeignDevice);
    }
    let mapped = meant[0] == 0 && meant[1] == 0 && meant[2] == MAPPED;
    if !listener_is_ours(ctx, config.proxy_port, mapped) {
        return refuse(ctx, &origin, Stat::NoListener);
    }
    // SAFETY: the storage is looked up on the context's own socket, and the pointer checked before use.
    unsafe {
        let stored = ORIGIN.get_or_insert_ptr_mut(ctx, Some(&mut origin));
        if stored.is_null() {
            return refuse(ctx, &origin, Stat::StorageFailed);
        }
        *stored = origin;
    }
    match family {
        Family::V4 => address.user_ip4 = LOOPBACK4,
        Family::V6 if mapped => write6(ctx.sock_addr, [0, 0, MAPPED, LOOPBACK4]),
        Family::V6 => write6(ctx.sock_addr, LOOPBACK6),
    }
    address.user_port = u32::from((config.proxy_port as u16).to_be());
    count(Stat::Redirected);
    if !target {
        count(Stat::Sniffed);
    }
    info!(ctx, "redirected pid {} from port {}", origin.pid_tgid >> 32, port);
    ALLOW
}

/// Whether a task is protected that is listed as this.
#[inline(always)]
fn is_subject(config: &Config, listed: u32) -> bool {
    if config.subjects & LISTED == 0 {
        return true;
    }
    listed & EXCLUDED == 0 && (config.subjects & ONLY_INCLUDED == 0 || listed & INCLUDED != 0)
}

/// Whether a task's connections are redirected wherever they go.
#[inline(always)]
fn is_sniffed(listed: u32) -> bool {
    listed & (EXCLUDED | SNIFFED) == SNIFFED
}

#[inline(always)]
fn is_proxy(config: &Config, meant: [u32; 4], port: u32) -> bool {
    port == config.proxy_port && (meant == [0, 0, MAPPED, LOOPBACK4] || meant == LOOPBACK6)
}

/// As what the calling task is listed. It is the task that counts, not the socket's maker: to leave a cgroup
/// or to change the real user takes privileges, and to be handed a socket takes an excluded process' help.
#[inline(always)]
fn listed(config: &Config) -> u32 {
    if config.subjects & (LISTED | SNIFFING) == 0 {
        return 0;
    }
    let uid = bpf_get_current_uid_gid() as u32;
    // SAFETY: the value is copied out before anything else runs.
    let mut listed = unsafe { UIDS.get(&uid) }.copied().unwrap_or(0);
    for level in 0..=CGROUP_DEPTH_MAX {
        // SAFETY: reads the current task only.
        let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
        if cgroup == 0 {
            break;
        }
        // SAFETY: as above.
        listed |= unsafe { CGROUPS.get(&cgroup) }.copied().unwrap_or(0);
    }
    listed
}

/// Where a connect leads. To the kernel, the unspecified address is loopback, and `getpeername` says so.
#[inline(always)]
fn meant(ctx: &SockAddrContext, family: Family) -> [u32; 4] {
    let written = match family {
        // SAFETY: the kernel hands a valid context for the length of the call.
        Family::V4 => [0, 0, MAPPED, unsafe { (*ctx.sock_addr).user_ip4 }],
        Family::V6 => read6(ctx.sock_addr),
    };
    match written {
        [0, 0, MAPPED, 0] => [0, 0, MAPPED, LOOPBACK4],
        [0, 0, 0, 0] => LOOPBACK6,
        address => address,
    }
}

#[inline(always)]
fn refuse(ctx: &SockAddrContext, origin: &Origin, why: Stat) -> i32 {
    tell(ctx, origin, why);
    // SAFETY: sets the error connect() returns; no memory is involved.
    unsafe { bpf_set_retval(-ECONNREFUSED) };
    REFUSE
}

/// Counts a refusal and tells the daemon who was refused.
#[inline(always)]
fn tell<C: EbpfContext>(ctx: &C, origin: &Origin, why: Stat) {
    count(why);
    let reason = why as u32;
    info!(ctx, "refused pid {} to port {}: reason {}", origin.pid_tgid >> 32, origin.port, reason);
    let Some(mut entry) = REFUSALS.reserve::<Refusal>(0) else {
        count(Stat::RefusalsLost);
        return;
    };
    // SAFETY: reads a clock.
    let time_ns = unsafe { bpf_ktime_get_boot_ns() };
    entry.write(Refusal { origin: *origin, time_ns, reason, reserved: 0 });
    entry.submit(0);
}

/// A socket that goes elsewhere now must not show where it went before.
#[inline(always)]
fn forget(ctx: &SockAddrContext) {
    // SAFETY: the socket is the context's own.
    unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        bpf_sk_storage_delete((&raw const ORIGIN) as *mut _, socket.cast());
    }
}

#[inline(always)]
fn caller<C: EbpfContext>(ctx: &C, addr: [u32; 4], port: u32, family: u32) -> Origin {
    // SAFETY: these helpers read the current task and the context only.
    let (netns, cgroup) = unsafe { (bpf_get_netns_cookie(ctx.as_ptr()), bpf_get_current_cgroup_id()) };
    Origin {
        addr,
        netns,
        cgroup,
        pid_tgid: bpf_get_current_pid_tgid(),
        uid_gid: bpf_get_current_uid_gid(),
        port,
        family,
        comm: bpf_get_current_comm().unwrap_or_default(),
        sniffed: 0,
        reserved: 0,
    }
}

#[inline(always)]
fn listener_is_ours(ctx: &SockAddrContext, port: u32, v4: bool) -> bool {
    // SAFETY: the tuple is zeroed plain data, the socket is released, and its storage was read before that.
    unsafe {
        let mut tuple: bpf_sock_tuple = core::mem::zeroed();
        let size = if v4 {
            tuple.__bindgen_anon_1.ipv4.daddr = LOOPBACK4;
            tuple.__bindgen_anon_1.ipv4.dport = (port as u16).to_be();
            12
        } else {
            tuple.__bindgen_anon_1.ipv6.daddr[3] = LOOPBACK6[3];
            tuple.__bindgen_anon_1.ipv6.dport = (port as u16).to_be();
            36
        };
        let socket = bpf_sk_lookup_tcp(ctx.as_ptr(), &mut tuple, size, CURRENT_NETNS, 0);
        if socket.is_null() {
            return false;
        }
        let flag = bpf_sk_storage_get((&raw const LISTENER) as *mut _, socket.cast(), ptr::null_mut(), 0);
        let ours = !flag.is_null();
        bpf_sk_release(socket.cast());
        ours
    }
}

/// Answers the original address, but only where the kernel is about to answer the proxy's.
#[inline(always)]
fn peername(ctx: &SockAddrContext, family: Family) {
    let Some(config) = CONFIG.get(0) else { return };
    // SAFETY: the kernel hands a valid context; the storage pointer is checked before use.
    unsafe {
        let address = &mut *ctx.sock_addr;
        if u32::from(u16::from_be(address.user_port as u16)) != config.proxy_port {
            return;
        }
        let origin = ORIGIN.get_ptr_mut(ctx);
        if origin.is_null() {
            return;
        }
        match family {
            Family::V4 => {
                if address.user_ip4 != LOOPBACK4 {
                    return;
                }
                address.user_ip4 = (*origin).addr[3];
            }
            Family::V6 => write6(ctx.sock_addr, (*origin).addr),
        }
        address.user_port = u32::from(((*origin).port as u16).to_be());
    }
}

/// Before the SYN leaves, with the source port chosen.
#[inline(always)]
fn remember_flow(ctx: &SockOpsContext) {
    let Some(config) = CONFIG.get(0) else { return };
    // SAFETY: the kernel hands a valid context; pointers are checked before use.
    unsafe {
        let ops = &*ctx.ops;
        if u32::from_be(ops.remote_port) != config.proxy_port {
            return;
        }
        let socket = ops.__bindgen_anon_2.sk;
        if socket.is_null() {
            return;
        }
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        let key = FlowKey {
            addr: local_address(ops),
            netns,
            source_port: ops.local_port,
            proxy_port: config.proxy_port,
        };
        let origin: *mut Origin =
            bpf_sk_storage_get((&raw const ORIGIN) as *mut _, socket.cast(), ptr::null_mut(), 0).cast();
        if origin.is_null() {
            // A direct connection must not inherit what a refused one left under the same port.
            let _ = FLOWS.remove(&key);
        } else if FLOWS.insert(&key, &*origin, 0).is_err() {
            count(Stat::StorageFailed);
        }
    }
}

/// On the accepted socket, before the proxy can see it.
#[inline(always)]
fn name_peer(ctx: &SockOpsContext) {
    let Some(config) = CONFIG.get(0) else { return };
    // SAFETY: the kernel hands a valid context; pointers are checked before use.
    unsafe {
        let ops = &*ctx.ops;
        if ops.local_port != config.proxy_port {
            return;
        }
        let socket = ops.__bindgen_anon_2.sk;
        if socket.is_null() {
            return;
        }
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        let key = FlowKey {
            addr: remote_address(ops),
            netns,
            source_port: u32::from_be(ops.remote_port),
            proxy_port: config.proxy_port,
        };
        let Some(origin) = FLOWS.get(&key) else {
            count(Stat::PeerUnknown);
            info!(ctx, "nobody is known behind source port {}", key.source_port);
            return;
        };
        let value: *const Origin = origin;
        let stored =
            bpf_sk_storage_get((&raw const PEER) as *mut _, socket.cast(), value as *mut _, STORAGE_CREATE);
        count(if stored.is_null() { Stat::StorageFailed } else { Stat::PeerKnown });
        let _ = FLOWS.remove(&key);
    }
}

#[inline(always)]
fn count(stat: Stat) {
    if let Some(counter) = STATS.get_ptr_mut(stat as u32) {
        // SAFETY: the slot is this processor's own.
        unsafe { *counter += 1 };
    }
}

// The verifier refuses a context access wider than the field ("dereference of modified ctx ptr"), and LLVM
// merges neighbouring ones; volatile accesses stay apart.
#[inline(always)]
fn read6(address: *mut bpf_sock_addr) -> [u32; 4] {
    // SAFETY: the kernel hands a valid context.
    unsafe {
        [
            ptr::read_volatile(&raw const (*address).user_ip6[0]),
            ptr::read_volatile(&raw const (*address).user_ip6[1]),
            ptr::read_volatile(&raw const (*address).user_ip6[2]),
            ptr::read_volatile(&raw const (*address).user_ip6[3]),
        ]
    }
}

#[inline(always)]
fn write6(address: *mut bpf_sock_addr, value: [u32; 4]) {
    // SAFETY: the kernel hands a valid context.
    unsafe {
        ptr::write_volatile(&raw mut (*address).user_ip6[0], value[0]);
        ptr::write_volatile(&raw mut (*address).user_ip6[1], value[1]);
        ptr::write_volatile(&raw mut (*address).user_ip6[2], value[2]);
        ptr::write_volatile(&raw mut (*address).user_ip6[3], value[3]);
    }
}

#[inline(always)]
fn local_address(ops: &bpf_sock_ops) -> [u32; 4] {
    if ops.family == AF_INET {
        return [0, 0, MAPPED, ops.local_ip4];
    }
    // SAFETY: the context is valid; see read6 for why each word is read by itself.
    unsafe {
        [
            ptr::read_volatile(&raw const ops.local_ip6[0]),
            ptr::read_volatile(&raw const ops.local_ip6[1]),
            ptr::read_volatile(&raw const ops.local_ip6[2]),
            ptr::read_volatile(&raw const ops.local_ip6[3]),
        ]
    }
}

#[inline(always)]
fn remote_address(ops: &bpf_sock_ops) -> [u32; 4] {
    if ops.family == AF_INET {
        return [0, 0, MAPPED, ops.remote_ip4];
    }
    // SAFETY: the context is valid; see read6 for why each word is read by itself.
    unsafe {
        [
            ptr::read_volatile(&raw const ops.remote_ip6[0]),
            ptr::read_volatile(&raw const ops.remote_ip6[1]),
            ptr::read_volatile(&raw const ops.remote_ip6[2]),
            ptr::read_volatile(&raw const ops.remote_ip6[3]),
        ]
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// bpf_sk_lookup_tcp and its like are only for programs under the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

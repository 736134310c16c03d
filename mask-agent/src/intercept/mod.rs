//! Kernel hooks: attach, take over, detach; who is calling and where to.
//!
//! The only module that names aya. Pins keep the hooks working when the daemon is dead, so that connections are
//! refused rather than served in clear; only [`detach`] opens the database again.

mod identity;
mod link;
mod peers;

use std::{
    fs::{self, File},
    io,
    os::{fd::BorrowedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, SkStorage},
    programs::{CgroupAttachMode, CgroupSockAddr, Program, links::FdLink},
};
use mask_common::{Config, LAYOUT, STATS};

pub use identity::{Identity, identity};
pub use peers::{Caller, Peers};

/// Every program and so every link, in the order they are attached: what refuses comes before what records.
const PROGRAMS: [&str; 6] =
    ["track_flow", "getpeername4", "getpeername6", "connect4", "connect6", "refuse_mptcp"];

const MAPS: [&str; 8] = ["CONFIG", "PORTS", "FLOWS", "STATS", "ORIGIN", "PEER", "BYPASS", "LISTENER"];

/// Where and what to intercept.
pub struct Options {
    /// Cgroup to attach to; the root of the cgroup v2 mount where none is given.
    pub cgroup: Option<PathBuf>,
    /// Folder on bpffs that holds the pins.
    pub pin_dir: PathBuf,
    /// The proxy's port.
    pub proxy_port: u16,
    /// Ports databases listen on.
    pub ports: Vec<u16>,
}

/// Why interception failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterceptError {
    /// A program could not be attached to the cgroup.
    #[error("cannot attach {program} to {cgroup}: {source}")]
    Attach {
        /// The program.
        program: &'static str,
        /// The cgroup.
        cgroup: PathBuf,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// bpffs is missing and could not be mounted.
    #[error("no bpf file system at {path}, and mounting one failed: {source}")]
    Bpffs {
        /// Where it should be.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no cgroup v2 mount.
    #[error("no cgroup v2 mount in /proc/self/mounts; boot with cgroup v2 or mount one")]
    NoCgroup,
    /// The programs did not load.
    #[error("cannot load the eBPF programs (root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed): {0}")]
    Load(Box<dyn std::error::Error + Send + Sync>),
    /// A map could not be read or written.
    #[error("cannot use map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pin or its folder could not be made, opened or removed.
    #[error("{path}: {source}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Attached hooks, and the maps they share with the daemon.
pub struct Interceptor {
    pin_dir: PathBuf,
    listener: SkStorage<MapData, u32>,
    _programs: Ebpf,
}

impl Interceptor {
    /// Loads, configures, attaches and pins; hooks of an earlier daemon are taken over in place.
    ///
    /// # Errors
    /// When any step fails; what this call had pinned is then gone again.
    pub fn attach(options: &Options) -> Result<Self, InterceptError> {
        ensure_bpffs()?;
        let pin_dir = versioned(&options.pin_dir);
        let links = pin_dir.join("links");
        let made = !links.exists();
        fs::create_dir_all(&links).map_err(|source| pin_error(&links, source))?;
        fs::set_permissions(&options.pin_dir, fs::Permissions::from_mode(0o700))
            .map_err(|source| pin_error(&options.pin_dir, source))?;
        let result = Self::attach_in(options, &pin_dir);
        if result.is_err() && made {
            // The first error is the one worth telling.
            let _ = detach(&options.pin_dir);
        }
        result
    }

    fn attach_in(options: &Options, pin_dir: &Path) -> Result<Self, InterceptError> {
        let mut loader = EbpfLoader::new();
        for map in MAPS {
            loader.map_pin_path(map, pin_dir.join(map));
        }
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mask-ebpf"));
        let mut programs = loader.load(object).map_err(|error| InterceptError::Load(error.into()))?;
        configure(&mut programs, options)?;
        let path = match &options.cgroup {
            Some(path) => path.clone(),
            None => cgroup_root()?,
        };
        let cgroup = File::open(&path).map_err(|source| pin_error(&path, source))?;
        let mut pinned = Vec::new();
        for name in PROGRAMS {
            let pin = pin_dir.join("links").join(name);
            match attach_one(&mut programs, name, &cgroup, &path, &pin) {
                Ok(link::Outcome::Created) => pinned.push(pin),
                Ok(link::Outcome::Updated) => {}
                Err(error) => {
                    for pin in pinned {
                        let _ = fs::remove_file(pin);
                    }
                    return Err(error);
                }
            }
        }
        let listener = storage(pin_dir, "LISTENER")?;
        Ok(Self { pin_dir: pin_dir.to_owned(), listener, _programs: programs })
    }

    /// Lets the hooks recognise a listener of ours; until then every redirected connect is refused.
    ///
    /// # Errors
    /// When the kernel refuses the map write.
    pub fn mark_listener(&mut self, listener: BorrowedFd<'_>) -> Result<(), InterceptError> {
        self.listener
            .insert(&listener, 1, 0)
            .map_err(|error| InterceptError::Map { map: "LISTENER", source: error.into() })
    }

    /// Who is behind accepted connections.
    ///
    /// # Errors
    /// When the pinned maps cannot be opened.
    pub fn peers(&self) -> Result<Peers, InterceptError> {
        Ok(Peers::new(storage(&self.pin_dir, "PEER")?, storage(&self.pin_dir, "BYPASS")?))
    }
}

/// What is attached.
pub struct Status {
    /// Programs with a pinned link.
    pub attached: Vec<String>,
    /// Counters since the maps were made.
    pub counters: Vec<(&'static str, u64)>,
}

/// Reads what is pinned; works without a running daemon.
///
/// # Errors
/// When the pins exist and cannot be read.
pub fn status(pin_dir: &Path) -> Result<Status, InterceptError> {
    let pin_dir = versioned(pin_dir);
    let attached = PROGRAMS.iter().filter(|name| pin_dir.join("links").join(name).exists());
    let attached: Vec<_> = attached.map(|name| (*name).to_owned()).collect();
    if attached.is_empty() {
        return Ok(Status { attached, counters: Vec::new() });
    }
    let error =
        |source: Box<dyn std::error::Error + Send + Sync>| InterceptError::Map { map: "STATS", source };
    let data = MapData::from_pin(pin_dir.join("STATS")).map_err(|source| error(source.into()))?;
    let map = Map::from_map_data(data).map_err(|source| error(source.into()))?;
    let map: PerCpuArray<_, u64> =
        map.try_into().map_err(|source: aya::maps::MapError| error(source.into()))?;
    let mut counters = Vec::new();
    for (name, index) in STATS.into_iter().zip(0..) {
        let each = map.get(&index, 0).map_err(|source| error(source.into()))?;
        counters.push((name, each.iter().sum()));
    }
    Ok(Status { attached, counters })
}

/// Detaches everything and removes the pins; what was attached.
///
/// # Errors
/// When a pin cannot be removed.
pub fn detach(pin_dir: &Path) -> Result<Vec<String>, InterceptError> {
    let versioned = versioned(pin_dir);
    let mut detached = Vec::new();
    // The refusing hooks go first: a connect is then direct, never redirected to nobody.
    for name in PROGRAMS.iter().rev() {
        let pin = versioned.join("links").join(name);
        match fs::remove_file(&pin) {
            Ok(()) => detached.push((*name).to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(InterceptError::Pin { path: pin, source }),
        }
    }
    for map in MAPS {
        let _ = fs::remove_file(versioned.join(map));
    }
    for folder in [&versioned.join("links"), &versioned, &pin_dir.to_owned()] {
        let _ = fs::remove_dir(folder);
    }
    Ok(detached)
}

/// A changed map layout must not meet an old pin.
fn versioned(pin_dir: &Path) -> PathBuf {
    pin_dir.join(format!("v{LAYOUT}"))
}

fn pin_error(path: &Path, source: io::Error) -> InterceptError {
    InterceptError::Pin { path: path.to_owned(), source }
}

fn storage<T: aya::Pod>(pin_dir: &Path, name: &'static str) -> Result<SkStorage<MapData, T>, InterceptError> {
    let error = |source: Box<dyn std::error::Error + Send + Sync>| InterceptError::Map { map: name, source };
    let data = MapData::from_pin(pin_dir.join(name)).map_err(|source| error(source.into()))?;
    let map = Map::from_map_data(data).map_err(|source| error(source.into()))?;
    map.try_into().map_err(|source: aya::maps::MapError| error(source.into()))
}

fn configure(programs: &mut Ebpf, options: &Options) -> Result<(), InterceptError> {
    let missing = |map| InterceptError::Map { map, source: "not in the object".into() };
    let failed = |map| move |error: aya::maps::MapError| InterceptError::Map { map, source: error.into() };
    let map = programs.map_mut("PORTS").ok_or_else(|| missing("PORTS"))?;
    let mut ports: HashMap<_, u32, u8> = map.try_into().map_err(failed("PORTS"))?;
    let stale: Vec<u32> =
        ports.keys().flatten().filter(|port| !options.ports.iter().any(|p| u32::from(*p) == *port)).collect();
    for port in &options.ports {
        ports.insert(u32::from(*port), 1, 0).map_err(failed("PORTS"))?;
    }
    for port in stale {
        ports.remove(&port).map_err(failed("PORTS"))?;
    }
    let map = programs.map_mut("CONFIG").ok_or_else(|| missing("CONFIG"))?;
    let mut config: Array<_, Config> = map.try_into().map_err(failed("CONFIG"))?;
    let value = Config { proxy_port: u32::from(options.proxy_port), refuse_mptcp: 1 };
    config.set(0, value, 0).map_err(failed("CONFIG"))
}

fn attach_one(
    programs: &mut Ebpf,
    name: &'static str,
    cgroup: &File,
    path: &Path,
    pin: &Path,
) -> Result<link::Outcome, InterceptError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| InterceptError::Attach {
        program: name,
        cgroup: path.to_owned(),
        source,
    };
    let program = programs.program_mut(name).ok_or_else(|| failed("not in the object".into()))?;
    // Links always allow several programs; AllowMultiple would be EINVAL.
    let mode = CgroupAttachMode::Single;
    let load = |error: aya::programs::ProgramError| InterceptError::Load(error.into());
    match program {
        Program::CgroupSockAddr(program) => program.load().map_err(load)?,
        Program::CgroupSock(program) => program.load().map_err(load)?,
        Program::SockOps(program) => program.load().map_err(load)?,
        _ => return Err(failed("unexpected program type".into())),
    }
    if pin.exists() {
        let fd = match &*program {
            Program::CgroupSockAddr(program) => program.fd(),
            Program::CgroupSock(program) => program.fd(),
            Program::SockOps(program) => program.fd(),
            _ => return Err(failed("unexpected program type".into())),
        };
        let fd = fd.map_err(|error| failed(error.into()))?;
        if link::update(pin, std::os::fd::AsFd::as_fd(fd)).map_err(|error| failed(error.into()))? {
            return Ok(link::Outcome::Updated);
        }
        // The cgroup it was attached to is gone, and the hook with it.
        fs::remove_file(pin).map_err(|source| pin_error(pin, source))?;
    }
    let fail = |error: aya::programs::ProgramError| failed(error.into());
    let link: FdLink = match program {
        Program::CgroupSockAddr(program) => take(program, cgroup, mode).map_err(fail)?,
        Program::CgroupSock(program) => {
            let id = program.attach(cgroup, mode).map_err(fail)?;
            program.take_link(id).map_err(fail)?.try_into().map_err(|_| failed("no link".into()))?
        }
        Program::SockOps(program) => {
            let id = program.attach(cgroup, mode).map_err(fail)?;
            program.take_link(id).map_err(fail)?.try_into().map_err(|_| failed("no link".into()))?
        }
        _ => return Err(failed("unexpected program type".into())),
    };
    link.pin(pin).map_err(|error| failed(error.into()))?;
    Ok(link::Outcome::Created)
}

fn take(
    program: &mut CgroupSockAddr,
    cgroup: &File,
    mode: CgroupAttachMode,
) -> Result<FdLink, aya::programs::ProgramError> {
    let id = program.attach(cgroup, mode)?;
    program.take_link(id)?.try_into().map_err(|_| aya::programs::ProgramError::NotAttached)
}

fn cgroup_root() -> Result<PathBuf, InterceptError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|_| InterceptError::NoCgroup)?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    mount.and_then(|line| line.split(' ').nth(1)).map(PathBuf::from).ok_or(InterceptError::NoCgroup)
}

fn ensure_bpffs() -> Result<(), InterceptError> {
    let path = Path::new("/sys/fs/bpf");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == path.to_str() && line.split(' ').nth(2) == Some("bpf"))
    {
        return Ok(());
    }
    link::mount_bpffs(path).map_err(|source| InterceptError::Bpffs { path: path.to_owned(), source })
}

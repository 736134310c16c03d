//! Kernel hooks: attach, take over, detach; who is calling and where to.
//!
//! The only module that names aya. Pins keep the hooks working when the daemon is dead, so that connections are
//! refused rather than served in clear; only [`detach`] opens the database again.

mod attach;
mod identity;
mod link;
mod membership;
mod peers;
mod refusals;
mod settings;

use std::{
    fs::{self, File},
    io,
    os::{fd::BorrowedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, PerCpuArray, SkStorage},
};
use aya_log::{EbpfLogger, Level};
use mask_common::{LAYOUT, STATS};
use mask_core::policy::Selection;

use attach::{Cgroup, Change};
pub use identity::{Identity, identity, identity_at};
use link::Link;
pub use membership::is_within;
pub use peers::{Caller, Cause, Peers};
pub use refusals::{Refusals, Refused, since_boot};
use serde::Serialize;
use settings::Settings;
use tokio::io::{Interest, unix::AsyncFd};

/// What a step below said.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// Every program and so every link, in the order they are attached: what refuses comes before what records.
const PROGRAMS: [&str; 6] =
    ["track_flow", "getpeername4", "getpeername6", "connect4", "connect6", "refuse_mptcp"];

/// The program that is always attached at the root; it looks at no connection but the proxy's own.
const AT_ROOT: &str = "track_flow";

/// Below every level: the kernel drops the logging when it loads the programs.
const SILENT: u8 = 0;

const MAPS: [&str; 11] = [
    "CONFIG", "TARGETS", "UIDS", "CGROUPS", "REFUSALS", "FLOWS", "STATS", "ORIGIN", "PEER", "BYPASS",
    "LISTENER",
];

/// Where and what to intercept.
pub struct Options {
    /// Cgroup to attach to; the root of the cgroup v2 mount where none is given.
    pub cgroup: Option<PathBuf>,
    /// Folder on bpffs that holds the pins.
    pub pin_dir: PathBuf,
    /// The proxy's port.
    pub proxy_port: u16,
    /// Whose connections to where.
    pub selection: Selection,
    /// Have the programs log what they do.
    pub debug: bool,
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
        source: Source,
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
    Load(Source),
    /// A map could not be read or written.
    #[error("cannot use map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        source: Source,
    },
    /// Another daemon has taken the hooks over.
    #[error("another daemon has taken the hooks over")]
    TakenOver,
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
    programs: Ebpf,
    /// The cgroup v2 mount.
    cgroups: PathBuf,
    proxy_port: u16,
    selection: Selection,
    /// What the maps hold.
    settings: Settings,
}

impl Interceptor {
    /// Loads, configures, attaches and pins; hooks of an earlier daemon are taken over in place.
    ///
    /// # Errors
    /// When any step fails; everything is then as it was before.
    pub fn attach(options: &Options) -> Result<Self, InterceptError> {
        ensure_bpffs()?;
        let at = &options.pin_dir;
        let made = !at.exists();
        fs::create_dir_all(at).map_err(|source| pin_error(at, source))?;
        fs::set_permissions(at, fs::Permissions::from_mode(0o700)).map_err(|source| pin_error(at, source))?;
        let _lock = lock(at)?;
        let pin_dir = versioned(at);
        let first = !pin_dir.exists();
        let attached = Self::attach_in(options, &pin_dir);
        if attached.is_err() && first {
            // The first error is the one worth telling.
            let _ = remove_version(&pin_dir);
            if made {
                let _ = fs::remove_dir(at);
            }
        }
        let attached = attached?;
        for older in versions(at).filter(|version| *version != pin_dir) {
            // It would go on redirecting to a port that nobody listens on.
            remove_version(&older)?;
        }
        Ok(attached)
    }

    fn attach_in(options: &Options, pin_dir: &Path) -> Result<Self, InterceptError> {
        let links = links(pin_dir);
        fs::create_dir_all(&links).map_err(|source| pin_error(&links, source))?;
        let cgroups = cgroup_root()?;
        let cgroup = Cgroup::open(options.cgroup.as_ref().unwrap_or(&cgroups))?;
        let root = Cgroup::open(&cgroups)?;
        let mut loader = EbpfLoader::new();
        for map in MAPS {
            loader.map_pin_path(map, pin_dir.join(map));
        }
        let level = if options.debug { Level::Info as u8 } else { SILENT };
        loader.override_global(aya_log::LEVEL, &level, true);
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mask-ebpf"));
        let mut programs = loader.load(object).map_err(|error| InterceptError::Load(error.into()))?;
        let listener = storage(pin_dir, "LISTENER")?;
        let before = Settings::read(&mut programs)?;
        // Before the hooks are there: a hook that knows no port would let everything pass.
        let settings = Settings::new(options.proxy_port, &options.selection, &cgroups);
        let changed = settings.write(&mut programs);
        let changed = changed.and_then(|()| Change::attach(&mut programs, &links, &root, &cgroup)?.commit());
        if let Err(error) = changed {
            if let Err(error) = before.write(&mut programs) {
                tracing::error!(%error, "attaching failed, and the settings before could not be put back");
            }
            return Err(error);
        }
        let interceptor = Self {
            pin_dir: pin_dir.to_owned(),
            listener,
            programs,
            cgroups,
            proxy_port: options.proxy_port,
            selection: options.selection.clone(),
            settings,
        };
        interceptor.tell_missing();
        Ok(interceptor)
    }

    /// What the kernel side refuses from now on, and what it refused while no daemon ran.
    ///
    /// # Errors
    /// When the pinned maps cannot be opened.
    pub fn refusals(&self) -> Result<Refusals, InterceptError> {
        Refusals::open(&self.pin_dir, self.proxy_port)
    }

    /// Forwards what the programs log, for as long as it is polled.
    ///
    /// # Errors
    /// When there is no log to read.
    pub fn forward_logs(&mut self) -> Result<impl Future<Output = ()> + use<>, InterceptError> {
        let error = |source: Source| InterceptError::Map { map: "AYA_LOGS", source };
        let logger = EbpfLogger::init(&mut self.programs).map_err(|source| error(source.into()))?;
        // SAFETY: the logger keeps its one descriptor open for as long as it lives.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let mut logger = logger.map_err(|source| error(io::Error::from(source).into()))?;
        Ok(async move {
            while let Ok(mut ready) = logger.readable_mut().await {
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
        })
    }

    /// Intercepts another selection from now on.
    ///
    /// # Errors
    /// When the kernel refuses a map write; targets and subjects of before are then still protected.
    pub fn select(&mut self, selection: Selection) -> Result<(), InterceptError> {
        if !self.is_in_charge()? {
            return Err(InterceptError::TakenOver);
        }
        let settings = Settings::new(self.proxy_port, &selection, &self.cgroups);
        settings.write(&mut self.programs)?;
        self.settings = settings;
        self.selection = selection;
        self.tell_missing();
        Ok(())
    }

    /// Looks the cgroups of the selection up again: a service that is started again has a new one.
    ///
    /// # Errors
    /// When the kernel refuses a map write.
    pub fn refresh(&mut self) -> Result<(), InterceptError> {
        let settings = Settings::new(self.proxy_port, &self.selection, &self.cgroups);
        if settings != self.settings && self.is_in_charge()? {
            settings.write(&mut self.programs)?;
            self.settings = settings;
            self.tell_missing();
        }
        Ok(())
    }

    /// Whether the maps are still this daemon's to write.
    fn is_in_charge(&mut self) -> Result<bool, InterceptError> {
        Ok(settings::proxy_port(&mut self.programs)? == u32::from(self.proxy_port))
    }

    fn tell_missing(&self) {
        if let Some(cgroup) = settings::missing(&self.selection.include, &self.cgroups) {
            tracing::warn!(
                cgroup,
                "an included cgroup does not exist; until it does, every process is protected"
            );
        }
        if let Some(cgroup) = settings::missing(&self.selection.exclude, &self.cgroups) {
            tracing::warn!(cgroup, "an excluded cgroup does not exist");
        }
        if let Some(cgroup) = settings::missing(&self.selection.sniff, &self.cgroups) {
            tracing::warn!(cgroup, "a sniffed cgroup does not exist");
        }
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
    /// Programs whose hook is in place.
    pub attached: Vec<Attached>,
    /// The others; all or none are missing where nothing has gone wrong.
    pub missing: Vec<&'static str>,
    /// Counters since the maps were made.
    pub counters: Vec<(&'static str, u64)>,
}

/// A hook that is in place.
#[derive(Serialize)]
pub struct Attached {
    /// The program's name.
    pub name: &'static str,
    /// The kernel's number of the loaded program.
    pub program: u32,
    /// The kernel's number of the link.
    pub link: u32,
    /// The cgroup, by the inode of its folder.
    pub cgroup: u64,
}

/// Reads what is pinned; works without a running daemon.
///
/// # Errors
/// When the pins exist and cannot be read.
pub fn status(pin_dir: &Path) -> Result<Status, InterceptError> {
    let pin_dir = versioned(pin_dir);
    let (mut attached, mut missing) = (Vec::new(), Vec::new());
    for name in PROGRAMS {
        let pin = links(&pin_dir).join(name);
        let info = Link::open(&pin).and_then(|link| link.map(|link| link.info()).transpose());
        // The pin of a hook whose cgroup is gone holds nothing any more.
        if let Some(info) = info.map_err(|source| pin_error(&pin, source))?
            && info.cgroup != 0
        {
            attached.push(Attached { name, program: info.program, link: info.id, cgroup: info.cgroup });
        } else {
            missing.push(name);
        }
    }
    if attached.is_empty() {
        return Ok(Status { attached, missing, counters: Vec::new() });
    }
    let error = |source: Source| InterceptError::Map { map: "STATS", source };
    let data = MapData::from_pin(pin_dir.join("STATS")).map_err(|source| error(source.into()))?;
    let map = Map::from_map_data(data).map_err(|source| error(source.into()))?;
    let map: PerCpuArray<_, u64> =
        map.try_into().map_err(|source: aya::maps::MapError| error(source.into()))?;
    let mut counters = Vec::new();
    for (name, index) in STATS.into_iter().zip(0..) {
        let each = map.get(&index, 0).map_err(|source| error(source.into()))?;
        counters.push((name, each.iter().sum()));
    }
    Ok(Status { attached, missing, counters })
}

/// Names of all pinned hooks, those of older versions included: what [`detach`] would remove.
pub fn pinned(pin_dir: &Path) -> Vec<String> {
    let pins = versions(pin_dir).flat_map(|version| files(&links(&version)));
    pins.filter_map(|pin| Some(pin.file_name()?.to_string_lossy().into_owned())).collect()
}

/// Detaches everything, hooks of older versions included, and removes the pins; what was attached.
///
/// # Errors
/// When a pin cannot be removed.
pub fn detach(pin_dir: &Path) -> Result<Vec<String>, InterceptError> {
    let mut detached = Vec::new();
    if !pin_dir.exists() {
        return Ok(detached);
    }
    let _lock = lock(pin_dir)?;
    for version in versions(pin_dir) {
        detached.append(&mut remove_version(&version)?);
    }
    fs::remove_dir(pin_dir).map_err(|source| pin_error(pin_dir, source))?;
    Ok(detached)
}

/// Keeps others from attaching or detaching: two daemons that start at once would have half of the hooks each.
fn lock(pin_dir: &Path) -> Result<File, InterceptError> {
    let lock = File::open(pin_dir).and_then(|folder| folder.lock().map(|()| folder));
    lock.map_err(|source| pin_error(pin_dir, source))
}

/// Removes the pins of one layout; the programs that were attached.
fn remove_version(version: &Path) -> Result<Vec<String>, InterceptError> {
    let mut pins = files(&links(version));
    // The refusing hooks go first: a connect is then direct, never redirected to nobody.
    pins.sort_by_key(|pin| std::cmp::Reverse(PROGRAMS.iter().position(|name| pin.ends_with(name))));
    let mut detached = Vec::new();
    for pin in pins {
        if let Ok(Some(link)) = Link::open(&pin) {
            // Kernels before 5.9 cannot; there, removing the pin has to do.
            let _ = link.detach();
        }
        fs::remove_file(&pin).map_err(|source| pin_error(&pin, source))?;
        detached.extend(pin.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    for map in files(version).into_iter().filter(|path| !path.is_dir()) {
        fs::remove_file(&map).map_err(|source| pin_error(&map, source))?;
    }
    for folder in [&links(version), version] {
        match fs::remove_dir(folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(pin_error(folder, source)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(detached)
}

/// A changed map layout must not meet an old pin.
fn versioned(pin_dir: &Path) -> PathBuf {
    pin_dir.join(format!("v{LAYOUT}"))
}

/// Folders of all layouts, this build's or another's.
fn versions(pin_dir: &Path) -> impl Iterator<Item = PathBuf> {
    files(pin_dir).into_iter().filter(|path| path.is_dir())
}

fn links(version: &Path) -> PathBuf {
    version.join("links")
}

/// What lies in a folder; nothing where there is none.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn pin_error(path: &Path, source: io::Error) -> InterceptError {
    InterceptError::Pin { path: path.to_owned(), source }
}

fn storage<T: aya::Pod>(pin_dir: &Path, name: &'static str) -> Result<SkStorage<MapData, T>, InterceptError> {
    let error = |source: Source| InterceptError::Map { map: name, source };
    let data = MapData::from_pin(pin_dir.join(name)).map_err(|source| error(source.into()))?;
    let map = Map::from_map_data(data).map_err(|source| error(source.into()))?;
    map.try_into().map_err(|source: aya::maps::MapError| error(source.into()))
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

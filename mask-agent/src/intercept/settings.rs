//! What the programs are told: the proxy's port, and whose connections to where are redirected.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapError, lpm_trie},
};
use mask_common::{Config, EXCLUDED, INCLUDED, LISTED, ONLY_INCLUDED, SNIFFED, SNIFFING, Target};
use mask_core::policy::{self, Selection, Subjects};

use super::InterceptError;

const _: () = assert!(policy::CGROUP_DEPTH_MAX <= mask_common::CGROUP_DEPTH_MAX as usize);

/// Of a target's key, the bits of the port.
const PORT_BITS: u32 = u32::BITS;

/// A prefix with the bits that count.
type Prefix = (u32, Target);

/// The contents of the maps that the daemon writes.
#[derive(Clone, PartialEq)]
pub(super) struct Settings {
    config: Config,
    targets: Vec<Prefix>,
    uids: Vec<(u32, u32)>,
    cgroups: Vec<(u64, u32)>,
}

impl Settings {
    /// What a selection comes to at this moment: a cgroup is known by a number that it has while it exists.
    ///
    /// An excluded cgroup that does not exist excludes nobody. An included one that does not exist protects
    /// everyone, because its number when it comes back cannot be known in advance. One whose connections are to be
    /// redirected wherever they go, and that does not exist, has none to redirect; were everyone's, the whole host
    /// would depend on the daemon while a service is stopped.
    pub(super) fn new(proxy_port: u16, selection: &Selection, cgroups: &Path) -> Self {
        let mut subjects = 0;
        if !(selection.include.is_empty() && selection.exclude.is_empty()) {
            subjects |= LISTED;
        }
        if !selection.include.is_empty() && missing(&selection.include, cgroups).is_none() {
            subjects |= ONLY_INCLUDED;
        }
        if !selection.sniff.is_empty() {
            subjects |= SNIFFING;
        }
        let (mut uids, mut found) = (Vec::new(), Vec::new());
        for (subjects, listed) in
            [(&selection.include, INCLUDED), (&selection.exclude, EXCLUDED), (&selection.sniff, SNIFFED)]
        {
            for uid in &subjects.uids {
                list(&mut uids, *uid, listed);
            }
            for number in subjects.cgroups.iter().filter_map(|path| number(cgroups, path)) {
                list(&mut found, number, listed);
            }
        }
        let config = Config { proxy_port: u32::from(proxy_port), refuse_mptcp: 1, subjects, reserved: 0 };
        let targets = selection.targets.iter().map(prefix).collect();
        Self { config, targets, uids, cgroups: found }
    }

    /// What the maps hold now: all zero where they are new.
    pub(super) fn read(programs: &mut Ebpf) -> Result<Self, InterceptError> {
        let config: Array<_, Config> = map(programs, "CONFIG")?;
        let config = config.get(&0, 0).map_err(failed("CONFIG"))?;
        let targets: lpm_trie::LpmTrie<_, Target, u32> = map(programs, "TARGETS")?;
        let targets = targets.keys().map(|key| key.map(|key| (key.prefix_len(), key.data())));
        let targets = targets.collect::<Result<_, _>>().map_err(failed("TARGETS"))?;
        Ok(Self { config, targets, uids: entries(programs, "UIDS")?, cgroups: entries(programs, "CGROUPS")? })
    }

    /// Writes the maps. Until all of them fit together everyone is protected, and no target goes before all new
    /// ones are there; who is sniffed before and afterwards is so meanwhile.
    pub(super) fn write(&self, programs: &mut Ebpf) -> Result<(), InterceptError> {
        write_config(programs, Config { subjects: SNIFFING, ..self.config })?;
        let mut targets: lpm_trie::LpmTrie<_, Target, u32> = map(programs, "TARGETS")?;
        for (length, target) in &self.targets {
            let key = lpm_trie::Key::new(*length, *target);
            targets.insert(&key, 1, 0).map_err(failed("TARGETS"))?;
        }
        let held: Vec<_> = targets.keys().collect::<Result<_, _>>().map_err(failed("TARGETS"))?;
        for key in held {
            if !self.targets.contains(&(key.prefix_len(), key.data())) {
                targets.remove(&key).map_err(failed("TARGETS"))?;
            }
        }
        replace(programs, "UIDS", &self.uids)?;
        replace(programs, "CGROUPS", &self.cgroups)?;
        write_config(programs, self.config)
    }
}

fn write_config(programs: &mut Ebpf, value: Config) -> Result<(), InterceptError> {
    let mut config: Array<_, Config> = map(programs, "CONFIG")?;
    config.set(0, value, 0).map_err(failed("CONFIG"))
}

/// The port that connections are redirected to.
pub(super) fn proxy_port(programs: &mut Ebpf) -> Result<u32, InterceptError> {
    let config: Array<_, Config> = map(programs, "CONFIG")?;
    Ok(config.get(&0, 0).map_err(failed("CONFIG"))?.proxy_port)
}

/// Lists a subject as one thing more.
fn list<K: PartialEq>(entries: &mut Vec<(K, u32)>, subject: K, listed: u32) {
    match entries.iter_mut().find(|(known, _)| *known == subject) {
        Some((_, already)) => *already |= listed,
        None => entries.push((subject, listed)),
    }
}

/// The first cgroup of a list that does not exist.
pub(super) fn missing<'a>(subjects: &'a Subjects, cgroups: &Path) -> Option<&'a str> {
    subjects.cgroups.iter().find(|path| number(cgroups, path).is_none()).map(String::as_str)
}

/// A cgroup's number is the inode of its folder.
pub(super) fn number(cgroups: &Path, path: &str) -> Option<u64> {
    let folder: PathBuf = cgroups.join(path.trim_start_matches('/'));
    fs::metadata(folder).ok().filter(fs::Metadata::is_dir).map(|folder| folder.ino())
}

fn prefix(target: &policy::Target) -> Prefix {
    let (octets, length) = match target.prefix {
        None => ([0; 16], 0),
        Some(prefix) => match prefix.address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), 96 + u32::from(prefix.length)),
            IpAddr::V6(v6) => (v6.octets(), u32::from(prefix.length)),
        },
    };
    let mut addr = [0; 4];
    for (word, bytes) in addr.iter_mut().zip(octets.as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    (PORT_BITS + length, Target { port: u32::from(target.port), addr })
}

fn entries<K: Pod>(programs: &mut Ebpf, name: &'static str) -> Result<Vec<(K, u32)>, InterceptError> {
    let map: HashMap<_, K, u32> = map(programs, name)?;
    map.iter().collect::<Result<_, _>>().map_err(failed(name))
}

fn replace<K: Pod + PartialEq>(
    programs: &mut Ebpf,
    name: &'static str,
    entries: &[(K, u32)],
) -> Result<(), InterceptError> {
    let mut map: HashMap<_, K, u32> = map(programs, name)?;
    let held: Vec<K> = map.keys().collect::<Result<_, _>>().map_err(failed(name))?;
    for key in held.iter().filter(|held| !entries.iter().any(|(key, _)| key == *held)) {
        map.remove(key).map_err(failed(name))?;
    }
    for (key, value) in entries {
        map.insert(key, value, 0).map_err(failed(name))?;
    }
    Ok(())
}

fn failed(map: &'static str) -> impl Fn(MapError) -> InterceptError {
    move |error| InterceptError::Map { map, source: error.into() }
}

fn map<'a, T>(programs: &'a mut Ebpf, name: &'static str) -> Result<T, InterceptError>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = programs.map_mut(name);
    let map = map.ok_or_else(|| InterceptError::Map { map: name, source: "not in the object".into() })?;
    T::try_from(map).map_err(failed(name))
}

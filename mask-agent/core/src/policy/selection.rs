//! Whose connections to where are intercepted: the `ports`, `targets` and `subjects` of a policy file.

use std::net::IpAddr;

use serde::Deserialize;

use super::DEFAULT_PORT;

/// How deep a cgroup may lie that a policy names; the kernel side looks no deeper.
pub const CGROUP_DEPTH_MAX: usize = 16;

/// Whose connections to where are intercepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Where databases are.
    pub targets: Vec<Target>,
    /// Who is protected; everyone where it is empty.
    pub include: Subjects,
    /// Who is not, even if included.
    pub exclude: Subjects,
    /// Whose connections to everywhere else are looked into for databases. They are among `include`, where there is one.
    pub sniff: Subjects,
}

/// A port databases listen on, at every address or at some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The port.
    pub port: u16,
    /// The addresses; every one without it.
    pub prefix: Option<Prefix>,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix {
    /// The first of them.
    pub address: IpAddr,
    /// How many bits they have in common.
    pub length: u8,
}

/// Processes by what the kernel knows of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Cgroups with all below them, as `/proc/PID/cgroup` shows them.
    pub cgroups: Vec<String>,
    /// Real users.
    pub uids: Vec<u32>,
}

impl Subjects {
    /// Whether nobody is named.
    pub fn is_empty(&self) -> bool {
        self.cgroups.is_empty() && self.uids.is_empty()
    }

    /// The first that others name as well.
    fn first_in(&self, others: &Self) -> Option<String> {
        let cgroup = self.cgroups.iter().find(|cgroup| others.cgroups.contains(cgroup));
        let uid = self.uids.iter().find(|uid| others.uids.contains(uid));
        cgroup.cloned().or_else(|| uid.map(u32::to_string))
    }

    /// Names others as well, each once.
    fn add(&mut self, others: &Self) {
        for cgroup in &others.cgroups {
            if !self.cgroups.contains(cgroup) {
                self.cgroups.push(cgroup.clone());
            }
        }
        for uid in &others.uids {
            if !self.uids.contains(uid) {
                self.uids.push(*uid);
            }
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = "allowed: an address, or one with a length, as in `10.1.0.0/16` or `fd00::/8`";
        let wrong = || format!("`{text}` is no prefix; {allowed}");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| wrong())?)),
            None => (&*text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (bits, width) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                return Err(format!("`{text}` is an IPv4 prefix; allowed: IPv4 written as such"));
            }
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let length = length.unwrap_or(width);
        if length > width {
            return Err(wrong());
        }
        let beyond = bits.checked_shl(u32::from(length + (128 - width))).unwrap_or(0);
        if beyond != 0 {
            return Err(format!("`{text}` has bits set beyond its length; allowed: zeros there"));
        }
        Ok(Self { address, length })
    }
}

/// `targets` and `subjects` exactly as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    /// The port.
    port: RawPort,
    /// An address or a prefix; every address without it.
    prefix: Option<Prefix>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct RawPort(u16);

impl TryFrom<u64> for RawPort {
    type Error = String;

    fn try_from(port: u64) -> Result<Self, String> {
        let known = u16::try_from(port).ok().filter(|port| *port > 0);
        known.map(Self).ok_or_else(|| format!("{port} is no port; allowed: 1 to 65535"))
    }
}

/// Who is protected.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSubjects {
    /// Only these; every process without it.
    include: Option<RawList>,
    /// Not these, even if included.
    exclude: Option<RawList>,
    /// Of these, connections to every port are looked into for databases; they are protected besides.
    sniff: Option<RawList>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawLists")]
struct RawList(Subjects);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "`cgroups`, `uids` or both, each a list")]
struct RawLists {
    /// Cgroups with all below them, as `/proc/PID/cgroup` shows them.
    #[serde(default)]
    cgroups: Vec<RawCgroup>,
    /// Real users, by number.
    #[serde(default)]
    uids: Vec<u32>,
}

impl TryFrom<RawLists> for RawList {
    type Error = String;

    fn try_from(lists: RawLists) -> Result<Self, String> {
        let cgroups = lists.cgroups.into_iter().map(|cgroup| cgroup.0).collect();
        let subjects = Subjects { cgroups, uids: lists.uids };
        if subjects.is_empty() {
            return Err(
                "nobody is named; allowed: `cgroups`, `uids` or both, with at least one entry".to_owned()
            );
        }
        Ok(Self(subjects))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawCgroup(String);

impl TryFrom<String> for RawCgroup {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        let parts = path.strip_prefix('/').map(|path| path.split('/').collect::<Vec<_>>());
        let odd = |part: &&str| part.is_empty() || *part == "." || *part == "..";
        match parts {
            Some(parts) if parts.len() > CGROUP_DEPTH_MAX => {
                Err(format!("`{path}` lies too deep; allowed: {CGROUP_DEPTH_MAX} levels"))
            }
            Some(parts) if !parts.iter().any(odd) => Ok(Self(path)),
            Some(_) | None => {
                Err(format!("`{path}` is no cgroup; allowed: a path as in `/system.slice/backup.service`"))
            }
        }
    }
}

impl Selection {
    /// What the three keys together say; as an error, who is excluded, and what besides.
    pub(super) fn new(
        ports: &[u16],
        targets: Vec<RawTarget>,
        subjects: RawSubjects,
    ) -> Result<Self, (String, &'static str)> {
        let default = if ports.is_empty() && targets.is_empty() { &[DEFAULT_PORT][..] } else { ports };
        let anywhere = default.iter().map(|port| Target { port: *port, prefix: None });
        let targets = targets.into_iter().map(|raw| Target { port: raw.port.0, prefix: raw.prefix });
        let list = |list: Option<RawList>| list.map(|list| list.0).unwrap_or_default();
        let (mut include, exclude) = (list(subjects.include), list(subjects.exclude));
        let sniff = list(subjects.sniff);
        for (besides, protected) in [("included", &include), ("sniffed", &sniff)] {
            if let Some(subject) = protected.first_in(&exclude) {
                return Err((subject, besides));
            }
        }
        if !include.is_empty() {
            include.add(&sniff);
        }
        Ok(Self { targets: anywhere.chain(targets).collect(), include, exclude, sniff })
    }
}

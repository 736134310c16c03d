//! What /proc says about a process.

use std::{fs, time::Duration};

use serde::Serialize;

/// What /proc counts time in: `USER_HZ`, which is 100 on every architecture there is an eBPF target for.
const TICK_MS: u64 = 10;

/// A process as /proc shows it at the moment it is asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Identity {
    /// Executable path.
    pub exe: Option<String>,
    /// Cgroup path within the cgroup v2 hierarchy.
    pub cgroup: Option<String>,
    /// The systemd service or scope.
    pub systemd_unit: Option<String>,
    /// The container's 64 hexadecimal digits.
    pub container_id: Option<String>,
}

/// Reads it; what cannot be read, because the process is gone already, is none.
pub fn identity(pid: u32) -> Identity {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let cgroup = cgroups.lines().find_map(|line| line.strip_prefix("0::")).map(ToOwned::to_owned);
    let path = cgroup.as_deref().unwrap_or_default();
    Identity {
        exe: exe.map(|path| path.to_string_lossy().into_owned()),
        systemd_unit: systemd_unit(path),
        container_id: container_id(path),
        cgroup,
    }
}

/// Reads it for a process that did something at a time since the host started: none if another has its number now.
pub fn identity_at(pid: u32, time: Duration) -> Identity {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything, blanks and parentheses too; the 20th field after it is the start.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let started = fields.split_ascii_whitespace().nth(19).and_then(|ticks| ticks.parse::<u64>().ok());
    match started {
        Some(ticks) if Duration::from_millis(ticks * TICK_MS) <= time => identity(pid),
        Some(_) | None => Identity::default(),
    }
}

fn systemd_unit(cgroup: &str) -> Option<String> {
    let is_unit = |part: &&str| {
        let kind = std::path::Path::new(part).extension().and_then(|kind| kind.to_str());
        matches!(kind, Some("service" | "scope"))
    };
    cgroup.rsplit('/').find(is_unit).map(ToOwned::to_owned)
}

fn container_id(cgroup: &str) -> Option<String> {
    cgroup.rsplit(['/', '-', '.', ':']).find(|part| is_container_id(part)).map(ToOwned::to_owned)
}

fn is_container_id(part: &str) -> bool {
    part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_and_a_container_are_read_from_the_cgroup_path() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(systemd_unit("/system.slice/agent.service").as_deref(), Some("agent.service"));
        assert_eq!(systemd_unit("/user.slice"), None);
        assert_eq!(container_id(&format!("/system.slice/docker-{id}.scope")), Some(id.clone()));
        assert_eq!(container_id(&format!("/kubepods/pod1/{id}")), Some(id));
        assert_eq!(container_id("/system.slice/agent.service"), None);
    }

    #[test]
    fn a_process_that_started_later_is_not_who_it_was() {
        let own = std::process::id();
        assert!(identity_at(own, Duration::MAX).exe.is_some());
        assert!(identity_at(own, Duration::ZERO).exe.is_none());
    }
}

//! What /proc says about a process.

use std::fs;

use serde::Serialize;

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
}

//! A network namespace of a test's own: its devices and routes go with it.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Result, anyhow, bail};

use crate::{end, output, wait_for};

/// A namespace held open by a process that ends with this one.
pub struct Netns {
    holder: Child,
}

impl Netns {
    /// Makes one whose loopback is up, where all of `198.18.0.0/24` and `fd00::/64` is this host, and that has a
    /// second device, `other0`, which leads nowhere.
    pub fn new() -> Result<Self> {
        // It reads a pipe of ours, so that it ends even if this process is killed.
        let mut holder = Command::new("unshare");
        holder.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let netns = Self { holder: holder.spawn()? };
        let own = std::fs::read_link("/proc/self/ns/net")?;
        wait_for("the network namespace", || {
            let program = std::fs::read_link(format!("/proc/{}/exe", netns.holder.id()));
            let in_place = program.is_ok_and(|program| !program.ends_with("unshare"));
            in_place && std::fs::read_link(netns.path()).is_ok_and(|net| net != own)
        })?;
        for arguments in [
            "link set lo up",
            "address add 198.18.0.1/24 dev lo",
            "-6 route add local fd00::/64 dev lo",
            "link add other0 type veth peer name other1",
            "link set other0 up",
            "link set other1 up",
        ] {
            let (ok, text) = output(netns.command("ip").args(arguments.split(' ')))?;
            if !ok {
                bail!("ip {arguments}: {text}");
            }
        }
        Ok(netns)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// What stands before a command so that it runs in here. `ip netns exec` would hide the cgroup file system.
    pub(crate) fn entering(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net={}", self.path().display())]
    }

    /// A command that runs in here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(&self.entering()[1..]).arg(program);
        command
    }

    /// Does something on a thread that is in here; sockets made there stay.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        let net = File::open(self.path())?;
        let enter = || {
            // SAFETY: the descriptor is open; the call changes this thread only, which ends right after.
            if unsafe { libc::setns(net.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(act())
        };
        let done = std::thread::scope(|scope| scope.spawn(enter).join());
        Ok(done.map_err(|_| anyhow!("a thread in the namespace panicked"))??)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        end(&mut self.holder, libc::SIGTERM);
    }
}

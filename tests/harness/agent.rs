//! A daemon attached to a cgroup of its own.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{Scratch, end, free_port, output, wait_for};

/// A running daemon, and the cgroup whose sockets it protects.
pub struct Agent {
    child: Child,
    scratch: Scratch,
    cgroup: PathBuf,
    pins: PathBuf,
}

/// The cgroup v2 mount, wherever this host has it.
pub fn cgroup_root() -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let path = mount.and_then(|line| line.split(' ').nth(1)).context("no cgroup v2 mount")?;
    Ok(PathBuf::from(path))
}

/// The daemon's binary, beside the test's own.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Tests lie in `deps`, xtask beside the daemon.
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("mask-agent")).find(|path| path.is_file());
    found.context(
        "no mask-agent beside the tests; run `cargo build -p mask-agent`, as `cargo xtask test` does",
    )
}

fn inside(cgroup: &Path, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg("echo $$ > \"$0/cgroup.procs\" && exec \"$@\"").arg(cgroup).arg(program);
    command
}

impl Agent {
    /// Starts a daemon with the built-in policy for the port of a database.
    pub fn start(port: u16) -> Result<Self> {
        let scratch = Scratch::new("agent")?;
        let name = scratch.0.file_name().context("scratch has a name")?.to_owned();
        let cgroup = cgroup_root()?.join(&name);
        std::fs::create_dir_all(cgroup.join("clients"))?;
        std::fs::create_dir_all(cgroup.join("daemon"))?;
        let pins = PathBuf::from("/sys/fs/bpf").join(&name);
        let log = std::fs::File::create(scratch.0.join("log"))?;
        let mut command = inside(&cgroup.join("daemon"), &binary()?);
        command.arg("run").arg("--state-dir").arg(scratch.0.join("state"));
        command.arg("--pin-dir").arg(&pins).arg("--cgroup").arg(&cgroup);
        command.args(["--port", &port.to_string(), "--listen-port", &free_port()?.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        let mut agent = Self { child, scratch, cgroup, pins };
        let log = agent.scratch.0.join("log");
        let mut ended = false;
        wait_for("the daemon to be ready", || {
            ended = agent.child.try_wait().is_ok_and(|status| status.is_some());
            ended || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"))
        })?;
        if ended {
            bail!("the daemon ended: {}", agent.log());
        }
        Ok(agent)
    }

    /// A command whose sockets are protected.
    pub fn client(&self, program: &str) -> Command {
        inside(&self.cgroup.join("clients"), Path::new(program))
    }

    /// Runs SQL by an unmodified psql with an ordinary connection string.
    pub fn psql(&self, dsn: &str, sql: &str) -> Result<(bool, String)> {
        output(self.client("psql").args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, dsn]))
    }

    /// Ends the daemon as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The records of the audit trail.
    pub fn trail(&self) -> Result<Vec<serde_json::Value>> {
        let file = std::fs::File::open(self.scratch.0.join("state/audit/audit.jsonl"))?;
        BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.child, libc::SIGTERM);
        if let Ok(binary) = binary() {
            let mut uninstall = Command::new(binary);
            uninstall.arg("uninstall").arg("--pin-dir").arg(&self.pins);
            let _ = output(uninstall.arg("--state-dir").arg(self.scratch.0.join("state")));
        }
        let _ = std::fs::remove_dir_all(&self.pins);
        for part in ["clients", "daemon", ""] {
            let folder = self.cgroup.join(part);
            // A cgroup can be removed once its last process is reaped.
            let _ =
                wait_for("the cgroup to empty", || std::fs::remove_dir(&folder).is_ok() || !folder.exists());
        }
    }
}

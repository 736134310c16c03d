//! A daemon attached to a cgroup of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{Scratch, end, free_port, output, wait_for, wire::SCRIPT};

/// A running daemon, and the cgroup whose sockets it protects.
pub struct Agent {
    child: Child,
    scratch: Scratch,
    cgroup: PathBuf,
    pins: PathBuf,
    small_disk: bool,
    /// The proxy's own port.
    pub proxy_port: u16,
}

/// What a daemon is started with.
#[derive(Default)]
struct Start<'a> {
    policy: Option<&'a str>,
    small_disk: bool,
    release: bool,
    arguments: &'a [&'a str],
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
        Self::launch(port, &Start::default())
    }

    /// Starts a daemon with a policy file.
    pub fn start_with(port: u16, policy: Option<&str>) -> Result<Self> {
        Self::launch(port, &Start { policy, ..Start::default() })
    }

    /// Starts a daemon whose state lies on a file system of 64 KiB.
    pub fn start_on_small_disk(port: u16) -> Result<Self> {
        Self::launch(port, &Start { small_disk: true, ..Start::default() })
    }

    /// Starts a daemon with more arguments.
    pub fn start_with_arguments(port: u16, arguments: &[&str]) -> Result<Self> {
        Self::launch(port, &Start { arguments, ..Start::default() })
    }

    /// Starts the optimised daemon.
    pub fn start_release(port: u16) -> Result<Self> {
        Self::launch(port, &Start { release: true, ..Start::default() })
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn launch(port: u16, start: &Start<'_>) -> Result<Self> {
        let scratch = Scratch::new("agent")?;
        let name = scratch.0.file_name().context("scratch has a name")?.to_owned();
        let cgroup = cgroup_root()?.join(&name);
        std::fs::create_dir_all(cgroup.join("clients"))?;
        std::fs::create_dir_all(cgroup.join("daemon"))?;
        let pins = PathBuf::from("/sys/fs/bpf").join(&name);
        let log = std::fs::File::create(scratch.0.join("log"))?;
        let mut binary = binary()?;
        if start.release {
            let target = binary.ancestors().nth(2).context("target folder")?;
            binary = target.join("release/mask-agent");
        }
        let mut command = inside(&cgroup.join("daemon"), &binary);
        command.arg("run").arg("--state-dir").arg(scratch.0.join("state"));
        command.arg("--pin-dir").arg(&pins).arg("--cgroup").arg(&cgroup);
        let state = scratch.0.join("state");
        std::fs::create_dir(&state)?;
        if start.small_disk {
            let mut mount = Command::new("mount");
            let (ok, text) = output(mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&state))?;
            if !ok {
                bail!("{text}");
            }
        }
        if let Some(policy) = start.policy {
            let file = scratch.0.join("policy.yaml");
            std::fs::write(&file, policy)?;
            command.arg("--policy").arg(file);
        }
        let proxy_port = free_port()?;
        command.args(["--port", &port.to_string(), "--listen-port", &proxy_port.to_string()]);
        command.args(start.arguments);
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        let mut agent = Self { child, scratch, cgroup, pins, small_disk: start.small_disk, proxy_port };
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

    /// Runs the script that speaks the protocol by hand, in the protected cgroup.
    pub fn wire(&self, port: u16, arguments: &[&str]) -> Result<(bool, String)> {
        output(self.client("/usr/bin/python3").arg(SCRIPT).arg(port.to_string()).args(arguments))
    }

    /// Opens a psql that is told what to do one line at a time.
    pub fn open_psql(&self, dsn: &str) -> Result<Psql> {
        let mut command = self.client("psql");
        command.args(["-X", "-A", "-t", dsn]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let pipe = child.stdout.take().context("piped")?;
        Ok(Psql { child, answers: BufReader::new(pipe) })
    }

    /// Asks the daemon to end, and does not wait.
    pub fn stop(&self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Whether the daemon has ended, and how.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        // SAFETY: the pid is our own child's and has not been reaped.
        unsafe { libc::kill(pid, signal) };
        Ok(())
    }

    /// Writes another policy file and asks the daemon to read it.
    pub fn reload(&self, policy: &str) -> Result<()> {
        std::fs::write(self.scratch.0.join("policy.yaml"), policy)?;
        self.signal(libc::SIGHUP)
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.scratch.0.join("state")
    }

    /// Runs another command of the same daemon: `status` or `uninstall`.
    pub fn command(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let mut command = Command::new(binary()?);
        command.args(arguments).arg("--pin-dir").arg(&self.pins).arg("--state-dir").arg(self.state());
        output(&mut command)
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

/// A psql that stays open.
pub struct Psql {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Psql {
    /// Sends one line and gives what it printed.
    pub fn ask(&mut self, sql: &str) -> Result<String> {
        let pipe = self.child.stdin.as_mut().context("piped")?;
        writeln!(pipe, "{sql}\n\\echo --done--")?;
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                bail!("psql ended: {answer}");
            }
            if line.starts_with("--done--") {
                return Ok(answer);
            }
            answer += &line;
        }
    }

    /// Closes its input and gives what it still printed, errors included.
    pub fn finish(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.answers.read_to_string(&mut text)?;
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut text)?;
        }
        self.child.wait()?;
        Ok(text)
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.child, libc::SIGTERM);
        if self.small_disk {
            let _ = Command::new("umount").arg(self.state()).status();
        }
        if let Ok(binary) = binary() {
            let mut uninstall = Command::new(binary);
            uninstall.arg("uninstall").arg("--pin-dir").arg(&self.pins).arg("--state-dir").arg(self.state());
            let _ = uninstall.stdout(Stdio::null()).status();
        }
        let _ = std::fs::remove_dir_all(&self.pins);
        for part in ["clients", "daemon", ""] {
            let folder = self.cgroup.join(part);
            // A cgroup can be removed once its last process is reaped.
            for _ in 0..100 {
                if std::fs::remove_dir(&folder).is_ok() || !folder.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

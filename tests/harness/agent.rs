//! A daemon attached to a cgroup of its own.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{Netns, Scratch, end, free_port, output, wait_for, wire::SCRIPT};

/// A running daemon, and the cgroup whose sockets it protects.
pub struct Agent {
    child: Child,
    /// Daemons whose hooks were taken over.
    predecessors: Vec<Child>,
    scratch: Scratch,
    cgroup: PathBuf,
    pins: PathBuf,
    small_disk: bool,
    /// What stands before every command so that it runs in the daemon's network namespace.
    entering: Vec<String>,
    /// The daemon's program and arguments.
    run: Vec<OsString>,
    /// The proxy's own port.
    pub proxy_port: u16,
}

/// What a daemon is started with.
#[derive(Default)]
pub struct Start<'a> {
    /// A policy file's text, in which `CGROUP` is the test's own; the built-in policy without it.
    pub policy: Option<&'a str>,
    /// Take the ports from the policy, in place of the one given.
    pub policy_ports: bool,
    /// Put the state on a file system of 64 KiB.
    pub small_disk: bool,
    /// Take the optimised daemon.
    pub release: bool,
    /// Attach to the root of all cgroups, in place of the test's own.
    pub at_root: bool,
    /// Run the daemon and its clients in this network namespace.
    pub netns: Option<&'a Netns>,
    /// Words before the daemon's program, which run it.
    pub runner: &'a [&'a str],
    /// More arguments.
    pub arguments: &'a [&'a str],
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

/// The script that makes connections by hand.
pub const PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/probe.py");

/// What a run of it printed.
pub fn probed(command: &mut Command) -> Result<serde_json::Value> {
    let (ok, text) = output(command)?;
    if !ok {
        bail!("{text}");
    }
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// Cgroups below the one that is attached to.
const PARTS: [&str; 4] = ["clients/inner", "clients", "others", "daemon"];

fn inside(cgroup: &Path, program: &[OsString]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg("echo $$ > \"$0/cgroup.procs\" && exec \"$@\"").arg(cgroup).args(program);
    command
}

impl Agent {
    /// Starts a daemon with the built-in policy for the port of a database.
    pub fn start(port: u16) -> Result<Self> {
        Self::start_as(port, &Start::default())
    }

    /// Starts a daemon with a policy file.
    pub fn start_with(port: u16, policy: Option<&str>) -> Result<Self> {
        Self::start_as(port, &Start { policy, ..Start::default() })
    }

    /// Starts a daemon whose state lies on a file system of 64 KiB.
    pub fn start_on_small_disk(port: u16) -> Result<Self> {
        Self::start_as(port, &Start { small_disk: true, ..Start::default() })
    }

    /// Starts a daemon with more arguments.
    pub fn start_with_arguments(port: u16, arguments: &[&str]) -> Result<Self> {
        Self::start_as(port, &Start { arguments, ..Start::default() })
    }

    /// Starts the optimised daemon.
    pub fn start_release(port: u16) -> Result<Self> {
        Self::start_as(port, &Start { release: true, ..Start::default() })
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts a daemon for a database port.
    pub fn start_as(port: u16, start: &Start<'_>) -> Result<Self> {
        let scratch = Scratch::new("agent")?;
        let name = scratch.0.file_name().context("scratch has a name")?.to_owned();
        let cgroup = cgroup_root()?.join(&name);
        for part in PARTS {
            std::fs::create_dir_all(cgroup.join(part))?;
        }
        let pins = PathBuf::from("/sys/fs/bpf").join(&name);
        let mut binary = binary()?;
        if start.release {
            let target = binary.ancestors().nth(2).context("target folder")?;
            binary = target.join("release/mask-agent");
        }
        let entering = start.netns.map(Netns::entering).unwrap_or_default();
        let mut run: Vec<OsString> = entering.iter().map(OsString::from).collect();
        run.extend(start.runner.iter().map(OsString::from));
        run.extend([binary.into(), "run".into(), "--pin-dir".into(), pins.clone().into()]);
        let state = scratch.0.join("state");
        run.extend(["--state-dir".into(), state.clone().into()]);
        if !start.at_root {
            run.extend(["--cgroup".into(), cgroup.clone().into()]);
        }
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
            std::fs::write(&file, policy.replace("CGROUP", &name.to_string_lossy()))?;
            run.extend(["--policy".into(), file.into()]);
        }
        if !start.policy_ports {
            run.extend(["--port".into(), port.to_string().into()]);
        }
        run.extend(start.arguments.iter().map(OsString::from));
        let proxy_port = free_port()?;
        let child = Self::spawn(&scratch, &cgroup, &run, proxy_port)?;
        let small_disk = start.small_disk;
        let predecessors = vec![];
        let mut agent =
            Self { child, predecessors, scratch, cgroup, pins, small_disk, entering, run, proxy_port };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    fn spawn(scratch: &Scratch, cgroup: &Path, run: &[OsString], proxy_port: u16) -> Result<Child> {
        let log = std::fs::File::create(scratch.0.join("log"))?;
        let mut command = inside(&cgroup.join("daemon"), run);
        command.args(["--listen-port", &proxy_port.to_string()]);
        Ok(command.stdout(Stdio::null()).stderr(log).spawn()?)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let log = self.scratch.0.join("log");
        let mut ended = false;
        wait_for("the daemon to be ready", || {
            ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            ended || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"))
        })?;
        if ended {
            bail!("the daemon ended: {}", self.log());
        }
        Ok(())
    }

    /// A folder of a cgroup below the one that is attached to: `clients`, `others`, or `late`, which a test may make.
    pub fn cgroup(&self, part: &str) -> PathBuf {
        self.cgroup.join(part)
    }

    /// A command whose sockets are protected.
    pub fn client(&self, program: &str) -> Command {
        self.client_in("clients", program)
    }

    /// A command in one of the protected cgroups.
    pub fn client_in(&self, part: &str, program: &str) -> Command {
        let mut words: Vec<OsString> = self.entering.iter().map(OsString::from).collect();
        words.push(program.into());
        inside(&self.cgroup.join(part), &words)
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

    /// Runs the script that makes connections by hand in a protected cgroup, and gives what it printed.
    pub fn probe(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        self.probe_in("clients", arguments)
    }

    /// The same in another of the protected cgroups.
    pub fn probe_in(&self, part: &str, arguments: &[&str]) -> Result<serde_json::Value> {
        probed(self.client_in(part, "/usr/bin/python3").arg(PROBE).args(arguments))
    }

    /// The counters of the hooks.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let status = self.status()?;
        status["counters"][name].as_u64().with_context(|| format!("no counter {name} in {status}"))
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

    /// Asks the daemon to read its policy and its credentials again.
    pub fn reread(&self) -> Result<()> {
        self.signal(libc::SIGHUP)
    }

    /// Writes another policy file and asks the daemon to read it.
    pub fn reload(&self, policy: &str) -> Result<()> {
        let name = self.scratch.0.file_name().context("scratch has a name")?.to_string_lossy();
        std::fs::write(self.scratch.0.join("policy.yaml"), policy.replace("CGROUP", &name))?;
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

    /// Starts another daemon in place of one that has ended.
    pub fn restart(&mut self) -> Result<()> {
        self.child = Self::spawn(&self.scratch, &self.cgroup, &self.run, self.proxy_port)?;
        self.wait_until_ready()
    }

    /// Starts another daemon on another port, which takes the hooks over; the one before goes on.
    pub fn succeed(&mut self) -> Result<()> {
        self.proxy_port = free_port()?;
        let child = Self::spawn(&self.scratch, &self.cgroup, &self.run, self.proxy_port)?;
        self.predecessors.push(std::mem::replace(&mut self.child, child));
        self.wait_until_ready()
    }

    /// Starts a daemon that must not come up; what it logged.
    pub fn fail_to_succeed(&self) -> Result<String> {
        let mut child = Self::spawn(&self.scratch, &self.cgroup, &self.run, free_port()?)?;
        let mut status = None;
        let ended = wait_for("the daemon to give up", || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        if ended.is_err() || status.is_none_or(|status| status.success()) {
            end(&mut child, libc::SIGTERM);
            bail!("the daemon came up: {}", self.log());
        }
        Ok(self.log())
    }

    /// Makes the next daemon attach to another cgroup: `clients`, or all of the test's without a name.
    pub fn attach_next_to(&mut self, part: &str) -> Result<()> {
        let at = self.run.iter().position(|word| word == "--cgroup").context("it attaches to a cgroup")?;
        self.run[at + 1] = self.cgroup.join(part).into();
        Ok(())
    }

    /// Removes all of the test's cgroups, which takes the hooks off, and makes them anew.
    pub fn remake_cgroups(&self) -> Result<()> {
        remove_cgroups(&self.cgroup);
        for part in PARTS {
            std::fs::create_dir_all(self.cgroup.join(part))?;
        }
        Ok(())
    }

    /// The folder of the pinned links, for tests that spoil it.
    pub fn links(&self) -> Result<PathBuf> {
        let mut versions = std::fs::read_dir(&self.pins)?;
        Ok(versions.next().context("a layout is pinned")??.path().join("links"))
    }

    /// The folder of all pins.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// What `status --json` says.
    pub fn status(&self) -> Result<serde_json::Value> {
        let (ok, text) = self.command(&["status", "--json"])?;
        if !ok {
            bail!("{text}");
        }
        serde_json::from_str(&text).with_context(|| text.clone())
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
        for child in self.predecessors.iter_mut().chain([&mut self.child]) {
            end(child, libc::SIGTERM);
        }
        if self.small_disk {
            let _ = Command::new("umount").arg(self.state()).status();
        }
        if let Ok(binary) = binary() {
            let mut uninstall = Command::new(binary);
            uninstall.arg("uninstall").arg("--pin-dir").arg(&self.pins).arg("--state-dir").arg(self.state());
            let _ = uninstall.stdout(Stdio::null()).status();
        }
        let _ = std::fs::remove_dir_all(&self.pins);
        remove_cgroups(&self.cgroup);
    }
}

fn remove_cgroups(cgroup: &Path) {
    for part in PARTS.into_iter().chain(["late", ""]) {
        let folder = cgroup.join(part);
        // A cgroup can be removed once its last process is reaped.
        for _ in 0..100 {
            if std::fs::remove_dir(&folder).is_ok() || !folder.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

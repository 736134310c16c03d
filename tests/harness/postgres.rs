//! A throw-away PostgreSQL.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{Scratch, end, free_port, output, wait_for};

/// The role that owns the server's processes; PostgreSQL refuses to run as root.
const SERVER_USER: &str = "postgres";

/// A server on a port of its own, role `postgres` with the password `clear-secret`.
pub struct Postgres {
    child: Child,
    /// Its port on every loopback address.
    pub port: u16,
    scratch: Scratch,
}

fn bin() -> Result<PathBuf> {
    for version in (13..=18).rev() {
        let bin = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
        if bin.join("postgres").exists() {
            return Ok(bin);
        }
    }
    bail!("no PostgreSQL server is installed; run `cargo xtask setup`")
}

fn as_server_user(program: &std::path::Path) -> Command {
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
        let bin = bin()?;
        let scratch = Scratch::new("postgres")?;
        let (made, text) = output(Command::new("chown").arg(SERVER_USER).arg(&scratch.0))?;
        if !made {
            bail!("{text}");
        }
        let data = scratch.0.join("data");
        let mut initdb = as_server_user(&bin.join("initdb"));
        initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "trust"]);
        let (made, text) = output(initdb.arg("-D").arg(&data))?;
        if !made {
            bail!("initdb: {text}");
        }
        let port = free_port()?;
        let mut server = as_server_user(&bin.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k", "", "-h", "127.0.0.1,::1"]);
        server.args(["-c", "fsync=off", "-c", "shared_buffers=64MB"]).args(arguments);
        let log = std::fs::File::create(scratch.0.join("log"))?;
        let child = server.stdout(Stdio::null()).stderr(log).spawn()?;
        let postgres = Self { child, port, scratch };
        wait_for("PostgreSQL", || postgres.psql("select 1").is_ok_and(|(ok, _)| ok))?;
        postgres.ask_for(method)?;
        Ok(postgres)
    }

    /// Stores the password as the method needs it, and asks for it from then on.
    fn ask_for(&self, method: &str) -> Result<()> {
        let stored = if method == "md5" { "md5" } else { "scram-sha-256" };
        self.setup(&format!(
            "set password_encryption = '{stored}'; alter role postgres password 'clear-secret'"
        ))?;
        std::fs::write(self.scratch.0.join("data/pg_hba.conf"), format!("host all all all {method}\n"))?;
        self.setup("select pg_reload_conf()")?;
        // The postmaster rereads the file a moment later.
        wait_for("pg_hba.conf", || {
            let rule = "select auth_method from pg_hba_file_rules";
            let without = self.dsn().replace("clear-secret", "wrong");
            let mut probe = Command::new("psql");
            let (ok, _) = output(probe.args(["-X", "-w", "-c", rule]).arg(without)).unwrap_or_default();
            ok == (method == "trust")
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

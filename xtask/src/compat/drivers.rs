//! What drivers see of a server, feature by feature, direct and through the agent, as a table in `docs/drivers.md`.
//!
//! A program for each driver lies in `tests/drivers`. It takes where to connect from `DSN`, tries one feature, and prints
//! what it saw as JSON: the same both ways, or for masked columns a value of the same type in place of each clear one.

mod judge;
mod known;
mod list;
mod page;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use judge::{Cell, judge};
use known::Known;
pub(crate) use list::build;
use list::{DRIVERS, Driver, FEATURES, Ready};
use mask_tests::{Agent, Certificates, Postgres, catch_interrupts, check_interrupt, output, types};
use page::Row;
use serde_json::Value;

/// The masks that columns of every type have, each in a schema of its name.
const MASKS: [(&str, &str); 2] = [("redacted", "redact"), ("tokenised", "token")];
const SCHEMA: &str = "tests/drivers/schema.sql";
/// Where what the programs printed is left to be looked at.
const RESULTS: &str = "target/compat/drivers";
/// A feature takes some seconds, and where columns of every type are read through a daemon that is not optimised, thirty.
const FEATURE_SECONDS_MAX: &str = "180";

/// What the kernel counts of the connections that it hands to the agent.
const REDIRECTED: &str = "redirected";

/// A server with TLS, and a daemon before it.
struct Place {
    postgres: Postgres,
    agent: Agent,
    certificates: Certificates,
}

/// Which way a program goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Through,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Through => "through",
        }
    }
}

/// Runs the drivers and features with these names, all of them where there are none, and then writes the table.
pub(super) fn run(drivers: &[String], features: &[String], release: bool) -> Result<()> {
    catch_interrupts();
    let known = Known::load()?;
    let mut place = Place::new(release)?;
    let mut rows = Vec::new();
    let is_meant = |names: &[String], name: &str| names.is_empty() || names.iter().any(|only| only == name);
    for name in drivers {
        ensure!(DRIVERS.iter().any(|driver| driver.name == name), "no driver {name}");
    }
    for name in features {
        ensure!(FEATURES.contains(&name.as_str()), "no feature {name}");
    }
    for driver in DRIVERS.iter().filter(|driver| is_meant(drivers, driver.name)) {
        let row = place.row(driver, &known, |feature| is_meant(features, feature));
        rows.push(row.with_context(|| driver.name)?);
    }
    ensure!(place.agent.ended()?.is_none(), "the daemon ended: {}", place.agent.log());
    let left = rows.iter().flat_map(|row| row.cells.values()).filter(|cell| matches!(cell, Cell::Differs(_)));
    let left = left.count();
    let mended = known.mended(&rows);
    for place in &mended {
        println!("no difference any more: {place}");
    }
    if drivers.is_empty() && features.is_empty() {
        let (_, version) = place.postgres.psql("show server_version")?;
        page::write(&rows, &known, version.trim())?;
    }
    ensure!(left == 0, "{left} features differ, and nobody has said why");
    ensure!(mended.is_empty(), "{} known differences are none any more", mended.len());
    Ok(())
}

fn policy() -> String {
    let columns = MASKS
        .map(|(schema, _)| format!("    - {{ name: secret*, table: {schema}.*, tag: {schema} }}\n"))
        .concat();
    let masks = MASKS.map(|(schema, mask)| format!("  {schema}: {mask}\n")).concat();
    let head = "version: 1\nname: drivers\nextends: zero-config\nclassification:\n  columns:\n";
    format!("{head}{columns}masks:\n{masks}")
}

/// What every program works on.
fn schema() -> Result<String> {
    let tables = types::schema(&MASKS.map(|(schema, _)| schema));
    let names = (0..types::TYPES.len()).map(|number| format!("open_{number}")).collect::<Vec<_>>().join(", ");
    let written = ["scalars", "arrays"]
        .map(|kind| format!("create table written_{kind} as select id, {names} from {kind} where id = 1;\n"));
    Ok(format!("{tables};\n{}{}", written.concat(), fs::read_to_string(SCHEMA)?))
}

impl Place {
    fn new(release: bool) -> Result<Self> {
        let certificates = Certificates::new()?;
        certificates.signed("server", "/CN=db.example", "DNS:localhost")?;
        let postgres = Postgres::start("scram-sha-256")?;
        certificates.turn_on(&postgres, "server")?;
        let file = certificates.path("schema.sql");
        fs::write(&file, schema()?)?;
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).arg(postgres.dsn());
        let (ok, text) = output(&mut psql)?;
        ensure!(ok, "{text}");
        let start = mask_tests::Start { policy: Some(&policy()), release, ..mask_tests::Start::default() };
        let agent = Agent::start_as(postgres.port, &start)?;
        let mut export = Command::new(mask_tests::agent::binary()?);
        export.args(["ca", "export"]).arg(certificates.path("agent-ca.crt"));
        let (ok, text) = output(export.arg("--state-dir").arg(agent.state()))?;
        ensure!(ok, "{text}");
        Ok(Self { postgres, agent, certificates })
    }

    /// Tries every feature of a driver both ways.
    fn row(&mut self, driver: &Driver, known: &Known, is_meant: impl Fn(&str) -> bool) -> Result<Row> {
        let began = Instant::now();
        let program = match driver.ready()? {
            Ready::Program(program) => program,
            Ready::NotRun(reason) => {
                println!("{}: not run: {reason}", driver.name);
                return Ok(Row::not_run(driver.name, reason));
            }
        };
        let listed = self.ask(&program, "features", Way::Direct)?;
        let version = listed["version"].as_str().context("no version")?.to_owned();
        let has: Vec<String> = serde_json::from_value(listed["features"].clone())?;
        if let Some(unknown) = has.iter().find(|name| !FEATURES.contains(&name.as_str())) {
            bail!("no feature {unknown} in the table");
        }
        let mut row = Row::new(driver.name, version);
        for feature in FEATURES.into_iter().filter(|feature| is_meant(feature)) {
            let cell = if has.iter().any(|name| name == feature) {
                let direct = self.tried(driver, &program, feature, Way::Direct)?;
                ensure!(direct.get("program").is_none(), "{feature}, direct: {}", direct["program"]);
                let before = self.agent.counter(REDIRECTED)?;
                let through = self.tried(driver, &program, feature, Way::Through)?;
                ensure!(self.agent.counter(REDIRECTED)? > before, "{feature}: past the agent");
                known.explain(driver.name, feature, judge(feature, &direct, &through))
            } else {
                Cell::None
            };
            if let Cell::Differs(differences) = &cell {
                println!("{}, {feature}:", driver.name);
                for difference in differences {
                    println!("  {difference}");
                }
            }
            row.cells.insert(feature, cell);
        }
        println!("{}: {} s", row.version, began.elapsed().as_secs());
        Ok(row)
    }

    fn tried(&mut self, driver: &Driver, program: &[String], feature: &str, way: Way) -> Result<Value> {
        self.postgres.setup("delete from parts where id >= 100")?;
        let seen = self.ask(program, feature, way)?;
        let folder = format!("{RESULTS}/{}", driver.name);
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_string_pretty(&seen)?;
        fs::write(format!("{folder}/{feature}.{}.json", way.name()), text)?;
        Ok(seen)
    }

    /// Runs a program for a feature, and gives what it printed; what it said where it failed is `program`.
    fn ask(&mut self, program: &[String], feature: &str, way: Way) -> Result<Value> {
        check_interrupt()?;
        let (mut command, root) = match way {
            Way::Direct => (Command::new("timeout"), "ca.crt"),
            Way::Through => (self.agent.client("timeout"), "agent-ca.crt"),
        };
        let dsn = format!("postgresql://postgres:clear-secret@localhost:{}/postgres", self.postgres.port);
        command.args(["--kill-after=5", FEATURE_SECONDS_MAX]).args(program).arg(feature);
        command.env("DSN", dsn).env("ROOT", self.certificates.path(root));
        command.env("TYPES", types::TYPES.len().to_string());
        command.env("SCHEMAS", MASKS.map(|(schema, _)| schema).join(","));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut errors = child.stderr.take().context("piped")?;
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).map(|_| text)
        });
        let mut pipe = child.stdin.take().context("piped")?;
        let mut printed = String::new();
        for line in BufReader::new(child.stdout.take().context("piped")?).lines() {
            let line = line?;
            if line == "ready" {
                self.postgres.restart()?;
                writeln!(pipe, "go")?;
            } else if !line.is_empty() {
                printed = line;
            }
        }
        let status = child.wait()?;
        let errors = errors.join().ok().context("a reader")??;
        if status.success() {
            return serde_json::from_str(&printed)
                .with_context(|| format!("{program:?} {feature}: {printed}"));
        }
        Ok(serde_json::json!({ "program": String::from_utf8_lossy(&errors) }))
    }
}

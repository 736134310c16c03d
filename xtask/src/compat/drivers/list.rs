//! The drivers, the features, and what runs a driver's program.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use mask_tests::{driver_python, output};

/// In the order of the table.
pub(super) const FEATURES: [&str; 21] = [
    "sslmode disable",
    "sslmode allow",
    "sslmode prefer",
    "sslmode require",
    "sslmode verify-ca",
    "sslmode verify-full",
    "simple",
    "parameters",
    "binary",
    "prepared",
    "pipeline",
    "transaction",
    "copy",
    "cursor",
    "large_object",
    "notify",
    "cancel",
    "password",
    "restart",
    "types",
    MASKED,
];

/// The one in which values are not to be the same.
pub(super) const MASKED: &str = "masked";

/// One of the table's rows.
pub(super) struct Driver {
    pub(super) name: &'static str,
    language: Language,
}

/// What runs a program.
enum Language {
    Java(&'static str),
    Node(&'static str),
    Python(&'static str),
    Rust(&'static str),
}

/// Whether a driver can be run here.
pub(super) enum Ready {
    /// The words of a command, to which the feature is added.
    Program(Vec<String>),
    /// The reason why not.
    NotRun(String),
}

pub(super) const DRIVERS: [Driver; 16] = [
    Driver { name: "psql", language: Language::Python("psql_program") },
    Driver { name: "psycopg2", language: Language::Python("psycopg2_program") },
    Driver { name: "psycopg3", language: Language::Python("psycopg3_program") },
    Driver { name: "asyncpg", language: Language::Python("asyncpg_program") },
    Driver { name: "pg8000", language: Language::Python("pg8000_program") },
    Driver { name: "SQLAlchemy", language: Language::Python("sqlalchemy_program") },
    Driver { name: "Django", language: Language::Python("django_program") },
    Driver { name: "node-postgres", language: Language::Node("pg") },
    Driver { name: "postgres.js", language: Language::Node("postgres") },
    Driver { name: "Prisma", language: Language::Node("prisma") },
    Driver { name: "pgjdbc", language: Language::Java("Pgjdbc") },
    Driver { name: "tokio-postgres", language: Language::Rust("tokio_postgres") },
    Driver { name: "sqlx", language: Language::Rust("sqlx") },
    Driver { name: "diesel", language: Language::Rust("diesel") },
    Driver { name: "pgbench", language: Language::Python("pgbench_program") },
    Driver { name: "pg_dump", language: Language::Python("pg_dump_program") },
];

/// Where `cargo xtask setup` puts the packages of Node.
const NODE_MODULES: &str = "target/node/node_modules";
/// Where the distribution puts pgjdbc.
const PGJDBC: &str = "/usr/share/java/postgresql.jar";
const CLASSES: &str = "target/compat/java";
/// A crate of its own: sqlx and diesel are none of the workspace's dependencies.
const CRATE: &str = "tests/drivers/rust/Cargo.toml";
const CRATE_TARGET: &str = "target/drivers-rust";

/// Builds the Rust programs, which takes minutes the first time.
pub(crate) fn build() -> Result<()> {
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--manifest-path", CRATE, "--target-dir", CRATE_TARGET]);
    ensure!(build.status()?.success(), "the drivers of Rust did not build");
    Ok(())
}

impl Driver {
    pub(super) fn ready(&self) -> Result<Ready> {
        let here = std::env::current_dir()?;
        Ok(Ready::Program(match self.language {
            Language::Java(class) => {
                if !Path::new(PGJDBC).exists() {
                    return Ok(Ready::NotRun(format!("{PGJDBC} is not there")));
                }
                compile(class)?;
                ["java", "-cp", &format!("{CLASSES}:{PGJDBC}"), class].map(str::to_owned).to_vec()
            }
            Language::Node(file) => {
                let modules = here.join(NODE_MODULES);
                ensure!(modules.exists(), "Node's drivers are missing; run `cargo xtask setup`");
                let program = format!("tests/drivers/node/{file}.cjs");
                vec!["env".to_owned(), format!("NODE_PATH={}", modules.display()), "node".to_owned(), program]
            }
            Language::Python(file) => vec![driver_python()?, format!("tests/drivers/python/{file}.py")],
            Language::Rust(name) => {
                let program = here.join(CRATE_TARGET).join("debug").join(name);
                ensure!(program.exists(), "{} is missing: run without MASK_XTASK_READY", program.display());
                vec![program.to_str().context("a path is text")?.to_owned()]
            }
        }))
    }
}

fn compile(class: &str) -> Result<()> {
    fs::create_dir_all(CLASSES)?;
    let mut compile = Command::new("javac");
    compile.args(["-cp", PGJDBC, "-d", CLASSES]).arg(format!("tests/drivers/java/{class}.java"));
    let (ok, text) = output(compile.stdin(Stdio::null()))?;
    ensure!(ok, "{text}");
    Ok(())
}

//! Mutation testing of what decides: one change to the code at a time, and whether a unit test sees it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::run;

/// A module of the core.
#[derive(Clone, Copy, ValueEnum)]
enum Module {
    Lineage,
    Masking,
    Policy,
}

impl Module {
    const ALL: [Self; 3] = [Self::Policy, Self::Masking, Self::Lineage];

    fn name(self) -> &'static str {
        match self {
            Self::Lineage => "lineage",
            Self::Masking => "masking",
            Self::Policy => "policy",
        }
    }
}

/// Which mutants are tried.
#[derive(Args)]
pub(crate) struct Options {
    /// Of these modules; all three by default.
    #[arg(long)]
    module: Vec<Module>,
    /// Only every n-th, beginning with the k-th: `k/n`, from 0.
    #[arg(long)]
    shard: Option<String>,
    /// Judge each by the tests of all modules, and those of whole conversations. Slower; for what the module's own miss.
    #[arg(long)]
    all_tests: bool,
}

/// Tries mutants in a copy of the tree; what was caught and missed stands in `target/mutants/MODULE`.
pub(crate) fn run_them(options: &Options) -> Result<()> {
    let mut version = Command::new("cargo");
    let found = version.args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        bail!("cargo-mutants is missing: cargo install --locked cargo-mutants");
    }
    let modules = if options.module.is_empty() { &Module::ALL[..] } else { &options.module };
    let mut missed = Vec::new();
    for module in modules.iter().map(|module| module.name()) {
        let folder = PathBuf::from("target/mutants").join(module);
        std::fs::create_dir_all(&folder)?;
        let mut mutants = Command::new("cargo");
        mutants.args(["mutants", "--package", "mask-core", "--sharding", "round-robin", "--colors", "never"]);
        // Kept between runs: the C parser alone takes minutes to build.
        mutants.env("CARGO_TARGET_DIR", std::env::current_dir()?.join("target/mutants/build"));
        mutants.arg("--file").arg(format!("mask-agent/core/src/{module}/**/*.rs"));
        mutants.arg("--file").arg(format!("mask-agent/core/src/{module}/*.rs"));
        mutants.arg("--output").arg(&folder);
        if let Some(shard) = &options.shard {
            mutants.args(["--shard", shard]);
        }
        if !options.all_tests {
            mutants.args(["--", "--lib", module]);
        }
        if run(&mut mutants).is_err() {
            missed.push(format!("{module}: {}", folder.join("mutants.out/missed.txt").display()));
        }
    }
    if !missed.is_empty() {
        bail!("mutants that no test sees, or a failure:\n{}", missed.join("\n"));
    }
    Ok(())
}

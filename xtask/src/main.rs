//! What cargo cannot do: setup, demo, test, ci, tidy.

mod demo;
mod setup;
mod tidy;

use std::process::Command;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What cargo cannot do")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Every gate; lists all that failed.
    Ci,
    /// An unmodified client gets masked rows; then the daemon is killed, and the client nothing.
    Demo,
    /// Install what the tool chain and the tests need, and say why.
    Setup,
    /// All tests, those that need root included when run as root.
    Test,
    /// House rules that no other tool knows.
    Tidy,
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Ci => ci(),
        Task::Demo => {
            setup::run()?;
            cargo(&["build", "--package", "mask-agent"])?;
            demo::run()
        }
        Task::Setup => setup::run(),
        Task::Test => {
            setup::run()?;
            test()
        }
        Task::Tidy => tidy::run(),
    }
}

fn cargo(arguments: &[&str]) -> Result<()> {
    run(Command::new("cargo").args(arguments))
}

fn run(command: &mut Command) -> Result<()> {
    println!("$ {command:?}");
    if !command.status()?.success() {
        bail!("failed: {command:?}");
    }
    Ok(())
}

fn test() -> Result<()> {
    cargo(&["build", "--package", "mask-agent"])?;
    cargo(&["test", "--workspace", "--exclude", "mask-ebpf"])
}

fn ci() -> Result<()> {
    setup::run()?;
    let gates: [(&str, fn() -> Result<()>); 5] = [
        ("fmt", || cargo(&["fmt", "--all", "--check"])),
        ("tidy", tidy::run),
        ("core alone", || cargo(&["build", "--package", "mask-core"])),
        ("tests", test),
        ("policies", || {
            run(Command::new("target/debug/mask-agent").args([
                "policy",
                "check",
                "policies/zero-config.yaml",
                "policies/observe.yaml",
            ]))
        }),
    ];
    let mut failed = Vec::new();
    for (name, gate) in gates {
        if let Err(error) = gate() {
            failed.push(format!("{name}: {error}"));
        }
    }
    if !failed.is_empty() {
        bail!("{} gates failed:\n{}", failed.len(), failed.join("\n"));
    }
    println!("all gates passed");
    Ok(())
}

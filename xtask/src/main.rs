//! What cargo cannot do: setup, demo, test, ci, tidy, bench.

mod bench;
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
    /// Speed against direct, a bare relay and pgbouncer, interleaved in one run.
    Bench(bench::Options),
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
    /// A part of `bench` in a process of its own.
    #[command(hide = true)]
    IdleClient { port: u16, count: u32 },
    /// A part of `bench` in a process of its own.
    #[command(hide = true)]
    RelayServer { port: u16, upstream: u16 },
    /// A part of `bench` in a process of its own.
    #[command(hide = true)]
    ScanClient { port: u16, request: std::path::PathBuf },
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Bench(options) => {
            setup::run()?;
            cargo(&["build", "--release", "--package", "mask-agent", "--package", "xtask"])?;
            bench::run(&options)
        }
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
        Task::IdleClient { port, count } => bench::idle_client(port, count),
        Task::RelayServer { port, upstream } => bench::relay_server(port, upstream),
        Task::ScanClient { port, request } => bench::scan_client(port, &request),
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

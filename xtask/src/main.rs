//! What cargo cannot do: setup, demo, test, ci, tidy, bench, compat, functions, instructions, mutants, random.

mod bench;
mod catalog;
mod compat;
mod corpus;
mod demo;
mod differential;
mod functions;
mod fuzz;
mod instructions;
mod mutants;
mod random;
mod setup;
mod soak;
mod tidy;

use std::process::Command;
use std::time::Instant;

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
    Ci {
        /// One that is run by itself.
        #[arg(long, value_name = "GATE", value_parser = gate)]
        except: Option<String>,
    },
    /// PostgreSQL's own regression and isolation suites, or drivers, direct and through the agent.
    Compat(compat::Options),
    /// Attacks and their benign twins in every form of a statement, direct and through the agent.
    Corpus(corpus::Options),
    /// An unmodified client gets masked rows; then the daemon is killed, and the client nothing.
    Demo,
    /// What the functions of every installed server do with values, as a table for the core.
    Functions {
        /// Change nothing; fail where the table is not what the servers and the review say.
        #[arg(long)]
        check: bool,
    },
    /// Hostile clients and servers for the core, each target for a while.
    Fuzz {
        /// For each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// How many instructions the core spends on a statement and a row, beside what is on record.
    Instructions {
        /// Put these on record.
        #[arg(long)]
        write: bool,
    },
    /// One change to what decides at a time, and whether a test sees it.
    Mutants(mutants::Options),
    /// Our lineage beside the server's own analysis of the same statements; fetches what it compares on.
    Oracle {
        /// What `mask-oracle --help` lists.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Messages of a client's that are changed by chance, and whether they are answered as direct.
    Differential(differential::Options),
    /// Statements by chance, searched for values that must not be seen.
    Random(random::Options),
    /// Install what the tool chain and the tests need, and say why.
    Setup,
    /// Many clients that open, ask, cancel and die by chance, and what the daemon holds when they are gone.
    Soak(soak::Options),
    /// All tests; those that need root get it by sudo.
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
    /// A part of `soak` in a process of its own.
    #[command(hide = true)]
    SoakClients { port: u16, clients: u32, seconds: u64, seed: u64 },
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Bench(options) if options.catalog => {
            as_root(&["build", "--release", "--package", "mask-agent"], catalog::run)
        }
        Task::Bench(options) => {
            let build = ["build", "--release", "--package", "mask-agent", "--package", "xtask"];
            as_root(&build, || bench::run(&options))
        }
        Task::Ci { except } => ci(except.as_deref()),
        Task::Compat(options) => {
            if options.drivers && std::env::var_os(READY).is_none() {
                setup::run()?;
                compat::build_drivers()?;
            }
            let build: &[&str] = if options.release { &["build", "--release"] } else { &["build"] };
            as_root(&[build, &["--package", "mask-agent"]].concat(), || compat::run(&options))
        }
        Task::Corpus(options) => as_root(&["build", "--package", "mask-agent"], || corpus::run(&options)),
        Task::Differential(options) => {
            as_root(&["build", "--package", "mask-agent"], || differential::run(&options))
        }
        Task::Demo => as_root(&["build", "--package", "mask-agent"], demo::run),
        Task::Functions { check: true } => functions::run(functions::Mode::Check),
        Task::Functions { check: false } => functions::run(functions::Mode::Write),
        Task::Fuzz { seconds } => {
            setup::run()?;
            fuzz::fuzz(seconds)
        }
        Task::Instructions { write: true } => instructions::run(instructions::Mode::Write),
        Task::Instructions { write: false } => instructions::run(instructions::Mode::Check),
        Task::Mutants(options) => mutants::run_them(&options),
        Task::Oracle { arguments } => {
            as_root(&["build", "--package", "mask-agent", "--package", "mask-oracle"], || {
                run(Command::new("target/debug/mask-oracle").args(&arguments))
            })
        }
        Task::Random(options) => as_root(&["build", "--package", "mask-agent"], || random::run(&options)),
        Task::Setup => setup::run(),
        Task::Soak(options) => {
            let build = ["build", "--release", "--package", "mask-agent", "--package", "xtask"];
            as_root(&build, || soak::run(&options))
        }
        Task::SoakClients { port, clients, seconds, seed } => soak::clients(port, clients, seconds, seed),
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

/// Set where the user has set up and built already, and root has only to run.
const READY: &str = "MASK_XTASK_READY";

/// Sets up and builds as whoever asks, and goes on as root, which loading eBPF programs takes.
fn as_root(build: &[&str], task: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(READY).is_none() {
        setup::run()?;
        cargo(build)?;
    }
    if setup::is_root() {
        return task();
    }
    println!("eBPF programs are loaded by root: running the rest with sudo");
    let mut again = Command::new("sudo");
    again.arg("--preserve-env").arg("env").arg(format!("{READY}=1"));
    run(again.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)))
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
    // With the features that the tests are built with: the agent alone would be a second build of most crates.
    let all = ["--workspace", "--exclude", "mask-ebpf"];
    cargo(&[&["build"], &all[..], &["--bins", "--tests"]].concat())?;
    let mut test = Command::new("cargo");
    test.arg("test").args(all).env("MASK_TEST_REQUIRE_ROOT", "1");
    if !setup::is_root() {
        println!("the tests load eBPF programs: running them with sudo");
        let runner =
            format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", std::env::consts::ARCH.to_uppercase());
        test.env(runner, "sudo --preserve-env");
    }
    run(&mut test)
}

/// A check of `ci` and what it is called.
struct Gate {
    name: &'static str,
    check: fn() -> Result<()>,
}

const GATES: [Gate; 10] = [
    Gate { name: "fmt", check: || cargo(&["fmt", "--all", "--check"]) },
    Gate { name: "tidy", check: tidy::run },
    // As `instructions` wants it built.
    Gate { name: "core alone", check: || cargo(&["build", "--release", "--package", "mask-core"]) },
    Gate {
        name: "clippy",
        check: || {
            let all = ["clippy", "--workspace", "--exclude", "mask-ebpf", "--all-targets"];
            cargo(&[&all[..], &["--", "--deny", "warnings"]].concat())
        },
    },
    Gate {
        name: "docs",
        check: || {
            let mut doc = Command::new("cargo");
            doc.args([
                "doc",
                "--workspace",
                "--exclude",
                "mask-ebpf",
                "--no-deps",
                "--document-private-items",
            ]);
            run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
        },
    },
    Gate { name: "functions", check: || functions::run(functions::Mode::Check) },
    Gate { name: "instructions", check: || instructions::run(instructions::Mode::Check) },
    Gate { name: "tests", check: test },
    Gate { name: "policies", check: policies },
    Gate { name: "fuzz", check: || fuzz::fuzz(30) },
];

/// Every shipped policy is one the daemon accepts.
fn policies() -> Result<()> {
    let mut check = Command::new("target/debug/mask-agent");
    check.args(["policy", "check"]);
    for entry in std::fs::read_dir("policies")? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "yaml") {
            check.arg(path);
        }
    }
    run(&mut check)
}

/// The name of a gate, as an argument.
fn gate(name: &str) -> Result<String, String> {
    let names = GATES.map(|gate| gate.name);
    if names.contains(&name) { Ok(name.to_owned()) } else { Err(format!("gates are {}", names.join(", "))) }
}

fn ci(except: Option<&str>) -> Result<()> {
    setup::run()?;
    let mut failed = Vec::new();
    for gate in GATES.iter().filter(|gate| Some(gate.name) != except) {
        println!("== {}", gate.name);
        let start = Instant::now();
        if let Err(error) = (gate.check)() {
            failed.push(format!("{}: {error}", gate.name));
        }
        println!("== {}: {} s", gate.name, start.elapsed().as_secs());
    }
    if !failed.is_empty() {
        bail!("{} gates failed:\n{}", failed.len(), failed.join("\n"));
    }
    println!("all gates passed");
    Ok(())
}

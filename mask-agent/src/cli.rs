//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Masks sensitive columns between unmodified clients and their database.
#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Attach the hooks and serve until told to stop.
    Run(Run),
    /// Show whether the hooks are attached, and their counters.
    Status {
        #[command(flatten)]
        pins: Pins,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Work with policy files.
    #[command(subcommand)]
    Policy(Policy),
    /// Read the audit trail.
    #[command(subcommand)]
    Audit(Audit),
    /// Detach the hooks, so that the database is reachable in clear again; this is audited.
    Uninstall {
        #[command(flatten)]
        pins: Pins,
        #[command(flatten)]
        state: State,
    },
}

#[derive(Args)]
pub(crate) struct Run {
    /// Policy file; without one the built-in policy protects well-known personal data.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) pins: Pins,
    /// Protect this cgroup only, instead of every process on the host.
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup: Option<PathBuf>,
    /// Port the proxy listens on, on both loopback addresses.
    #[arg(long, default_value_t = 15432)]
    pub(crate) listen_port: u16,
    /// Connections served at a time; more are told that there are too many.
    #[arg(long, value_name = "COUNT", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) max_connections: u32,
    /// Database port to intercept; may be given several times, and replaces the policy's list.
    #[arg(long = "port", value_name = "PORT")]
    pub(crate) ports: Vec<u16>,
}

#[derive(Args)]
pub(crate) struct State {
    /// Folder for the audit trail and the masking key.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/mask-agent")]
    pub(crate) state_dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct Pins {
    /// Folder on bpffs for the pinned hooks.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/mask-agent")]
    pub(crate) pin_dir: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Check policy files, and say what is wrong with them.
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Print the last records.
    Tail {
        #[command(flatten)]
        state: State,
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Go on printing records as they come.
        #[arg(short = 'f', long)]
        follow: bool,
        /// Print the records as they are stored.
        #[arg(long)]
        json: bool,
    },
}

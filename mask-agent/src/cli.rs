//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Masks sensitive columns between unmodified clients and their database.
#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    /// YAML file with the settings of this host; every flag wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Attach the hooks and serve until told to stop.
    Run(Run),
    /// Show whether the hooks are attached, by which daemon, its connections, and counters.
    Status {
        #[command(flatten)]
        pins: Pins,
        #[command(flatten)]
        state: State,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what the daemon would know about a database: relations, columns, views, functions, types.
    Catalog {
        /// Connection string, as for psql.
        #[arg(long, value_name = "DSN")]
        dsn: String,
        /// Print all of it as JSON, instead of how many of each there are.
        #[arg(long)]
        json: bool,
        /// Read again at every line of standard input, and print what that took and whether it found every change.
        #[arg(long, conflicts_with = "json")]
        follow: bool,
    },
    /// Print what a statement's outputs are made of, and what a policy says of it; the statement is not run.
    Explain(Explain),
    /// Work with policy files.
    #[command(subcommand)]
    Policy(Policy),
    /// Read the audit trail.
    #[command(subcommand)]
    Audit(Audit),
    /// Work with the keys of masks.
    #[command(subcommand)]
    Key(Key),
    /// Work with the host's certificate authority, by which clients know the proxy.
    #[command(subcommand)]
    Ca(Ca),
    /// Work with what is remembered of databases that no authority vouches for.
    #[command(subcommand)]
    Pins(Pinned),
    /// Detach the hooks, so that the database is reachable in clear again; this is audited.
    Uninstall {
        #[command(flatten)]
        pins: Pins,
        #[command(flatten)]
        state: State,
    },
}

#[derive(Args)]
pub(crate) struct Explain {
    /// Connection string, as for psql.
    #[arg(long, value_name = "DSN")]
    pub(crate) dsn: String,
    /// Policy file; without one the built-in policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Print one line of JSON for each string of statements.
    #[arg(long)]
    pub(crate) json: bool,
    /// Statements, as one string; `-` for as many strings as come on standard input, with a NUL between them.
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
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
    /// Port the proxy listens on, on both loopback addresses; 15432 by default.
    #[arg(long, value_name = "PORT")]
    pub(crate) listen_port: Option<u16>,
    /// Connections served at a time; more are told that there are too many. 4096 by default.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_connections: Option<u32>,
    /// Log what the eBPF programs do with every connection to a database, for looking into a fault.
    #[arg(long)]
    pub(crate) debug_ebpf: bool,
    /// Database port to intercept; may be given several times, and replaces the policy's list.
    #[arg(long = "port", value_name = "PORT")]
    pub(crate) ports: Vec<u16>,
}

#[derive(Args)]
pub(crate) struct State {
    /// Folder for the audit trail and the masking keys; /var/lib/mask-agent by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Pins {
    /// Folder on bpffs for the pinned hooks; /sys/fs/bpf/mask-agent by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) pin_dir: Option<PathBuf>,
}

/// What flags say in place of the configuration file.
#[derive(Default)]
pub(crate) struct Overrides {
    pub(crate) policy: Option<PathBuf>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) pin_dir: Option<PathBuf>,
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) listen_port: Option<u16>,
    pub(crate) max_connections: Option<u32>,
    pub(crate) ports: Vec<u16>,
    pub(crate) debug_ebpf: bool,
}

impl From<Run> for Overrides {
    fn from(run: Run) -> Self {
        let Run { policy, state, pins, cgroup, listen_port, max_connections, debug_ebpf, ports } = run;
        let folders = Self::from((Some(pins), state));
        Self { policy, cgroup, listen_port, max_connections, ports, debug_ebpf, ..folders }
    }
}

impl From<(Option<Pins>, State)> for Overrides {
    fn from((pins, state): (Option<Pins>, State)) -> Self {
        let pin_dir = pins.and_then(|pins| pins.pin_dir);
        Self { pin_dir, state_dir: state.state_dir, ..Self::default() }
    }
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
pub(crate) enum Key {
    /// Show the versions there are.
    List {
        #[command(flatten)]
        state: State,
    },
    /// Make a new version; hashes, tokens and shapes change, and reversible tokens of the old ones can still be read.
    Rotate {
        #[command(flatten)]
        state: State,
    },
}

#[derive(Subcommand)]
pub(crate) enum Ca {
    /// Make it; the daemon does so by itself where there is none.
    Init {
        #[command(flatten)]
        state: State,
    },
    /// Show what it is.
    Show {
        #[command(flatten)]
        state: State,
    },
    /// Make this host's programs trust it, by the distribution's own means.
    Install {
        #[command(flatten)]
        state: State,
        /// Print what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print its certificate, for a client's `sslrootcert`.
    Export {
        #[command(flatten)]
        state: State,
        /// Write it there instead.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Pinned {
    /// Show them.
    List {
        #[command(flatten)]
        state: State,
    },
    /// Forget one, so that the next certificate the database shows is believed; a running daemon needs no signal.
    Forget {
        #[command(flatten)]
        state: State,
        /// The database, as `10.0.0.7:5432`.
        #[arg(value_name = "ADDRESS", required_unless_present = "all", conflicts_with = "all")]
        server: Option<SocketAddr>,
        /// Forget all of them.
        #[arg(long)]
        all: bool,
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

//! Masks sensitive columns between unmodified clients and their database.

mod app;
mod audit;
mod catalog;
mod cli;
mod config;
mod connection;
mod control;
mod explain;
mod intercept;
mod keys;
mod ledger;
mod logins;
mod refusals;
mod server;
mod sniff;
mod tls;
mod upstream;
mod workers;

use std::{io, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = cli::Cli::parse();
    match hide().and_then(|()| app::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(error) if error.downcast_ref().map(io::Error::kind) == Some(io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mask-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Lets nobody but root look into this process, alive or dead: it holds keys, passwords and what it has yet to mask.
fn hide() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot make the process undumpable")?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("cannot turn core dumps off")
}

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
mod refusals;
mod server;
mod tls;
mod upstream;
mod workers;

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match app::run(cli::Cli::parse()) {
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

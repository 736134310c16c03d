//! Masks sensitive columns between unmodified clients and their database.

mod app;
mod audit;
mod catalog;
mod cli;
mod connection;
mod intercept;
mod server;
mod upstream;
mod workers;

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    app::run(cli::Cli::parse())
}

//! A snapshot for people to look at.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use mask_core::catalog::{Catalog, Contents};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls};

use super::read::{News, read};

/// Reads the catalogs of a database and prints them; this process is a client like any other.
pub(crate) async fn show(dsn: &str, json: bool) -> Result<()> {
    let (client, connection) = connect(dsn).await?;
    let begun = Instant::now();
    let News::Reading(reading) = read(&client, None).await? else { bail!("nothing was read before") };
    let first = begun.elapsed();
    let begun = Instant::now();
    read(&client, reading.known.as_ref()).await?;
    let again = begun.elapsed();
    drop(client);
    // Its own error, if any, showed in the queries.
    let _ = connection.await;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &reading.contents)?;
        writeln!(out)?;
        return Ok(());
    }
    summary(&mut out, &reading.contents)?;
    writeln!(out, "{:>12} read in ms, {} when nothing has changed", ms(first), ms(again))?;
    if reading.known.is_none() {
        writeln!(out, "definitions are missing: somebody's DDL holds the tables they read")?;
    }
    Ok(())
}

/// Reads the catalogs of a database once.
pub(crate) async fn load(dsn: &str) -> Result<Catalog> {
    let (client, connection) = connect(dsn).await?;
    let News::Reading(reading) = read(&client, None).await.context("cannot read the catalog")? else {
        bail!("nothing was read before")
    };
    drop(client);
    let _ = connection.await;
    if reading.known.is_none() {
        tracing::warn!("definitions are missing: somebody's DDL holds the tables they read");
    }
    Ok(Catalog::new(reading.contents))
}

async fn connect(dsn: &str) -> Result<(Client, JoinHandle<Result<(), Error>>)> {
    let config: Config = dsn
        .parse()
        .context("the connection string cannot be read; write \"host=… port=… user=… dbname=…\"")?;
    let (client, connection) = config.connect(NoTls).await.context("cannot connect to the database")?;
    Ok((client, tokio::spawn(connection)))
}

fn summary(out: &mut impl Write, contents: &Contents) -> Result<()> {
    let defined = contents.relations.iter().filter(|relation| relation.definition.is_some()).count();
    let columns: usize = contents.relations.iter().map(|relation| relation.columns.len()).sum();
    let bodies = contents.routines.iter().filter(|routine| routine.definition.is_some()).count();
    writeln!(out, "{:>12} major version", contents.major)?;
    writeln!(out, "{:>12} relations, {columns} columns", contents.relations.len())?;
    writeln!(out, "{defined:>12} views with their query")?;
    writeln!(out, "{:>12} functions, {bodies} with their body", contents.routines.len())?;
    writeln!(out, "{:>12} types", contents.types.len())?;
    let path = contents.search_path.as_ref().map_or("unknown".to_owned(), |path| path.join(", "));
    writeln!(out, "{path:>12} search path")?;
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

//! A snapshot for people to look at.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use mask_core::{
    catalog::{Catalog, Contents, Routine},
    policy::{Policy, Snapshot},
};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_postgres::{Config, Error};

use super::{
    read::{Extent, Known, read},
    reader::Reader,
};
use crate::tls::Unverified;

/// Reads the catalogs of a database and prints them; this process is a client like any other.
pub(crate) async fn show(dsn: &str, json: bool) -> Result<()> {
    let (reader, connection) = connect(dsn).await?;
    let begun = Instant::now();
    let (known, _) = read(&reader, None).await?;
    let first = begun.elapsed();
    let begun = Instant::now();
    read(&reader, Some(&known)).await?;
    let again = begun.elapsed();
    drop(reader);
    // Its own error, if any, showed in the queries.
    let _ = connection.await;
    let contents = known.catalog.contents();
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &contents)?;
        writeln!(out)?;
        return Ok(());
    }
    summary(&mut out, &contents)?;
    trustworthy(&mut out, &contents)?;
    writeln!(out, "{:>12} read in ms, {} when nothing has changed", ms(first), ms(again))?;
    if !known.is_complete() {
        writeln!(out, "definitions are missing: somebody's DDL holds the tables they read")?;
    }
    Ok(())
}

/// Functions that a policy may trust, as it lists them.
fn trustworthy(out: &mut impl Write, contents: &Contents) -> Result<()> {
    let unread = contents.routines.iter().filter(|routine| !routine.harmless);
    let unread = unread.filter_map(|routine| Some((routine, routine.digest.as_deref()?)));
    for (at, (routine, digest)) in unread.enumerate() {
        if at == 0 {
            writeln!(out, "functions that a policy may trust once you have read them:")?;
        }
        let Routine { schema, name, language, .. } = routine;
        let name = serde_json::to_string(&format!("{schema}.{name}"))?;
        writeln!(out, "  - {{ name: {name}, sha256: {digest} }} # {language}")?;
    }
    Ok(())
}

/// What one reading took and came to, a line of JSON each.
#[derive(Serialize)]
struct Followed {
    extent: Extent,
    /// From the first query to the snapshot that statements are decided on.
    whole_ms: f64,
    /// Of this process, part of the former; the rest is the server's and the way there.
    own_ms: f64,
    /// Of that, applying the policy.
    classify_ms: f64,
    /// Whether the snapshot is another than before.
    is_news: bool,
    /// Whether reading everything anew gives the same.
    is_same: bool,
    /// Memory of this process.
    resident_kib: u64,
}

/// Reads the catalogs, and what has changed in them whenever a line comes on standard input.
pub(crate) async fn follow(dsn: &str, policy: &Policy) -> Result<()> {
    let (mut reader, connection) = connect(dsn).await?;
    reader.prepare_from_now_on();
    let mut out = std::io::stdout();
    let mut known: Option<Known> = None;
    let mut snapshot: Option<Snapshot> = None;
    let mut lines = std::io::stdin().lines();
    loop {
        let (begun, own) = (Instant::now(), own_ms()?);
        let (read_now, extent) = read(&reader, known.as_ref()).await?;
        let read_own = own_ms()?;
        let catalog = read_now.catalog.clone();
        snapshot = Some(match &snapshot {
            Some(before) => before.next(catalog, policy, &[]),
            None => Snapshot::new(catalog, policy, &[], Arc::default()),
        });
        let (whole, end) = (begun.elapsed(), own_ms()?);
        let resident_kib = resident_kib()?;
        let is_news = known.as_ref().is_none_or(|known| !Arc::ptr_eq(&known.catalog, &read_now.catalog));
        let is_same = match known {
            Some(_) => read(&reader, None).await?.0.catalog == read_now.catalog,
            None => true,
        };
        known = Some(read_now);
        let line = Followed {
            extent,
            whole_ms: whole.as_secs_f64() * 1e3,
            own_ms: end - own,
            classify_ms: end - read_own,
            is_news,
            is_same,
            resident_kib,
        };
        serde_json::to_writer(&mut out, &line)?;
        writeln!(out)?;
        out.flush()?;
        if lines.next().transpose()?.is_none() {
            break;
        }
    }
    drop(reader);
    // Its own error, if any, showed in the queries.
    let _ = connection.await;
    Ok(())
}

/// Time this thread, which does everything, has spent on a processor.
fn own_ms() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns: f64 = text.split_whitespace().next().context("the kernel gave no time")?.parse()?;
    Ok(ns / 1e6)
}

fn resident_kib() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.split_whitespace().next()).context("the kernel gave no size")?.parse()?)
}

/// Reads the catalogs of a database once.
pub(crate) async fn load(dsn: &str) -> Result<Arc<Catalog>> {
    let (reader, connection) = connect(dsn).await?;
    let (known, _) = read(&reader, None).await.context("cannot read the catalog")?;
    drop(reader);
    let _ = connection.await;
    if !known.is_complete() {
        tracing::warn!("definitions are missing: somebody's DDL holds the tables they read");
    }
    Ok(known.catalog)
}

async fn connect(dsn: &str) -> Result<(Reader, JoinHandle<Result<(), Error>>)> {
    let config: Config = dsn
        .parse()
        .context("the connection string cannot be read; write \"host=… port=… user=… dbname=…\"")?;
    let (client, connection) =
        config.connect(Unverified::new()?).await.context("cannot connect to the database")?;
    Ok((Reader::new(client), tokio::spawn(connection)))
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

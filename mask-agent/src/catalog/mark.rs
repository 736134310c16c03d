//! Whether anything can have changed since a snapshot was read, without reading it again.
//!
//! Two ways, both of which notice every committed change of a catalog's rows:
//!
//! - The server's own snapshot, `pg_current_snapshot()`, is the same: no transaction has ended since. A standby's
//!   does not name the transactions that run, so there it proves nothing.
//! - No row of the catalogs was written by a transaction the old snapshot did not see, and there are as many rows as
//!   before. A changed row is a new one with its writer in `xmin`; one that is gone is missed in the count. Freezing
//!   keeps `xmin`. An old row may look new after two thousand million transactions, never a new one old.
//!
//! Temporary tables of others count as a change too, and cost a reading.

use std::collections::HashSet;

use anyhow::{Context, Result};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::queries;

/// How far apart transactions may be for their 32-bit numbers to be compared, with room to spare.
const TRANSACTIONS_MAX: u64 = 1 << 30;

/// The state of a server that a reading saw at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Transactions as the server sees them: `xmin:xmax:running`.
    snapshot: String,
    /// When the server was started: another server has another time.
    started: String,
    /// The database's OID: one that is made under an old name has old rows.
    database: String,
    recovering: bool,
    search_path: Option<Vec<String>>,
    /// Rows of each catalog.
    pub(super) counts: Vec<i64>,
}

/// What the opening statements say.
pub(super) struct Opening {
    pub(super) major: u16,
    pub(super) mark: Mark,
}

impl Opening {
    /// Makes the connection ready, and reads what has to be read before that.
    pub(super) async fn read(client: &Client) -> Result<Self> {
        let (mut facts, mut database, mut schemas) = (None, String::new(), HashSet::new());
        for message in client.simple_query(queries::OPENING).await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            if facts.is_none() {
                facts = Some(row);
            } else {
                schemas.extend(row.try_get("schema")?.map(str::to_owned));
                row.try_get("database")?.unwrap_or_default().clone_into(&mut database);
            }
        }
        let facts = facts.context("the server gave no row")?;
        let fact = |name: &str| facts.try_get(name)?.with_context(|| format!("the server gave no {name}"));
        let search_path = split(fact("search_path")?).map(|path| {
            let role = facts.try_get("role").ok().flatten().unwrap_or_default();
            let resolved = path.into_iter().map(|name| if name == "$user" { role.to_owned() } else { name });
            resolved.filter(|name| name == "pg_temp" || schemas.contains(name)).collect()
        });
        let version: u32 = fact("version")?.parse()?;
        let mark = Mark {
            snapshot: fact("snapshot")?.to_owned(),
            started: fact("started")?.to_owned(),
            database,
            recovering: fact("recovering")? != "false",
            search_path,
            counts: Vec::new(),
        };
        Ok(Self { major: u16::try_from(version / 10_000)?, mark })
    }
}

impl Mark {
    pub(super) fn search_path(&self) -> Option<&[String]> {
        self.search_path.as_deref()
    }

    /// Whether the catalogs still are what they were at an earlier mark. Where they are, this one is good for
    /// what was read then.
    pub(super) async fn is_still(&mut self, earlier: &Self, client: &Client) -> Result<bool> {
        let place = |mark: &Self| (mark.started.clone(), mark.database.clone(), mark.search_path.clone());
        if place(self) != place(earlier) {
            return Ok(false);
        }
        if self.snapshot == earlier.snapshot && !self.recovering && !earlier.recovering {
            self.counts.clone_from(&earlier.counts);
            return Ok(true);
        }
        let (Some(now), Some(then)) = (self.oldest_running(), earlier.oldest_running()) else {
            return Ok(false);
        };
        if now.abs_diff(then) > TRANSACTIONS_MAX {
            return Ok(false);
        }
        // The low half is what rows carry.
        let rows = client.query_typed(&queries::changes(then as u32), &[]).await?;
        let row = rows.first().context("the server gave no row")?;
        self.counts = row.try_get(0)?;
        let has_new_column: bool = row.try_get(1)?;
        Ok(!has_new_column && self.counts == earlier.counts)
    }

    /// Every transaction before this one has ended.
    fn oldest_running(&self) -> Option<u64> {
        self.snapshot.split(':').next()?.parse().ok()
    }
}

/// Splits a list of identifiers as the server does; none where it is not one.
fn split(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            (name, rest) = unquote(quoted)?;
        } else {
            let end = rest.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
            name = rest[..end].to_ascii_lowercase();
            rest = &rest[end..];
            if name.is_empty() {
                return None;
            }
        }
        names.push(name);
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// The name up to the closing quote, and what follows it.
fn unquote(mut rest: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name += part;
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_path_is_split_as_the_server_does() {
        let check = |list: &str, names: &[&str]| {
            assert_eq!(
                split(list).as_deref(),
                Some(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()[..])
            );
        };
        check("\"$user\", public", &["$user", "public"]);
        check("", &[]);
        check("\"\"", &[""]);
        check("Shop ,\"Shop\",\"a,\"\"b\"", &["shop", "Shop", "a,\"b"]);
        for broken in ["a,", ",a", "\"a", "a b", "\"a\"b"] {
            assert_eq!(split(broken), None, "{broken}");
        }
    }
}

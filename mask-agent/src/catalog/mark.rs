//! What can have changed since a snapshot was read, without reading it again.
//!
//! Two ways, both of which notice every committed change of a catalog's rows:
//!
//! - The server's own snapshot, `pg_current_snapshot()`, is the same: no transaction has ended since. A standby's
//!   does not name the transactions that run, so there it proves nothing.
//! - Rows of the catalogs written by the oldest transaction the old snapshot saw running, or one after it. A changed
//!   row is a new one with its writer in `xmin`, which may be a subtransaction and so named by no snapshot, but is
//!   younger than its transaction; one that is gone is missed in the count. Freezing keeps `xmin`. An old row may look
//!   new after two thousand million transactions, never a new one old. What the server updates in place, such as
//!   counts of pages, keeps `xmin` and says nothing of interest.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use tokio_postgres::{Row, SimpleQueryMessage};

use super::{
    queries::{self, Watched},
    reader::Reader,
    rows,
};
use crate::ledger::Identity;

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
    database: u32,
    /// What the server and the database are; none where the role may not ask.
    identity: Option<Identity>,
    recovering: bool,
    search_path: Option<Vec<String>>,
    /// As in `Contents::loose_collations`.
    loose_collations: HashSet<String>,
    /// What a new session of the role begins with: one that is open does not see that it has changed.
    settings: String,
    /// Whether a session that does nothing takes nobody's place.
    has_room: bool,
    /// Rows of each of what is watched.
    pub(super) counts: Counts,
}

/// Rows of each of what is watched, in its order.
pub(super) type Counts = [i64; Watched::ALL.len()];

/// What the opening statements say.
pub(super) struct Opening {
    pub(super) major: u16,
    pub(super) mark: Mark,
}

impl Opening {
    /// Makes the connection ready, and reads what has to be read before that.
    pub(super) async fn read(reader: &Reader, known: Option<&Mark>) -> Result<Self> {
        let names = queries::names();
        let (facts, place, names) = tokio::try_join!(
            biased;
            reader.run(queries::OPENING),
            reader.ask(queries::PLACE, &[]),
            reader.ask(&names, &[]),
        )?;
        let facts = facts.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let facts = facts.context("the server gave no row")?;
        let [place, names] = [place.first(), names.first()];
        let place = place.context("the server does not say where this is")?;
        let names = names.context("the server gave no row")?;
        let schemas: HashSet<String> = rows::list(names, 0)?.into_iter().collect();
        let loose_collations = rows::list(names, 1)?.into_iter().collect();
        let fact = |name: &str| facts.try_get(name)?.with_context(|| format!("the server gave no {name}"));
        let search_path = split(fact("search_path")?).map(|path| {
            let role = facts.try_get("role").ok().flatten().unwrap_or_default();
            let resolved = path.into_iter().map(|name| if name == "$user" { role.to_owned() } else { name });
            resolved.filter(|name| name == "pg_temp" || schemas.contains(name)).collect()
        });
        let version: u32 = fact("version")?.parse()?;
        let mut mark = Mark {
            snapshot: fact("snapshot")?.to_owned(),
            started: fact("started")?.to_owned(),
            database: place.try_get(0)?,
            identity: None,
            recovering: fact("recovering")? != "false",
            search_path,
            loose_collations,
            settings: place.try_get(1)?,
            has_room: place.try_get(2)?,
            counts: Counts::default(),
        };
        let is_there = known.filter(|known| mark.is_same_place(known) && known.identity.is_some());
        let name = place.try_get(3)?;
        mark.identity = match is_there.and_then(|known| known.identity.clone()) {
            Some(identity) => Some(Identity { name, ..identity }),
            None if place.try_get(4)? => {
                let system = reader.ask_once(queries::SYSTEM).await?;
                let system = system.first().context("the server does not say which it is")?.try_get(0)?;
                Some(Identity { system, name })
            }
            None => None,
        };
        Ok(Self { major: u16::try_from(version / 10_000)?, mark })
    }
}

impl Mark {
    pub(super) fn search_path(&self) -> Option<&[String]> {
        self.search_path.as_deref()
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(super) fn loose_collations(&self) -> &HashSet<String> {
        &self.loose_collations
    }

    pub(super) fn settings(&self) -> &str {
        &self.settings
    }

    pub(super) fn has_room(&self) -> bool {
        self.has_room
    }

    /// Whether no transaction has ended since an earlier mark.
    pub(super) fn is_same(&self, earlier: &Self) -> bool {
        self.is_same_place(earlier)
            && self.snapshot == earlier.snapshot
            && self.search_path == earlier.search_path
            && !self.recovering
            && !earlier.recovering
    }

    /// The oldest transaction that an earlier mark may not have seen the end of, by the half of its number that rows
    /// carry; none where the marks cannot be compared.
    pub(super) fn since(&self, earlier: &Self) -> Option<u32> {
        let (now, then) = (self.oldest_running()?, earlier.oldest_running()?);
        (self.is_same_place(earlier) && now.abs_diff(then) <= TRANSACTIONS_MAX).then_some(then as u32)
    }

    fn is_same_place(&self, other: &Self) -> bool {
        (&self.started, &self.database) == (&other.started, &other.database)
    }

    /// Every transaction before this one has ended.
    fn oldest_running(&self) -> Option<u64> {
        self.snapshot.split(':').next()?.parse().ok()
    }
}

/// What a server has of what is watched.
pub(super) struct Seen {
    pub(super) counts: Counts,
    /// What rows that are new are about, one for each row but those of columns.
    fresh: [Vec<u32>; Watched::ALL.len()],
}

impl Seen {
    pub(super) fn new(rows: &[Row]) -> Result<Self> {
        let mut seen = Self { counts: Counts::default(), fresh: Default::default() };
        for row in rows {
            let number = usize::try_from(row.try_get::<_, i32>(0)?)?;
            let (Some(count), Some(fresh)) = (seen.counts.get_mut(number), seen.fresh.get_mut(number)) else {
                bail!("the server counts what was not asked for");
            };
            *count = row.try_get(1)?;
            *fresh = row.try_get::<_, Option<Vec<u32>>>(2)?.unwrap_or_default();
        }
        Ok(seen)
    }

    pub(super) fn fresh(&self, watched: Watched) -> &[u32] {
        &self.fresh[watched as usize]
    }

    /// How many rows of an earlier count are no more, or are other than they were.
    pub(super) fn replaced(&self, watched: Watched, earlier: &Counts) -> i64 {
        let at = watched as usize;
        earlier[at] - (self.counts[at] - count(self.fresh[at].len()))
    }

    pub(super) fn has_changed(&self, watched: Watched, earlier: &Counts) -> bool {
        !self.fresh(watched).is_empty() || self.replaced(watched, earlier) != 0
    }
}

/// A number of rows as the server counts them.
pub(super) fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
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

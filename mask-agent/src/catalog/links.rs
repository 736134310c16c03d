//! Connections of our own that are kept between readings: what is asked is planned by then, and the server's process
//! has found what it needs. Nobody may notice them.
//!
//! ```text
//! dialled ──reading──▶ kept ──reading──▶ kept … ──▶ closed: its last client has gone, it was idle, it has served its
//!    └── everything was read, settings or room are in doubt ─▶ closed                 time, a statement wants it away
//! ```
//!
//! The server lets nobody drop, rename or copy a database while another session is in it. It waits for five seconds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::{AbortHandle, JoinHandle};

use super::{
    Key,
    read::{Extent, Known},
    reader::Reader,
};
use crate::{ledger::Database, upstream::CLOSE_DEADLINE};

/// How long one is kept unused: less than the server waits for a session to go.
const IDLE_MAX: Duration = Duration::from_secs(3);
/// How long one is kept at all: it may lead to a server that is no longer the one clients are led to.
const AGE_MAX: Duration = Duration::from_mins(1);
/// Readings of one. The server's process remembers each relation it has met, some ten kilobytes for a view.
const READINGS_MAX: u32 = 500;

/// A connection that reads the catalogs of a database.
pub(super) struct Link {
    pub(super) reader: Reader,
    /// Moves its bytes until the reader is gone.
    mover: JoinHandle<()>,
    dialled: Instant,
    readings: u32,
    /// What its session began with; unknown where what was known when it was dialled is not what was found then.
    settings: Option<String>,
}

impl Link {
    pub(super) fn new(reader: Reader, mover: JoinHandle<()>) -> Self {
        Self { reader, mover, dialled: Instant::now(), readings: 0, settings: None }
    }

    /// Whether what was read says what a new session would. One that is open does not see that the settings of its
    /// role have changed.
    pub(super) fn is_current(&self, read: &Known) -> bool {
        self.settings.as_deref().is_some_and(|settings| settings == read.settings())
    }

    /// Takes note of a reading; whether another may follow.
    pub(super) fn may_stay(&mut self, before: Option<&Known>, read: &Known, extent: Extent) -> bool {
        self.readings += 1;
        if self.readings == 1 {
            let settings = before.map(Known::settings).filter(|settings| *settings == read.settings());
            self.settings = settings.map(str::to_owned);
        }
        // Whoever reads everything fills the caches of the server's process.
        extent != Extent::Everything
            && self.is_current(read)
            && read.leaves_room()
            && self.readings < READINGS_MAX
            && self.dialled.elapsed() < AGE_MAX
            && !self.reader.is_closed()
    }

    /// Closes it and waits until its place at the server is free.
    pub(super) async fn close(mut self) {
        drop(self.reader);
        // Its own error, if any, showed in the queries. A server that still owes an answer is not waited for.
        if tokio::time::timeout(CLOSE_DEADLINE, &mut self.mover).await.is_err() {
            self.mover.abort();
        }
    }
}

/// What is kept, and for whom.
#[derive(Default)]
pub(super) struct Links(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Clients by database, whoever they are.
    present: HashMap<Database, usize>,
    kept: HashMap<Key, Kept>,
    /// Statements under way that need a database to themselves.
    withdrawals: usize,
}

struct Kept {
    link: Link,
    /// Closes it where nobody takes it.
    _expiry: Expiry,
}

/// A task that ends with what it waits to close.
struct Expiry(AbortHandle);

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Links {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a client is in a database.
    pub(super) fn enter(self: &Arc<Self>, database: Database) -> Presence {
        *self.inner().present.entry(database.clone()).or_default() += 1;
        Presence { links: self.clone(), database }
    }

    fn leave(&self, database: &Database) {
        let mut inner = self.inner();
        let Some(present) = inner.present.get_mut(database) else { return };
        *present -= 1;
        if *present == 0 {
            inner.present.remove(database);
            inner.kept.retain(|(upstream, name, _), _| (upstream.address, name) != (database.0, &database.1));
        }
    }

    pub(super) fn take(&self, key: &Key) -> Option<Link> {
        let kept = self.inner().kept.remove(key)?;
        Some(kept.link).filter(|link| !link.reader.is_closed())
    }

    /// Keeps a link, or gives it back to be closed.
    pub(super) fn keep(self: &Arc<Self>, key: &Key, mut link: Link) -> Option<Link> {
        link.reader.prepare_from_now_on();
        let mut inner = self.inner();
        if inner.withdrawals > 0 || !inner.present.contains_key(&(key.0.address, key.1.clone())) {
            return Some(link);
        }
        let (links, whose) = (self.clone(), key.clone());
        let expiry = tokio::spawn(async move {
            tokio::time::sleep(IDLE_MAX).await;
            links.inner().kept.remove(&whose);
        });
        inner.kept.insert(key.clone(), Kept { link, _expiry: Expiry(expiry.abort_handle()) });
        None
    }

    /// Closes all of them, and keeps none for now.
    pub(super) fn withdraw(self: &Arc<Self>) -> Withdrawal {
        let mut inner = self.inner();
        inner.withdrawals += 1;
        inner.kept.clear();
        Withdrawal(self.clone())
    }
}

/// A client that is in a database, for as long as this is kept.
pub(crate) struct Presence {
    links: Arc<Links>,
    database: Database,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.links.leave(&self.database);
    }
}

/// A statement under way that needs a database to itself, for as long as this is kept.
pub(crate) struct Withdrawal(Arc<Links>);

impl Drop for Withdrawal {
    fn drop(&mut self) {
        self.0.inner().withdrawals -= 1;
    }
}

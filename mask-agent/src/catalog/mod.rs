//! Loads the catalog snapshot on a connection of our own, and shares it between connections.

mod definitions;
mod follow;
mod links;
mod mark;
mod queries;
mod read;
mod reader;
mod rows;
mod shelves;
pub(crate) mod show;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use mask_core::{
    lineage::CopiedDatabase,
    policy::{Budget, Policy, Snapshot, Taint},
    session::{Input, Login},
};
use tokio::sync::watch;

pub(crate) use self::links::{Presence, Withdrawal};
use self::{
    links::{Link, Links},
    read::{Extent, Known},
    reader::Reader,
    shelves::Shelves,
};
use crate::{
    ledger::{Database, Identity, Ledger, Place},
    upstream::{Target, Upstreams},
};

/// How long a shared snapshot serves new connections and statements.
const REFRESH: Duration = Duration::from_secs(3);
/// For a reading on a connection that was kept, whose other end may be gone without a word.
const KEPT_DEADLINE: Duration = Duration::from_secs(5);
/// The whole of loading; a catalog of 20,000 tables takes a second on a busy machine.
const LOAD_DEADLINE: Duration = Duration::from_secs(15);

/// What a budget is for: a database by what it is, else by where it is, whatever clients call it.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Asked {
    Is(Identity),
    At(Database),
}

/// Where a database is, its name, and who reads it.
type Key = (Target, String, String);

/// A database's snapshot, as its connections share it.
#[derive(Default)]
struct Shelf {
    /// Held while loading, so that many who ask at once load once.
    loading: tokio::sync::Mutex<()>,
    held: watch::Sender<Option<Held>>,
    /// What its connections, and those of its login to other addresses, have asked of masked columns lately; there once
    /// it is known what the database is.
    budget: OnceLock<Arc<Budget>>,
}

impl Shelf {
    /// The database, by all that is known of it.
    fn place(&self, upstream: &Target, database: &str) -> Place {
        let held = self.held.borrow();
        let identity = held.as_ref().and_then(|held| held.known.identity().cloned());
        Place { upstream: upstream.address, database: database.to_owned(), identity }
    }

    fn taken(&self) -> Option<Taken> {
        self.held.borrow().as_ref().map(Held::taken)
    }
}

#[derive(Clone)]
struct Held {
    snapshot: Arc<Snapshot>,
    /// What classified it.
    policy: Arc<Policy>,
    /// When loading it began: what was done before that is in it.
    begun: Instant,
    /// What to compare the server with, in place of loading it again.
    known: Known,
}

/// A snapshot, and when reading it began.
#[derive(Clone)]
pub(crate) struct Taken {
    snapshot: Arc<Snapshot>,
    begun: Instant,
}

impl Taken {
    /// What a session is told of it.
    pub(crate) fn input(self) -> Input<'static> {
        Input::Snapshot(self.snapshot, self.begun.elapsed())
    }
}

impl Held {
    fn taken(&self) -> Taken {
        Taken { snapshot: self.snapshot.clone(), begun: self.begun }
    }
}

/// News of a database's snapshot.
pub(crate) struct News(watch::Receiver<Option<Held>>);

impl News {
    /// Waits for another snapshot than the last one seen.
    pub(crate) async fn next(mut self) -> (Self, Taken) {
        loop {
            if self.0.changed().await.is_err() {
                // The shelf is gone with the daemon.
                return std::future::pending().await;
            }
            let taken = self.0.borrow_and_update().as_ref().map(Held::taken);
            if let Some(taken) = taken {
                return (self, taken);
            }
        }
    }
}

/// Snapshots by database.
pub(crate) struct Catalogs {
    upstreams: Arc<Upstreams>,
    policy: RwLock<Arc<Policy>>,
    shelves: Shelves,
    /// By database and role.
    budgets: Mutex<HashMap<(Asked, String), Arc<Budget>>>,
    links: Arc<Links>,
    ledger: Ledger,
}

impl Catalogs {
    pub(crate) fn new(upstreams: Arc<Upstreams>, policy: Policy, ledger: Ledger) -> Self {
        Self {
            upstreams,
            policy: RwLock::new(Arc::new(policy)),
            shelves: Shelves::default(),
            budgets: Mutex::default(),
            links: Arc::default(),
            ledger,
        }
    }

    /// Says that a client is in a database, for as long as what it gets is kept.
    pub(crate) fn enter(&self, upstream: &Target, login: &Login) -> Presence {
        self.links.enter((upstream.address, login.database.clone()))
    }

    /// Closes our own connections to all databases, because the server is to have one to itself, and keeps none for as
    /// long as what it gives is kept.
    pub(crate) fn withdraw(&self) -> Withdrawal {
        self.links.withdraw()
    }

    /// Remembers columns for good, and masks them for every connection to their database, wherever it is reached, and
    /// to its copies.
    pub(crate) fn taint(
        &self,
        upstream: &Target,
        login: &Login,
        taints: &[Taint],
    ) -> std::io::Result<Option<Taken>> {
        let kept = self.shelf(upstream, login);
        let place = kept.place(upstream, &login.database);
        self.ledger.add(&place, taints)?;
        self.mask_what_holds(&place);
        Ok(kept.taken())
    }

    /// Remembers for good that a database is made of another.
    pub(crate) fn follow_copy(
        &self,
        upstream: &Target,
        login: &Login,
        copied: &CopiedDatabase,
    ) -> std::io::Result<Option<Taken>> {
        let kept = self.shelf(upstream, login);
        let copy = self.ledger.copy(&kept.place(upstream, &login.database), copied)?;
        self.mask_what_holds(&copy);
        Ok(kept.taken())
    }

    /// Masks what is remembered by now, for connections to databases that hold what one holds.
    fn mask_what_holds(&self, place: &Place) {
        let shelves = self.shelves.all().clone();
        for ((upstream, database, user), shelf) in shelves {
            let own = shelf.place(&upstream, &database);
            if !self.ledger.holds_what(&own, place) {
                continue;
            }
            tracing::debug!(%user, %database, "columns that hold masked values are masked");
            let taints = self.ledger.of(&own);
            shelf.held.send_modify(|held| {
                if let Some(held) = held {
                    let catalog = held.snapshot.source().clone();
                    held.snapshot = Arc::new(held.snapshot.next(catalog, &held.policy, &taints));
                }
            });
        }
    }

    /// Puts another policy in force, for connections that are open as well.
    pub(crate) fn set_policy(&self, policy: Policy) {
        let policy = Arc::new(policy);
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy.clone();
        for ((upstream, database, _), shelf) in &*self.shelves.all() {
            let taints = self.ledger.of(&shelf.place(upstream, database));
            shelf.held.send_modify(|held| {
                if let Some(held) = held {
                    let catalog = held.snapshot.source().clone();
                    let budget = shelf.budget.get_or_init(Arc::default).clone();
                    held.snapshot = Arc::new(Snapshot::new(catalog, &policy, &taints, budget));
                    held.policy = policy.clone();
                }
            });
        }
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shelf(&self, upstream: &Target, login: &Login) -> Arc<Shelf> {
        let key = (upstream.clone(), login.database.clone(), login.user.clone());
        self.shelves.of(key)
    }

    /// One for all addresses of a database and its copies; one for each address where nobody says what the database is.
    fn budget(&self, place: &Place, user: &str) -> Arc<Budget> {
        let asked = match &place.identity {
            Some(identity) => self.ledger.origins(identity).into_iter().map(Asked::Is).collect(),
            None => vec![Asked::At((place.upstream, place.database.clone()))],
        };
        let keys: Vec<_> = asked.into_iter().map(|asked| (asked, user.to_owned())).collect();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.iter().find_map(|key| budgets.get(key)).cloned();
        let budget = known.unwrap_or_default();
        for key in keys {
            budgets.entry(key).or_insert_with(|| budget.clone());
        }
        budget
    }

    /// What a connection listens to for as long as it is open.
    pub(crate) fn news(&self, upstream: &Target, login: &Login) -> News {
        News(self.shelf(upstream, login).held.subscribe())
    }

    /// The snapshot of a database where the one held is recent; none means that one is to be loaded.
    pub(crate) fn recent(&self, upstream: &Target, login: &Login) -> Option<Taken> {
        let kept = self.shelf(upstream, login);
        let held = kept.held.borrow();
        held.as_ref().filter(|held| held.begun.elapsed() < REFRESH).map(Held::taken)
    }

    /// Loads the snapshot of a database, or joins who began to after `since`.
    pub(crate) async fn load(
        &self,
        upstream: &Target,
        login: &Login,
        since: Instant,
    ) -> anyhow::Result<Taken> {
        let kept = self.shelf(upstream, login);
        let _loading = kept.loading.lock().await;
        if let Some(held) = kept.held.borrow().as_ref()
            && held.begun >= since
        {
            return Ok(held.taken());
        }
        let begun = Instant::now();
        let known = kept.held.borrow().as_ref().map(|held| held.known.clone());
        let known = tokio::time::timeout(LOAD_DEADLINE, self.read(upstream, login, known.as_ref())).await??;
        let mut loaded = None;
        let database = login.database.clone();
        let place = Place { upstream: upstream.address, database, identity: known.identity().cloned() };
        self.ledger.recognise(&place)?;
        // Within, because a policy that comes now finds what is kept as it is afterwards.
        kept.held.send_modify(|held| {
            let policy = self.policy();
            let snapshot = match held.take() {
                // What was decided on it still holds.
                Some(before)
                    if Arc::ptr_eq(&before.policy, &policy)
                        && Arc::ptr_eq(before.snapshot.source(), &known.catalog) =>
                {
                    before.snapshot
                }
                Some(before) if Arc::ptr_eq(&before.policy, &policy) => {
                    let catalog = known.catalog.clone();
                    Arc::new(before.snapshot.next(catalog, &policy, &self.ledger.of(&place)))
                }
                _ => {
                    let catalog = known.catalog.clone();
                    let budget = || self.budget(&place, &login.user);
                    let budget = kept.budget.get_or_init(budget).clone();
                    Arc::new(Snapshot::new(catalog, &policy, &self.ledger.of(&place), budget))
                }
            };
            loaded = Some(Taken { snapshot: snapshot.clone(), begun });
            *held = Some(Held { snapshot, policy, begun, known });
        });
        loaded.context("what was read is held")
    }

    /// Reads on the connection that was kept, or on a new one where there is none or it fails.
    async fn read(&self, upstream: &Target, login: &Login, known: Option<&Known>) -> anyhow::Result<Known> {
        let key = (upstream.clone(), login.database.clone(), login.user.clone());
        if let Some(link) = self.links.take(&key) {
            match tokio::time::timeout(KEPT_DEADLINE, read::read(&link.reader, known)).await {
                Ok(Ok((read, extent))) if link.is_current(&read) => {
                    self.put_back(&key, link, known, &read, extent).await;
                    return Ok(read);
                }
                Ok(Ok(_)) => tracing::debug!(%upstream, "settings of a role have changed"),
                Ok(Err(error)) => {
                    tracing::debug!(%error, %upstream, "a connection that was kept is of no use");
                }
                Err(_) => tracing::debug!(%upstream, "a connection that was kept does not answer"),
            }
            link.close().await;
        }
        let link = self.dial(upstream, login).await?;
        match read::read(&link.reader, known).await {
            Ok((read, extent)) => {
                self.put_back(&key, link, known, &read, extent).await;
                Ok(read)
            }
            Err(error) => {
                link.close().await;
                Err(error)
            }
        }
    }

    async fn put_back(
        &self,
        key: &Key,
        mut link: Link,
        before: Option<&Known>,
        read: &Known,
        extent: Extent,
    ) {
        let left = if link.may_stay(before, read, extent) { self.links.keep(key, link) } else { Some(link) };
        // Where there is room, nobody needs its place.
        if let Some(link) = left
            && !read.leaves_room()
        {
            link.close().await;
        }
    }

    async fn dial(&self, upstream: &Target, login: &Login) -> anyhow::Result<Link> {
        let mut config = tokio_postgres::Config::new();
        config.user(&login.user).dbname(&login.database).application_name("mask-agent catalog");
        if let Some(password) = &login.password {
            config.password(password.expose());
        }
        let (client, connection) = self.upstreams.log_in(upstream, &mut config, login.disclosure).await?;
        let mover = tokio::spawn(async {
            // Its error, if any, shows in what is asked.
            let _ = connection.await;
        });
        Ok(Link::new(Reader::new(client), mover))
    }
}

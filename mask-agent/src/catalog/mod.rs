//! Loads the catalog snapshot on a connection of our own, and shares it between connections.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use mask_core::{
    catalog::{Catalog, Column, Contents, Relation, RelationKind, TypeShape},
    policy::Policy,
    session::{Login, Snapshot},
};
use tokio::sync::watch;
use tokio_postgres::{Client, NoTls};

use crate::{intercept::Peers, upstream};

/// How long a shared snapshot serves new connections and statements.
const REFRESH: Duration = Duration::from_secs(5);
/// The whole of loading; a catalog of 20,000 relations takes tens of milliseconds.
const LOAD_DEADLINE: Duration = Duration::from_secs(15);

/// Functions of extensions that are as good as built in: what they return is made of their arguments alone, and
/// no argument is a whole row. Without them an `=` would be code of users wherever `citext` is installed. Only a
/// superuser can make a function in C, so nobody else can pass one off as an extension's.
const HARMLESS: &str = "
    select p.oid from pg_catalog.pg_proc p
        join pg_catalog.pg_language l on l.oid = p.prolang and l.lanname in ('c', 'internal')
        join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid
            and d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'e'
        join pg_catalog.pg_extension e on e.oid = d.refobjid
    where p.provolatile <> 'v' and p.pronargs > 0 and e.extname in ('btree_gin', 'btree_gist', 'citext', 'cube',
            'earthdistance', 'fuzzystrmatch', 'hstore', 'intarray', 'isn', 'ltree', 'pg_trgm', 'pgcrypto', 'seg',
            'unaccent', 'uuid-ossp', 'vector')
        and not exists (select from pg_catalog.pg_type t where t.oid = any (p.proargtypes)
            and t.typtype = 'p' and t.typname not in ('cstring', 'internal'))
        or e.extname = 'uuid-ossp'";

fn relations_sql() -> String {
    format!(
        "with harmless as ({HARMLESS})
    select c.oid, n.nspname::text, c.relname::text, c.relkind::text,
        exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)
        or exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.rulename <> '_RETURN')
        or exists (select from pg_catalog.pg_attrdef d join pg_catalog.pg_depend p
            on p.classid = 'pg_catalog.pg_attrdef'::regclass and p.objid = d.oid
            and p.refclassid = 'pg_catalog.pg_proc'::regclass and p.refobjid >= 16384
            and p.refobjid not in (select h.oid from harmless h)
            where d.adrelid = c.oid),
        array(select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid order by i.inhseqno),
        array(select a.attnum from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
        array(select a.attname::text from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
        array(select a.atttypid from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') order by c.oid"
    )
}

/// Names through which code of users runs: functions, operators, types that have a cast function or a check.
fn functions_sql() -> String {
    format!(
        "with harmless as ({HARMLESS}),
        users as (select p.oid, p.proname from pg_catalog.pg_proc p
            where p.oid >= 16384 and p.oid not in (select h.oid from harmless h))
    select u.proname::text from users u
    union select o.oprname::text from pg_catalog.pg_operator o
        where o.oprcode::oid in (select u.oid from users u)
    union select t.typname::text from pg_catalog.pg_cast c
        join pg_catalog.pg_type t on t.oid in (c.castsource, c.casttarget)
        where c.castfunc in (select u.oid from users u)
    union select t.typname::text from pg_catalog.pg_type t where t.oid >= 16384 and t.typtype = 'd'
    union select t.typname::text from pg_catalog.pg_type t where t.typinput::oid in (select u.oid from users u)"
    )
}

const TYPES: &str = "
    select t.oid, t.typtype::text, t.typelem, t.typcategory::text, t.typbasetype,
        t.typname::text,
        (select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = t.oid order by e.enumsortorder limit 1),
        array(select a.atttypid from pg_catalog.pg_attribute a
            where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped order by a.attnum)
    from pg_catalog.pg_type t
    where t.oid >= 16384 or t.typcategory = 'A' or t.typtype <> 'b'";

/// Where a database is, its name, and who reads it.
type Key = (SocketAddr, String, String);

/// A database's snapshot, as its connections share it.
#[derive(Default)]
struct Shelf {
    /// Held while loading, so that many who ask at once load once.
    loading: tokio::sync::Mutex<()>,
    held: watch::Sender<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    snapshot: Arc<Snapshot>,
    /// What classified it.
    policy: Arc<Policy>,
    /// When loading it began: what was done before that is in it.
    begun: Instant,
}

/// News of a database's snapshot.
pub(crate) struct News(watch::Receiver<Option<Held>>);

impl News {
    /// Waits for another snapshot than the last one seen.
    pub(crate) async fn next(mut self) -> (Self, Arc<Snapshot>) {
        loop {
            if self.0.changed().await.is_err() {
                // The shelf is gone with the daemon.
                return std::future::pending().await;
            }
            let held = self.0.borrow_and_update().clone();
            if let Some(held) = held {
                return (self, held.snapshot);
            }
        }
    }
}

/// Snapshots by database.
pub(crate) struct Catalogs {
    peers: Peers,
    policy: RwLock<Arc<Policy>>,
    shelves: Mutex<HashMap<Key, Arc<Shelf>>>,
}

impl Catalogs {
    pub(crate) fn new(peers: Peers, policy: Policy) -> Self {
        Self { peers, policy: RwLock::new(Arc::new(policy)), shelves: Mutex::default() }
    }

    /// Puts another policy in force, for connections that are open as well.
    pub(crate) fn set_policy(&self, policy: Policy) {
        let policy = Arc::new(policy);
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy.clone();
        for shelf in self.shelves.lock().unwrap_or_else(PoisonError::into_inner).values() {
            shelf.held.send_modify(|held| {
                if let Some(held) = held {
                    held.snapshot = Arc::new(Snapshot::new(held.snapshot.catalog.clone(), &policy));
                    held.policy = policy.clone();
                }
            });
        }
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shelf(&self, upstream: SocketAddr, login: &Login) -> Arc<Shelf> {
        let key = (upstream, login.database.clone(), login.user.clone());
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }

    /// What a connection listens to for as long as it is open.
    pub(crate) fn news(&self, upstream: SocketAddr, login: &Login) -> News {
        News(self.shelf(upstream, login).held.subscribe())
    }

    /// The snapshot of a database where the one held is recent; none means that one is to be loaded.
    pub(crate) fn recent(&self, upstream: SocketAddr, login: &Login) -> Option<Arc<Snapshot>> {
        let kept = self.shelf(upstream, login);
        let held = kept.held.borrow();
        held.as_ref().filter(|held| held.begun.elapsed() < REFRESH).map(|held| held.snapshot.clone())
    }

    /// Loads the snapshot of a database, or joins who began to after `since`.
    pub(crate) async fn load(
        &self,
        upstream: SocketAddr,
        login: &Login,
        since: Instant,
    ) -> anyhow::Result<Arc<Snapshot>> {
        let kept = self.shelf(upstream, login);
        let _loading = kept.loading.lock().await;
        if let Some(held) = kept.held.borrow().as_ref()
            && held.begun >= since
        {
            return Ok(held.snapshot.clone());
        }
        let begun = Instant::now();
        let catalog = tokio::time::timeout(LOAD_DEADLINE, self.read(upstream, login)).await??;
        let mut loaded = None;
        // Within, because a policy that comes now finds what is kept as it is afterwards.
        kept.held.send_modify(|held| {
            let policy = self.policy();
            let snapshot = match held.take() {
                // What was decided on it still holds.
                Some(held) if Arc::ptr_eq(&held.policy, &policy) && *held.snapshot.catalog == catalog => {
                    held.snapshot
                }
                _ => Arc::new(Snapshot::new(Arc::new(catalog), &policy)),
            };
            loaded = Some(snapshot.clone());
            *held = Some(Held { snapshot, policy, begun });
        });
        loaded.context("the closure above has run")
    }

    async fn read(&self, upstream: SocketAddr, login: &Login) -> anyhow::Result<Catalog> {
        let stream = upstream::dial(&self.peers, upstream).await?;
        let mut config = tokio_postgres::Config::new();
        config.user(&login.user).dbname(&login.database).application_name("mask-agent catalog");
        if let Some(password) = &login.password {
            config.password(password);
        }
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        let connection = tokio::spawn(connection);
        let catalog = read(&client).await;
        drop(client);
        // It ends once the client is dropped; its own error, if any, showed in the queries.
        let _ = connection.await;
        catalog
    }
}

async fn read(client: &Client) -> anyhow::Result<Catalog> {
    client.batch_execute("set search_path = ''; set statement_timeout = '10s'").await?;
    let mut relations = Vec::new();
    for row in client.query(&relations_sql(), &[]).await? {
        let numbers: Vec<i16> = row.try_get(6)?;
        let names: Vec<String> = row.try_get(7)?;
        let types: Vec<u32> = row.try_get(8)?;
        let columns = numbers.into_iter().zip(&names).zip(types);
        let columns = columns.map(|((number, name), type_oid)| Column::new(number, name, type_oid));
        let kind = match row.try_get::<_, String>(3)?.as_str() {
            "r" | "p" => RelationKind::Table,
            "v" => RelationKind::View,
            "m" => RelationKind::MaterializedView,
            "f" => RelationKind::Foreign,
            _ => RelationKind::Other,
        };
        let (schema, name): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        relations.push(Relation {
            has_user_code: row.try_get(4)?,
            parents: row.try_get(5)?,
            ..Relation::new(row.try_get(0)?, &schema, &name, kind, columns.collect())
        });
    }
    let mut functions = HashSet::new();
    for row in client.query(&functions_sql(), &[]).await? {
        functions.insert(row.try_get(0)?);
    }
    let mut types = HashMap::new();
    for row in client.query(TYPES, &[]).await? {
        let category: String = row.try_get(3)?;
        let shape = match row.try_get::<_, String>(1)?.as_str() {
            "e" => TypeShape::Enum(row.try_get::<_, Option<String>>(6)?.unwrap_or_default()),
            "d" => TypeShape::Domain(row.try_get(4)?),
            "c" => TypeShape::Composite(row.try_get(7)?),
            "m" => TypeShape::Multirange,
            "p" => TypeShape::Pseudo,
            "r" => TypeShape::Range,
            _ if category == "A" => TypeShape::Array(row.try_get(2)?),
            _ => TypeShape::Base(row.try_get(5)?),
        };
        types.insert(row.try_get(0)?, shape);
    }
    Ok(Catalog::new(Contents { relations, user_names: functions, types, ..Contents::default() }))
}

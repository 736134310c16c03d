//! Loads the catalog snapshot on a connection of our own, and shares it between connections.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use mask_core::{
    catalog::{Catalog, Column, Relation, RelationKind, TypeShape},
    policy::Policy,
    session::{Freshness, Login, Snapshot},
};
use tokio_postgres::{Client, NoTls};

use crate::{intercept::Peers, upstream};

/// How long a shared snapshot serves new connections and statements.
const REFRESH: Duration = Duration::from_secs(5);
/// The whole of loading; a catalog of 20,000 relations takes tens of milliseconds.
const LOAD_DEADLINE: Duration = Duration::from_secs(15);

/// `pg_type.oid` of text.
const TEXT: u32 = 25;

const RELATIONS: &str = "
    select c.oid, n.nspname::text, c.relname::text, c.relkind::text,
        exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)
        or exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.rulename <> '_RETURN')
        or exists (select from pg_catalog.pg_attrdef d join pg_catalog.pg_depend p
            on p.classid = 'pg_catalog.pg_attrdef'::regclass and p.objid = d.oid
            and p.refclassid = 'pg_catalog.pg_proc'::regclass and p.refobjid >= 16384
            where d.adrelid = c.oid),
        array(select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid),
        array(select a.attnum from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
        array(select a.attname::text from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
        array(select a.atttypid from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')";

/// Names through which code of users runs: functions, operators, types that have a cast function or a check.
const FUNCTIONS: &str = "
    select p.proname::text from pg_catalog.pg_proc p where p.oid >= 16384
    union select o.oprname::text from pg_catalog.pg_operator o where o.oid >= 16384
    union select t.typname::text from pg_catalog.pg_cast c
        join pg_catalog.pg_type t on t.oid in (c.castsource, c.casttarget) where c.castfunc >= 16384
    union select t.typname::text from pg_catalog.pg_type t where t.oid >= 16384 and t.typtype = 'd'
    union select t.typname::text from pg_catalog.pg_type t where t.typinput >= 16384";

const TYPES: &str = "
    select t.oid, t.typtype::text, t.typelem, t.typcategory::text, t.typbasetype,
        t.typname::text,
        (select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = t.oid order by e.enumsortorder limit 1)
    from pg_catalog.pg_type t
    where t.oid >= 16384 or t.typcategory = 'A' or t.typtype <> 'b'";

type Key = (SocketAddr, String, String);

struct Held {
    snapshot: Arc<Snapshot>,
    loaded: Instant,
}

/// Snapshots by database.
pub(crate) struct Catalogs {
    peers: Peers,
    policy: RwLock<Arc<Policy>>,
    held: Mutex<HashMap<Key, Held>>,
}

impl Catalogs {
    pub(crate) fn new(peers: Peers, policy: Policy) -> Self {
        Self { peers, policy: RwLock::new(Arc::new(policy)), held: Mutex::default() }
    }

    /// Puts another policy in force for snapshots loaded from now on.
    pub(crate) fn set_policy(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The snapshot of a database, loaded where the one held is too old.
    pub(crate) async fn snapshot(
        &self,
        upstream: SocketAddr,
        login: &Login,
        freshness: Freshness,
    ) -> anyhow::Result<Arc<Snapshot>> {
        let key = (upstream, login.database.clone(), login.user.clone());
        if freshness == Freshness::Cached
            && let Some(held) = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && held.loaded.elapsed() < REFRESH
        {
            return Ok(held.snapshot.clone());
        }
        let loaded = Instant::now();
        let catalog = tokio::time::timeout(LOAD_DEADLINE, self.load(upstream, login)).await??;
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner).clone();
        let snapshot = Arc::new(Snapshot::new(catalog, &policy));
        let held = Held { snapshot: snapshot.clone(), loaded };
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(key, held);
        Ok(snapshot)
    }

    async fn load(&self, upstream: SocketAddr, login: &Login) -> anyhow::Result<Catalog> {
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
    for row in client.query(RELATIONS, &[]).await? {
        let numbers: Vec<i16> = row.try_get(6)?;
        let names: Vec<String> = row.try_get(7)?;
        let types: Vec<u32> = row.try_get(8)?;
        let columns = numbers.into_iter().zip(names).zip(types);
        relations.push(Relation {
            oid: row.try_get(0)?,
            schema: row.try_get(1)?,
            name: row.try_get(2)?,
            kind: match row.try_get::<_, String>(3)?.as_str() {
                "r" | "p" => RelationKind::Table,
                "v" => RelationKind::View,
                "m" => RelationKind::MaterializedView,
                "f" => RelationKind::Foreign,
                _ => RelationKind::Other,
            },
            has_user_code: row.try_get(4)?,
            parents: row.try_get(5)?,
            columns: columns.map(|((number, name), type_oid)| Column { number, name, type_oid }).collect(),
        });
    }
    let mut functions = HashSet::new();
    for row in client.query(FUNCTIONS, &[]).await? {
        functions.insert(row.try_get(0)?);
    }
    let mut types = HashMap::new();
    for row in client.query(TYPES, &[]).await? {
        let category: String = row.try_get(3)?;
        let shape = match row.try_get::<_, String>(1)?.as_str() {
            "e" => TypeShape::Enum(row.try_get::<_, Option<String>>(6)?.unwrap_or_default()),
            // It is text in all but comparison.
            "b" if row.try_get::<_, String>(5)? == "citext" => TypeShape::Domain(TEXT),
            "d" => TypeShape::Domain(row.try_get(4)?),
            "c" | "p" => TypeShape::Composite,
            "r" | "m" => TypeShape::Range,
            _ if category == "A" => TypeShape::Array(row.try_get(2)?),
            _ => TypeShape::Other,
        };
        types.insert(row.try_get(0)?, shape);
    }
    Ok(Catalog::new(relations, functions, types))
}

//! What the server writes out: queries of views, rules, policies, bodies of functions, expressions of columns.
//!
//! A few at a time, because the server locks what they name until the transaction ends and has room for few thousand
//! locks. Where one cannot be written out, it is missing, and asked for again next time.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use mask_core::catalog::{FIRST_USER_OID, Relation, RelationKind, Routine, RoutineKind};
use tokio_postgres::types::Type;

use super::{queries, reader::Reader, rows::Facts};

/// Definitions of one transaction; each locks a few relations, and the lock table has room for some 6,400 by default.
const DEFINITIONS_MAX: usize = 256;

/// What could not be written out, by OID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) relations: HashSet<u32>,
    pub(super) routines: HashSet<u32>,
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.relations.is_empty() && self.routines.is_empty()
    }
}

/// Reads the definitions of relations, and of those functions that are asked for.
pub(super) async fn define(
    reader: &Reader,
    relations: &mut [Relation],
    routines: &mut [Routine],
    is_wanted: impl Fn(u32) -> bool,
    facts: &Facts,
) -> Result<Missing> {
    let Facts { defaults, rules, policies, .. } = facts;
    let is_system = |schema: &str| matches!(schema, "pg_catalog" | "information_schema");
    let view = |kind| matches!(kind, RelationKind::View | RelationKind::MaterializedView);
    let of_users = |relation: &&Relation| relation.oid >= FIRST_USER_OID || !is_system(&relation.schema);
    let views = relations.iter().filter(|relation| view(relation.kind)).filter(of_users);
    let views: Vec<u32> = views.map(|relation| relation.oid).collect();
    let generated = relations.iter().filter(|relation| {
        defaults.contains(&relation.oid) || relation.columns.iter().any(|column| column.generated.is_some())
    });
    let generated: Vec<u32> = generated.map(|relation| relation.oid).collect();
    let has_body = |routine: &Routine| {
        matches!(routine.kind, RoutineKind::Function | RoutineKind::Procedure)
            && matches!(routine.language.as_str(), "sql" | "plpgsql")
    };
    let bodies = routines.iter().filter(|routine| has_body(routine) && is_wanted(routine.oid));
    let bodies: Vec<u32> = bodies.map(|routine| routine.oid).collect();
    let written: Vec<u32> = relations.iter().flat_map(|relation| of(rules, relation)).copied().collect();
    let held: Vec<u32> = relations.iter().flat_map(|relation| of(policies, relation)).copied().collect();

    let (mut views, mut written, mut held, mut bodies, mut expressions) = tokio::try_join!(
        Definitions::read(reader, queries::views(), &views),
        Definitions::read(reader, queries::rules(), &written),
        Definitions::read(reader, queries::policies(), &held),
        Definitions::read(reader, queries::bodies(), &bodies),
        Definitions::read(reader, queries::expressions(), &generated),
    )?;
    let mut missing: HashSet<u32> = views.missing.union(&expressions.missing).copied().collect();
    for relation in relations {
        relation.definition = views.take(relation.oid, 0);
        let (own_rules, own_policies) = (of(rules, relation), of(policies, relation));
        relation.rules = written.take_all(own_rules);
        relation.policies = held.take_all(own_policies);
        if written.is_missing(own_rules) || held.is_missing(own_policies) {
            missing.insert(relation.oid);
        }
        for column in &mut relation.columns {
            let mut expression = || expressions.take(relation.oid, column.number).map(String::into_boxed_str);
            if column.generated.is_some() {
                column.generated = Some(expression().unwrap_or_default());
            } else {
                column.default = defaults.contains(&relation.oid).then(expression).flatten();
            }
        }
    }
    for routine in routines.iter_mut().filter(|routine| is_wanted(routine.oid)) {
        routine.definition = bodies.take(routine.oid, 0);
    }
    Ok(Missing { relations: missing, routines: bodies.missing })
}

fn of<'a>(all: &'a HashMap<u32, Vec<u32>>, relation: &Relation) -> &'a [u32] {
    all.get(&relation.oid).map_or(&[], Vec::as_slice)
}

/// What the server wrote out, by OID and, for columns, number.
struct Definitions {
    texts: HashMap<(u32, i16), String>,
    missing: HashSet<u32>,
}

impl Definitions {
    async fn read(reader: &Reader, query: String, oids: &[u32]) -> Result<Self> {
        let mut read = Self { texts: HashMap::new(), missing: oids.iter().copied().collect() };
        for oids in oids.chunks(DEFINITIONS_MAX) {
            let mut locked = HashSet::new();
            for row in reader.ask(&query, &[(&oids, Type::OID_ARRAY)]).await? {
                let oid = row.try_get(0)?;
                let number = if row.len() > 2 { row.try_get(1)? } else { 0 };
                read.missing.remove(&oid);
                match row.try_get(row.len() - 1)? {
                    Some(text) => drop(read.texts.insert((oid, number), text)),
                    None => drop(locked.insert(oid)),
                }
            }
            read.missing.extend(locked);
        }
        Ok(read)
    }

    /// All of these, empty where one is missing.
    fn take_all(&mut self, oids: &[u32]) -> Vec<String> {
        oids.iter().map(|oid| self.take(*oid, 0).unwrap_or_default()).collect()
    }

    fn is_missing(&self, oids: &[u32]) -> bool {
        oids.iter().any(|oid| self.missing.contains(oid))
    }

    fn take(&mut self, oid: u32, number: i16) -> Option<String> {
        self.texts.remove(&(oid, number))
    }
}

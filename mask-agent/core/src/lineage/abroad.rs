//! Foreign tables: what is put there leaves for another server, whatever table it was given to.

use super::{ColumnId, Env, Origins, Write, WriteTarget};
use crate::catalog::RelationKind;

/// What a name or a number stands for.
#[derive(PartialEq, Eq)]
enum Place {
    Known(u32),
    Named(String),
}

/// What tells of masked values and may be put into a foreign table.
pub(super) fn abroad(env: &Env<'_>, writes: &[Write], is_masked: &dyn Fn(ColumnId) -> bool) -> Vec<Origins> {
    let tells = |origins: &Origins| origins.untraceable.is_some() || origins.all().any(is_masked);
    let leaving = writes.iter().filter(|write| tells(&write.origins) && leads_abroad(env, &write.target));
    leaving.map(|write| write.origins.clone()).collect()
}

/// Whether a table is a foreign one, or has one among its children and partitions.
fn leads_abroad(env: &Env<'_>, target: &WriteTarget) -> bool {
    let mut places = vec![match target {
        WriteTarget::Column(column) => Place::Known(column.relation),
        WriteTarget::New { relation, .. } => Place::Named(relation.clone()),
    }];
    let mut at = 0;
    while let Some(place) = places.get(at) {
        let mut next = Vec::new();
        let name = match place {
            Place::Known(oid) => {
                let relation = env.catalog.relation(*oid);
                if relation.is_some_and(|relation| relation.kind == RelationKind::Foreign) {
                    return true;
                }
                next.extend(env.catalog.heirs(*oid).iter().copied().map(Place::Known));
                relation.map(|relation| relation.name.to_string()).unwrap_or_default()
            }
            Place::Named(name) => {
                next.extend(env.catalog.named(None, name).map(|relation| Place::Known(relation.oid)));
                name.clone()
            }
        };
        if env.overlay.is_foreign(&name) {
            return true;
        }
        next.extend(env.overlay.children(&name).map(|child| Place::Named(child.to_owned())));
        next.retain(|place| !places.contains(place));
        places.extend(next);
        at += 1;
    }
    false
}

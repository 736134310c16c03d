//! Columns that only definitions mask.
//!
//! A foreign key, a trigger, a default, a parent or the query of a materialized view says that a column holds masked
//! values; once it is gone or another, the values are still there. So whoever changes definitions has these columns
//! remembered before, and they count where nothing else masks them any more.

use super::{Classification, PLACE, Taint, label, meant};
use crate::{
    catalog::{Catalog, Relation, RelationKind},
    lineage::{self, ColumnId, Holds, Masked, Renames, SYSTEM_COLUMNS, WriteTarget},
    policy::{
        Counts,
        ruling::{Judge, lasting_schema},
    },
};

/// What a definition says that cannot be read, as while somebody's DDL holds its relation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// Nothing, so that what was never masked is not remembered.
    Left,
    /// It masks, for nobody is shown what it makes.
    Told,
}

impl Classification {
    /// What only definitions mask and nobody remembers yet, under all names it may have by now.
    pub(in crate::policy) fn masked_by_definitions(
        &self,
        catalog: &Catalog,
        renames: &Renames,
    ) -> Vec<Taint> {
        let defined = self.defined.get_or_init(|| self.defined(catalog));
        let under_all = |(column, taint): &(ColumnId, Taint)| {
            let mut names = renamed(*column, taint, renames);
            let is_known = self.remembered.contains(&(column.relation, column.number));
            names.retain(|name| !is_known || name != taint);
            names
        };
        defined.iter().flat_map(under_all).collect()
    }

    fn defined(&self, catalog: &Catalog) -> Vec<(ColumnId, Taint)> {
        let mut found = Vec::new();
        for relation in catalog.relations().filter(|relation| relation.kind != RelationKind::View) {
            let labels = self.relations.get(&relation.oid).into_iter().flat_map(|labels| labels.iter());
            let own = self.own.get(&relation.oid);
            for (number, name, _) in labels {
                if own.is_none_or(|own| label(own, *number).is_none()) {
                    let holds = self.holds(relation.oid, *number).unwrap_or(Holds::Copies);
                    found.push((relation, *number, &**name, holds));
                }
            }
            for (number, holds) in self.stored(relation, catalog, Unread::Left) {
                let name = relation.columns.iter().find(|column| column.number == number);
                found.extend(name.map(|column| (relation, number, &*column.name, holds)));
            }
        }
        let taint = |(relation, number, name, holds): (&Relation, i16, &str, Holds)| {
            let taint = Taint {
                schema: lasting_schema(relation).to_owned(),
                relation: relation.name.to_string(),
                column: if number < 0 { PLACE.to_owned() } else { name.to_owned() },
                holds,
                counts: Counts::Undefined,
            };
            (ColumnId { relation: relation.oid, number }, taint)
        };
        found.into_iter().map(taint).collect()
    }

    /// Columns that keep what their definition makes of masked ones, and what each holds by that.
    fn stored(&self, relation: &Relation, catalog: &Catalog, unread: Unread) -> Vec<(i16, Holds)> {
        let judge = Judge { catalog, classes: self };
        let mut writes = lineage::stored(relation, catalog, self);
        if unread == Unread::Left {
            for write in &mut writes {
                write.origins.untraceable = None;
            }
        }
        let telling = writes.iter().filter(|write| judge.taints_by(write));
        let number = |target: &WriteTarget| match target {
            WriteTarget::Column(column) => Some(column.number),
            WriteTarget::New { .. } => None,
        };
        telling.filter_map(|write| Some((number(&write.target)?, write.holds))).collect()
    }

    /// Those of the columns remembered that no definition masks any more.
    pub(in crate::policy) fn lost(&self, catalog: &Catalog, remembered: &[Taint]) -> Vec<Taint> {
        let is_lost = |taint: &&Taint| {
            meant(taint, catalog).any(|relation| {
                let is_bare = |number: &i16| !self.is_masked(relation.oid, *number);
                let bare: Vec<i16> = numbers(taint, relation).into_iter().filter(is_bare).collect();
                !bare.is_empty() && {
                    let stored = self.stored(relation, catalog, Unread::Told);
                    bare.iter().any(|number| stored.iter().all(|(known, _)| known != number))
                }
            })
        };
        let undefined = remembered.iter().filter(|taint| taint.counts == Counts::Undefined);
        undefined.filter(is_lost).map(|taint| Taint { counts: Counts::Always, ..taint.clone() }).collect()
    }

    /// Notes which columns are remembered.
    pub(in crate::policy) fn remember(&mut self, catalog: &Catalog, remembered: &[Taint]) {
        for taint in remembered {
            for relation in meant(taint, catalog) {
                let numbers = numbers(taint, relation);
                self.remembered.extend(numbers.into_iter().map(|number| (relation.oid, number)));
            }
        }
    }
}

/// The columns of a relation that are remembered.
fn numbers(taint: &Taint, relation: &Relation) -> Vec<i16> {
    let named = relation.columns.iter().filter(|column| taint.column == "*" || column.name == taint.column);
    let mut numbers: Vec<i16> = named.map(|column| column.number).collect();
    if matches!(&*taint.column, "*" | PLACE) {
        let places = SYSTEM_COLUMNS.into_iter().filter(|(name, _)| *name != "tableoid");
        numbers.extend(places.map(|(_, number)| number));
    }
    numbers
}

fn renamed(column: ColumnId, taint: &Taint, renames: &Renames) -> Vec<Taint> {
    let schema = if renames.any_schema { "" } else { &*taint.schema };
    let mut relations = vec![(schema, &*taint.relation)];
    let whole = ColumnId { number: 0, ..column };
    relations.extend(renames.of(whole).map(|name| ("", name)));
    let columns: Vec<&str> = std::iter::once(&*taint.column).chain(renames.of(column)).collect();
    let under = |schema: &str, relation: &str, column: &str| Taint {
        schema: schema.to_owned(),
        relation: relation.to_owned(),
        column: column.to_owned(),
        ..taint.clone()
    };
    let all = relations
        .iter()
        .flat_map(|(schema, relation)| columns.iter().map(move |column| under(schema, relation, column)));
    all.collect()
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;

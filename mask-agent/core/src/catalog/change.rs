//! A snapshot made from an earlier one and what became of the database since.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Cast, Catalog, FIRST_USER_OID, Operator, Relation, Routine, Routines, TypeShape, shards::Shards,
};

/// What became of a database since a snapshot.
#[derive(Debug, Default)]
pub struct Change {
    /// Relations that are no more.
    pub gone: HashSet<u32>,
    /// Relations that are new or other than they were.
    pub relations: Vec<Relation>,
    /// Types outside the server's own that are still there; none where no type has gone.
    pub types_left: Option<HashSet<u32>>,
    /// Types that are new or other than they were, and the row types of `relations`.
    pub types: HashMap<u32, TypeShape>,
    /// Names of `types`, as in [`super::Contents::type_names`].
    pub type_names: HashMap<String, Vec<u32>>,
    /// All functions; none where they are as they were.
    pub routines: Option<Vec<Routine>>,
    /// As in [`super::Contents::user_names`], all of them; none where they are as they were.
    pub user_names: Option<HashSet<String>>,
    /// As in [`super::Contents::operators`], all of them; none where they are as they were.
    pub operators: Option<HashMap<String, Vec<Operator>>>,
    /// As in [`super::Contents::casts`], all of them; none where they are as they were.
    pub casts: Option<HashMap<u32, Vec<Cast>>>,
    /// As in [`super::Contents::search_path`].
    pub search_path: Option<Vec<String>>,
    /// As in [`super::Contents::loose_collations`].
    pub loose_collations: HashSet<String>,
}

impl Catalog {
    /// The snapshot that reading everything anew would give. What did not change is shared with this one.
    #[must_use]
    pub fn changed(&self, change: Change) -> Self {
        let mut next = self.clone();
        for oid in change.gone {
            next.remove_relation(oid);
        }
        for relation in change.relations {
            next.remove_relation(relation.oid);
            next.add_relation(relation);
        }
        next.change_types(change.types_left.as_ref(), change.types, change.type_names);
        if let Some(routines) = change.routines {
            next.routines = Arc::new(Routines::new(routines));
        }
        if let Some(user_names) = change.user_names {
            next.user_names = user_names;
        }
        if let Some(operators) = change.operators {
            next.operators = operators;
        }
        if let Some(casts) = change.casts {
            next.casts = casts;
        }
        next.search_path = change.search_path;
        next.loose_collations = change.loose_collations;
        next
    }

    fn add_relation(&mut self, relation: Relation) {
        // In order of OIDs, as they are read.
        let add =
            |oids: &mut Vec<u32>| oids.insert(oids.partition_point(|oid| *oid < relation.oid), relation.oid);
        add(self.by_name.part_mut(&*relation.name).entry(relation.name.clone()).or_default());
        for parent in &relation.parents {
            add(self.heirs.part_mut(parent).entry(*parent).or_default());
        }
        for other in relation.cascades_from() {
            add(self.cascades.part_mut(&other).entry(other).or_default());
        }
        self.relations.part_mut(&relation.oid).insert(relation.oid, Arc::new(relation));
    }

    fn remove_relation(&mut self, oid: u32) {
        if self.relation(oid).is_none() {
            return;
        }
        let Some(relation) = self.relations.part_mut(&oid).remove(&oid) else { return };
        let namesakes = self.by_name.part_mut(&*relation.name);
        if let Some(oids) = namesakes.get_mut(&*relation.name) {
            oids.retain(|other| *other != oid);
            if oids.is_empty() {
                namesakes.remove(&*relation.name);
            }
        }
        for parent in &relation.parents {
            remove(&mut self.heirs, *parent, oid);
        }
        for other in relation.cascades_from() {
            remove(&mut self.cascades, other, oid);
        }
    }

    fn change_types(
        &mut self,
        left: Option<&HashSet<u32>>,
        types: HashMap<u32, TypeShape>,
        names: HashMap<String, Vec<u32>>,
    ) {
        let is_left = |oid: &u32| *oid < FIRST_USER_OID || left.is_none_or(|left| left.contains(oid));
        self.type_names.retain(|_, oids| {
            oids.retain(|oid| is_left(oid) && !types.contains_key(oid));
            !oids.is_empty()
        });
        for (name, oids) in names {
            let known = self.type_names.entry(name).or_default();
            known.extend(oids);
            known.sort_unstable();
        }
        if left.is_some() {
            self.types.retain(is_left);
        }
        self.types.extend::<u32>(types);
    }
}

/// Takes an OID off the list that stands under another one.
fn remove(lists: &mut Shards<u32, Vec<u32>>, key: u32, oid: u32) {
    let part = lists.part_mut(&key);
    if let Some(oids) = part.get_mut(&key) {
        oids.retain(|other| *other != oid);
        if oids.is_empty() {
            part.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, Constraint, ConstraintKind, Contents, RelationKind};

    fn heir(oid: u32, parents: Vec<u32>) -> Relation {
        Relation { parents, ..relation(oid, "heir", "x") }
    }

    fn relation(oid: u32, name: &str, column: &str) -> Relation {
        Relation::new(oid, "public", name, RelationKind::Table, vec![Column::new(1, column, 25)])
    }

    fn contents(relations: Vec<Relation>, types: &[(u32, &str)]) -> Contents {
        let mut contents = Contents { relations, ..Contents::default() };
        for (oid, name) in types {
            contents.types.insert(*oid, TypeShape::Base((*name).to_owned()));
            contents.type_names.entry((*name).to_owned()).or_default().push(*oid);
        }
        contents
    }

    #[test]
    fn changes_are_passed_on_where_a_foreign_key_says_so() {
        let with_key = |oid: u32, other: u32, cascades: bool| {
            let kind = ConstraintKind::ForeignKey { relation: other, columns: vec![1], cascades };
            let constraints = vec![Constraint { kind, columns: vec![1] }];
            Relation { constraints, ..relation(oid, "limb", "x") }
        };
        let before = Catalog::new(contents(
            vec![
                relation(20_001, "head", "x"),
                with_key(20_002, 20_001, true),
                with_key(20_003, 20_001, false),
                heir(20_004, vec![20_002]),
                with_key(20_005, 20_004, true),
                with_key(20_006, 20_006, true),
            ],
            &[],
        ));
        assert_eq!(before.with_cascades(vec![20_001]), [20_001, 20_002, 20_004, 20_005]);
        assert_eq!(before.with_cascades(vec![20_003, 20_006]), [20_003, 20_006]);
        let relations = vec![with_key(20_002, 20_001, false), with_key(20_003, 20_001, true)];
        let changed = before.changed(Change { relations, ..Change::default() });
        assert_eq!(changed.with_cascades(vec![20_001]), [20_001, 20_003]);
        assert_eq!(changed, Catalog::new(changed.contents()));
    }

    #[test]
    fn heirs_are_those_there_are() {
        let relations =
            vec![relation(20_001, "a", "x"), heir(20_002, vec![20_001]), heir(20_003, vec![20_002])];
        let before = Catalog::new(contents(relations, &[]));
        assert_eq!(before.with_heirs(vec![20_001]), [20_001, 20_002, 20_003]);
        let after = Catalog::new(contents(
            vec![relation(20_001, "a", "x"), heir(20_003, vec![20_001]), heir(20_004, vec![20_001])],
            &[],
        ));
        let relations = vec![heir(20_004, vec![20_001]), heir(20_003, vec![20_001])];
        let changed = before.changed(Change { gone: [20_002].into(), relations, ..Change::default() });
        assert_eq!(changed, after);
        assert_eq!(changed.heirs(20_001), [20_003, 20_004]);
        assert!(changed.heirs(20_002).is_empty());
    }

    #[test]
    fn what_is_changed_is_as_if_it_were_read_anew() {
        let before = Catalog::new(contents(
            vec![relation(20_001, "a", "x"), relation(20_002, "b", "x"), relation(20_003, "c", "x")],
            &[(20_010, "one"), (20_011, "two"), (20_012, "two")],
        ));
        let after = Catalog::new(contents(
            vec![relation(20_000, "c", "z"), relation(20_001, "a", "y"), relation(20_003, "c", "x")],
            &[(20_010, "other"), (20_012, "two")],
        ));
        let change = Change {
            gone: [20_002].into(),
            relations: vec![relation(20_001, "a", "y"), relation(20_000, "c", "z")],
            types_left: Some([20_010, 20_012].into()),
            types: [(20_010, TypeShape::Base("other".to_owned()))].into(),
            type_names: [("other".to_owned(), vec![20_010])].into(),
            ..Change::default()
        };
        assert_eq!(before.changed(change), after);
        assert_eq!(before.changed(Change::default()), before);
    }
}

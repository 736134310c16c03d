//! Relations, columns and types of one database, as the server describes them.
//!
//! A snapshot: the shell loads it on a connection of its own, the core only reads it. What is not in it is
//! unknown, and unknown is never shown.

use std::collections::{HashMap, HashSet};

/// Object identifiers below this belong to the server itself (`FirstNormalObjectId`).
pub const FIRST_USER_OID: u32 = 16_384;

/// What `pg_class.relkind` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// A foreign table.
    Foreign,
    /// A materialized view.
    MaterializedView,
    /// A sequence, index, composite type or anything else without rows of its own to read.
    Other,
    /// An ordinary or partitioned table.
    Table,
    /// A view.
    View,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// `pg_attribute.attnum`.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// Its type's OID.
    pub type_oid: u32,
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema it stands in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Whether a user's trigger or rule may change what a write does.
    pub has_user_code: bool,
    /// Direct parents by inheritance or partitioning.
    pub parents: Vec<u32>,
    /// Columns in order.
    pub columns: Vec<Column>,
}

/// What a type is built from, for those masking must know by structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeShape {
    /// An array of the element type.
    Array(u32),
    /// A base type that is not built in; its name.
    Base(String),
    /// A row type; its columns' types.
    Composite(Vec<u32>),
    /// A domain over the base type.
    Domain(u32),
    /// An enum; its first label.
    Enum(String),
    /// A multirange.
    Multirange,
    /// A pseudo-type, such as the element-less array of `pg_stats`.
    Pseudo,
    /// A range.
    Range,
}

/// One database as it was when the snapshot was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    relations: HashMap<u32, Relation>,
    by_name: HashMap<String, Vec<u32>>,
    user_functions: HashSet<String>,
    types: HashMap<u32, TypeShape>,
}

impl Catalog {
    /// Builds a snapshot. `user_functions` are the names of functions outside `pg_catalog`.
    pub fn new(
        relations: Vec<Relation>,
        user_functions: HashSet<String>,
        types: HashMap<u32, TypeShape>,
    ) -> Self {
        let mut by_name: HashMap<String, Vec<u32>> = HashMap::new();
        for relation in &relations {
            by_name.entry(relation.name.clone()).or_default().push(relation.oid);
        }
        let relations = relations.into_iter().map(|relation| (relation.oid, relation)).collect();
        Self { relations, by_name, user_functions, types }
    }

    /// The relation with this OID.
    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// Every relation of this name, in the named schema or, without one, in any: the search path is the
    /// session's affair and may change, so all of them are candidates.
    pub fn named<'a>(
        &'a self,
        schema: Option<&'a str>,
        name: &str,
    ) -> impl Iterator<Item = &'a Relation> + use<'a> {
        let oids = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        oids.iter()
            .filter_map(|oid| self.relations.get(oid))
            .filter(move |relation| schema.is_none_or(|schema| relation.schema == schema))
    }

    /// All relations, in no order.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// Whether a function of this name exists outside `pg_catalog`.
    pub fn has_user_function(&self, name: &str) -> bool {
        self.user_functions.contains(name)
    }

    /// Whether there is any code of users that a view may run.
    pub fn has_user_code(&self) -> bool {
        !self.user_functions.is_empty()
    }

    /// How a type that is not built in is made.
    pub fn type_shape(&self, oid: u32) -> Option<&TypeShape> {
        self.types.get(&oid)
    }
}

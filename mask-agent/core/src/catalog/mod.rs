//! Relations, columns, types and functions of one database, as the server describes them.
//!
//! A snapshot: the shell loads it on a connection of its own, the core only reads it. What is not in it is
//! unknown, and unknown is never shown.

mod casts;
mod change;
mod foreign;
mod collation;
mod mention;
mod reach;
mod shards;
mod symbol;
mod trust;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::Serialize;

pub(crate) use self::mention::{has_word, hides_names};
use self::shards::Shards;
pub use self::{
    change::Change,
    foreign::Foreign,
    symbol::{Symbol, Symbols},
};

/// Object identifiers below this belong to the server itself (`FirstNormalObjectId`).
pub const FIRST_USER_OID: u32 = 16_384;

/// Domains over domains: those of a snapshot that was read while they changed may go in circles.
const DOMAINS_DEEP_MAX: usize = 16;

/// What `pg_class.relkind` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Column {
    /// `pg_attribute.attnum`.
    pub number: i16,
    /// Its name.
    pub name: Symbol,
    /// Its type's OID.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`, -1 where there is none.
    pub type_modifier: i32,
    /// The expression of a generated column, as `pg_get_expr` writes it with an empty search path; empty, which is
    /// no expression, where it could not be read because somebody's DDL holds the table.
    pub generated: Option<Box<str>>,
    /// Its default in the same form, where the relation has code of users.
    pub default: Option<Box<str>>,
    /// Whether values that are not alike may be equal in it, by a collation as in [`Contents::loose_collations`].
    #[cfg_attr(test, serde(default))]
    pub is_loose: bool,
}

/// What a constraint or an index holds rows to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub enum ConstraintKind {
    /// A condition on each row.
    Check,
    /// Values that stand in these columns of another relation.
    ForeignKey {
        /// The other relation's OID.
        relation: u32,
        /// Numbers of its columns.
        columns: Vec<i16>,
        /// Whether rows here are changed or deleted when those are: CASCADE, SET NULL, SET DEFAULT.
        #[cfg_attr(test, serde(default))]
        cascades: bool,
    },
    /// No two rows that some operator finds akin, as those whose ranges overlap.
    Excluding,
    /// No two rows alike: unique, primary key, exclusion.
    Unique,
}

/// What a write may fail by, and so tell of values that are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Constraint {
    /// What it holds rows to.
    pub kind: ConstraintKind,
    /// Numbers of the columns it is about; 0 where an expression may name any.
    pub columns: Vec<i16>,
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema it stands in.
    pub schema: Symbol,
    /// Its name.
    pub name: Symbol,
    /// What it is.
    pub kind: RelationKind,
    /// Whether a user's trigger, rule or default may change what a write does.
    pub has_user_code: bool,
    /// Whether a default, an index or a check of it, or of a column's domain, calls functions of users.
    #[cfg_attr(test, serde(default))]
    pub calls_users: bool,
    /// Its rules but for a view's own, which may replace or add to a statement on it, as `pg_get_ruledef` writes them
    /// with an empty search path; an empty text where somebody's DDL holds a relation it names.
    pub rules: Vec<String>,
    /// What its policies of row-level security hold rows to, as `pg_get_expr` writes it with an empty search path; an
    /// empty text where somebody's DDL holds a relation it names.
    #[cfg_attr(test, serde(default))]
    pub policies: Vec<String>,
    /// OIDs of the functions of its triggers that are not internal.
    pub triggers: Vec<u32>,
    /// Direct parents by inheritance or partitioning.
    pub parents: Vec<u32>,
    /// Numbers of the columns by which its rows are partitioned, 0 for an expression; none where they are not.
    #[cfg_attr(test, serde(default))]
    pub partition_key: Vec<i16>,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// What its rows are held to.
    pub constraints: Vec<Constraint>,
    /// The query of a view or materialized view, as `pg_get_viewdef` writes it with an empty search path; none for
    /// views of the server, and where somebody's DDL holds a table it reads.
    pub definition: Option<String>,
    /// What a foreign table and its columns are called where their rows are.
    #[cfg_attr(test, serde(default))]
    pub foreign: Option<Box<Foreign>>,
}

impl Column {
    /// A column without modifier or expression.
    pub fn new(number: i16, name: &str, type_oid: u32) -> Self {
        Self { number, name: name.into(), type_oid, type_modifier: -1, ..Self::default() }
    }
}

impl Relation {
    /// Relations whose changes its foreign keys pass on to it, sorted.
    fn cascades_from(&self) -> Vec<u32> {
        let others = self.constraints.iter().filter_map(|constraint| match constraint.kind {
            ConstraintKind::ForeignKey { relation, cascades: true, .. } => Some(relation),
            _ => None,
        });
        let mut others: Vec<u32> = others.collect();
        others.sort_unstable();
        others.dedup();
        others
    }

    /// A relation by itself: nobody's child, without triggers, rules or a definition.
    pub fn new(oid: u32, schema: &str, name: &str, kind: RelationKind, columns: Vec<Column>) -> Self {
        Self {
            oid,
            schema: schema.into(),
            name: name.into(),
            kind,
            has_user_code: false,
            calls_users: false,
            rules: Vec::new(),
            policies: Vec::new(),
            triggers: Vec::new(),
            parents: Vec::new(),
            partition_key: Vec::new(),
            columns,
            constraints: Vec::new(),
            definition: None,
            foreign: None,
        }
    }
}

/// How far a function's results may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    /// Never: `i`.
    Immutable,
    /// Not within a statement: `s`.
    Stable,
    /// At any time: `v`.
    Volatile,
}

/// What `pg_proc.prokind` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub enum RoutineKind {
    /// An aggregate.
    Aggregate,
    /// A function.
    Function,
    /// A procedure.
    Procedure,
    /// A window function.
    Window,
}

/// A function by its name, which stands for all that have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Called {
    /// Its schema; empty where none is known.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// One function that is not the server's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Routine {
    /// `pg_proc.oid`.
    pub oid: u32,
    /// Schema it stands in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RoutineKind,
    /// `pg_language.lanname`: `sql`, `plpgsql`, `c`, …
    pub language: String,
    /// `CREATE FUNCTION` as `pg_get_functiondef` writes it with an empty search path, for `sql` and `plpgsql`;
    /// none for other languages, and where somebody's DDL holds a table it reads.
    pub definition: Option<String>,
    /// Whether it runs with its owner's rights.
    pub security_definer: bool,
    /// How far its results may change.
    pub volatility: Volatility,
    /// Names of its input arguments; empty for one without a name.
    pub inputs: Vec<String>,
    /// Names of the columns it returns (OUT, INOUT and TABLE arguments), empty where there are none.
    pub outputs: Vec<String>,
    /// OID of its result type.
    pub returns: u32,
    /// Whether it returns a set.
    pub returns_set: bool,
    /// Its `search_path` as a list of identifiers, where `SET search_path` stands at its definition.
    pub search_path: Option<String>,
    /// Whether it is known to return nothing but what is made of its arguments: a function in C of a
    /// well-known extension, or one that the policy trusts.
    pub harmless: bool,
    /// SHA-256 of what it does, in hexadecimal, by which a policy may trust it; none where that depends on more than the function:
    /// on the caller's search path, defaults of arguments, or on when it is called.
    #[cfg_attr(test, serde(default))]
    pub digest: Option<String>,
    /// Of an aggregate, the functions it is computed by.
    pub parts: Vec<Called>,
}

/// What a type is built from, for those masking must know by structure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
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

/// What stands on one side of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// A value that may be of a type of the server's own, or of one that others are cast to without being asked.
    Any,
    /// Nothing: it has one operand only.
    None,
    /// A value of this type of users, or an array of it.
    Type(u32),
}

/// An operator that runs code of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Operator {
    /// Before it.
    pub left: Operand,
    /// After it.
    pub right: Operand,
    /// The function it is.
    pub function: Called,
}

impl Operator {
    /// Whether one of its operands is of a type of users.
    pub fn is_of_users(&self) -> bool {
        [self.left, self.right].iter().any(|operand| matches!(operand, Operand::Type(_)))
    }
}

/// A cast to a type that runs code of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Cast {
    /// The type it is from; 0 where it is text that the type's input function reads.
    pub source: u32,
    /// The function it is.
    pub function: Called,
}

/// What a snapshot is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Contents {
    /// `server_version_num / 10000`.
    pub major: u16,
    /// Relations of every schema, those of the server included.
    pub relations: Vec<Relation>,
    /// Functions outside `pg_catalog` and `information_schema`, and those of users and extensions within.
    pub routines: Vec<Routine>,
    /// Names of what else runs code of users: operators, casts' types, domains, types with own input functions.
    pub user_names: HashSet<String>,
    /// Operators of users by name.
    pub operators: HashMap<String, Vec<Operator>>,
    /// Types that code of users makes values of, and the types it makes them from; 0 is text that is read.
    pub casts: HashMap<u32, Vec<Cast>>,
    /// Types that are not built in.
    pub types: HashMap<u32, TypeShape>,
    /// Names of types, without schema, and their OIDs; without arrays and rows of tables.
    pub type_names: HashMap<String, Vec<u32>>,
    /// `search_path` as a new session of this role has it: `"$user"` resolved, schemas that are not there or may not
    /// be used left out, as the server does; none where it is unknown.
    pub search_path: Option<Vec<String>>,
    /// Names of collations as in [`Catalog::loose_collations`].
    #[cfg_attr(test, serde(default))]
    pub loose_collations: HashSet<String>,
}

/// Functions, in order of their OIDs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Routines {
    list: Vec<Routine>,
    by_name: HashMap<String, Vec<usize>>,
    by_oid: HashMap<u32, usize>,
}

impl Routines {
    fn new(list: Vec<Routine>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut by_oid = HashMap::with_capacity(list.len());
        for (index, routine) in list.iter().enumerate() {
            by_name.entry(routine.name.clone()).or_default().push(index);
            by_oid.entry(routine.oid).or_insert(index);
        }
        Self { list, by_name, by_oid }
    }
}

/// One database as it was when the snapshot was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    major: u16,
    relations: Shards<u32, Arc<Relation>>,
    by_name: Shards<Symbol, Vec<u32>>,
    /// Direct heirs by their parents' OIDs.
    heirs: Shards<u32, Vec<u32>>,
    /// Relations that foreign keys pass changes on to, by the OIDs of those that are changed.
    cascades: Shards<u32, Vec<u32>>,
    routines: Arc<Routines>,
    user_names: HashSet<String>,
    operators: HashMap<String, Vec<Operator>>,
    casts: HashMap<u32, Vec<Cast>>,
    types: Shards<u32, TypeShape>,
    type_names: HashMap<String, Vec<u32>>,
    search_path: Option<Vec<String>>,
    loose_collations: HashSet<String>,
}

impl Catalog {
    /// Builds a snapshot.
    pub fn new(contents: Contents) -> Self {
        let Contents {
            major,
            relations: all,
            routines,
            user_names,
            operators,
            casts,
            types: shapes,
            type_names,
            search_path,
            loose_collations,
        } = contents;
        let mut by_name: Shards<Symbol, Vec<u32>> = Shards::default();
        let mut heirs: Shards<u32, Vec<u32>> = Shards::default();
        let mut cascades: Shards<u32, Vec<u32>> = Shards::default();
        for relation in &all {
            let Relation { name, oid, parents, .. } = relation;
            by_name.part_mut(&**name).entry(name.clone()).or_default().push(*oid);
            for parent in parents {
                heirs.part_mut(parent).entry(*parent).or_default().push(*oid);
            }
            for other in relation.cascades_from() {
                cascades.part_mut(&other).entry(other).or_default().push(*oid);
            }
        }
        let (mut relations, mut types) = (Shards::default(), Shards::default());
        relations.extend::<u32>(all.into_iter().map(|relation| (relation.oid, Arc::new(relation))));
        types.extend::<u32>(shapes);
        let routines = Arc::new(Routines::new(routines));
        Self {
            major,
            relations,
            by_name,
            heirs,
            cascades,
            routines,
            user_names,
            operators,
            casts,
            types,
            type_names,
            search_path,
            loose_collations,
        }
    }

    /// What it is made of, in order of OIDs.
    pub fn contents(&self) -> Contents {
        let mut relations: Vec<_> = self.relations().cloned().collect();
        relations.sort_unstable_by_key(|relation| relation.oid);
        Contents {
            major: self.major,
            relations,
            routines: self.routines.list.clone(),
            user_names: self.user_names.clone(),
            operators: self.operators.clone(),
            casts: self.casts.clone(),
            types: self.types.iter().map(|(oid, shape)| (*oid, shape.clone())).collect(),
            type_names: self.type_names.clone(),
            search_path: self.search_path.clone(),
            loose_collations: self.loose_collations.clone(),
        }
    }

    /// The server's major version, such as 15; 0 where it is unknown.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The relation with this OID.
    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(&oid).map(|relation| &**relation)
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
            .filter_map(|oid| self.relation(*oid))
            .filter(move |relation| schema.is_none_or(|schema| relation.schema == *schema))
    }

    /// Whether a relation of another snapshot is this one's own, and not only like one of it.
    pub fn has_same(&self, other: &Relation) -> bool {
        self.relation(other.oid).is_some_and(|own| std::ptr::eq(own, other))
    }

    /// All relations, in no order.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().map(|(_, relation)| &**relation)
    }

    /// Every function of users with this name, in any schema and with any arguments.
    pub fn routines<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Routine> + use<'a> {
        let indexes = self.routines.by_name.get(name).map_or(&[][..], Vec::as_slice);
        indexes.iter().filter_map(|index| self.routines.list.get(*index))
    }

    /// The function of users with this OID.
    pub fn routine(&self, oid: u32) -> Option<&Routine> {
        self.routines.list.get(*self.routines.by_oid.get(&oid)?)
    }

    /// Every function of users, in order of OIDs.
    pub fn all_routines(&self) -> &[Routine] {
        &self.routines.list
    }

    /// Whether a function, operator or type of this name runs code of users that is not known to be harmless.
    pub fn has_user_function(&self, name: &str) -> bool {
        self.user_names.contains(name) || self.routines(name).any(|routine| !routine.harmless)
    }

    /// Operators of users with this name.
    pub fn operators(&self, name: &str) -> &[Operator] {
        self.operators.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether an operator, or a type by its casts, checks or input, runs code of users under this name.
    pub fn has_user_name(&self, name: &str) -> bool {
        self.user_names.contains(name)
    }

    /// Whether the server may call functions of users that no statement names: for an operator, a type or what is written.
    pub fn binds_user_code(&self) -> bool {
        self.has_user_names() || self.relations().any(|relation| relation.calls_users)
    }

    /// Whether any operator or type runs code of users.
    pub fn has_user_names(&self) -> bool {
        !self.user_names.is_empty()
    }

    /// Whether there is any code of users that a view may run.
    pub fn has_user_code(&self) -> bool {
        !self.user_names.is_empty() || self.routines.list.iter().any(|routine| !routine.harmless)
    }

    /// How a type that is not built in is made; of a domain, how that is which it is over.
    pub fn type_shape(&self, oid: u32) -> Option<&TypeShape> {
        let mut shape = self.types.get(&oid)?;
        for _ in 0..DOMAINS_DEEP_MAX {
            let TypeShape::Domain(base) = shape else { break };
            let Some(inner) = self.types.get(base) else { break };
            shape = inner;
        }
        Some(shape)
    }

    /// The same as it was declared: a domain is one, whatever it is over.
    pub fn declared_shape(&self, oid: u32) -> Option<&TypeShape> {
        self.types.get(&oid)
    }

    /// OIDs of the types with this name, in any schema.
    pub fn types_named(&self, name: &str) -> &[u32] {
        self.type_names.get(name).map_or(&[], Vec::as_slice)
    }

    /// The search path of a new session of the role the snapshot was read as.
    pub fn search_path(&self) -> Option<&[String]> {
        self.search_path.as_deref()
    }
}

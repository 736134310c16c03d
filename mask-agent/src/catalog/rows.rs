//! Rows of the catalogs as what the core works on.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use anyhow::{Context, Result, ensure};
use mask_core::catalog::{
    Called, Cast, Column, Constraint, ConstraintKind, FIRST_USER_OID, Foreign, Operand, Operator, Relation,
    RelationKind, Routine, RoutineKind, Symbols, TypeShape, Volatility,
};
use tokio_postgres::{Row, types::FromSqlOwned};

/// Columns by relation.
pub(super) type Columns = HashMap<u32, Vec<Column>>;

/// What other catalogs say of relations.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) triggers: HashMap<u32, Vec<u32>>,
    pub(super) constraints: HashMap<u32, Vec<Constraint>>,
    pub(super) parents: HashMap<u32, Vec<u32>>,
    /// OIDs of rules, in the order they are in.
    pub(super) rules: HashMap<u32, Vec<u32>>,
    /// OIDs of policies.
    pub(super) policies: HashMap<u32, Vec<u32>>,
    pub(super) defaults: HashSet<u32>,
}

/// A relation by itself, and the type of its rows, 0 where they have none.
pub(super) fn relation(row: &Row, columns: &mut Columns, symbols: &mut Symbols) -> Result<(Relation, u32)> {
    let oid: u32 = row.try_get(0)?;
    let columns = columns.remove(&oid).unwrap_or_default();
    let mut relation = Relation::new(oid, "", row.try_get(2)?, relation_kind(row.try_get(3)?), columns);
    relation.schema = symbols.of(row.try_get(1)?);
    relation.partition_key = row.try_get::<_, Option<_>>(5)?.unwrap_or_default();
    let (options, columns): (Vec<String>, Vec<String>) = (list(row, 6)?, list(row, 7)?);
    if !(options.is_empty() && columns.is_empty()) {
        relation.foreign = Some(Box::new(foreign(&options, &columns, symbols)));
    }
    Ok((relation, row.try_get(4)?))
}

/// Names on another server, by the options of `postgres_fdw` and those of others that say the same.
fn foreign(options: &[String], columns: &[String], symbols: &mut Symbols) -> Foreign {
    let mut option = |names: [&str; 2]| {
        let mut pairs = options.iter().filter_map(|option| option.split_once('='));
        pairs.find(|(name, _)| names.contains(name)).map(|(_, value)| symbols.of(value))
    };
    let (schema, name) = (option(["schema_name", "schema"]), option(["table_name", "table"]));
    let columns = columns.iter().filter_map(|column| {
        let (number, name) = column.split_once('=')?;
        Some((number.parse().ok()?, symbols.of(name)))
    });
    Foreign { schema, name, columns: columns.collect() }
}

fn relation_kind(relkind: &str) -> RelationKind {
    match relkind {
        "r" | "p" => RelationKind::Table,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        _ => RelationKind::Other,
    }
}

/// Columns of some relations. The expression of a generated one is empty, which is none, until it is read.
pub(super) fn columns(rows: &[Row], wanted: &HashSet<u32>, symbols: &mut Symbols) -> Result<Columns> {
    let row = rows.first().context("the server gave no row")?;
    let packed =
        |column| Ok::<&[u8], anyhow::Error>(row.try_get::<_, Option<_>>(column)?.unwrap_or_default());
    let (places, types, names) = (packed(0)?, packed(1)?, std::str::from_utf8(packed(2)?)?);
    let places_in = |column| {
        let places = list::<i64>(row, column)?.into_iter().map(i64::cast_unsigned);
        Ok::<HashSet<u64>, anyhow::Error>(places.collect())
    };
    let (generated, loose) = (places_in(3)?, places_in(4)?);
    let (places, types) = (places.as_chunks::<8>().0, types.as_chunks::<8>().0);
    ensure!(places.len() == types.len(), "the server gave columns without a type");
    let mut names = names.split('\0');
    let mut columns = Columns::new();
    let mut last = (0, false);
    for (place, kind) in places.iter().zip(types) {
        let name = names.next().context("the server gave columns without a name")?;
        let (place, kind) = (u64::from_be_bytes(*place), u64::from_be_bytes(*kind));
        let relation = (place >> 16) as u32;
        if last.0 != relation {
            last = (relation, wanted.contains(&relation));
        }
        if last.1 {
            columns.entry(relation).or_default().push(Column {
                number: place as i16,
                name: symbols.of(name),
                type_oid: (kind >> 32) as u32,
                // One more than it is, as it came.
                type_modifier: (kind as u32).wrapping_sub(1).cast_signed(),
                generated: generated.contains(&place).then(Box::default),
                default: None,
                is_loose: loose.contains(&place),
            });
        }
    }
    for columns in columns.values_mut() {
        columns.sort_unstable_by_key(|column| column.number);
        columns.shrink_to_fit();
    }
    Ok(columns)
}

pub(super) fn composite(columns: &[Column]) -> TypeShape {
    TypeShape::Composite(columns.iter().map(|column| column.type_oid).collect())
}

/// Relations whose columns types are made of.
pub(super) fn composites(rows: &[Row]) -> Result<Vec<u32>> {
    let relations = rows.iter().map(|row| Ok(row.try_get(6)?));
    relations.filter(|oid| !matches!(oid, Ok(0))).collect()
}

pub(super) fn add_arrays(types: &mut HashMap<u32, TypeShape>, rows: &[Row]) -> Result<()> {
    let row = rows.first().context("the server gave no row")?;
    let (arrays, elements): (Vec<u32>, Vec<u32>) = (list(row, 0)?, list(row, 1)?);
    types.extend(arrays.into_iter().zip(elements.into_iter().map(TypeShape::Array)));
    Ok(())
}

pub(super) fn add_types(
    types: &mut HashMap<u32, TypeShape>,
    names: &mut HashMap<String, Vec<u32>>,
    rows: &[Row],
    columns: &Columns,
) -> Result<()> {
    for row in rows {
        let oid: u32 = row.try_get(0)?;
        let (kind, category): (&str, &str) = (row.try_get(1)?, row.try_get(3)?);
        let element: u32 = row.try_get(2)?;
        let name: &str = row.try_get(5)?;
        names.entry(name.to_owned()).or_default().push(oid);
        let shape = match kind {
            "e" => TypeShape::Enum(row.try_get::<_, Option<String>>(7)?.unwrap_or_default()),
            "d" => TypeShape::Domain(row.try_get(4)?),
            "c" => composite(columns.get(&row.try_get(6)?).map_or(&[], Vec::as_slice)),
            "m" => TypeShape::Multirange,
            "p" => TypeShape::Pseudo,
            "r" => TypeShape::Range,
            _ if category == "A" => TypeShape::Array(element),
            _ if oid >= FIRST_USER_OID => TypeShape::Base(name.to_owned()),
            _ => continue,
        };
        types.insert(oid, shape);
    }
    Ok(())
}

/// Operators of users by name.
pub(super) fn operators(rows: &[Row]) -> Result<HashMap<String, Vec<Operator>>> {
    let mut operators: HashMap<String, Vec<Operator>> = HashMap::new();
    for row in rows {
        let function = Called { schema: row.try_get(3)?, name: row.try_get(4)? };
        let operator = Operator { left: operand(row.try_get(1)?), right: operand(row.try_get(2)?), function };
        operators.entry(row.try_get(0)?).or_default().push(operator);
    }
    Ok(operators)
}

fn operand(oid: u32) -> Operand {
    match oid {
        0 => Operand::None,
        1 => Operand::Any,
        oid => Operand::Type(oid),
    }
}

pub(super) fn routine(row: &Row) -> Result<Routine> {
    let inputs: i16 = row.try_get(7)?;
    let names: Vec<String> = list(row, 8)?;
    let modes: Option<Vec<String>> = row.try_get(9)?;
    // Without modes every argument is an input, and names may be missing altogether.
    let modes = modes.unwrap_or_else(|| vec!["i".to_owned(); usize::from(inputs.unsigned_abs())]);
    let arguments = |wanted: &[&str]| {
        let wanted = modes.iter().enumerate().filter(|(_, mode)| wanted.contains(&mode.as_str()));
        wanted.map(|(index, _)| names.get(index).cloned().unwrap_or_default()).collect()
    };
    let settings: Vec<String> = list(row, 12)?;
    Ok(Routine {
        oid: row.try_get(0)?,
        schema: row.try_get(1)?,
        name: row.try_get(2)?,
        kind: match row.try_get(3)? {
            "a" => RoutineKind::Aggregate,
            "p" => RoutineKind::Procedure,
            "w" => RoutineKind::Window,
            _ => RoutineKind::Function,
        },
        language: row.try_get(4)?,
        definition: None,
        security_definer: row.try_get(5)?,
        volatility: match row.try_get(6)? {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        },
        inputs: arguments(&["i", "b", "v"]),
        outputs: arguments(&["o", "b", "t"]),
        returns: row.try_get(10)?,
        returns_set: row.try_get(11)?,
        search_path: settings.iter().find_map(|set| set.strip_prefix("search_path=")).map(str::to_owned),
        harmless: row.try_get(13)?,
        parts: called(&list::<String>(row, 14)?),
        digest: row.try_get(15)?,
    })
}

/// What the rows of relations are held to.
pub(super) fn constraints(rows: &[Row]) -> Result<HashMap<u32, Vec<Constraint>>> {
    let mut constraints: HashMap<u32, Vec<Constraint>> = HashMap::new();
    for row in rows {
        let kind = match row.try_get(1)? {
            "c" => ConstraintKind::Check,
            "f" => ConstraintKind::ForeignKey {
                relation: row.try_get(3)?,
                columns: list(row, 4)?,
                cascades: row.try_get(5)?,
            },
            "x" => ConstraintKind::Excluding,
            _ => ConstraintKind::Unique,
        };
        let constraint = Constraint { kind, columns: list(row, 2)? };
        constraints.entry(row.try_get(0)?).or_default().push(constraint);
    }
    Ok(constraints)
}

/// An array; nothing where it is null.
pub(super) fn list<T: FromSqlOwned>(row: &Row, column: usize) -> Result<Vec<T>> {
    Ok(row.try_get::<_, Option<Vec<T>>>(column)?.unwrap_or_default())
}

pub(super) fn firsts<T: FromSqlOwned + Eq + Hash>(rows: &[Row]) -> Result<HashSet<T>> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

pub(super) fn pairs(rows: &[Row]) -> Result<HashMap<u32, Vec<u32>>> {
    let mut pairs: HashMap<u32, Vec<u32>> = HashMap::new();
    for row in rows {
        pairs.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    Ok(pairs)
}

/// Casts of users by the type they are to.
pub(super) fn casts(rows: &[Row]) -> Result<HashMap<u32, Vec<Cast>>> {
    let mut casts: HashMap<u32, Vec<Cast>> = HashMap::new();
    for row in rows {
        let function = Called { schema: row.try_get(2)?, name: row.try_get(3)? };
        casts.entry(row.try_get(0)?).or_default().push(Cast { source: row.try_get(1)?, function });
    }
    Ok(casts)
}

/// Functions by schema and name, one after the other.
fn called(names: &[String]) -> Vec<Called> {
    let pairs = names.chunks_exact(2);
    pairs.map(|pair| Called { schema: pair[0].clone(), name: pair[1].clone() }).collect()
}

impl Facts {
    /// Says of a relation what other catalogs do.
    pub(super) fn apply(&self, relation: &mut Relation) {
        let oid = relation.oid;
        relation.triggers = self.triggers.get(&oid).cloned().unwrap_or_default();
        relation.constraints = self.constraints.get(&oid).cloned().unwrap_or_default();
        relation.parents = self.parents.get(&oid).cloned().unwrap_or_default();
        relation.calls_users = self.defaults.contains(&oid);
        relation.has_user_code =
            !relation.triggers.is_empty() || self.rules.contains_key(&oid) || relation.calls_users;
    }

    /// What an earlier reading said.
    pub(super) fn learn(&mut self, relation: &Relation, told: &Told<'_>) {
        let oid = relation.oid;
        if !told.constraints.covers(oid) && !relation.constraints.is_empty() {
            self.constraints.insert(oid, relation.constraints.clone());
        }
        if !told.triggers && !relation.triggers.is_empty() {
            self.triggers.insert(oid, relation.triggers.clone());
        }
        if !told.parents && !relation.parents.is_empty() {
            self.parents.insert(oid, relation.parents.clone());
        }
    }

    /// Whether a relation is as they say, where they were read anew.
    pub(super) fn agree(&self, relation: &Relation, told: &Told<'_>) -> bool {
        let oid = relation.oid;
        (!told.triggers || says(&self.triggers, oid, &relation.triggers))
            && (!told.constraints.covers(oid) || says(&self.constraints, oid, &relation.constraints))
            && (!told.parents || says(&self.parents, oid, &relation.parents))
    }
}

fn says<T: PartialEq>(facts: &HashMap<u32, Vec<T>>, oid: u32, list: &[T]) -> bool {
    facts.get(&oid).map_or(list.is_empty(), |facts| facts == list)
}

/// Which facts were read anew.
pub(super) struct Told<'a> {
    pub(super) triggers: bool,
    pub(super) constraints: &'a Held,
    pub(super) parents: bool,
}

/// Relations whose constraints are read anew: nearly every relation has one, so they are not short.
pub(super) enum Held {
    All,
    These(HashSet<u32>),
}

impl Held {
    fn covers(&self, oid: u32) -> bool {
        match self {
            Self::All => true,
            Self::These(relations) => relations.contains(&oid),
        }
    }
}

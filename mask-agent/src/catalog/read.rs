//! Reads a database's catalogs into what the core works on.
//!
//! What rows say is read in one transaction and so of one moment. Definitions are written out afterwards, a few at
//! a time, because the server locks what they name until the transaction ends and has room for few thousand locks.
//! Where one cannot be written out, it is missing, and the reading has no mark: the next one starts anew.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use mask_core::catalog::{
    Column, Constraint, ConstraintKind, Contents, Operand, Operator, Relation, RelationKind, Routine,
    RoutineKind, TypeShape, Volatility,
};
use tokio_postgres::{
    Client, Row,
    error::SqlState,
    types::{FromSqlOwned, Type},
};

use super::{
    mark::{Mark, Opening},
    queries,
};

/// Definitions of one transaction; each locks a few relations, and the lock table has room for some 6,400 by default.
const DEFINITIONS_MAX: usize = 256;
/// Somebody's DDL may come between a row and its definition; twice in a row is bad luck.
const ATTEMPTS: u32 = 3;

/// What was read, and the state of the server it was read in; none where something could not be read.
pub(crate) struct Reading {
    pub(crate) contents: Contents,
    pub(crate) known: Option<Known>,
}

/// The state of a server that was read before.
#[derive(Clone)]
pub(crate) struct Known(Mark);

/// What a reading comes to.
pub(crate) enum News {
    /// Nothing has changed since; the mark to compare with from now on.
    None(Known),
    /// Something has, or may have.
    Reading(Box<Reading>),
}

/// Reads the catalogs, where anything has changed since they were read before.
pub(crate) async fn read(client: &Client, known: Option<&Known>) -> Result<News> {
    let mut attempt = 1;
    loop {
        let Opening { major, mut mark } = Opening::read(client).await?;
        if let Some(Known(earlier)) = known
            && mark.is_still(earlier, client).await?
        {
            return Ok(News::None(Known(mark)));
        }
        match contents(client, &mut mark).await {
            Ok((contents, complete)) => {
                let contents = Contents { major, ..contents };
                let known = complete.then_some(Known(mark));
                return Ok(News::Reading(Box::new(Reading { contents, known })));
            }
            Err(error) if attempt < ATTEMPTS && raced(&error) => {
                client.batch_execute("rollback").await?;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the server's complaint is of a kind that somebody's DDL at this moment leads to.
fn raced(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code.is_some_and(|code| {
        [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::INTERNAL_ERROR,
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_OBJECT,
            SqlState::UNDEFINED_FUNCTION,
        ]
        .contains(code)
    })
}

/// Everything, and whether nothing of it is missing.
async fn contents(client: &Client, mark: &mut Mark) -> Result<(Contents, bool)> {
    client.batch_execute("begin isolation level repeatable read, read only").await?;
    let (defaults, routines, user_names) = (queries::defaults(), queries::routines(), queries::user_names());
    let (counts, operators, casts) = (queries::counts(), queries::operators(), queries::casts());
    let (
        relations,
        columns,
        triggers,
        constraints,
        rules,
        parents,
        defaults,
        routines,
        user_names,
        operators,
        casts,
        types,
        counts,
    ) = tokio::try_join!(
        client.query_typed(queries::RELATIONS, &[]),
        client.query_typed(queries::COLUMNS, &[]),
        client.query_typed(queries::TRIGGERS, &[]),
        client.query_typed(queries::CONSTRAINTS, &[]),
        client.query_typed(queries::RULES, &[]),
        client.query_typed(queries::PARENTS, &[]),
        client.query_typed(&defaults, &[]),
        client.query_typed(&routines, &[]),
        client.query_typed(&user_names, &[]),
        client.query_typed(&operators, &[]),
        client.query_typed(&casts, &[]),
        client.query_typed(queries::TYPES, &[]),
        client.query_typed(&counts, &[]),
    )?;
    client.batch_execute("commit").await?;
    mark.counts = counts.first().context("the server gave no row")?.try_get(0)?;

    let mut columns = columns_of(columns.first().context("the server gave no row")?)?;
    let mut contents =
        Contents { search_path: mark.search_path().map(<[String]>::to_vec), ..Contents::default() };
    add_types(&mut contents, &types, &columns)?;
    for row in user_names {
        contents.user_names.insert(row.try_get(0)?);
    }
    for row in operators {
        let operator = Operator { left: operand(row.try_get(1)?), right: operand(row.try_get(2)?) };
        contents.operators.entry(row.try_get(0)?).or_default().push(operator);
    }
    contents.casts = pairs(&casts)?;
    let mut triggers = pairs(&triggers)?;
    let mut constraints = constraints_of(&constraints)?;
    let mut parents = pairs(&parents)?;
    let rules = pairs(&rules)?;
    let defaults = firsts(&defaults)?;
    for row in relations {
        let oid: u32 = row.try_get(0)?;
        let kind = relation_kind(row.try_get(3)?);
        let columns = columns.remove(&oid).unwrap_or_default();
        let row_type: u32 = row.try_get(4)?;
        if row_type != 0 {
            contents.types.insert(row_type, composite(&columns));
        }
        let relation = Relation::new(oid, row.try_get(1)?, row.try_get(2)?, kind, columns);
        let triggers = triggers.remove(&oid).unwrap_or_default();
        let own_rules = rules.get(&oid).map_or(0, Vec::len);
        contents.relations.push(Relation {
            has_user_code: !triggers.is_empty() || own_rules > 0 || defaults.contains(&oid),
            triggers,
            constraints: constraints.remove(&oid).unwrap_or_default(),
            parents: parents.remove(&oid).unwrap_or_default(),
            ..relation
        });
    }
    contents.routines = routines.iter().map(routine).collect::<Result<_>>()?;
    let complete = define(client, &mut contents, &defaults, &rules).await?;
    Ok((contents, complete))
}

fn operand(oid: u32) -> Operand {
    match oid {
        0 => Operand::None,
        1 => Operand::Any,
        oid => Operand::Type(oid),
    }
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

/// Columns by relation. The expression of a generated one is empty, which is none, until it is read.
fn columns_of(row: &Row) -> Result<HashMap<u32, Vec<Column>>> {
    let relations: Vec<u32> = list(row, 0)?;
    let numbers: Vec<i16> = list(row, 1)?;
    let names: Vec<String> = list(row, 2)?;
    let types: Vec<u32> = list(row, 3)?;
    let modifiers: Vec<i32> = list(row, 4)?;
    let generated: Vec<bool> = list(row, 5)?;
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    let facts = relations.into_iter().zip(numbers).zip(names).zip(types).zip(modifiers).zip(generated);
    for (((((relation, number), name), type_oid), type_modifier), generated) in facts {
        let generated = generated.then(String::new);
        columns.entry(relation).or_default().push(Column {
            number,
            name,
            type_oid,
            type_modifier,
            generated,
            default: None,
        });
    }
    for columns in columns.values_mut() {
        columns.sort_unstable_by_key(|column| column.number);
    }
    Ok(columns)
}

fn constraints_of(rows: &[Row]) -> Result<HashMap<u32, Vec<Constraint>>> {
    let mut constraints: HashMap<u32, Vec<Constraint>> = HashMap::new();
    for row in rows {
        let kind = match row.try_get(1)? {
            "c" => ConstraintKind::Check,
            "f" => ConstraintKind::ForeignKey { relation: row.try_get(3)?, columns: list(row, 4)? },
            _ => ConstraintKind::Unique,
        };
        let constraint = Constraint { kind, columns: list(row, 2)? };
        constraints.entry(row.try_get(0)?).or_default().push(constraint);
    }
    Ok(constraints)
}

fn composite(columns: &[Column]) -> TypeShape {
    TypeShape::Composite(columns.iter().map(|column| column.type_oid).collect())
}

fn add_types(contents: &mut Contents, rows: &[Row], columns: &HashMap<u32, Vec<Column>>) -> Result<()> {
    for row in rows {
        let oid: u32 = row.try_get(0)?;
        let (kind, category): (&str, &str) = (row.try_get(1)?, row.try_get(3)?);
        let element: u32 = row.try_get(2)?;
        let name: &str = row.try_get(5)?;
        let is_array = category == "A" && element != 0;
        // The server itself names the arrays it makes so.
        if !(is_array && name.starts_with('_')) {
            contents.type_names.entry(name.to_owned()).or_default().push(oid);
        }
        let shape = match kind {
            "e" => TypeShape::Enum(row.try_get::<_, Option<String>>(7)?.unwrap_or_default()),
            "d" => TypeShape::Domain(row.try_get(4)?),
            "c" => composite(columns.get(&row.try_get(6)?).map_or(&[], Vec::as_slice)),
            "m" => TypeShape::Multirange,
            "p" => TypeShape::Pseudo,
            "r" => TypeShape::Range,
            _ if category == "A" => TypeShape::Array(element),
            _ if oid >= mask_core::catalog::FIRST_USER_OID => TypeShape::Base(name.to_owned()),
            _ => continue,
        };
        contents.types.insert(oid, shape);
    }
    Ok(())
}

fn routine(row: &Row) -> Result<Routine> {
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
    })
}

/// Adds queries of views, rules, bodies of functions and expressions of columns; whether none is missing.
async fn define(
    client: &Client,
    contents: &mut Contents,
    defaults: &HashSet<u32>,
    rules: &HashMap<u32, Vec<u32>>,
) -> Result<bool> {
    let is_system = |schema: &str| matches!(schema, "pg_catalog" | "information_schema");
    let view = |kind| matches!(kind, RelationKind::View | RelationKind::MaterializedView);
    let of_users = |relation: &&Relation| {
        relation.oid >= mask_core::catalog::FIRST_USER_OID || !is_system(&relation.schema)
    };
    let views = contents.relations.iter().filter(|relation| view(relation.kind)).filter(of_users);
    let views: Vec<u32> = views.map(|relation| relation.oid).collect();
    let generated = contents.relations.iter();
    let generated = generated.filter(|relation| {
        defaults.contains(&relation.oid) || relation.columns.iter().any(|column| column.generated.is_some())
    });
    let generated: Vec<u32> = generated.map(|relation| relation.oid).collect();
    let bodies = contents.routines.iter().filter(|routine| {
        matches!(routine.kind, RoutineKind::Function | RoutineKind::Procedure)
            && matches!(routine.language.as_str(), "sql" | "plpgsql")
    });
    let bodies: Vec<u32> = bodies.map(|routine| routine.oid).collect();

    let all_rules: Vec<u32> = rules.values().flatten().copied().collect();
    let (mut views, mut written_rules, mut bodies, mut expressions) = (
        Definitions::read(client, &queries::views(), &views).await?,
        Definitions::read(client, &queries::rules(), &all_rules).await?,
        Definitions::read(client, &queries::bodies(), &bodies).await?,
        Definitions::read(client, &queries::expressions(), &generated).await?,
    );
    for relation in &mut contents.relations {
        relation.definition = views.take(relation.oid, 0);
        let own = rules.get(&relation.oid).into_iter().flatten();
        relation.rules = own.map(|rule| written_rules.take(*rule, 0).unwrap_or_default()).collect();
        for column in &mut relation.columns {
            if let Some(expression) = &mut column.generated {
                *expression = expressions.take(relation.oid, column.number).unwrap_or_default();
            } else if defaults.contains(&relation.oid) {
                column.default = expressions.take(relation.oid, column.number);
            }
        }
    }
    for routine in &mut contents.routines {
        routine.definition = bodies.take(routine.oid, 0);
    }
    Ok(views.complete && written_rules.complete && bodies.complete && expressions.complete)
}

/// What the server wrote out, by OID and, for columns, number.
struct Definitions {
    texts: HashMap<(u32, i16), String>,
    complete: bool,
}

impl Definitions {
    async fn read(client: &Client, query: &str, oids: &[u32]) -> Result<Self> {
        let mut read = Self { texts: HashMap::new(), complete: true };
        for oids in oids.chunks(DEFINITIONS_MAX) {
            let mut found = HashSet::new();
            for row in client.query_typed(query, &[(&oids, Type::OID_ARRAY)]).await? {
                let oid = row.try_get(0)?;
                let number = if row.len() > 2 { row.try_get(1)? } else { 0 };
                found.insert(oid);
                match row.try_get(row.len() - 1)? {
                    Some(text) => drop(read.texts.insert((oid, number), text)),
                    None => read.complete = false,
                }
            }
            read.complete &= found.len() == oids.len();
        }
        Ok(read)
    }

    fn take(&mut self, oid: u32, number: i16) -> Option<String> {
        self.texts.remove(&(oid, number))
    }
}

/// An array; nothing where it is null.
fn list<T: FromSqlOwned>(row: &Row, column: usize) -> Result<Vec<T>> {
    Ok(row.try_get::<_, Option<Vec<T>>>(column)?.unwrap_or_default())
}

fn firsts(rows: &[Row]) -> Result<HashSet<u32>> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn pairs(rows: &[Row]) -> Result<HashMap<u32, Vec<u32>>> {
    let mut pairs: HashMap<u32, Vec<u32>> = HashMap::new();
    for row in rows {
        pairs.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    Ok(pairs)
}

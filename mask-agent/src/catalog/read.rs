//! Reads a database's catalogs into what the core works on, or what has changed in them.
//!
//! What rows say is read in one transaction and so of one moment; `definitions` afterwards.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::Result;
use mask_core::catalog::{Catalog, Contents, Symbols};
use serde::Serialize;
use tokio_postgres::{Row, SimpleQueryMessage, error::SqlState};

use super::{
    definitions::{Missing, define},
    follow::follow,
    mark::{Mark, Opening, Seen},
    queries::{self, Scope},
    reader::Reader,
    rows::{self, Facts},
};
use crate::ledger::Identity;

/// Somebody's DDL may come between a row and its definition; twice in a row is bad luck.
const ATTEMPTS: u32 = 3;

pub(super) const BEGIN: &str = "begin isolation level repeatable read, read only";
pub(super) const COMMIT: &str = "commit";

/// What was read, and what to compare the server with next time.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) catalog: Arc<Catalog>,
    pub(super) mark: Mark,
    /// Relations with a default that calls a function of users.
    pub(super) defaults: HashSet<u32>,
    /// OIDs of rules by relation, in the order they are in.
    pub(super) rules: HashMap<u32, Vec<u32>>,
    /// OIDs of policies by relation.
    pub(super) policies: HashMap<u32, Vec<u32>>,
    pub(super) missing: Missing,
}

impl Known {
    /// What the server says that the database is.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.mark.identity()
    }

    /// What a session of the role began with that was opened then.
    pub(super) fn settings(&self) -> &str {
        self.mark.settings()
    }

    /// Whether a session that does nothing takes nobody's place.
    pub(super) fn leaves_room(&self) -> bool {
        self.mark.has_room()
    }

    /// Whether no definition is missing because somebody's DDL holds a table it reads.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// How much of the catalogs was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Extent {
    Changes,
    Everything,
    /// No transaction has ended since.
    Nothing,
}

/// Reads the catalogs, or what has changed since they were read before. The same snapshot comes back where nothing has.
pub(crate) async fn read(reader: &Reader, known: Option<&Known>) -> Result<(Known, Extent)> {
    let mut attempt = 1;
    loop {
        let opening = Opening::read(reader, known.map(|known| &known.mark)).await?;
        match read_once(reader, opening, known).await {
            Err(error) if attempt < ATTEMPTS && raced(&error) => {
                reader.run("rollback").await?;
                attempt += 1;
            }
            read => return read,
        }
    }
}

async fn read_once(reader: &Reader, opening: Opening, known: Option<&Known>) -> Result<(Known, Extent)> {
    let Opening { major, mut mark } = opening;
    if let Some(known) = known {
        if mark.is_same(&known.mark) && known.is_complete() {
            mark.counts = known.mark.counts;
            return Ok((Known { mark, ..known.clone() }, Extent::Nothing));
        }
        if let Some(since) = mark.since(&known.mark)
            && let Some(known) = Box::pin(follow(reader, mark.clone(), known, since)).await?
        {
            return Ok((known, Extent::Changes));
        }
    }
    // Kept out of the connection that waits for it: these are large, and a connection is small.
    let mut read = Box::pin(everything(reader, major, mark)).await?;
    if let Some(known) = known {
        read.share(known);
    }
    Ok((read, Extent::Everything))
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

impl Known {
    /// Takes the snapshot itself where it is the same: what was decided on it still holds.
    pub(super) fn share(&mut self, earlier: &Self) {
        if self.catalog == earlier.catalog {
            self.catalog = earlier.catalog.clone();
        }
    }
}

async fn everything(reader: &Reader, major: u16, mut mark: Mark) -> Result<Known> {
    let opened = reader.run(&format!("{BEGIN}; {}", queries::ANY_ROUTINE)).await?;
    let code = if opened.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
        Code::OfUsers
    } else {
        Code::BuiltIn
    };
    let (defaults, routines, user_names) = (queries::defaults(), queries::routines(), queries::user_names());
    let (relations, columns) = (queries::relations(Scope::All), queries::columns(Scope::All));
    let (types, arrays) = (queries::types(Scope::All), queries::arrays(Scope::All));
    let (constraints, counts) = (queries::constraints(Scope::All), queries::counts());
    let (operators, casts) = (queries::operators(), queries::casts());
    let (
        relations,
        columns,
        triggers,
        constraints,
        rules,
        policies,
        parents,
        defaults,
        routines,
        user_names,
        operators,
        casts,
        types,
        arrays,
        seen,
    ) = tokio::try_join!(
        reader.ask_once(&relations),
        reader.ask_once(&columns),
        reader.ask_once(queries::TRIGGERS),
        reader.ask_once(&constraints),
        reader.ask_once(queries::RULES),
        reader.ask_once(queries::POLICIES),
        reader.ask_once(queries::PARENTS),
        query_code(reader, code, &defaults),
        reader.ask_once(&routines),
        query_code(reader, code, &user_names),
        query_code(reader, code, &operators),
        query_code(reader, code, &casts),
        reader.ask_once(&types),
        reader.ask_once(&arrays),
        reader.ask_once(&counts),
    )?;
    reader.run(COMMIT).await?;
    mark.counts = Seen::new(&seen)?.counts;

    let mut wanted: HashSet<u32> = rows::composites(&types)?.into_iter().collect();
    wanted.extend(rows::firsts::<u32>(&relations)?);
    let mut symbols = Symbols::default();
    let mut columns = rows::columns(&columns, &wanted, &mut symbols)?;
    let mut contents = Contents {
        major,
        search_path: mark.search_path().map(<[String]>::to_vec),
        loose_collations: mark.loose_collations().clone(),
        ..Contents::default()
    };
    rows::add_types(&mut contents.types, &mut contents.type_names, &types, &columns)?;
    rows::add_arrays(&mut contents.types, &arrays)?;
    contents.user_names = rows::firsts(&user_names)?;
    contents.operators = rows::operators(&operators)?;
    contents.casts = rows::casts(&casts)?;
    let facts = Facts {
        triggers: rows::pairs(&triggers)?,
        constraints: rows::constraints(&constraints)?,
        parents: rows::pairs(&parents)?,
        rules: rows::pairs(&rules)?,
        policies: rows::pairs(&policies)?,
        defaults: rows::firsts(&defaults)?,
    };
    for row in relations {
        let (mut relation, row_type) = rows::relation(&row, &mut columns, &mut symbols)?;
        if row_type != 0 {
            contents.types.insert(row_type, rows::composite(&relation.columns));
        }
        facts.apply(&mut relation);
        contents.relations.push(relation);
    }
    contents.routines = routines.iter().map(rows::routine).collect::<Result<_>>()?;
    let (relations, routines) = (&mut contents.relations, &mut contents.routines);
    let missing = define(reader, relations, routines, |_| true, &facts).await?;
    let Facts { defaults, rules, policies, .. } = facts;
    Ok(Known { catalog: Arc::new(Catalog::new(contents)), mark, defaults, rules, policies, missing })
}

/// Whether a database has code of users.
#[derive(Clone, Copy)]
enum Code {
    BuiltIn,
    OfUsers,
}

/// What depends on code of users: nothing, where there is none.
async fn query_code(reader: &Reader, code: Code, text: &str) -> Result<Vec<Row>> {
    match code {
        Code::BuiltIn => Ok(Vec::new()),
        Code::OfUsers => reader.ask_once(text).await,
    }
}

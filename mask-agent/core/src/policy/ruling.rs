//! What the policy says of one statement: how each output is shown, what is refused, what is remembered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Classification,
    classify::PLACE,
    denial::Denial,
    given::{CopyIn, GivenRuling},
    rules::{Budgeted, Rules},
};
use crate::{
    catalog::{Catalog, Relation, RelationKind},
    lineage::{
        self, ColumnId, CopyOut, Effect, Executes, Holds, Keeps, Masked as _, Origins, Output, Outputs,
        Predicate, SYSTEM_COLUMNS, Standing, Statement, Usage, Write, WriteTarget,
    },
    masking::{CellRule, ColumnRule},
};

/// What happens to one output column, and why.
#[derive(Clone, Debug)]
pub struct ColumnRuling {
    /// Its name.
    pub name: String,
    /// What happens.
    pub cell: CellRule,
    /// The rule that said so.
    pub rule: Arc<str>,
    /// Columns the server may name as its origin; another one contradicts.
    pub origins: Origins,
    /// Its type, where it is a column's as it is.
    pub type_oid: u32,
    /// That type's modifier, -1 where there is none.
    pub type_modifier: i32,
}

/// What happens to the rows of a statement.
#[derive(Clone, Debug)]
pub enum Rows {
    /// These columns.
    Columns(Vec<ColumnRuling>),
    /// Those of a cursor, by its name.
    Cursor(String),
    /// Any number of columns, each like this.
    Each(Box<ColumnRuling>),
    /// None are expected; any that come are redacted.
    None,
    /// The plan of a prepared statement, by its name.
    Plan(String),
    /// Those of a prepared statement, by its name.
    Prepared(String),
}

/// A column that holds masked values from now on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Its relation's schema; empty for any.
    pub schema: String,
    /// Its relation's name.
    pub relation: String,
    /// Its name; `*` for any of the relation's.
    pub column: String,
    /// What it holds by that.
    pub holds: Holds,
    /// When it is masked for that.
    pub counts: Counts,
}

/// When a column is masked because it is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// From then on: masked values were put there.
    #[default]
    Always,
    /// Once no definition masks it any more: what a foreign key or a trigger brought there stays when that is gone.
    Undefined,
}

/// What is ruled on one statement.
#[derive(Clone, Debug)]
pub struct Ruled {
    /// Its rows.
    pub rows: Rows,
    /// The name it gives to its query.
    pub keeps: Option<Keeps>,
    /// Set where its rows leave as COPY data.
    pub copy: Option<CopyOut>,
    /// Whether its errors and notices may quote a masked value.
    pub withholds: bool,
    /// Uses of masked columns that cost budget, each as often as it stands there.
    pub budgeted: Vec<Budgeted>,
    /// Masked columns of which its failing may tell.
    pub computes: Vec<ColumnId>,
    /// Columns it puts masked values into.
    pub taints: Vec<Taint>,
    /// Columns that only definitions mask, where it may change one.
    pub defined: Vec<Taint>,
    /// What becomes of values the client gives with it.
    pub given: GivenRuling,
    /// Masked columns that its COPY data is put into.
    pub copy_in: Option<CopyIn>,
    /// The prepared statement it executes, whose uses it repeats.
    pub executes: Option<Executes>,
    /// It changes rows.
    pub writes: bool,
    /// Code it runs may read its text.
    pub reads_statement: bool,
    /// Why it is not sent.
    pub denial: Option<Denial>,
}

/// The rule of a column that is masked for what was put into it.
pub(super) const TAINTED: &str = "tainted";

/// Rules on one statement.
pub fn rule(statement: &Statement, catalog: &Catalog, classes: &Classification, rules: &Rules) -> Ruled {
    let judge = Judge { catalog, classes };
    let rows = match &statement.outputs {
        Outputs::Columns(columns) => {
            Rows::Columns(columns.iter().map(|output| judge.output(output)).collect())
        }
        Outputs::Cursor(name) => Rows::Cursor(name.clone()),
        Outputs::Each(origins) => Rows::Each(Box::new(judge.column(String::new(), origins))),
        Outputs::None => Rows::None,
        Outputs::Plan(name) => Rows::Plan(name.clone()),
        Outputs::Prepared(name) => Rows::Prepared(name.clone()),
    };
    let taints = judge.taints(&statement.writes);
    let used = judge.used(statement);
    let masked = statement.predicates.iter().filter(|use_| judge.is_masked(use_.column));
    // Of a whole row, each of its columns is asked of.
    let parts = masked.flat_map(|use_| {
        let columns = classes.masked_parts(catalog, [use_.column]);
        columns.into_iter().map(move |column| Predicate { column, ..*use_ })
    });
    let budgeted = parts
        .filter_map(|use_| {
            let holds = classes.holds(use_.column.relation, use_.column.number);
            Budgeted::of(&use_, holds, statement.definitions, rules)
        })
        .collect();
    let (given, writes_back) = judge.given(statement);
    let always = statement.refusal.clone().map(Denial::always);
    let denial = always
        .or_else(|| judge.denial(statement, &rows, &taints, &used, rules))
        .or(writes_back.map(Denial::always));
    let defined = match statement.effect {
        Effect::Catalog => classes.masked_by_definitions(catalog, &statement.renames),
        Effect::None | Effect::Settings => Vec::new(),
    };
    Ruled {
        rows,
        keeps: statement.keeps.clone(),
        copy: statement.copy.clone(),
        withholds: statement.may_quote || statement.is_opaque,
        budgeted,
        computes: statement.computes.clone(),
        executes: statement.executes.clone(),
        taints,
        defined,
        given,
        copy_in: judge.copy_in(statement),
        writes: !statement.writes.is_empty(),
        reads_statement: statement.reads_statement,
        denial,
    }
}

/// What triggers and defaults put where, whoever writes, and the columns they fill with masked values.
///
/// What cannot be traced there is its author's business: an operator made it, and clients cannot.
pub fn standing_taints(catalog: &Catalog, classes: &Classification) -> (Standing, Vec<Taint>) {
    let judge = Judge { catalog, classes };
    let standing = lineage::standing(catalog, classes);
    let mut writes = standing.writes.clone();
    for write in &mut writes {
        write.origins.untraceable = None;
        let mut values = write.origins.columns.iter().chain(&write.origins.views);
        if !values.any(|column| judge.is_masked(*column)) {
            // What a trigger of an operator does at times is asked about as ever; one of a client's is in the ledger.
            write.holds = Holds::Copies;
        }
    }
    let taints = judge.taints(&writes);
    (standing, taints)
}

/// What rulings on a statement go by.
pub(super) struct Judge<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) classes: &'a Classification,
}

impl Judge<'_> {
    pub(super) fn is_masked(&self, column: ColumnId) -> bool {
        self.classes.is_masked(column.relation, column.number)
    }

    /// Whether a value tells anything of a masked column, or of what nobody knows.
    pub(super) fn tells(&self, origins: &Origins) -> bool {
        origins.untraceable.is_some()
            || origins.all().any(|column| self.is_masked(column))
            || self.tells_by_null(&origins.nulls)
    }

    fn tells_by_null(&self, columns: &[ColumnId]) -> bool {
        let mut holds =
            columns.iter().filter_map(|column| self.classes.holds(column.relation, column.number));
        holds.any(Holds::tells_by_null)
    }

    fn output(&self, output: &Output) -> ColumnRuling {
        self.column(output.name.clone(), &output.origins)
    }

    fn column(&self, name: String, origins: &Origins) -> ColumnRuling {
        let (cell, rule) = self.cell(origins);
        let (type_oid, type_modifier) = match *origins.columns {
            [column] if origins.is_identity => self.type_of(column),
            _ => (0, -1),
        };
        ColumnRuling { name, cell, rule, origins: origins.clone(), type_oid, type_modifier }
    }

    pub(super) fn type_of(&self, column: ColumnId) -> (u32, i32) {
        let relation = self.catalog.relation(column.relation);
        let found =
            relation.and_then(|relation| relation.columns.iter().find(|known| known.number == column.number));
        found.map_or((0, -1), |column| (column.type_oid, column.type_modifier))
    }

    fn cell(&self, origins: &Origins) -> (CellRule, Arc<str>) {
        if origins.untraceable.is_some() {
            return (CellRule::Redact, "builtin:untraceable".into());
        }
        if !self.tells(origins) {
            return (CellRule::Clear, "default".into());
        }
        let implied = origins.implied.iter().any(|column| self.is_masked(*column));
        if origins.is_identity && !implied && self.tells_by_null(&origins.columns) {
            return (CellRule::Redact, TAINTED.into());
        }
        match self.identity(origins).filter(|_| !implied) {
            Some(rule) => (CellRule::Mask(rule.clone()), rule.rule.clone()),
            None if implied => (CellRule::Redact, "builtin:implied".into()),
            None => (CellRule::Redact, "builtin:derived".into()),
        }
    }

    /// The rule of the columns a value is one of, where all that have one have the same: the others are masked with
    /// them. Columns of views on the way count where a stored one has no rule of its own.
    pub(super) fn identity(&self, origins: &Origins) -> Option<&ColumnRule> {
        if !origins.is_identity {
            return None;
        }
        let rule_of = |column: &ColumnId| self.classes.column(column.relation, column.number);
        let stored: Vec<&ColumnRule> = origins.columns.iter().filter_map(rule_of).collect();
        let views = if stored.len() < origins.columns.len() { &*origins.views } else { &[] };
        let mut rules = stored.into_iter().chain(views.iter().filter_map(rule_of));
        let first = rules.next()?;
        rules.all(|rule| rule.rule == first.rule && rule.mask == first.mask).then_some(first)
    }

    /// Masked columns that are used without being shown, and how.
    pub(super) fn used(&self, statement: &Statement) -> Vec<(ColumnId, Usage)> {
        let uses = statement.predicates.iter();
        uses.filter(|use_| self.is_masked(use_.column)).map(|use_| (use_.column, use_.usage)).collect()
    }

    /// Columns that are given masked values and are not masked themselves.
    fn taints(&self, writes: &[Write]) -> Vec<Taint> {
        let mut taints = Vec::new();
        for write in writes.iter().filter(|write| self.taints_by(write) || self.marks(write)) {
            match &write.target {
                WriteTarget::New { schema, relation, column } => taints.push(Taint {
                    schema: schema.clone(),
                    relation: relation.clone(),
                    column: column.clone(),
                    holds: write.holds,
                    counts: Counts::Always,
                }),
                WriteTarget::Column(column) => taints.extend(self.taint(*column, write.holds)),
            }
        }
        taints.sort();
        taints.dedup();
        taints
    }

    /// Whether a write puts what tells of a masked column into one that is not masked.
    pub(super) fn taints_by(&self, write: &Write) -> bool {
        let masked = match write.target {
            WriteTarget::Column(column) => column.number > 0 && self.is_masked(column),
            WriteTarget::New { .. } => false,
        };
        !masked && self.tells(&write.origins)
    }

    /// Whether a write leaves something else in a masked column than values as they are, each in a row of its own.
    fn marks(&self, write: &Write) -> bool {
        let WriteTarget::Column(column) = write.target else { return false };
        if column.number == 0 || !self.is_masked(column) || !self.tells(&write.origins) {
            return false;
        }
        let before = self.classes.holds(column.relation, column.number);
        let values = write.origins.columns.iter().chain(&write.origins.views);
        let is_own =
            write.origins.all().filter(|origin| self.is_masked(*origin)).all(|origin| origin == column);
        // `set salary = salary * 1.1` leaves a salary, and what is there already may say whether a row is added. A copy is
        // its maker's to cut down.
        let is_ordinary = before.is_none()
            && is_own
            && (write.holds == Holds::Derived || !values.copied().any(|value| self.is_masked(value)));
        write.holds > Holds::Copies && before < Some(write.holds) && !is_ordinary
    }

    fn taint(&self, target: ColumnId, holds: Holds) -> Vec<Taint> {
        let Some(relation) = self.catalog.relation(target.relation) else { return Vec::new() };
        let columns = relation.columns.iter().filter(|column| match target.number {
            0 => self.classes.column(relation.oid, column.number).is_none(),
            number => column.number == number,
        });
        let schema = lasting_schema(relation);
        let is_touched = target.number == 0
            && relation.kind == RelationKind::Table
            && self.classes.column(relation.oid, SYSTEM_COLUMNS[0].1).is_none();
        let place = is_touched.then_some(PLACE).into_iter();
        columns
            .map(|column| &*column.name)
            .chain(place)
            .map(|column| Taint {
                schema: schema.to_owned(),
                relation: relation.name.to_string(),
                column: column.to_owned(),
                holds,
                counts: Counts::Always,
            })
            .collect()
    }
}

/// A relation's schema by a name that lasts: temporary ones are numbered anew for each session.
pub(super) fn lasting_schema(relation: &Relation) -> &str {
    if relation.schema.starts_with("pg_temp") { "pg_temp" } else { &relation.schema }
}

/// A column's name with its relation's and its schema's.
pub fn column_name(catalog: &Catalog, column: ColumnId) -> String {
    let Some(relation) = catalog.relation(column.relation) else { return format!("{}.?", column.relation) };
    let name = match column.number {
        0 => "*",
        number => {
            let system = SYSTEM_COLUMNS.iter().find(|(_, known)| *known == number);
            let known = relation.columns.iter().find(|known| known.number == number);
            known.map(|column| &*column.name).or(system.map(|(name, _)| *name)).unwrap_or("?")
        }
    };
    format!("{}.{}.{name}", relation.schema, relation.name)
}

#[cfg(test)]
#[path = "ruling_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "holds_tests.rs"]
mod holds_tests;

//! What is found in a statement and ruled on it, for people and programs to read.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde::Serialize;

use crate::{
    catalog::Catalog,
    lineage::{
        ColumnId, Env, LineageError, Origins, Outputs, Overlay, Refusal, Statement, Untraceable, Write,
        WriteTarget, analyse,
    },
    masking::CellRule,
    policy::{Classification, ColumnRuling, Denial, Rows, Use, column_name, rule},
    session::Snapshot,
};

/// Names of the columns every table has, by their number below zero.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"];

/// Origins of one output in a record: a short statement may have a thousand outputs, each made of a thousand columns.
const RECORDED_MAX: usize = 16;

/// What is said of a string of statements.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Each of its statements.
    pub statements: Vec<Explained>,
    /// Why the string cannot be read, and so is refused.
    pub error: Option<String>,
}

/// What is said of one statement.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// The grammar's name for it.
    pub command: &'static str,
    /// What it returns; none where that is no row, or the rows of another statement.
    pub outputs: Option<Vec<ExplainedOutput>>,
    /// The one output stands for any number of them.
    pub open: bool,
    /// Columns it uses without showing them.
    pub predicates: Vec<ExplainedUse>,
    /// What it puts where.
    pub writes: Vec<ExplainedWrite>,
    /// Why it is not sent.
    pub refusal: Option<ExplainedRefusal>,
    /// Masked columns that would have to be shown for nothing to be masked, redacted or refused for their sake.
    pub approval: Vec<String>,
}

/// One output column.
#[derive(Debug, Serialize)]
pub struct ExplainedOutput {
    /// Its name.
    pub name: String,
    /// Columns of tables it is made of; `*` is the whole row.
    pub origins: Vec<String>,
    /// Columns of views on the way.
    pub views: Vec<String>,
    /// Columns its being there tells about.
    pub implied: Vec<String>,
    /// It is one of its origins as it is.
    pub identity: bool,
    /// Why more may be in it.
    pub untraceable: Option<&'static str>,
    /// `clear`, `mask` or `redact`.
    pub ruling: &'static str,
    /// What said so.
    pub rule: Arc<str>,
    /// The kind of mask.
    pub mask: Option<&'static str>,
}

/// A column that is used without being shown.
#[derive(Debug, Serialize)]
pub struct ExplainedUse {
    /// The column.
    pub column: String,
    /// How.
    pub usage: &'static str,
    /// `allow`, `budget` or `refuse`; none where the column is not masked.
    pub ruling: Option<&'static str>,
}

/// A column that is given a value.
#[derive(Debug, Serialize)]
pub struct ExplainedWrite {
    /// The column.
    pub target: String,
    /// Columns of tables its value is made of; `*` is the whole row.
    pub origins: Vec<String>,
    /// Columns of views on the way.
    pub views: Vec<String>,
    /// Columns that the value's being there tells about.
    pub implied: Vec<String>,
    /// Why more may be in it.
    pub untraceable: Option<&'static str>,
    /// Whether the column would be masked from then on, were the statement sent.
    pub taints: bool,
}

/// Why a statement is not sent.
#[derive(Debug, Serialize)]
pub struct ExplainedRefusal {
    /// One machine-readable word.
    pub code: &'static str,
    /// The policy's key that says so, or `builtin:` and the code.
    pub rule: Cow<'static, str>,
    /// The masked columns it is for.
    pub columns: Vec<String>,
    /// Uses of them that pass.
    pub allowed: Vec<&'static str>,
    /// One sentence.
    pub message: String,
    /// What to do instead.
    pub hint: &'static str,
}

/// Explains a string of statements as the first of a new session.
pub fn explain(sql: &str, snapshot: &Snapshot) -> Report {
    let catalog = &*snapshot.catalog;
    let path = catalog.search_path().map(<[String]>::to_vec);
    let overlay = Overlay::default();
    let reading: Result<Vec<Statement>, LineageError> =
        analyse(sql, &Env { catalog, path, overlay: &overlay }, &snapshot.classes);
    match reading {
        Ok(statements) => {
            let explainer = Explainer { catalog, classes: &snapshot.classes, snapshot };
            let statements = statements.iter().map(|statement| explainer.statement(statement)).collect();
            Report { statements, error: None }
        }
        Err(error) => Report { statements: Vec::new(), error: Some(error.to_string()) },
    }
}

struct Explainer<'a> {
    catalog: &'a Catalog,
    classes: &'a Classification,
    snapshot: &'a Snapshot,
}

impl Explainer<'_> {
    fn statement(&self, statement: &Statement) -> Explained {
        let ruled = rule(statement, self.catalog, self.classes, &self.snapshot.rules);
        let mut needed = BTreeSet::new();
        let rulings = match &ruled.rows {
            Rows::Columns(columns) => Some(columns.as_slice()),
            Rows::Each(column) => Some(std::slice::from_ref(&**column)),
            Rows::Cursor(_) | Rows::None | Rows::Prepared(_) => None,
        };
        for ruling in rulings.unwrap_or_default() {
            needed.extend(self.masked(&ruling.origins));
        }
        let uses: BTreeSet<_> = statement.predicates.iter().copied().collect();
        let mut predicates = Vec::with_capacity(uses.len());
        for use_ in uses {
            let masked = self.classes.masked_parts(self.catalog, [use_.column]);
            let what = (!masked.is_empty()).then(|| self.snapshot.rules.of(use_.usage));
            if what == Some(Use::Refuse) {
                needed.extend(masked);
            }
            predicates.push(ExplainedUse {
                column: self.name(use_.column),
                usage: use_.usage.name(),
                ruling: what.map(word),
            });
        }
        needed.extend(ruled.denial.iter().flat_map(|denial| &denial.columns));
        Explained {
            command: statement.command,
            outputs: rulings.map(|rulings| rulings.iter().map(|ruling| self.output(ruling)).collect()),
            open: matches!(statement.outputs, Outputs::Each(_)),
            predicates,
            writes: statement.writes.iter().map(|write| self.write(write)).collect(),
            refusal: ruled.denial.map(|denial| self.refusal(denial)),
            approval: needed.into_iter().map(|column| self.name(column)).collect(),
        }
    }

    fn output(&self, ColumnRuling { name, cell, rule, origins, .. }: &ColumnRuling) -> ExplainedOutput {
        let (ruling, mask) = match cell {
            CellRule::Clear => ("clear", None),
            CellRule::Mask(rule) => ("mask", Some(rule.mask.name())),
            CellRule::Redact => ("redact", None),
        };
        ExplainedOutput {
            name: name.clone(),
            origins: self.names(&origins.columns),
            views: self.names(&origins.views),
            implied: self.names(&origins.implied),
            identity: origins.is_identity,
            untraceable: origins.untraceable.map(Untraceable::reason),
            ruling,
            rule: rule.clone(),
            mask,
        }
    }

    fn refusal(&self, Denial { refusal, rule, allowed, columns }: Denial) -> ExplainedRefusal {
        let Refusal { code, message, hint } = refusal;
        ExplainedRefusal { code, rule, columns: self.names(&columns), allowed, message, hint }
    }

    fn write(&self, write: &Write) -> ExplainedWrite {
        let target = match &write.target {
            WriteTarget::Column(column) => self.name(*column),
            WriteTarget::New { schema, relation, column } if schema.is_empty() => {
                format!("{relation}.{column}")
            }
            WriteTarget::New { schema, relation, column } => format!("{schema}.{relation}.{column}"),
        };
        ExplainedWrite {
            target,
            origins: self.names(&write.origins.columns),
            views: self.names(&write.origins.views),
            implied: self.names(&write.origins.implied),
            untraceable: write.origins.untraceable.map(Untraceable::reason),
            taints: self.taints(write),
        }
    }

    /// Whether a write puts what is masked, or may be, into a column that is not.
    fn taints(&self, write: &Write) -> bool {
        if write.origins.untraceable.is_none() && self.masked(&write.origins).is_empty() {
            return false;
        }
        match &write.target {
            WriteTarget::New { .. } => true,
            WriteTarget::Column(target) => self.catalog.relation(target.relation).is_some_and(|relation| {
                relation.columns.iter().any(|column| {
                    (target.number == 0 || column.number == target.number)
                        && self.classes.column(relation.oid, column.number).is_none()
                })
            }),
        }
    }

    /// Masked columns that a value tells about.
    fn masked(&self, origins: &Origins) -> Vec<ColumnId> {
        self.classes.masked_parts(self.catalog, origins.all())
    }

    fn names(&self, columns: &[ColumnId]) -> Vec<String> {
        columns.iter().map(|column| self.name(*column)).collect()
    }

    fn name(&self, column: ColumnId) -> String {
        name(self.catalog, column)
    }
}

/// A column's name with its relation's and its schema's, for columns every table has as well.
pub fn name(catalog: &Catalog, column: ColumnId) -> String {
    let system = usize::from(column.number.unsigned_abs()).checked_sub(1).filter(|_| column.number < 0);
    let system = system.and_then(|index| SYSTEM_COLUMNS.get(index));
    match (system, catalog.relation(column.relation)) {
        (Some(name), Some(relation)) => format!("{}.{}.{name}", relation.schema, relation.name),
        _ => column_name(catalog, column),
    }
}

/// The columns of tables a masked output is made of, for the trail; not all where there are very many.
pub fn origins(catalog: &Catalog, origins: &Origins) -> Vec<String> {
    let columns = origins.columns.iter().take(RECORDED_MAX);
    columns.map(|column| name(catalog, *column)).collect()
}

fn word(what: Use) -> &'static str {
    match what {
        Use::Allow => "allow",
        Use::Budget => "budget",
        Use::Refuse => "refuse",
    }
}

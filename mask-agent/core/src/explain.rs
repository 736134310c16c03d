//! What is found in a statement and ruled on it, for people and programs to read: on demand whole, in the trail
//! what concerns masked columns.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    catalog::Catalog,
    lineage::{
        ColumnId, Env, LineageError, Masked as _, Origins, Outputs, Overlay, Refusal, Statement, Untraceable,
        Usage, Write, WriteTarget, analyse,
    },
    masking::CellRule,
    policy::{self, Classification, ColumnRuling, Denial, Rows, Ruled, Snapshot, Use, column_name},
};

/// Names of the columns every table has, by their number below zero.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"];

/// Origins of one output in a record: a short statement may have a thousand outputs, each made of a thousand columns.
const RECORDED_MAX: usize = 16;
/// Outputs, uses and writes of one statement in a record, of each.
const FINDINGS_MAX: usize = 64;

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
    /// What would have to be approved for nothing to be masked, redacted or refused.
    pub approval: Option<Approval>,
}

/// What an approval of a statement would have to be for.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Masked columns it would have to show.
    pub show: Vec<String>,
    /// What it would have to admit: `definition`, `procedure`, or values that are `untraceable`.
    pub admit: BTreeSet<&'static str>,
    /// The refusal that holds whatever is approved.
    pub never: Option<&'static str>,
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
    /// Whether the value tells anything of a masked column, or of what nobody knows.
    #[serde(skip)]
    pub tells: bool,
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
        analyse(sql, &Env { catalog, path, overlay: &overlay }, &*snapshot.classes);
    match reading {
        Ok(statements) => {
            let explainer = Explainer { snapshot };
            let each = |statement| explainer.statement(statement, &snapshot.rule(statement));
            Report { statements: statements.iter().map(each).collect(), error: None }
        }
        Err(error) => Report { statements: Vec::new(), error: Some(error.to_string()) },
    }
}

/// What concerns masked columns in one statement, in the same words; none where nothing does.
///
/// It holds for all statements that differ in their literals only: there are names in it, and no values.
pub fn findings(statement: &Statement, ruled: &Ruled, snapshot: &Snapshot) -> Option<Explained> {
    let mut all = Explainer { snapshot }.statement(statement, ruled);
    if let Some(outputs) = &mut all.outputs {
        outputs.retain(|output| output.ruling != CLEAR);
        outputs.truncate(FINDINGS_MAX);
        for output in outputs {
            truncate([&mut output.origins, &mut output.views, &mut output.implied]);
        }
    }
    all.predicates.retain(|use_| use_.ruling.is_some());
    all.predicates.truncate(FINDINGS_MAX);
    all.writes.retain(|write| write.tells);
    all.writes.truncate(FINDINGS_MAX);
    for write in &mut all.writes {
        truncate([&mut write.origins, &mut write.views, &mut write.implied]);
    }
    if let Some(approval) = &mut all.approval {
        approval.show.truncate(FINDINGS_MAX);
    }
    let none = all.outputs.as_ref().is_none_or(Vec::is_empty)
        && all.predicates.is_empty()
        && all.writes.is_empty()
        && all.refusal.is_none();
    (!none).then_some(all)
}

fn truncate(lists: [&mut Vec<String>; 3]) {
    for list in lists {
        list.truncate(RECORDED_MAX);
    }
}

/// Findings of a string's statements as its records have them; none where there are none.
pub(crate) fn written(findings: &[Explained]) -> Option<Arc<RawValue>> {
    let written = (!findings.is_empty()).then(|| serde_json::value::to_raw_value(findings));
    // Nothing in it can fail to be written: its keys are names of fields.
    written?.ok().map(Into::into)
}

const CLEAR: &str = "clear";

struct Explainer<'a> {
    snapshot: &'a Snapshot,
}

impl Explainer<'_> {
    fn statement(&self, statement: &Statement, ruled: &Ruled) -> Explained {
        let rulings = match &ruled.rows {
            Rows::Columns(columns) => Some(columns.as_slice()),
            Rows::Each(column) => Some(std::slice::from_ref(&**column)),
            Rows::Cursor(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => None,
        };
        let uses = statement.predicates.iter().map(|use_| (use_.column, use_.usage));
        let uses: BTreeSet<(ColumnId, Usage)> = uses.collect();
        let predicates = uses.into_iter().map(|(column, usage)| {
            let is_masked = self.classes().is_masked(column.relation, column.number);
            let ruling = is_masked.then(|| word(self.snapshot.rules.of(usage)));
            ExplainedUse { column: self.name(column), usage: usage.name(), ruling }
        });
        Explained {
            command: statement.command,
            outputs: rulings.map(|rulings| rulings.iter().map(|ruling| self.output(ruling)).collect()),
            open: matches!(statement.outputs, Outputs::Each(_)),
            predicates: predicates.collect(),
            writes: statement.writes.iter().map(|write| self.write(write)).collect(),
            refusal: ruled.denial.clone().map(|denial| self.refusal(denial)),
            approval: self.approval(statement, ruled, rulings.unwrap_or_default()),
        }
    }

    fn approval(&self, statement: &Statement, ruled: &Ruled, outputs: &[ColumnRuling]) -> Option<Approval> {
        if let Some(refusal) = &statement.refusal {
            return Some(Approval { never: Some(refusal.code), ..Approval::default() });
        }
        let mut show = BTreeSet::new();
        let mut approval = Approval::default();
        let mut needs = |approval: &mut Approval, origins: &Origins| {
            show.extend(self.masked(origins));
            if origins.untraceable.is_some() {
                approval.admit.insert("untraceable");
            }
        };
        for output in outputs {
            needs(&mut approval, &output.origins);
        }
        let denials = policy::denials(statement, ruled, self.catalog(), self.classes(), &self.snapshot.rules);
        for Denial { refusal: Refusal { code, .. }, .. } in denials {
            match code {
                "side-channel" => {
                    statement.channels.iter().for_each(|channel| needs(&mut approval, &channel.origins));
                }
                "write-from-sensitive" => {
                    let tainting = statement.writes.iter().filter(|write| self.taints(write));
                    tainting.for_each(|write| needs(&mut approval, &write.origins));
                }
                "procedure" if statement.is_opaque && statement.command == "DoStmt" => {
                    approval.never = Some(code);
                }
                "definition" | "procedure" => drop(approval.admit.insert(code)),
                // What is derived or the server's was counted with the outputs, predicates are below.
                _ => {}
            }
        }
        for use_ in &statement.predicates {
            if self.snapshot.rules.of(use_.usage) == Use::Refuse {
                show.extend(self.classes().masked_parts(self.catalog(), [use_.column]));
            }
        }
        approval.show = show.into_iter().map(|column| self.name(column)).collect();
        (approval != Approval::default()).then_some(approval)
    }

    fn catalog(&self) -> &Catalog {
        &self.snapshot.catalog
    }

    fn classes(&self) -> &Classification {
        &self.snapshot.classes
    }

    fn output(&self, ColumnRuling { name, cell, rule, origins, .. }: &ColumnRuling) -> ExplainedOutput {
        let (ruling, mask) = match cell {
            CellRule::Clear => (CLEAR, None),
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
            tells: self.tells(write),
        }
    }

    /// Whether a write puts what is masked, or may be, into a column that is not.
    fn taints(&self, write: &Write) -> bool {
        if !self.tells(write) {
            return false;
        }
        match &write.target {
            WriteTarget::New { .. } => true,
            WriteTarget::Column(target) => self.catalog().relation(target.relation).is_some_and(|relation| {
                relation.columns.iter().any(|column| {
                    (target.number == 0 || column.number == target.number)
                        && self.classes().column(relation.oid, column.number).is_none()
                })
            }),
        }
    }

    fn tells(&self, write: &Write) -> bool {
        write.origins.untraceable.is_some() || !self.masked(&write.origins).is_empty()
    }

    /// Masked columns that a value tells about.
    fn masked(&self, origins: &Origins) -> Vec<ColumnId> {
        self.classes().masked_parts(self.catalog(), origins.all())
    }

    fn names(&self, columns: &[ColumnId]) -> Vec<String> {
        columns.iter().map(|column| self.name(*column)).collect()
    }

    fn name(&self, column: ColumnId) -> String {
        name(self.catalog(), column)
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

//! `RowDescription` to a plan for its rows.
//!
//! A client repeats a few statements, so the last descriptions and plans are kept: what was worked out for the
//! same description under the same trust and snapshot need not be worked out again.

use std::sync::Arc;

use super::{encoding::Encodings, frame::Fields, queue::Analysed};
use crate::{
    audit::MaskedColumn,
    catalog::{FIRST_USER_OID, RelationKind},
    explain,
    lineage::{ADDED, ColumnId, Masked as _, Shows},
    masking::{CellPlan, CellRule, Format, RowPlan},
    policy::{ColumnRuling, Rows, Snapshot},
};

/// Descriptions and plans kept per connection; more would be compared longer than they take to make.
const KEPT_MAX: usize = 8;

/// The last descriptions, and what was made of them.
#[derive(Default)]
pub(super) struct Outputs {
    shapes: Vec<Arc<Shape>>,
    plans: Vec<Planned>,
    /// Which entry the next one replaces.
    next: usize,
}

/// What happens to the rows of a shape.
pub(super) struct Planned {
    shape: Arc<Shape>,
    source: Option<Source>,
    formats: Option<Box<[i16]>>,
    pub(super) plan: Arc<RowPlan>,
    pub(super) columns: Arc<[MaskedColumn]>,
}

/// The statement rows come from: which of a string's.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) analysed: Arc<Analysed>,
    pub(super) part: usize,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.analysed, &other.analysed) && self.part == other.part
    }
}

impl Source {
    /// Whether its rows are the plan of a prepared statement.
    pub(super) fn shows_plan(&self) -> bool {
        let executes = self.analysed.parts.get(self.part).and_then(|part| part.executes.as_ref());
        executes.is_some_and(|executes| executes.shows == Shows::Plan)
    }

    /// What is ruled on its rows.
    pub(super) fn rows(&self) -> Option<&Rows> {
        self.analysed.parts.get(self.part).map(|part| &part.rows)
    }
}

impl Outputs {
    /// Forgets everything: the snapshot the plans were made from is no longer in force.
    pub(super) fn clear(&mut self) {
        self.shapes.clear();
        self.plans.clear();
    }

    /// The columns of a `RowDescription`'s body.
    pub(super) fn shape(&mut self, body: &[u8]) -> Option<Arc<Shape>> {
        if let Some(known) = self.shapes.iter().find(|shape| *shape.body == *body) {
            return Some(known.clone());
        }
        let shape = Arc::new(Shape::parse(body)?);
        put(&mut self.shapes, self.next, shape.clone());
        self.next = (self.next + 1) % KEPT_MAX;
        Some(shape)
    }

    /// What happens to the cells of each column, for rows of a source, or of none that is known; `makes` where this
    /// transaction has made relations no snapshot knows. `formats` as Bind gave them, or `None` to believe the
    /// description (it says text for a described statement, whatever Bind asks later).
    pub(super) fn plan(
        &mut self,
        shape: &Arc<Shape>,
        source: Option<&Source>,
        snapshot: &Snapshot,
        formats: Option<&[i16]>,
        makes: bool,
        encodings: &Encodings,
    ) -> &Planned {
        let known = self.plans.iter().position(|known| {
            Arc::ptr_eq(&known.shape, shape)
                && known.source.as_ref() == source
                && known.formats.as_deref() == formats
        });
        let at = known.unwrap_or_else(|| {
            let rulings = Shape::rulings(source);
            let mut plan = shape.plan(rulings, snapshot, formats, makes, encodings);
            if source.is_some_and(|source| source.analysed.is_anew) {
                plan = shape.named_only(&plan);
            }
            let plan = Arc::new(plan);
            let columns = shape.masked(&plan, rulings, snapshot).into();
            let formats = formats.map(Into::into);
            let planned = Planned { shape: shape.clone(), source: source.cloned(), formats, plan, columns };
            self.next = (self.next + 1) % KEPT_MAX;
            put(&mut self.plans, self.next, planned)
        });
        &self.plans[at]
    }
}

/// Puts an entry at a place, or at the end while there is room; where it then is.
fn put<T>(entries: &mut Vec<T>, at: usize, entry: T) -> usize {
    if entries.len() < KEPT_MAX {
        entries.push(entry);
        entries.len() - 1
    } else {
        entries[at] = entry;
        at
    }
}

/// One output column as the server describes it.
#[derive(Debug)]
struct Column {
    name: Vec<u8>,
    relation: u32,
    number: i16,
    type_oid: u32,
    type_modifier: i32,
    format: i16,
}

/// The output columns of a statement.
#[derive(Debug)]
pub(super) struct Shape {
    /// As it came.
    body: Box<[u8]>,
    columns: Vec<Column>,
}

impl Shape {
    /// Parses the body of a `RowDescription`.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(body);
        let count = usize::try_from(fields.int16()?).ok()?;
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let name = fields.string()?.to_vec();
            let relation = fields.oid()?;
            let number = fields.int16()?;
            let type_oid = fields.oid()?;
            let _length = fields.int16()?;
            let type_modifier = fields.int32()?;
            let format = fields.int16()?;
            columns.push(Column { name, relation, number, type_oid, type_modifier, format });
        }
        fields.is_empty().then(|| Self { body: body.into(), columns })
    }

    /// Whether it tells of a column the snapshot does not know.
    pub(super) fn has_stranger(&self, snapshot: &Snapshot) -> bool {
        self.columns.iter().any(|column| column.is_unknown(snapshot))
    }

    fn rulings(source: Option<&Source>) -> Option<&Rows> {
        source.and_then(Source::rows)
    }

    fn plan(
        &self,
        rows: Option<&Rows>,
        snapshot: &Snapshot,
        formats: Option<&[i16]>,
        makes: bool,
        encodings: &Encodings,
    ) -> RowPlan {
        let cells = self.columns.iter().enumerate().map(|(index, column)| {
            let format = match formats {
                None => column.format,
                Some([]) => 0,
                Some([all]) => *all,
                Some(each) => each.get(index).copied().unwrap_or(0),
            };
            encodings.fit(CellPlan {
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                format: if format == 0 { Format::Text } else { Format::Binary },
                rule: column.rule(ruling(rows, index, self.columns.len()), snapshot, makes),
                shape: snapshot.catalog.type_shape(column.type_oid).cloned(),
            })
        });
        RowPlan::new(cells.collect())
    }

    /// Of a plan, only what the server says is a table's column.
    fn named_only(&self, plan: &RowPlan) -> RowPlan {
        let cells = self.columns.iter().zip(plan.cells()).map(|(column, cell)| {
            let mut cell = cell.clone();
            if column.relation == 0 || column.number <= 0 {
                cell.rule = CellRule::Redact;
            }
            cell
        });
        RowPlan::new(cells.collect())
    }

    /// The columns a plan masks, for the audit trail.
    fn masked(&self, plan: &RowPlan, rows: Option<&Rows>, snapshot: &Snapshot) -> Vec<MaskedColumn> {
        let columns = self.columns.iter().zip(plan.cells()).enumerate();
        columns
            .filter_map(|(index, (column, cell))| {
                let ruling = ruling(rows, index, self.columns.len());
                let is_redacted = matches!(cell.rule, CellRule::Redact);
                // One that would show a redacted cell was contradicted.
                let ruling = ruling.filter(|ruling| !is_redacted || matches!(ruling.cell, CellRule::Redact));
                let (rule, mask) = match &cell.rule {
                    CellRule::Clear => return None,
                    CellRule::Mask(rule) => (rule.rule.clone(), rule.mask.name()),
                    CellRule::Redact => {
                        let rule = ruling.map(|ruling| ruling.rule.clone());
                        (rule.unwrap_or_else(|| "builtin:contradicted".into()), "redact")
                    }
                };
                let origins = ruling.map(|ruling| explain::origins(&snapshot.catalog, &ruling.origins));
                let name = String::from_utf8_lossy(&column.name).into_owned();
                Some(MaskedColumn { name, rule, mask, origins: origins.unwrap_or_default() })
            })
            .collect()
    }
}

/// What is ruled on the column at a place, where there are as many as the server says.
fn ruling(rows: Option<&Rows>, index: usize, count: usize) -> Option<&ColumnRuling> {
    match rows? {
        Rows::Columns(columns) if columns.len() == count => columns.get(index),
        Rows::Each(column) => Some(column),
        Rows::Columns(_) | Rows::Cursor(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => None,
    }
}

/// What happens to a column by now: its statement may have been sent before masked values were put where it reads.
pub(super) fn current(ruling: &ColumnRuling, snapshot: &Snapshot) -> CellRule {
    let origins = &ruling.origins;
    let mut all = origins.columns.iter().chain(&origins.views).chain(&origins.implied);
    let is_masked = |column: &ColumnId| snapshot.classes.is_masked(column.relation, column.number);
    match ruling.cell {
        CellRule::Clear if all.any(is_masked) => CellRule::Redact,
        CellRule::Clear | CellRule::Mask(_) | CellRule::Redact => ruling.cell.clone(),
    }
}

impl Column {
    fn rule(&self, ruling: Option<&ColumnRuling>, snapshot: &Snapshot, makes: bool) -> CellRule {
        match ruling {
            Some(ruling) if !self.contradicts(ruling, snapshot, makes) => current(ruling, snapshot),
            Some(_) | None => CellRule::Redact,
        }
    }

    /// Whether the snapshot does not know the column the server names.
    fn is_unknown(&self, snapshot: &Snapshot) -> bool {
        self.relation >= FIRST_USER_OID
            && self.number >= 0
            && snapshot.catalog.relation(self.relation).is_none_or(|relation| {
                self.number > 0 && relation.columns.iter().all(|column| column.number != self.number)
            })
    }

    /// Whether the server names another origin than was traced: a name then means something else than was
    /// thought. That it names none says nothing.
    fn contradicts(&self, ruling: &ColumnRuling, snapshot: &Snapshot, makes: bool) -> bool {
        if self.relation == 0 || self.number < 0 || matches!(ruling.cell, CellRule::Redact) {
            return false;
        }
        let Some(relation) = snapshot.catalog.relation(self.relation) else {
            return !(makes && self.relation >= FIRST_USER_OID);
        };
        let is_added = relation.columns.iter().all(|column| column.number != self.number);
        let number = if makes && is_added && self.number > 0 { ADDED } else { self.number };
        let id = ColumnId { relation: self.relation, number };
        if self.number == 0 {
            return snapshot.classes.is_sensitive(self.relation);
        }
        let origins = &ruling.origins;
        let user = self.relation >= FIRST_USER_OID
            && !matches!(&*relation.schema, "pg_catalog" | "information_schema");
        match relation.kind {
            RelationKind::View | RelationKind::MaterializedView if user => !origins.views.contains(&id),
            RelationKind::Foreign
            | RelationKind::MaterializedView
            | RelationKind::Other
            | RelationKind::Table
            | RelationKind::View => !origins.columns.contains(&id),
        }
    }
}

//! `RowDescription` to a plan for its rows.
//!
//! A client repeats a few statements, so the last descriptions and plans are kept: what was worked out for the
//! same description under the same trust and snapshot need not be worked out again.

use std::sync::Arc;

use super::frame::Fields;
use crate::{
    audit::MaskedColumn,
    catalog::{FIRST_USER_OID, RelationKind},
    lineage::Trust,
    masking::{CellPlan, CellRule, Format, RowPlan},
    session::Snapshot,
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
    trust: Trust,
    formats: Option<Box<[i16]>>,
    pub(super) plan: Arc<RowPlan>,
    pub(super) columns: Arc<[MaskedColumn]>,
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

    /// What happens to the cells of each column; `formats` as Bind gave them, or `None` to believe the
    /// description (it says text for a described statement, whatever Bind asks later).
    pub(super) fn plan(
        &mut self,
        shape: &Arc<Shape>,
        trust: Trust,
        snapshot: &Snapshot,
        formats: Option<&[i16]>,
    ) -> &Planned {
        let known = self.plans.iter().position(|known| {
            Arc::ptr_eq(&known.shape, shape) && known.trust == trust && known.formats.as_deref() == formats
        });
        let at = known.unwrap_or_else(|| {
            let plan = Arc::new(shape.plan(trust, snapshot, formats));
            let columns = shape.masked(&plan).into();
            let formats = formats.map(Into::into);
            let planned = Planned { shape: shape.clone(), trust, formats, plan, columns };
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

    /// Whether a column comes from a relation the snapshot does not know.
    pub(super) fn has_stranger(&self, snapshot: &Snapshot) -> bool {
        self.columns.iter().any(|column| {
            column.relation >= FIRST_USER_OID && snapshot.catalog.relation(column.relation).is_none()
        })
    }

    fn plan(&self, trust: Trust, snapshot: &Snapshot, formats: Option<&[i16]>) -> RowPlan {
        let cells = self.columns.iter().enumerate().map(|(index, column)| {
            let format = match formats {
                None => column.format,
                Some([]) => 0,
                Some([all]) => *all,
                Some(each) => each.get(index).copied().unwrap_or(0),
            };
            CellPlan {
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                format: if format == 0 { Format::Text } else { Format::Binary },
                rule: column.rule(trust, snapshot),
                shape: snapshot.catalog.type_shape(column.type_oid).cloned(),
            }
        });
        RowPlan::new(cells.collect())
    }

    /// The columns a plan masks, for the audit trail.
    fn masked(&self, plan: &RowPlan) -> Vec<MaskedColumn> {
        let pairs = self.columns.iter().zip(plan.cells());
        pairs
            .filter_map(|(column, cell)| {
                let (rule, mask) = match &cell.rule {
                    CellRule::Clear => return None,
                    CellRule::Mask(rule) => (rule.rule.clone(), rule.mask.name()),
                    CellRule::Redact => ("builtin:underivable".into(), "redact"),
                };
                Some(MaskedColumn { name: String::from_utf8_lossy(&column.name).into_owned(), rule, mask })
            })
            .collect()
    }
}

impl Column {
    fn rule(&self, trust: Trust, snapshot: &Snapshot) -> CellRule {
        let classified = snapshot.classes.column(self.relation, self.number);
        match trust {
            Trust::Plain => classified.map_or(CellRule::Clear, |rule| CellRule::Mask(rule.clone())),
            Trust::Opaque => CellRule::Redact,
            Trust::Origins => self.rule_by_origin(snapshot),
        }
    }

    fn rule_by_origin(&self, snapshot: &Snapshot) -> CellRule {
        let Some(relation) = snapshot.catalog.relation(self.relation) else { return CellRule::Redact };
        let classified = snapshot.classes.column(self.relation, self.number);
        let known = relation.columns.iter().any(|column| column.number == self.number);
        match relation.kind {
            // A view's column names the view, not what it is made of.
            RelationKind::View | RelationKind::MaterializedView
                if self.relation >= FIRST_USER_OID || classified.is_some() =>
            {
                CellRule::Redact
            }
            RelationKind::Other => CellRule::Redact,
            RelationKind::Foreign
            | RelationKind::MaterializedView
            | RelationKind::Table
            | RelationKind::View => match classified {
                Some(rule) => CellRule::Mask(rule.clone()),
                // Number 0 is the whole row, which carries every column.
                None if known || self.number < 0 => CellRule::Clear,
                None => CellRule::Redact,
            },
        }
    }
}

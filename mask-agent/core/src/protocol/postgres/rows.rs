//! `RowDescription` to a plan for its rows.

use super::frame::Fields;
use crate::{
    catalog::{FIRST_USER_OID, RelationKind},
    lineage::Trust,
    masking::{CellPlan, CellRule, Format, RowPlan},
    session::Snapshot,
};

/// One output column as the server describes it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: Vec<u8>,
    relation: u32,
    number: i16,
    type_oid: u32,
    type_modifier: i32,
    format: i16,
}

/// The output columns of a statement.
#[derive(Clone, Debug)]
pub(super) struct Shape {
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
        fields.is_empty().then_some(Self { columns })
    }

    /// Whether a column comes from a relation the snapshot does not know.
    pub(super) fn has_stranger(&self, snapshot: &Snapshot) -> bool {
        self.columns.iter().any(|column| {
            column.relation >= FIRST_USER_OID && snapshot.catalog.relation(column.relation).is_none()
        })
    }

    /// What happens to the cells of each column; `formats` as Bind gave them, or `None` to believe the
    /// description (it says text for a described statement, whatever Bind asks later).
    pub(super) fn plan(&self, trust: &Trust, snapshot: &Snapshot, formats: Option<&[i16]>) -> RowPlan {
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

    /// The columns a plan masks: name, rule and kind, for the audit trail.
    pub(super) fn masked(&self, plan: &RowPlan) -> Vec<(String, String, String)> {
        let pairs = self.columns.iter().zip(plan.cells());
        pairs
            .filter_map(|(column, cell)| {
                let name = String::from_utf8_lossy(&column.name).into_owned();
                match &cell.rule {
                    CellRule::Clear => None,
                    CellRule::Mask(rule) => Some((name, rule.rule.to_string(), rule.mask.name().to_owned())),
                    CellRule::Redact => Some((name, "builtin:underivable".to_owned(), "redact".to_owned())),
                }
            })
            .collect()
    }
}

impl Column {
    fn rule(&self, trust: &Trust, snapshot: &Snapshot) -> CellRule {
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

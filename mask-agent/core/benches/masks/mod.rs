//! Rows of ten columns of which one is masked.

use std::sync::Arc;

use mask_core::masking::{
    CellPlan, CellRule, ColumnRule, DateUnit, Format, FpeShape, Generalise, MaskKey, MaskKind, RowPlan,
    mask_row,
};

/// A type's OID.
pub const TEXT: u32 = 25;
const TEXT_ARRAY: u32 = 1009;
const DATE: u32 = 1082;
/// Columns of a row.
pub const COLUMNS: u16 = 10;
/// The one that is masked.
pub const MASKED: u16 = 4;
/// Different rows.
pub const ROWS: usize = 100;

/// Rows, and how they are masked.
pub struct Rows {
    plan: RowPlan,
    key: MaskKey,
    rows: Vec<Vec<u8>>,
    next: usize,
    out: Vec<u8>,
}

impl Rows {
    /// Those of a case.
    pub fn of(name: &str) -> Option<Self> {
        let (_, kind, type_oid, value) = cases().into_iter().find(|case| case.0 == name)?;
        let rule = kind.map_or(CellRule::Clear, |kind| {
            CellRule::Mask(ColumnRule { rule: "email".into(), mask: Arc::new(kind) })
        });
        let cell = |column| {
            let (rule, type_oid) =
                if column == MASKED { (rule.clone(), type_oid) } else { (CellRule::Clear, TEXT) };
            CellPlan { type_oid, type_modifier: -1, format: Format::Text, rule, shape: None }
        };
        Some(Self {
            plan: RowPlan::new((0..COLUMNS).map(cell).collect()),
            key: MaskKey::new([7; 32]),
            // How far a card walks differs from one to the next.
            rows: (0..ROWS).map(|row| body(&other(value, row))).collect(),
            next: 0,
            out: Vec::with_capacity(1_024),
        })
    }

    /// Masks the next one.
    pub fn mask(&mut self) -> usize {
        self.out.clear();
        let row = &self.rows[self.next];
        self.next = (self.next + 1) % ROWS;
        mask_row(&self.key, &self.plan, row, &mut self.out).expect("the row is as its plan says");
        self.out.len()
    }
}

fn token(reversible: bool) -> MaskKind {
    MaskKind::Token { scope: None, reversible }
}

/// Kind, type and value of the masked column.
pub fn cases() -> Vec<(&'static str, Option<MaskKind>, u32, &'static str)> {
    let year = Generalise { date: DateUnit::Year, bucket: 10, prefix4: 24, prefix6: 64 };
    vec![
        ("none", None, TEXT, "ana.canary@example.org"),
        ("redact", Some(MaskKind::Redact { placeholder: None }), TEXT, "ana.canary@example.org"),
        ("pattern", Some(MaskKind::Pattern), TEXT, "ana.canary@example.org"),
        ("hash", Some(MaskKind::Hash), TEXT, "ana.canary@example.org"),
        ("token", Some(token(false)), TEXT, "ana.canary@example.org"),
        ("token of an array of two", Some(token(false)), TEXT_ARRAY, "{ana.canary@example.org,bob}"),
        ("token, reversible", Some(token(true)), TEXT, "ana.canary@example.org"),
        ("fpe card", Some(MaskKind::Fpe(FpeShape::Card)), TEXT, "4111 1111 1111 1111"),
        ("fpe digits", Some(MaskKind::Fpe(FpeShape::Digits)), TEXT, "078-05-1120"),
        ("fpe email", Some(MaskKind::Fpe(FpeShape::Email)), TEXT, "ana.canary@example.org"),
        ("fpe iban", Some(MaskKind::Fpe(FpeShape::Iban)), TEXT, "DE89370400440532013000"),
        ("fpe phone", Some(MaskKind::Fpe(FpeShape::Phone)), TEXT, "+49 30 901820"),
        ("generalise date", Some(MaskKind::Generalise(year)), DATE, "1957-06-25"),
    ]
}

/// The value with two digits changed, or two letters where it has no digits.
pub fn other(value: &str, row: usize) -> String {
    let mut bytes = value.as_bytes().to_vec();
    let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
    let (first, places) = if digits.is_empty() { (b'a', [1, 2]) } else { (b'0', [digits[6], digits[7]]) };
    for (place, number) in places.into_iter().zip([row / 10, row % 10]) {
        bytes[place] = first + number as u8;
    }
    String::from_utf8(bytes).expect("ASCII")
}

/// A `DataRow` of text with this value as the masked column.
pub fn body(masked: &str) -> Vec<u8> {
    let mut body = COLUMNS.to_be_bytes().to_vec();
    for column in 0..COLUMNS {
        let value = if column == MASKED { masked } else { "a value of twenty chars" };
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body
}

//! Values in, masked values out; the only maker of bytes for the client.
//!
//! Rows are walked in place: cells that stay are copied in runs, and only masked cells are looked at.

/// Bytes that may leave for the client.
pub mod gate;
/// Shape-keeping masks of text.
mod kind;
/// A type's constant, in text and in binary.
mod redact;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use crate::{catalog::TypeShape, policy::ColumnRule};

/// The key of hash masks.
#[derive(Clone)]
pub struct MaskKey(Hmac<Sha256>);

impl MaskKey {
    /// Prepares a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        // HMAC pads a short key with zeros to the block of 64 bytes.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&bytes);
        Self(Hmac::new(&block.into()))
    }
}

/// How a value stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The type's binary form.
    Binary,
    /// The type's text form.
    Text,
}

/// What happens to the cells of a column.
#[derive(Clone, Debug)]
pub enum CellRule {
    /// They stay.
    Clear,
    /// They are values of a classified column.
    Mask(ColumnRule),
    /// They are derived or of unknown origin: the type's constant.
    Redact,
}

/// One column of a row plan.
#[derive(Clone, Debug)]
pub struct CellPlan {
    /// The type's OID.
    pub type_oid: u32,
    /// The type's modifier, -1 where there is none.
    pub type_modifier: i32,
    /// Text or binary.
    pub format: Format,
    /// What happens.
    pub rule: CellRule,
    /// How a type that is not built in is made.
    pub shape: Option<TypeShape>,
}

/// What happens to each cell of a row.
#[derive(Debug)]
pub struct RowPlan {
    cells: Vec<CellPlan>,
    clear: bool,
}

impl RowPlan {
    /// A plan for rows of exactly these cells.
    pub fn new(cells: Vec<CellPlan>) -> Self {
        let clear = cells.iter().all(|cell| matches!(cell.rule, CellRule::Clear));
        Self { cells, clear }
    }

    /// Whether every cell stays.
    pub fn is_clear(&self) -> bool {
        self.clear
    }

    /// The columns in order.
    pub fn cells(&self) -> &[CellPlan] {
        &self.cells
    }
}

/// Why a row cannot be masked, and so not shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The row and its description disagree.
    #[error("row has {got} cells, the row description announced {want}")]
    CellCount {
        /// Cells in the row.
        got: usize,
        /// Cells announced.
        want: usize,
    },
    /// Bytes stand behind the last cell.
    #[error("row has bytes behind its last cell")]
    TrailingBytes,
    /// The row ends inside a cell.
    #[error("row ends inside a cell")]
    Truncated,
}

/// Appends the masked `DataRow` frame of a row's body; the number of cells masked.
///
/// # Errors
/// When the body is not a row of exactly the planned cells; what was appended is then taken back.
pub fn mask_row(key: &MaskKey, plan: &RowPlan, body: &[u8], out: &mut Vec<u8>) -> Result<u64, MaskError> {
    let start = out.len();
    out.extend_from_slice(&[b'D', 0, 0, 0, 0]);
    let result = mask_cells(key, plan, body, out);
    match result {
        Ok(masked) => {
            let length = u32::try_from(out.len() - start - 1).unwrap_or(u32::MAX);
            out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
            Ok(masked)
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn mask_cells(key: &MaskKey, plan: &RowPlan, body: &[u8], out: &mut Vec<u8>) -> Result<u64, MaskError> {
    let count = body.first_chunk::<2>().ok_or(MaskError::Truncated)?;
    let got = usize::from(u16::from_be_bytes(*count));
    if got != plan.cells.len() {
        return Err(MaskError::CellCount { got, want: plan.cells.len() });
    }
    let mut masked = 0;
    // What stands before `kept` is already in `out`.
    let mut kept = 0;
    let mut at = 2;
    for cell in &plan.cells {
        let length = body.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
        let length = i32::from_be_bytes(*length.ok_or(MaskError::Truncated)?);
        // NULL stays NULL, whatever the rule.
        let Ok(length) = usize::try_from(length) else {
            at += 4;
            continue;
        };
        let value = body.get(at + 4..at + 4 + length).ok_or(MaskError::Truncated)?;
        if !matches!(cell.rule, CellRule::Clear) {
            out.extend_from_slice(&body[kept..at]);
            mask_cell(key, cell, value, out);
            kept = at + 4 + length;
            masked += 1;
        }
        at += 4 + length;
    }
    if at != body.len() {
        return Err(MaskError::TrailingBytes);
    }
    out.extend_from_slice(&body[kept..]);
    Ok(masked)
}

/// Appends length and value; a value no mask fits is NULL.
fn mask_cell(key: &MaskKey, cell: &CellPlan, value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let fits = match &cell.rule {
        CellRule::Clear => false,
        CellRule::Mask(rule) => {
            kind::mask(key, &rule.mask, cell, value, out) || redact::value(&rule.mask, cell, out)
        }
        CellRule::Redact => redact::constant(cell, out),
    };
    let length = if fits {
        u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX)
    } else {
        out.truncate(start + 4);
        u32::MAX
    };
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::MaskKind;

    fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            let length = cell.map_or(-1, |cell| cell.len() as i32);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(cell.unwrap_or_default());
        }
        body
    }

    fn plan(rules: &[CellRule]) -> RowPlan {
        let cell = |rule: &CellRule| CellPlan {
            type_oid: redact::TEXT,
            type_modifier: -1,
            format: Format::Text,
            rule: rule.clone(),
            shape: None,
        };
        RowPlan::new(rules.iter().map(cell).collect())
    }

    fn mask(kind: MaskKind) -> CellRule {
        CellRule::Mask(ColumnRule { rule: "test".into(), mask: Arc::new(kind) })
    }

    fn masked(rule: CellRule, value: &str) -> String {
        let mut out = Vec::new();
        mask_row(&MaskKey::new([7; 32]), &plan(&[rule]), &row(&[Some(value.as_bytes())]), &mut out).unwrap();
        String::from_utf8(out[11..].to_vec()).unwrap()
    }

    #[test]
    fn each_kind_does_what_its_name_says() {
        assert_eq!(masked(CellRule::Redact, "secret"), "***");
        assert_eq!(masked(mask(MaskKind::Redact { placeholder: Some("—".into()) }), "secret"), "—");
        assert_eq!(masked(mask(MaskKind::Pattern), "Ana7@x.org"), "Xxx0@x.xxx");
        assert_eq!(
            masked(mask(MaskKind::Partial { first: 0, last: 4 }), "4111111111111111"),
            "************1111"
        );
        assert_eq!(masked(mask(MaskKind::Partial { first: 2, last: 4 }), "12345"), "*****");
        let hash = masked(mask(MaskKind::Hash), "secret");
        assert_eq!(hash, masked(mask(MaskKind::Hash), "secret"));
        assert!(hash.len() == 32 && hash != masked(mask(MaskKind::Hash), "secres"));
    }

    #[test]
    fn what_is_not_masked_stays_byte_for_byte_and_null_stays_null() {
        let plan = plan(&[CellRule::Clear, CellRule::Redact, CellRule::Clear, CellRule::Redact]);
        let body = row(&[Some(b"left"), Some(b"secret"), Some(b""), None]);
        let mut out = Vec::new();
        assert_eq!(mask_row(&MaskKey::new([7; 32]), &plan, &body, &mut out), Ok(1));
        assert_eq!(out[5..], row(&[Some(b"left"), Some(b"***"), Some(b""), None]));
        assert_eq!(out[1..5], u32::to_be_bytes(out.len() as u32 - 1));
    }

    #[test]
    fn a_row_cut_anywhere_is_an_error_and_leaves_nothing() {
        let plan = plan(&[CellRule::Clear, CellRule::Redact]);
        let body = row(&[Some(b"left"), Some(b"secret")]);
        for cut in 0..body.len() {
            let mut out = Vec::new();
            mask_row(&MaskKey::new([7; 32]), &plan, &body[..cut], &mut out).unwrap_err();
            assert!(out.is_empty());
        }
    }
}

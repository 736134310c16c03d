//! The walk over a row.

use super::{CellPlan, CellRule, MaskError, MaskKey, RowPlan, kind::ValueMask, redact, style::Styled};
use crate::policy::MaskKind;

/// What is done to one cell, worked out before the first row.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing.
    Clear,
    /// Replaced by these bytes, length included.
    Constant(Box<[u8]>),
    /// Replaced by the type's constant, written as the value is.
    Styled(Styled),
    /// Replaced by what a mask makes of it.
    Value(ValueMask),
}

impl Step {
    pub(super) fn new(cell: &CellPlan) -> Self {
        let (rule, placeholder) = match &cell.rule {
            CellRule::Clear => return Self::Clear,
            CellRule::Redact => return Self::constant(cell, None),
            CellRule::Mask(rule) => match &*rule.mask {
                MaskKind::Null => return Self::Constant(redact::NULL.into()),
                MaskKind::Redact { placeholder } => (rule, placeholder.as_deref()),
                MaskKind::Hash | MaskKind::Partial { .. } | MaskKind::Pattern => (rule, None),
            },
        };
        match ValueMask::new(rule, cell) {
            Some(mask) => Self::Value(mask.or(redact::cell(cell, placeholder))),
            None => Self::constant(cell, placeholder),
        }
    }

    /// Makes the cell that is shown for a value, length included; false where the value stays.
    pub(super) fn replace(&self, key: &MaskKey, value: &[u8], cell: &mut Vec<u8>) -> bool {
        cell.clear();
        match self {
            Self::Clear => return false,
            Self::Constant(constant) => cell.extend_from_slice(constant),
            Self::Styled(styled) => {
                let constant = styled.constant(value);
                cell.extend_from_slice(&[0; 4]);
                put_length(cell, 0, constant.len());
                cell.extend_from_slice(constant);
            }
            Self::Value(mask) => mask.apply(key, value, cell),
        }
        true
    }

    fn constant(cell: &CellPlan, placeholder: Option<&str>) -> Self {
        Styled::of(cell).map_or_else(|| Self::Constant(redact::cell(cell, placeholder)), Self::Styled)
    }
}

/// Appends the masked `DataRow` frame of a row's body; the number of cells masked.
///
/// # Errors
/// When the body is not a row of exactly the planned cells; what was appended is then taken back.
pub fn mask_row(key: &MaskKey, plan: &RowPlan, body: &[u8], out: &mut Vec<u8>) -> Result<u64, MaskError> {
    let start = out.len();
    out.extend_from_slice(&[b'D', 0, 0, 0, 0]);
    match mask_cells(key, &plan.steps, body, out) {
        Ok(masked) => {
            // The length counts itself, not the type byte.
            let length = out.len() - start - 1;
            put_length(out, start + 1, length);
            Ok(masked)
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Appends the masked cells of a row, count included.
pub(super) fn mask_cells(
    key: &MaskKey,
    steps: &[Step],
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<u64, MaskError> {
    let count = body.first_chunk::<2>().ok_or(MaskError::Truncated)?;
    let got = usize::from(u16::from_be_bytes(*count));
    if got != steps.len() {
        return Err(MaskError::CellCount { got, want: steps.len() });
    }
    let mut masked = 0;
    // What stands before `kept` is already in `out`.
    let mut kept = 0;
    let mut at = 2;
    for step in steps {
        let Some((length, rest)) = body.get(at..).and_then(|rest| rest.split_first_chunk::<4>()) else {
            return Err(MaskError::Truncated);
        };
        // NULL is -1; no other negative length exists.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            at += 4;
            continue;
        };
        let value = rest.get(..length).ok_or(MaskError::Truncated)?;
        let end = at + 4 + length;
        match step {
            Step::Clear => {}
            Step::Constant(constant) => {
                out.extend_from_slice(&body[kept..at]);
                out.extend_from_slice(constant);
                kept = end;
                masked += 1;
            }
            Step::Styled(styled) => {
                out.extend_from_slice(&body[kept..at]);
                let constant = styled.constant(value);
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                put_length(out, start, constant.len());
                out.extend_from_slice(constant);
                kept = end;
                masked += 1;
            }
            Step::Value(mask) => {
                out.extend_from_slice(&body[kept..at]);
                mask.apply(key, value, out);
                kept = end;
                masked += 1;
            }
        }
        at = end;
    }
    if at != body.len() {
        return Err(MaskError::TrailingBytes);
    }
    out.extend_from_slice(&body[kept..]);
    Ok(masked)
}

/// Writes a length in network order. Frames are bounded far below 4 GiB, and no mask makes one grow past it.
pub(super) fn put_length(out: &mut [u8], at: usize, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;

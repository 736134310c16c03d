//! The walk over a row.

use super::{
    CellPlan, CellRule, MaskError, MaskKey, MaskKind, RowPlan, kind::ValueMask, redact, style::Styled,
};

/// What is done to one cell, worked out before the first row.
#[derive(Debug)]
pub(super) enum Step {
    /// Replaced by these bytes, length included, and so is NULL: `nullif(salary = 5, false)` would tell by it.
    Always(Box<[u8]>),
    /// Nothing.
    Clear,
    /// Replaced by these bytes, length included.
    Constant(Box<[u8]>),
    /// Replaced by the type's constant, written as the value is.
    Styled(Styled),
    /// Replaced by what a mask makes of it. Boxed, so that the steps of wide rows stay in few cache lines.
    Value(Box<ValueMask>),
}

impl Step {
    pub(super) fn new(cell: &CellPlan) -> Self {
        let rule = match &cell.rule {
            CellRule::Clear => return Self::Clear,
            CellRule::Redact => return Self::Always(redact::cell(cell, None)),
            CellRule::Mask(rule) => rule,
        };
        match &*rule.mask {
            MaskKind::Null => Self::Constant(redact::NULL.into()),
            MaskKind::Redact { placeholder } => Self::constant(cell, placeholder.as_deref()),
            MaskKind::Fpe(_)
            | MaskKind::Generalise(_)
            | MaskKind::Hash
            | MaskKind::Partial { .. }
            | MaskKind::Pattern
            | MaskKind::Token { .. } => ValueMask::new(rule, cell)
                .map_or_else(|| Self::constant(cell, None), |mask| Self::Value(Box::new(mask))),
        }
    }

    /// Makes the cell that is shown for a value, length included; false where the value stays.
    pub(super) fn replace(&self, key: &MaskKey, value: &[u8], cell: &mut Vec<u8>) -> bool {
        cell.clear();
        match self {
            Self::Clear => return false,
            Self::Always(constant) | Self::Constant(constant) => cell.extend_from_slice(constant),
            Self::Styled(styled) => styled.write(value, cell),
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
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(MaskError::Truncated)?;
    let got = usize::from(u16::from_be_bytes(*count));
    if got != steps.len() {
        return Err(MaskError::CellCount { got, want: steps.len() });
    }
    let mut masked = 0;
    // What stands before it is already in `out`.
    let mut kept = body;
    for step in steps {
        let cell = rest;
        let (length, after) = cell.split_first_chunk::<4>().ok_or(MaskError::Truncated)?;
        // NULL is -1; no other negative length exists.
        let length = usize::try_from(i32::from_be_bytes(*length));
        if length.is_err() && !matches!(step, Step::Always(_)) {
            rest = after;
            continue;
        }
        let (value, after) =
            after.split_at_checked(length.unwrap_or_default()).ok_or(MaskError::Truncated)?;
        rest = after;
        if matches!(step, Step::Clear) {
            continue;
        }
        out.extend_from_slice(&kept[..kept.len() - cell.len()]);
        kept = after;
        masked += 1;
        match step {
            Step::Clear => {}
            Step::Always(constant) | Step::Constant(constant) => out.extend_from_slice(constant),
            Step::Styled(styled) => styled.write(value, out),
            Step::Value(mask) => mask.apply(key, value, out),
        }
    }
    if !rest.is_empty() {
        return Err(MaskError::TrailingBytes);
    }
    out.extend_from_slice(kept);
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

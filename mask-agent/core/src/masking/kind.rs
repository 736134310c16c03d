//! Shape-keeping masks of text.

use std::fmt::Write as _;

use hmac::Mac;

use super::{CellPlan, MaskKey, redact};
use crate::policy::MaskKind;

/// Characters of a hash mask: 128 bits as hexadecimal digits.
const HASH_BYTES: usize = 16;

/// Appends the masked value where the mask fits the type; false appends nothing.
pub(super) fn mask(key: &MaskKey, kind: &MaskKind, cell: &CellPlan, value: &[u8], out: &mut Vec<u8>) -> bool {
    // Text has the same form in both formats.
    let (Some(limit), Ok(text)) = (redact::text_limit(cell), std::str::from_utf8(value)) else {
        return false;
    };
    let masked = match kind {
        MaskKind::Hash => hash(key, value),
        MaskKind::Null | MaskKind::Redact { .. } => return false,
        MaskKind::Partial { first, last } => partial(text, *first, *last),
        MaskKind::Pattern => text.chars().map(pattern).collect(),
    };
    let end = masked.char_indices().nth(limit).map_or(masked.len(), |(at, _)| at);
    out.extend_from_slice(&masked.as_bytes()[..end]);
    true
}

fn hash(key: &MaskKey, value: &[u8]) -> String {
    let mut mac = key.0.clone();
    mac.update(value);
    let mut text = String::with_capacity(2 * HASH_BYTES);
    for byte in &mac.finalize().into_bytes()[..HASH_BYTES] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn pattern(c: char) -> char {
    match c {
        c if c.is_numeric() => '0',
        c if c.is_uppercase() => 'X',
        c if c.is_alphabetic() => 'x',
        c if c.is_whitespace() || c.is_ascii_punctuation() => c,
        _ => '*',
    }
}

/// A value as short as what would be kept is hidden whole.
fn partial(text: &str, first: usize, last: usize) -> String {
    let count = text.chars().count();
    let keeps = first.saturating_add(last) < count;
    let keep = |index: usize| keeps && (index < first || index >= count - last);
    text.chars().enumerate().map(|(index, c)| if keep(index) { c } else { '*' }).collect()
}

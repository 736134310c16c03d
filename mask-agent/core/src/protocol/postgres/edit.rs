//! Other constants in a text, and other parameters in a Bind: what changes, and where it was before.

use std::sync::Arc;

use super::frame::Fields;
use crate::{
    lineage,
    masking::{Format, TOKEN_PREFIX},
    policy::FilledColumn,
};

/// A constant that was replaced, counted in characters of the client's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    at: usize,
    was: usize,
    is: usize,
}

/// The text for the server, and how it differs.
pub(super) struct Turned {
    pub(super) text: String,
    pub(super) edits: Arc<[Edit]>,
}

/// Whether a token may stand in these bytes.
pub(super) fn may_hold_token(bytes: &[u8]) -> bool {
    let prefix = TOKEN_PREFIX.as_bytes();
    // The rarest of its letters first.
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'_') {
        if rest[..=at].ends_with(prefix) {
            return true;
        }
        rest = &rest[at + 1..];
        // What stood before is gone, but the prefix has one of these only.
    }
    false
}

/// Where in the client's text the server means, counted from one.
pub(super) fn position(edits: &[Edit], position: usize) -> usize {
    let Some(at) = position.checked_sub(1) else { return position };
    let (mut more, mut less) = (0, 0);
    for edit in edits {
        let begins = edit.at + more - less;
        if at < begins {
            break;
        }
        if at < begins + edit.is {
            return edit.at + 1;
        }
        more += edit.is;
        less += edit.was;
    }
    (at + less).saturating_sub(more) + 1
}

/// Whether a constant in a text of which only the template was analysed may be one that is not stored.
pub(super) fn may_be_written_back(sql: &str, columns: &[FilledColumn]) -> bool {
    if columns.is_empty() {
        return false;
    }
    // A text that has a template has quotes around constants and names only.
    let mut rest = sql;
    while let Some(at) = rest.find('\'') {
        rest = &rest[at + 1..];
        let mut end = 0;
        loop {
            let Some(quote) = rest[end..].find('\'') else { return true };
            end += quote;
            if !rest[end + 1..].starts_with('\'') {
                break;
            }
            end += 2;
        }
        let text = rest[..end].replace("''", "'");
        if columns.iter().any(|column| column.refusal(Format::Text, text.as_bytes()).is_some()) {
            return true;
        }
        rest = &rest[end + 1..];
    }
    false
}

/// The text with other constants in it, given where each begins; none where nothing is replaced, or where it would not
/// be the same statement.
pub(super) fn replaced(sql: &str, mut values: Vec<(usize, String)>) -> Option<Turned> {
    if values.is_empty() {
        return None;
    }
    values.sort();
    values.dedup();
    let constants = lineage::constants(sql);
    let mut text = String::with_capacity(sql.len());
    let mut edits = Vec::with_capacity(values.len());
    let (mut from, mut characters) = (0, 0);
    for (at, value) in values {
        let end = constants.iter().find(|constant| constant.start == at)?.end;
        let (before, was) = (sql.get(from..at)?, sql.get(at..end)?);
        text.push_str(before);
        let start = text.len();
        text.push('\'');
        text.push_str(&value.replace('\'', "''"));
        text.push('\'');
        characters += before.chars().count();
        let (was, is) = (was.chars().count(), text[start..].chars().count());
        edits.push(Edit { at: characters, was, is });
        characters += was;
        from = end;
    }
    text.push_str(sql.get(from..)?);
    lineage::differ_in_constants(sql, &text).then(|| Turned { text, edits: edits.into() })
}

/// Formats and values of parameters.
pub(super) type Values<'a> = (Vec<i16>, Vec<Option<&'a [u8]>>);

pub(super) fn values(parameters: &[u8]) -> Option<Values<'_>> {
    let mut fields = Fields::new(parameters);
    let formats = usize::try_from(fields.int16()?).ok()?;
    let formats = (0..formats).map(|_| fields.int16()).collect::<Option<Vec<_>>>()?;
    let count = fields.int16()?.cast_unsigned();
    let mut values = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = fields.int32()?;
        values.push(match usize::try_from(length) {
            Ok(length) => Some(fields.bytes(length)?),
            Err(_) => None,
        });
    }
    Some((formats, values))
}

/// The parameters with other values at some places.
pub(super) fn rewritten(parameters: &[u8], values: &[Option<&[u8]>], turned: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let length: usize = values.iter().map(|value| 4 + value.map_or(0, <[u8]>::len)).sum();
    let mut out = parameters[..parameters.len() - length].to_vec();
    for (index, value) in values.iter().enumerate() {
        let other = turned.iter().find(|(at, _)| *at == index).map(|(_, value)| &value[..]);
        match other.or(*value) {
            Some(value) => {
                out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(value);
            }
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    out
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;

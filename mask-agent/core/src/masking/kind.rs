//! Masks that depend on the value: hash, partial, pattern.

use std::sync::Arc;

use super::{CellPlan, Format, MaskKey, redact, redact::Width, row::put_length};
use crate::policy::{ColumnRule, MaskKind};

/// Bytes of a token that are shown, as hexadecimal digits: 128 bits do not collide.
const TOKEN_BYTES: usize = 16;

/// Tries for a token that does not contain its value; only values of a few hexadecimal digits need a second.
const TOKEN_ROUNDS_MAX: u8 = 8;

/// A mask that looks at the value, and what is shown where the value does not lend itself to it.
#[derive(Debug)]
pub(super) struct ValueMask {
    rule: Arc<str>,
    form: Form,
    fallback: Box<[u8]>,
}

/// How the value is read and written.
#[derive(Debug)]
enum Form {
    /// Text, the same in both formats.
    Text(Shown, Width),
    /// A UUID is hashed to a UUID.
    Uuid(Format),
}

/// What of a text is shown.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Hash,
    Partial { first: usize, last: usize },
    Pattern,
}

impl ValueMask {
    /// The mask of a column, where its kind looks at the value and fits the type.
    pub(super) fn new(rule: &ColumnRule, cell: &CellPlan) -> Option<Self> {
        let shown = match *rule.mask {
            MaskKind::Hash => Shown::Hash,
            MaskKind::Null | MaskKind::Redact { .. } => return None,
            MaskKind::Partial { first, last } => Shown::Partial { first, last },
            MaskKind::Pattern => Shown::Pattern,
        };
        let form = match (redact::width(cell), shown) {
            (Some(width), shown) => Form::Text(shown, width),
            (None, Shown::Hash) if redact::is_uuid(cell) => Form::Uuid(cell.format),
            (None, Shown::Hash | Shown::Partial { .. } | Shown::Pattern) => return None,
        };
        Some(Self { rule: rule.rule.clone(), form, fallback: redact::NULL.into() })
    }

    /// The same with a constant, length included, for values the mask does not hide.
    pub(super) fn or(self, fallback: Box<[u8]>) -> Self {
        Self { fallback, ..self }
    }

    /// Appends length and masked value.
    pub(super) fn apply(&self, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        if self.hides(key, value, out) {
            let length = out.len() - start - 4;
            put_length(out, start, length);
        } else {
            out.truncate(start);
            out.extend_from_slice(&self.fallback);
        }
    }

    /// Appends the masked value; false where it would show the whole value.
    fn hides(&self, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) -> bool {
        match &self.form {
            Form::Text(shown, width) => {
                let Ok(text) = str::from_utf8(value) else { return false };
                // The server pads `char(n)`: its blanks are no part of the value.
                let text = if width.pads { text.trim_end_matches(' ') } else { text };
                let start = out.len();
                let hidden = match *shown {
                    Shown::Hash => hash(key, &self.rule, text, width, out),
                    Shown::Partial { first, last } => partial(text, first, last, out),
                    Shown::Pattern => pattern(text, out),
                };
                width.pad(start, out);
                hidden
            }
            Form::Uuid(Format::Binary) => {
                out.extend_from_slice(&uuid(key, &self.rule, value));
                value.len() == 16
            }
            Form::Uuid(Format::Text) => {
                let Some(value) = read_uuid(value) else { return false };
                for (index, byte) in uuid(key, &self.rule, &value).into_iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        out.push(b'-');
                    }
                    push_hex(byte, out);
                }
                true
            }
        }
    }
}

fn hash(key: &MaskKey, rule: &str, text: &str, width: &Width, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for round in 0..TOKEN_ROUNDS_MAX {
        out.truncate(start);
        for byte in &key.token(rule, round, text.as_bytes())[..TOKEN_BYTES] {
            push_hex(*byte, out);
        }
        out.truncate(start + width.bytes.min(width.characters).min(2 * TOKEN_BYTES));
        if !contains(&out[start..], text.as_bytes()) {
            return true;
        }
    }
    false
}

/// Whether a token shows its value. Hiding a single character would need another alphabet.
fn contains(token: &[u8], value: &[u8]) -> bool {
    value.len() > 1 && value.len() <= token.len() && token.windows(value.len()).any(|window| window == value)
}

fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Keeps the ends and puts one `*` for each other character. Where that would hide less than a third of the
/// characters, all of them are hidden: four digits of a card say little, four digits of five say everything.
fn partial(text: &str, first: usize, last: usize, out: &mut Vec<u8>) -> bool {
    let count = text.chars().count();
    let hidden = count.saturating_sub(first.saturating_add(last));
    let (first, last) = if hidden > 0 && hidden.saturating_mul(3) >= count { (first, last) } else { (0, 0) };
    let hidden = count - first - last;
    let from = text.char_indices().nth(first).map_or(text.len(), |(at, _)| at);
    let to = text.char_indices().nth(first + hidden).map_or(text.len(), |(at, _)| at);
    out.extend_from_slice(&text.as_bytes()[..from]);
    out.resize(out.len() + hidden, b'*');
    out.extend_from_slice(&text.as_bytes()[to..]);
    text[from..to].bytes().any(|byte| byte != b'*')
}

/// Letters become `x` or `X`, numerals `0`; blanks and ASCII punctuation stay.
fn pattern(text: &str, out: &mut Vec<u8>) -> bool {
    let mut hidden = false;
    for c in text.chars() {
        let shown = match c {
            'a'..='z' => b'x',
            'A'..='Z' => b'X',
            '0'..='9' => b'0',
            ' '..='~' => c as u8,
            c if c.is_numeric() => b'0',
            c if c.is_uppercase() => b'X',
            c if c.is_alphabetic() => b'x',
            c if c.is_whitespace() => b' ',
            _ => b'*',
        };
        hidden |= char::from(shown) != c;
        out.push(shown);
    }
    hidden
}

/// A token in the form of a UUID whose bits are the maker's own affair (RFC 9562, version 8).
fn uuid(key: &MaskKey, rule: &str, value: &[u8]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&key.token(rule, 0, value)[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// The bytes of a UUID as the server writes it, so that both formats give the same token.
fn read_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = text.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte).to_digit(16));
    let mut value = [0; 16];
    for byte in &mut value {
        let high = digits.next()??;
        let low = digits.next()??;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(value)
}

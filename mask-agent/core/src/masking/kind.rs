//! Masks that depend on the value.

use std::sync::Arc;

use super::{
    CellPlan, ColumnRule, Format, FpeShape, Generalise, MaskKey, MaskKind, array,
    coarse::{self, CoarseType},
    number::{self, NumberMask, NumberType},
    redact::{self, Width},
    row::put_length,
    shape,
    style::Styled,
    token,
};

/// Bytes of a hash that are shown, as hexadecimal digits: 128 bits do not collide.
const HASH_BYTES: usize = 16;

/// Tries for a hash that does not contain its value; only values of a few hexadecimal digits need a second.
const HASH_ROUNDS_MAX: u8 = 8;

/// A mask that looks at the value, and what is shown where the value does not lend itself to it.
#[derive(Debug)]
pub(super) struct ValueMask {
    form: Form,
    fallback: Fallback,
}

#[derive(Debug)]
enum Fallback {
    /// Length included.
    Constant(Box<[u8]>),
    Styled(Styled),
}

/// How the value is read and written.
#[derive(Debug)]
enum Form {
    /// Bytes become 16 others.
    Bytes(Format, Arc<str>),
    Coarse(CoarseType, Format, Generalise),
    Number(NumberMask, (NumberType, Format), Arc<str>),
    /// Text, the same in both formats.
    Text(TextMask),
    TextArray(Format, TextMask),
    /// A UUID becomes a UUID.
    Uuid(Format, Opaque, Arc<str>),
}

/// What of a value says nothing but that equal ones are equal.
#[derive(Clone, Copy, Debug)]
enum Opaque {
    Hash,
    Token,
}

/// The mask of a text.
#[derive(Debug)]
pub(super) struct TextMask {
    scope: Arc<str>,
    shown: Shown,
    width: Width,
    /// For values the mask does not hide.
    constant: Box<[u8]>,
}

/// What of a text is shown.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Hash,
    Partial { first: usize, last: usize },
    Pattern,
    Shape(FpeShape),
    Token { reversible: bool },
}

impl ValueMask {
    /// The mask of a column, where its kind looks at the value and fits the type.
    pub(super) fn new(rule: &ColumnRule, cell: &CellPlan) -> Option<Self> {
        let fallback =
            Styled::of(cell).map_or_else(|| Fallback::Constant(redact::cell(cell, None)), Fallback::Styled);
        Some(Self { form: Form::new(rule, cell)?, fallback })
    }

    /// Appends length and masked value.
    pub(super) fn apply(&self, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        if self.form.hides(key, value, out) {
            let length = out.len() - start - 4;
            put_length(out, start, length);
            return;
        }
        out.truncate(start);
        match &self.fallback {
            Fallback::Constant(constant) => out.extend_from_slice(constant),
            Fallback::Styled(styled) => styled.write(value, out),
        }
    }
}

impl Form {
    fn new(rule: &ColumnRule, cell: &CellPlan) -> Option<Self> {
        let scope: Arc<str> = rule.scope().into();
        let format = cell.format;
        let shown = match *rule.mask {
            MaskKind::Fpe(shape) => Shown::Shape(shape),
            MaskKind::Generalise(how) => {
                let number = redact::number(cell).map(|number| (number, format));
                let bucket = NumberMask::Bucket(how.bucket);
                return number
                    .map(|number| Self::Number(bucket, number, scope))
                    .or_else(|| CoarseType::of(cell).map(|coarse| Self::Coarse(coarse, format, how)));
            }
            MaskKind::Hash => Shown::Hash,
            MaskKind::Null | MaskKind::Redact { .. } => return None,
            MaskKind::Partial { first, last } => Shown::Partial { first, last },
            MaskKind::Pattern => Shown::Pattern,
            MaskKind::Token { reversible, .. } => Shown::Token { reversible },
        };
        if let Some(text) = TextMask::new(shown, &scope, cell) {
            return Some(Self::Text(text));
        }
        if let Some(element) = redact::element_cell(cell) {
            return Some(Self::TextArray(format, TextMask::new(shown, &scope, &element)?));
        }
        let number = || redact::number(cell).map(|number| (number, format));
        match shown {
            Shown::Hash if redact::is_uuid(cell) => Some(Self::Uuid(format, Opaque::Hash, scope)),
            Shown::Token { .. } if redact::is_uuid(cell) => Some(Self::Uuid(format, Opaque::Token, scope)),
            Shown::Token { .. } if redact::is_bytea(cell) => Some(Self::Bytes(format, scope)),
            Shown::Token { .. } => Some(Self::Number(NumberMask::Token, number()?, scope)),
            Shown::Shape(shape) => Some(Self::Number(NumberMask::Shape(shape), number()?, scope)),
            Shown::Hash | Shown::Partial { .. } | Shown::Pattern => None,
        }
    }

    /// Appends the masked value; false where it would show the whole value.
    fn hides(&self, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Self::Bytes(format, scope) => bytes(*format, key, scope, value, out),
            Self::Coarse(coarse, format, how) => coarse::write(*coarse, *format, how, value, out),
            Self::Number(mask, number, scope) => number::write(*mask, *number, key, scope, value, out),
            Self::Text(text) => text.hides(key, value, out),
            Self::TextArray(format, text) => array::write(*format, text, key, value, out),
            Self::Uuid(Format::Binary, opaque, scope) => {
                out.extend_from_slice(&opaque.uuid(key, scope, value));
                value.len() == 16
            }
            Self::Uuid(Format::Text, opaque, scope) => {
                let Some(value) = read_uuid(value) else { return false };
                let uuid = opaque.uuid(key, scope, &value);
                for (index, part) in
                    [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]].iter().enumerate()
                {
                    if index > 0 {
                        out.push(b'-');
                    }
                    put_hex(part, out);
                }
                true
            }
        }
    }
}

impl TextMask {
    /// None where the type is not like text.
    fn new(shown: Shown, scope: &Arc<str>, cell: &CellPlan) -> Option<Self> {
        let width = redact::width(cell)?;
        let constant = redact::cell(cell, None).get(4..).unwrap_or_default().into();
        Some(Self { scope: scope.clone(), shown, width, constant })
    }

    /// Appends the masked text, or the constant.
    pub(super) fn element(&self, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if !self.hides(key, value, out) {
            out.truncate(start);
            out.extend_from_slice(&self.constant);
        }
    }

    /// Appends the masked text; false where it would show the whole text.
    fn hides(&self, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(text) = str::from_utf8(value) else { return false };
        // The server pads `char(n)`: its blanks are no part of the value.
        let text = if self.width.pads { text.trim_end_matches(' ') } else { text };
        let (start, scope, width) = (out.len(), &*self.scope, &self.width);
        let hidden = match self.shown {
            Shown::Hash => hash(key, scope, text, width, out),
            Shown::Partial { first, last } => partial(text, first, last, out),
            Shown::Pattern => pattern(text, out),
            Shown::Shape(shape) => shape::write(shape, key, scope, text, width, out),
            Shown::Token { reversible } => {
                reversible && token::seal(key, scope, text, width, out)
                    || token::write(key, scope, text, [token::PREFIX, ""], width, out)
            }
        };
        width.pad(start, out);
        hidden
    }
}

impl Opaque {
    /// In the form of a UUID whose bits are the maker's own affair (RFC 9562, version 8).
    fn uuid(self, key: &MaskKey, scope: &str, value: &[u8]) -> [u8; 16] {
        let bits = match self {
            Self::Hash => key.hash(scope, 0, value),
            Self::Token => key.token(scope, 0, value),
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bits[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }
}

/// Sixteen bytes for any bytes; those of the text form are read first, so that both formats give the same.
fn bytes(format: Format, key: &MaskKey, scope: &str, value: &[u8], out: &mut Vec<u8>) -> bool {
    match format {
        Format::Binary => out.extend_from_slice(&key.token(scope, 0, value)[..HASH_BYTES]),
        Format::Text => {
            // `bytea_output = escape` has no mark by which it could be told for sure.
            let Some(digits) = value.strip_prefix(b"\\x").filter(|digits| digits.len() % 2 == 0) else {
                return false;
            };
            let start = out.len();
            for pair in digits.chunks_exact(2) {
                let digit = |at: usize| char::from(pair[at]).to_digit(16);
                let (Some(high), Some(low)) = (digit(0), digit(1)) else { return false };
                out.push((high << 4 | low) as u8);
            }
            let token = key.token(scope, 0, &out[start..]);
            out.truncate(start);
            out.extend_from_slice(b"\\x");
            put_hex(&token[..HASH_BYTES], out);
        }
    }
    true
}

fn hash(key: &MaskKey, rule: &str, text: &str, width: &Width, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for round in 0..HASH_ROUNDS_MAX {
        out.truncate(start);
        put_hex(&key.hash(rule, round, text.as_bytes())[..HASH_BYTES], out);
        out.truncate(start + width.bytes.min(width.characters).min(2 * HASH_BYTES));
        if !contains(&out[start..], text.as_bytes()) {
            return true;
        }
    }
    false
}

/// Whether what is shown holds the value. Hiding a single character would need another alphabet.
pub(super) fn contains(shown: &[u8], value: &[u8]) -> bool {
    // Most places are ruled out by their first byte, without a call.
    let is_here = |part: &[u8]| part.first() == value.first() && part == value;
    value.len() > 1 && value.len() <= shown.len() && shown.windows(value.len()).any(is_here)
}

fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    for (digits, byte) in out[start..].chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
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

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;

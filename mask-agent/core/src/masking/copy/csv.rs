//! `FORMAT csv`: quotes around what would end a field or a line, or be NULL.

use super::line::{Dialect, Field, Form, find};
use crate::masking::MaskError;

/// The option `FORCE_QUOTE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForceQuote {
    /// Every value.
    All,
    /// Values of the columns that are true here, in the order of the output.
    Columns(Box<[bool]>),
    /// Only values that need it.
    None,
}

impl ForceQuote {
    fn forces(&self, column: usize) -> bool {
        match self {
            Self::All => true,
            Self::Columns(columns) => columns.get(column).copied().unwrap_or(false),
            Self::None => false,
        }
    }
}

pub(super) struct Csv<'a> {
    pub(super) delimiter: u8,
    pub(super) null: &'a [u8],
    pub(super) quote: u8,
    pub(super) escape: u8,
    pub(super) force_quote: &'a ForceQuote,
    /// Where a line has one field, `\.` would be the end of the data.
    pub(super) alone: bool,
}

impl Dialect for Csv<'_> {
    fn field<'a>(&self, data: &'a [u8], at: usize) -> Result<Field<'a>, MaskError> {
        let rest = data.get(at..).ok_or(MaskError::Truncated)?;
        if rest.first() == Some(&self.quote) {
            return self.quoted(data, at + 1);
        }
        let length = find(rest, [self.delimiter, b'\n', b'\n']).ok_or(MaskError::Truncated)?;
        let text = &rest[..length];
        let form = if text == self.null { Form::Null } else { Form::Plain };
        Ok(Field { end: at + length, text, form })
    }

    fn read(&self, text: &[u8], value: &mut Vec<u8>) {
        let mut bytes = text.iter().peekable();
        while let Some(byte) = bytes.next() {
            let escaped = bytes.next_if(|next| *byte == self.escape && self.is_special(**next));
            value.push(*escaped.unwrap_or(byte));
        }
    }

    fn write(&self, column: usize, value: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(value) = value else {
            out.extend_from_slice(self.null);
            return;
        };
        let needs = |byte: &u8| [self.delimiter, self.quote, b'\n', b'\r'].contains(byte);
        let ends = self.alone && value == b"\\.";
        if !self.force_quote.forces(column) && value != self.null && !ends && !value.iter().any(needs) {
            out.extend_from_slice(value);
            return;
        }
        out.push(self.quote);
        for byte in value {
            if self.is_special(*byte) {
                out.push(self.escape);
            }
            out.push(*byte);
        }
        out.push(self.quote);
    }
}

impl Csv<'_> {
    /// Whether a byte is escaped between quotes.
    fn is_special(&self, byte: u8) -> bool {
        byte == self.quote || byte == self.escape
    }

    /// The field behind its opening quote.
    fn quoted<'a>(&self, data: &'a [u8], at: usize) -> Result<Field<'a>, MaskError> {
        let mut end = at;
        let mut form = Form::Plain;
        loop {
            let rest = data.get(end..).ok_or(MaskError::Truncated)?;
            end += find(rest, [self.quote, self.escape, self.escape]).ok_or(MaskError::Truncated)?;
            // What the byte means the next one tells: a quote may be an escape.
            let next = *data.get(end + 1).ok_or(MaskError::Truncated)?;
            if data[end] == self.escape && self.is_special(next) {
                form = Form::Escaped;
                end += 2;
            } else if data[end] != self.quote {
                end += 1;
            } else if next == self.delimiter || next == b'\n' {
                return Ok(Field { end: end + 1, text: &data[at..end], form });
            } else {
                return Err(MaskError::TrailingBytes);
            }
        }
    }
}

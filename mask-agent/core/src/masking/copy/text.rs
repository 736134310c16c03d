//! `FORMAT text`: a backslash before what would end a field or a line.

use super::line::{Dialect, Field, Form, find};
use crate::masking::MaskError;

pub(super) struct Text<'a> {
    pub(super) delimiter: u8,
    pub(super) null: &'a [u8],
}

impl Dialect for Text<'_> {
    fn field<'a>(&self, data: &'a [u8], at: usize) -> Result<Field<'a>, MaskError> {
        let mut end = at;
        let mut form = Form::Plain;
        loop {
            let rest = data.get(end..).ok_or(MaskError::Truncated)?;
            end += find(rest, [self.delimiter, b'\n', b'\\']).ok_or(MaskError::Truncated)?;
            if data[end] != b'\\' {
                break;
            }
            form = Form::Escaped;
            end += 2;
        }
        let text = &data[at..end];
        if text == self.null {
            form = Form::Null;
        }
        Ok(Field { end, text, form })
    }

    fn read(&self, text: &[u8], value: &mut Vec<u8>) {
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            value.push(match (byte, byte == &b'\\') {
                (byte, false) => *byte,
                (_, true) => match bytes.next() {
                    Some(b'b') => 8,
                    Some(b'f') => 12,
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'v') => 11,
                    Some(other) => *other,
                    None => b'\\',
                },
            });
        }
    }

    fn write(&self, _column: usize, value: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(value) = value else {
            out.extend_from_slice(self.null);
            return;
        };
        for byte in value {
            match *byte {
                8 => out.extend_from_slice(b"\\b"),
                12 => out.extend_from_slice(b"\\f"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                11 => out.extend_from_slice(b"\\v"),
                byte if byte == b'\\' || byte == self.delimiter => out.extend_from_slice(&[b'\\', byte]),
                byte => out.push(byte),
            }
        }
    }
}

/// Whether no value but the empty one is written like this.
pub(super) fn is_unlike_values(null: &[u8], delimiter: u8) -> bool {
    match null {
        [] => true,
        [b'\\', second, rest @ ..] => {
            *second != delimiter && !b"bfnrtv\\.".contains(second) && !rest.contains(&b'\\')
        }
        _ => false,
    }
}

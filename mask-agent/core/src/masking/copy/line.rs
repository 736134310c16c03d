//! A row as a line: fields between delimiters, up to a newline.

use super::{Row, Scratch};
use crate::masking::{MaskError, MaskKey, redact, row::Step};

/// How values are written in a line.
pub(super) trait Dialect {
    /// The field that starts at a place.
    ///
    /// # Errors
    /// `Truncated` where the data ends before a delimiter or newline does it.
    fn field<'a>(&self, data: &'a [u8], at: usize) -> Result<Field<'a>, MaskError>;

    /// Appends the value that escapes stand for.
    fn read(&self, text: &[u8], value: &mut Vec<u8>);

    /// Appends a value of a column as the server would write it; none is NULL.
    fn write(&self, column: usize, value: Option<&[u8]>, out: &mut Vec<u8>);
}

/// A field as it stands there.
pub(super) struct Field<'a> {
    /// Where its delimiter or newline is.
    pub(super) end: usize,
    /// Without quotes around it.
    pub(super) text: &'a [u8],
    pub(super) form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The text holds escapes.
    Escaped,
    Null,
    /// The text is the value.
    Plain,
}

/// What a line holds.
#[derive(Clone, Copy)]
pub(super) enum Line<'a> {
    /// So many names of columns.
    Names(usize),
    Values(&'a [Step]),
}

impl Line<'_> {
    fn columns(self) -> usize {
        match self {
            Self::Names(count) => count,
            Self::Values(steps) => steps.len(),
        }
    }

    fn step(&self, column: usize) -> &Step {
        match self {
            Self::Names(_) => &Step::Clear,
            Self::Values(steps) => steps.get(column).unwrap_or(&Step::Clear),
        }
    }
}

/// Appends a line with its cells masked.
pub(super) fn row(
    dialect: &impl Dialect,
    key: &MaskKey,
    line: Line<'_>,
    data: &[u8],
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<Row, MaskError> {
    let (mut at, mut kept, mut masked) = (0, 0, 0);
    let mut column = 0;
    loop {
        let field = dialect.field(data, at)?;
        let step = line.step(column);
        if matches!(step, Step::Always(_)) || !matches!(step, Step::Clear) && field.form != Form::Null {
            out.extend_from_slice(&data[kept..at]);
            kept = field.end;
            masked += 1;
            let value = match field.form {
                Form::Null | Form::Plain => field.text,
                Form::Escaped => {
                    scratch.value.clear();
                    dialect.read(field.text, &mut scratch.value);
                    &scratch.value
                }
            };
            step.replace(key, value, &mut scratch.cell);
            let shown = (!scratch.cell.starts_with(&redact::NULL)).then(|| &scratch.cell[4..]);
            dialect.write(column, shown, out);
        }
        column += 1;
        at = field.end + 1;
        if data[field.end] == b'\n' {
            break;
        }
    }
    if column != line.columns() {
        return Err(MaskError::CellCount { got: column, want: line.columns() });
    }
    out.extend_from_slice(&data[kept..at]);
    Ok(Row { length: at, masked })
}

/// Where the first of three bytes is, eight bytes at a time: what is searched is a field of a few dozen bytes.
pub(super) fn find(data: &[u8], wanted: [u8; 3]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let [first, second, third] = wanted.map(|byte| ONES * u64::from(byte));
    // The high bit of each byte that is zero; above the lowest of them others may be set as well.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(word) = data.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ first) | zeros(word ^ second) | zeros(word ^ third);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    data[at..].iter().position(|byte| wanted.contains(byte)).map(|place| at + place)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_first_of_three_bytes_is_found_wherever_it_stands() {
        for length in 0..40 {
            for place in 0..length {
                let mut data = vec![b'x'; length];
                data[place] = b'\n';
                if place + 3 < length {
                    data[place + 3] = b'\\';
                }
                assert_eq!(find(&data, *b"\n\\\t"), Some(place), "{length}");
                assert_eq!(find(&data, *b"\n\n\n"), Some(place), "{length}");
                assert_eq!(find(&data, *b"\t\n\n"), Some(place), "{length}");
                assert_eq!(find(&data, *b"\n\n\t"), Some(place), "{length}");
            }
            assert_eq!(find(&vec![b'\x0b'; length], *b"\n\x0c\t"), None);
            assert_eq!(find(&vec![0x8a; length], *b"\n\\\t"), None);
        }
    }
}

//! The walk over `COPY … TO STDOUT`: rows in a text of the client's choosing, or in binary.
//!
//! Rows are whole within a message, as servers send them; a row split over messages is refused.
//!
//! Promise: a `NULL` option cannot be used to ask for a value. In text the server does not tell NULL from a value
//! that is written like it, so beside masked columns only null strings that no value is written like are taken.

use super::{CellPlan, MaskError, MaskKey, row};

/// How the rows of a COPY are written: the options of the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// `FORMAT text`.
    Text {
        /// Between columns.
        delimiter: u8,
        /// What NULL is written as.
        null: Box<[u8]>,
        /// Whether a line of column names comes first.
        header: bool,
    },
    /// `FORMAT csv`.
    Csv {
        /// Between columns.
        delimiter: u8,
        /// What NULL is written as, never quoted.
        null: Box<[u8]>,
        /// Around values.
        quote: u8,
        /// Before quotes in values.
        escape: u8,
        /// Whether a line of column names comes first.
        header: bool,
        /// Which columns are always quoted.
        force_quote: ForceQuote,
    },
    /// `FORMAT binary`.
    Binary,
}

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

impl CopyFormat {
    /// Text with the defaults of PostgreSQL.
    pub fn text() -> Self {
        Self::Text { delimiter: b'\t', null: (*b"\\N").into(), header: false }
    }

    /// CSV with the defaults of PostgreSQL.
    pub fn csv() -> Self {
        Self::Csv {
            delimiter: b',',
            null: Box::default(),
            quote: b'"',
            escape: b'"',
            header: false,
            force_quote: ForceQuote::None,
        }
    }
}

/// What happens to each cell of a COPY.
#[derive(Debug)]
pub struct CopyPlan {
    steps: Vec<row::Step>,
    format: CopyFormat,
    ambiguous: bool,
}

impl CopyPlan {
    /// A plan for rows of exactly these cells, whose format must be the one of the COPY.
    pub fn new(cells: &[CellPlan], format: CopyFormat) -> Self {
        let steps: Vec<row::Step> = cells.iter().map(row::Step::new).collect();
        let masks = steps.iter().any(|step| !matches!(step, row::Step::Clear));
        let ambiguous = match &format {
            CopyFormat::Text { null, delimiter, .. } => masks && !unlike_values(null, *delimiter),
            CopyFormat::Binary | CopyFormat::Csv { .. } => false,
        };
        Self { steps, format, ambiguous }
    }
}

/// Whether no value of a text COPY but the empty one is written like this.
fn unlike_values(null: &[u8], delimiter: u8) -> bool {
    match null {
        [] => true,
        [b'\\', second, rest @ ..] => {
            *second != delimiter && !b"bfnrtv\\.".contains(second) && !rest.contains(&b'\\')
        }
        _ => false,
    }
}

/// Where a COPY is.
#[derive(Debug, Default)]
pub struct CopyMasker {
    begun: bool,
    ended: bool,
    value: Vec<u8>,
    cell: Vec<u8>,
}

impl CopyMasker {
    /// Appends the masked `CopyData` frame of a message's payload; the number of cells masked.
    ///
    /// # Errors
    /// When the payload is not whole rows of exactly the planned cells; what was appended is then taken back.
    pub fn chunk(
        &mut self,
        key: &MaskKey,
        plan: &CopyPlan,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u64, MaskError> {
        if plan.ambiguous {
            return Err(MaskError::AmbiguousNull);
        }
        let start = out.len();
        out.extend_from_slice(&[b'd', 0, 0, 0, 0]);
        let masked = match &plan.format {
            CopyFormat::Binary => self.binary(key, plan, data, out),
            CopyFormat::Csv { header, .. } | CopyFormat::Text { header, .. } => {
                self.lines(key, plan, *header, data, out)
            }
        };
        match masked {
            Ok(_) => {
                let length = out.len() - start - 1;
                row::put_length(out, start + 1, length);
            }
            Err(_) => out.truncate(start),
        }
        masked
    }

    fn binary(
        &mut self,
        key: &MaskKey,
        plan: &CopyPlan,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u64, MaskError> {
        let mut at = 0;
        if !self.begun {
            at = binary_header(data)?;
            out.extend_from_slice(&data[..at]);
            self.begun = true;
        }
        let mut masked = 0;
        while at < data.len() {
            let rest = &data[at..];
            if self.ended {
                return Err(MaskError::TrailingBytes);
            }
            if rest.starts_with(&[0xff, 0xff]) {
                self.ended = true;
                out.extend_from_slice(&rest[..2]);
                at += 2;
                continue;
            }
            let length = tuple_length(rest)?;
            masked += row::mask_cells(key, &plan.steps, &rest[..length], out)?;
            at += length;
        }
        Ok(masked)
    }

    fn lines(
        &mut self,
        key: &MaskKey,
        plan: &CopyPlan,
        header: bool,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u64, MaskError> {
        let (mut at, mut kept, mut masked) = (0, 0, 0);
        while at < data.len() {
            let is_header = header && !self.begun;
            self.begun = true;
            let mut column = 0;
            loop {
                let field = self.field(&plan.format, data, at)?;
                let Some(step) = plan.steps.get(column) else {
                    return Err(MaskError::CellCount { got: column + 1, want: plan.steps.len() });
                };
                if !is_header && !field.null && step.replace(key, &self.value, &mut self.cell) {
                    out.extend_from_slice(&data[kept..at]);
                    let shown = (!self.cell.starts_with(&super::redact::NULL)).then(|| &self.cell[4..]);
                    write(plan, column, shown, out);
                    kept = field.end;
                    masked += 1;
                }
                column += 1;
                at = field.end + 1;
                if data[field.end] == b'\n' {
                    break;
                }
            }
            if column != plan.steps.len() {
                return Err(MaskError::CellCount { got: column, want: plan.steps.len() });
            }
        }
        out.extend_from_slice(&data[kept..]);
        Ok(masked)
    }

    /// Reads the field at a place into `value`; it ends at a delimiter or newline.
    fn field(&mut self, format: &CopyFormat, data: &[u8], at: usize) -> Result<Field, MaskError> {
        self.value.clear();
        match format {
            CopyFormat::Text { delimiter, null, .. } => {
                let end = read_text(data, at, *delimiter, &mut self.value)?;
                Ok(Field { end, null: data[at..end] == **null })
            }
            CopyFormat::Csv { delimiter, null, quote, escape, .. } => {
                let quoted = data.get(at) == Some(quote);
                let end = if quoted {
                    read_quoted(data, at + 1, *quote, *escape, &mut self.value)?
                } else {
                    let ends = |byte: &u8| *byte == *delimiter || *byte == b'\n';
                    let length = data[at..].iter().position(ends).ok_or(MaskError::Truncated)?;
                    self.value.extend_from_slice(&data[at..at + length]);
                    at + length
                };
                match data.get(end) {
                    None => Err(MaskError::Truncated),
                    Some(byte) if *byte != *delimiter && *byte != b'\n' => Err(MaskError::TrailingBytes),
                    Some(_) => Ok(Field { end, null: !quoted && self.value[..] == **null }),
                }
            }
            CopyFormat::Binary => Err(MaskError::Truncated),
        }
    }
}

struct Field {
    end: usize,
    null: bool,
}

fn read_text(data: &[u8], mut at: usize, delimiter: u8, value: &mut Vec<u8>) -> Result<usize, MaskError> {
    loop {
        match *data.get(at..).unwrap_or_default() {
            [] | [b'\\'] => return Err(MaskError::Truncated),
            [b'\\', escaped, ..] => {
                value.push(match escaped {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    other => other,
                });
                at += 2;
            }
            [byte, ..] if byte == delimiter || byte == b'\n' => return Ok(at),
            [byte, ..] => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

/// Reads up to the closing quote; where the bytes behind it start.
fn read_quoted(
    data: &[u8],
    mut at: usize,
    quote: u8,
    escape: u8,
    value: &mut Vec<u8>,
) -> Result<usize, MaskError> {
    loop {
        match *data.get(at..).unwrap_or_default() {
            [] => return Err(MaskError::Truncated),
            [first, second, ..] if first == escape && (second == quote || second == escape) => {
                value.push(second);
                at += 2;
            }
            [first, ..] if first == quote => return Ok(at + 1),
            [byte, ..] => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

/// Writes a value as the server would.
fn write(plan: &CopyPlan, column: usize, value: Option<&[u8]>, out: &mut Vec<u8>) {
    match (&plan.format, value) {
        (CopyFormat::Binary, _) => {}
        (CopyFormat::Csv { null, .. } | CopyFormat::Text { null, .. }, None) => out.extend_from_slice(null),
        (CopyFormat::Text { delimiter, .. }, Some(value)) => {
            for byte in value {
                match *byte {
                    8 => out.extend_from_slice(b"\\b"),
                    12 => out.extend_from_slice(b"\\f"),
                    b'\n' => out.extend_from_slice(b"\\n"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    b'\t' => out.extend_from_slice(b"\\t"),
                    11 => out.extend_from_slice(b"\\v"),
                    byte if byte == b'\\' || byte == *delimiter => out.extend_from_slice(&[b'\\', byte]),
                    byte => out.push(byte),
                }
            }
        }
        (CopyFormat::Csv { delimiter, null, quote, escape, force_quote, .. }, Some(value)) => {
            let forced = match force_quote {
                ForceQuote::All => true,
                ForceQuote::Columns(columns) => columns.get(column).copied().unwrap_or(false),
                ForceQuote::None => false,
            };
            let special = |byte: &u8| [*delimiter, *quote, b'\n', b'\r'].contains(byte);
            if !forced && value != &**null && value != b"\\." && !value.iter().any(special) {
                out.extend_from_slice(value);
                return;
            }
            out.push(*quote);
            for byte in value {
                if byte == quote || byte == escape {
                    out.push(*escape);
                }
                out.push(*byte);
            }
            out.push(*quote);
        }
    }
}

/// The length of signature, flags and extension.
fn binary_header(data: &[u8]) -> Result<usize, MaskError> {
    if !data.starts_with(b"PGCOPY\n\xff\r\n\0") {
        return Err(MaskError::Truncated);
    }
    let extension = data.get(15..).and_then(<[u8]>::first_chunk::<4>).ok_or(MaskError::Truncated)?;
    let end = usize::try_from(u32::from_be_bytes(*extension)).ok().and_then(|length| length.checked_add(19));
    end.filter(|end| *end <= data.len()).ok_or(MaskError::Truncated)
}

fn tuple_length(data: &[u8]) -> Result<usize, MaskError> {
    let count = data.first_chunk::<2>().ok_or(MaskError::Truncated)?;
    let mut at = 2_usize;
    for _ in 0..u16::from_be_bytes(*count) {
        let length = data.get(at..).and_then(<[u8]>::first_chunk::<4>).ok_or(MaskError::Truncated)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        at += 4 + length;
        if at > data.len() {
            return Err(MaskError::Truncated);
        }
    }
    Ok(at)
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;

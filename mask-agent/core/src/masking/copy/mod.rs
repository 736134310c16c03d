//! The walk over `COPY … TO STDOUT`: rows in a text of the client's choosing, or in binary.
//!
//! Servers send a message for each row, which the protocol does not promise: what a message leaves unfinished is
//! held until the next.
//!
//! Promise: a `NULL` option cannot be used to ask for a value. In text the server does not tell NULL from a value
//! that is written like it, so beside masked columns only null strings that no value is written like are taken.

/// `FORMAT binary`.
mod binary;
/// `FORMAT csv`.
mod csv;
/// A line of either text format.
mod line;
/// `FORMAT text`.
mod text;

use super::{CellPlan, MaskError, MaskKey, row};

pub use csv::ForceQuote;

/// A row longer than this is not masked, as is no other message.
const ROW_BYTES_MAX: usize = 64 << 20;

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

    /// Whether NULL is written like a value may be.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Text { null, delimiter, .. } => !text::is_unlike_values(null, *delimiter),
            Self::Binary | Self::Csv { .. } => false,
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
        let ambiguous = masks && format.is_ambiguous();
        Self { steps, format, ambiguous }
    }

    /// Whether rows and cells are told apart by characters.
    pub fn is_text(&self) -> bool {
        match self.format {
            CopyFormat::Csv { .. } | CopyFormat::Text { .. } => true,
            CopyFormat::Binary => false,
        }
    }
}

/// Where a COPY is.
#[derive(Debug, Default)]
pub struct CopyMasker {
    place: Place,
    /// The unfinished row.
    held: Vec<u8>,
    scratch: Scratch,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the header, where there is one.
    #[default]
    Start,
    Rows,
    /// Behind the trailer of binary.
    End,
}

impl Place {
    /// What the next line of a COPY with or without a header is.
    fn line(self, has_header: bool, steps: &[row::Step]) -> line::Line<'_> {
        match self {
            Self::Start if has_header => line::Line::Names(steps.len()),
            Self::End | Self::Rows | Self::Start => line::Line::Values(steps),
        }
    }
}

/// Room for a value as it is, and for the cell that is shown for it.
#[derive(Debug, Default)]
struct Scratch {
    value: Vec<u8>,
    cell: Vec<u8>,
}

impl CopyMasker {
    /// Appends a `CopyData` frame with the masked rows that a message's payload completes, or nothing where it
    /// completes none; the number of cells masked.
    ///
    /// # Errors
    /// When the payload is not rows of exactly the planned cells; what was appended is then taken back.
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
        if self.held.is_empty() {
            let (read, masked) = self.frame(key, plan, data, out)?;
            self.hold(&data[read..])?;
            return Ok(masked);
        }
        self.hold(data)?;
        let held = std::mem::take(&mut self.held);
        let (read, masked) = self.frame(key, plan, &held, out)?;
        self.held = held;
        self.held.drain(..read);
        Ok(masked)
    }

    /// Whether the rows may end here.
    pub fn is_whole(&self) -> bool {
        self.held.is_empty()
    }

    fn hold(&mut self, data: &[u8]) -> Result<(), MaskError> {
        if self.held.len() + data.len() > ROW_BYTES_MAX {
            return Err(MaskError::RowTooLong);
        }
        self.held.extend_from_slice(data);
        Ok(())
    }

    /// Bytes read and cells masked.
    fn frame(
        &mut self,
        key: &MaskKey,
        plan: &CopyPlan,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, u64), MaskError> {
        let start = out.len();
        out.extend_from_slice(&[b'd', 0, 0, 0, 0]);
        let mut read = 0;
        let mut masked = 0;
        while read < data.len() {
            let before = out.len();
            match self.row(key, plan, &data[read..], out) {
                Ok(row) => {
                    read += row.length;
                    masked += row.masked;
                }
                Err(MaskError::Truncated) => {
                    out.truncate(before);
                    break;
                }
                Err(error) => {
                    out.truncate(start);
                    return Err(error);
                }
            }
        }
        if read == 0 {
            out.truncate(start);
        } else {
            let length = out.len() - start - 1;
            row::put_length(out, start + 1, length);
        }
        Ok((read, masked))
    }

    /// Appends one row, or what stands before or behind all rows.
    fn row(
        &mut self,
        key: &MaskKey,
        plan: &CopyPlan,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Row, MaskError> {
        let steps = &*plan.steps;
        let place = self.place;
        let (row, after) = match &plan.format {
            CopyFormat::Binary => match place {
                Place::Start => (binary::header(data, out)?, Place::Rows),
                Place::Rows if data.starts_with(&binary::TRAILER) => (binary::trailer(out), Place::End),
                Place::Rows => (binary::row(key, steps, data, out)?, Place::Rows),
                Place::End => return Err(MaskError::TrailingBytes),
            },
            CopyFormat::Text { delimiter, null, header } => {
                let dialect = text::Text { delimiter: *delimiter, null };
                let line = place.line(*header, steps);
                (line::row(&dialect, key, line, data, &mut self.scratch, out)?, Place::Rows)
            }
            CopyFormat::Csv { delimiter, null, quote, escape, header, force_quote } => {
                let (delimiter, quote, escape) = (*delimiter, *quote, *escape);
                let alone = steps.len() == 1;
                let dialect = csv::Csv { delimiter, null, quote, escape, force_quote, alone };
                let line = place.line(*header, steps);
                (line::row(&dialect, key, line, data, &mut self.scratch, out)?, Place::Rows)
            }
        };
        self.place = after;
        Ok(row)
    }
}

/// What was read of a row, and how many of its cells were masked.
struct Row {
    length: usize,
    masked: u64,
}

#[cfg(test)]
mod tests;

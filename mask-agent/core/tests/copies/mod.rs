//! What a server writes for COPY, and what a reader takes from it: by the manual, not by our masks.

#![allow(dead_code, reason = "each test and each fuzz target uses its own part")]

/// A row: none is NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// How rows are written.
#[derive(Clone, Debug)]
pub enum Form {
    Binary { extension: Vec<u8> },
    Csv(Csv),
    Text { delimiter: u8, null: &'static str, header: bool },
}

#[derive(Clone, Debug)]
pub struct Csv {
    pub delimiter: u8,
    pub null: &'static str,
    pub quote: u8,
    pub escape: u8,
    pub header: bool,
    /// Of each column.
    pub forced: Vec<bool>,
}

pub const DELIMITERS: [u8; 6] = [b'\t', b',', b'|', b'*', b';', 0x01];
pub const QUOTES: [u8; 3] = [b'"', b'\'', b'~'];
pub const ESCAPES: [u8; 4] = [b'"', b'\'', b'\\', b'~'];
pub const TEXT_NULLS: [&str; 3] = ["\\N", "", "\\-"];
pub const CSV_NULLS: [&str; 3] = ["", "NULL", "\\N"];

/// Whether what is shown holds nothing of a value. One character, or a part of the constant, is shown by chance.
pub fn hides(value: &[u8], shown: &[u8]) -> bool {
    let holds = |text: &[u8]| text.windows(value.len().max(1)).any(|part| part == value);
    value.len() < 2 || holds(b"***") || !holds(shown)
}

fn literal(byte: u8) -> String {
    match byte {
        b'\'' => "''''".to_owned(),
        byte => format!("E'\\x{byte:02x}'"),
    }
}

impl Form {
    /// The options of COPY that ask for it, for columns of these names.
    pub fn options(&self, columns: &[&str]) -> String {
        match self {
            Self::Binary { .. } => "format binary".to_owned(),
            Self::Text { delimiter, null, header } => {
                format!("delimiter {}, null '{null}', header {header}", literal(*delimiter))
            }
            Self::Csv(csv) => {
                let forced: Vec<_> = columns
                    .iter()
                    .zip(&csv.forced)
                    .filter(|(_, forced)| **forced)
                    .map(|(name, _)| *name)
                    .collect();
                let [delimiter, quote, escape] = [csv.delimiter, csv.quote, csv.escape].map(literal);
                let options = format!(
                    "format csv, delimiter {delimiter}, null '{}', quote {quote}, escape {escape}, header {}",
                    csv.null, csv.header
                );
                if forced.is_empty() {
                    options
                } else if forced.len() == columns.len() {
                    options + ", force_quote *"
                } else {
                    format!("{options}, force_quote ({})", forced.join(", "))
                }
            }
        }
    }

    /// The same for reading: `FORCE_QUOTE` is for writing only.
    pub fn reading_options(&self, columns: &[&str]) -> String {
        let options = self.options(columns);
        options.split(", force_quote").next().unwrap_or_default().to_owned()
    }

    /// What comes before the rows.
    pub fn head(&self, columns: &[&str]) -> Vec<u8> {
        let names: Row = columns.iter().map(|name| Some(name.as_bytes().to_vec())).collect();
        match self {
            Self::Binary { extension } => {
                let length = u32::try_from(extension.len()).unwrap_or(0).to_be_bytes();
                [b"PGCOPY\n\xff\r\n\0\0\0\0\0", &length[..], extension].concat()
            }
            Self::Csv(csv) if csv.header => csv.row(&names),
            Self::Text { header: true, .. } => self.row(&names),
            Self::Csv(_) | Self::Text { .. } => Vec::new(),
        }
    }

    /// What comes behind them.
    pub fn tail(&self) -> &'static [u8] {
        match self {
            Self::Binary { .. } => b"\xff\xff",
            Self::Csv(_) | Self::Text { .. } => b"",
        }
    }

    /// One row.
    pub fn row(&self, row: &Row) -> Vec<u8> {
        match self {
            Self::Binary { .. } => {
                let mut out = u16::try_from(row.len()).unwrap_or(0).to_be_bytes().to_vec();
                for cell in row {
                    let length = cell.as_ref().map_or(-1, |cell| i32::try_from(cell.len()).unwrap_or(-1));
                    out.extend(length.to_be_bytes());
                    out.extend(cell.iter().flatten());
                }
                out
            }
            Self::Csv(csv) => csv.row(row),
            Self::Text { delimiter, null, .. } => {
                let mut out = Vec::new();
                for (index, cell) in row.iter().enumerate() {
                    if index > 0 {
                        out.push(*delimiter);
                    }
                    let Some(cell) = cell else {
                        out.extend(null.as_bytes());
                        continue;
                    };
                    for byte in cell {
                        match byte {
                            8 => out.extend(b"\\b"),
                            9 => out.extend(b"\\t"),
                            10 => out.extend(b"\\n"),
                            11 => out.extend(b"\\v"),
                            12 => out.extend(b"\\f"),
                            13 => out.extend(b"\\r"),
                            byte if byte == delimiter || *byte == b'\\' => out.extend([b'\\', *byte]),
                            byte => out.push(*byte),
                        }
                    }
                }
                out.push(b'\n');
                out
            }
        }
    }

    /// The rows in what came; none where it is not of this form.
    pub fn read(&self, data: &[u8], columns: usize) -> Option<Vec<Row>> {
        let mut rows = match self {
            Self::Binary { .. } => {
                return read_binary(data.strip_prefix(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")?);
            }
            Self::Csv(csv) => csv.read(data)?,
            Self::Text { delimiter, null, .. } => read_text(data, *delimiter, null.as_bytes())?,
        };
        if matches!(self, Self::Csv(Csv { header: true, .. }) | Self::Text { header: true, .. }) {
            if rows.is_empty() {
                return None;
            }
            rows.remove(0);
        }
        rows.iter().all(|row| row.len() == columns).then_some(rows)
    }
}

impl Csv {
    fn row(&self, row: &Row) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, cell) in row.iter().enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            let Some(cell) = cell else {
                out.extend(self.null.as_bytes());
                continue;
            };
            let special = |byte: &u8| [self.delimiter, self.quote, b'\n', b'\r'].contains(byte);
            let forced = self.forced.get(index).copied().unwrap_or(false);
            let end_mark = row.len() == 1 && cell == b"\\.";
            if !forced && !end_mark && cell != self.null.as_bytes() && !cell.iter().any(special) {
                out.extend(cell);
                continue;
            }
            out.push(self.quote);
            for byte in cell {
                if [self.quote, self.escape].contains(byte) {
                    out.push(self.escape);
                }
                out.push(*byte);
            }
            out.push(self.quote);
        }
        out.push(b'\n');
        out
    }

    fn read(&self, data: &[u8]) -> Option<Vec<Row>> {
        let (mut rows, mut row, mut cell) = (Vec::new(), Row::new(), Vec::new());
        let (mut quoted, mut inside) = (false, false);
        let mut bytes = data.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if inside {
                let next = bytes.peek().copied();
                if byte == self.escape && next.is_some_and(|next| next == self.quote || next == self.escape) {
                    cell.extend(bytes.next());
                } else if byte == self.quote {
                    inside = false;
                } else {
                    cell.push(byte);
                }
            } else if byte == self.quote {
                (quoted, inside) = (true, true);
            } else if byte == self.delimiter || byte == b'\n' {
                let value = std::mem::take(&mut cell);
                row.push((quoted || value != self.null.as_bytes()).then_some(value));
                quoted = false;
                if byte == b'\n' {
                    rows.push(std::mem::take(&mut row));
                }
            } else {
                cell.push(byte);
            }
        }
        (row.is_empty() && cell.is_empty() && !inside).then_some(rows)
    }
}

fn read_binary(mut rest: &[u8]) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    loop {
        let (count, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            return rest.is_empty().then_some(rows);
        }
        let mut row = Row::new();
        for _ in 0..count {
            let (length, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                row.push(None);
                continue;
            };
            let (value, after) = rest.split_at_checked(length)?;
            row.push(Some(value.to_vec()));
            rest = after;
        }
        rows.push(row);
    }
}

fn read_text(data: &[u8], delimiter: u8, null: &[u8]) -> Option<Vec<Row>> {
    let (mut rows, mut row) = (Vec::new(), Row::new());
    let (mut cell, mut raw) = (Vec::new(), Vec::new());
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == delimiter || byte == b'\n' {
            let value = std::mem::take(&mut cell);
            row.push((std::mem::take(&mut raw) != null).then_some(value));
            if byte == b'\n' {
                rows.push(std::mem::take(&mut row));
            }
            continue;
        }
        raw.push(byte);
        if byte != b'\\' {
            cell.push(byte);
            continue;
        }
        let escaped = bytes.next()?;
        raw.push(escaped);
        cell.push(match escaped {
            b'b' => 8,
            b't' => 9,
            b'n' => 10,
            b'v' => 11,
            b'f' => 12,
            b'r' => 13,
            other => other,
        });
    }
    (row.is_empty() && raw.is_empty()).then_some(rows)
}

//! COPY from the client into masked columns: rows are looked at while they pass, and a mask among them ends the COPY.
//!
//! Nothing is held back: the server drops all rows of a COPY that fails.

use super::{error::Fault, frame::put, queue::Reply, session::PostgresSession, tokens};
use crate::{
    masking::Format,
    policy::{CopyIn, FilledColumn, Refusal},
    session::Outbox,
};

/// Longer values are not masks: a token that can be turned back has 1,700 characters at most.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Signature, flags and length of the extension.
const BINARY_HEADER_BYTES: usize = 19;

/// How rows are written.
#[derive(Clone, Copy, Debug)]
enum Form {
    Binary,
    Csv { delimiter: u8, quote: u8, escape: u8 },
    Text { delimiter: u8 },
}

/// What is read next of the binary form.
#[derive(Clone, Copy, Debug)]
enum Part {
    Count,
    End,
    Extension,
    Header,
    Length,
    Value,
}

/// Where in a text the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Escaped,
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind what may be the end of a quoted value, or the first of two quotes.
    QuotedEscape,
}

/// The rows of a COPY while they pass.
#[derive(Debug)]
pub(super) struct CopyInScan {
    form: Form,
    columns: Vec<Option<FilledColumn>>,
    /// What NULL is written as.
    null: Vec<u8>,
    skips_line: bool,
    column: usize,
    value: Vec<u8>,
    at: At,
    is_quoted: bool,
    part: Part,
    /// Bytes of the part that are still to come.
    missing: usize,
    cells: usize,
    found: Option<Refusal>,
}

impl CopyInScan {
    /// Of a statement; none where its rows cannot be read.
    pub(super) fn new(copy: &CopyIn) -> Option<Self> {
        let option = |name: &str| copy.options.iter().find(|(known, _)| known == name);
        let text = |name: &str| option(name).and_then(|(_, value)| value.clone());
        let byte = |name: &str, default: u8| match text(name) {
            None => Some(default),
            Some(text) => <[u8; 1]>::try_from(text.as_bytes()).ok().map(|[byte]| byte),
        };
        let form = match text("format").map(|name| name.to_lowercase()).as_deref() {
            Some("binary") => Form::Binary,
            Some("csv") => {
                let quote = byte("quote", b'"')?;
                Form::Csv { delimiter: byte("delimiter", b',')?, quote, escape: byte("escape", quote)? }
            }
            Some("text") | None => Form::Text { delimiter: byte("delimiter", b'\t')? },
            Some(_) => return None,
        };
        let header = option("header").map(|(_, value)| value.as_deref().unwrap_or("true").to_lowercase());
        Some(Self {
            form,
            columns: copy.columns.clone(),
            null: text("null").unwrap_or_default().into_bytes(),
            skips_line: header.is_some_and(|value| !matches!(&*value, "false" | "off" | "0")),
            column: 0,
            value: Vec::new(),
            at: At::Plain,
            is_quoted: false,
            part: Part::Header,
            missing: BINARY_HEADER_BYTES,
            cells: 0,
            found: None,
        })
    }

    /// Looks at more of the rows.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        match self.form {
            Form::Binary => self.binary(bytes),
            Form::Csv { delimiter, quote, escape } => {
                for byte in bytes {
                    self.csv(*byte, delimiter, quote, escape);
                }
            }
            Form::Text { delimiter } => {
                for byte in bytes {
                    self.text(*byte, delimiter);
                }
            }
        }
    }

    /// Looks at a last line that does not end.
    fn end(&mut self) {
        if !matches!(self.form, Form::Binary) && !self.value.is_empty() {
            self.end_value();
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.columns.get(self.column).is_some_and(Option::is_some) && self.value.len() <= VALUE_BYTES_MAX {
            self.value.push(byte);
        }
    }

    fn end_value(&mut self) {
        let is_null = !self.is_quoted && self.value == self.null;
        let format = if matches!(self.form, Form::Binary) { Format::Binary } else { Format::Text };
        if let Some(Some(column)) = self.columns.get(self.column)
            && !is_null
            && !self.skips_line
            && self.found.is_none()
            && self.value.len() <= VALUE_BYTES_MAX
        {
            self.found = column.refusal(format, &self.value);
        }
        self.value.clear();
        self.is_quoted = false;
        self.column += 1;
    }

    fn end_line(&mut self) {
        if self.value.last() == Some(&b'\r') {
            self.value.pop();
        }
        self.end_value();
        self.column = 0;
        self.skips_line = false;
    }

    fn text(&mut self, byte: u8, delimiter: u8) {
        match (self.at, byte) {
            (At::Escaped, _) => {
                self.at = At::Plain;
                // Other letters are control characters, which no mask has.
                self.keep(if b"bfnrtv".contains(&byte) { b'\\' } else { byte });
            }
            (_, b'\\') => self.at = At::Escaped,
            (_, b'\n') => self.end_line(),
            (_, byte) if byte == delimiter => self.end_value(),
            (_, byte) => self.keep(byte),
        }
    }

    fn csv(&mut self, byte: u8, delimiter: u8, quote: u8, escape: u8) {
        match self.at {
            At::Quoted if byte == escape => self.at = At::QuotedEscape,
            At::Quoted if byte == quote => self.at = At::Plain,
            At::Quoted => self.keep(byte),
            At::QuotedEscape if byte == quote || byte == escape => {
                self.at = At::Quoted;
                self.keep(byte);
            }
            At::QuotedEscape if escape == quote => {
                self.at = At::Plain;
                self.csv(byte, delimiter, quote, escape);
            }
            At::QuotedEscape => {
                self.at = At::Quoted;
                self.keep(escape);
                self.keep(byte);
            }
            At::Escaped | At::Plain => match byte {
                b'\n' => self.end_line(),
                byte if byte == delimiter => self.end_value(),
                byte if byte == quote => {
                    self.is_quoted = true;
                    self.at = At::Quoted;
                }
                byte => self.keep(byte),
            },
        }
    }

    fn binary(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() || self.missing == 0 {
            let (taken, rest) = bytes.split_at(self.missing.min(bytes.len()));
            bytes = rest;
            self.missing -= taken.len();
            match self.part {
                Part::End => return,
                Part::Value if self.columns.get(self.column).is_none_or(Option::is_none) => {}
                Part::Value if self.value.len() > VALUE_BYTES_MAX => {}
                Part::Extension => {}
                Part::Count | Part::Header | Part::Length | Part::Value => {
                    self.value.extend_from_slice(taken);
                }
            }
            if self.missing > 0 {
                return;
            }
            self.next_part();
        }
    }

    fn next_part(&mut self) {
        let number = || self.value.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        (self.part, self.missing) = match self.part {
            Part::Header => {
                let extension = self.value.get(BINARY_HEADER_BYTES - 4..).unwrap_or_default();
                let length = extension.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
                (Part::Extension, usize::try_from(length).unwrap_or(usize::MAX))
            }
            Part::Extension => (Part::Count, 2),
            Part::Count => {
                self.column = 0;
                self.cells = usize::try_from(number()).unwrap_or(0);
                match self.cells {
                    0 => (Part::Count, 2),
                    // -1 is the end.
                    0xffff => (Part::End, usize::MAX),
                    _ => (Part::Length, 4),
                }
            }
            Part::Length => match i32::from_be_bytes(number().to_be_bytes()) {
                length if length < 0 => {
                    self.column += 1;
                    if self.column < self.cells { (Part::Length, 4) } else { (Part::Count, 2) }
                }
                length => (Part::Value, usize::try_from(length).unwrap_or(0)),
            },
            Part::Value => {
                self.is_quoted = true;
                self.end_value();
                if self.column < self.cells { (Part::Length, 4) } else { (Part::Count, 2) }
            }
            Part::End => (Part::End, usize::MAX),
        };
        self.value.clear();
    }
}

impl PostgresSession {
    /// The server is ready for the rows of the statement at the head.
    pub(super) fn begin_copy_in(&mut self) {
        self.copy_in = None;
        if !self.enforces() {
            return;
        }
        let copy = match self.queue.head() {
            Some(Reply::Simple { statement, part, .. }) => statement.analysed.parts.get(*part),
            Some(Reply::Execute { portal }) => {
                self.portals.get(portal).and_then(|portal| portal.prepared.statement.analysed.parts.first())
            }
            _ => None,
        };
        self.copy_in = copy.and_then(|part| part.copy_in.as_ref()).and_then(CopyInScan::new);
    }

    /// No more rows come, from either side.
    pub(super) fn end_copy(&mut self) {
        self.copy = None;
        self.copy_in = None;
    }

    /// Ends the COPY if a mask was found among its rows; `at_end` where no more rows come. Whether it was ended.
    pub(super) fn refuses_copy(&mut self, end: CopyEnd, out: &mut Outbox) -> bool {
        let Some(scan) = &mut self.copy_in else { return false };
        if end == CopyEnd::Done {
            scan.end();
        }
        let Some(refusal) = scan.found.take() else {
            if end == CopyEnd::Done {
                self.copy_in = None;
            }
            return false;
        };
        self.copy_in = None;
        let fault: Fault = tokens::fault(&refusal);
        out.server
            .0
            .scratch(|out| put(out, b'f', |out| out.extend_from_slice(b"mask_agent_refused_these_rows\0")));
        self.copy_refused = Some(fault);
        true
    }
}

/// Whether the client has sent all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyEnd {
    Done,
    Open,
}

#[cfg(test)]
#[path = "copy_in_tests.rs"]
mod tests;

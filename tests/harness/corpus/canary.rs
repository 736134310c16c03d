//! The values that must not be seen, in every spelling they may be seen in.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};

use super::Client;
use crate::wire::{Message, hex, query};

/// Characters of a value that are a leak by themselves.
const PIECE: usize = 4;
/// The same for cells that are put together.
const PIECE_JOINED: usize = 7;
/// Bytes that give six characters of base64 whatever stands before them. A shorter piece is found at the end of a text,
/// where its last character and the padding are its own as well.
const PIECE_BASE64: usize = 5;

/// Whether a piece is a number with a point in it, which counts for no digit: three are the average of many a column.
fn is_decimal(piece: &[u8]) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    piece.contains(&b'.')
        && piece.iter().all(|byte| *byte == b'.' || byte.is_ascii_digit())
        && is_digit(piece.first())
        && is_digit(piece.last())
}

const TEXTS: &str = "select name from app.customers union all select email from app.customers
    union all select ssn from app.customers union all select phone from app.customers";
const NUMBERS: &str =
    "select salary::text from app.customers union all select income::text from app.customers";
const DATES: &str = "select unnest(array[to_char(birth_date, 'YYYY'), to_char(birth_date, 'YYYY-MM-DD'),
    to_char(birth_date, 'YYYYMMDD'), to_char(birth_date, 'MM/DD/YYYY'), to_char(birth_date, 'DD/MM/YYYY'),
    to_char(birth_date, 'DD.MM.YYYY'), (birth_date - '2000-01-01')::text,
    extract(epoch from birth_date)::int8::text]) from app.customers";
const DAYS: &str = "select (birth_date - '2000-01-01')::text from app.customers";

/// A spelling of a piece of a value.
#[derive(Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// The piece, as the client might have said it itself.
    clear: String,
    spelling: &'static str,
}

/// All spellings, by their first bytes.
#[derive(Debug, Default)]
pub struct Canaries {
    patterns: Patterns,
    /// For cells put together, where short pieces would come about by chance.
    joined: Patterns,
}

/// Patterns by their first bytes.
#[derive(Debug)]
struct Patterns {
    by_start: HashMap<[u8; 4], Vec<Pattern>>,
    /// A bit for every hash of a start: nearly every byte that is searched ends here.
    starts: Vec<u64>,
    seen: HashSet<Vec<u8>>,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { by_start: HashMap::new(), starts: vec![0; 1 << (START_BITS - 6)], seen: HashSet::new() }
    }
}

/// Few of the starts fall together, and the bits stay in the cache.
const START_BITS: u32 = 18;

/// The place of a start's bit.
fn start(bytes: [u8; 4]) -> (usize, u32) {
    let hash = u32::from_le_bytes(bytes).wrapping_mul(0x9e37_79b1) >> (32 - START_BITS);
    (hash as usize / 64, hash % 64)
}

impl Patterns {
    fn put(&mut self, bytes: Vec<u8>, clear: &str, spelling: &'static str) {
        let Some(first) = bytes.first_chunk::<4>().copied() else { return };
        if self.seen.insert(bytes.clone()) {
            let pattern = Pattern { bytes, clear: clear.to_owned(), spelling };
            let (word, bit) = start(first);
            self.starts[word] |= 1 << bit;
            self.by_start.entry(first).or_default().push(pattern);
        }
    }

    fn search(&self, bytes: &[u8], said: &str, channel: &'static str, found: &mut Vec<Finding>) {
        for (at, first) in bytes.array_windows::<4>().enumerate() {
            let (word, bit) = start(*first);
            if self.starts[word] >> bit & 1 == 0 {
                continue;
            }
            for pattern in self.by_start.get(first).into_iter().flatten() {
                let shows = bytes[at..].starts_with(&pattern.bytes) && !says(said, pattern);
                let is_new = |other: &Finding| (other.channel, other.spelling) != (channel, pattern.spelling);
                if shows && found.iter().all(is_new) {
                    let (spelling, clear) = (pattern.spelling, pattern.clear.clone());
                    found.push(Finding { channel, spelling, clear });
                }
            }
        }
    }
}

/// A canary that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of message it came in.
    pub channel: &'static str,
    /// How it was spelt.
    pub spelling: &'static str,
    /// The piece.
    pub clear: String,
}

impl Canaries {
    /// Reads the values of the classified columns past any agent.
    pub fn load(client: &mut Client) -> Result<Self> {
        let mut canaries = Self::default();
        for value in values(client, TEXTS)? {
            canaries.add_text(&value)?;
        }
        for value in values(client, NUMBERS)? {
            canaries.add_text(&value)?;
            canaries.add_number(&value)?;
        }
        for value in values(client, DATES)? {
            canaries.add_whole(&value)?;
        }
        for value in values(client, DAYS)? {
            let days: i32 = value.parse()?;
            let micros = i64::from(days) * 86_400_000_000;
            canaries.put(days.to_be_bytes().to_vec(), &value, "binary");
            canaries.put(micros.to_be_bytes().to_vec(), &value, "binary");
        }
        ensure!(!canaries.patterns.seen.is_empty(), "app.customers is empty");
        Ok(canaries)
    }

    /// The same with the values a case reveals in an alphabet of its own.
    pub fn revealed(client: &mut Client, sql: &str) -> Result<Self> {
        let mut canaries = Self::default();
        for value in values(client, sql)? {
            canaries.add_whole(&value)?;
        }
        Ok(canaries)
    }

    fn put(&mut self, bytes: Vec<u8>, clear: &str, spelling: &'static str) {
        self.patterns.put(bytes, clear, spelling);
    }

    /// A value in an alphabet of its own, of which pieces would come about by chance.
    fn add_whole(&mut self, value: &str) -> Result<()> {
        ensure!(value.len() >= PIECE, "{value:?} is too short to be told from other text");
        self.put(value.as_bytes().to_vec(), value, "clear");
        if value.len() >= PIECE_JOINED {
            self.joined.put(value.as_bytes().to_vec(), value, "clear");
        }
        self.put(value.chars().rev().collect::<String>().into_bytes(), value, "reversed");
        let digits = hex(value.as_bytes());
        self.put(digits.to_ascii_uppercase().into_bytes(), value, "hex");
        self.put(digits.into_bytes(), value, "hex");
        Ok(())
    }

    fn add_text(&mut self, value: &str) -> Result<()> {
        ensure!(value.len() >= PIECE, "{value:?} is too short to be told from other text");
        for spelt in [value.to_owned(), value.to_lowercase(), value.to_uppercase()] {
            let bytes = spelt.as_bytes();
            let pieces = bytes.windows(PIECE).filter(|piece| !is_decimal(piece));
            for piece in pieces.chain(bytes.windows(PIECE + 1).filter(|piece| is_decimal(piece))) {
                self.add_piece(piece);
            }
            for piece in spelt.as_bytes().windows(PIECE_JOINED) {
                let clear = String::from_utf8_lossy(piece).into_owned();
                self.joined.put(piece.to_vec(), &clear, "clear");
                self.joined.put(piece.iter().rev().copied().collect(), &clear, "reversed");
            }
            for piece in spelt.as_bytes().windows(PIECE_BASE64.min(spelt.len())) {
                let clear = String::from_utf8_lossy(piece).into_owned();
                for shift in 0..3 {
                    self.put_base64(base64(piece, shift), &clear);
                }
            }
            for piece in spelt.as_bytes().windows(PIECE) {
                let clear = String::from_utf8_lossy(piece).into_owned();
                for shift in 0..3 {
                    // Without padding too few characters are its own.
                    if (shift + piece.len()) % 3 != 0 {
                        self.put_base64(base64_end(piece, shift), &clear);
                    }
                }
            }
        }
        Ok(())
    }

    fn put_base64(&mut self, written: Vec<u8>, clear: &str) {
        // The alphabet of addresses has other characters at its end.
        let other = written.iter().map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            _ => *byte,
        });
        self.put(other.collect(), clear, "base64");
        self.put(written, clear, "base64");
    }

    fn add_piece(&mut self, piece: &[u8]) {
        let clear = String::from_utf8_lossy(piece).into_owned();
        let reversed: Vec<u8> = piece.iter().rev().copied().collect();
        self.put(piece.to_vec(), &clear, "clear");
        for digits in [hex(piece), hex(piece).to_ascii_uppercase()] {
            let digits = digits.as_bytes();
            self.put(digits.to_vec(), &clear, "hex");
            let escaped = |before: &[u8]| digits.chunks(2).flat_map(|pair| [before, pair].concat()).collect();
            self.put(escaped(b"%"), &clear, "url");
            self.put(escaped(b"\\u00"), &clear, "json");
        }
        self.put(piece.iter().flat_map(|byte| [*byte, 0]).collect(), &clear, "utf-16");
        self.put(piece.iter().flat_map(|byte| [0, *byte]).collect(), &clear, "utf-16");
        for gap in [",", ", ", " ", "", "\n"] {
            let codes: Vec<_> = piece.iter().map(u8::to_string).collect();
            self.put(codes.join(gap).into_bytes(), &clear, "char codes");
        }
        let bits = piece.iter().fold(String::new(), |bits, byte| bits + &format!("{byte:08b}"));
        self.put(bits.into_bytes(), &clear, "bits");
        if let Some(bytes) = piece.first_chunk::<4>() {
            self.put(u32::from_be_bytes(*bytes).to_string().into_bytes(), &clear, "number");
        }
        self.put(reversed, &clear, "reversed");
    }

    /// The binary formats of a number.
    fn add_number(&mut self, value: &str) -> Result<()> {
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let number: f64 = value.parse()?;
        self.put(number.to_be_bytes().to_vec(), value, "binary");
        self.put((number as f32).to_be_bytes().to_vec(), value, "binary");
        if fraction.is_empty() {
            let whole: i32 = whole.parse()?;
            self.put(whole.to_be_bytes().to_vec(), value, "binary");
            self.put(format!("{whole:x}").into_bytes(), value, "hex");
            self.put(format!("{whole:X}").into_bytes(), value, "hex");
            let bits = format!("{whole:b}").into_bytes();
            self.joined.put(bits.clone(), value, "bits");
            self.put(bits, value, "bits");
        }
        // Base 10000, aligned at the point.
        let padded = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
        let all = format!("{padded}{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
        let digits = all.as_bytes().chunks(4).map(|group| str::from_utf8(group)?.parse().context("a digit"));
        let digits: Vec<u16> = digits.collect::<Result<_>>()?;
        self.put(digits.into_iter().flat_map(u16::to_be_bytes).collect(), value, "binary");
        Ok(())
    }

    /// The canaries in an answer that the client had not said itself, one for each channel and spelling.
    pub fn search(&self, answer: &[Message], said: &str) -> Vec<Finding> {
        let mut found = vec![];
        for (kind, body) in answer {
            for part in parts(*kind, body) {
                self.patterns.search(part, said, channel(*kind), &mut found);
            }
        }
        for stream in streams(answer) {
            self.joined.search(&stream, said, "row", &mut found);
        }
        found
    }
}

fn says(said: &str, pattern: &Pattern) -> bool {
    said.contains(&pattern.clear) || str::from_utf8(&pattern.bytes).is_ok_and(|text| said.contains(text))
}

/// What a message is to its reader.
pub(super) fn channel(kind: u8) -> &'static str {
    match kind {
        b'A' => "notification",
        b'D' => "row",
        b'E' => "error",
        b'N' => "notice",
        b'S' => "parameter",
        b'T' => "column name",
        b'V' => "function result",
        b'd' => "copy",
        _ => "other",
    }
}

/// What of a message the server may have from its tables: not the line of its own source that an error came from.
fn parts(kind: u8, body: &[u8]) -> Vec<&[u8]> {
    match kind {
        b'E' | b'N' => body.split(|byte| *byte == 0).filter(|field| !field.starts_with(b"L")).collect(),
        _ => vec![body],
    }
}

/// What a reader gets who puts cells together: all in their order, each column by itself, and numbers as characters.
fn streams(answer: &[Message]) -> Vec<Vec<u8>> {
    let rows: Vec<Vec<Vec<u8>>> = answer.iter().filter_map(|(kind, body)| cells(*kind, body)).collect();
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut streams = vec![rows.iter().flatten().flatten().copied().collect(), vec![]];
    for column in 0..width {
        streams.push(rows.iter().filter_map(|row| row.get(column)).flatten().copied().collect());
        let characters = rows.iter().filter_map(|row| row.get(column)).filter_map(|cell| character(cell));
        streams.push(characters.collect());
    }
    streams[1] = rows.iter().flatten().filter_map(|cell| character(cell)).collect();
    streams
}

/// A printable character that a number may stand for.
fn character(cell: &[u8]) -> Option<u8> {
    let number = match cell {
        [0, 0, 0, 0, 0, 0, 0, byte] | [0, 0, 0, byte] | [0, byte] => u32::from(*byte),
        text => str::from_utf8(text).ok()?.parse().ok()?,
    };
    u8::try_from(number).ok().filter(|byte| (32..127).contains(byte))
}

/// The cells of a row, or of a line of a COPY.
fn cells(kind: u8, body: &[u8]) -> Option<Vec<Vec<u8>>> {
    match kind {
        b'D' => binary_cells(body),
        b'd' => binary_cells(body).or_else(|| {
            let trim = |cell: &[u8]| cell.iter().copied().filter(|byte| !b"\"\n".contains(byte)).collect();
            Some(body.split(|byte| b"\t,".contains(byte)).map(trim).collect())
        }),
        _ => None,
    }
}

fn binary_cells(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut cells = vec![];
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (cell, after) = after.split_at_checked(length)?;
        cells.push(cell.to_vec());
        rest = after;
    }
    rest.is_empty().then_some(cells)
}

/// The first column of a query's rows.
pub(super) fn values(client: &mut Client, sql: &str) -> Result<Vec<String>> {
    let answer = client.say(&query(sql), 1, b"")?;
    ensure!(answer.iter().all(|(kind, _)| *kind != b'E'), "{sql}: {answer:?}");
    let rows = answer.iter().filter(|(kind, _)| *kind == b'D').filter_map(|(_, body)| binary_cells(body));
    rows.map(|row| Ok(String::from_utf8(row.into_iter().next().context("a cell")?)?)).collect()
}

/// The characters of base64 that depend on these bytes alone, where so many bytes stand before them in their group.
fn base64(bytes: &[u8], before: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = [&b"\0\0"[..before], bytes].concat();
    let bits = padded.len() * 8;
    let bit = |at: usize| usize::from(padded[at / 8] >> (7 - at % 8) & 1);
    let sextet = |at: usize| (0..6).fold(0, |value, index| value << 1 | bit(at + index));
    ((before * 8).div_ceil(6)..bits / 6).map(|at| ALPHABET[sextet(at * 6)]).collect()
}

/// The same of bytes that a text ends with, and its padding.
fn base64_end(bytes: &[u8], before: usize) -> Vec<u8> {
    let missing = (3 - (before + bytes.len()) % 3) % 3;
    let mut written = base64(&[bytes, &b"\0\0"[..missing]].concat(), before);
    let length = written.len();
    written[length - missing..].fill(b'=');
    written
}

#[cfg(test)]
mod tests;

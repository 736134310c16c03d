//! The protocol written by hand, where no driver does what a test needs.

use std::fmt::Write;

/// A message.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    lying(kind, u32::try_from(body.len() + 4).unwrap_or(u32::MAX), body)
}

/// A message that says another length than it has.
pub fn lying(kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// A simple query.
pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What `hex` wrote.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).filter_map(digits).collect()
}

//! What the bytes of statements and values mean: `client_encoding` and `server_encoding` as the server reports them.
//!
//! Promise: two texts that are different names to the server are so to us, or the statement is refused.

use std::borrow::Cow;

use super::error::{Fault, REFUSED};
use crate::{
    catalog::TypeShape,
    lineage::{self, Doubt},
    masking::{CellPlan, CellRule, MaskKind},
};

/// Encodings whose second byte may be an ASCII character: masks and the lexer would read them wrong.
const UNSAFE: [&[u8]; 7] = [b"SJIS", b"BIG5", b"GBK", b"UHC", b"GB18030", b"JOHAB", b"SHIFT_JIS_2004"];

/// What is known of an encoding, all of which have ASCII in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    /// `SQL_ASCII`: whatever whoever wrote it meant.
    Any,
    Latin1,
    /// Several bytes a character, and no table of ours.
    Many,
    /// One byte a character, and no table of ours.
    One,
    Utf8,
}

impl Charset {
    /// By the name the server gives it.
    fn named(name: &[u8]) -> Self {
        match name {
            b"UTF8" => Self::Utf8,
            b"SQL_ASCII" => Self::Any,
            b"LATIN1" => Self::Latin1,
            _ if name.starts_with(b"EUC_") || name == b"MULE_INTERNAL" || UNSAFE.contains(&name) => {
                Self::Many
            }
            _ => Self::One,
        }
    }
}

/// Both encodings of a session.
#[derive(Debug)]
pub(super) struct Encodings {
    client: Charset,
    server: Charset,
}

impl Default for Encodings {
    fn default() -> Self {
        Self { client: Charset::Utf8, server: Charset::Utf8 }
    }
}

/// Whether text in this encoding cannot be told apart byte by byte where it is ASCII.
pub(super) fn is_unsafe(name: &[u8]) -> bool {
    UNSAFE.contains(&name)
}

impl Encodings {
    pub(super) fn take_client(&mut self, name: &[u8]) {
        self.client = Charset::named(name);
    }

    pub(super) fn take_server(&mut self, name: &[u8]) {
        self.server = Charset::named(name);
    }

    /// Whether the client's values are in UTF-8.
    pub(super) fn is_utf8(&self) -> bool {
        self.charset() == Charset::Utf8
    }

    /// What the client's bytes are: to and from `SQL_ASCII` nothing is converted.
    fn charset(&self) -> Charset {
        match (self.client, self.server) {
            (Charset::Any, server) => server,
            // The catalog is read as UTF-8, and what is not cannot be read.
            (_, Charset::Any) => Charset::Any,
            (client, _) => client,
        }
    }

    /// A statement as text.
    pub(super) fn text<'a>(&self, sql: &'a [u8]) -> Cow<'a, str> {
        if self.charset() == Charset::Latin1 && !sql.is_ascii() {
            return sql.iter().map(|byte| char::from(*byte)).collect();
        }
        String::from_utf8_lossy(sql)
    }

    /// Why names in a statement cannot be trusted to mean what they seem to.
    pub(super) fn doubt(&self, sql: &[u8], text: &str) -> Option<Fault> {
        let known = match self.charset() {
            // What is not valid the server does not take, unless it takes everything.
            Charset::Latin1 | Charset::Utf8 => true,
            Charset::Any => str::from_utf8(sql).is_ok(),
            Charset::Many | Charset::One => false,
        };
        let doubt = match self.server {
            _ if !known => Doubt::Unknown,
            Charset::Utf8 => return None,
            Charset::Any => Doubt::Bytes,
            Charset::Latin1 | Charset::One => Doubt::Letters,
            Charset::Many => Doubt::Unknown,
        };
        lineage::doubtful(text, doubt)?;
        Some(Fault::refusal(
            REFUSED,
            "encoding",
            "a name has letters beyond ASCII that cannot be read as the server reads them",
            "Set client_encoding to UTF8, and write such names in double quotes.",
        ))
    }

    /// The cell with constants that the client's encoding has.
    pub(super) fn fit(&self, cell: CellPlan) -> CellPlan {
        if self.is_utf8() { cell } else { in_ascii(cell) }
    }
}

/// The cell with constants that every encoding has.
pub(super) fn in_ascii(mut cell: CellPlan) -> CellPlan {
    if let CellRule::Mask(rule) = &cell.rule
        && let MaskKind::Redact { placeholder: Some(placeholder) } = &*rule.mask
        && !placeholder.is_ascii()
    {
        cell.rule = CellRule::Redact;
    }
    if let Some(TypeShape::Enum(label)) = &cell.shape
        && !label.is_ascii()
    {
        cell.shape = Some(TypeShape::Pseudo);
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encodings(client: &[u8], server: &[u8]) -> Encodings {
        Encodings { client: Charset::named(client), server: Charset::named(server) }
    }

    fn is_refused(client: &str, server: &str, sql: &[u8]) -> bool {
        let encodings = encodings(client.as_bytes(), server.as_bytes());
        encodings.doubt(sql, &encodings.text(sql)).is_some()
    }

    #[test]
    fn names_are_read_where_the_encoding_is_known() {
        assert_eq!(encodings(b"LATIN1", b"UTF8").text(b"caf\xe9"), "café");
        assert_eq!(encodings(b"LATIN1", b"UTF8").text(b"caf\xc3\xa9"), "cafÃ©");
        assert_eq!(encodings(b"SQL_ASCII", b"UTF8").text("café".as_bytes()), "café");
        assert!(!is_refused("UTF8", "UTF8", "select é".as_bytes()));
        assert!(!is_refused("LATIN1", "UTF8", b"select \xe9"));
        assert!(!is_refused("LATIN1", "LATIN1", b"select \xe9, \"\xc9\""));
        assert!(!is_refused("SQL_ASCII", "UTF8", "select é".as_bytes()));
        assert!(!is_refused("SQL_ASCII", "SQL_ASCII", "select \"é\"".as_bytes()));
    }

    #[test]
    fn names_are_refused_where_it_is_not() {
        assert!(is_refused("WIN1252", "UTF8", b"select \xe9"));
        assert!(is_refused("EUC_JP", "UTF8", b"select \xb4\xc1"));
        assert!(is_refused("UTF8", "EUC_JP", "select 漢".as_bytes()));
        assert!(is_refused("UTF8", "LATIN1", "select É".as_bytes()));
        assert!(is_refused("UTF8", "SQL_ASCII", b"select \"\xe9\""));
        assert!(is_refused("LATIN1", "SQL_ASCII", b"select \"\xe9\""));
        assert!(is_refused("SQL_ASCII", "SQL_ASCII", b"select $\xe9$a$\xe8$"));
    }

    #[test]
    fn text_is_no_name() {
        for (client, server) in [("WIN1252", "UTF8"), ("EUC_JP", "EUC_JP"), ("SQL_ASCII", "SQL_ASCII")] {
            assert!(!is_refused(client, server, b"select 'caf\xe9' -- \xe9"), "{client} {server}");
        }
    }
}

//! A statement's text without its literals.
//!
//! Promise: two statements with the same template are the same tokens for the server, but for the values of
//! their constants. Whatever is not certain to be read here as the server's lexer reads it has no template:
//! comments, escapes, dollar quotes, characters beyond ASCII outside quotes.

use std::ops::Range;

use pg_query::protobuf::Token;

use super::{STACK_BYTES, STACK_PER_BYTE, is_relative_time};

/// Stands for a run of digits short enough to be an integer of four bytes in every grammar rule.
const INTEGER: u8 = 1;
/// Stands for a decimal.
const DECIMAL: u8 = 2;
/// Stands for a string constant.
const STRING: u8 = 3;

/// More digits may be a constant of another kind.
const INTEGER_DIGITS_MAX: usize = 9;

/// Writes the template of a statement; false where it has none.
pub fn template(sql: &str, out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut rest = sql.as_bytes();
    while let [byte, after @ ..] = rest {
        let taken = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b'(' | b')' | b'[' | b']' | b',' | b';' | b'=' | b'<' | b'>'
            | b'+' | b'%' | b'^' | b'|' | b'~' | b'!' | b'?' | b'#' | b':' | b'@' | b'&' => {
                out.push(*byte);
                Some(1)
            }
            // Two of the first begin a comment, and so do the second with the third.
            b'-' if after.first() != Some(&b'-') => Some(verbatim(rest, 1, out)),
            b'/' if after.first() != Some(&b'*') => Some(verbatim(rest, 1, out)),
            b'*' => Some(verbatim(rest, 1, out)),
            // A number may begin with a point.
            b'.' if !after.first().is_some_and(u8::is_ascii_digit) => Some(verbatim(rest, 1, out)),
            b'\'' => string(rest, out),
            b'"' => quoted(rest, out),
            b'$' => parameter(rest, out),
            b'0'..=b'9' => number(rest, out),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => identifier(rest, out),
            _ => None,
        };
        let Some(taken) = taken else { return false };
        rest = &rest[taken..];
    }
    true
}

/// Where string constants stand in a text that was analysed: those of standard SQL, with escapes or between dollars.
pub fn constants(sql: &str) -> Vec<Range<usize>> {
    let Ok(scanned) = pg_query::scan(sql) else { return Vec::new() };
    let constants = scanned.tokens.iter().filter(|token| token.token() == Token::Sconst);
    constants
        .filter_map(|token| Some(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?))
        .collect()
}

/// Whether a text that was analysed and another one are the same statements but for their constants.
pub fn differ_in_constants(sql: &str, other: &str) -> bool {
    let room = sql.len().max(other.len()).saturating_mul(STACK_PER_BYTE).min(STACK_BYTES);
    let of = |sql: &str| pg_query::fingerprint(sql, 0, 0).map(|fingerprint| fingerprint.value).ok();
    stacker::maybe_grow(room, STACK_BYTES, || of(sql).is_some_and(|one| of(other) == Some(one)))
}

fn verbatim(text: &[u8], count: usize, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&text[..count]);
    count
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !belongs(*byte)).unwrap_or(text.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// A word before a quote may change what the quote means: E'…', U&'…', B'…'.
fn identifier(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let count = run(text, is_word);
    let ends = match text[count..] {
        [b'\'' | b'"' | b'&', ..] => false,
        _ => text[..count].is_ascii(),
    };
    ends.then(|| verbatim(text, count, out))
}

fn number(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let whole = run(text, |byte| byte.is_ascii_digit());
    let (count, kind) = match text[whole..] {
        [b'.', digit, ..] if digit.is_ascii_digit() => {
            (whole + 1 + run(&text[whole + 1..], |byte| byte.is_ascii_digit()), DECIMAL)
        }
        _ => (whole, INTEGER),
    };
    let ends = !text.get(count).is_some_and(|byte| is_word(*byte) || *byte == b'.');
    if !ends || whole > INTEGER_DIGITS_MAX {
        return None;
    }
    out.push(kind);
    Some(count)
}

/// `$1`; anything else with a dollar may be a quote.
fn parameter(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let digits = run(&text[1..], |byte| byte.is_ascii_digit());
    let count = 1 + digits;
    let ends = !text.get(count).is_some_and(|byte| is_word(*byte));
    (ends && digits > 0).then(|| verbatim(text, count, out))
}

fn string(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let count = closing(text, b'\'')?;
    // Of two times, one may change by itself.
    if text[..count].contains(&b'\\') || is_relative_time(&text[1..count - 1]) {
        return None;
    }
    out.push(STRING);
    Some(count)
}

fn quoted(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    closing(text, b'"').map(|count| verbatim(text, count, out))
}

/// The length of a quoted text with its quotes; a quote is doubled to stand for itself.
fn closing(text: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text.get(at..)?.iter().position(|byte| *byte == quote)? + 1;
        if text.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{differ_in_constants, template};

    fn of(sql: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        template(sql, &mut out).then_some(out)
    }

    #[test]
    fn statements_that_differ_in_their_literals_share_a_template() {
        for (one, other) in [
            ("select * from t where id = 1", "select * from t where id = 999999999"),
            ("select 'a'", "select 'it''s'"),
            ("select 1.5, \"a\"\"b\", $1", "select 0.25, \"a\"\"b\", $1"),
            ("select 'ä'", "select ''"),
            ("select 1 - 2", "select 3 - 4"),
            ("select 8 / 2 * 3", "select 9 / 3 * 4"),
        ] {
            let key = of(one);
            assert!(key.is_some() && key == of(other), "{one}");
            // The server's own grammar agrees that they are the same statement.
            let fingerprint = |sql: &str| pg_query::fingerprint(sql, 0, 0).unwrap().value;
            assert_eq!(fingerprint(one), fingerprint(other), "{one}");
        }
    }

    #[test]
    fn statements_that_differ_in_more_do_not() {
        for (one, other) in [
            ("select 1", "select 1.0"),
            ("select 1", "select '1'"),
            ("select a", "select b"),
            ("select \"a\"", "select a"),
            ("select $1", "select $2"),
            ("select 'a' 'b'", "select 'a'"),
            ("select 1", "select 12345678901"),
            ("select a.b", "select a.\"b\""),
            ("select a$1", "select a$2"),
        ] {
            assert_ne!(of(one), of(other), "{one} and {other}");
        }
    }

    #[test]
    fn texts_differ_in_constants_or_in_more() {
        assert!(differ_in_constants("select a where b = 1", "select a where b = 'x'"));
        assert!(!differ_in_constants("select a where b = 1", "select c where b = 1"));
        assert!(!differ_in_constants("select", "selec"));
    }

    #[test]
    fn a_time_of_any_length_that_is_one_has_none() {
        let blanks = |count: usize| format!("select 'now{}'", " ".repeat(count));
        assert_eq!(of(&blanks(61)), None);
        assert!(of(&blanks(62)).is_some());
    }

    #[test]
    fn what_might_be_read_otherwise_has_none() {
        for sql in [
            "select e'\\''",
            "select U&'\\0041'",
            "select b'1'",
            "select 'Now'",
            "select ' today 10:00'",
            "select date'2020-01-01'",
            "select 'a\\'",
            "select $$a$$",
            "select $q$a$q$",
            "select 1 -- comment",
            "select 1 /* comment */",
            "select 1 -- ' comment",
            "select 1 /* ' */",
            "select 1a",
            "select 0x1f",
            "select 1_000",
            "select 1e5",
            "select .5",
            "select 1.",
            "select 1..2",
            "select (1.)",
            "select $ 1",
            "select $1a",
            "select é",
            "select 'open",
            "select \"open",
            "select 1\u{b}2",
            "select U&\"d\\0061t\"",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}

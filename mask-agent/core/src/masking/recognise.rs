//! What masks have made, recognised, so that it is not written back to the database as if it were a value.
//!
//! Recognised in any column: tokens, and addresses at `masked.invalid`. In a masked column also what its own mask
//! shows of text: `***` or the placeholder; for `partial`, the kept ends around three `*` or more; for `pattern`,
//! nothing but `x`, `X`, `0`, blanks and ASCII punctuation with four letters or more.
//!
//! Not recognised, because a value may look the same: hashes (so do MD5 sums), other values that keep their shape,
//! UUIDs, numbers, dates, a pattern without letters (`000-00-0000`), and constants of types other than text.

use super::{CellPlan, CellRule, Format, MaskKind, array, redact, shape, token};
use crate::catalog::TypeShape;

/// Fewer of these are part of ordinary text.
const STARS_MIN: usize = 3;
const PATTERN_LETTERS_MIN: usize = 4;

/// What a text is that a mask has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The constant of text, or the policy's placeholder.
    Constant,
    /// An address at `masked.invalid`.
    Email,
    /// Both ends of a value around stars.
    Partial,
    /// Character classes of a value.
    Pattern,
    /// A token.
    Token,
}

/// How a column holds text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// As elements of an array.
    Array,
    /// As it is.
    Text,
}

impl TextForm {
    /// That of a type; none where it holds other values.
    pub fn of(type_oid: u32, shape: Option<&TypeShape>) -> Option<Self> {
        let (format, rule) = (Format::Text, CellRule::Redact);
        let cell = CellPlan { type_oid, type_modifier: -1, format, rule, shape: shape.cloned() };
        if redact::width(&cell).is_some() {
            return Some(Self::Text);
        }
        redact::element_cell(&cell).and_then(|element| redact::width(&element)).map(|_| Self::Array)
    }
}

/// What a value that is put into a masked column is, or an element of it, if masks have made it.
pub fn written_back(mask: &MaskKind, form: TextForm, format: Format, value: &[u8]) -> Option<Placeholder> {
    let of = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| placeholder(Some(mask), text));
    match form {
        TextForm::Text => of(value),
        TextForm::Array => {
            let mut found = None;
            array::rewrite(
                format,
                value,
                &mut |element, _| found = found.or_else(|| of(element)),
                &mut Vec::new(),
            );
            found
        }
    }
}

/// What a text is, if masks have made it; `mask` is that of its column, where it has one.
pub fn placeholder(mask: Option<&MaskKind>, text: &str) -> Option<Placeholder> {
    let text = text.trim_end_matches(' ');
    if token::is_token(text) {
        return Some(Placeholder::Token);
    }
    let local = text.strip_suffix(shape::MAIL_END);
    let lengths = token::BODY_CHARACTERS_MIN..=token::BODY_CHARACTERS;
    if local.is_some_and(|local| lengths.contains(&local.len()) && token::is_base32(local)) {
        return Some(Placeholder::Email);
    }
    if text == redact::PLACEHOLDER {
        return mask.map(|_| Placeholder::Constant);
    }
    match mask? {
        MaskKind::Partial { first, last } => is_partial(text, *first, *last).then_some(Placeholder::Partial),
        MaskKind::Pattern => is_pattern(text).then_some(Placeholder::Pattern),
        MaskKind::Redact { placeholder: Some(placeholder) } => {
            let same = !text.is_empty() && text == placeholder.trim_end_matches(' ');
            same.then_some(Placeholder::Constant)
        }
        MaskKind::Fpe(_)
        | MaskKind::Generalise(_)
        | MaskKind::Hash
        | MaskKind::Null
        | MaskKind::Redact { placeholder: None }
        | MaskKind::Token { .. } => None,
    }
}

fn is_partial(text: &str, first: usize, last: usize) -> bool {
    let count = text.chars().count();
    let stars = |text: &str| text.len() >= STARS_MIN && text.bytes().all(|byte| byte == b'*');
    let hidden = count.saturating_sub(first.saturating_add(last));
    let from = text.char_indices().nth(first).map_or(text.len(), |(at, _)| at);
    let to = text.char_indices().nth(first.saturating_add(hidden)).map_or(text.len(), |(at, _)| at);
    stars(text) || text.get(from..to).is_some_and(stars)
}

fn is_pattern(text: &str) -> bool {
    let letters = text.bytes().filter(|byte| matches!(byte, b'x' | b'X')).count();
    let fits = |byte: u8| matches!(byte, b'x' | b'X' | b'0' | b' ') || byte.is_ascii_punctuation();
    letters >= PATTERN_LETTERS_MIN && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_masks_show_is_recognised() {
        use Placeholder::{Constant, Email, Partial, Pattern, Token};
        let ends = MaskKind::Partial { first: 1, last: 2 };
        let gone = MaskKind::Redact { placeholder: Some("gone".into()) };
        for (mask, text, is) in [
            (None, "mskt_abcdefgh", Token),
            (None, "mskt_abcdefgh234567ab", Token),
            (None, "a2b3c4d5@masked.invalid", Email),
            (Some(&MaskKind::Hash), "***", Constant),
            (Some(&MaskKind::Hash), "***    ", Constant),
            (Some(&gone), "gone", Constant),
            (Some(&ends), "a***bc", Partial),
            (Some(&ends), "*******", Partial),
            (Some(&MaskKind::Pattern), "xxx.xxxx@xxx.xxx", Pattern),
            (Some(&MaskKind::Pattern), "Xxx Xxxxxx", Pattern),
        ] {
            assert_eq!(placeholder(mask, text), Some(is), "{text}");
        }
    }

    #[test]
    fn ordinary_text_is_not() {
        let ends = MaskKind::Partial { first: 1, last: 2 };
        let gone = MaskKind::Redact { placeholder: Some("gone".into()) };
        for mask in [None, Some(&MaskKind::Hash), Some(&MaskKind::Pattern), Some(&ends), Some(&gone)] {
            for text in [
                "",
                " ",
                "Ana",
                "a*b",
                "a**bc",
                "**",
                "****a",
                "XXX",
                "XXL",
                "000-00-0000",
                "mskt",
                "mskt_",
                "mskt_abc",
                "mskt_ABCDEFGH",
                "mskt_abcdefg1",
                "mskt_abcdefgh234567abc",
                "mskt_a table of ours",
                "ana@masked.invalid",
                "@masked.invalid",
                "a2b3c4d5@masked.invalid.org",
                "goner",
                "d41d8cd98f00b204e9800998ecf8427e",
            ] {
                assert_eq!(placeholder(mask, text), None, "{mask:?} {text}");
            }
        }
        assert_eq!(placeholder(None, "***"), None);
        assert_eq!(placeholder(None, "gone"), None);
        assert_eq!(placeholder(Some(&MaskKind::Hash), "xxx.xxxx@xxx.xxx"), None);
    }
}

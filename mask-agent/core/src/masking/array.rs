//! Arrays of text-like elements: bounds and NULLs stay, elements are masked one by one.
//!
//! An element's text is taken as it stands between its quotes. Only one that is escaped there needs memory of its
//! own, and an array takes that once.

use super::{Format, MaskKey, kind::TextMask};

/// `MAXDIM`.
const DIMENSIONS_MAX: u32 = 6;

/// Appends the array with every element masked; false where it is none.
pub(super) fn write(format: Format, mask: &TextMask, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) -> bool {
    let mut element = |element: &[u8], out: &mut Vec<u8>| mask.element(key, element, out);
    let done = match format {
        Format::Binary => binary(&mut element, value, out),
        Format::Text => text(&mut element, value, out),
    };
    done.is_some()
}

/// Writes an element in place of one.
type Element<'a> = dyn FnMut(&[u8], &mut Vec<u8>) + 'a;

/// Appends an array a client wrote with every element rewritten; false where it is none, or none of text, or written
/// otherwise than drivers do.
pub(super) fn rewrite(format: Format, value: &[u8], element: &mut Element<'_>, out: &mut Vec<u8>) -> bool {
    let done = match format {
        Format::Binary => has_text(value).then(|| binary(element, value, out)).flatten(),
        Format::Text => is_plain(value).then(|| text(element, value, out)).flatten(),
    };
    done.is_some()
}

/// Whether a binary array's elements are `text`, `varchar` or `char`.
fn has_text(value: &[u8]) -> bool {
    let element = value.get(8..).and_then(<[u8]>::first_chunk::<4>);
    element.is_some_and(|oid| matches!(u32::from_be_bytes(*oid), 25 | 1042 | 1043))
}

/// Whether elements without quotes are what stands there: no blanks around them, no escapes in them.
fn is_plain(value: &[u8]) -> bool {
    let mut rest = value;
    while let [first, after @ ..] = rest {
        rest = match first {
            b'"' => match quoted(after).and_then(|length| after.get(length + 1..)) {
                Some(after @ [b',' | b'}', ..]) => after,
                _ => return false,
            },
            byte if byte.is_ascii_whitespace() || *byte == b'\\' || *byte == 0x0b => return false,
            _ => after,
        };
    }
    true
}

/// Dimensions, flags, element type; size and lower bound of each; then elements with their lengths.
fn binary(rewrite: &mut Element<'_>, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let dimensions = u32::from_be_bytes(*value.first_chunk()?);
    if dimensions > DIMENSIONS_MAX {
        return None;
    }
    let (header, mut rest) = value.split_at_checked(12 + 8 * dimensions as usize)?;
    out.extend_from_slice(header);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            out.extend_from_slice(&length.to_be_bytes());
            rest = after;
            continue;
        }
        let (element, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        rewrite(element, out);
        let length = i32::try_from(out.len() - start - 4).ok()?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        rest = after;
    }
    Some(())
}

/// The output of `array_out`: bounds that do not start at 1, then braces, commas, NULL and elements.
fn text(rewrite: &mut Element<'_>, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let open = value.iter().position(|byte| *byte == b'{')?;
    let bounds = &value[..open];
    let is_bound = |byte: &u8| byte.is_ascii_digit() || b"[]:=+-".contains(byte);
    if !bounds.iter().all(is_bound) {
        return None;
    }
    out.extend_from_slice(bounds);
    let mut rest = &value[open..];
    let mut depth = 0_u32;
    let mut unescaped = Vec::new();
    while let [first, after @ ..] = rest {
        match first {
            b'{' | b'}' | b',' => {
                depth = match first {
                    b'{' => depth + 1,
                    b'}' => depth.checked_sub(1)?,
                    _ => depth,
                };
                out.push(*first);
                rest = after;
                if depth == 0 || depth > DIMENSIONS_MAX {
                    break;
                }
            }
            b'"' => {
                let length = quoted(after)?;
                let element = &after[..length];
                if element.contains(&b'\\') {
                    unescape(element, &mut unescaped);
                    quote(rewrite, &unescaped, out);
                } else {
                    quote(rewrite, element, out);
                }
                rest = &after[length + 1..];
            }
            _ => {
                let length = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
                let element = &rest[..length];
                if element.eq_ignore_ascii_case(b"NULL") {
                    out.extend_from_slice(element);
                } else {
                    quote(rewrite, element, out);
                }
                rest = &rest[length..];
            }
        }
    }
    (depth == 0 && rest.is_empty()).then_some(())
}

/// Bytes up to the closing quote.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        end
    })
}

fn unescape(element: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut bytes = element.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' { bytes.next() } else { Some(byte) };
        out.extend(byte);
    }
}

/// Appends an element rewritten and in quotes, which are right for every text.
fn quote(rewrite: &mut Element<'_>, element: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    rewrite(element, out);
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
    let mut from = out.len();
    let specials = out[start..].iter().filter(|byte| is_special(byte)).count();
    out.resize(from + specials, 0);
    let mut to = out.len();
    // From behind, until everything left of here stands where it should.
    while to > from {
        from -= 1;
        to -= 1;
        out[to] = out[from];
        if is_special(&out[to]) {
            to -= 1;
            out[to] = b'\\';
        }
    }
    out.push(b'"');
}

#[cfg(test)]
#[path = "array_tests.rs"]
mod tests;

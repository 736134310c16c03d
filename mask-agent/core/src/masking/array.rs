//! Arrays of text-like elements: bounds and NULLs stay, elements are masked one by one.
//!
//! An element's text is taken as it stands between its quotes. Only one that is escaped there needs memory of its
//! own, and an array takes that once.

use super::{Format, MaskKey, kind::TextMask};

/// `MAXDIM`.
const DIMENSIONS_MAX: u32 = 6;

/// Appends the array with every element masked; false where it is none.
pub(super) fn write(format: Format, mask: &TextMask, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) -> bool {
    let done = match format {
        Format::Binary => binary(mask, key, value, out),
        Format::Text => text(mask, key, value, out),
    };
    done.is_some()
}

/// Dimensions, flags, element type; size and lower bound of each; then elements with their lengths.
fn binary(mask: &TextMask, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
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
        mask.element(key, element, out);
        let length = i32::try_from(out.len() - start - 4).ok()?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        rest = after;
    }
    Some(())
}

/// The output of `array_out`: bounds that do not start at 1, then braces, commas, NULL and elements.
fn text(mask: &TextMask, key: &MaskKey, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
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
                    quote(mask, key, &unescaped, out);
                } else {
                    quote(mask, key, element, out);
                }
                rest = &after[length + 1..];
            }
            _ => {
                let length = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
                let element = &rest[..length];
                if element.eq_ignore_ascii_case(b"NULL") {
                    out.extend_from_slice(element);
                } else {
                    quote(mask, key, element, out);
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

/// Appends an element masked and in quotes, which are right for every text.
fn quote(mask: &TextMask, key: &MaskKey, element: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    mask.element(key, element, out);
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

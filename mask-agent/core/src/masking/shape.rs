//! Masks that keep a value's shape: another card number for a card number, valid where the clear one is.
//!
//! Each takes the digits that may change, permutes them with FF1 under what stays as the tweak, and puts them back.
//! Equal values stay equal and different ones different. Where fewer than six digits may change, nothing is shown:
//! a million candidates are the least that NIST allows.

use super::{FpeShape, MaskKey, ff1::DIGITS_MAX, redact::Width, token};

/// Where masked addresses end: RFC 2606 keeps `.invalid` from ever being delivered to.
pub(super) const MAIL_END: &str = "@masked.invalid";

/// Digits of a card (ISO/IEC 7812) whose last one checks the others.
const CARD_DIGITS_MIN: usize = 13;
const CARD_DIGITS_MAX: usize = 19;
/// Issuer of a card, and what people tell their cards by.
const CARD_FIRST: usize = 6;
const CARD_LAST: usize = 4;
/// The digits of a card that change, where the ends leave them.
const CARD_CHANGED_MIN: usize = 6;
/// One in ten strings has the right check digit, so this many tries fail once in 10^11 values.
const WALK_MAX: usize = 256;

/// Country, check digits, and 11 to 30 characters of account (ISO 13616).
const IBAN_MIN: usize = 15;
const IBAN_MAX: usize = 34;

/// Appends another text of the same shape; false where the text has not that shape, or too little of it may change.
pub(super) fn write(
    shape: FpeShape,
    key: &MaskKey,
    scope: &str,
    text: &str,
    width: &Width,
    out: &mut Vec<u8>,
) -> bool {
    if shape == FpeShape::Email {
        return token::write(key, scope, text, ["", MAIL_END], width, out);
    }
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    let shown = &mut out[start..];
    let changed = match shape {
        FpeShape::Card => separated(text) && card_text(key, scope, shown),
        FpeShape::Digits => separated(text) && digits_text(key, scope, 0, shown),
        FpeShape::Email => false,
        FpeShape::Iban => iban(key, scope, shown),
        FpeShape::Phone => separated(text) && digits_text(key, scope, country_digits(text), shown),
    };
    changed && shown != text.as_bytes()
}

/// Whether only digits, blanks and ASCII punctuation stand here, so that nothing else would be shown.
fn separated(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ' || byte.is_ascii_punctuation())
}

/// Digits of a text, as numbers, without what stands between them.
struct Digits {
    numbers: [u8; DIGITS_MAX],
    count: usize,
}

impl Digits {
    fn of(text: &[u8]) -> Option<Self> {
        let mut digits = Self { numbers: [0; DIGITS_MAX], count: 0 };
        for digit in text.iter().filter(|byte| byte.is_ascii_digit()) {
            *digits.numbers.get_mut(digits.count)? = digit - b'0';
            digits.count += 1;
        }
        Some(digits)
    }

    fn all(&mut self) -> &mut [u8] {
        &mut self.numbers[..self.count]
    }

    fn put_back(&self, text: &mut [u8]) {
        let places = text.iter_mut().filter(|byte| byte.is_ascii_digit());
        for (place, digit) in places.zip(&self.numbers[..self.count]) {
            *place = digit + b'0';
        }
    }
}

fn card_text(key: &MaskKey, scope: &str, text: &mut [u8]) -> bool {
    let Some(mut digits) = Digits::of(text) else { return false };
    let changed = card(key, scope, digits.all());
    digits.put_back(text);
    changed
}

/// Changes the middle of a card number. Its check digit stays as right or wrong as it was: only then does walking
/// on until it is so lead every number to another one.
pub(super) fn card(key: &MaskKey, scope: &str, digits: &mut [u8]) -> bool {
    if !(CARD_DIGITS_MIN..=CARD_DIGITS_MAX).contains(&digits.len()) {
        return false;
    }
    let sum = luhn(digits);
    let last = CARD_LAST.min(digits.len() - CARD_FIRST - CARD_CHANGED_MIN);
    let mut kept = [0; CARD_FIRST + CARD_LAST];
    kept[..CARD_FIRST].copy_from_slice(&digits[..CARD_FIRST]);
    kept[CARD_FIRST..CARD_FIRST + last].copy_from_slice(&digits[digits.len() - last..]);
    let tweak: [&[u8]; 3] = [scope.as_bytes(), b"\0card", &kept[..CARD_FIRST + last]];
    let end = digits.len() - last;
    let Some(permutation) = key.ff1().decimal(&tweak, end - CARD_FIRST) else { return false };
    for _ in 0..WALK_MAX {
        permutation.digits(&mut digits[CARD_FIRST..end]);
        if luhn(digits) == sum {
            return true;
        }
    }
    false
}

/// The remainder that is 0 for a valid number (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u8]) -> u32 {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => 2 * digit - 9,
            (_, digit) => 2 * digit,
        })
        .sum();
    sum % 10
}

/// Changes all digits behind the first few.
fn digits_text(key: &MaskKey, scope: &str, kept: usize, text: &mut [u8]) -> bool {
    let Some(mut digits) = Digits::of(text) else { return false };
    let Some((kept, changed)) = digits.all().split_at_mut_checked(kept) else { return false };
    let done = key.ff1().digits(&[scope.as_bytes(), b"\0digits", kept], changed);
    digits.put_back(text);
    done
}

/// Digits of an international number that name the country, a leading 00 included (ITU-T E.164, annex D).
fn country_digits(text: &str) -> usize {
    let international = text.trim_start_matches([' ', '(']);
    let zeros = match (international.starts_with('+'), international.starts_with("00")) {
        (true, _) => 0,
        (false, true) => 2,
        (false, false) => return 0,
    };
    let mut digits = text.bytes().filter(u8::is_ascii_digit).skip(zeros);
    zeros
        + match (digits.next(), digits.next()) {
            (Some(b'1' | b'7'), _) => 1,
            (Some(b'2'), Some(b'0' | b'7'))
            | (Some(b'3'), Some(b'0'..=b'4' | b'6' | b'9'))
            | (Some(b'4'), Some(b'0' | b'1' | b'3'..=b'9'))
            | (Some(b'5'), Some(b'1'..=b'8'))
            | (Some(b'6'), Some(b'0'..=b'6'))
            | (Some(b'8'), Some(b'1' | b'2' | b'4' | b'6'))
            | (Some(b'9'), Some(b'0'..=b'5' | b'8')) => 2,
            (_, _) => 3,
        }
}

/// Changes the account of an IBAN; digits stay digits and letters letters, country and blanks stay, and the check
/// digits are made right.
fn iban(key: &MaskKey, scope: &str, text: &mut [u8]) -> bool {
    let mut places = [0_usize; IBAN_MAX];
    let mut count = 0;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b' ' | b'-' => {}
            byte if byte.is_ascii_alphanumeric() && count < IBAN_MAX => {
                places[count] = at;
                count += 1;
            }
            _ => return false,
        }
    }
    let shaped = |place: usize| match place {
        0 | 1 => text[places[place]].is_ascii_alphabetic(),
        2 | 3 => text[places[place]].is_ascii_digit(),
        _ => true,
    };
    if count < IBAN_MIN || !(0..4).all(shaped) {
        return false;
    }
    let account = &places[4..count];
    let mut kept = [0; IBAN_MAX];
    for (kept, at) in kept.iter_mut().zip(places[..2].iter().chain(account)) {
        *kept = if text[*at].is_ascii_digit() { b'0' } else { text[*at].to_ascii_uppercase() };
    }
    let mut digits = [0; IBAN_MAX];
    let is_digit = |at: &&usize| text[**at].is_ascii_digit();
    let changed = account.iter().filter(is_digit).count();
    for (digit, at) in digits.iter_mut().zip(account.iter().filter(is_digit)) {
        *digit = text[*at] - b'0';
    }
    if !key.ff1().digits(&[scope.as_bytes(), b"\0iban", &kept[..count - 2]], &mut digits[..changed]) {
        return false;
    }
    // A bank's letters are too few to permute. Shifted by what only the key gives for the new digits, every account
    // still leads to another one.
    let shifts = key.token(scope, 0, &digits);
    let mut digits = digits.iter();
    for (at, shift) in account.iter().zip(shifts) {
        let byte = &mut text[*at];
        *byte = match *byte {
            b'0'..=b'9' => digits.next().map_or(b'0', |digit| digit + b'0'),
            letter => {
                let first = if letter.is_ascii_uppercase() { b'A' } else { b'a' };
                first + (letter - first + shift % 26) % 26
            }
        };
    }
    let check = 98 - remainder_97(account.iter().chain(&places[..2]).map(|at| text[*at]).chain(*b"00"));
    text[places[2]] = b'0' + (check / 10) as u8;
    text[places[3]] = b'0' + (check % 10) as u8;
    true
}

/// What is left of an IBAN's characters, A being 10 and Z 35, when divided by 97 (ISO 7064, MOD 97-10).
pub(super) fn remainder_97(characters: impl Iterator<Item = u8>) -> u32 {
    characters.fold(0, |remainder, character| match char::from(character).to_digit(36) {
        Some(digit @ 0..=9) => (remainder * 10 + digit) % 97,
        Some(letter) => (remainder * 100 + letter) % 97,
        None => remainder,
    })
}

//! Numbers, whichever their type and format: read, masked, and written as they came.

use super::{CellPlan, Format, FpeShape, MaskKey, ff1::DIGITS_MAX, redact, shape};

/// Tries for digits that are a number of the type; the worst case, `int4` of ten digits, ends one in nine.
const WALK_MAX: usize = 256;
/// The sign word of a binary `numeric`; others are no numbers.
const NUMERIC_POSITIVE: u16 = 0;
const NUMERIC_NEGATIVE: u16 = 0x4000;
/// Beyond it, not every whole number is a `float8`.
const FLOAT_WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A type of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberType {
    Float4,
    Float8,
    Int2,
    Int4,
    Int8,
    Numeric,
}

impl NumberType {
    pub(super) fn of(cell: &CellPlan) -> Option<Self> {
        Some(match redact::base(cell) {
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            700 => Self::Float4,
            701 => Self::Float8,
            1700 => Self::Numeric,
            _ => return None,
        })
    }

    fn largest(self) -> Option<u64> {
        match self {
            Self::Int2 => Some(i16::MAX as u64),
            Self::Int4 => Some(i32::MAX as u64),
            Self::Int8 => Some(i64::MAX as u64),
            Self::Float4 | Self::Float8 | Self::Numeric => None,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::Float4 | Self::Float8)
    }
}

/// What becomes of a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum NumberMask {
    Bucket(u64),
    Shape(FpeShape),
    Token,
}

/// Appends the masked number; false where the domain is too small, or the value none.
pub(super) fn write(
    mask: NumberMask,
    (number, format): (NumberType, Format),
    key: &MaskKey,
    scope: &str,
    value: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    if number.is_float() {
        let NumberMask::Bucket(size) = mask else { return false };
        return float(number, format, size, value, out);
    }
    let Some(mut decimal) = Decimal::read(number, format, value) else { return false };
    let done = match (mask, number.largest()) {
        (NumberMask::Bucket(size), _) => decimal.cut(size),
        (NumberMask::Token, Some(_)) => decimal.scale == 0 && decimal.permute_integer(number, key, scope),
        (NumberMask::Token | NumberMask::Shape(FpeShape::Digits | FpeShape::Phone), _) => {
            decimal.permute_digits(number, key, scope)
        }
        (NumberMask::Shape(FpeShape::Card), _) => {
            decimal.scale == 0 && decimal.permute(number, |digits| shape::card(key, scope, digits))
        }
        (NumberMask::Shape(FpeShape::Email | FpeShape::Iban), _) => false,
    };
    done && decimal.write(number, format, out)
}

fn float(number: NumberType, format: Format, size: u64, value: &[u8], out: &mut Vec<u8>) -> bool {
    let read = match (format, value.len()) {
        (Format::Text, _) => str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
        (Format::Binary, 4) => value.try_into().ok().map(|bytes| f64::from(f32::from_be_bytes(bytes))),
        (Format::Binary, _) => value.try_into().ok().map(f64::from_be_bytes),
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bucket of 2^53 and more holds every number that is read"
    )]
    let size = size as f64;
    let Some(read) = read.filter(|read: &f64| read.abs() < FLOAT_WHOLE_MAX) else { return false };
    // Adding zero makes -0 a 0.
    let cut = (read / size).trunc() * size + 0.0;
    match (format, number) {
        (Format::Text, _) => {
            // Writing to memory does not fail.
            let _ = std::io::Write::write_fmt(out, format_args!("{cut}"));
        }
        (Format::Binary, NumberType::Float4) => out.extend_from_slice(&(cut as f32).to_be_bytes()),
        (Format::Binary, _) => out.extend_from_slice(&cut.to_be_bytes()),
    }
    true
}

/// A number in decimal digits, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// 0 to 9 each.
    digits: [u8; DIGITS_MAX],
    count: usize,
    /// How many stand behind the point; they may be more than there are digits.
    scale: usize,
}

impl Decimal {
    fn read(number: NumberType, format: Format, value: &[u8]) -> Option<Self> {
        match (format, number) {
            (Format::Text, _) => Self::text(value),
            (Format::Binary, NumberType::Numeric) => Self::numeric(value),
            (Format::Binary, NumberType::Int2) => {
                Some(Self::integer(i16::from_be_bytes(value.try_into().ok()?).into()))
            }
            (Format::Binary, NumberType::Int4) => {
                Some(Self::integer(i32::from_be_bytes(value.try_into().ok()?).into()))
            }
            (Format::Binary, _) => Some(Self::integer(i64::from_be_bytes(value.try_into().ok()?))),
        }
    }

    fn zero() -> Self {
        Self { negative: false, digits: [0; DIGITS_MAX], count: 0, scale: 0 }
    }

    fn push(&mut self, digit: u8) -> Option<()> {
        if self.count > 0 || digit > 0 {
            *self.digits.get_mut(self.count)? = digit;
            self.count += 1;
        }
        Some(())
    }

    fn text(value: &[u8]) -> Option<Self> {
        let mut decimal = Self::zero();
        let mut point = false;
        let digits = value.strip_prefix(b"-");
        decimal.negative = digits.is_some();
        for byte in digits.unwrap_or(value) {
            match byte {
                b'0'..=b'9' => {
                    decimal.push(byte - b'0')?;
                    decimal.scale += usize::from(point);
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        Some(decimal)
    }

    fn integer(value: i64) -> Self {
        let mut decimal = Self::zero();
        decimal.negative = value < 0;
        decimal.set(value.unsigned_abs());
        decimal
    }

    fn set(&mut self, mut value: u64) {
        self.count = value.checked_ilog10().map_or(0, |log| log as usize + 1);
        for digit in self.digits[..self.count].iter_mut().rev() {
            *digit = (value % 10) as u8;
            value /= 10;
        }
    }

    /// Count of digits, weight of the first, sign, scale; then digits to the base of 10,000.
    fn numeric(value: &[u8]) -> Option<Self> {
        let (header, groups) = value.split_first_chunk::<8>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (weight, sign, scale) = (i32::from(word(2).cast_signed()), word(4), usize::from(word(6)));
        if groups.len() != usize::from(word(0)) * 2 || !matches!(sign, NUMERIC_POSITIVE | NUMERIC_NEGATIVE) {
            return None;
        }
        let mut decimal = Self { negative: sign == NUMERIC_NEGATIVE, scale, ..Self::zero() };
        // From the first digit of the first group to the last behind the point.
        let mut place = weight * 4 + 3;
        while place >= -i32::try_from(scale).ok()? {
            let group = usize::try_from(weight - place.div_euclid(4)).ok();
            let group = group.and_then(|group| groups.chunks_exact(2).nth(group));
            let group = group.map_or(0, |group| u16::from_be_bytes([group[0], group[1]]));
            let digit = group / [1, 10, 100, 1_000][place.rem_euclid(4) as usize] % 10;
            decimal.push(digit as u8)?;
            place -= 1;
        }
        Some(decimal)
    }

    fn whole(&mut self) -> &mut [u8] {
        &mut self.digits[..self.count]
    }

    fn value(&self) -> Option<u64> {
        self.digits[..self.count]
            .iter()
            .try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(*digit)))
    }

    /// Towards zero, to a multiple of the size.
    fn cut(&mut self, size: u64) -> bool {
        let Some(point) = self.count.checked_sub(self.scale) else {
            // Below one.
            self.count = 0;
            self.negative = false;
            return true;
        };
        let mut remainder = 0;
        for digit in &mut self.digits[..point] {
            remainder = (remainder * 10 + u128::from(*digit)) % u128::from(size);
        }
        // Written division: subtracting the remainder from the end on.
        let mut borrow = remainder;
        for digit in self.digits[..point].iter_mut().rev() {
            let take = (borrow % 10) as u8;
            borrow /= 10;
            if *digit < take {
                *digit += 10;
                borrow += 1;
            }
            *digit -= take;
        }
        self.digits[point..self.count].fill(0);
        let leading = self.digits[..self.count].iter().take_while(|digit| **digit == 0).count();
        self.digits.copy_within(leading..self.count, 0);
        self.count -= leading;
        self.negative &= self.count > 0;
        true
    }

    fn permute_digits(&mut self, number: NumberType, key: &MaskKey, scope: &str) -> bool {
        self.permute(number, |digits| key.ff1().digits(&[scope.as_bytes(), b"\0digits"], digits))
    }

    /// Goes on until the digits are a number of as many digits and of the type. Where numbers of the type lead to
    /// numbers of the type, different ones stay different.
    fn permute(&mut self, number: NumberType, mut step: impl FnMut(&mut [u8]) -> bool) -> bool {
        let before = self.digits;
        for _ in 0..WALK_MAX {
            if !step(self.whole()) {
                return false;
            }
            let fits = number.largest().is_none_or(|most| self.value().is_some_and(|value| value <= most));
            if fits && self.digits[0] > 0 {
                return self.digits != before;
            }
        }
        false
    }

    /// Numbers below 2^31 among themselves, whatever their type, so that an `int4` still joins an `int8`; the others
    /// among themselves; and the negative ones among the negative.
    fn permute_integer(&mut self, number: NumberType, key: &MaskKey, scope: &str) -> bool {
        let below = u64::from(self.negative);
        let Some(magnitude) = self.value().and_then(|value| value.checked_sub(below)) else { return false };
        let small = i32::MAX as u64;
        let bits = match (number, magnitude <= small) {
            // The domain is too small.
            (NumberType::Int2, _) => return false,
            (_, true) => 31,
            (_, false) => 63,
        };
        let tweak: [&[u8]; 3] = [scope.as_bytes(), b"\0integer", &[u8::from(self.negative)]];
        let mut shown = key.ff1().bits(&tweak, bits, magnitude);
        while bits == 63 && shown <= small {
            shown = key.ff1().bits(&tweak, bits, shown);
        }
        self.set(shown + below);
        shown != magnitude
    }

    fn write(&self, number: NumberType, format: Format, out: &mut Vec<u8>) -> bool {
        match (format, number) {
            (Format::Text, _) => self.write_text(out),
            (Format::Binary, NumberType::Numeric) => return self.write_numeric(out),
            (Format::Binary, _) => {
                let Some(value) = self.value() else { return false };
                // The magnitude of the least number is one more than that of the greatest.
                let value = if self.negative { value.wrapping_neg() } else { value };
                let bytes = value.to_be_bytes();
                out.extend_from_slice(match number {
                    NumberType::Int2 => &bytes[6..],
                    NumberType::Int4 => &bytes[4..],
                    NumberType::Float4 | NumberType::Float8 | NumberType::Int8 | NumberType::Numeric => {
                        &bytes
                    }
                });
            }
        }
        true
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let digits = &self.digits[..self.count];
        let (whole, fraction) = digits.split_at(self.count.saturating_sub(self.scale));
        if whole.is_empty() {
            out.push(b'0');
        }
        out.extend(whole.iter().map(|digit| digit + b'0'));
        if self.scale > 0 {
            out.push(b'.');
            out.resize(out.len() + self.scale - fraction.len(), b'0');
            out.extend(fraction.iter().map(|digit| digit + b'0'));
        }
    }

    fn write_numeric(&self, out: &mut Vec<u8>) -> bool {
        let (Ok(scale), Ok(shown)) = (i32::try_from(self.scale), u16::try_from(self.scale)) else {
            return false;
        };
        let count = i32::try_from(self.count).unwrap_or(i32::MAX);
        // The digit at a power of ten.
        let digit = |place: i32| {
            let at = usize::try_from(count - 1 - scale - place).ok();
            at.filter(|at| *at < self.count).map_or(0, |at| u16::from(self.digits[at]))
        };
        let group = |weight: i32| (0..4).rev().fold(0, |group, place| group * 10 + digit(weight * 4 + place));
        let highest = (count - scale - 1).div_euclid(4);
        let lowest = (-scale).div_euclid(4);
        let Some(first) = (lowest..=highest).rev().find(|weight| group(*weight) > 0) else {
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&shown.to_be_bytes());
            return true;
        };
        let last = (lowest..=first).find(|weight| group(*weight) > 0).unwrap_or(first);
        let sign = if self.negative { NUMERIC_NEGATIVE } else { NUMERIC_POSITIVE };
        for word in [((first - last + 1) as i16).cast_unsigned(), (first as i16).cast_unsigned(), sign, shown]
        {
            out.extend_from_slice(&word.to_be_bytes());
        }
        for weight in (last..=first).rev() {
            out.extend_from_slice(&group(weight).to_be_bytes());
        }
        true
    }
}

#[cfg(test)]
#[path = "number_tests.rs"]
mod tests;

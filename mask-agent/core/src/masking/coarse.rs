//! Dates and addresses made coarse. Numbers are in `number`.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{CellPlan, DateUnit, Format, Generalise, redact};

/// From 0000-03-01 of the proleptic Gregorian calendar to 2000-01-01.
const DAYS_TO_2000: i64 = 730_425;
const DAYS_OF_400_YEARS: i64 = 146_097;
const SECONDS_OF_DAY: i64 = 86_400;
const MICROSECONDS_OF_DAY: i64 = SECONDS_OF_DAY * 1_000_000;

/// `PGSQL_AF_INET`, and one more for IPv6.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// A type whose values can be made coarse.
#[derive(Clone, Copy, Debug)]
pub(super) enum CoarseType {
    Address,
    Date,
    Timestamp { zone: bool },
}

impl CoarseType {
    pub(super) fn of(cell: &CellPlan) -> Option<Self> {
        Some(match redact::base(cell) {
            // cidr, inet
            650 | 869 => Self::Address,
            1082 => Self::Date,
            1114 => Self::Timestamp { zone: false },
            1184 => Self::Timestamp { zone: true },
            _ => return None,
        })
    }
}

/// Appends the coarse value; false where it has none: an infinite date, or a style in which the zone is a name.
pub(super) fn write(
    kind: CoarseType,
    format: Format,
    how: &Generalise,
    value: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let done = match (kind, format) {
        (CoarseType::Address, Format::Binary) => address_binary(how, value, out),
        (CoarseType::Address, Format::Text) => address_text(how, value, out),
        (CoarseType::Date, Format::Binary) => date_binary(how.date, value, out),
        (CoarseType::Timestamp { .. }, Format::Binary) => timestamp_binary(how.date, value, out),
        (CoarseType::Date, Format::Text) => {
            iso(kind, how.date, value, out).or_else(|| day_first(how.date, value, out))
        }
        (CoarseType::Timestamp { .. }, Format::Text) => iso(kind, how.date, value, out),
    };
    done.is_some()
}

fn date_binary(unit: DateUnit, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let days = i32::from_be_bytes(value.try_into().ok()?);
    if matches!(days, i32::MIN | i32::MAX) {
        return None;
    }
    let days = i32::try_from(cut(unit, days.into())).ok()?;
    out.extend_from_slice(&days.to_be_bytes());
    Some(())
}

fn timestamp_binary(unit: DateUnit, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let time = i64::from_be_bytes(value.try_into().ok()?);
    if matches!(time, i64::MIN | i64::MAX) {
        return None;
    }
    let time = cut(unit, time.div_euclid(MICROSECONDS_OF_DAY)).checked_mul(MICROSECONDS_OF_DAY)?;
    out.extend_from_slice(&time.to_be_bytes());
    Some(())
}

/// The first day of the year or month, in days from 2000-01-01.
fn cut(unit: DateUnit, days: i64) -> i64 {
    let (year, month) = year_month(days);
    match unit {
        DateUnit::Month => days_to(year, month),
        DateUnit::Year => days_to(year, 1),
    }
}

/// Years begin in March here, so that the leap day is the last one; months have 153 days in five.
fn year_month(days: i64) -> (i64, i64) {
    let days = days + DAYS_TO_2000;
    let era = days.div_euclid(DAYS_OF_400_YEARS);
    let day = days.rem_euclid(DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (year + 400 * era, month)
}

/// Days from 2000-01-01 to the first of a month.
fn days_to(year: i64, month: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let year = year.rem_euclid(400);
    let day = (153 * month + 2) / 5;
    era * DAYS_OF_400_YEARS + year * 365 + year / 4 - year / 100 + day - DAYS_TO_2000
}

/// Reads a value in pieces.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<i64> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        // Years have six digits at most.
        let digits = Some(digits).filter(|digits| (1..=6).contains(&digits.len()))?;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn skip(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }
}

/// The ISO style. With a zone, the year is that of UTC, as in binary, and the value is written in UTC.
fn iso(kind: CoarseType, unit: DateUnit, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut reader = Reader(value);
    let year = reader.number().filter(|_| value.get(2).is_some_and(u8::is_ascii_digit))?;
    reader.skip(b"-")?;
    let month = reader.number().filter(|month| (1..=12).contains(month))?;
    reader.skip(b"-")?;
    let day = reader.number().filter(|day| (1..=31).contains(day))?;
    let mut seconds = 0;
    if let CoarseType::Timestamp { zone } = kind {
        reader.skip(b" ")?;
        seconds = clock(&mut reader)?;
        if reader.skip(b".").is_some() {
            reader.number()?;
        }
        if zone {
            let sign = if reader.skip(b"-").is_some() { -1 } else { reader.skip(b"+").map(|()| 1)? };
            seconds -= sign * clock(&mut reader)?;
        }
    }
    let year = if reader.skip(b" BC").is_some() { 1 - year } else { year };
    if !reader.0.is_empty() {
        return None;
    }
    let days = days_to(year, month) + day - 1 + seconds.div_euclid(SECONDS_OF_DAY);
    let (year, month) = year_month(cut(unit, days));
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let time = match kind {
        CoarseType::Address | CoarseType::Date => "",
        CoarseType::Timestamp { zone: false } => " 00:00:00",
        CoarseType::Timestamp { zone: true } => " 00:00:00+00",
    };
    write!(out, "{shown:04}-{month:02}-01{time}{era}").ok()
}

/// Hours, with minutes and seconds where there are any, in seconds.
fn clock(reader: &mut Reader<'_>) -> Option<i64> {
    let mut seconds = reader.number()? * 3_600;
    for unit in [60, 1] {
        if reader.skip(b":").is_none() {
            break;
        }
        seconds += reader.number()? * unit;
    }
    Some(seconds)
}

/// The other styles of a date. But for German, which of the first two is the month only the setting knows, so both
/// become the first.
fn day_first(unit: DateUnit, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let [_, _, first, month @ .., _, _, _, _] = value.get(..10)? else { return None };
    let (month, second) = (month.get(..2)?, *month.get(2)?);
    let digits = value[..2].iter().chain(month).chain(&value[6..10]).all(u8::is_ascii_digit);
    let end = value[10..].iter().all(u8::is_ascii_digit) || value.ends_with(b" BC");
    if *first != second || !matches!(first, b'.' | b'/' | b'-') || !digits || !end {
        return None;
    }
    let month = if unit == DateUnit::Month && *first == b'.' { month } else { b"01" };
    for part in [b"01", &[*first][..], month, &value[5..]] {
        out.extend_from_slice(part);
    }
    Some(())
}

fn address_text(how: &Generalise, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = str::from_utf8(value).ok()?;
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(whole), |bits| bits.parse().ok())?;
    let (address, bits) = prefix(how, address, bits);
    // Fewer than all bits stay, so either type writes how many.
    write!(out, "{address}/{bits}").ok()
}

/// Family, bits, whether it is a `cidr`, length, address.
fn address_binary(how: &Generalise, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (&[family, bits, cidr, length], address) = value.split_first_chunk::<4>()?;
    let address = match (family, length) {
        (FAMILY_V4, 4) => IpAddr::V4(<[u8; 4]>::try_from(address).ok()?.into()),
        (FAMILY_V6, 16) => IpAddr::V6(<[u8; 16]>::try_from(address).ok()?.into()),
        _ => return None,
    };
    let (address, bits) = prefix(how, address, bits);
    out.extend_from_slice(&[family, bits, cidr, length]);
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
    Some(())
}

/// The network an address is in; a wider one stays.
fn prefix(how: &Generalise, address: IpAddr, bits: u8) -> (IpAddr, u8) {
    match address {
        IpAddr::V4(address) => {
            let bits = bits.min(how.prefix4);
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            (Ipv4Addr::from_bits(address.to_bits() & mask).into(), bits)
        }
        IpAddr::V6(address) => {
            let bits = bits.min(how.prefix6);
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            (Ipv6Addr::from_bits(address.to_bits() & mask).into(), bits)
        }
    }
}

#[cfg(test)]
#[path = "coarse_tests.rs"]
mod tests;

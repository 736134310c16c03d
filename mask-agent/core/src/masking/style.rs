//! Dates, timestamps and intervals as text follow the session's `DateStyle` and `IntervalStyle`.
//!
//! Which style is in force the value itself shows, even where the setting changes halfway through a pipeline; so
//! the constant is written as the value is, and says no more than the setting does.

use super::{CellPlan, Format, redact::base, row::put_length};

/// A type whose text depends on a setting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Styled {
    Date,
    Interval,
    Timestamp,
    TimestampTz,
}

impl Styled {
    /// The type of a cell in text, if it is one of these.
    pub(super) fn of(cell: &CellPlan) -> Option<Self> {
        match (cell.format, base(cell)) {
            (Format::Text, 1082) => Some(Self::Date),
            (Format::Text, 1114) => Some(Self::Timestamp),
            (Format::Text, 1184) => Some(Self::TimestampTz),
            (Format::Text, 1186) => Some(Self::Interval),
            (Format::Binary | Format::Text, _) => None,
        }
    }

    /// Appends the constant in the style of a value, length included.
    pub(super) fn write(self, value: &[u8], out: &mut Vec<u8>) {
        let constant = self.constant(value);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        put_length(out, start, constant.len());
        out.extend_from_slice(constant);
    }

    fn constant(self, value: &[u8]) -> &'static [u8] {
        match (self, value) {
            // German, SQL, Postgres: day and month come first, and both are the first.
            (Self::Date, [_, _, b'.', ..]) => b"01.01.2000",
            (Self::Date, [_, _, b'/', ..]) => b"01/01/2000",
            (Self::Date, [_, _, b'-', ..]) => b"01-01-2000",
            (Self::Date, _) => b"2000-01-01",
            (Self::Timestamp, [_, _, b'.', ..]) => b"01.01.2000 00:00:00",
            (Self::Timestamp, [_, _, b'/', ..]) => b"01/01/2000 00:00:00",
            // Postgres: a weekday, then the day or the month.
            (Self::Timestamp, [_, _, _, b' ', b'0'..=b'9', ..]) => b"Sat 01 Jan 00:00:00 2000",
            (Self::Timestamp, [_, _, _, b' ', ..]) => b"Sat Jan 01 00:00:00 2000",
            (Self::Timestamp, _) => b"2000-01-01 00:00:00",
            // Only ISO has the zone as a number.
            (Self::TimestampTz, [_, _, b'.', ..]) => b"01.01.2000 00:00:00 UTC",
            (Self::TimestampTz, [_, _, b'/', ..]) => b"01/01/2000 00:00:00 UTC",
            (Self::TimestampTz, [_, _, _, b' ', b'0'..=b'9', ..]) => b"Sat 01 Jan 00:00:00 2000 UTC",
            (Self::TimestampTz, [_, _, _, b' ', ..]) => b"Sat Jan 01 00:00:00 2000 UTC",
            (Self::TimestampTz, _) => b"2000-01-01 00:00:00+00",
            (Self::Interval, [b'@', ..]) => b"@ 0",
            (Self::Interval, [b'P', ..]) => b"PT0S",
            // `sql_standard` writes hours like `postgres` does.
            (Self::Interval, _) => b"00:00:00",
        }
    }
}

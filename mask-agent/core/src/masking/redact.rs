//! A type's constant, in text and in binary, such that every driver can decode it.

use super::{CellPlan, Format};
use crate::{catalog::TypeShape, policy::MaskKind};

/// `text`.
pub(super) const TEXT: u32 = 25;
const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const CHAR: u32 = 18;
const NAME: u32 = 19;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const OID: u32 = 26;
const JSON: u32 = 114;
const XML: u32 = 142;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const UNKNOWN: u32 = 705;
const MACADDR8: u32 = 774;
const MONEY: u32 = 790;
const MACADDR: u32 = 829;
const INET: u32 = 869;
const CIDR: u32 = 650;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const INTERVAL: u32 = 1186;
const TIMETZ: u32 = 1266;
const BIT: u32 = 1560;
const VARBIT: u32 = 1562;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;
const INT4RANGE: u32 = 3904;
const NUMRANGE: u32 = 3906;
const TSRANGE: u32 = 3908;
const TSTZRANGE: u32 = 3910;
const DATERANGE: u32 = 3912;
const INT8RANGE: u32 = 3926;

/// What a text column shows.
const PLACEHOLDER: &str = "***";
/// The header of `varchar(n)`'s modifier (`VARHDRSZ`).
const MODIFIER_HEADER: i32 = 4;
/// `NAMEDATALEN - 1`.
const NAME_BYTES_MAX: usize = 63;

/// How many characters a text-like type takes; none for other types.
pub(super) fn text_limit(cell: &CellPlan) -> Option<usize> {
    match base(cell) {
        TEXT | UNKNOWN => Some(usize::MAX),
        NAME => Some(NAME_BYTES_MAX),
        BPCHAR | VARCHAR => Some(usize::try_from(cell.type_modifier - MODIFIER_HEADER).unwrap_or(usize::MAX)),
        _ => None,
    }
}

fn base(cell: &CellPlan) -> u32 {
    match &cell.shape {
        Some(TypeShape::Domain(base)) => *base,
        _ => cell.type_oid,
    }
}

/// Appends what a mask kind that hides everything shows; false means NULL.
pub(super) fn value(kind: &MaskKind, cell: &CellPlan, out: &mut Vec<u8>) -> bool {
    match kind {
        MaskKind::Null => false,
        MaskKind::Redact { placeholder: Some(placeholder) } => {
            text(placeholder, cell, out) || constant(cell, out)
        }
        MaskKind::Hash
        | MaskKind::Partial { .. }
        | MaskKind::Pattern
        | MaskKind::Redact { placeholder: None } => constant(cell, out),
    }
}

fn text(placeholder: &str, cell: &CellPlan, out: &mut Vec<u8>) -> bool {
    let Some(limit) = text_limit(cell) else { return false };
    let end = placeholder.char_indices().nth(limit).map_or(placeholder.len(), |(at, _)| at);
    out.extend_from_slice(&placeholder.as_bytes()[..end]);
    true
}

/// Appends the type's constant; false means NULL, which is never wrong.
pub(super) fn constant(cell: &CellPlan, out: &mut Vec<u8>) -> bool {
    match &cell.shape {
        Some(TypeShape::Enum(label)) => {
            out.extend_from_slice(label.as_bytes());
            return true;
        }
        Some(TypeShape::Array(element)) => {
            match cell.format {
                Format::Text => out.extend_from_slice(b"{}"),
                // No dimensions, no NULLs, the element's type.
                Format::Binary => {
                    out.extend_from_slice(&[0; 8]);
                    out.extend_from_slice(&element.to_be_bytes());
                }
            }
            return true;
        }
        Some(TypeShape::Composite | TypeShape::Other) => return false,
        Some(TypeShape::Range) => {
            range(cell.format, out);
            return true;
        }
        Some(TypeShape::Domain(_)) | None => {}
    }
    text(PLACEHOLDER, cell, out)
        || match cell.format {
            Format::Binary => binary(base(cell), out),
            Format::Text => textual(base(cell), out),
        }
}

fn range(format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Text => out.extend_from_slice(b"empty"),
        // RANGE_EMPTY
        Format::Binary => out.push(1),
    }
}

fn textual(type_oid: u32, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = match type_oid {
        BOOL => b"f",
        BYTEA => b"\\x",
        INT2 | INT4 | INT8 | OID | FLOAT4 | FLOAT8 | NUMERIC => b"0",
        JSON | JSONB => b"null",
        XML => b"<masked/>",
        CHAR => b"*",
        UUID => b"00000000-0000-0000-0000-000000000000",
        DATE => b"2000-01-01",
        TIMESTAMP => b"2000-01-01 00:00:00",
        TIMESTAMPTZ => b"2000-01-01 00:00:00+00",
        TIME | INTERVAL => b"00:00:00",
        TIMETZ => b"00:00:00+00",
        INET => b"0.0.0.0",
        CIDR => b"0.0.0.0/0",
        MACADDR => b"00:00:00:00:00:00",
        MACADDR8 => b"00:00:00:00:00:00:00:00",
        MONEY => b"$0.00",
        BIT | VARBIT => b"0",
        INT4RANGE | NUMRANGE | TSRANGE | TSTZRANGE | DATERANGE | INT8RANGE => b"empty",
        _ => return false,
    };
    out.extend_from_slice(text);
    true
}

fn binary(type_oid: u32, out: &mut Vec<u8>) -> bool {
    let bytes: &[u8] = match type_oid {
        BOOL => &[0],
        BYTEA => &[],
        CHAR => b"*",
        INT2 => &[0; 2],
        INT4 | OID | FLOAT4 | DATE => &[0; 4],
        INT8 | FLOAT8 | NUMERIC | TIME | TIMESTAMP | TIMESTAMPTZ | MACADDR8 | MONEY => &[0; 8],
        TIMETZ => &[0; 12],
        INTERVAL | UUID => &[0; 16],
        MACADDR => &[0; 6],
        JSON => b"null",
        // Version 1 of the binary form, then text.
        JSONB => b"\x01null",
        XML => b"<masked/>",
        // Family (AF_INET), bits, whether it is a cidr, address length, address.
        INET => &[2, 32, 0, 4, 0, 0, 0, 0],
        CIDR => &[2, 0, 1, 4, 0, 0, 0, 0],
        // One bit, clear.
        BIT | VARBIT => &[0, 0, 0, 1, 0],
        INT4RANGE | NUMRANGE | TSRANGE | TSTZRANGE | DATERANGE | INT8RANGE => &[1],
        _ => return false,
    };
    out.extend_from_slice(bytes);
    true
}

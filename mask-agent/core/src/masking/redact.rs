//! A type's constant, in text and in binary, such that every driver can decode it.
//!
//! What is written here is the grammar of the type's own output function (text) and of its send function
//! (binary). A type that is not known is NULL, which is valid for every type.

use super::{CellPlan, CellRule, Format, extension, number::NumberType};
use crate::catalog::TypeShape;

/// A cell that is NULL, length included.
pub(super) const NULL: [u8; 4] = [0xff; 4];

/// `text`.
pub(super) const TEXT: u32 = 25;
const BYTEA: u32 = 17;
const NAME: u32 = 19;
const UNKNOWN: u32 = 705;
const ACLITEM: u32 = 1033;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const BIT: u32 = 1560;
const NUMERIC: u32 = 1700;
const REFCURSOR: u32 = 1790;
const CSTRING: u32 = 2275;
const UUID: u32 = 2950;

/// What a text column shows.
pub(super) const PLACEHOLDER: &str = "***";
/// The header counted in the modifiers of `varchar(n)` and `numeric(p, s)` (`VARHDRSZ`).
const MODIFIER_HEADER: i32 = 4;
/// `NAMEDATALEN - 1`.
const NAME_BYTES_MAX: usize = 63;
/// Longer `bit(n)` columns are NULL rather than a long run of zeros.
const BIT_COUNT_MAX: i32 = 8_192;
/// Longer `char(n)` values are not padded.
const PAD_CHARACTERS_MAX: usize = 8_192;

/// How long the text of a type may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width {
    pub(super) characters: usize,
    pub(super) bytes: usize,
    /// Whether the type is filled up with blanks.
    pub(super) pads: bool,
}

impl Width {
    /// As much of a text as fits.
    fn cut(self, text: &str) -> &str {
        let end = text.char_indices().nth(self.characters).map_or(text.len(), |(at, _)| at);
        &text[..text.floor_char_boundary(end.min(self.bytes))]
    }

    /// Fills up what stands from `start` on, if the type asks for it.
    pub(super) fn pad(self, start: usize, out: &mut Vec<u8>) {
        if self.pads && self.characters <= PAD_CHARACTERS_MAX {
            // In UTF-8 every character has one byte that does not start with the bits 10.
            let count = out[start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
            out.resize(out.len() + self.characters.saturating_sub(count), b' ');
        }
    }
}

/// The width of a text-like type; none for other types.
pub(super) fn width(cell: &CellPlan) -> Option<Width> {
    let free = Width { characters: usize::MAX, bytes: usize::MAX, pads: false };
    let modifier = || usize::try_from(cell.type_modifier.saturating_sub(MODIFIER_HEADER)).ok();
    match base(cell) {
        CSTRING | REFCURSOR | TEXT | UNKNOWN => Some(free),
        NAME => Some(Width { bytes: NAME_BYTES_MAX, ..free }),
        VARCHAR => Some(Width { characters: modifier().unwrap_or(usize::MAX), ..free }),
        BPCHAR => Some(modifier().map_or(free, |characters| Width { characters, pads: true, ..free })),
        _ => None,
    }
}

pub(super) fn is_uuid(cell: &CellPlan) -> bool {
    base(cell) == UUID
}

pub(super) fn is_bytea(cell: &CellPlan) -> bool {
    base(cell) == BYTEA
}

/// The type of a number, where all its digits may change: not those that `numeric(p, -s)` rounds to zeros.
pub(super) fn number(cell: &CellPlan) -> Option<NumberType> {
    NumberType::of(cell).filter(|number| *number != NumberType::Numeric || numeric_scale(cell) >= 0)
}

/// An element of an array, as if it stood in a cell of its own; its format is that of the array.
pub(super) fn element_cell(cell: &CellPlan) -> Option<CellPlan> {
    let type_oid = match &cell.shape {
        Some(TypeShape::Array(element)) => *element,
        None => element(cell.type_oid)?,
        Some(
            TypeShape::Base(_)
            | TypeShape::Composite(_)
            | TypeShape::Domain(_)
            | TypeShape::Enum(_)
            | TypeShape::Multirange
            | TypeShape::Pseudo
            | TypeShape::Range,
        ) => return None,
    };
    let CellPlan { type_modifier, format, .. } = *cell;
    Some(CellPlan { type_oid, type_modifier, format, rule: CellRule::Redact, shape: None })
}

/// numeric.c: precision in the upper half of the modifier, scale as 11 bits with sign; no modifier is negative.
fn numeric_scale(cell: &CellPlan) -> i32 {
    let modifier = cell.type_modifier.saturating_sub(MODIFIER_HEADER).max(0);
    ((modifier & 0x7ff) ^ 0x400) - 0x400
}

/// The type of a cell's values.
pub(super) fn base(cell: &CellPlan) -> u32 {
    match &cell.shape {
        // Text in all but comparison.
        Some(TypeShape::Base(name)) if name == "citext" => TEXT,
        Some(TypeShape::Domain(base)) => *base,
        None
        | Some(
            TypeShape::Array(_)
            | TypeShape::Base(_)
            | TypeShape::Composite(_)
            | TypeShape::Enum(_)
            | TypeShape::Multirange
            | TypeShape::Pseudo
            | TypeShape::Range,
        ) => cell.type_oid,
    }
}

/// The type's constant as a cell, length included. The placeholder is for text only.
pub(super) fn cell(cell: &CellPlan, placeholder: Option<&str>) -> Box<[u8]> {
    let Some(value) = value(cell, placeholder.unwrap_or(PLACEHOLDER)) else { return NULL.into() };
    let Ok(length) = i32::try_from(value.len()) else { return NULL.into() };
    [&length.to_be_bytes(), &value[..]].concat().into()
}

fn value(cell: &CellPlan, placeholder: &str) -> Option<Vec<u8>> {
    if let Some(width) = width(cell) {
        let mut text = width.cut(placeholder).as_bytes().to_vec();
        width.pad(0, &mut text);
        return Some(text);
    }
    match base(cell) {
        NUMERIC => return Some(numeric(cell)),
        BIT => return bit(cell),
        // Everybody's, no privilege, from nobody's role in particular; the server has no binary form.
        ACLITEM => return (cell.format == Format::Text).then(|| b"=/postgres".to_vec()),
        _ => {}
    }
    if let Some((text, binary)) = builtin(base(cell)) {
        return Some(pick(cell.format, text, binary).to_vec());
    }
    match &cell.shape {
        Some(TypeShape::Array(element)) => Some(array(cell.format, *element)),
        Some(TypeShape::Base(name)) => extension::constant(name, cell),
        Some(TypeShape::Composite(fields)) => Some(composite(cell.format, fields)),
        // A label's text is also its binary form.
        Some(TypeShape::Enum(label)) => Some(label.as_bytes().to_vec()),
        Some(TypeShape::Multirange) => Some(pick(cell.format, MULTIRANGE.0, MULTIRANGE.1).to_vec()),
        Some(TypeShape::Range) => Some(pick(cell.format, RANGE.0, RANGE.1).to_vec()),
        Some(TypeShape::Domain(base)) => element(*base).map(|element| array(cell.format, element)),
        Some(TypeShape::Pseudo) => None,
        None => element(cell.type_oid).map(|element| array(cell.format, element)),
    }
}

fn pick<'a>(format: Format, text: &'a [u8], binary: &'a [u8]) -> &'a [u8] {
    match format {
        Format::Binary => binary,
        Format::Text => text,
    }
}

/// Zero with the digits behind the point that the column has.
fn numeric(cell: &CellPlan) -> Vec<u8> {
    let scale = u16::try_from(numeric_scale(cell)).unwrap_or(0);
    match cell.format {
        Format::Text if scale == 0 => b"0".to_vec(),
        Format::Text => format!("0.{:0>1$}", "", usize::from(scale)).into_bytes(),
        // Digits, weight, sign, scale.
        Format::Binary => [[0; 6].as_slice(), &scale.to_be_bytes()].concat(),
    }
}

/// `bit(n)` with every bit clear; without a modifier one bit.
fn bit(cell: &CellPlan) -> Option<Vec<u8>> {
    let count = cell.type_modifier.max(1);
    let bits = usize::try_from(count).ok().filter(|_| count <= BIT_COUNT_MAX)?;
    Some(match cell.format {
        Format::Binary => [&count.to_be_bytes()[..], &vec![0; bits.div_ceil(8)]].concat(),
        Format::Text => vec![b'0'; bits],
    })
}

/// No dimensions, no NULLs, the element's type.
fn array(format: Format, element: u32) -> Vec<u8> {
    match format {
        Format::Binary => [&[0; 8][..], &element.to_be_bytes()].concat(),
        Format::Text => b"{}".to_vec(),
    }
}

/// Every field NULL, and as many as the type has: drivers compare their types with what they looked up.
fn composite(format: Format, fields: &[u32]) -> Vec<u8> {
    match format {
        Format::Binary => {
            let count = u32::try_from(fields.len()).unwrap_or(0).to_be_bytes();
            let fields = fields.iter().flat_map(|field| [field.to_be_bytes(), NULL]);
            [count].into_iter().chain(fields).flatten().collect()
        }
        Format::Text => format!("({})", ",".repeat(fields.len().saturating_sub(1))).into_bytes(),
    }
}

/// `RANGE_EMPTY`, for the range over any type.
const RANGE: (&[u8], &[u8]) = (b"empty", &[1]);
/// No ranges.
const MULTIRANGE: (&[u8], &[u8]) = (b"{}", &[0; 4]);

/// Text and binary form of the built-in types, by their number in `pg_type.dat`.
fn builtin(type_oid: u32) -> Option<(&'static [u8], &'static [u8])> {
    Some(match type_oid {
        // bool
        16 => (b"f", &[0]),
        BYTEA => (b"\\x", b""),
        // "char"
        18 => (b"*", b"*"),
        // int8, xid8, float8
        20 | 5069 | 701 => (b"0", &[0; 8]),
        // int2
        21 => (b"0", &[0; 2]),
        // int2vector, oidvector: blank-separated in text, one-dimensional arrays in binary
        22 => (b"", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0, 0, 0, 0, 0, 0]),
        30 => (b"", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 0, 0]),
        // int4, oid, xid, cid, float4
        // Of regoper and regoperator (2203, 2204), `-` would be an operator.
        23 | 26 | 28 | 29 | 700 | 2203 | 2204 => (b"0", &[0; 4]),
        // regproc, regprocedure, regclass, regtype, regconfig, regdictionary, regrole, regnamespace, regcollation
        24 | 2202 | 2205 | 2206 | 3734 | 3769 | 4096 | 4089 | 4191 => (b"-", &[0; 4]),
        // tid
        27 => (b"(0,0)", &[0; 6]),
        // json
        114 => (b"null", b"null"),
        // xml
        142 => (b"<masked/>", b"<masked/>"),
        // point, lseg, box, circle
        600 => (b"(0,0)", &[0; 16]),
        601 => (b"[(0,0),(0,0)]", &[0; 32]),
        603 => (b"(0,0),(0,0)", &[0; 32]),
        718 => (b"<(0,0),0>", &[0; 24]),
        // line: the coefficients of x + 0y + 0 = 0, because the first two may not both be zero
        628 => (b"{1,0,0}", &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        // path of one point, open; polygon of one point
        602 => (b"[(0,0)]", &ONE_POINT),
        604 => (b"((0,0))", ONE_POINT.split_at(1).1),
        // cidr, inet: family (AF_INET), bits, whether it is a cidr, address length, address
        650 => (b"0.0.0.0/0", &[2, 0, 1, 4, 0, 0, 0, 0]),
        869 => (b"0.0.0.0", &[2, 32, 0, 4, 0, 0, 0, 0]),
        // macaddr8, macaddr
        774 => (b"00:00:00:00:00:00:00:00", &[0; 8]),
        829 => (b"00:00:00:00:00:00", &[0; 6]),
        // money
        790 => (b"$0.00", &[0; 8]),
        // date, time, timestamp, timestamptz: binary counts from 2000-01-01
        1082 => (b"2000-01-01", &[0; 4]),
        1083 => (b"00:00:00", &[0; 8]),
        1114 => (b"2000-01-01 00:00:00", &[0; 8]),
        1184 => (b"2000-01-01 00:00:00+00", &[0; 8]),
        // interval, timetz
        1186 => (b"00:00:00", &[0; 16]),
        1266 => (b"00:00:00+00", &[0; 12]),
        // varbit of no bits
        1562 => (b"", &[0; 4]),
        UUID => (b"00000000-0000-0000-0000-000000000000", &[0; 16]),
        // void
        2278 => (b"", b""),
        // record of no fields, whatever the description does not say
        2249 => (b"()", &[0; 4]),
        // txid_snapshot, pg_snapshot: no transactions in progress, from 1 to 1
        2970 | 5038 => (b"1:1:", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
        // pg_lsn
        3220 => (b"0/0", &[0; 8]),
        // tsvector; tsquery of one word, because not every minor release takes one without: a count, a value's tag, its
        // weight, whether it is a prefix, the word
        3614 => (b"", &[0; 4]),
        3615 => (b"'***'", b"\0\0\0\x01\x01\0\0***\0"),
        // jsonb, jsonpath: version 1 of the binary form, then text
        3802 => (b"null", b"\x01null"),
        4072 => (b"$", b"\x01$"),
        // int4range, numrange, tsrange, tstzrange, daterange, int8range: RANGE_EMPTY
        3904 | 3906 | 3908 | 3910 | 3912 | 3926 => RANGE,
        // int4multirange, nummultirange, tsmultirange, tstzmultirange, datemultirange, int8multirange
        4451 | 4532..=4536 => MULTIRANGE,
        _ => return None,
    })
}

/// A path's open flag, a count of one, and the origin.
const ONE_POINT: [u8; 21] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The element type of the built-in arrays, for a description whose shapes were not looked up.
fn element(type_oid: u32) -> Option<u32> {
    const ARRAYS: [(u32, u32); 39] = [
        (143, 142),
        (199, 114),
        (651, 650),
        (775, 774),
        (791, 790),
        (1000, 16),
        (1001, BYTEA),
        (1002, 18),
        (1003, 19),
        (1005, 21),
        (1007, 23),
        (1009, 25),
        (1014, 1042),
        (1015, 1043),
        (1016, 20),
        (1021, 700),
        (1022, 701),
        (1028, 26),
        (1034, ACLITEM),
        (1040, 829),
        (1041, 869),
        (1115, 1114),
        (1182, 1082),
        (1183, 1083),
        (1185, 1184),
        (1187, 1186),
        (1231, 1700),
        (1270, 1266),
        (1561, 1560),
        (1563, 1562),
        (2951, 2950),
        (3807, 3802),
        (3905, 3904),
        (3907, 3906),
        (3909, 3908),
        (3911, 3910),
        (3913, 3912),
        (3927, 3926),
        (4073, 4072),
    ];
    ARRAYS.iter().find(|(array, _)| *array == type_oid).map(|(_, element)| *element)
}

//! Constants of the types of widely used extensions, by name: their numbers differ from database to database.
//!
//! Only a superuser can make a base type, so nobody else can give one of these names to a type of another form.

use super::{CellPlan, Format};

/// What `vector(n)` may have; `sparsevec` may have more, but stores none of them.
const DIMENSIONS_MAX: usize = 16_000;

/// The constant of the base type of this name, in the cell's format; none where there is none.
pub(super) fn constant(name: &str, cell: &CellPlan) -> Option<Vec<u8>> {
    let both = |text: &[u8], binary: &[u8]| match cell.format {
        Format::Binary => Some(binary.to_vec()),
        Format::Text => Some(text.to_vec()),
    };
    // The server has no binary form of these.
    let text = |text: &[u8]| (cell.format == Format::Text).then(|| text.to_vec());
    match name {
        // No pairs.
        "hstore" => both(b"", &[0; 4]),
        // Version 1 of the binary form, then an empty path.
        "ltree" => both(b"", &[1]),
        // A point is flagged by the highest bit of the number of dimensions.
        "cube" => both(b"(0)", &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        "seg" => text(b"0"),
        "vector" => vector(cell, 4),
        "halfvec" => vector(cell, 2),
        "sparsevec" => sparse_vector(cell),
        "geometry" => geometry(cell, 0),
        "geography" => geometry(cell, WGS84),
        "box2d" => text(b"BOX(0 0,0 0)"),
        "box3d" => text(b"BOX3D(0 0 0,0 0 0)"),
        "raster" => text(RASTER),
        _ => None,
    }
}

/// The modifier of pgvector's types is the number of dimensions, of which there is at least one.
fn dimensions(cell: &CellPlan) -> usize {
    usize::try_from(cell.type_modifier).unwrap_or(1).max(1)
}

/// As many zeros as the column has dimensions.
fn vector(cell: &CellPlan, element_bytes: usize) -> Option<Vec<u8>> {
    let dimensions = dimensions(cell);
    if dimensions > DIMENSIONS_MAX {
        return None;
    }
    Some(match cell.format {
        Format::Text => format!("[{}0]", "0,".repeat(dimensions - 1)).into_bytes(),
        Format::Binary => {
            let count = u16::try_from(dimensions).ok()?.to_be_bytes();
            [&count[..], &[0; 2], &vec![0; dimensions * element_bytes]].concat()
        }
    })
}

/// As many dimensions as the column has, all of them zero: dimensions, elements that are not zero, unused.
fn sparse_vector(cell: &CellPlan) -> Option<Vec<u8>> {
    let dimensions = dimensions(cell);
    Some(match cell.format {
        Format::Text => format!("{{}}/{dimensions}").into_bytes(),
        Format::Binary => [&u32::try_from(dimensions).ok()?.to_be_bytes()[..], &[0; 8]].concat(),
    })
}

/// What `geography` is in where its modifier says nothing.
const WGS84: u32 = 4326;

/// Flags of the type in the extended well-known binary of `PostGIS`.
const EWKB_Z: u32 = 1 << 31;
const EWKB_M: u32 = 1 << 30;
const EWKB_SRID: u32 = 1 << 29;

/// What `f64::NAN` is to `PostGIS`: an empty point has such coordinates.
const NAN: [u8; 8] = 0x7ff8_0000_0000_0000_u64.to_le_bytes();

/// An empty geometry of the type, dimensions and reference system that the modifier asks for: 21 bits of the system's
/// number with sign, six of the type, one each for Z and M. Text is the binary form in hexadecimal digits.
fn geometry(cell: &CellPlan, srid: u32) -> Option<Vec<u8>> {
    const POINT: u32 = 1;
    let modifier = u32::try_from(cell.type_modifier).unwrap_or(0);
    let srid = match (modifier & 0x0fff_ff00) >> 8 {
        0 => srid,
        srid => srid,
    };
    let kind = match (modifier & 0xfc) >> 2 {
        0 => POINT,
        kind @ 1..=12 => kind,
        // Polyhedral surface, triangle, TIN: numbered otherwise on the wire.
        13 => 15,
        14 => 17,
        15 => 16,
        _ => return None,
    };
    let (has_z, has_m) = (modifier & 2 != 0, modifier & 1 != 0);
    let mut flagged = kind;
    for (is_set, flag) in [(has_z, EWKB_Z), (has_m, EWKB_M), (srid != 0, EWKB_SRID)] {
        flagged |= if is_set { flag } else { 0 };
    }
    // Little-endian.
    let mut binary = vec![1];
    binary.extend(flagged.to_le_bytes());
    if srid != 0 {
        binary.extend(srid.to_le_bytes());
    }
    if kind == POINT {
        binary.extend(NAN.repeat(2 + usize::from(has_z) + usize::from(has_m)));
    } else {
        binary.extend([0; 4]);
    }
    Some(match cell.format {
        Format::Binary => binary,
        Format::Text => binary.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect(),
    })
}

/// No bands, no columns, no rows: version 0, a scale of 1 and -1, all else zero.
const RASTER: &[u8] = b"0100000000000000000000F03F000000000000F0BF\
    00000000000000000000000000000000000000000000000000000000000000000000000000000000";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::CellRule;

    fn shown(name: &str, type_modifier: i32) -> [Option<String>; 2] {
        [Format::Text, Format::Binary].map(|format| {
            let cell =
                CellPlan { type_oid: 99_999, type_modifier, format, rule: CellRule::Redact, shape: None };
            let value = constant(name, &cell)?;
            Some(match format {
                Format::Text => String::from_utf8(value).unwrap(),
                Format::Binary => {
                    value.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).map(char::from).collect()
                }
            })
        })
    }

    fn check(name: &str, type_modifier: i32, text: &str, binary: &str) {
        assert_eq!(shown(name, type_modifier), [Some(text.to_owned()), Some(binary.to_owned())], "{name}");
    }

    #[test]
    fn vectors_keep_their_dimensions() {
        check("vector", 3, "[0,0,0]", "00030000000000000000000000000000");
        check("vector", -1, "[0]", "0001000000000000");
        check("halfvec", 2, "[0,0]", "0002000000000000");
        check("sparsevec", 5, "{}/5", "000000050000000000000000");
        assert!(shown("vector", 16_000).iter().all(Option::is_some));
        assert_eq!(shown("vector", 16_001), [None, None]);
    }

    #[test]
    fn geometries_keep_their_type_dimensions_and_system() {
        let nan = "000000000000f87f";
        let check = |name: &str, modifier: i32, binary: String| {
            check(name, modifier, &binary.to_uppercase(), &binary);
        };
        check("geometry", -1, format!("0101000000{nan}{nan}"));
        // geometry(PointZM,4326), geometry(Polygon), geometry(Geometry,3857), as a server numbers them
        check("geometry", 1_107_463, format!("01010000e0e6100000{nan}{nan}{nan}{nan}"));
        check("geometry", 12, "010300000000000000".to_owned());
        check("geometry", 987_392, format!("0101000020110f0000{nan}{nan}"));
        check("geography", -1, format!("0101000020e6100000{nan}{nan}"));
        // Polyhedral surface, triangle, TIN.
        check("geometry", 13 << 2, "010f00000000000000".to_owned());
        check("geometry", 14 << 2, "011100000000000000".to_owned());
        check("geometry", 15 << 2, "011000000000000000".to_owned());
        assert_eq!(shown("geometry", 16 << 2), [None, None]);
    }

    #[test]
    fn other_types_have_a_value_that_says_nothing() {
        check("hstore", -1, "", "00000000");
        check("ltree", -1, "", "01");
        check("cube", -1, "(0)", "800000010000000000000000");
    }

    #[test]
    fn what_has_no_binary_form_has_no_constant_there() {
        for name in ["box2d", "box3d", "raster", "seg"] {
            assert!(matches!(shown(name, -1), [Some(_), None]), "{name}");
        }
        assert_eq!(RASTER.len(), 2 * 61);
        assert_eq!(shown("stranger", -1), [None, None]);
    }
}

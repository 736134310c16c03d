//! `FORMAT binary`: a header, rows like those of `DataRow`, and a trailer.

use super::Row;
use crate::masking::{
    MaskError, MaskKey,
    row::{Step, mask_cells},
};

/// A count of fields that no row has.
pub(super) const TRAILER: [u8; 2] = [0xff; 2];

const SIGNATURE: [u8; 11] = *b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the extension.
const HEADER_BYTES: usize = 19;
/// Those a reader may not pass over. One of them says that rows have a field more than they count.
const FLAGS_CRITICAL: u32 = 0xffff_0000;

/// Appends a header without flags and extension, which no reader may need: what a server would put there nobody can
/// mask.
pub(super) fn header(data: &[u8], out: &mut Vec<u8>) -> Result<Row, MaskError> {
    if !data.starts_with(&SIGNATURE[..data.len().min(SIGNATURE.len())]) {
        return Err(MaskError::NoHeader);
    }
    let (fixed, rest) = data.split_first_chunk::<HEADER_BYTES>().ok_or(MaskError::Truncated)?;
    let [flags, extension] = [11, 15].map(|at| [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    if u32::from_be_bytes(flags) & FLAGS_CRITICAL != 0 {
        return Err(MaskError::NoHeader);
    }
    let extension = usize::try_from(i32::from_be_bytes(extension)).map_err(|_| MaskError::NoHeader)?;
    if extension > rest.len() {
        return Err(MaskError::Truncated);
    }
    out.extend_from_slice(&SIGNATURE);
    out.extend_from_slice(&[0; HEADER_BYTES - SIGNATURE.len()]);
    Ok(Row { length: HEADER_BYTES + extension, masked: 0 })
}

pub(super) fn trailer(out: &mut Vec<u8>) -> Row {
    out.extend_from_slice(&TRAILER);
    Row { length: TRAILER.len(), masked: 0 }
}

pub(super) fn row(key: &MaskKey, steps: &[Step], data: &[u8], out: &mut Vec<u8>) -> Result<Row, MaskError> {
    let length = length(data)?;
    let masked = mask_cells(key, steps, &data[..length], out)?;
    Ok(Row { length, masked })
}

fn length(data: &[u8]) -> Result<usize, MaskError> {
    let count = data.first_chunk::<2>().ok_or(MaskError::Truncated)?;
    let mut at = 2_usize;
    for _ in 0..u16::from_be_bytes(*count) {
        let length = data.get(at..).and_then(<[u8]>::first_chunk::<4>).ok_or(MaskError::Truncated)?;
        // NULL has none.
        at += 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        if at > data.len() {
            return Err(MaskError::Truncated);
        }
    }
    Ok(at)
}

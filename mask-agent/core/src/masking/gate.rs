//! Bytes that may leave for the client.
//!
//! The client's socket takes `ClientBytes` only, and nothing outside this crate can put a byte in: rows come
//! from `ClientBytes::row` under a plan or as a run the ruling lets pass, errors after scrubbing, and the
//! rest from message kinds that carry no stored value.
//!
//! ```compile_fail
//! let mut bytes = mask_core::masking::gate::ClientBytes::default();
//! bytes.pass(0..4);
//! ```

use std::ops::Range;

use super::{CopyMasker, CopyPlan, MaskError, MaskKey, Pieces, RowPlan, mask_row};

/// Bytes for the client: every cell masked, or let pass by a ruling.
#[derive(Debug, Default)]
pub struct ClientBytes(Pieces);

impl ClientBytes {
    /// A run of frames that carry no stored value, or rows that a ruling lets pass.
    pub(crate) fn pass(&mut self, range: Range<usize>) {
        self.0.input(range);
    }

    /// A message we wrote ourselves.
    pub(crate) fn message(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.scratch(write);
    }

    /// One `DataRow` under a plan; the cells masked.
    pub(crate) fn row(&mut self, key: &MaskKey, plan: &RowPlan, body: &[u8]) -> Result<u64, MaskError> {
        self.0.scratch(|scratch| mask_row(key, plan, body, scratch))
    }

    /// The rows a `CopyData` completes, under a plan; the cells masked.
    pub(crate) fn copy(
        &mut self,
        key: &MaskKey,
        plan: &CopyPlan,
        masker: &mut CopyMasker,
        data: &[u8],
    ) -> Result<u64, MaskError> {
        self.0.scratch(|scratch| masker.chunk(key, plan, data, scratch))
    }

    /// The slices in order; `input` is the slice that was fed.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0.slices(input)
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes to be sent.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Empties it; capacity stays.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_told_and_can_be_emptied() {
        let mut bytes = ClientBytes::default();
        assert_eq!(bytes.len(), 0);
        bytes.message(|_| {});
        assert!(bytes.is_empty());
        bytes.message(|out| out.extend_from_slice(b"abc"));
        bytes.pass(1..3);
        bytes.pass(3..4);
        bytes.pass(4..4);
        bytes.message(|out| out.extend_from_slice(b"de"));
        assert!(!bytes.is_empty());
        assert_eq!(bytes.len(), 8);
        assert_eq!(bytes.slices(b"01234").collect::<Vec<_>>(), [&b"abc"[..], b"123", b"de"]);
        bytes.clear();
        assert!(bytes.is_empty());
        assert_eq!(bytes.len(), 0);
        bytes.pass(0..1);
        assert_eq!(bytes.slices(b"01").collect::<Vec<_>>(), [b"0"]);
    }
}

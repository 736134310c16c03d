//! What is sent, without copying what stays.

use std::ops::Range;

/// A list of slices of the input or of a scratch arena.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: Vec<Piece>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Piece {
    Input(Range<usize>),
    Scratch(Range<usize>),
}

impl Pieces {
    /// Adds a slice of the input; a neighbour of the last piece joins it.
    pub(crate) fn input(&mut self, range: Range<usize>) {
        if let Some(Piece::Input(last)) = self.pieces.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
        } else if !range.is_empty() {
            self.pieces.push(Piece::Input(range));
        }
    }

    /// Adds what `write` appends to the arena.
    pub(crate) fn scratch<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.scratch.len();
        let result = write(&mut self.scratch);
        let end = self.scratch.len();
        if let Some(Piece::Scratch(last)) = self.pieces.last_mut() {
            last.end = end;
        } else if end > start {
            self.pieces.push(Piece::Scratch(start..end));
        }
        result
    }

    /// The slices in order; `input` is the slice that was fed.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.pieces.iter().map(move |piece| match piece {
            Piece::Input(range) => &input[range.clone()],
            Piece::Scratch(range) => &self.scratch[range.clone()],
        })
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes to be sent.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|(Piece::Input(range) | Piece::Scratch(range))| range.len()).sum()
    }

    /// Empties it; capacity stays.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.scratch.clear();
    }
}

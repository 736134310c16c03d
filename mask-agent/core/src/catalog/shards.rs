//! A map in parts, of which a copy shares those that stay as they are.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc};

/// A change copies one part: of 20,000 relations, some eighty.
const PARTS: usize = 256;

/// What a key says of the part it is in.
pub(super) trait Place: Eq + Hash {
    fn place(&self) -> usize;
}

impl Place for u32 {
    /// What is made one after the other is spread.
    fn place(&self) -> usize {
        *self as usize
    }
}

impl Place for str {
    fn place(&self) -> usize {
        self.bytes().fold(0, |place, byte| place.wrapping_mul(31).wrapping_add(byte.into()))
    }
}

/// The map.
#[derive(Clone, Debug)]
pub(super) struct Shards<K, V>(Box<[Arc<HashMap<K, V>>]>);

impl<K: Clone + Eq + Hash, V: Clone> Shards<K, V> {
    pub(super) fn get<Q: ?Sized + Place>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key.place() % PARTS)?.get(key)
    }

    /// The part where a key is or would be, to be changed.
    pub(super) fn part_mut<Q: ?Sized + Place>(&mut self, key: &Q) -> &mut HashMap<K, V>
    where
        K: Borrow<Q>,
    {
        Arc::make_mut(&mut self.0[key.place() % PARTS])
    }

    /// Whether it holds the same.
    pub(super) fn is_as(&self, other: &Self) -> bool
    where
        V: PartialEq,
    {
        let mut parts = self.0.iter().zip(&other.0);
        parts.all(|(part, other)| Arc::ptr_eq(part, other) || part == other)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|part| &**part)
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&K) -> bool) {
        for part in &mut self.0 {
            if !part.keys().all(&is_kept) {
                Arc::make_mut(part).retain(|key, _| is_kept(key));
            }
        }
    }

    pub(super) fn extend<Q: ?Sized + Place>(&mut self, more: impl IntoIterator<Item = (K, V)>)
    where
        K: Borrow<Q>,
    {
        for (key, value) in more {
            self.part_mut(key.borrow()).insert(key, value);
        }
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self((0..PARTS).map(|_| Arc::default()).collect())
    }
}

/// Parts that are shared are the same without a look.
impl<K: Eq + Hash, V: Eq> PartialEq for Shards<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| Arc::ptr_eq(own, other) || own == other)
    }
}

impl<K: Eq + Hash, V: Eq> Eq for Shards<K, V> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: impl IntoIterator<Item = u32>) -> Shards<u32, u32> {
        let mut shards = Shards::default();
        shards.extend::<u32>(numbers.into_iter().map(|number| (number, number)));
        shards
    }

    #[test]
    fn a_copy_is_changed_by_itself() {
        let before = numbers(0..1_000);
        let mut after = before.clone();
        after.part_mut(&7).insert(7, 8);
        after.part_mut(&8).remove(&8);
        after.retain(|key| *key != 500);
        assert_eq!((before.get(&7), before.get(&8), before.get(&500)), (Some(&7), Some(&8), Some(&500)));
        assert_eq!((after.get(&7), after.get(&8), after.get(&500)), (Some(&8), None, None));
        assert_ne!(before, after);
        after.extend::<u32>([(7, 7), (8, 8), (500, 500)]);
        assert_eq!(before, after);
        assert_eq!(after.iter().count(), 1_000);
        assert_ne!(numbers(0..4), numbers(0..5));
        let shared =
            before.0.iter().zip(&before.clone().0).filter(|(own, other)| Arc::ptr_eq(own, other)).count();
        assert_eq!(shared, PARTS);
    }
}

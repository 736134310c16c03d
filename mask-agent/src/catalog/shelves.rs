//! All snapshots, and no more of them than are used: a client may call a database by as many names as it likes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Held, Key, Shelf};

/// Snapshots at a time, besides those that connections use.
const SHELVES_MAX: usize = 256;
/// A connection that has one listens to it within this time.
const AGE_MIN: Duration = Duration::from_secs(10);

/// Snapshots by database and role.
#[derive(Default)]
pub(super) struct Shelves(Mutex<HashMap<Key, Arc<Shelf>>>);

impl Shelves {
    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<Shelf>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of a database and role, empty where there was none.
    pub(super) fn of(&self, key: Key) -> Arc<Shelf> {
        let mut shelves = self.all();
        if shelves.len() >= SHELVES_MAX && !shelves.contains_key(&key) {
            shelves.retain(|_, shelf| is_used(shelf));
        }
        shelves.entry(key).or_default().clone()
    }
}

/// Whether a connection has it or listens to it; nobody else takes it while the map is locked.
fn is_used(shelf: &Arc<Shelf>) -> bool {
    let is_new = |held: &Held| held.begun.elapsed() < AGE_MIN;
    Arc::strong_count(shelf) > 1
        || shelf.held.receiver_count() > 0
        || shelf.held.borrow().as_ref().is_some_and(is_new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Target;

    #[test]
    fn names_that_nobody_uses_any_more_leave_nothing() {
        let shelves = Shelves::default();
        let key = |number: usize| {
            let address = "10.0.0.7:5432".parse().unwrap();
            (Target::named(address, &format!("db{number}.example")), "shop".to_owned(), "app".to_owned())
        };
        let kept = shelves.of(key(0));
        let news = shelves.of(key(1)).held.subscribe();
        for number in 2..5 * SHELVES_MAX {
            shelves.of(key(number));
            assert!(shelves.all().len() <= SHELVES_MAX);
        }
        assert!(Arc::ptr_eq(&shelves.of(key(0)), &kept));
        assert!(news.same_channel(&shelves.of(key(1)).held.subscribe()));
    }
}

//! Header maps that are used again. Each costs two allocations, one of them too large for the allocator's quick path.

use std::cell::RefCell;

use http::HeaderMap;

/// So many are kept by each thread.
const MOST: usize = 64;
/// Larger ones are not kept.
const MOST_FIELDS: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map with room for at least so many fields.
pub(super) fn take(fields: usize) -> HeaderMap {
    let mut map = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    map.reserve(fields);
    map
}

/// Keeps a map that is needed no more.
pub(crate) fn give(mut map: HeaderMap) {
    if (1..=MOST_FIELDS).contains(&map.capacity()) {
        map.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST {
                spare.push(map);
            }
        });
    }
}

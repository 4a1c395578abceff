//! A pool of header maps. Each map costs two allocations, one of them too large for the allocator's fast path.

use std::cell::RefCell;

use http::HeaderMap;

/// Maximum maps that are kept per thread.
const MAX_POOLED: usize = 64;
/// Maximum capacity of a map that is kept.
const MAX_FIELDS: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map with a capacity of at least so many fields.
pub(super) fn take(fields: usize) -> HeaderMap {
    let mut map = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
    map.reserve(fields);
    map
}

/// Returns a map to the pool.
pub(crate) fn put(mut map: HeaderMap) {
    if (1..=MAX_FIELDS).contains(&map.capacity()) {
        map.clear();
        POOL.with_borrow_mut(|pool| {
            if pool.len() < MAX_POOLED {
                pool.push(map);
            }
        });
    }
}

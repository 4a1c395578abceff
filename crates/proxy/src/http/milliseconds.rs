//! Durations as header values.

use std::time::Duration;

use http::HeaderValue;

/// A whole number of milliseconds as a header value; small ones come from a table.
pub(crate) struct Milliseconds(Vec<HeaderValue>);

impl Default for Milliseconds {
    fn default() -> Self {
        Self((0..256u32).map(HeaderValue::from).collect())
    }
}

impl Milliseconds {
    pub(crate) fn get(&self, duration: Duration) -> HeaderValue {
        let millis = duration.as_millis();
        match usize::try_from(millis)
            .ok()
            .and_then(|index| self.0.get(index))
        {
            Some(value) => value.clone(),
            None => HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX)),
        }
    }
}

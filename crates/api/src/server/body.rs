//! Reads request bodies, with limits of size, of time, and of the memory of all connections.

use crate::error::ApiError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// The limit of the memory of all bodies. Clones share it.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// A body, and its share of the budget, which is released when it is dropped.
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    _reserved: Option<OwnedSemaphorePermit>,
}

/// The limits of a body.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) bytes: usize,
    pub(super) time: Duration,
    /// Absent for a verified caller: then `time` limits the wait for each piece, not the total.
    pub(super) budget: Option<&'a Budget>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        self.0.clone().try_acquire_many_owned(bytes).ok()
    }
}

/// Reads a body.
pub(super) async fn read(mut body: Body, limits: Limits<'_>) -> Result<BufferedBody, ApiError> {
    let mut deadline = Instant::now() + limits.time;
    let mut reserved: Option<OwnedSemaphorePermit> = None;
    // Most bodies arrive in one piece, which is not copied.
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = timeout_at(deadline, body.frame())
        .await
        .map_err(|_| late())?
    {
        let frame = frame
            .map_err(|error| ApiError::serialization(format!("the body ended early: {error}")))?;
        // Trailers are ignored.
        let data = frame.into_data().unwrap_or_default();
        if data.len() > limits.bytes - first.len() - rest.len() {
            return Err(too_large(limits.bytes));
        }
        match limits.budget {
            None => deadline = Instant::now() + limits.time,
            Some(budget) => {
                let more = budget.reserve(data.len()).ok_or_else(full)?;
                match &mut reserved {
                    Some(reserved) => reserved.merge(more),
                    None => reserved = Some(more),
                }
            }
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    Ok(BufferedBody {
        bytes: if rest.is_empty() {
            first
        } else {
            rest.freeze()
        },
        _reserved: reserved,
    })
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLargeException",
        format!("the body has more than {max} bytes"),
    )
}

fn late() -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "RequestTimeoutException",
        "the body did not arrive in time",
    )
}

fn full() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "ServiceUnavailableException",
        "too many requests with large bodies are under way; try again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(budget: &Budget, bytes: usize, body: Body) -> Result<BufferedBody, ApiError> {
        let limits = Limits {
            bytes,
            time: Duration::from_secs(20),
            budget: Some(budget),
        };
        super::read(body, limits).await
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_budget() {
        let budget = Budget::new(10);
        let read = |bytes: usize| read(&budget, 8, Body::from(vec![0; bytes]));
        let buffered = read(6).await.expect("the budget is free");
        assert_eq!(buffered.bytes.len(), 6);
        let refused = read(6).await.err().expect("the budget is used");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(buffered);
        assert!(read(6).await.is_ok());
        let refused = read(9).await.err().expect("too large");
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        for pieces in [
            &["a", "", "bc", "d"][..],
            &["", "abcd"],
            &["abcd"],
            &["abc", "d", ""],
        ] {
            let pieces = pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece));
            let body = Body::from_stream(futures::stream::iter(pieces.collect::<Vec<_>>()));
            let buffered = read(&Budget::new(100), 4, body).await;
            assert_eq!(buffered.expect("read").bytes, "abcd");
        }
    }
}

//! Reading bodies: bounded in size, in time, and in memory over all connections.

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

/// The bytes that bodies may take at a time.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// A body, and the room that it takes until it is dropped.
pub(super) struct BufferedBody {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Reads a body of at most `most` bytes within a time.
    pub(super) async fn read(
        &self,
        body: Body,
        most: usize,
        timeout: Duration,
    ) -> Result<BufferedBody, ApiError> {
        let deadline = Instant::now() + timeout;
        let mut room: Option<OwnedSemaphorePermit> = None;
        let mut collector = Collector::new(most);
        let mut body = body;
        loop {
            let frame = timeout_at(deadline, body.frame()).await;
            let Some(data) = collector.take(frame.map_err(|_| late())?)? else {
                break;
            };
            let more = u32::try_from(data).ok();
            let more = more.and_then(|more| self.0.clone().try_acquire_many_owned(more).ok());
            match (&mut room, more.ok_or_else(full)?) {
                (Some(room), more) => room.merge(more),
                (room, more) => *room = Some(more),
            }
        }
        Ok(BufferedBody {
            bytes: collector.finish(),
            _room: room,
        })
    }
}

/// Reads a body of a caller whose signature is right already; only silence is bounded in time.
pub(super) async fn read_trusted(
    mut body: Body,
    most: usize,
    timeout: Duration,
) -> Result<Bytes, ApiError> {
    let mut collector = Collector::new(most);
    loop {
        let frame = tokio::time::timeout(timeout, body.frame()).await;
        if collector.take(frame.map_err(|_| late())?)?.is_none() {
            return Ok(collector.finish());
        }
    }
}

/// Puts frames together.
struct Collector {
    most: usize,
    first: Bytes,
    rest: BytesMut,
}

type Frame = Option<Result<http_body::Frame<Bytes>, axum::Error>>;

impl Collector {
    fn new(most: usize) -> Self {
        Self {
            most,
            first: Bytes::new(),
            rest: BytesMut::new(),
        }
    }

    /// Takes a frame; answers with its length, or none at the end.
    fn take(&mut self, frame: Frame) -> Result<Option<usize>, ApiError> {
        let Some(frame) = frame else {
            return Ok(None);
        };
        let frame = frame
            .map_err(|error| ApiError::serialization(format!("the body ended early: {error}")))?;
        // Trailers mean nothing here.
        let data = frame.into_data().unwrap_or_default();
        let length = self.first.len() + self.rest.len();
        if data.len() > self.most - length {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLargeException",
                format!("the body has more than {} bytes", self.most),
            ));
        }
        let taken = data.len();
        // Most bodies come in one piece, which need not be copied.
        if length == 0 {
            self.first = data;
        } else {
            if self.rest.is_empty() {
                self.rest
                    .extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&data);
        }
        Ok(Some(taken))
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        }
    }
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

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn bodies_share_a_bounded_room() {
        let budget = Budget::new(10);
        let read = |bytes: usize| budget.read(Body::from(vec![0; bytes]), 8, TIMEOUT);
        let buffered = read(6).await.expect("there is room");
        assert_eq!(buffered.bytes.len(), 6);
        let refused = read(6).await.err().expect("there is none");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(buffered);
        assert!(read(6).await.is_ok());
        let refused = read(9).await.err().expect("too large");
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        let piece =
            |text: &'static str| Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes()));
        for pieces in [
            &["a", "", "bc", "d"][..],
            &["", "abcd"],
            &["abcd"],
            &["abc", "d", ""],
        ] {
            let stream = in_pieces(pieces.iter().map(|text| piece(text)).collect());
            let buffered = Budget::new(100).read(stream, 4, TIMEOUT).await;
            assert_eq!(buffered.expect("read").bytes, "abcd");
        }
    }

    /// A body that comes in these pieces.
    fn in_pieces(pieces: Vec<Result<Bytes, std::io::Error>>) -> Body {
        struct Pieces(std::vec::IntoIter<Result<Bytes, std::io::Error>>);
        impl http_body::Body for Pieces {
            type Data = Bytes;
            type Error = std::io::Error;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>>
            {
                std::task::Poll::Ready(self.0.next().map(|piece| piece.map(http_body::Frame::data)))
            }
        }
        Body::new(Pieces(pieces.into_iter()))
    }
}

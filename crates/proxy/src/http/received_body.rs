//! Bodies that are received, over HTTP/1 or HTTP/2.

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::http1::{
    BodyDecodeError, DownstreamConnection, Limits, MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS,
    UpstreamConnection,
};

pub(crate) type BodyError = Box<dyn Error + Send + Sync>;
/// The next frame of a body, `None` at its end.
pub(crate) type PollFrame<E = BodyError> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// A body that a peer sends.
pub(crate) enum IncomingBody {
    Empty,
    /// A request body, read from the client's HTTP/1 connection.
    Request(Rc<DownstreamConnection>),
    /// A response body, read from an HTTP/1 upstream. Released at its end, so that the connection can be reused.
    Response(Rc<UpstreamConnection>),
    Http2(Incoming),
}

/// Flow-control windows of HTTP/2 in bytes: the maximum that a peer may send ahead of its reader, per stream and per
/// connection.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 1 << 24;
/// Maximum bytes of one message that wait for the peer's window.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;
/// Limits of response heads and trailers over HTTP/2. The HTTP/1 codec enforces its own.
pub(crate) const HTTP2_FIELDS: Limits = Limits {
    bytes: MAX_TRAILER_BYTES,
    fields: MAX_TRAILER_FIELDS,
};
/// The maximum header list size for h2. h2 silently drops fields of trailers that exceed it, so it gets a larger one,
/// and the permitted size is checked where headers and trailers are received.
pub(crate) const fn http2_header_list(permitted: usize) -> u32 {
    let list = permitted.saturating_mul(4);
    if list > u32::MAX as usize {
        u32::MAX
    } else {
        list as u32
    }
}

impl IncomingBody {
    /// Writes the rest of the request while the response body is not being read.
    pub(crate) fn drive_request(&self, cx: &mut Context<'_>) {
        if let Self::Response(connection) = self {
            connection.drive_request(cx);
        }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame {
        let this = self.get_mut();
        let (frame, ended) = match this {
            Self::Empty => return Poll::Ready(None),
            Self::Request(client) => (ready!(client.poll_body(cx)), client.is_body_read()),
            Self::Response(connection) => {
                (ready!(connection.poll_body(cx)), connection.is_body_read())
            }
            Self::Http2(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Ok(frame)) = &frame
                    && let Some(trailers) = frame.trailers_ref()
                    && !HTTP2_FIELDS.admit(trailers)
                {
                    return Poll::Ready(Some(Err(BodyDecodeError::TrailersTooLarge.into())));
                }
                return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
            }
        };
        if ended {
            *this = Self::Empty;
        }
        Poll::Ready(frame.transpose().map_err(BodyError::from).transpose())
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            // Set to empty as soon as their end is read.
            Self::Request(_) | Self::Response(_) => false,
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let known = |left: Option<u64>| left.map_or_else(SizeHint::default, SizeHint::with_exact);
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Request(client) => known(client.body_remaining()),
            Self::Response(connection) => known(connection.body_remaining()),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

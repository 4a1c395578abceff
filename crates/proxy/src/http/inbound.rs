//! Bodies as they arrive, whichever protocol brings them.

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::http1::{Downstream, Link};

pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// A body that somebody else sends us.
pub(crate) enum Inbound {
    Empty,
    /// A request's, read from the client's HTTP/1 connection.
    Request(Rc<Downstream>),
    /// A response's, read from an HTTP/1 upstream. Let go of at its end, when the connection may serve another.
    Response(Rc<Link>),
    Http2(Incoming),
}

impl Inbound {
    /// Moves on with what else goes over this body's connection, while nobody wants more of the body.
    pub(crate) fn nudge(&self, cx: &mut Context<'_>) {
        if let Self::Response(link) = self {
            link.nudge(cx);
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let (frame, ended) = match this {
            Self::Empty => return Poll::Ready(None),
            Self::Request(client) => (ready!(client.poll_body(cx)), client.is_body_read()),
            Self::Response(link) => (ready!(link.poll_body(cx)), link.is_body_read()),
            Self::Http2(body) => {
                return Pin::new(body).poll_frame(cx).map_err(BodyError::from);
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
            Self::Response(link) => known(link.body_remaining()),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

//! Messages of both protocols on a gRPC stream. Responses are put together from the encoded bytes that
//! resources hold, without building messages first, each in a buffer of its own size that goes when it is sent:
//! tonic's encoder keeps the largest buffer that a stream ever needed, a megabyte for each idle proxy of a mesh with
//! a thousand services.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use http_body::{Body, Frame};
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic::codegen::http::HeaderMap;

use super::session::{ProtocolVariant, Push};

/// What a stream keeps for requests while nothing is on its way: ten thousand idle streams would have 80 MB of
/// tonic's default, 8 KiB.
const BUFFER_BYTES: usize = 512;
/// Bytes of a request that are read at once, beyond which the buffer grows.
const YIELD_BYTES: usize = 32 << 10;

/// Decodes requests.
pub(super) struct RequestDecoder<D>(PhantomData<D>);

impl<D> Default for RequestDecoder<D> {
    fn default() -> Self {
        RequestDecoder(PhantomData)
    }
}

impl<D: ProtocolVariant> Decoder for RequestDecoder<D> {
    type Item = D::Request;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<D::Request>, Status> {
        let request = D::Request::decode(buffer);
        let malformed = |error| Status::invalid_argument(format!("malformed request: {error}"));
        request.map(Some).map_err(malformed)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// The responses of a stream as the body of an HTTP response: a frame for each message, then the status as trailers.
pub(super) struct ResponseBody<D> {
    /// `None` once the status was given out.
    pushes: Option<ReceiverStream<Result<Push, Status>>>,
    variant: PhantomData<fn() -> D>,
}

impl<D> ResponseBody<D> {
    pub(super) fn new(pushes: ReceiverStream<Result<Push, Status>>) -> Self {
        ResponseBody {
            pushes: Some(pushes),
            variant: PhantomData,
        }
    }
}

impl<D: ProtocolVariant> Body for ResponseBody<D> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(pushes) = &mut this.pushes else {
            return Poll::Ready(None);
        };
        let status = match ready!(Pin::new(pushes).poll_next(cx)) {
            Some(Ok(push)) => match message::<D>(&push) {
                Ok(message) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                Err(status) => status,
            },
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        this.pushes = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.pushes.is_none()
    }
}

/// A message with its prefix: not compressed, and its length
/// ([gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)).
fn message<D: ProtocolVariant>(push: &Push) -> Result<Bytes, Status> {
    let length = D::encoded_len(push);
    let prefix = u32::try_from(length)
        .map_err(|_| Status::out_of_range(format!("a response of {length} bytes is too long")))?;
    let mut buffer = BytesMut::with_capacity(5 + length);
    buffer.put_u8(0);
    buffer.put_u32(prefix);
    D::encode(push, &mut buffer);
    debug_assert_eq!(buffer.len(), 5 + length);
    Ok(buffer.freeze())
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // A message that no header can hold: the code is what clients act on.
        trailers.clear();
        let _ = Status::new(status.code(), "").add_header(&mut trailers);
    }
    trailers
}

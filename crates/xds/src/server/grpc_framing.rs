//! gRPC framing ([gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)): decodes requests
//! from the body of a call, encodes responses into the body of its answer.
//!
//! No buffer outlives its message. tonic's codec keeps the largest buffer that a stream ever needed, and in a mesh with
//! a thousand services a proxy once sends 33 KiB of names and once gets a megabyte of configuration.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body;
use prost::Message;
use tonic::Status;
use tonic::codegen::http::HeaderMap;

use super::session::{Protocol, Response};

/// The length of a message's prefix: the compressed flag (1 byte) and the length of the message (4 bytes).
const PREFIX_BYTES: usize = 5;

/// The requests of a stream, decoded from the body of the call.
pub(super) struct Requests<M> {
    body: tonic::body::Body,
    /// The beginning of an incomplete request. Has no allocation between requests.
    received: BytesMut,
    max_message_bytes: usize,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Requests<M> {
    pub(super) fn new(body: tonic::body::Body, max_message_bytes: usize) -> Self {
        Requests {
            body,
            received: BytesMut::new(),
            max_message_bytes,
            message: PhantomData,
        }
    }

    /// The next request; `None` once the proxy has closed its side of the stream. Cancel safe.
    ///
    /// # Errors
    ///
    /// A malformed, compressed or too large request, and a broken connection. The stream ends with the status.
    pub(super) async fn next(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(request) = self.take()? {
                return Ok(Some(request));
            }
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.extend_from_slice(&data);
                    }
                }
                Some(Err(status)) => return Err(status),
                None if self.received.is_empty() => return Ok(None),
                None => return Err(Status::invalid_argument("the last request is incomplete")),
            }
        }
    }

    /// The first request in the received bytes, if it is complete.
    fn take(&mut self) -> Result<Option<M>, Status> {
        let Some(&[compressed, ref length @ ..]) = self.received.first_chunk::<PREFIX_BYTES>()
        else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(Status::unimplemented("requests must not be compressed"));
        }
        let (length, limit) = (u32::from_be_bytes(*length) as usize, self.max_message_bytes);
        if length > limit {
            let message = format!("a request of {length} bytes; the limit is {limit}");
            return Err(Status::out_of_range(message));
        }
        if self.received.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.received.advance(PREFIX_BYTES);
        let request = M::decode(self.received.split_to(length));
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        let malformed = |error| Status::invalid_argument(format!("malformed request: {error}"));
        request.map(Some).map_err(malformed)
    }
}

/// A response with its gRPC prefix.
///
/// # Errors
///
/// If the response exceeds the limit of a gRPC message, 4 GiB.
pub(super) fn message(push: &Response, protocol: Protocol) -> Result<Bytes, Status> {
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + push.max_encoded_len(protocol));
    buffer.put_bytes(0, PREFIX_BYTES);
    push.encode(protocol, &mut buffer);
    let length = buffer.len() - PREFIX_BYTES;
    let prefix = u32::try_from(length)
        .map_err(|_| Status::out_of_range(format!("a response of {length} bytes is too long")))?;
    buffer[1..PREFIX_BYTES].copy_from_slice(&prefix.to_be_bytes());
    Ok(buffer.freeze())
}

/// The trailers of the answer, with the status of the call.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // The status's message is no valid header value: only the code is sent, on which clients act.
        trailers.clear();
        let _ = Status::new(status.code(), "").add_header(&mut trailers);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::pb::envoy::service::discovery::v3::DiscoveryRequest;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    /// Requests out of a body that arrives in these pieces.
    fn requests(pieces: Vec<Vec<u8>>) -> Requests<DiscoveryRequest> {
        let frames = pieces.into_iter().map(|piece| Frame::data(piece.into()));
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Status>)));
        Requests::new(tonic::body::Body::new(body), 1000)
    }

    fn framed(names: usize) -> Vec<u8> {
        let request = DiscoveryRequest {
            resource_names: vec!["n".repeat(10); names],
            ..Default::default()
        };
        let mut bytes = vec![0];
        bytes.put_u32(request.encoded_len() as u32);
        bytes.put(&*request.encode_to_vec());
        bytes
    }

    #[tokio::test]
    async fn requests_are_the_same_however_the_body_is_cut_and_leave_no_buffer() {
        let bytes = [framed(3), framed(0), framed(50)].concat();
        for size in [1, 4, 7, bytes.len()] {
            let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            let mut requests = requests(pieces);
            for names in [3, 0, 50] {
                let request = requests.next().await.expect("well formed");
                assert_eq!(request.expect("not the end").resource_names.len(), names);
            }
            assert!(requests.next().await.expect("well formed").is_none());
            assert_eq!(requests.received.capacity(), 0);
        }
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_read_ends_the_stream() {
        use tonic::Code::{InvalidArgument, OutOfRange, Unimplemented};
        let compressed = [&[1][..], &framed(1)[1..]].concat();
        let cut = framed(3)[..20].to_vec();
        let malformed = vec![0, 0, 0, 0, 1, 0xff];
        for (bytes, code) in [
            (framed(100), OutOfRange),
            (compressed, Unimplemented),
            (cut, InvalidArgument),
            (malformed, InvalidArgument),
        ] {
            let status = requests(vec![bytes]).next().await.expect_err("it is bad");
            assert_eq!(status.code(), code, "{status}");
        }
    }
}

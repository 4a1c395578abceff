//! Messages of both protocols on a gRPC stream. Responses are put together from the encoded bytes that
//! resources hold, without building messages first.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::session::{ProtocolVariant, Push};

/// What a stream keeps for each direction while nothing is on its way: ten thousand idle streams would
/// have 160 MB of tonic's default, 8 KiB.
const BUFFER_BYTES: usize = 512;
/// Responses are batched up to this size.
const YIELD_BYTES: usize = 32 << 10;

pub(super) struct XdsCodec<D>(PhantomData<D>);

impl<D> Default for XdsCodec<D> {
    fn default() -> Self {
        XdsCodec(PhantomData)
    }
}

impl<D: ProtocolVariant> Codec for XdsCodec<D> {
    type Encode = Push;
    type Decode = D::Request;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<D: ProtocolVariant> Encoder for XdsCodec<D> {
    type Item = Push;
    type Error = Status;

    fn encode(&mut self, push: Push, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(D::encoded_len(&push));
        D::encode(&push, buffer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl<D: ProtocolVariant> Decoder for XdsCodec<D> {
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

//! Decodes message bodies.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::framing::Framing;

/// Maximum bytes of all chunk extensions of one body. They are unused in practice; more are an attack.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Limits of trailers; Envoy's defaults for heads and trailers.
pub(crate) const MAX_TRAILER_BYTES: usize = 60 * 1024;
pub(crate) const MAX_TRAILER_FIELDS: usize = 100;

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyPart {
    Data(Bytes),
    /// The last piece.
    Trailers(HeaderMap),
    End,
}

/// The reason why a body cannot be decoded further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyDecodeError {
    #[error("the body's chunks are malformed")]
    Chunk,
    #[error("the body's trailers are malformed")]
    Trailers,
    #[error("the body's trailers are too large")]
    TrailersTooLarge,
    #[error("the connection ended within the body")]
    UnexpectedEof,
}

impl BodyDecodeError {
    /// The status of the response to a request with such a body.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TrailersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Chunk | Self::Trailers | Self::UnexpectedEof => StatusCode::BAD_REQUEST,
        }
    }
}

#[derive(Debug)]
pub(super) struct Decoder(State);

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked {
        part: ChunkState,
        /// In a chunk: bytes read of its size line, then bytes left of its data. In the trailers: bytes that were
        /// already searched for the end.
        size: u64,
        extensions: usize,
    },
    UntilClose,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    /// Before the first digit of a size.
    Size,
    Digits,
    Blank,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailers,
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked {
                part: ChunkState::Size,
                size: 0,
                extensions: 0,
            },
            Framing::UntilClose => State::UntilClose,
        })
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.0, State::End)
    }

    /// The number of remaining bytes, if known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.0 {
            State::Length(left) => Some(left),
            State::End => Some(0),
            State::Chunked { .. } | State::UntilClose => None,
        }
    }

    /// The next part; `None` asks for more bytes.
    pub(super) fn decode(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<BodyPart>, BodyDecodeError> {
        match &mut self.0 {
            State::End => Ok(Some(BodyPart::End)),
            _ if buffer.is_empty() => Ok(None),
            State::UntilClose => Ok(Some(BodyPart::Data(buffer.split().freeze()))),
            State::Length(left) => {
                let data = take(buffer, left);
                if *left == 0 {
                    self.0 = State::End;
                }
                Ok(Some(BodyPart::Data(data)))
            }
            State::Chunked {
                part,
                size,
                extensions,
            } => {
                let piece = chunked(part, size, extensions, buffer)?;
                if matches!(piece, Some(BodyPart::Trailers(_) | BodyPart::End)) {
                    self.0 = State::End;
                }
                Ok(piece)
            }
        }
    }

    /// The peer has closed: an error if the body is incomplete.
    pub(super) fn close(&mut self) -> Result<(), BodyDecodeError> {
        match self.0 {
            State::UntilClose | State::End => {
                self.0 = State::End;
                Ok(())
            }
            State::Length(_) | State::Chunked { .. } => Err(BodyDecodeError::UnexpectedEof),
        }
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= length as u64;
    buffer.split_to(length).freeze()
}

fn chunked(
    part: &mut ChunkState,
    size: &mut u64,
    extensions: &mut usize,
    buffer: &mut BytesMut,
) -> Result<Option<BodyPart>, BodyDecodeError> {
    while let Some(byte) = buffer.first().copied() {
        *part = match (*part, byte) {
            (ChunkState::Data, _) => {
                let data = take(buffer, size);
                if *size == 0 {
                    *part = ChunkState::DataCr;
                }
                return Ok(Some(BodyPart::Data(data)));
            }
            (ChunkState::Trailers, _) => return trailers(buffer, size),
            (ChunkState::Size | ChunkState::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).ok_or(BodyDecodeError::Chunk)?;
                *size = size.checked_mul(16).ok_or(BodyDecodeError::Chunk)? + u64::from(digit);
                ChunkState::Digits
            }
            (ChunkState::Digits | ChunkState::Blank, b' ' | b'\t') => ChunkState::Blank,
            (ChunkState::Digits | ChunkState::Blank, b';') => ChunkState::Extension,
            (ChunkState::Digits | ChunkState::Blank | ChunkState::Extension, b'\r') => {
                ChunkState::SizeEnd
            }
            (ChunkState::Extension, b'\n') => return Err(BodyDecodeError::Chunk),
            (ChunkState::Extension, _) => {
                *extensions += 1;
                if *extensions >= MAX_EXTENSIONS {
                    return Err(BodyDecodeError::Chunk);
                }
                ChunkState::Extension
            }
            (ChunkState::SizeEnd, b'\n') if *size == 0 => ChunkState::Trailers,
            (ChunkState::SizeEnd, b'\n') => ChunkState::Data,
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => ChunkState::Size,
            _ => return Err(BodyDecodeError::Chunk),
        };
        buffer.advance(1);
    }
    Ok(None)
}

/// The trailer section after the last chunk, possibly empty. The first `searched` bytes do not contain its end.
fn trailers(
    buffer: &mut BytesMut,
    searched: &mut u64,
) -> Result<Option<BodyPart>, BodyDecodeError> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(BodyPart::End));
    }
    // The end may start in the bytes that were searched already.
    let from = usize::try_from(*searched).map_or(0, |searched| searched.saturating_sub(3));
    let room = &buffer[..buffer.len().min(MAX_TRAILER_BYTES)];
    let Some(end) = memchr::memmem::find(&room[from..], b"\r\n\r\n").map(|end| from + end) else {
        *searched = room.len() as u64;
        return if buffer.len() >= MAX_TRAILER_BYTES {
            Err(BodyDecodeError::TrailersTooLarge)
        } else if buffer.starts_with(b"\n") {
            Err(BodyDecodeError::Trailers)
        } else {
            Ok(None)
        };
    };
    let block = buffer.split_to(end + 4).freeze();
    // As between chunks, a single line feed does not end a line.
    if memchr::memchr_iter(b'\n', &block).any(|at| !block[..at].ends_with(b"\r")) {
        return Err(BodyDecodeError::Trailers);
    }
    let mut room = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let (length, fields) = match httparse::parse_headers(&block, &mut room) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(BodyDecodeError::TrailersTooLarge),
        _ => return Err(BodyDecodeError::Trailers),
    };
    if length != block.len() {
        return Err(BodyDecodeError::Trailers);
    }
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(block.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(BodyDecodeError::Trailers);
        };
        map.append(name, value);
    }
    Ok(Some(BodyPart::Trailers(map)))
}

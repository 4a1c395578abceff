//! Message bodies: bytes to pieces.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::framing::Framing;

/// Chunk extensions of one body, all told. Nobody uses them, so that many are an attack.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// What trailers may take, as Envoy's default for heads and trailers has it.
pub(crate) const MAX_TRAILER_BYTES: usize = 60 * 1024;
pub(crate) const MAX_TRAILER_FIELDS: usize = 100;

/// What a body is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    /// The last piece.
    Trailers(HeaderMap),
    End,
}

/// Why a body cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBody {
    #[error("the body's chunks are malformed")]
    Chunk,
    #[error("the body's trailers are malformed")]
    Trailers,
    #[error("the body's trailers are too large")]
    TrailersTooLarge,
    #[error("the connection ended within the body")]
    Cut,
}

#[derive(Debug)]
pub(super) struct Decoder(State);

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked {
        part: Part,
        /// Of the chunk: read so far of its size line, then left of its data. In the trailers: bytes searched for
        /// their end.
        size: u64,
        extensions: usize,
    },
    UntilClose,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first digit of a size.
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
                part: Part::Size,
                size: 0,
                extensions: 0,
            },
            Framing::UntilClose => State::UntilClose,
        })
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.0, State::End)
    }

    /// What is left, where that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.0 {
            State::Length(left) => Some(left),
            State::End => Some(0),
            State::Chunked { .. } | State::UntilClose => None,
        }
    }

    /// The next piece; `None` asks for more bytes.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, BadBody> {
        match &mut self.0 {
            State::End => Ok(Some(Piece::End)),
            _ if buffer.is_empty() => Ok(None),
            State::UntilClose => Ok(Some(Piece::Data(buffer.split().freeze()))),
            State::Length(left) => {
                let data = take(buffer, left);
                if *left == 0 {
                    self.0 = State::End;
                }
                Ok(Some(Piece::Data(data)))
            }
            State::Chunked {
                part,
                size,
                extensions,
            } => {
                let piece = chunked(part, size, extensions, buffer)?;
                if matches!(piece, Some(Piece::Trailers(_) | Piece::End)) {
                    self.0 = State::End;
                }
                Ok(piece)
            }
        }
    }

    /// The peer sends no more. An error if the body should have gone on.
    pub(super) fn close(&mut self) -> Result<(), BadBody> {
        match self.0 {
            State::UntilClose | State::End => {
                self.0 = State::End;
                Ok(())
            }
            State::Length(_) | State::Chunked { .. } => Err(BadBody::Cut),
        }
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= length as u64;
    buffer.split_to(length).freeze()
}

fn chunked(
    part: &mut Part,
    size: &mut u64,
    extensions: &mut usize,
    buffer: &mut BytesMut,
) -> Result<Option<Piece>, BadBody> {
    while let Some(byte) = buffer.first().copied() {
        *part = match (*part, byte) {
            (Part::Data, _) => {
                let data = take(buffer, size);
                if *size == 0 {
                    *part = Part::DataCr;
                }
                return Ok(Some(Piece::Data(data)));
            }
            (Part::Trailers, _) => return trailers(buffer, size),
            (Part::Size | Part::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).ok_or(BadBody::Chunk)?;
                *size = size.checked_mul(16).ok_or(BadBody::Chunk)? + u64::from(digit);
                Part::Digits
            }
            (Part::Digits | Part::Blank, b' ' | b'\t') => Part::Blank,
            (Part::Digits | Part::Blank, b';') => Part::Extension,
            (Part::Digits | Part::Blank | Part::Extension, b'\r') => Part::SizeEnd,
            (Part::Extension, b'\n') => return Err(BadBody::Chunk),
            (Part::Extension, _) => {
                *extensions += 1;
                if *extensions >= MAX_EXTENSIONS {
                    return Err(BadBody::Chunk);
                }
                Part::Extension
            }
            (Part::SizeEnd, b'\n') if *size == 0 => Part::Trailers,
            (Part::SizeEnd, b'\n') => Part::Data,
            (Part::DataCr, b'\r') => Part::DataLf,
            (Part::DataLf, b'\n') => Part::Size,
            _ => return Err(BadBody::Chunk),
        };
        buffer.advance(1);
    }
    Ok(None)
}

/// What follows the last chunk: fields, or only the empty line. `searched` bytes are known not to end them.
fn trailers(buffer: &mut BytesMut, searched: &mut u64) -> Result<Option<Piece>, BadBody> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(Piece::End));
    }
    // The end may begin in what was searched already.
    let from = usize::try_from(*searched).map_or(0, |searched| searched.saturating_sub(3));
    let room = &buffer[..buffer.len().min(MAX_TRAILER_BYTES)];
    let Some(end) = memchr::memmem::find(&room[from..], b"\r\n\r\n").map(|end| from + end) else {
        *searched = room.len() as u64;
        return if buffer.len() >= MAX_TRAILER_BYTES {
            Err(BadBody::TrailersTooLarge)
        } else if buffer.starts_with(b"\n") {
            Err(BadBody::Trailers)
        } else {
            Ok(None)
        };
    };
    let block = buffer.split_to(end + 4).freeze();
    // As between chunks, a line feed by itself ends no line.
    if memchr::memchr_iter(b'\n', &block).any(|at| !block[..at].ends_with(b"\r")) {
        return Err(BadBody::Trailers);
    }
    let mut room = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let (length, fields) = match httparse::parse_headers(&block, &mut room) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(BadBody::TrailersTooLarge),
        _ => return Err(BadBody::Trailers),
    };
    if length != block.len() {
        return Err(BadBody::Trailers);
    }
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(block.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(BadBody::Trailers);
        };
        map.append(name, value);
    }
    Ok(Some(Piece::Trailers(map)))
}

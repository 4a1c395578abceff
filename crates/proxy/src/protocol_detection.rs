//! Detects the protocol and server name of a new connection from its first bytes.
//!
//! The bytes are read into a buffer, from which the connection is then served. Nothing is sent. All futures here are
//! cancel safe: bytes that were read stay in the buffer.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

/// The HTTP/2 client connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Size of the first read: most requests' heads fit.
const FIRST_READ: usize = 4 * 1024;
/// Maximum bytes of a ClientHello; a larger one counts as one without a server name.
const MAX_CLIENT_HELLO_BYTES: usize = 16 * 1024;

/// The result of detection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Detection {
    pub(crate) tls: bool,
    pub(crate) server_name: String,
    /// `h2c` or `http/1.1`.
    pub(crate) protocol: Option<&'static str>,
}

/// Reads until the protocol is detected, or more bytes cannot help.
///
/// # Errors
///
/// When the connection breaks.
pub(crate) async fn detect(stream: &mut TcpStream, first: &mut BytesMut) -> io::Result<Detection> {
    loop {
        let mut last = first.len() >= MAX_CLIENT_HELLO_BYTES;
        if let Some(detection) = recognise(first, last) {
            return Ok(detection);
        }
        reserve(first);
        last = stream.read_buf(first).await? == 0;
        if last {
            return Ok(recognise(first, last).unwrap_or_default());
        }
    }
}

/// The socket; reads return `first` first.
pub(crate) fn rewind(stream: TcpStream, first: BytesMut) -> impl AsyncRead + AsyncWrite + Unpin {
    let (reader, writer) = stream.into_split();
    tokio::io::join(io::Cursor::new(first).chain(reader), writer)
}

/// Makes room for the next read.
pub(crate) fn reserve(first: &mut BytesMut) {
    if first.capacity() == first.len() {
        first.reserve(FIRST_READ);
    }
}

/// Whether a connection begins with the HTTP/2 preface; `None` asks for more bytes.
pub(crate) fn is_http2(first: &[u8]) -> Option<bool> {
    let compared = first.len().min(PREFACE.len());
    if first[..compared] != PREFACE[..compared] {
        return Some(false);
    }
    (compared == PREFACE.len()).then_some(true)
}

/// Detects from these bytes; `None` asks for more bytes, of which there are none with `last`.
fn recognise(bytes: &[u8], last: bool) -> Option<Detection> {
    let by_protocol = |protocol| Detection {
        protocol,
        ..Detection::default()
    };
    let detection = match bytes {
        [] => None,
        [0x16, rest @ ..] if rest.is_empty() || rest[0] == 3 => {
            let record = first_record(bytes);
            (record.is_some() || last).then(|| Detection {
                tls: true,
                server_name: record.and_then(server_name).unwrap_or_default(),
                protocol: None,
            })
        }
        _ if bytes.starts_with(PREFACE) => Some(by_protocol(Some("h2c"))),
        _ if PREFACE.starts_with(bytes) => None,
        _ => match memchr::memchr(b'\n', bytes) {
            Some(end) => {
                let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
                let http1 = line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0");
                Some(by_protocol(http1.then_some("http/1.1")))
            }
            None => (!bytes[0].is_ascii_alphabetic()).then(Detection::default),
        },
    };
    detection.or_else(|| last.then(Detection::default))
}

/// The first record of a TLS connection (RFC 8446 section 5.1), once it is complete.
fn first_record(bytes: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader(bytes);
    reader.skip(3)?;
    reader.block(2)
}

/// The server name of a ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3).
fn server_name(mut hello: Reader<'_>) -> Option<String> {
    if hello.number(1)? != 1 {
        return None;
    }
    hello.skip(3 + 2 + 32)?;
    let _session = hello.block(1)?;
    let _ciphers = hello.block(2)?;
    let _compressions = hello.block(1)?;
    let mut extensions = hello.block(2)?;
    loop {
        let kind = extensions.number(2)?;
        let mut extension = extensions.block(2)?;
        if kind != 0 {
            continue;
        }
        let mut names = extension.block(2)?;
        if names.number(1)? != 0 {
            return None;
        }
        let name = std::str::from_utf8(names.block(2)?.0).ok()?;
        return Some(name.to_ascii_lowercase());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    /// Reads a big-endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Option<usize> {
        let value = self
            .0
            .get(..width)?
            .iter()
            .fold(0, |value, byte| value << 8 | usize::from(*byte));
        self.skip(width)?;
        Some(value)
    }

    /// Reads the bytes after a length of `width` bytes.
    fn block(&mut self, width: usize) -> Option<Reader<'a>> {
        let length = self.number(width)?;
        let block = self.0.get(..length)?;
        self.skip(length)?;
        Some(Reader(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: &str) -> Vec<u8> {
        let name = name.as_bytes();
        let mut list = vec![0];
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(name);
        let mut extension = (list.len() as u16).to_be_bytes().to_vec();
        extension.extend(list);
        let mut extensions = vec![0, 0];
        extensions.extend((extension.len() as u16).to_be_bytes());
        extensions.extend(extension);
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut record = vec![0x16, 3, 1];
        record.extend(((body.len() + 4) as u16).to_be_bytes());
        record.extend([1, 0, 0, body.len() as u8]);
        record.extend(body);
        record
    }

    #[test]
    fn server_name_is_found_in_a_client_hello() {
        let bytes = hello("Shop.Example.test");
        let detection = recognise(&bytes, false).expect("complete");
        assert!(detection.tls);
        assert_eq!(detection.server_name, "shop.example.test");
        for cut in 0..bytes.len() {
            assert_eq!(recognise(&bytes[..cut], false), None, "cut at {cut}");
        }
    }

    #[test]
    fn http_is_recognised_by_its_first_line() {
        let protocol = |bytes| recognise(bytes, false).expect("known").protocol;
        assert_eq!(protocol(b"GET / HTTP/1.1\r\n"), Some("http/1.1"));
        assert_eq!(protocol(PREFACE), Some("h2c"));
        assert_eq!(recognise(&PREFACE[..9], false), None);
        assert_eq!(recognise(b"\x00\x01", false), Some(Detection::default()));
        assert_eq!(recognise(b"GET / HT", false), None);
    }

    #[test]
    fn broken_hellos_do_not_panic() {
        let bytes = hello("a.test");
        for index in 0..bytes.len() {
            for value in [0, 0x7f, 0xff] {
                let mut broken = bytes.clone();
                broken[index] = value;
                let _ = recognise(&broken, true);
            }
        }
    }
}

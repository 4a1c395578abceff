//! The signature of a body (`X-Amz-Content-Sha256`): of the full body, of none, or of each chunk.

use super::{
    AuthError,
    claim::incomplete,
    hash::{is_equal, sha256},
    sign::SigningKey,
};
use bytes::{Buf, Bytes, BytesMut};

/// The declared kind of the body's signature (`X-Amz-Content-Sha256`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// There is no header: the signature includes the hash of the body.
    Undeclared,
    /// The header is the hash of the body, which must match.
    Digest(String),
    /// The body is not signed.
    Unsigned,
    /// The body is a sequence of chunks (`aws-chunked`), with or without signatures and trailing headers.
    Chunks {
        header_value: &'static str,
        are_signed: bool,
        has_trailer: bool,
    },
}

/// The maximum length in bytes of a line of the chunk framing, or of a trailing header.
const MAX_LINE: usize = 4096;
/// The maximum number of trailing headers.
const MAX_TRAILERS: usize = 16;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const CHUNKED: [Payload; 3] = [
    Payload::Chunks {
        header_value: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        are_signed: true,
        has_trailer: false,
    },
    Payload::Chunks {
        header_value: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        are_signed: true,
        has_trailer: true,
    },
    Payload::Chunks {
        header_value: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        are_signed: false,
        has_trailer: true,
    },
];

/// The state of chunk signatures, each of which includes the previous one.
pub(super) struct Chain<'a> {
    pub(super) key: &'a SigningKey,
    pub(super) timestamp: &'a str,
    pub(super) scope: &'a str,
    pub(super) previous: String,
}

impl Payload {
    /// Parses the header.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, AuthError> {
        let Some(text) = text else {
            return Ok(Payload::Undeclared);
        };
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Payload::Digest(text.to_owned()));
        }
        if text == UNSIGNED {
            return Ok(Payload::Unsigned);
        }
        let chunked = CHUNKED
            .into_iter()
            .find(|payload| payload.header_value() == text);
        chunked.ok_or_else(|| {
            incomplete(format!(
                "x-amz-content-sha256 must be {UNSIGNED}, one of the STREAMING-…-HMAC-SHA256 words, or the \
                 SHA-256 of the body in hexadecimal digits. Got '{text}'."
            ))
        })
    }

    fn header_value(&self) -> &str {
        match self {
            Payload::Undeclared => "",
            Payload::Digest(digest) => digest,
            Payload::Unsigned => UNSIGNED,
            Payload::Chunks { header_value, .. } => header_value,
        }
    }

    /// The last line of the canonical request.
    pub(super) fn hash(&self, body: &[u8]) -> String {
        match self {
            Payload::Undeclared => sha256(body),
            declared => declared.header_value().to_owned(),
        }
    }

    /// Verifies the body of a request whose signature is verified; returns it without chunk framing.
    pub(super) fn verify_body(
        &self,
        body: Bytes,
        chain: Chain<'_>,
        decoded_length: Option<&str>,
    ) -> Result<Bytes, AuthError> {
        match self {
            Payload::Undeclared | Payload::Unsigned => Ok(body),
            Payload::Digest(digest) => {
                if is_equal(&sha256(&body), &digest.to_ascii_lowercase()) {
                    return Ok(body);
                }
                Err(AuthError::Invalid(
                    "The provided 'x-amz-content-sha256' header does not match what was computed."
                        .into(),
                ))
            }
            Payload::Chunks {
                are_signed,
                has_trailer,
                ..
            } => {
                let chain = are_signed.then_some(chain);
                let decoded = decode_chunks(body, chain, *has_trailer)?;
                match decoded_length {
                    Some(length) if length.parse() != Ok(decoded.len()) => {
                        Err(incomplete(format!(
                            "x-amz-decoded-content-length is '{length}', but the chunks hold {} bytes.",
                            decoded.len()
                        )))
                    }
                    _ => Ok(decoded),
                }
            }
        }
    }
}

impl Chain<'_> {
    /// Verifies the signature of a chunk (`kind` is `PAYLOAD`) or of the trailing headers (`TRAILER`).
    fn check(&mut self, kind: &str, hashes: &str, given: Option<&str>) -> Result<(), AuthError> {
        let to_sign = format!(
            "AWS4-HMAC-SHA256-{kind}\n{}\n{}\n{}\n{hashes}",
            self.timestamp, self.scope, self.previous
        );
        let signature = self.key.sign(&to_sign);
        if !given.is_some_and(|given| is_equal(&signature, given)) {
            return Err(AuthError::Invalid(format!(
                "The signature of a part of the body does not match. The String-to-Sign should have \
                 been\n'{to_sign}'\n"
            )));
        }
        self.previous = signature;
        Ok(())
    }
}

/// Decodes chunk framing: `<size>[;chunk-signature=<hex>] CRLF <data> CRLF`, until a chunk of size 0.
fn decode_chunks(
    mut body: Bytes,
    mut chain: Option<Chain<'_>>,
    has_trailer: bool,
) -> Result<Bytes, AuthError> {
    let broken = |what: &str| incomplete(format!("The aws-chunked body is broken: {what}."));
    let mut decoded = BytesMut::with_capacity(body.len());
    loop {
        let head = line(&mut body).ok_or_else(|| broken("a chunk has no head"))?;
        let (size, signature) = match head.split_once(';') {
            None => (head.as_str(), None),
            Some((size, extension)) => (size, extension.strip_prefix("chunk-signature=")),
        };
        let is_size = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = is_size
            .then(|| usize::from_str_radix(size, 16).ok())
            .flatten();
        let size = size.ok_or_else(|| broken("the size of a chunk is not a hexadecimal number"))?;
        if size > body.len() {
            return Err(broken("a chunk is longer than the body"));
        }
        let data = body.split_to(size);
        if let Some(chain) = &mut chain {
            let hashes = format!("{}\n{}", sha256(b""), sha256(&data));
            chain.check("PAYLOAD", &hashes, signature)?;
        }
        if size == 0 {
            break;
        }
        decoded.extend_from_slice(&data);
        if line(&mut body).as_deref() != Some("") {
            return Err(broken("a chunk does not end where its size says"));
        }
    }
    if has_trailer {
        let mut signed = String::new();
        let mut signature = None;
        for _ in 0..=MAX_TRAILERS {
            // The empty line at the end is optional.
            let Some(trailer) = line(&mut body).filter(|line| !line.is_empty()) else {
                break;
            };
            match trailer.split_once(':') {
                None => return Err(broken("what follows the last chunk is no header")),
                Some(("x-amz-trailer-signature", value)) => {
                    signature = Some(value.trim().to_owned());
                }
                Some((name, value)) => signed += &format!("{name}:{}\n", value.trim()),
            }
        }
        if let Some(chain) = &mut chain {
            chain.check("TRAILER", &sha256(signed.as_bytes()), signature.as_deref())?;
        }
    } else if body == b"\r\n"[..] {
        // The empty line after the last chunk, which some clients omit.
        body.clear();
    }
    if body.has_remaining() {
        return Err(broken("something follows its end"));
    }
    Ok(decoded.freeze())
}

/// Removes a line from the front; returns it without CRLF.
fn line(body: &mut Bytes) -> Option<String> {
    let window = &body[..body.len().min(MAX_LINE)];
    let end = window.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&window[..end]).ok()?.to_owned();
    body.advance(end + 2);
    Some(line)
}

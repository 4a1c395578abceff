//! Which part of a body is signed: all of it, nothing, or each chunk of a stream on its own.

use super::{
    AuthError,
    claim::incomplete,
    hash::{is_equal, sha256},
    sign::SigningKey,
};
use bytes::{Buf, Bytes, BytesMut};

/// How the signature covers the body (`X-Amz-Content-Sha256`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Nothing is declared: the signature covers the hash of the body.
    Whole,
    /// The hash of the body is declared, and must be right.
    Digest(String),
    /// The body is not signed.
    Unsigned,
    /// The body is a sequence of chunks (`aws-chunked`), each signed or not, with headers after it or not.
    Chunks {
        word: &'static str,
        are_signed: bool,
        has_trailer: bool,
    },
}

/// Longest line of chunk framing: a size, a signature; or a trailing header.
const MAX_LINE: usize = 4096;
/// Most headers after a stream.
const MAX_TRAILERS: usize = 16;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const CHUNKED: [Payload; 3] = [
    Payload::Chunks {
        word: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        are_signed: true,
        has_trailer: false,
    },
    Payload::Chunks {
        word: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        are_signed: true,
        has_trailer: true,
    },
    Payload::Chunks {
        word: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        are_signed: false,
        has_trailer: true,
    },
];

/// What the signatures of chunks start from: each signs the one before.
pub(super) struct Chain<'a> {
    pub(super) key: &'a SigningKey,
    pub(super) timestamp: &'a str,
    pub(super) scope: &'a str,
    pub(super) previous: String,
}

impl Payload {
    /// Reads the header.
    pub(super) fn declared(text: Option<&str>) -> Result<Self, AuthError> {
        let Some(text) = text else {
            return Ok(Payload::Whole);
        };
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Payload::Digest(text.to_owned()));
        }
        if text == UNSIGNED {
            return Ok(Payload::Unsigned);
        }
        let chunked = CHUNKED.into_iter().find(|payload| payload.word() == text);
        chunked.ok_or_else(|| {
            incomplete(format!(
                "x-amz-content-sha256 must be {UNSIGNED}, one of the STREAMING-…-HMAC-SHA256 words, or the \
                 SHA-256 of the body in hexadecimal digits. Got '{text}'."
            ))
        })
    }

    fn word(&self) -> &str {
        match self {
            Payload::Whole => "",
            Payload::Digest(digest) => digest,
            Payload::Unsigned => UNSIGNED,
            Payload::Chunks { word, .. } => word,
        }
    }

    /// The last line of the canonical request.
    pub(super) fn hash(&self, body: &[u8]) -> String {
        match self {
            Payload::Whole => sha256(body),
            declared => declared.word().to_owned(),
        }
    }

    /// Checks the body of a verified request, and answers with it without chunk framing.
    pub(super) fn open(
        &self,
        body: Bytes,
        chain: Chain<'_>,
        decoded_length: Option<&str>,
    ) -> Result<Bytes, AuthError> {
        match self {
            Payload::Whole | Payload::Unsigned => Ok(body),
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
                let opened = chunks(body, chain, *has_trailer)?;
                match decoded_length {
                    Some(length) if length.parse() != Ok(opened.len()) => Err(incomplete(format!(
                        "x-amz-decoded-content-length is '{length}', but the chunks hold {} bytes.",
                        opened.len()
                    ))),
                    _ => Ok(opened),
                }
            }
        }
    }
}

impl Chain<'_> {
    fn check(&mut self, what: &str, hashes: &str, given: Option<&str>) -> Result<(), AuthError> {
        let to_sign = format!(
            "AWS4-HMAC-SHA256-{what}\n{}\n{}\n{}\n{hashes}",
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

/// Takes the framing off: `<size>[;chunk-signature=<hex>] CRLF <data> CRLF`, until one of size 0.
fn chunks(
    mut body: Bytes,
    mut chain: Option<Chain<'_>>,
    has_trailer: bool,
) -> Result<Bytes, AuthError> {
    let broken = |what: &str| incomplete(format!("The aws-chunked body is broken: {what}."));
    let mut opened = BytesMut::with_capacity(body.len());
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
        opened.extend_from_slice(&data);
        if line(&mut body).as_deref() != Some("") {
            return Err(broken("a chunk does not end where its size says"));
        }
    }
    if has_trailer {
        let mut signed = String::new();
        let mut signature = None;
        for _ in 0..=MAX_TRAILERS {
            // The stream may end without the empty line.
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
        // The empty line after the last chunk, which some senders leave out.
        body.clear();
    }
    if body.has_remaining() {
        return Err(broken("something follows its end"));
    }
    Ok(opened.freeze())
}

/// Takes a line off the front, without its end.
fn line(body: &mut Bytes) -> Option<String> {
    let window = &body[..body.len().min(MAX_LINE)];
    let end = window.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&window[..end]).ok()?.to_owned();
    body.advance(end + 2);
    Some(line)
}

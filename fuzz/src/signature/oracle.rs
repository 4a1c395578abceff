//! Signing, written a second time from AWS's documentation: presigned requests, and bodies in signed
//! chunks. Only the canonical form is ours.

use super::all_headers;
use http::{HeaderName, HeaderValue, Method, Uri, request::Parts};
use sha2::{Digest, Sha256};
use tombolo_api::fuzzing::{Key, canonical_request};

/// [`super::NOW`].
const TIMESTAMP: &str = "20270115T080000Z";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) request: Parts,
    pub(super) body: Vec<u8>,
    pub(super) signed_headers: String,
    /// What stands for the body in the canonical request; its hash if there is nothing.
    pub(super) payload: Option<&'static str>,
}

impl Signed {
    /// With one byte replaced, or a line added. None if HTTP does not let that through, or it changes nothing.
    pub(super) fn with(mut self, place: u8, at: u8, byte: u8) -> Option<Self> {
        let replace = |bytes: &[u8]| {
            let at = usize::from(at) % bytes.len().max(1);
            let mut bytes = bytes.to_vec();
            let replaced = bytes.get_mut(at)?;
            (*replaced != byte).then(|| *replaced = byte)?;
            Some(bytes)
        };
        let headers = &mut self.request.headers;
        match usize::from(place) {
            0 => {
                let method = replace(self.request.method.as_str().as_bytes())?;
                self.request.method = Method::from_bytes(&method).ok()?;
            }
            1 | 2 => {
                let mut uri = self.request.uri.to_string().into_bytes();
                // Targets are longer than a byte counts.
                let from = if place == 1 { 0 } else { uri.len() / 2 };
                let changed = replace(&uri[from..])?;
                uri[from..].copy_from_slice(&changed);
                self.request.uri = Uri::try_from(uri).ok()?;
            }
            3 => self.body = replace(&self.body)?,
            4 => self.body.extend_from_slice(&[byte, b'\r', b'\n']),
            // A letter of two bytes, for two of one.
            5 => {
                let target = self.request.uri.to_string();
                let mut target = target.into_bytes();
                let end = target.len().saturating_sub(2);
                let from = (usize::from(at) + usize::from(byte) * 2) % end.max(1);
                target.get(from..from + 2)?;
                target.splice(from..from + 2, *b"%C3%A9");
                self.request.uri = Uri::try_from(target).ok()?;
            }
            place => {
                let names: Vec<HeaderName> = headers.keys().cloned().collect();
                let name = &names[place % names.len()];
                let value = replace(headers[name].as_bytes())?;
                headers.insert(name, HeaderValue::from_bytes(&value).ok()?);
            }
        }
        Some(self)
    }

    /// The canonical request; an error is one, too.
    pub(super) fn canonical(&self) -> Result<String, String> {
        let hash = hex(&Sha256::digest(&self.body));
        let payload = self.payload.unwrap_or(&hash);
        let text = canonical_request(&self.request, &self.signed_headers, payload)?;
        Ok(text.escape_ascii().to_string())
    }
}

/// With the signature in the query. None if the query says something of signatures already.
pub(super) fn presigned(key: &Key<'_>, request: &Parts, body: &[u8]) -> Option<Signed> {
    let mut request = request.clone();
    let plain = canonical_request(&request, "host", "").ok()?;
    let query = plain.split(|byte| *byte == b'\n').nth(2)?;
    let taken = b"X-Amz-";
    let pairs = |query: &[u8]| {
        query
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .count()
    };
    // Signatures are no part of the canonical form.
    let has_signature = pairs(query) != pairs(request.uri.query().unwrap_or_default().as_bytes());
    if has_signature || query.windows(taken.len()).any(|window| window == taken) {
        return None;
    }
    let scope = scope(key);
    let credential = format!("{}/{scope}", key.id).replace('/', "%2F");
    let separator = if request.uri.query().is_some() {
        "&"
    } else {
        "?"
    };
    let path = request.uri.path_and_query()?;
    let mut target = format!(
        "{path}{separator}X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}\
         &X-Amz-Date={TIMESTAMP}&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
    );
    if let Some(token) = key.token {
        let token = token.replace('/', "%2F").replace('=', "%3D");
        target.push_str(&format!("&X-Amz-Security-Token={token}"));
    }
    request.uri = target.parse().ok()?;
    let hash = hex(&Sha256::digest(body));
    let canonical = canonical_request(&request, "host", &hash).ok()?;
    let signature = sign(&signing_key(key), ALGORITHM, &scope, &digest(&canonical));
    request.uri = format!("{target}&X-Amz-Signature={signature}")
        .parse()
        .ok()?;
    Some(Signed {
        request,
        body: body.to_vec(),
        signed_headers: "host".into(),
        payload: None,
    })
}

/// With the body in signed chunks of this size, and signed headers behind them.
pub(super) fn chunked(
    key: &Key<'_>,
    request: &Parts,
    body: &[u8],
    size: usize,
    with_trailer: bool,
) -> Option<Signed> {
    let mut request = request.clone();
    let word = match with_trailer {
        true => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        false => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    };
    let mut add = |name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).expect("text");
        request.headers.insert(name, value);
    };
    add("x-amz-date", TIMESTAMP);
    add("x-amz-content-sha256", word);
    add("x-amz-decoded-content-length", &body.len().to_string());
    if let Some(token) = key.token {
        add("x-amz-security-token", token);
    }
    let signed_headers = all_headers(&request);
    let canonical = canonical_request(&request, &signed_headers, word).ok()?;
    let (scope, signing) = (scope(key), signing_key(key));
    let mut signature = sign(&signing, ALGORITHM, &scope, &digest(&canonical));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope},SignedHeaders={signed_headers},Signature={signature}",
        key.id
    );
    let authorization = HeaderValue::from_str(&authorization).ok()?;
    request.headers.insert("authorization", authorization);
    let part = |what: &str, previous: &str, hashes: &str| {
        let algorithm = format!("{ALGORITHM}-{what}");
        sign(
            &signing,
            &algorithm,
            &scope,
            &format!("{previous}\n{hashes}"),
        )
    };
    let mut framed = Vec::new();
    let nothing = digest(b"");
    for chunk in body.chunks(size.max(1)).chain([&[][..]]) {
        let hashes = format!("{nothing}\n{}", digest(chunk));
        signature = part("PAYLOAD", &signature, &hashes);
        let head = format!("{:x};chunk-signature={signature}\r\n", chunk.len());
        framed.extend_from_slice(head.as_bytes());
        framed.extend_from_slice(chunk);
        if !chunk.is_empty() {
            framed.extend_from_slice(b"\r\n");
        }
    }
    if with_trailer {
        let trailer = "x-amz-checksum-crc32c:sOO8/Q==";
        signature = part(
            "TRAILER",
            &signature,
            &digest(format!("{trailer}\n").as_bytes()),
        );
        let end = format!("{trailer}\r\nx-amz-trailer-signature:{signature}\r\n");
        framed.extend_from_slice(end.as_bytes());
    }
    framed.extend_from_slice(b"\r\n");
    Some(Signed {
        request,
        body: framed,
        signed_headers,
        payload: Some(word),
    })
}

fn scope(key: &Key<'_>) -> String {
    let date = &TIMESTAMP[..8];
    format!("{date}/{}/{}/aws4_request", key.region, key.service)
}

fn signing_key(key: &Key<'_>) -> Vec<u8> {
    let secret = format!("AWS4{}", key.secret).into_bytes();
    let words = [&TIMESTAMP[..8], key.region, key.service, "aws4_request"];
    words
        .iter()
        .fold(secret, |key, word| hmac(&key, word.as_bytes()))
}

fn sign(key: &[u8], algorithm: &str, scope: &str, rest: &str) -> String {
    let text = format!("{algorithm}\n{TIMESTAMP}\n{scope}\n{rest}");
    hex(&hmac(key, text.as_bytes()))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// RFC 2104, for keys of at most a block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner);
    outer.finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Signatures: what was signed is verified, and nothing else is.
//!
//! The first four bytes choose what is done; a request follows. Whatever the request is: no panic, it is
//! refused as it came, in few words, and its canonical form has itself as its canonical form. Then it is signed, by our
//! signer or by the [`oracle`], and must be verified; and after something of it was replaced, it may only be
//! verified if it still means the same.

mod oracle;

use crate::message;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, request::Parts};
use oracle::Signed;
use tombolo_api::fuzzing::{Key, canonical_request, is_served};

/// 2027-01-15T08:00:00Z.
const NOW: u64 = 1_800_000_000;

const KEY: Key<'static> = Key {
    id: "AKIDEXAMPLE",
    secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    token: None,
    region: "us-west-2",
    service: "appmesh",
    now: NOW,
};

/// The target.
pub fn run(data: &[u8]) {
    let Some((&[how, place, at, byte], text)) = data.split_first_chunk() else {
        return;
    };
    let Some((mut request, body)) = message::read(text) else {
        return;
    };
    let key = Key {
        token: (how & 0x80 != 0).then_some("the/token=="),
        ..KEY
    };
    let unsigned = key.verify(&request, Bytes::copy_from_slice(&body));
    let why = unsigned.expect_err("nobody signed it");
    let most = 4096 + 16 * text.len();
    assert!(why.len() < most, "{} bytes for {}", why.len(), text.len());
    strip(&mut request);
    check_canonical(&request);
    let signed = match how % 4 {
        0 => by_our_signer(&key, &request, &body),
        1 => oracle::presigned(&key, &request, &body),
        2 => oracle::chunked(&key, &request, &body, usize::from(at), false),
        _ => oracle::chunked(&key, &request, &body, usize::from(at), true),
    };
    let Some(signed) = signed else {
        return;
    };
    let verified = key.verify(&signed.request, Bytes::copy_from_slice(&signed.body));
    if !is_served(&request) {
        assert!(verified.is_err(), "{signed:?}");
        return;
    }
    assert_eq!(verified.as_deref(), Ok(&body[..]), "{signed:?}");
    let Some(changed) = signed.clone().with(place, at, byte) else {
        return;
    };
    if let Ok(opened) = key.verify(&changed.request, Bytes::copy_from_slice(&changed.body)) {
        assert_eq!(opened, body, "{signed:?} {changed:?}");
        assert_eq!(changed.canonical(), signed.canonical(), "{changed:?}");
        // Sizes of chunks may be spelled in other letters, and the last line break may be missing.
        let framing = |signed: &Signed| signed.body.trim_ascii_end().to_ascii_lowercase();
        assert_eq!(framing(&changed), framing(&signed), "{changed:?}");
    }
}

/// Removes what says that it is signed, and leaves one host.
fn strip(request: &mut Parts) {
    let headers = &mut request.headers;
    let foreign: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-") || *name == "authorization")
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    headers.insert("host", HeaderValue::from_static("appmesh.example:8490"));
}

/// The names of all headers, as they are signed.
fn all_headers(request: &Parts) -> String {
    let mut names: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names.join(";")
}

/// A request that is made of the canonical form of another has the same canonical form.
fn check_canonical(request: &Parts) {
    let signed = all_headers(request);
    let text = canonical_request(request, &signed, "PAYLOAD").expect("all are there");
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut line = || lines.next().expect("a line for each part");
    let method = Method::from_bytes(line()).expect("as it was");
    let path = unescaped(line());
    let query = line();
    let mut target = path;
    if !query.is_empty() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let mut again = request.clone();
    again.method = method;
    again.uri = Uri::try_from(target.as_slice()).expect("a canonical target is one");
    assert!(is_served(&again), "{again:?}");
    again.headers.clear();
    for _ in signed.split(';') {
        let field = line();
        let colon = field.iter().position(|byte| *byte == b':').expect("one");
        let name = HeaderName::from_bytes(&field[..colon]).expect("as it was");
        let value = HeaderValue::from_bytes(&field[colon + 1..]).expect("as it was");
        again.headers.insert(name, value);
    }
    let same = canonical_request(&again, &signed, "PAYLOAD").expect("all are there");
    let (text, same) = (text.escape_ascii(), same.escape_ascii());
    assert_eq!(text.to_string(), same.to_string());
}

/// Takes one level of escapes off: canonical paths have one more than paths.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("an escape");
                plain.push((digit(high) * 16 + digit(low)) as u8);
                rest = after;
            }
            (byte, _) => plain.push(*byte),
        }
    }
    plain
}

fn by_our_signer(key: &Key<'_>, request: &Parts, body: &[u8]) -> Option<Signed> {
    let mut request = request.clone();
    key.sign(&mut request, body).expect("it has a host");
    Some(Signed {
        signed_headers: {
            let mut unsigned = request.clone();
            unsigned.headers.remove("authorization");
            all_headers(&unsigned)
        },
        payload: None,
        request,
        body: body.to_vec(),
    })
}

//! The examples of AWS's own documentation, and what must be refused.

use super::*;
use crate::sigv4::{Signer, authorize, sha256};
use http::{HeaderValue, Method, Request};

const NOW: u64 = 1_440_938_160;
const KEY: &str = "AKIDEXAMPLE";

fn secret() -> Secret {
    Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a legal request").into_parts().0
}

/// A request that our own signer has signed for `sts`.
fn signed(method: &str, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> Parts {
    let mut request = parts(method, uri, &[&[("host", "h:1")], headers].concat());
    let signer = Signer {
        access_key: KEY,
        secret: &secret(),
        token: Some("token"),
        region: "r",
        service: "sts",
        now: NOW,
    };
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let uri = request.uri.clone();
    authorize(&signer, &method, &uri, &mut request.headers, body).expect("legal");
    request
}

fn verify_at(now: u64, request: &Parts, body: &[u8]) -> Result<Bytes, AuthError> {
    let claim = Claim::read(request)?.ok_or(AuthError::Missing)?;
    let service = claim.service.clone();
    let service = if service == "appmesh" {
        "sts"
    } else {
        &service
    };
    let candidate = claim.check(request, service, now)?;
    candidate.verify(request, Bytes::copy_from_slice(body), &secret())
}

fn verify(request: &Parts, body: &[u8]) -> Result<Bytes, AuthError> {
    verify_at(NOW, request, body)
}

#[track_caller]
fn invalid(request: &Parts, body: &[u8], words: &str) {
    match verify(request, body) {
        Err(AuthError::Invalid(why) | AuthError::Incomplete(why)) => {
            assert!(why.contains(words), "{why}")
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_documented_example_of_a_header_is_accepted() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date, \
        Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    let headers = [
        ("host", "iam.amazonaws.com"),
        (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        ),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", authorization),
    ];
    let request = parts("GET", "/?Action=ListUsers&Version=2010-05-08", &headers);
    assert_eq!(verify(&request, b""), Ok(Bytes::new()));
}

/// "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks".
#[test]
fn the_documented_example_of_a_stream_is_accepted() {
    let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
        SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
        x-amz-decoded-content-length;x-amz-storage-class, \
        Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let headers = [
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("authorization", authorization),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("content-length", "66824"),
    ];
    let request = parts("PUT", "/examplebucket/chunkObject.txt", &headers);
    let body = |first: &str| {
        let signatures = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        let a = "a".repeat(65_535);
        let more = "a".repeat(1024);
        format!(
            "10000;chunk-signature={}\r\n{first}{a}\r\n400;chunk-signature={}\r\n{more}\r\n\
             0;chunk-signature={}\r\n\r\n",
            signatures[0], signatures[1], signatures[2]
        )
    };
    let open = |body: String| {
        let claim = Claim::read(&request)?.ok_or(AuthError::Missing)?;
        let candidate = claim.check(&request, "s3", 1_369_353_600)?;
        candidate.verify(&request, body.into(), &secret)
    };
    assert_eq!(body("a").len(), 66_824);
    assert_eq!(open(body("a")).map(|body| body.len()), Ok(66_560));
    for broken in [
        body("b"),
        body("a") + "x",
        body("a").trim_end().to_owned() + "\r\nnobody signed this\r\n",
        body("a")[..66_000].into(),
        String::new(),
    ] {
        assert!(open(broken).is_err());
    }
}

#[test]
fn what_we_sign_is_accepted_and_nothing_else() {
    let headers = [("x-amz-target", "a.B"), ("content-type", "x/y;  z")];
    let uri = "/a%2Fb/c?x=%20y&b";
    let good = signed("POST", uri, &headers, b"body");
    assert_eq!(verify(&good, b"body"), Ok(Bytes::from_static(b"body")));

    let changed = |change: &dyn Fn(&mut Parts)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    invalid(&good, b"Body", "does not match");
    invalid(
        &changed(&|r| r.method = Method::PUT),
        b"body",
        "does not match",
    );
    for other in [
        "/a/b/c?x=%20y&b",
        "/a%2Fb/c?x=%20y",
        "/a%2Fb/c/?x=%20y&b",
        "/a%2Fb/c?x=y&b&c=1",
    ] {
        let request = changed(&|r| r.uri = other.parse().expect("a URI"));
        invalid(&request, b"body", "does not match");
    }
    for (name, value, words) in [
        ("host", "h:2", "does not match"),
        ("x-amz-target", "a.C", "does not match"),
        ("x-amz-security-token", "tokem", "does not match"),
        ("x-amz-date", "20150830T123601Z", "does not match"),
        ("x-amz-date", "20150831T123600Z", "Date in Credential scope"),
        ("x-amz-date", "today", "ISO-8601"),
        ("x-amz-new", "1", "'x-amz-new' must be a 'SignedHeader'"),
        (
            "x-amz-content-sha256",
            "UNSIGNED-PAYLOAD",
            "must be a 'SignedHeader'",
        ),
    ] {
        let value = HeaderValue::from_static(value);
        let request = changed(&|r| {
            r.headers.insert(name, value.clone());
        });
        invalid(&request, b"body", words);
    }
    for (from, to, words) in [
        ("/r/", "/s/", "does not match"),
        (
            "/sts/",
            "/appmesh/",
            "Credential should be scoped to correct service: 'sts'",
        ),
        ("host;", "", "'Host' or ':authority'"),
        ("host;", "host;missing;", "'missing' is not in the request"),
        ("20150830/", "20150829/", "Date in Credential scope"),
    ] {
        let request = changed(&|r| {
            let old = r.headers["authorization"].to_str().expect("text");
            let new = old.replacen(from, to, 1).parse().expect("text");
            r.headers.insert("authorization", new);
        });
        invalid(&request, b"body", words);
    }
    for name in ["host", "x-amz-date", "x-amz-security-token"] {
        let request = changed(&|r| {
            let again = r.headers[name].clone();
            r.headers.append(name, again);
        });
        assert!(verify(&request, b"body").is_err(), "{name} twice");
    }
    invalid(
        &changed(&|r| {
            r.headers.remove("x-amz-date");
        }),
        b"body",
        "needs a date",
    );
    // Blanks do not change the meaning of a header.
    let request = changed(&|r| {
        r.headers
            .insert("content-type", HeaderValue::from_static("  x/y; z "));
    });
    assert!(verify(&request, b"body").is_ok());
}

/// Each of them is written out again for the signature: a long header named often would be gigabytes.
#[test]
fn signed_headers_are_named_once_and_in_order() {
    let good = signed("GET", "/", &[("x-amz-a", "1")], b"");
    let value = good.headers["authorization"].to_str().expect("text");
    for list in [
        "host;host;x-amz-a;x-amz-date;x-amz-security-token",
        "x-amz-a;host;x-amz-date;x-amz-security-token",
        "host;x-amz-a;x-amz-date;x-amz-security-token;",
        "HOST;HoST;host;x-amz-a;x-amz-date;x-amz-security-token",
    ] {
        let mut request = good.clone();
        let list = value.replace("host;x-amz-a;x-amz-date;x-amz-security-token", list);
        assert_ne!(list, value);
        let header = HeaderValue::from_str(&list).expect("text");
        request.headers.insert("authorization", header);
        invalid(&request, b"", "SignedHeaders");
    }
}

#[test]
fn clocks_may_differ_by_a_quarter_of_an_hour() {
    let request = signed("GET", "/", &[], b"");
    for now in [NOW - 900, NOW, NOW + 900] {
        assert!(verify_at(now, &request, b"").is_ok(), "{now}");
    }
    for (now, expected) in [
        (
            NOW + 901,
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
             (20150830T125101Z - 15 min.)",
        ),
        (
            NOW - 901,
            "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z \
             (20150830T122059Z + 15 min.)",
        ),
    ] {
        assert_eq!(
            verify_at(now, &request, b""),
            Err(AuthError::Invalid(expected.into()))
        );
    }
    assert!(matches!(
        verify_at(0, &request, b""),
        Err(AuthError::Invalid(_))
    ));
    assert!(matches!(
        verify_at(u64::MAX / 2, &request, b""),
        Err(AuthError::Invalid(_))
    ));
}

const SCOPE: &str = "20150830/r/sts/aws4_request";

/// The signature of a request, over these headers and this last line.
fn signature(request: &Parts, signed_headers: &str, payload: &str) -> String {
    let (method, uri, headers) = (&request.method, &request.uri, &request.headers);
    let canonical = canonical::request(method, uri, headers, signed_headers, payload);
    let to_sign = string_to_sign("20150830T123600Z", SCOPE, &canonical.expect("legal"));
    secret().derive("20150830", "r", "sts").sign(&to_sign)
}

/// Puts the signature over these headers into a request.
fn sign_headers(request: &mut Parts, signed_headers: &str, payload: &str) {
    let signature = signature(request, signed_headers, payload);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=A/{SCOPE},SignedHeaders={signed_headers},Signature={signature}"
    );
    let authorization = authorization.parse().expect("text");
    request.headers.insert("authorization", authorization);
}

#[test]
fn the_date_header_is_the_second_choice() {
    let date = "Sun, 30 Aug 2015 12:36:00 GMT";
    let mut request = parts("GET", "/", &[("host", "h"), ("date", date)]);
    sign_headers(&mut request, "date;host", &sha256(b""));
    assert!(verify(&request, b"").is_ok());
}

/// A presigned request; `life` goes into `X-Amz-Expires`.
fn presigned(life: &str) -> Parts {
    presigned_at("20150830T123600Z", life)
}

/// The same with another date.
fn presigned_at(date: &str, life: &str) -> Parts {
    let query = format!(
        "Action=GetCallerIdentity&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host\
         &X-Amz-Credential=A%2F20150830%2Fr%2Fsts%2Faws4_request&X-Amz-Date={date}\
         &X-Amz-Expires={life}"
    );
    let host = [("host", "h")];
    let request = parts("GET", &format!("/?{query}"), &host);
    let signature = signature(&request, "host", &sha256(b""));
    parts(
        "GET",
        &format!("/?{query}&X-Amz-Signature={signature}"),
        &host,
    )
}

#[test]
fn presigned_requests_live_as_long_as_they_say() {
    let request = presigned("3600");
    for now in [NOW - 900, NOW, NOW + 3600] {
        assert!(verify_at(now, &request, b"").is_ok(), "{now}");
    }
    assert_eq!(
        verify_at(NOW + 3601, &request, b""),
        Err(AuthError::Expired)
    );
    assert!(matches!(
        verify_at(NOW - 901, &request, b""),
        Err(AuthError::Invalid(_))
    ));
    invalid(&request, b"a body nobody signed", "does not match");
    for life in ["0", "604801", "-1", "x", ""] {
        invalid(&presigned(life), b"", "X-Amz-Expires");
    }
    assert!(verify(&presigned("604800"), b"").is_ok());
    // Headers are ASCII, but a query can hold any text.
    invalid(&presigned_at("202%C3%A9830T123600Z", "60"), b"", "ISO-8601");
}

#[test]
fn bodies_are_covered_as_declared() {
    let hash = sha256(b"body");
    let declared = |text: &str| {
        let headers = [
            ("host", "h"),
            ("x-amz-content-sha256", text),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let mut request = parts("POST", "/", &headers);
        sign_headers(&mut request, "host;x-amz-content-sha256;x-amz-date", text);
        request
    };
    assert!(verify(&declared(&hash), b"body").is_ok());
    invalid(&declared(&hash), b"other", "x-amz-content-sha256");
    assert!(verify(&declared("UNSIGNED-PAYLOAD"), b"anything").is_ok());
    invalid(
        &declared("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
        b"",
        "must be",
    );
    let trailer = declared("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    for (body, expected) in [
        (
            "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n",
            Some("abc"),
        ),
        ("3\r\nabc\r\n0\r\n", Some("abc")),
        ("0\r\n\r\n", Some("")),
        ("", None),
        ("3\r\nabcd\r\n0\r\n\r\n", None),
        ("ffffffffffffffffff\r\n\r\n", None),
        ("-1\r\n\r\n", None),
        ("\r\n\r\n", None),
        ("0\r\nno header\r\n\r\n", None),
        ("0\r\na:b\r\n\r\nmore\r\n", None),
    ] {
        let opened = verify(&trailer, body.as_bytes()).ok();
        assert_eq!(opened.as_deref(), expected.map(str::as_bytes), "{body:?}");
    }
}

//! The protocols of AWS SDKs, and that of the operator API (facts/aws-wire.md §1, §3).

use super::{cbor, xml};
use crate::{error::ApiError, service::FORM};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};
use tombolo_telemetry::RequestId;

/// The protocol of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// JSON 1.1: the operation is in `X-Amz-Target`.
    Json11,
    /// As JSON 1.1, with the operation in the path and CBOR in place of JSON.
    RpcV2Cbor,
    /// REST with JSON.
    RestJson,
    /// The query protocol: forms as input, XML as output.
    Query,
    /// The operator API: REST with JSON.
    Operator,
}

/// The content types of JSON bodies.
const JSON: [&str; 3] = [
    "application/json",
    "application/x-amz-json-1.0",
    "application/x-amz-json-1.1",
];
const CBOR: &str = "application/cbor";

impl Protocol {
    /// The content type of requests.
    pub(crate) fn request_type(self) -> &'static str {
        match self {
            Protocol::Json11 => "application/x-amz-json-1.1",
            Protocol::RpcV2Cbor => CBOR,
            Protocol::RestJson | Protocol::Operator => "application/json",
            Protocol::Query => "application/x-www-form-urlencoded; charset=utf-8",
        }
    }

    /// Checks that the body has a supported content type, and that some headers do not occur twice. A body
    /// without a type is accepted. Any JSON type is accepted for JSON, because older SDKs mix them up.
    pub(crate) fn check_headers(self, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
        for name in ["x-amz-target", header::CONTENT_TYPE.as_str()] {
            if headers.get_all(name).iter().nth(1).is_some() {
                let message = format!("the header {name} is given more than once");
                return Err(ApiError::bad_request(
                    "MalformedHttpRequestException",
                    message,
                ));
            }
        }
        let Some(given) = headers
            .get(header::CONTENT_TYPE)
            .filter(|_| !body.is_empty())
        else {
            return Ok(());
        };
        let reads = |text: &str| {
            let media_type = text.split(';').next().unwrap_or_default();
            let is = |expected: &str| media_type.trim().eq_ignore_ascii_case(expected);
            match self {
                Protocol::Query => is(FORM),
                Protocol::RpcV2Cbor => is(CBOR),
                Protocol::RestJson | Protocol::Json11 => JSON.into_iter().any(is),
                Protocol::Operator => true,
            }
        };
        match given.to_str() {
            Ok(given) if reads(given) => Ok(()),
            _ => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaTypeException",
                format!(
                    "the body must be {}, not {}",
                    self.request_type(),
                    String::from_utf8_lossy(given.as_bytes())
                ),
            )),
        }
    }

    /// The answer to a successful call. `body` is JSON, or XML in the query protocol.
    pub(crate) fn success(self, body: Vec<u8>) -> Response<Body> {
        self.response(StatusCode::OK, body)
    }

    /// The answer to a failed call.
    pub(crate) fn failure(self, error: &ApiError, request_id: &RequestId) -> Response<Body> {
        let body = match self {
            Protocol::Json11 | Protocol::RpcV2Cbor => envelope(error, "__type", "Message"),
            Protocol::RestJson => envelope(error, "__type", "message"),
            Protocol::Operator => envelope(error, "code", "message"),
            Protocol::Query => xml::error_document(error, request_id).into_bytes(),
        };
        let mut response = self.response(error.status, body);
        let headers = response.headers_mut();
        headers.insert("x-amzn-errortype", HeaderValue::from_static(error.code));
        if error.status == StatusCode::SERVICE_UNAVAILABLE {
            // In milliseconds. AWS clients ignore the standard `Retry-After`.
            headers.insert("x-amz-retry-after", HeaderValue::from_static("500"));
        }
        response
    }

    fn response(self, status: StatusCode, body: Vec<u8>) -> Response<Body> {
        let (content_type, body) = match self {
            Protocol::Json11 => ("application/x-amz-json-1.1", body),
            Protocol::RpcV2Cbor => (CBOR, cbor::of_json(&body)),
            Protocol::RestJson | Protocol::Operator => ("application/json", body),
            Protocol::Query => ("text/xml", body),
        };
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self == Protocol::RpcV2Cbor {
            headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
        }
        response
    }
}

/// The JSON of an error. It has the code too, because some SDKs read it from the body, others from the header.
fn envelope(error: &ApiError, code_member: &str, message_member: &str) -> Vec<u8> {
    let mut body = Map::new();
    body.insert(code_member.into(), error.code.into());
    body.insert(message_member.into(), error.message.as_str().into());
    for (member, value) in &error.details {
        body.insert((*member).into(), value.as_str().into());
    }
    Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_other_types_are_refused() {
        use Protocol::{Json11, Query, RestJson, RpcV2Cbor};
        for (protocol, given, body, expected) in [
            (RestJson, "application/json", "{}", None),
            (RestJson, "Application/JSON; charset=utf-8", "{}", None),
            (RestJson, "text/plain", "", None),
            (RestJson, "text/plain", "{}", Some(415)),
            (RestJson, "application/jsonx", "{}", Some(415)),
            (RestJson, "", "{}", Some(415)),
            (RestJson, FORM, "{}", Some(415)),
            (Json11, "application/x-amz-json-1.1", "{}", None),
            (Json11, "application/x-amz-json-2", "{}", Some(415)),
            (Json11, "application/cbor", "{}", Some(415)),
            (RpcV2Cbor, "application/cbor", "{}", None),
            (RpcV2Cbor, "application/json", "{}", Some(415)),
            (Query, FORM, "Action=x", None),
            (Query, "application/json", "{}", Some(415)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(given));
            let refused = protocol.check_headers(&headers, body.as_bytes()).err();
            let status = refused.map(|error| error.status.as_u16());
            assert_eq!(status, expected, "{protocol:?} {given:?}");
        }
        let none = HeaderMap::new();
        assert!(RestJson.check_headers(&none, b"{}").is_ok());
    }

    #[test]
    fn an_operation_cannot_be_named_twice() {
        for name in ["x-amz-target", "content-type"] {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_static("a"));
            let is_taken = Protocol::Json11.check_headers(&headers, b"").is_ok();
            assert!(name == "content-type" || is_taken);
            headers.append(name, HeaderValue::from_static("a"));
            let refused = Protocol::Json11.check_headers(&headers, b"").err();
            assert_eq!(
                refused.map(|error| error.code),
                Some("MalformedHttpRequestException")
            );
        }
    }

    #[test]
    fn callers_are_told_when_to_come_back_and_not_why() {
        let error = ApiError::unavailable("ServiceUnavailableException", "/disk: no space");
        let response = Protocol::RestJson.failure(&error, &RequestId::new("id"));
        assert_eq!(response.headers()["x-amz-retry-after"], "500");
        assert_eq!(response.headers()["x-amzn-errortype"], error.code);
        let body = envelope(&error, "__type", "message");
        assert!(!String::from_utf8_lossy(&body).contains("disk"));
    }
}

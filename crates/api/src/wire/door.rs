//! Which API a request speaks, and the envelopes of its answers (facts/aws-wire.md §1, §3).

use super::Failure;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use serde_json::{Map, Value};

/// One of the APIs behind the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// JSON 1.1: the operation is named by `X-Amz-Target`.
    CloudMap,
    /// REST: the operation is method and path below [`APP_MESH_PREFIX`].
    AppMesh,
    /// Query: the operation is the parameter `Action`.
    Sts,
}

/// The path under which all of App Mesh lives.
pub(crate) const APP_MESH_PREFIX: &str = "/v20190125";
/// The types of JSON bodies.
const JSON: [&str; 3] = [
    "application/json",
    "application/x-amz-json-1.0",
    "application/x-amz-json-1.1",
];
/// The type of forms.
const FORM: &str = "application/x-www-form-urlencoded";
/// What precedes the operation's name in `X-Amz-Target` for Cloud Map.
pub(crate) const CLOUD_MAP_TARGET: &str = "Route53AutoNaming_v20170314.";

impl Door {
    /// The door for a request; none when it is not an AWS call. The host never matters: clients put
    /// prefixes before it.
    pub(crate) fn of(request: &Parts) -> Option<Door> {
        let path = request.uri.path();
        if request.headers.contains_key("x-amz-target") {
            return Some(Door::CloudMap);
        }
        if path
            .strip_prefix(APP_MESH_PREFIX)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            return Some(Door::AppMesh);
        }
        let query = request.uri.query().unwrap_or_default();
        let has_action = query.split('&').any(|pair| pair.starts_with("Action="));
        (path == "/" && (has_action || is_form(&request.headers))).then_some(Door::Sts)
    }

    /// The service that a signature for this door is scoped to.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Door::CloudMap => "servicediscovery",
            Door::AppMesh => "appmesh",
            Door::Sts => "sts",
        }
    }

    /// The content type of requests.
    pub(crate) fn request_type(self) -> &'static str {
        match self {
            Door::CloudMap => "application/x-amz-json-1.1",
            Door::AppMesh => "application/json",
            Door::Sts => "application/x-www-form-urlencoded; charset=utf-8",
        }
    }

    /// Refuses a body of a type that this door does not read, and headers that must not be there twice. Where
    /// there is no body or no type, nothing is wrong about it. Older SDKs mix up the names of JSON.
    pub(crate) fn check_headers(self, headers: &HeaderMap, body: &[u8]) -> Result<(), Failure> {
        for name in ["x-amz-target", header::CONTENT_TYPE.as_str()] {
            if headers.get_all(name).iter().nth(1).is_some() {
                let message = format!("the header {name} is given more than once");
                return Err(Failure::bad("MalformedHttpRequestException", message));
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
            let is = |wanted: &str| media_type.trim().eq_ignore_ascii_case(wanted);
            match self {
                Door::Sts => is(FORM),
                Door::AppMesh | Door::CloudMap => JSON.into_iter().any(is),
            }
        };
        match given.to_str() {
            Ok(given) if reads(given) => Ok(()),
            _ => Err(Failure::new(
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

    /// The answer to a call that succeeded.
    pub(crate) fn success(self, body: Vec<u8>, request_id: &str) -> Response<Body> {
        self.response(StatusCode::OK, body, request_id)
    }

    /// The answer to a call that failed.
    pub(crate) fn failure(self, failure: &Failure, request_id: &str) -> Response<Body> {
        let body = match self {
            Door::CloudMap => envelope(failure, "Message"),
            Door::AppMesh => envelope(failure, "message"),
            Door::Sts => crate::sts::error_document(failure, request_id).into_bytes(),
        };
        let mut response = self.response(failure.status, body, request_id);
        let headers = response.headers_mut();
        headers.insert("x-amzn-errortype", HeaderValue::from_static(failure.code));
        if failure.status == StatusCode::SERVICE_UNAVAILABLE {
            // Milliseconds. The standard `Retry-After` is ignored by AWS clients.
            headers.insert("x-amz-retry-after", HeaderValue::from_static("500"));
        }
        response
    }

    fn response(self, status: StatusCode, body: Vec<u8>, request_id: &str) -> Response<Body> {
        let content_type = match self {
            Door::CloudMap => "application/x-amz-json-1.1",
            Door::AppMesh => "application/json",
            Door::Sts => "text/xml",
        };
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert("x-amzn-requestid", id);
        }
        response
    }
}

/// The code goes into the header and into the body: some SDKs read only the one, some only the other.
fn envelope(failure: &Failure, message_member: &str) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("__type".into(), failure.code.into());
    body.insert(message_member.into(), failure.message.as_str().into());
    for (member, value) in &failure.details {
        body.insert((*member).into(), value.as_str().into());
    }
    Value::Object(body).to_string().into_bytes()
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(FORM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn door(request: http::request::Builder) -> Option<Door> {
        Door::of(&request.body(()).expect("a legal request").into_parts().0)
    }

    #[test]
    fn the_target_header_wins_then_the_path_then_the_action() {
        let target = "Route53AutoNaming_v20170314.ListNamespaces";
        let request = Request::post("/v20190125/meshes").header("X-Amz-Target", target);
        assert_eq!(door(request), Some(Door::CloudMap));
        let request = Request::get("/v20190125/meshes?Action=GetCallerIdentity");
        assert_eq!(door(request), Some(Door::AppMesh));
        let request = Request::get("/?Version=1&Action=GetCallerIdentity");
        assert_eq!(door(request), Some(Door::Sts));
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let request = Request::post("/").header("Content-Type", form);
        assert_eq!(door(request), Some(Door::Sts));
    }

    #[test]
    fn bodies_of_other_types_are_refused() {
        for (door, given, body, expected) in [
            (Door::AppMesh, "application/json", "{}", None),
            (Door::AppMesh, "Application/JSON; charset=utf-8", "{}", None),
            (Door::AppMesh, "text/plain", "", None),
            (Door::AppMesh, "text/plain", "{}", Some(415)),
            (Door::AppMesh, "application/jsonx", "{}", Some(415)),
            (Door::AppMesh, "", "{}", Some(415)),
            (
                Door::AppMesh,
                "application/x-www-form-urlencoded",
                "{}",
                Some(415),
            ),
            (Door::CloudMap, "application/x-amz-json-1.1", "{}", None),
            (Door::CloudMap, "application/x-amz-json-2", "{}", Some(415)),
            (Door::CloudMap, "application/cbor", "{}", Some(415)),
            (
                Door::Sts,
                "application/x-www-form-urlencoded",
                "Action=x",
                None,
            ),
            (Door::Sts, "application/json", "{}", Some(415)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(given));
            let refused = door.check_headers(&headers, body.as_bytes()).err();
            let status = refused.map(|failure| failure.status.as_u16());
            assert_eq!(status, expected, "{door:?} {given:?}");
        }
        let none = HeaderMap::new();
        assert!(Door::AppMesh.check_headers(&none, b"{}").is_ok());
    }

    #[test]
    fn an_operation_cannot_be_named_twice() {
        for name in ["x-amz-target", "content-type"] {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_static("a"));
            assert!(name == "content-type" || Door::CloudMap.check_headers(&headers, b"").is_ok());
            headers.append(name, HeaderValue::from_static("a"));
            let refused = Door::CloudMap.check_headers(&headers, b"").err();
            assert_eq!(
                refused.map(|failure| failure.code),
                Some("MalformedHttpRequestException")
            );
        }
    }

    #[test]
    fn callers_are_told_when_to_come_back() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let failure = Failure::new(status, "ServiceUnavailableException", "later");
        let response = Door::AppMesh.failure(&failure, "id");
        assert_eq!(response.headers()["x-amz-retry-after"], "500");
        assert_eq!(response.headers()["x-amzn-errortype"], failure.code);
        assert_eq!(response.headers()["x-amzn-requestid"], "id");
    }

    #[test]
    fn everything_else_is_nobodys() {
        assert_eq!(door(Request::get("/")), None);
        assert_eq!(door(Request::get("/v20190125x/meshes")), None);
        assert_eq!(door(Request::get("/console?Action=x")), None);
    }
}

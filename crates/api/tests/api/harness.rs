//! A server without a listener, and the requests that AWS clients send.

use axum::body::Body;
use http::{HeaderMap, Request, request::Builder};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tombolo_api::{Config, Server};
use tombolo_store::Store;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-north-1";

/// All api over an empty store.
pub(crate) struct Api {
    pub(crate) server: Server,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

pub(crate) fn config() -> Config {
    Config {
        account: ACCOUNT.into(),
        default_region: "nowhere-1".into(),
        ..Config::default()
    }
}

/// The header that a client of this region signs for a service.
pub(crate) fn authorization(region: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/{region}/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}",
        "ab".repeat(32)
    )
}

impl Api {
    pub(crate) fn new() -> Self {
        Self {
            server: Server::new(Store::memory(), config()).expect("the names are legal"),
        }
    }

    pub(crate) async fn send(&self, request: Builder, body: impl Into<Body>) -> Answer {
        let request: Request<Body> = request.body(body.into()).expect("a legal request");
        let (head, body) = self.server.handle(request).await.into_parts();
        let body = body
            .collect()
            .await
            .expect("bodies are in memory")
            .to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).expect("answers are text"),
        }
    }

    /// A call to App Mesh; the path is below the version.
    pub(crate) async fn mesh(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.mesh_text(method, path, body).await
    }

    pub(crate) async fn mesh_text(&self, method: &str, path: &str, body: String) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v20190125{path}"))
            .header("authorization", authorization(REGION, "appmesh"));
        self.send(request, body).await
    }

    /// A call to Cloud Map.
    pub(crate) async fn registry(&self, operation: &str, input: Value) -> Answer {
        self.registry_text(operation, input.to_string()).await
    }

    pub(crate) async fn registry_text(&self, operation: &str, body: String) -> Answer {
        let target = format!("Route53AutoNaming_v20170314.{operation}");
        let request = Request::post("/")
            .header("authorization", authorization(REGION, "servicediscovery"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target);
        self.send(request, body).await
    }

    /// A call to the Resource Groups Tagging API, in JSON.
    pub(crate) async fn tagging(&self, operation: &str, input: Value) -> Answer {
        let target = format!("ResourceGroupsTaggingAPI_20170126.{operation}");
        let request = Request::post("/")
            .header("authorization", authorization(REGION, "tagging"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target);
        self.send(request, input.to_string()).await
    }

    /// Makes a namespace and answers with its id, read from the operation as Terraform does.
    pub(crate) async fn namespace(&self, operation: &str, input: Value) -> String {
        let made = self.registry(operation, input).await.ok();
        let operation = json!({ "OperationId": made["OperationId"] });
        let operation = self.registry("GetOperation", operation).await.ok();
        assert_eq!(operation["Operation"]["Status"], "SUCCESS");
        let id = &operation["Operation"]["Targets"]["NAMESPACE"];
        id.as_str().expect("the target is told").to_owned()
    }

    /// Makes a service and answers with its id.
    pub(crate) async fn service(&self, input: Value) -> String {
        let made = self.registry("CreateService", input).await.ok();
        made["Service"]["Id"]
            .as_str()
            .expect("a service has an id")
            .to_owned()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The body of a failure with this status and code, in the envelope that all SDKs can read.
    #[track_caller]
    pub(crate) fn failed(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("x-amzn-errortype"), code, "{self:?}");
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        assert_eq!(body["__type"], code, "{self:?}");
        let message = body.get("message").or_else(|| body.get("Message"));
        let message = message.and_then(Value::as_str).unwrap_or_default();
        assert!(!message.is_empty(), "{self:?}");
        body
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.unwrap_or(Ok("")).expect("header values are text")
    }
}

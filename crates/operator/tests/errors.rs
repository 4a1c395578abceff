//! Errors of `/tombolo/v1`, as the API server answers them.

use axum::body::Body;
use http::{Request, request::Builder};
use http_body_util::BodyExt;
use tombolo_api::{Config, Server};
use tombolo_operator::{EXPORT_PATH, ErrorBody, IMPORT_PATH, STATUS_PATH, Status, routes};
use tombolo_store::Store;

async fn answer(
    server: &Server,
    request: Builder,
    body: impl Into<Body>,
) -> (u16, String, Vec<u8>) {
    let request = request.body(body.into()).expect("a legal request");
    let (head, body) = server.handle(request).await.into_parts();
    assert!(head.headers.contains_key("x-amzn-requestid"));
    let code = head.headers.get("x-amzn-errortype");
    let code = code.map_or("", |code| code.to_str().expect("text"));
    let body = body.collect().await.expect("in memory").to_bytes();
    (head.status.as_u16(), code.to_owned(), body.to_vec())
}

#[tokio::test]
async fn every_error_has_one_body_with_a_code() {
    let store = Store::memory();
    let server = Server::new(store.clone(), Config::default()).expect("legal");
    let server = server.with_routes(routes(store, Status::default));
    let import = |query: &str| Request::post(format!("{IMPORT_PATH}{query}"));
    let invalid = (400, "ValidationException");
    for (request, body, expected) in [
        (
            Request::get("/nothing"),
            "",
            (404, "UnknownOperationException"),
        ),
        (
            Request::put(STATUS_PATH),
            "",
            (405, "UnknownOperationException"),
        ),
        (
            Request::get(IMPORT_PATH),
            "",
            (405, "UnknownOperationException"),
        ),
        (
            Request::get(STATUS_PATH).header("origin", "http://evil.example"),
            "",
            (403, "AccessDeniedException"),
        ),
        (import("?overwrite=perhaps"), "", invalid),
        (import(""), "a: [", invalid),
    ] {
        let what = format!("{request:?}");
        let (status, code, body) = answer(&server, request, body).await;
        let body: ErrorBody = serde_json::from_slice(&body).expect(&what);
        assert_eq!((status, body.code.as_str()), expected, "{what}");
        assert_eq!(body.code, code, "{what}");
        assert!(!body.message.is_empty(), "{what}");
        let is_import = what.contains(IMPORT_PATH) && !what.contains('?') && status == 400;
        assert_eq!(body.problems.is_empty(), !is_import, "{what}: {body:?}");
    }
    let mesh = Request::put("/v20190125/meshes");
    let (status, ..) = answer(&server, mesh, r#"{"meshName":"m"}"#).await;
    assert_eq!(status, 200);
    let (_, _, export) = answer(&server, Request::get(EXPORT_PATH), "").await;
    let (status, code, body) = answer(&server, import(""), export.clone()).await;
    let body: ErrorBody = serde_json::from_slice(&body).expect("an error");
    let expected = (409, "ConflictException", code.as_str());
    assert_eq!((status, body.code.as_str(), code.as_str()), expected);
    let (status, ..) = answer(&server, import("?overwrite=true"), export).await;
    assert_eq!(status, 200);
}

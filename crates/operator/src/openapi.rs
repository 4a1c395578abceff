//! The OpenAPI document, generated from the types and compared with the committed one.

use crate::{
    EXPORT_PATH, ErrorBody, IMPORT_PATH, Imported, OPENAPI_PATH, STATUS_PATH, Status, XDS_ROOT_PATH,
};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/openapi.json"
);

fn document() -> Value {
    let mut schemas = SchemaSettings::openapi3().into_generator();
    let of = |schema: schemars::Schema, description: &str| {
        json!({
            "description": description,
            "content": {"application/json": {"schema": schema}},
        })
    };
    let status = of(
        schemas.subschema_for::<Status>(),
        "The state of the control plane.",
    );
    let imported = of(
        schemas.subschema_for::<Imported>(),
        "The state was replaced.",
    );
    let error_body = schemas.subschema_for::<ErrorBody>();
    let error = |description: &str| of(error_body.clone(), description);
    let other = error("Any other error.");
    let yaml = json!({"application/yaml": {"schema": {"type": "string"}}});
    let metrics = json!({"text/plain": {"schema": {"type": "string"}}});
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Tombolo operator API",
            "version": "v1",
            "description": "Served beside the AWS APIs on the listeners of `tombolo server --api`. Requests are signed \
                            (SigV4) for the service `tombolo`; policies allow `tombolo:Read` and `tombolo:Write`.",
        },
        "paths": {
            STATUS_PATH: {"get": {
                "operationId": "getStatus",
                "summary": "How far every change has come.",
                "responses": {"200": status, "default": other},
            }},
            "/tombolo/v1/metrics": {"get": {
                "operationId": "getMetrics",
                "summary": "Counters and gauges, as Prometheus reads them.",
                "responses": {
                    "200": {"description": "Prometheus text format.", "content": metrics},
                    "default": other,
                },
            }},
            EXPORT_PATH: {"get": {
                "operationId": "exportState",
                "summary": "The whole state as YAML.",
                "responses": {
                    "200": {"description": "What an import takes.", "content": yaml},
                    "default": other,
                },
            }},
            IMPORT_PATH: {"post": {
                "operationId": "importState",
                "summary": "Replaces the whole state, or changes nothing.",
                "parameters": [{
                    "name": "overwrite", "in": "query", "schema": {"type": "boolean", "default": false},
                    "description": "Discard the state that is there; without it a server that is not empty refuses.",
                }],
                "requestBody": {"required": true, "content": yaml},
                "responses": {
                    "200": imported,
                    "400": error("The text is wrong; `problems` has its lines."),
                    "409": error("There is a state already."),
                    "503": error("The store cannot be written."),
                    "default": other,
                },
            }},
            XDS_ROOT_PATH: {"get": {
                "operationId": "getXdsRoot",
                "summary": "The root of the certificates that the server makes for xDS. Needs no signature.",
                "security": [],
                "responses": {
                    "200": {"description": "PEM.", "content": {"text/plain": {"schema": {"type": "string"}}}},
                    "default": other,
                },
            }},
            OPENAPI_PATH: {"get": {
                "operationId": "getOpenApi",
                "summary": "This document.",
                "responses": {"200": {"description": "OpenAPI 3.0."}, "default": other},
            }},
        },
        "components": {"schemas": schemas.take_definitions(true)},
    })
}

#[test]
fn the_document_in_the_repository_is_that_of_the_types() {
    let text = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &text).expect("docs/reference can be written");
    }
    let kept = std::fs::read_to_string(FILE).expect("docs/reference/openapi.json is there");
    assert!(
        kept == text,
        "docs/reference/openapi.json is out of step: `UPDATE=1 cargo test -p tombolo-operator` writes it"
    );
}

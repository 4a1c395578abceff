//! The Cloud Map door.

mod bounds;
mod discovery;
mod instance;
mod namespace;
mod operation;
mod service;
mod service_attributes;
mod tag;
mod update;

use crate::harness::{ACCOUNT, Api, REGION};
use serde_json::{Value, json};

fn private(name: &str) -> Value {
    json!({ "Name": name, "Vpc": "vpc-1", "CreatorRequestId": format!("token-{name}") })
}

async fn private_namespace(api: &Api, name: &str) -> String {
    api.namespace("CreatePrivateDnsNamespace", private(name))
        .await
}

/// A private namespace with a service of A records and custom health.
async fn service(api: &Api) -> (String, String) {
    let namespace = private_namespace(api, "ns.local").await;
    let service = api
        .service(json!({
            "Name": "color",
            "NamespaceId": namespace,
            "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 60 }] },
            "HealthCheckCustomConfig": {},
            "CreatorRequestId": "s1",
        }))
        .await;
    (namespace, service)
}

/// The ARN of a namespace or a service.
fn arn(kind: &str, id: &str) -> String {
    format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:{kind}/{id}")
}

/// The operation of an answer with an operation id.
async fn operation(api: &Api, begun: Value) -> Value {
    let id = &begun["OperationId"];
    let answer = api.registry("GetOperation", json!({ "OperationId": id }));
    answer.await.ok()["Operation"].take()
}

async fn register(api: &Api, service: &str, id: &str) {
    let input = json!({
        "ServiceId": service,
        "InstanceId": id,
        "Attributes": { "AWS_INSTANCE_IPV4": "10.1.2.3", "k8s.io/pod": id },
    });
    api.registry("RegisterInstance", input).await.ok();
}

//! Foreign bytes: whatever comes in, an answer goes out.

use crate::harness::{Api, REGION, authorization};
use http::Request;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tombolo_model::entropy::Entropy;

const ROUNDS: usize = 3000;

/// Damages a text in a few places; what it becomes may be no UTF-8.
fn damage(entropy: &mut Entropy, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..entropy.next_u64() % 4 {
        let at = entropy.next_u64() as usize % (bytes.len() + 1);
        let byte = entropy.next_u64() as u8;
        match entropy.next_u64() % 4 {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => {
                bytes.remove(at);
            }
            2 if at < bytes.len() => bytes[at] = byte,
            _ => bytes.insert(at, br#"{}[]",:%/?&=0-"#[byte as usize % 14]),
        }
    }
    bytes
}

#[tokio::test]
async fn damaged_requests_are_answered() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    eprintln!("seed {seed}");
    let mut entropy = Entropy::new(seed);
    let api = Api::new();
    api.mesh("PUT", "/meshes", json!({ "meshName": "m" }))
        .await
        .ok();
    let node = json!({
        "virtualNodeName": "n",
        "clientToken": "t",
        "tags": [{ "key": "a", "value": "b" }],
        "spec": {
            "listeners": [{ "portMapping": { "port": 80, "protocol": "http" } }],
            "serviceDiscovery": { "awsCloudMap": { "namespaceName": "a", "serviceName": "b" } },
        },
    });
    let service = json!({
        "Name": "color",
        "NamespaceId": "ns-1",
        "DnsConfig": { "DnsRecords": [{ "Type": "A", "TTL": 60 }] },
        "MaxResults": 1,
        "NextToken": "6e73",
        "Filters": [{ "Name": "UPDATE_DATE", "Values": ["0", "1"], "Condition": "BETWEEN" }],
        "NamespaceName": "a",
        "ServiceName": "b",
        "QueryParameters": { "a": "b" },
    });
    let operations = [
        "CreateService",
        "ListOperations",
        "ListNamespaces",
        "DiscoverInstances",
    ];
    for round in 0..ROUNDS {
        let (method, target, header, service_name, body): (_, _, _, _, &Value) = match round % 4 {
            0 => (
                "PUT",
                "/v20190125/meshes/m/virtualNodes?meshOwner=1",
                None,
                "appmesh",
                &node,
            ),
            1 => (
                "GET",
                "/v20190125/meshes?limit=1&nextToken=6d65",
                None,
                "appmesh",
                &node,
            ),
            2 => ("POST", "/?Action=GetCallerIdentity", None, "sts", &node),
            _ => {
                let operation = operations[entropy.next_u64() as usize % operations.len()];
                let target = format!("Route53AutoNaming_v20170314.{operation}");
                ("POST", "/", Some(target), "servicediscovery", &service)
            }
        };
        let target = damage(&mut entropy, target);
        let signature = damage(&mut entropy, &authorization(REGION, service_name));
        let mut request = Request::builder()
            .method(method)
            .uri(target.as_slice())
            .header("authorization", signature);
        if let Some(header) = header {
            request = request.header("x-amz-target", damage(&mut entropy, &header));
        }
        let body = damage(&mut entropy, &body.to_string());
        // What is no HTTP at all does not get past hyper.
        if request.method_ref().is_none() {
            continue;
        }
        let answer = api.send(request, body).await;
        assert!(
            (200..500).contains(&answer.status),
            "seed {seed}: {answer:?}"
        );
    }
}

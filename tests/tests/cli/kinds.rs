//! For every kind: the printed document equals the resource, and applies as unchanged.

use crate::fixture::Cli;
use serde_json::{Value, json};

/// Texts that YAML would parse as another type without quotes.
const TEXTS: [&str; 29] = [
    "yes",
    "No",
    "null",
    "~",
    "true",
    "1",
    "010",
    "0x1f",
    "1e3",
    "-",
    "1_000",
    ".inf",
    "#no comment",
    "a: b",
    "- a",
    "'",
    "\"quoted\"",
    "{a}",
    "[b",
    "é ü 漢",
    "2024-01-31",
    "<<",
    "two\nlines",
    " leads",
    "trails ",
    "a\ttab",
    "ends\n",
    "back\\slash",
    "&a *b !c %d @e `f",
];

/// Resources of every kind, with as many fields as possible.
pub(crate) fn everything() -> Vec<Value> {
    let mesh = |kind: &str, metadata: Value, spec: Value| json!({"apiVersion": "appmesh/2019-01-25", "kind": kind, "metadata": metadata, "spec": spec});
    let registry = |kind: &str, metadata: Value, spec: Value| {
        json!({"apiVersion": "servicediscovery/2017-03-14", "kind": kind, "metadata": metadata,
            "spec": spec})
    };
    let tags: Value = TEXTS
        .iter()
        .enumerate()
        .map(|(at, text)| (format!("t{at}"), json!(text)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let tls = json!({
        "mode": "STRICT",
        "certificate": {"file": {"certificateChain": "/c.pem", "privateKey": "/k.pem"}},
        "validation": {"trust": {"file": {"certificateChain": "/ca.pem"}},
            "subjectAlternativeNames": {"match": {"exact": ["front.shop"]}}},
    });
    let client = json!({"tls": {"enforce": true, "ports": [443],
        "validation": {"trust": {"sds": {"secretName": "ca"}}}}});
    let listener = json!({
        "portMapping": {"port": 8080, "protocol": "http"},
        "healthCheck": {"protocol": "http", "path": "/ping", "healthyThreshold": 2,
            "unhealthyThreshold": 3, "timeoutMillis": 2000, "intervalMillis": 5000},
        "timeout": {"http": {"idle": {"unit": "s", "value": 10},
            "perRequest": {"unit": "ms", "value": 500}}},
        "connectionPool": {"http": {"maxConnections": 10, "maxPendingRequests": 5}},
        "outlierDetection": {"maxServerErrors": 5, "interval": {"unit": "s", "value": 10},
            "baseEjectionDuration": {"unit": "s", "value": 30}, "maxEjectionPercent": 50},
        "tls": tls,
    });
    let targets = json!([{"virtualNode": "front-v1", "weight": 90, "port": 8080},
        {"virtualNode": "front-v2", "weight": 10}]);
    vec![
        registry(
            "Namespace",
            json!({"name": "shop.local", "tags": tags}),
            json!({
                "Type": "DNS_PRIVATE", "Vpc": "vpc-1", "Description": "a: shop # 1",
                "Properties": {"DnsProperties": {"SOA": {"TTL": 60}}},
            }),
        ),
        registry(
            "Namespace",
            json!({"name": "api.only"}),
            json!({"Type": "HTTP", "Description": ""}),
        ),
        registry(
            "Namespace",
            json!({"name": "example.org"}),
            json!({"Type": "DNS_PUBLIC"}),
        ),
        registry(
            "Service",
            json!({"name": "front", "namespace": "shop.local", "tags": tags}),
            json!({
                "Description": "yes",
                "DnsConfig": {"RoutingPolicy": "WEIGHTED", "DnsRecords": [
                    {"Type": "A", "TTL": 5}, {"Type": "AAAA", "TTL": 6}]},
                "HealthCheckCustomConfig": {"FailureThreshold": 1},
                "Attributes": {"team": "010", "on": "no"},
            }),
        ),
        registry(
            "Service",
            json!({"name": "back", "namespace": "api.only"}),
            json!({}),
        ),
        registry(
            "Service",
            json!({"name": "www", "namespace": "example.org"}),
            json!({
                "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 5}]},
                "HealthCheckConfig": {"Type": "HTTP", "ResourcePath": "/ping", "FailureThreshold": 2},
            }),
        ),
        registry(
            "Instance",
            json!({"name": "10.0.0.1/a:1", "namespace": "shop.local",
            "service": "front"}),
            json!({"Attributes": {
                "AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_IPV6": "fd00::1",
                "AWS_INSTANCE_PORT": "8080", "version": "1.0", "a": "yes", "b": "010", "c": "null"}}),
        ),
        registry(
            "Instance",
            json!({"name": "i", "namespace": "api.only", "service": "back"}),
            json!({"Attributes": {"x": "1e3"}}),
        ),
        mesh(
            "Mesh",
            json!({"name": "shop", "tags": tags}),
            json!({
                "egressFilter": {"type": "ALLOW_ALL"},
                "serviceDiscovery": {"ipPreference": "IPv4_PREFERRED"},
            }),
        ),
        mesh(
            "VirtualNode",
            json!({"name": "front-v1", "mesh": "shop", "tags": tags}),
            json!({
                "listeners": [listener],
                "backends": [{"virtualService": {"virtualServiceName": "back.shop.local",
                    "clientPolicy": client}}],
                "backendDefaults": {"clientPolicy": client},
                "logging": {"accessLog": {"file": {"path": "/dev/stdout", "format": {"json": [
                    {"key": "start", "value": "%START_TIME%"}, {"key": "yes", "value": "on"}]}}}},
                "serviceDiscovery": {"awsCloudMap": {"namespaceName": "shop.local", "serviceName": "front",
                    "attributes": [{"key": "version", "value": "1.0"}], "ipPreference": "IPv6_ONLY"}},
            }),
        ),
        mesh(
            "VirtualNode",
            json!({"name": "front-v2", "mesh": "shop"}),
            json!({
                "listeners": [{"portMapping": {"port": 8080, "protocol": "grpc"}}],
                "serviceDiscovery": {"dns": {"hostname": "front.local", "responseType": "ENDPOINTS"}},
            }),
        ),
        mesh(
            "VirtualRouter",
            json!({"name": "front", "mesh": "shop"}),
            json!({
            "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]}),
        ),
        mesh(
            "Route",
            json!({"name": "all", "mesh": "shop", "virtualRouter": "front"}),
            json!({
                "priority": 0,
                "httpRoute": {
                    "match": {"prefix": "/", "method": "GET", "scheme": "https",
                        "headers": [{"name": "x", "invert": true, "match": {"range": {"start": -1, "end": 9}}}],
                        "queryParameters": [{"name": "q", "match": {"exact": "null"}}]},
                    "action": {"weightedTargets": targets},
                    "retryPolicy": {"maxRetries": 2, "perRetryTimeout": {"unit": "s", "value": 2},
                        "httpRetryEvents": ["server-error"], "tcpRetryEvents": ["connection-error"]},
                    "timeout": {"perRequest": {"unit": "s", "value": 5}},
                },
            }),
        ),
        mesh(
            "VirtualService",
            json!({"name": "front.shop.local", "mesh": "shop"}),
            json!({
            "provider": {"virtualRouter": {"virtualRouterName": "front"}}}),
        ),
        mesh(
            "VirtualService",
            json!({"name": "none.shop.local", "mesh": "shop"}),
            json!({}),
        ),
        mesh(
            "VirtualGateway",
            json!({"name": "in", "mesh": "shop"}),
            json!({
            "listeners": [{"portMapping": {"port": 8088, "protocol": "http2"},
                "connectionPool": {"http2": {"maxRequests": 7}}}]}),
        ),
        mesh(
            "GatewayRoute",
            json!({"name": "in", "mesh": "shop", "virtualGateway": "in"}),
            json!({
                "priority": 7,
                "http2Route": {
                    "match": {"path": {"regex": "/a.*"}, "hostname": {"suffix": ".example.org"}},
                    "action": {"target": {"virtualService": {"virtualServiceName": "front.shop.local"},
                        "port": 8080}, "rewrite": {"path": {"exact": "/yes"}}},
                },
            }),
        ),
    ]
}

/// The documents as one text; JSON is YAML.
pub(crate) fn text(documents: &[Value]) -> String {
    let documents = documents.iter().rev().map(|one| format!("---\n{one}\n"));
    documents.collect()
}

const KINDS: [&str; 10] = [
    "namespace",
    "service",
    "instance",
    "mesh",
    "virtualnode",
    "virtualrouter",
    "route",
    "virtualservice",
    "virtualgateway",
    "gatewayroute",
];

#[test]
fn what_get_prints_apply_leaves_unchanged_for_every_kind() {
    let Some(tool) = Cli::start() else {
        return;
    };
    let documents = everything();
    let lines = tool.apply(&text(&documents));
    assert_eq!(lines.len(), documents.len(), "{lines:?}");
    assert!(
        lines.iter().all(|line| line.ends_with(" created")),
        "{lines:?}"
    );
    let revision = tool.server.revision();
    for kind in KINDS {
        for form in ["yaml", "json"] {
            let printed = tool.succeeds(&["get", kind, "-o", form]);
            let lines = tool.apply(&printed);
            assert!(!lines.is_empty(), "{kind}");
            for line in &lines {
                assert!(line.starts_with(&format!("{kind}/")), "{line}");
                assert!(line.ends_with(" unchanged"), "{line}\n{printed}");
            }
        }
        for name in tool.succeeds(&["get", kind, "-o", "name"]).lines() {
            let one = tool.succeeds(&["get", name, "-o", "yaml"]);
            assert_eq!(tool.apply(&one), [format!("{name} unchanged")]);
        }
    }
    let same = tool.apply(&text(&documents));
    assert!(
        same.iter().all(|line| line.ends_with(" unchanged")),
        "{same:?}"
    );
    assert_eq!(tool.server.revision(), revision, "nothing was sent");
}

#[test]
fn what_get_prints_makes_the_same_resources_anew() {
    let Some(tool) = Cli::start() else {
        return;
    };
    tool.apply(&text(&everything()));
    let specs = |tool: &Cli| -> Vec<Value> {
        let mut list = tool.json(&["get", "all", "-o", "json"])["items"].take();
        let items = list.as_array_mut().expect("a list").iter_mut();
        items
            .map(|item| {
                item.as_object_mut().expect("a document").remove("status");
                item.take()
            })
            .collect()
    };
    let before = specs(&tool);
    let printed = tool.succeeds(&["get", "all", "-o", "yaml"]);
    tool.succeeds(&["delete", "all", "--all"]);
    assert_eq!(tool.json(&["get", "all", "-o", "json"])["items"], json!([]));
    // The API does not return the VPC of a private namespace.
    let printed = printed.replace("Type: DNS_PRIVATE", "Type: DNS_PRIVATE\n    Vpc: vpc-1");
    let lines = tool.apply(&printed);
    assert!(
        lines.iter().all(|line| line.ends_with(" created")),
        "{lines:?}"
    );
    assert_eq!(specs(&tool), before);
}

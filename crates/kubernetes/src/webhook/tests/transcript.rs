//! What AWS's controller answered to the same questions. Its transcript is not part of this project: `TOMBOLO_ORACLE`
//! names the folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tombolo_document::{Limits, yaml};
use tombolo_kube::crd::{Kind, Resource};
use tombolo_kube::inject::SWITCH;

use super::*;

fn transcript(file: &str) -> Option<PathBuf> {
    let root = tombolo_need::variable("TOMBOLO_ORACLE")?;
    Some(root.join("controller").join(file))
}

fn put(objects: &mut ClusterObjects, kind: &str, object: Value) {
    let kind = Kind::from_name(kind).expect("a kind");
    let decoded = Resource::decode(kind, &object).expect("its shape");
    objects.put(decoded.value);
}

/// The settings of the chart as options of the webhook.
fn arguments(settings: &[Value]) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--sidecar-proxy=envoy",
        "--sidecar-image=840364872350.dkr.ecr.us-west-2.amazonaws.com/aws-appmesh-envoy:v1.34.13.3-prod",
        "--init-image=840364872350.dkr.ecr.us-west-2.amazonaws.com/aws-appmesh-proxy-route-manager:v7-prod",
        "--native-sidecars=disabled",
        // Listed difference: ours leave more addresses alone.
        "--ignored-ips=169.254.169.254",
        "--aws-region=us-west-2",
    ]
    .map(str::to_owned)
    .to_vec();
    let settings: BTreeMap<&str, &str> = settings
        .iter()
        .filter_map(|setting| setting.as_str()?.split_once('='))
        .collect();
    let provider = settings
        .get("tracing.provider")
        .copied()
        .unwrap_or_default();
    for (name, value) in settings {
        let option = match name {
            "tracing.enabled" => format!(
                "--enable-{}-tracing=true",
                provider.replace("x-ray", "xray")
            ),
            "tracing.address" => format!("--{provider}-address={value}"),
            "tracing.port" => format!("--{provider}-port={value}"),
            "tracing.samplingRate" => format!("--xray-sampling-rate={value}"),
            "stats.statsdEnabled" => "--enable-statsd".to_owned(),
            "stats.tagsEnabled" => "--enable-stats-tags".to_owned(),
            "sds.enabled" => "--enable-sds".to_owned(),
            "sidecar.waitUntilProxyReady" => "--wait-until-proxy-ready".to_owned(),
            "sidecar.resources.limits.cpu" => format!("--sidecar-cpu-limits={value}"),
            "sidecar.resources.limits.memory" => format!("--sidecar-memory-limits={value}"),
            "sidecar.logLevel" => format!("--sidecar-log-level={value}"),
            "preview" => format!("--preview={value}"),
            "sidecar.useDualStackEndpoint" => format!("--dual-stack-endpoint={value}"),
            "sidecar.envoyAdminAccessPort" => format!("--envoy-admin-access-port={value}"),
            "sidecar.lifecycleHooks.preStopDelay" => format!("--prestop-delay={value}"),
            "tracing.provider" => continue,
            other => panic!("{other} is no option here"),
        };
        arguments.push(option);
    }
    arguments
}

/// An object as it was before anybody injected it.
fn uninjected(result: &Value, annotations: &Value) -> Value {
    let mut spec = result["spec"].clone();
    let without = |list: &mut Value, names: &[&str]| {
        if let Some(items) = list.as_array_mut() {
            items.retain(|item| !names.contains(&item["name"].as_str().unwrap_or_default()));
        }
    };
    let is_gateway = result["labels"]["app"] == "gw";
    without(
        &mut spec["containers"],
        if is_gateway {
            &["xray-daemon"]
        } else {
            &["envoy", "xray-daemon"]
        },
    );
    without(&mut spec["initContainers"], &["proxyinit"]);
    without(
        &mut spec["volumes"],
        &["appmesh-sds-socket-volume", "s", "t"],
    );
    for container in spec["containers"].as_array_mut().expect("containers") {
        if container["name"] == "envoy" {
            container["image"] = json!("old:1");
            let own = container["env"].as_array_mut().expect("variables");
            own.retain(|variable| variable["name"] == "MINE");
            let fields = container.as_object_mut().expect("an object");
            for field in ["readinessProbe", "volumeMounts"] {
                fields.remove(field);
            }
        }
    }
    if spec["securityContext"]["fsGroup"] == 1337 {
        spec["securityContext"] = json!({});
    }
    let fields = spec.as_object_mut().expect("an object");
    fields.remove("readinessGates");
    fields.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty) && !value.is_null());
    json!({"metadata": {"name": "p", "labels": result["labels"], "annotations": annotations}, "spec": spec})
}

/// Without the defaults of the API server, the order of variables, and what is listed as different.
fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(fields) => {
            let mut normal_fields = serde_json::Map::new();
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            for name in names {
                let mut value = normal(&fields[name]);
                match name.as_str() {
                    "defaultMode" => continue,
                    "apiVersion" if fields.contains_key("fieldPath") => continue,
                    // AWS's controller was built without a version.
                    "value"
                        if fields.get("name")
                            == Some(&json!("APPMESH_PLATFORM_APP_MESH_CONTROLLER_VERSION")) =>
                    {
                        continue;
                    }
                    // Ours asks Envoy itself where AWS's asks the agent of its image.
                    "postStart" => value = json!("waits"),
                    "env" => {
                        let list = value.as_array_mut().expect("a list");
                        list.sort_by_key(|variable| variable["name"].to_string());
                    }
                    _ => {}
                }
                let is_empty = value.is_null() || value == json!({}) || value == json!([]);
                if !is_empty {
                    normal_fields.insert(name.clone(), value);
                }
            }
            Value::Object(normal_fields)
        }
        value => value.clone(),
    }
}

#[test]
fn pods_are_injected_as_by_the_original() {
    for file in ["plain", "jaeger-statsd", "datadog-sds", "xray-wait-limits"] {
        let Some(path) = transcript(&format!("injection/{file}.yaml")) else {
            return;
        };
        let text = std::fs::read_to_string(path).expect("a readable file");
        let (documents, error) = yaml::read(&text, &Limits::default());
        assert_eq!(error, None);
        let recorded = &documents[0].value;
        let arguments = arguments(recorded["settings"].as_array().expect("settings"));
        let policy = policy(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        for case in recorded["pods"].as_array().expect("pods") {
            let result = &case["result"];
            let app = result["labels"]["app"].as_str().expect("a label");
            let pod = uninjected(result, &case["given_annotations"]);
            let question = request(Operation::Create, "inj", pod.clone(), None);
            let decision = decide(Hook::MutatePod, &question, &injected_cluster(), &policy);
            let ours = patched(&decision.answer, &pod).expect("admitted");
            let name = format!("{file}, {}, {app}", case["case"]);
            let seen = |spec: &Value, annotations: &Value| {
                normal(&json!({"spec": spec, "annotations": annotations}))
            };
            assert_eq!(
                seen(&ours["spec"], &ours["metadata"]["annotations"]),
                seen(&result["spec"], &result["annotations"]),
                "{name}"
            );
        }
    }
}

/// The cluster in which those pods were created.
fn injected_cluster() -> ClusterObjects {
    let mut objects = ClusterObjects::new();
    objects.put_namespace("inj", [(SWITCH.to_owned(), "enabled".to_owned())].into());
    let mesh = json!({"metadata": {"name": "inj", "uid": "1"}, "spec": {"awsName": "inj"}});
    put(&mut objects, "Mesh", mesh);
    let listener = |port: u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    for (name, listeners, discovery) in [
        (
            "dns",
            json!([listener(8080), listener(9090)]),
            json!({"dns": {"hostname": "x"}}),
        ),
        (
            "cloud",
            json!([listener(8080), listener(9090)]),
            json!({"awsCloudMap": {"namespaceName": "n", "serviceName": "s"}}),
        ),
        (
            "sds",
            json!([listener(8080)]),
            json!({"dns": {"hostname": "x"}}),
        ),
    ] {
        let spec = json!({
            "awsName": format!("{name}_inj"), "meshRef": {"name": "inj", "uid": "1"},
            "podSelector": {"matchLabels": {"app": name}},
            "listeners": listeners, "serviceDiscovery": discovery,
        });
        put(
            &mut objects,
            "VirtualNode",
            json!({"metadata": {"name": name, "namespace": "inj"}, "spec": spec}),
        );
    }
    let spec = json!({
        "awsName": "gw_inj", "meshRef": {"name": "inj", "uid": "1"},
        "podSelector": {"matchLabels": {"app": "gw"}},
    });
    put(
        &mut objects,
        "VirtualGateway",
        json!({"metadata": {"name": "gw", "namespace": "inj"}, "spec": spec}),
    );
    objects
}

/// What the original let through and this does not: it failed later, where nobody looked.
const DENIED_EARLIER: &[(&str, &str)] = &[
    (
        "virtual node: backend with neither reference nor ARN",
        "the API refuses an empty name",
    ),
    (
        "virtual node: two listeners on the same port",
        "the API refuses it",
    ),
    (
        "virtual node: both dns and awsCloudMap",
        "one of them would be dropped",
    ),
    (
        "virtual node: connection pool tcp on an http listener",
        "the API refuses it",
    ),
    (
        "virtual router: prefix that does not begin with a slash",
        "the API refuses it",
    ),
    ("virtual router: route without a kind", "the API refuses it"),
    (
        "virtual router: route of two kinds",
        "one of them would be dropped",
    ),
    (
        "virtual router: target without virtualNodeRef",
        "the API refuses an empty name",
    ),
    ("virtual router: no listeners", "the API refuses it"),
    (
        "virtual service: both providers",
        "one of them would be dropped",
    ),
    ("gateway route: no action", "the API refuses it"),
    ("gateway route: no target", "the API refuses it"),
    (
        "gateway route: virtual service by nothing",
        "the API refuses an empty name",
    ),
    (
        "gateway route: prefix that does not begin with a slash",
        "the API refuses it",
    ),
    (
        "mesh: ipPreference IPv5",
        "the schema refuses it; it was overwritten before",
    ),
    (
        "pod: host network",
        "the sidecar would redirect the traffic of the host",
    ),
];

/// What the original refused and this admits.
const ADMITTED: &[(&str, &str)] = &[
    (
        "pod: bare, in an enabled namespace, matches nothing",
        "with a warning; --strict-injection refuses it",
    ),
    (
        "pod: bare, in an enabled namespace without a mesh",
        "with a warning; --strict-injection refuses it",
    ),
    (
        "pod: in an enabled namespace that two meshes match",
        "with a warning; --strict-injection refuses it",
    ),
    // The API server refuses it before a webhook is asked.
    ("virtual node: unknown field", "not the webhooks' business"),
];

#[test]
fn answers_are_those_of_the_original_or_earlier_and_clearer() {
    let Some(path) = transcript("webhooks/answers.jsonl") else {
        return;
    };
    let text = std::fs::read_to_string(path).expect("a readable file");
    let policy = policy(&["--sidecar-image=t"]);
    let mut different = Vec::new();
    for line in text.lines() {
        let recorded: Value = serde_json::from_str(line).expect("JSON");
        let case = recorded["case"].as_str().expect("a name");
        if recorded["given"].is_null() || recorded["given"]["kind"] == "Deployment" {
            continue;
        }
        let was_admitted = recorded["exit"] == 0;
        let ours = ask(&recorded["given"], case, &policy);
        let listed = |list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == case);
        match (&ours, was_admitted) {
            (Err(message), true) if !listed(DENIED_EARLIER) => {
                different.push(format!("{case}: denied: {message}"))
            }
            (Ok(_), false) if !listed(ADMITTED) => different.push(format!("{case}: admitted")),
            (Ok(_), true) if listed(DENIED_EARLIER) => {
                different.push(format!("{case}: admitted although listed"))
            }
            (Err(_), false) if listed(ADMITTED) => {
                different.push(format!("{case}: denied although listed"))
            }
            _ => {}
        }
        if let Err(message) = &ours {
            let names_a_field = ["spec", "metadata"]
                .iter()
                .any(|root| message.starts_with(root));
            assert!(names_a_field, "{case}: {message}");
        }
        if let Ok((_, warnings)) = &ours
            && !was_admitted
            && case.starts_with("pod: ")
        {
            let is_said = warnings.iter().any(|it| it.contains("gets no sidecar"));
            assert!(is_said, "{case}: {warnings:?}");
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The object as both webhooks of its kind let it through, and their warnings.
fn ask(given: &Value, case: &str, policy: &Policy) -> Result<(Value, Vec<String>), String> {
    let objects = bad_cluster(case);
    let (kind, object, old) = match given.get("patch").and_then(Value::as_str) {
        Some(target) => {
            let (resource, name) = target.split_once('.').expect("resource.group name");
            let name = name.split(' ').nth(1).expect("a name");
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.name().to_lowercase() == resource);
            let kind = kind.expect("a kind");
            let namespace = if kind.is_namespaced() { "bad-one" } else { "" };
            let old = objects
                .get(kind, namespace, name)
                .expect("it is there")
                .to_json();
            let mut new = old.clone();
            json_patch::merge(&mut new, &given["with"]);
            (Some(kind), new, Some(old))
        }
        None => (
            Kind::from_name(given["kind"].as_str().expect("a kind")),
            given.clone(),
            None,
        ),
    };
    let operation = if old.is_some() {
        Operation::Update
    } else {
        Operation::Create
    };
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let hooks = match kind {
        Some(kind) => vec![Hook::Mutate(kind), Hook::Validate(kind)],
        None => vec![Hook::MutatePod],
    };
    let (mut object, mut warnings) = (object, Vec::new());
    for hook in hooks {
        let question = request(operation, &namespace, object.clone(), old.clone());
        let decision = decide(hook, &question, &objects, policy);
        object = patched(&decision.answer, &object)?;
        warnings.extend(decision.answer.warnings);
    }
    Ok((object, warnings))
}

/// The cluster in which those questions were asked.
fn bad_cluster(case: &str) -> ClusterObjects {
    let mut objects = ClusterObjects::new();
    for (name, mesh, switch) in [
        ("bad-one", "one", Some("enabled")),
        ("bad-two", "two", Some("enabled")),
        ("bad-none", "none", Some("enabled")),
        ("bad-plain", "one", None),
    ] {
        let mut labels: tombolo_kube::selector::Labels =
            [("mesh".to_owned(), mesh.to_owned())].into();
        labels.extend(switch.map(|switch| (SWITCH.to_owned(), switch.to_owned())));
        objects.put_namespace(name, labels);
    }
    for (name, mesh) in [("bad-one", "one"), ("bad-x1", "two"), ("bad-x2", "two")] {
        put(
            &mut objects,
            "Mesh",
            json!({
                "metadata": {"name": name, "uid": name},
                "spec": {"awsName": name, "namespaceSelector": {"matchLabels": {"mesh": mesh}}},
            }),
        );
    }
    let member = json!({"name": "bad-one", "uid": "bad-one"});
    let mut add = |kind: &str, name: &str, mut spec: Value| {
        spec["meshRef"] = member.clone();
        if spec["awsName"].is_null() {
            spec["awsName"] = json!(format!("{name}_bad-one"));
        }
        let metadata = json!({"name": name, "namespace": "bad-one", "uid": name});
        put(
            &mut objects,
            kind,
            json!({"metadata": metadata, "spec": spec}),
        );
    };
    let listeners = json!([{"portMapping": {"port": 8080, "protocol": "http"}}]);
    let node = |labels: Value, discovery: Value| json!({"podSelector": {"matchLabels": labels}, "listeners": listeners, "serviceDiscovery": discovery});
    let dns = json!({"dns": {"hostname": "x"}});
    add(
        "VirtualNode",
        "base",
        node(json!({"app": "x"}), dns.clone()),
    );
    add("VirtualNode", "base2", node(json!({"version": "v"}), dns));
    let cloud_map = json!({"awsCloudMap": {"namespaceName": "n", "serviceName": "s"}});
    add(
        "VirtualNode",
        "cloud",
        node(json!({"app": "cloud"}), cloud_map),
    );
    let target = json!([{"virtualNodeRef": {"name": "base"}, "weight": 1}]);
    let route = json!({"name": "r", "httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": target}}});
    add(
        "VirtualRouter",
        "base",
        json!({"listeners": listeners, "routes": [route]}),
    );
    let provider = json!({"virtualRouter": {"virtualRouterRef": {"name": "base"}}});
    add(
        "VirtualService",
        "base",
        json!({"awsName": "base.bad-one.svc.cluster.local", "provider": provider}),
    );
    if case != "gateway route: no gateway matches the namespace" {
        add(
            "VirtualGateway",
            "gw",
            json!({
                "namespaceSelector": {"matchLabels": {"mesh": "one"}}, "podSelector": {"matchLabels": {"app": "gw"}},
                "listeners": listeners,
            }),
        );
    }
    if case == "pod: matches a virtual node and a virtual gateway" {
        add(
            "VirtualGateway",
            "gwx",
            json!({"podSelector": {"matchLabels": {"app": "x"}}, "listeners": listeners}),
        );
    }
    let service = json!({"virtualService": {"virtualServiceRef": {"name": "base"}}});
    add(
        "GatewayRoute",
        "base",
        json!({
            "virtualGatewayRef": {"name": "gw", "namespace": "bad-one", "uid": "gw"},
            "httpRoute": {"match": {"prefix": "/"}, "action": {"target": service}},
        }),
    );
    objects
}

//! Reads back what an API acknowledged.

use crate::base::{Answer, Session};
use http::{HeaderValue, Method, request::Parts};
use serde_json::{Value, json};
use std::fmt::Write;

const TARGET: &str = "Route53AutoNaming_v20170314.";

/// Checks a call that was answered with success, as far as it is known what it should have done.
pub(super) fn check(session: &mut Session, request: &Parts, body: &[u8], answer: &Answer) {
    let target = request.headers.get("x-amz-target");
    match target.map(|target| target.to_str().unwrap_or_default()) {
        Some(target) => {
            let operation = target.strip_prefix(TARGET).unwrap_or_default();
            // Members that nobody knows may hold numbers that do not fit, or be nested deeper than this reads.
            if let Ok(input) = serde_json::from_slice(body) {
                Registry { session, request }.check(operation, &input, answer);
            }
        }
        None if request.uri.path().starts_with("/v20190125/") => mesh(session, request, answer),
        None => {}
    }
}

/// A resource is described as it was answered, and one that was deleted is not there.
fn mesh(session: &mut Session, request: &Parts, answer: &Answer) {
    let path = request.uri.path();
    let segments = path.split('/').count() - 2;
    let is_collection = segments % 2 == 1;
    let at = match request.method.as_str() {
        "PUT" if is_collection && (segments > 1 || path.ends_with("/meshes")) => {
            let answered = answer.json().expect("checked before");
            let name = answered.as_object().and_then(own_name);
            format!("{path}/{}", encoded(name.expect("a resource has a name")))
        }
        "PUT" | "DELETE" if !is_collection => path.to_owned(),
        _ => return,
    };
    let described = get(session, request, &at);
    if request.method == Method::DELETE {
        assert_eq!(described.status, 404, "{at}: {described:?}");
        return;
    }
    assert_eq!(described.status, 200, "{at}: {described:?}");
    assert_eq!(described.json(), answer.json(), "{at}");
}

/// The name of the resource itself: the one of the innermost kind that the answer names.
fn own_name(answered: &serde_json::Map<String, Value>) -> Option<&str> {
    const INNERMOST: [&str; 7] = [
        "routeName",
        "gatewayRouteName",
        "virtualNodeName",
        "virtualRouterName",
        "virtualServiceName",
        "virtualGatewayName",
        "meshName",
    ];
    let name = INNERMOST.iter().find_map(|member| answered.get(*member));
    name.and_then(Value::as_str)
}

fn get(session: &mut Session, request: &Parts, path: &str) -> Answer {
    let mut request = request.clone();
    request.method = Method::GET;
    let target = match request.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    request.uri = target.parse().expect("it was one before");
    session.send(&request, b"")
}

fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02X}").expect("strings take everything");
        text
    })
}

/// Calls of the caller who is checked.
struct Registry<'a> {
    session: &'a mut Session,
    request: &'a Parts,
}

impl Registry<'_> {
    fn check(mut self, operation: &str, input: &Value, answer: &Answer) {
        let answered = answer.json().expect("checked before");
        match operation {
            "CreateHttpNamespace" | "CreatePrivateDnsNamespace" | "CreatePublicDnsNamespace" => {
                let operation = json!({ "OperationId": answered["OperationId"] });
                let operation = self.found("GetOperation", &operation);
                let id = &operation["Operation"]["Targets"]["NAMESPACE"];
                let namespace = self.found("GetNamespace", &json!({ "Id": id }));
                assert_eq!(namespace["Namespace"]["Name"], input["Name"]);
            }
            "CreateService" => {
                let service = json!({ "Id": answered["Service"]["Id"] });
                let described = self.found("GetService", &service);
                assert_eq!(described["Service"], answered["Service"]);
            }
            "RegisterInstance" => {
                let (service, id) = (&input["ServiceId"], &input["InstanceId"]);
                let instance = json!({ "ServiceId": service, "InstanceId": id });
                let instance = self.found("GetInstance", &instance);
                assert_eq!(instance["Instance"]["Id"], *id);
                let given = input["Attributes"].as_object().into_iter().flatten();
                for (name, value) in given.filter(|(name, _)| !name.starts_with("AWS_")) {
                    assert_eq!(instance["Instance"]["Attributes"][name], *value);
                }
            }
            "UpdateInstanceCustomHealthStatus" => {
                let id = input["InstanceId"].as_str().expect("it was taken");
                let instances = json!({ "ServiceId": input["ServiceId"], "Instances": [id] });
                let statuses = self.found("GetInstancesHealthStatus", &instances);
                assert_eq!(statuses["Status"][id], input["Status"]);
            }
            "UpdateServiceAttributes" => {
                let service = json!({ "ServiceId": input["ServiceId"] });
                let kept = self.found("GetServiceAttributes", &service);
                let kept = &kept["ServiceAttributes"]["Attributes"];
                for (name, value) in input["Attributes"].as_object().into_iter().flatten() {
                    assert_eq!(kept[name], *value, "{kept}");
                }
            }
            "TagResource" | "UntagResource" => {
                let resource = json!({ "ResourceARN": input["ResourceARN"] });
                let kept = self.found("ListTagsForResource", &resource);
                let has = |key: &Value| {
                    kept["Tags"]
                        .as_array()
                        .is_some_and(|tags| tags.iter().any(|tag| tag["Key"] == *key))
                };
                for tag in input["Tags"].as_array().into_iter().flatten() {
                    assert!(operation != "TagResource" || has(&tag["Key"]), "{kept}");
                }
                for key in input["TagKeys"].as_array().into_iter().flatten() {
                    assert!(operation != "UntagResource" || !has(key), "{kept}");
                }
            }
            "DeregisterInstance" => self.gone("GetInstance", input, "InstanceNotFound"),
            "DeleteService" => self.gone("GetService", input, "ServiceNotFound"),
            "DeleteNamespace" => self.gone("GetNamespace", input, "NamespaceNotFound"),
            _ => {}
        }
    }

    fn call(&mut self, operation: &str, input: &Value) -> Answer {
        let mut request = self.request.clone();
        let target = HeaderValue::from_str(&format!("{TARGET}{operation}"));
        request
            .headers
            .insert("x-amz-target", target.expect("a name"));
        self.session.send(&request, input.to_string().as_bytes())
    }

    fn found(&mut self, operation: &str, input: &Value) -> Value {
        let answer = self.call(operation, input);
        assert_eq!(answer.status, 200, "{operation} {input}: {answer:?}");
        answer.json().expect("answers are JSON")
    }

    fn gone(&mut self, operation: &str, input: &Value, code: &str) {
        let answer = self.call(operation, input);
        let given = answer.header("x-amzn-errortype");
        assert_eq!(given, code, "{operation} {input}: {answer:?}");
    }
}

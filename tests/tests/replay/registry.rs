//! Cloud Map: a ledger of the expected state, and every answer checked against it.

use crate::{
    call::Call,
    cli::{Cli, Outcome},
    mesh::check_time,
    some_name,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tombolo_tests::{ACCOUNT, REGION, until};

const SERVICE: &str = "servicediscovery";

/// The expected state after the calls so far.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Answers of GetNamespace, oldest first.
    namespaces: Vec<Value>,
    services: Vec<Service>,
    /// The operation that the last call started.
    operation: Option<Value>,
}

struct Service {
    namespace: String,
    name: String,
    id: String,
    /// Attributes of the instances, by id.
    instances: BTreeMap<String, Value>,
}

impl Ledger {
    /// Makes a recorded call. Until its preconditions exist it must be refused; missing ones are created one at a
    /// time. Returns their number.
    pub(crate) fn replay(&mut self, cli: &mut Cli, call: &Call) -> usize {
        match call.operation.as_str() {
            "CreateHttpNamespace" | "CreatePrivateDnsNamespace" | "CreatePublicDnsNamespace" => {
                self.create_namespace(cli, call);
                0
            }
            "ListNamespaces" => {
                self.check_list(cli, call);
                self.make_namespace(cli, &some_name());
                self.check_list(cli, call);
                1
            }
            "DeleteNamespace" => self.delete_namespace(cli, call),
            "GetOperation" => self.get_operation(cli, call),
            "DiscoverInstances" => self.discover(cli, call),
            operation => panic!("{operation} has no check yet"),
        }
    }

    /// Checks that a call is refused for missing preconditions; returns whether any are missing.
    pub(crate) fn check_refused(&self, cli: &mut Cli, call: &Call) -> bool {
        let code = match call.operation.as_str() {
            "DeleteNamespace" => "NamespaceNotFound",
            "GetOperation" => "OperationNotFound",
            "DiscoverInstances" if self.namespace(call).is_none() => "NamespaceNotFound",
            "DiscoverInstances" if self.service(call).is_none() => "ServiceNotFound",
            _ => return false,
        };
        let refusal = cli.refused(call, 400, code);
        assert!(!refusal.message.is_empty(), "{call}: {refusal:?}");
        true
    }

    fn make_namespace(&mut self, cli: &mut Cli, name: &str) {
        let call = Call::new(SERVICE, "CreateHttpNamespace", json!({"Name": name}));
        self.create_namespace(cli, &call);
    }

    fn create_namespace(&mut self, cli: &mut Cli, call: &Call) {
        let Outcome { sent, answer } = cli.run(call);
        let started = answer.unwrap_or_else(|refusal| panic!("{call}: {refusal:?}"));
        // A client that has lost the answer retries with the same token.
        let token = &sent["body"]["CreatorRequestId"];
        let retry = call.with("CreatorRequestId", text(token));
        assert_eq!(cli.call(&retry), started, "{retry}");
        let operation = finished(cli, &started, "CREATE_NAMESPACE");
        let id = text(&operation["Targets"]["NAMESPACE"]).to_owned();
        assert!(is_id("ns-", 16, &id), "{operation}");

        let namespace = get(cli, &id);
        let name = call.text("Name");
        check_time(&namespace["CreateDate"]);
        let zone = &namespace["Properties"]["DnsProperties"]["HostedZoneId"];
        let (kind, dns) = match call.operation.as_str() {
            "CreateHttpNamespace" => ("HTTP", json!({"SOA": {}})),
            "CreatePrivateDnsNamespace" => {
                ("DNS_PRIVATE", json!({"HostedZoneId": zone, "SOA": {}}))
            }
            _ => ("DNS_PUBLIC", json!({"HostedZoneId": zone, "SOA": {}})),
        };
        match zone.as_str() {
            Some(zone) => assert!(kind != "HTTP" && zone.starts_with('Z'), "{namespace}"),
            None => assert_eq!(kind, "HTTP", "{namespace}"),
        }
        let mut expected = json!({
            "Id": id, "Name": name, "Type": kind, "CreatorRequestId": token, "ServiceCount": 0,
            "Arn": format!("arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/{id}"),
            "ResourceOwner": ACCOUNT, "CreateDate": namespace["CreateDate"],
            "Properties": {"DnsProperties": dns, "HttpProperties": {"HttpName": name}},
        });
        if let Some(description) = call.params.get("Description") {
            expected["Description"] = description.clone();
        }
        assert_eq!(namespace, expected, "{call}");
        self.namespaces.push(namespace);
        self.operation = Some(operation);
        self.check_list(cli, &Call::new(SERVICE, "ListNamespaces", json!({})));

        // With another token it is not a retry.
        let refusal = cli.refused(call, 400, "NamespaceAlreadyExists");
        assert_eq!(refusal.members["NamespaceId"], id.as_str(), "{refusal:?}");
        assert_eq!(refusal.members["CreatorRequestId"], *token, "{refusal:?}");
    }

    /// The recorded id belongs to a namespace that no longer exists; with the id of an existing one, the deletion
    /// succeeds.
    fn delete_namespace(&mut self, cli: &mut Cli, call: &Call) -> usize {
        self.check_refused(cli, call);
        let mut made = 1;
        if self.namespaces.is_empty() {
            self.make_namespace(cli, &some_name());
            made += 1;
        }
        let namespace = &self.namespaces[0];
        let call = call.with("Id", text(&namespace["Id"]));
        let name = text(&namespace["Name"]).to_owned();
        let service = self.make_service(cli, &name, &some_name());
        cli.refused(&call, 400, "ResourceInUse");
        let service = self.services.remove(service);
        let gone = Call::new(SERVICE, "DeleteService", json!({"Id": service.id}));
        assert_eq!(cli.call(&gone), json!({}), "{gone}");

        let started = cli.call(&call);
        let operation = finished(cli, &started, "DELETE_NAMESPACE");
        assert_eq!(operation["Targets"]["NAMESPACE"], call.params["Id"]);
        self.operation = Some(operation);
        self.namespaces.remove(0);
        let get = Call::new(SERVICE, "GetNamespace", call.params.clone());
        for again in [&get, &call] {
            cli.refused(again, 400, "NamespaceNotFound");
        }
        self.check_list(cli, &Call::new(SERVICE, "ListNamespaces", json!({})));
        made
    }

    /// The recorded id belongs to an expired operation; with the id of the last one, the call succeeds.
    fn get_operation(&mut self, cli: &mut Cli, call: &Call) -> usize {
        self.check_refused(cli, call);
        let mut made = 0;
        if self.operation.is_none() {
            self.make_namespace(cli, &some_name());
            made += 1;
        }
        let operation = self.operation.as_ref().expect("one was started");
        let call = call.with("OperationId", text(&operation["Id"]));
        assert_eq!(cli.call(&call), json!({"Operation": operation}), "{call}");
        made
    }

    fn discover(&mut self, cli: &mut Cli, call: &Call) -> usize {
        let mut made = 0;
        if self.namespace(call).is_none() {
            self.check_refused(cli, call);
            self.make_namespace(cli, call.text("NamespaceName"));
            made += 1;
        }
        if self.service(call).is_none() {
            self.check_refused(cli, call);
            self.make_service(cli, call.text("NamespaceName"), call.text("ServiceName"));
            made += 1;
        }
        self.check_discovered(cli, call);
        let wanted = &call.params["QueryParameters"];
        // Two instances that match, and with a filter one that does not.
        let mut instances = vec![wanted.clone(), wanted.clone()];
        if let Some(query) = wanted.as_object() {
            let other = query.keys().map(|key| (key.clone(), some_name().into()));
            instances.push(Value::Object(other.collect()));
        }
        for attributes in instances {
            let before = self.check_discovered(cli, call);
            self.register(cli, call, attributes);
            let after = self.check_discovered(cli, call);
            assert!(after > before, "a registration is a new revision");
            made += 1;
        }
        made
    }

    fn make_service(&mut self, cli: &mut Cli, namespace: &str, name: &str) -> usize {
        let named = |held: &&Value| held["Name"] == namespace;
        let held = self.namespaces.iter().find(named);
        let held = held.expect("its namespace is there");
        let mut params = json!({
            "Name": name, "NamespaceId": held["Id"], "HealthCheckCustomConfig": {"FailureThreshold": 1},
        });
        if held["Type"] != "HTTP" {
            params["DnsConfig"] = json!({"DnsRecords": [{"Type": "A", "TTL": 300}]});
        }
        let call = Call::new(SERVICE, "CreateService", params);
        let made = cli.call(&call);
        let id = text(&made["Service"]["Id"]).to_owned();
        assert!(is_id("srv-", 16, &id), "{call}: {made}");
        self.services.push(Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            id,
            instances: BTreeMap::new(),
        });
        self.services.len() - 1
    }

    fn register(&mut self, cli: &mut Cli, call: &Call, mut attributes: Value) {
        let service = self.service(call).expect("it is there");
        let service = &mut self.services[service];
        let address = format!("192.0.2.{}", service.instances.len() + 1);
        attributes["AWS_INSTANCE_IPV4"] = address.into();
        let id = some_name();
        let params = json!({"ServiceId": service.id, "InstanceId": id, "Attributes": attributes});
        let started = cli.call(&Call::new(SERVICE, "RegisterInstance", params));
        let operation = finished(cli, &started, "REGISTER_INSTANCE");
        assert_eq!(operation["Targets"]["INSTANCE"], id.as_str());
        service.instances.insert(id, attributes);
        self.operation = Some(operation);
    }

    /// Checks that discovery returns exactly the matching registered instances; the revision.
    fn check_discovered(&self, cli: &mut Cli, call: &Call) -> i64 {
        let service = self.service(call).expect("it is there");
        let service = &self.services[service];
        let mut answer = cli.call(call);
        let query = call.params["QueryParameters"].as_object();
        let is_asked_for = |attributes: &Value| {
            let mut pairs = query.into_iter().flatten();
            pairs.all(|(key, value)| attributes[key] == *value)
        };
        let instances = service.instances.iter();
        let asked_for = instances.filter(|(_, attributes)| is_asked_for(attributes));
        let expected: Vec<Value> = asked_for
            .map(|(id, attributes)| {
                json!({
                    "InstanceId": id, "NamespaceName": service.namespace, "ServiceName": service.name,
                    "HealthStatus": "HEALTHY", "Attributes": attributes,
                })
            })
            .collect();
        // They come in any order.
        if let Some(found) = answer["Instances"].as_array_mut() {
            found.sort_by_key(|instance| instance["InstanceId"].to_string());
        }
        let revision = answer["InstancesRevision"].clone();
        let expected = json!({"Instances": expected, "InstancesRevision": revision});
        assert_eq!(answer, expected, "{call}");

        let params = json!({
            "NamespaceName": call.params["NamespaceName"], "ServiceName": call.params["ServiceName"],
        });
        let alone = cli.call(&Call::new(SERVICE, "DiscoverInstancesRevision", params));
        assert_eq!(alone, json!({"InstancesRevision": revision}), "{call}");
        revision.as_i64().expect("a revision is a number")
    }

    /// Checks that namespaces are listed in full, except for the tokens of their creation.
    fn check_list(&self, cli: &mut Cli, list: &Call) {
        let mut expected: Vec<Value> = self.namespaces.clone();
        for namespace in &mut expected {
            let members = namespace.as_object_mut().expect("an object");
            members.remove("CreatorRequestId");
            let in_it = |service: &&Service| namespace["Name"] == service.namespace.as_str();
            let services = self.services.iter().filter(in_it).count();
            namespace["ServiceCount"] = services.into();
        }
        let mut answer = cli.call(list);
        let by_id = |namespace: &Value| namespace["Id"].to_string();
        expected.sort_by_key(by_id);
        if let Some(listed) = answer["Namespaces"].as_array_mut() {
            listed.sort_by_key(by_id);
        }
        assert_eq!(answer, json!({"Namespaces": expected}), "{list}");
    }

    fn namespace(&self, call: &Call) -> Option<&Value> {
        let mut namespaces = self.namespaces.iter();
        namespaces.find(|held| held["Name"] == call.params["NamespaceName"])
    }

    fn service(&self, call: &Call) -> Option<usize> {
        let (namespace, name) = (call.text("NamespaceName"), call.text("ServiceName"));
        let mut services = self.services.iter();
        services.position(|held| held.namespace == namespace && held.name == name)
    }
}

/// Waits for an operation to succeed; the operation.
fn finished(cli: &mut Cli, started: &Value, kind: &str) -> Value {
    let id = text(&started["OperationId"]);
    let (first, second) = id.split_once('-').unwrap_or_default();
    assert!(
        is_id("", 32, first) && is_id("", 8, second),
        "{started} is not an operation's id"
    );
    assert_eq!(*started, json!({"OperationId": id}));
    let get = Call::new(SERVICE, "GetOperation", json!({"OperationId": id}));
    let operation = until("the operation succeeds", || {
        let mut answer = cli.call(&get);
        let operation = answer["Operation"].take();
        assert_ne!(operation["Status"], "FAIL", "{operation}");
        (operation["Status"] == "SUCCESS").then_some(operation)
    });
    let told = ["Id", "Type", "OwnerAccount"].map(|member| text(&operation[member]));
    assert_eq!(told, [id, kind, ACCOUNT], "{operation}");
    for member in ["CreateDate", "UpdateDate"] {
        check_time(&operation[member]);
    }
    operation
}

fn get(cli: &mut Cli, id: &str) -> Value {
    let mut answer = cli.call(&Call::new(SERVICE, "GetNamespace", json!({"Id": id})));
    answer["Namespace"].take()
}

#[track_caller]
fn text(value: &Value) -> &str {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("{value} is not a text"))
}

/// Whether an id is the prefix followed by this many lower-case letters and digits.
fn is_id(prefix: &str, length: usize, id: &str) -> bool {
    let is_legal = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let rest = id.strip_prefix(prefix).unwrap_or_default();
    rest.len() == length && rest.chars().all(is_legal)
}

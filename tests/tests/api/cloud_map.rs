//! Cloud Map through boto3.

use crate::server_and_boto;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tombolo_tests::{ACCOUNT, boto::Boto, until};

pub(crate) const DISCOVERY: &str = "servicediscovery";

/// Waits for an operation; the id of its target.
pub(crate) fn finished(boto: &mut Boto, started: &Value, target: &str) -> String {
    let id = started["OperationId"]
        .as_str()
        .expect("an operation id")
        .to_owned();
    until("the operation succeeds", || {
        let operation = boto.call(DISCOVERY, "GetOperation", json!({"OperationId": id}));
        let operation = &operation["Operation"];
        assert_ne!(operation["Status"], "FAIL", "{operation}");
        let target = operation["Targets"][target].as_str()?.to_owned();
        (operation["Status"] == "SUCCESS").then_some(target)
    })
}

pub(crate) fn namespace(boto: &mut Boto, name: &str) -> String {
    let started = boto.call(DISCOVERY, "CreateHttpNamespace", json!({"Name": name}));
    finished(boto, &started, "NAMESPACE")
}

fn service(boto: &mut Boto, namespace: &str, name: &str) -> String {
    let params = json!({
        "Name": name, "NamespaceId": namespace, "HealthCheckCustomConfig": {"FailureThreshold": 1},
    });
    let made = boto.call(DISCOVERY, "CreateService", params);
    made["Service"]["Id"].as_str().expect("an id").to_owned()
}

pub(crate) fn register(boto: &mut Boto, service: &str, id: &str, attributes: Value) {
    let params = json!({"ServiceId": service, "InstanceId": id, "Attributes": attributes});
    let started = boto.call(DISCOVERY, "RegisterInstance", params);
    assert_eq!(finished(boto, &started, "INSTANCE"), id);
}

/// The ids of the instances of an answer. Discovery names the member `InstanceId`, lists name it `Id`.
pub(crate) fn ids(answer: &Value) -> BTreeSet<&str> {
    let instances = answer["Instances"].as_array().expect("a list");
    instances
        .iter()
        .map(|instance| {
            let id = instance.get("InstanceId").or_else(|| instance.get("Id"));
            id.and_then(Value::as_str).expect("an id")
        })
        .collect()
}

#[test]
fn namespaces_of_both_types_are_made_listed_and_deleted() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let params = json!({"Name": "shop.pvt.local", "Vpc": "vpc-0a1b2c3d4e5f60718"});
    let started = boto.call(DISCOVERY, "CreatePrivateDnsNamespace", params.clone());
    let private = finished(&mut boto, &started, "NAMESPACE");
    let http = namespace(&mut boto, "shop.http");

    let listed = boto.call(DISCOVERY, "ListNamespaces", json!({}));
    let found: BTreeSet<(&str, &str, &str)> = listed["Namespaces"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|namespace| {
            let text = |name: &str| namespace[name].as_str().expect("a text");
            (text("Id"), text("Name"), text("Type"))
        })
        .collect();
    let expected = [
        (private.as_str(), "shop.pvt.local", "DNS_PRIVATE"),
        (http.as_str(), "shop.http", "HTTP"),
    ];
    assert_eq!(found, expected.into());
    let filter = json!({"Filters": [{"Name": "TYPE", "Values": ["HTTP"], "Condition": "EQ"}]});
    let listed = boto.call(DISCOVERY, "ListNamespaces", filter);
    assert_eq!(listed["Namespaces"].as_array().map(Vec::len), Some(1));

    let exists = boto.fail(DISCOVERY, "CreatePrivateDnsNamespace", params);
    assert_eq!(exists.class, "NamespaceAlreadyExists", "{exists:?}");
    assert_eq!(
        exists.members["NamespaceId"],
        private.as_str(),
        "{exists:?}"
    );

    let described = boto.call(DISCOVERY, "GetNamespace", json!({"Id": private}));
    let arn = described["Namespace"]["Arn"].as_str().expect("an ARN");
    assert!(
        arn.ends_with(&format!(":{ACCOUNT}:namespace/{private}")),
        "{arn}"
    );

    let started = boto.call(DISCOVERY, "DeleteNamespace", json!({"Id": http}));
    finished(&mut boto, &started, "NAMESPACE");
    let gone = boto.fail(DISCOVERY, "GetNamespace", json!({"Id": http}));
    assert_eq!(gone.class, "NamespaceNotFound", "{gone:?}");
}

#[test]
fn services_and_instances_live_and_go_in_order() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let namespace = namespace(&mut boto, "shop.http");
    let colors = service(&mut boto, &namespace, "colors");
    let listed = boto.call(DISCOVERY, "ListServices", json!({}));
    assert_eq!(listed["Services"][0]["Id"], colors.as_str());
    let described = boto.call(DISCOVERY, "GetService", json!({"Id": colors}));
    assert_eq!(described["Service"]["Name"], "colors");

    register(
        &mut boto,
        &colors,
        "one",
        json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "version": "red"}),
    );
    register(
        &mut boto,
        &colors,
        "two",
        json!({"AWS_INSTANCE_IPV4": "10.0.0.2"}),
    );
    let listed = boto.call(DISCOVERY, "ListInstances", json!({"ServiceId": colors}));
    assert_eq!(ids(&listed), ["one", "two"].into());
    let got = boto.call(
        DISCOVERY,
        "GetInstance",
        json!({"ServiceId": colors, "InstanceId": "one"}),
    );
    let expected = json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "version": "red"});
    assert_eq!(got["Instance"]["Attributes"], expected);

    let used = boto.fail(DISCOVERY, "DeleteService", json!({"Id": colors}));
    assert_eq!(used.class, "ResourceInUse", "{used:?}");
    let used = boto.fail(DISCOVERY, "DeleteNamespace", json!({"Id": namespace}));
    assert_eq!(used.class, "ResourceInUse", "{used:?}");

    for id in ["one", "two"] {
        let params = json!({"ServiceId": colors, "InstanceId": id});
        let started = boto.call(DISCOVERY, "DeregisterInstance", params.clone());
        finished(&mut boto, &started, "INSTANCE");
        let gone = boto.fail(DISCOVERY, "DeregisterInstance", params);
        assert_eq!(gone.class, "InstanceNotFound", "{gone:?}");
    }
    boto.call(DISCOVERY, "DeleteService", json!({"Id": colors}));
    let gone = boto.fail(DISCOVERY, "GetService", json!({"Id": colors}));
    assert_eq!(gone.class, "ServiceNotFound", "{gone:?}");
    let started = boto.call(DISCOVERY, "DeleteNamespace", json!({"Id": namespace}));
    finished(&mut boto, &started, "NAMESPACE");
}

#[test]
fn discovery_selects_by_attributes_and_health() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let namespace = namespace(&mut boto, "shop.http");
    let colors = service(&mut boto, &namespace, "colors");
    let instance = |address: &str, version: &str, stage: &str| json!({"AWS_INSTANCE_IPV4": address, "version": version, "stage": stage});
    register(
        &mut boto,
        &colors,
        "r1",
        instance("10.0.0.1", "red", "test"),
    );
    register(
        &mut boto,
        &colors,
        "r2",
        instance("10.0.0.2", "red", "live"),
    );
    register(
        &mut boto,
        &colors,
        "b1",
        instance("10.0.0.3", "blue", "live"),
    );

    let mut discover = |more: Value| -> Value {
        let mut params = json!({"NamespaceName": "shop.http", "ServiceName": "colors"});
        for (name, value) in more.as_object().expect("an object") {
            params[name] = value.clone();
        }
        boto.call(DISCOVERY, "DiscoverInstances", params)
    };
    assert_eq!(ids(&discover(json!({}))), ["b1", "r1", "r2"].into());
    let red = json!({"QueryParameters": {"version": "red"}});
    assert_eq!(ids(&discover(red)), ["r1", "r2"].into());
    let live_red = json!({"QueryParameters": {"version": "red", "stage": "live"}});
    let found = discover(live_red);
    assert_eq!(ids(&found), ["r2"].into());
    let found = &found["Instances"][0];
    assert_eq!(
        (&found["NamespaceName"], &found["ServiceName"]),
        (&"shop.http".into(), &"colors".into())
    );
    assert_eq!(found["HealthStatus"], "HEALTHY");
    assert_eq!(found["Attributes"]["AWS_INSTANCE_IPV4"], "10.0.0.2");
    let none = json!({"QueryParameters": {"version": "green"}});
    assert_eq!(ids(&discover(none)), [].into());
    // Optional parameters filter if something matches, and are ignored if nothing does.
    let wish = json!({
        "QueryParameters": {"version": "red"}, "OptionalParameters": {"stage": "live"},
    });
    assert_eq!(ids(&discover(wish)), ["r2"].into());
    let vain = json!({
        "QueryParameters": {"version": "red"}, "OptionalParameters": {"stage": "none"},
    });
    assert_eq!(ids(&discover(vain)), ["r1", "r2"].into());
    assert_eq!(ids(&discover(json!({"MaxResults": 1}))).len(), 1);

    let ill = json!({"ServiceId": colors, "InstanceId": "r1", "Status": "UNHEALTHY"});
    boto.call(DISCOVERY, "UpdateInstanceCustomHealthStatus", ill);
    let mut discover = |health: &str| -> Value {
        let params = json!({
            "NamespaceName": "shop.http", "ServiceName": "colors", "HealthStatus": health,
        });
        boto.call(DISCOVERY, "DiscoverInstances", params)
    };
    assert_eq!(ids(&discover("HEALTHY")), ["b1", "r2"].into());
    assert_eq!(ids(&discover("UNHEALTHY")), ["r1"].into());
    assert_eq!(ids(&discover("ALL")), ["b1", "r1", "r2"].into());
}

#[test]
fn discovery_of_unknown_names_says_which_name_is_unknown() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    namespace(&mut boto, "shop.http");
    let nowhere = json!({"NamespaceName": "nowhere", "ServiceName": "colors"});
    let raised = boto.fail(DISCOVERY, "DiscoverInstances", nowhere);
    assert_eq!(raised.class, "NamespaceNotFound", "{raised:?}");
    let nothing = json!({"NamespaceName": "shop.http", "ServiceName": "colors"});
    let raised = boto.fail(DISCOVERY, "DiscoverInstances", nothing);
    assert_eq!(raised.class, "ServiceNotFound", "{raised:?}");
}

#[test]
fn the_revision_of_instances_grows_with_each_registration() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let namespace = namespace(&mut boto, "shop.http");
    let colors = service(&mut boto, &namespace, "colors");
    let params = json!({"NamespaceName": "shop.http", "ServiceName": "colors"});
    let mut last = 0;
    for i in 0..5 {
        register(
            &mut boto,
            &colors,
            "one",
            json!({"AWS_INSTANCE_IPV4": format!("10.0.0.{i}")}),
        );
        let answer = boto.call(DISCOVERY, "DiscoverInstancesRevision", params.clone());
        let revision = answer["InstancesRevision"].as_u64().expect("a number");
        assert!(revision > last, "{revision} is not after {last}");
        last = revision;
    }
}

#[test]
fn instances_are_listed_in_pages() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let namespace = namespace(&mut boto, "shop.http");
    let colors = service(&mut boto, &namespace, "colors");
    for i in 0..7 {
        register(
            &mut boto,
            &colors,
            &format!("i-{i}"),
            json!({"AWS_INSTANCE_IPV4": format!("10.0.0.{i}")}),
        );
    }
    let pages = boto.pages(DISCOVERY, "ListInstances", json!({"ServiceId": colors}), 3);
    let all: BTreeSet<&str> = pages.iter().flat_map(ids).collect();
    assert_eq!((pages.len(), all.len()), (3, 7));
}

#[test]
fn bad_input_names_the_field() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let namespace = namespace(&mut boto, "shop.http");
    let colors = service(&mut boto, &namespace, "colors");
    let params = json!({
        "ServiceId": colors, "InstanceId": "one", "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.400"},
    });
    let raised = boto.fail(DISCOVERY, "RegisterInstance", params);
    assert_eq!(
        (raised.class.as_str(), raised.status),
        ("InvalidInput", 400),
        "{raised:?}"
    );
    assert!(raised.message.contains("AWS_INSTANCE_IPV4"), "{raised:?}");
}

#[test]
fn namespaces_and_services_are_changed() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let params = json!({"Name": "shop.example"});
    let started = boto.call(DISCOVERY, "CreatePublicDnsNamespace", params);
    let public = finished(&mut boto, &started, "NAMESPACE");
    let http = namespace(&mut boto, "shop.http");
    let soa = json!({"DnsProperties": {"SOA": {"TTL": 7}}});
    for (operation, id, change) in [
        (
            "UpdatePublicDnsNamespace",
            &public,
            json!({"Description": "new", "Properties": soa}),
        ),
        ("UpdateHttpNamespace", &http, json!({"Description": "new"})),
    ] {
        let params = json!({"Id": id, "Namespace": change});
        let started = boto.call(DISCOVERY, operation, params);
        assert_eq!(finished(&mut boto, &started, "NAMESPACE"), *id);
        let described = boto.call(DISCOVERY, "GetNamespace", json!({"Id": id}));
        assert_eq!(described["Namespace"]["Description"], "new");
    }
    let described = boto.call(DISCOVERY, "GetNamespace", json!({"Id": public}));
    let properties = &described["Namespace"]["Properties"];
    assert_eq!(properties["DnsProperties"]["SOA"]["TTL"], 7);
    let mistaken = json!({"Id": public, "Namespace": {"Description": "new"}});
    let raised = boto.fail(DISCOVERY, "UpdateHttpNamespace", mistaken);
    assert_eq!(raised.class, "InvalidInput", "{raised:?}");

    let records = |ttl: u32| json!([{"Type": "A", "TTL": ttl}]);
    let params = json!({
        "Name": "colors", "NamespaceId": public, "DnsConfig": {"DnsRecords": records(60)},
    });
    let made = boto.call(DISCOVERY, "CreateService", params);
    let colors = made["Service"]["Id"].as_str().expect("an id").to_owned();
    let check = json!({"Type": "HTTP", "ResourcePath": "/", "FailureThreshold": 2});
    let change = json!({
        "Description": "new", "DnsConfig": {"DnsRecords": records(5)}, "HealthCheckConfig": check,
    });
    let params = json!({"Id": colors, "Service": change});
    let started = boto.call(DISCOVERY, "UpdateService", params);
    assert_eq!(finished(&mut boto, &started, "SERVICE"), colors);
    let described = boto.call(DISCOVERY, "GetService", json!({"Id": colors}));
    let described = &described["Service"];
    assert_eq!(described["Description"], "new");
    assert_eq!(described["DnsConfig"]["DnsRecords"], records(5));
    assert_eq!(described["HealthCheckConfig"], check);
}

#[test]
fn services_have_attributes_of_their_own() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let namespace = namespace(&mut boto, "shop.http");
    let colors = service(&mut boto, &namespace, "colors");
    let add = |attributes: Value| json!({"ServiceId": colors, "Attributes": attributes});
    let params = add(json!({"owner": "paint", "tier": "gold"}));
    boto.call(DISCOVERY, "UpdateServiceAttributes", params);
    let params = add(json!(["tier", "none"]));
    boto.call(DISCOVERY, "DeleteServiceAttributes", params);
    let told = boto.call(
        DISCOVERY,
        "GetServiceAttributes",
        json!({"ServiceId": colors}),
    );
    let told = &told["ServiceAttributes"];
    assert_eq!(told["Attributes"], json!({"owner": "paint"}));
    let arn = told["ServiceArn"].as_str().expect("an ARN");
    assert!(arn.ends_with(&format!(":{ACCOUNT}:service/{colors}")));
    let many: serde_json::Map<String, Value> =
        (0..30).map(|i| (format!("k{i}"), "v".into())).collect();
    let params = add(Value::Object(many));
    let raised = boto.fail(DISCOVERY, "UpdateServiceAttributes", params);
    let class = "ServiceAttributesLimitExceededException";
    assert_eq!(raised.class, class, "{raised:?}");
}

#[test]
fn namespaces_and_services_have_tags() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let born = json!([{"Key": "born", "Value": "yes"}]);
    let params = json!({"Name": "shop.http", "Tags": born});
    let started = boto.call(DISCOVERY, "CreateHttpNamespace", params);
    let namespace = finished(&mut boto, &started, "NAMESPACE");
    let params = json!({"Name": "colors", "NamespaceId": namespace, "Tags": born});
    let made = boto.call(DISCOVERY, "CreateService", params);
    let described = boto.call(DISCOVERY, "GetNamespace", json!({"Id": namespace}));
    for arn in [&described["Namespace"]["Arn"], &made["Service"]["Arn"]] {
        let params = json!({"ResourceARN": arn, "Tags": [{"Key": "color", "Value": ""}]});
        boto.call(DISCOVERY, "TagResource", params);
        let params = json!({"ResourceARN": arn, "TagKeys": ["born"]});
        boto.call(DISCOVERY, "UntagResource", params);
        let listed = boto.call(
            DISCOVERY,
            "ListTagsForResource",
            json!({"ResourceARN": arn}),
        );
        assert_eq!(listed["Tags"], json!([{"Key": "color", "Value": ""}]));
        let many: Value = (0..50)
            .map(|i| json!({"Key": format!("k{i}"), "Value": "v"}))
            .collect();
        let params = json!({"ResourceARN": arn, "Tags": many});
        let raised = boto.fail(DISCOVERY, "TagResource", params);
        assert_eq!(raised.class, "TooManyTagsException", "{raised:?}");
        assert_eq!(raised.members["ResourceName"], *arn, "{raised:?}");
    }
    let nobody = format!("arn:aws:servicediscovery:us-west-2:{ACCOUNT}:service/srv-none");
    let raised = boto.fail(
        DISCOVERY,
        "ListTagsForResource",
        json!({"ResourceARN": nobody}),
    );
    assert_eq!(raised.class, "ResourceNotFoundException", "{raised:?}");
}

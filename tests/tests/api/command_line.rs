//! The `aws` CLI: few calls, because each starts an interpreter.

use serde_json::json;
use tombolo_tests::{ACCOUNT, Server, until};

#[test]
fn the_command_line_drives_mesh_and_registry() {
    let Some(server) = Server::start() else {
        return;
    };
    let Some(aws) = server.aws().with_cli() else {
        return;
    };

    let identity = aws.run(&["sts", "get-caller-identity"]);
    assert_eq!(identity["Account"], ACCOUNT);

    aws.run(&["appmesh", "create-mesh", "--mesh-name", "shop"]);
    let spec = json!({
        "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
        "serviceDiscovery": {"awsCloudMap": {"namespaceName": "shop.local", "serviceName": "front"}},
    });
    let made = aws.run(&[
        "appmesh",
        "create-virtual-node",
        "--mesh-name",
        "shop",
        "--virtual-node-name",
        "front",
        "--spec",
        &spec.to_string(),
    ]);
    assert_eq!(made["virtualNode"]["spec"], spec);
    let listed = aws.run(&["appmesh", "list-virtual-nodes", "--mesh-name", "shop"]);
    assert_eq!(listed["virtualNodes"][0]["virtualNodeName"], "front");

    let started = aws.run(&[
        "servicediscovery",
        "create-private-dns-namespace",
        "--name",
        "shop.local",
        "--vpc",
        "vpc-1",
    ]);
    let operation = started["OperationId"].as_str().expect("an id").to_owned();
    let namespace = until("the namespace is made", || {
        let answer = aws.run(&[
            "servicediscovery",
            "get-operation",
            "--operation-id",
            &operation,
        ]);
        let namespace = answer["Operation"]["Targets"]["NAMESPACE"]
            .as_str()?
            .to_owned();
        (answer["Operation"]["Status"] == "SUCCESS").then_some(namespace)
    });
    let made = aws.run(&[
        "servicediscovery",
        "create-service",
        "--name",
        "front",
        "--namespace-id",
        &namespace,
        "--dns-config",
        "DnsRecords=[{Type=A,TTL=5}]",
    ]);
    let service = made["Service"]["Id"].as_str().expect("an id");
    aws.run(&[
        "servicediscovery",
        "register-instance",
        "--service-id",
        service,
        "--instance-id",
        "one",
        "--attributes",
        "AWS_INSTANCE_IPV4=10.0.0.1,version=blue",
    ]);
    let found = aws.run(&[
        "servicediscovery",
        "discover-instances",
        "--namespace-name",
        "shop.local",
        "--service-name",
        "front",
        "--query-parameters",
        "version=blue",
    ]);
    assert_eq!(found["Instances"][0]["InstanceId"], "one");

    let missing = aws.attempt(&["appmesh", "describe-mesh", "--mesh-name", "nowhere"]);
    let message = missing.expect_err("it is not there");
    assert!(message.contains("NotFoundException"), "{message}");
}

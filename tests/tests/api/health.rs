//! Health checks that the server makes, as clients of discovery see them.

use crate::{
    cloud_map::{DISCOVERY, ids, namespace, register},
    server_and_boto,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
};
use tombolo_tests::{boto::Boto, free_port, until};

/// Answers 200 to every request on this port, on a thread that ends with the test.
fn web(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            // The checker may have closed the connection.
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
}

fn discover(boto: &mut Boto, health: Option<&str>) -> Value {
    let mut question = json!({"NamespaceName": "clinic.http", "ServiceName": "ward"});
    if let Some(health) = health {
        question["HealthStatus"] = health.into();
    }
    boto.call(DISCOVERY, "DiscoverInstances", question)
}

#[test]
fn discovery_follows_the_checks_of_the_server() {
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let namespace = namespace(&mut boto, "clinic.http");
    let params = json!({
        "Name": "ward", "NamespaceId": namespace,
        "HealthCheckConfig": {"Type": "HTTP", "ResourcePath": "/up", "FailureThreshold": 1},
    });
    let made = boto.call(DISCOVERY, "CreateService", params);
    let service = made["Service"]["Id"].as_str().expect("an id").to_owned();
    let (well, ill) = (free_port(), free_port());
    web(TcpListener::bind(well).expect("it was free a moment ago"));
    for (id, at) in [("well", well), ("ill", ill)] {
        let attributes = json!({
            "AWS_INSTANCE_IPV4": Ipv4Addr::LOCALHOST, "AWS_INSTANCE_PORT": at.port().to_string(),
        });
        register(&mut boto, &service, id, attributes);
    }
    until("the ill one is found out", || {
        (ids(&discover(&mut boto, None)) == ["well"].into()).then_some(())
    });
    assert_eq!(ids(&discover(&mut boto, Some("UNHEALTHY"))), ["ill"].into());
    assert_eq!(ids(&discover(&mut boto, Some("ALL"))).len(), 2);
    let params = json!({"ServiceId": service});
    let status = boto.call(DISCOVERY, "GetInstancesHealthStatus", params);
    assert_eq!(
        status["Status"],
        json!({"well": "HEALTHY", "ill": "UNHEALTHY"})
    );

    web(TcpListener::bind(ill).expect("nobody took it"));
    until("it recovers", || {
        (ids(&discover(&mut boto, Some("HEALTHY"))).len() == 2).then_some(())
    });
}

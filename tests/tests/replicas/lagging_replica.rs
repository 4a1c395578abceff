//! A resource that one replica acknowledged can be changed through another at once, even if that one lags behind:
//! preconditions are checked in etcd's transaction.

use serde_json::{Value, json};
use tombolo_tests::{
    Etcd, Server,
    http::{Connection, Request},
    registers::prepare,
};

const TIMES: usize = 20;

/// A server that is paused while another one creates a resource, and finds the next request waiting when it resumes.
/// Usually it answers that before it has caught up.
struct LaggingServer {
    server: Server,
    connection: Connection,
}

impl LaggingServer {
    /// Creates a resource elsewhere and changes it here.
    #[track_caller]
    fn call(&mut self, operation: &str, make: impl FnOnce() -> Value) -> Value {
        self.server.pause(true);
        let input = make();
        let asked = self.connection.ask(&Request::cloud_map(operation, &input));
        self.server.pause(false);
        asked.expect("it has room for a request");
        let answer = self.connection.answer().expect("an answer");
        assert_eq!(answer.status, 200, "{operation} {input}: {}", answer.text());
        answer.json()
    }
}

#[track_caller]
fn call(server: &mut Connection, operation: &str, input: &Value) -> Value {
    let answer = server.send(&Request::cloud_map(operation, input));
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{operation} {input}: {}", answer.text());
    answer.json()
}

#[test]
fn a_server_that_is_behind_changes_what_another_one_made() {
    let Some(etcd) = Etcd::start(1) else {
        return;
    };
    let servers = [
        Server::replica(&etcd.address()),
        Server::replica(&etcd.address()),
    ];
    let [Some(first), Some(second)] = servers else {
        return;
    };
    prepare(first.api());
    let mut first = Connection::open(first.api()).expect("it listens");
    let mut connection = Connection::open(second.api()).expect("it listens");
    call(&mut connection, "ListNamespaces", &json!({}));
    let mut second = LaggingServer {
        server: second,
        connection,
    };
    let listed = call(&mut first, "ListNamespaces", &json!({}));
    let namespace = &listed["Namespaces"][0]["Id"];
    for i in 0..TIMES {
        let mut made = Value::Null;
        second.call("UpdateServiceAttributes", || {
            let input = json!({
                "Name": format!("s{i}"), "NamespaceId": namespace, "HealthCheckCustomConfig": {},
            });
            made = call(&mut first, "CreateService", &input)["Service"].take();
            json!({"ServiceId": made["Id"], "Attributes": {"a": "b"}})
        });
        let instance = json!({"ServiceId": made["Id"], "InstanceId": "i"});
        second.call("UpdateInstanceCustomHealthStatus", || {
            let mut input = instance.clone();
            input["Attributes"] = json!({"AWS_INSTANCE_IPV4": "10.0.0.1"});
            call(&mut first, "RegisterInstance", &input);
            let mut ill = instance.clone();
            ill["Status"] = "UNHEALTHY".into();
            ill
        });
        second.call("DeleteService", || {
            call(&mut first, "DeregisterInstance", &instance);
            json!({"Id": made["Id"]})
        });
        second.call("TagResource", || {
            let input = json!({"Name": format!("t{i}"), "NamespaceId": namespace});
            let made = call(&mut first, "CreateService", &input);
            let arn = &made["Service"]["Arn"];
            json!({"ResourceARN": arn, "Tags": [{"Key": "k", "Value": "v"}]})
        });
    }
}

//! Writers that remember what they were promised.

use crate::{Expected, Names, call};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io, net::SocketAddr};
use tombolo_tests::http::{Answer, Connection, Request};

/// Something that writes, one call after the other.
pub(crate) trait Writer: Send {
    /// Makes one call. An error means that nobody knows whether it was carried out.
    fn write(&mut self, connection: &mut Connection) -> io::Result<()>;

    /// Checks what is there against what was promised.
    fn verify(&mut self, api: SocketAddr);
}

/// A server that is going down may refuse; only 200 is a promise.
fn promise(answer: &Answer) -> io::Result<()> {
    match answer.status {
        200 => Ok(()),
        500.. => Err(io::Error::other(answer.text())),
        status => panic!("{status}: {}", answer.text()),
    }
}

/// Registers instances, replaces them, and takes them away.
pub(crate) struct Registrar {
    service: String,
    prefix: &'static str,
    step: u64,
    /// The value of each instance's attribute; `None` when it should not be there.
    instances: Names<Option<u64>>,
}

impl Registrar {
    pub(crate) fn new(service: String, prefix: &'static str) -> Self {
        Self {
            service,
            prefix,
            step: 0,
            instances: BTreeMap::new(),
        }
    }
}

impl Writer for Registrar {
    fn write(&mut self, connection: &mut Connection) -> io::Result<()> {
        self.step += 1;
        let id = format!("{}-{}", self.prefix, self.step % 23);
        let expected = self.instances.entry(id.clone()).or_default();
        let is_there = expected.acknowledged.is_some();
        let answer = if is_there && self.step.is_multiple_of(5) {
            expected.ask(None);
            let body = json!({"ServiceId": self.service, "InstanceId": id});
            connection.send(&Request::cloud_map("DeregisterInstance", &body))?
        } else {
            expected.ask(Some(self.step));
            let attributes =
                json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "step": self.step.to_string()});
            let body =
                json!({"ServiceId": self.service, "InstanceId": id, "Attributes": attributes});
            connection.send(&Request::cloud_map("RegisterInstance", &body))?
        };
        promise(&answer)?;
        expected.acknowledge();
        Ok(())
    }

    fn verify(&mut self, api: SocketAddr) {
        let body = json!({"ServiceId": self.service, "MaxResults": 100});
        let listed = call(api, &Request::cloud_map("ListInstances", &body));
        assert!(listed["NextToken"].is_null(), "one page holds all");
        let found: BTreeMap<&str, u64> = listed["Instances"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|instance| {
                let step = instance["Attributes"]["step"].as_str().expect("a text");
                (
                    instance["Id"].as_str().expect("an id"),
                    step.parse().expect("a number"),
                )
            })
            .collect();
        for (id, expected) in &mut self.instances {
            expected.settle(found.get(id.as_str()).copied(), id);
        }
    }
}

/// Updates one route, with a number in it that only grows.
#[derive(Default)]
pub(crate) struct Router {
    /// The number, and the version of the resource.
    route: Expected<u64>,
    version: u64,
}

impl Router {
    pub(crate) fn spec(number: u64) -> Value {
        json!({"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNode": "a", "weight": 1}]},
            "timeout": {"perRequest": {"unit": "ms", "value": number}},
        }})
    }
}

const ROUTE: &str = "/v20190125/meshes/m/virtualRouter/r/routes/x";

impl Writer for Router {
    fn write(&mut self, connection: &mut Connection) -> io::Result<()> {
        let next = self.route.acknowledged + 1;
        self.route.ask(next);
        let body = json!({"spec": Self::spec(next)});
        promise(&connection.send(&Request::app_mesh("PUT", ROUTE, &body))?)?;
        self.route.acknowledge();
        Ok(())
    }

    fn verify(&mut self, api: SocketAddr) {
        let route = call(api, &Request::app_mesh("GET", ROUTE, &Value::Null));
        let number = &route["spec"]["httpRoute"]["timeout"]["perRequest"]["value"];
        self.route
            .settle(number.as_u64().expect("a number"), "the route's number");
        let version = route["metadata"]["version"].as_u64().expect("a number");
        assert!(
            version >= self.version,
            "version {version} after {}",
            self.version
        );
        self.version = version;
    }
}

/// Creates nodes and deletes every third.
pub(crate) struct Settler {
    prefix: &'static str,
    step: u64,
    /// Whether each node should be there.
    nodes: Names<bool>,
}

impl Settler {
    pub(crate) fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            step: 0,
            nodes: BTreeMap::new(),
        }
    }

    fn name(&self, step: u64) -> String {
        format!("{}-{step}", self.prefix)
    }
}

impl Writer for Settler {
    fn write(&mut self, connection: &mut Connection) -> io::Result<()> {
        self.step += 1;
        let before = self.name(self.step.saturating_sub(1));
        let is_there = self
            .nodes
            .get(&before)
            .is_some_and(|node| node.acknowledged);
        if self.step.is_multiple_of(3) && is_there {
            let expected = self.nodes.get_mut(&before).expect("looked at just now");
            expected.ask(false);
            let path = format!("/v20190125/meshes/m/virtualNodes/{before}");
            promise(&connection.send(&Request::app_mesh("DELETE", &path, &Value::Null))?)?;
            expected.acknowledge();
            return Ok(());
        }
        let name = self.name(self.step);
        let expected = self.nodes.entry(name.clone()).or_default();
        expected.ask(true);
        let body = json!({"virtualNodeName": name, "spec": {}});
        let path = "/v20190125/meshes/m/virtualNodes";
        promise(&connection.send(&Request::app_mesh("PUT", path, &body))?)?;
        expected.acknowledge();
        Ok(())
    }

    fn verify(&mut self, api: SocketAddr) {
        let mut found = std::collections::BTreeSet::new();
        let mut token = None;
        loop {
            let more: String = token
                .iter()
                .map(|token| format!("&nextToken={token}"))
                .collect();
            let path = format!("/v20190125/meshes/m/virtualNodes?limit=100{more}");
            let page = call(api, &Request::app_mesh("GET", &path, &Value::Null));
            let nodes = page["virtualNodes"].as_array().expect("a list");
            found.extend(
                nodes
                    .iter()
                    .map(|node| node["virtualNodeName"].as_str().expect("a name").to_owned()),
            );
            match page["nextToken"].as_str() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        for (name, expected) in &mut self.nodes {
            expected.settle(found.contains(name), name);
        }
    }
}

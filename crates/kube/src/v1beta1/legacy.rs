//! The older version's specs, as far as they differ. What has the same form in both stays JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VirtualNodeSpec {
    pub(super) mesh_name: String,
    pub(super) listeners: Option<Vec<Listener>>,
    pub(super) service_discovery: Option<Discovery>,
    pub(super) backends: Option<Vec<Backend>>,
    pub(super) logging: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listener {
    pub(super) port_mapping: Value,
    pub(super) health_check: Option<Value>,
}

impl Listener {
    pub(super) fn written(self) -> Value {
        let mut listener = json!({"portMapping": self.port_mapping});
        if let Some(check) = self.health_check {
            listener["healthCheck"] = check;
        }
        listener
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Discovery {
    pub(super) cloud_map: Option<CloudMap>,
    pub(super) dns: Option<Dns>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CloudMap {
    pub(super) service_name: String,
    pub(super) namespace_name: String,
    pub(super) attributes: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dns {
    pub(super) host_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backend {
    pub(super) virtual_service: BackendService,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendService {
    pub(super) virtual_service_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VirtualServiceSpec {
    /// Only to say that it is known.
    #[serde(rename = "meshName")]
    _mesh_name: String,
    pub(super) virtual_router: Option<Router>,
    pub(super) routes: Option<Vec<Route>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Router {
    #[serde(default)]
    pub(super) name: String,
    pub(super) listeners: Option<Vec<Listener>>,
}

#[derive(Deserialize)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) priority: Option<Value>,
    pub(super) http: Option<Rule>,
    pub(super) http2: Option<Rule>,
    pub(super) grpc: Option<Rule>,
    pub(super) tcp: Option<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    #[serde(rename = "match")]
    pub(super) matcher: Option<Value>,
    pub(super) action: Action,
    pub(super) retry_policy: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) weighted_targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) virtual_node_name: String,
    pub(super) weight: Value,
}

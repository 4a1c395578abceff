//! What is written back into each object.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

/// Whether an object is active in the mesh, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `<Kind>Active`.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// One word for machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

macro_rules! status {
    ($(#[$doc:meta])* $name:ident, $arn:ident, $arn_key:literal $(, $(#[$extra_doc:meta])* $extra:ident: $extra_type:ty, $extra_key:literal)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// ARN in the mesh API, once it exists there.
            #[serde(rename = $arn_key, default, skip_serializing_if = "Option::is_none")]
            pub $arn: Option<String>,
            $(
                $(#[$extra_doc])*
                #[serde(rename = $extra_key, default, skip_serializing_if = "BTreeMap::is_empty")]
                pub $extra: $extra_type,
            )?
            /// At most one: `<Kind>Active`.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub conditions: Vec<Condition>,
            /// `metadata.generation` that the status speaks of.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub observed_generation: Option<i64>,
        }
    };
}

status!(
    /// Status of a mesh.
    MeshStatus, mesh_arn, "meshARN"
);
status!(
    /// Status of a virtual node.
    VirtualNodeStatus, virtual_node_arn, "virtualNodeARN"
);
status!(
    /// Status of a virtual router.
    VirtualRouterStatus,
    virtual_router_arn,
    "virtualRouterARN",
    /// ARN of each route, by route name.
    route_arns: BTreeMap<String, String>,
    "routeARNs"
);
status!(
    /// Status of a virtual service.
    VirtualServiceStatus, virtual_service_arn, "virtualServiceARN"
);
status!(
    /// Status of a virtual gateway.
    VirtualGatewayStatus, virtual_gateway_arn, "virtualGatewayARN"
);
status!(
    /// Status of a gateway route.
    GatewayRouteStatus, gateway_route_arn, "gatewayRouteARN"
);

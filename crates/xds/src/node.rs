//! The identity that a proxy claims, `envoy.config.core.v3.Node`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::envoy::pb::envoy::config::core::v3 as core;
use crate::envoy::pb::envoy::config::core::v3::node::UserAgentVersionType;
use crate::envoy::pb::google::protobuf::{self, value::Kind};
use crate::sanitize;

/// The node in the first request of a stream. All of it is a claim of the proxy; the [`Source`](crate::server::Source)
/// decides whether to trust it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Node {
    /// The identity; for App Mesh the resource name, `mesh/M/virtualNode/N`
    /// (`facts/appmesh-api.md` section 7).
    pub id: String,
    /// The service cluster that the proxy belongs to.
    #[serde(default)]
    pub cluster: String,
    /// Free-form metadata, as JSON.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The location of the proxy.
    #[serde(default)]
    pub locality: Locality,
    /// The name of the program, such as `envoy`.
    #[serde(default)]
    pub user_agent: String,
    /// The version of the program, such as `1.40.0`; empty if not told.
    #[serde(default)]
    pub user_agent_version: String,
    /// The features that the client supports, such as [`ATOMIC_UPDATES`].
    #[serde(default)]
    pub features: Vec<String>,
}

/// The feature of a client that adopts related resources in one step. A server need not send clusters first and wait
/// until they are warm before it sends routes. Tombolo's own client always announces it.
pub const ATOMIC_UPDATES: &str = "tombolo.adopts_whole";

/// A location, from large to small; a member is empty if it is not known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Locality {
    /// The region.
    #[serde(default)]
    pub region: String,
    /// The zone within the region.
    #[serde(default)]
    pub zone: String,
    /// The part of the zone.
    #[serde(default)]
    pub sub_zone: String,
}

impl Node {
    /// A metadata entry, if it exists and is a string.
    pub fn metadata_str(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.as_str()
    }
}

/// The maximum length of an id or cluster; the rest is cut. An ARN of a virtual node has at most 600 bytes.
const MAX_ID_BYTES: usize = 1024;
/// The maximum length of every other text; the rest is cut.
const MAX_TEXT_BYTES: usize = 256;
/// The number of features that are kept.
const MAX_FEATURES: usize = 64;
/// The number of keys and values of the metadata that are kept, and their size in bytes.
const MAX_METADATA: Budget = Budget {
    values: 512,
    bytes: 16 << 10,
};

/// The node is kept in memory while the proxy is connected and is shown to operators: long texts are cut, and control
/// characters are escaped.
impl From<core::Node> for Node {
    fn from(node: core::Node) -> Node {
        let sanitized = |text: String| sanitize::text(text, MAX_TEXT_BYTES);
        let locality = node.locality.unwrap_or_default();
        let user_agent_version = match node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentVersion(version)) => sanitized(version),
            Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build
                .version
                .map(|v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
                .unwrap_or_default(),
            None => String::new(),
        };
        let features = node.client_features.into_iter().take(MAX_FEATURES);
        Node {
            id: sanitize::text(node.id, MAX_ID_BYTES),
            cluster: sanitize::text(node.cluster, MAX_ID_BYTES),
            metadata: node
                .metadata
                .map(|metadata| MAX_METADATA.object(metadata))
                .unwrap_or_default(),
            locality: Locality {
                region: sanitized(locality.region),
                zone: sanitized(locality.zone),
                sub_zone: sanitized(locality.sub_zone),
            },
            user_agent: sanitized(node.user_agent_name),
            user_agent_version,
            features: features.map(sanitized).collect(),
        }
    }
}

impl From<&Node> for core::Node {
    fn from(node: &Node) -> core::Node {
        let Locality {
            region,
            zone,
            sub_zone,
        } = node.locality.clone();
        core::Node {
            id: node.id.clone(),
            cluster: node.cluster.clone(),
            metadata: (!node.metadata.is_empty()).then(|| to_struct(&node.metadata)),
            locality: (node.locality != Locality::default()).then_some(core::Locality {
                region,
                zone,
                sub_zone,
            }),
            user_agent_name: node.user_agent.clone(),
            client_features: node.features.clone(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(
                node.user_agent_version.clone(),
            )),
            ..Default::default()
        }
    }
}

/// The size of the metadata that may still be kept. Nesting needs no bound of its own: the protobuf decoder refuses
/// more than 100 levels.
struct Budget {
    values: usize,
    bytes: usize,
}

impl Budget {
    fn object(mut self, from: protobuf::Struct) -> Map<String, Value> {
        self.fields(from)
    }

    fn fields(&mut self, from: protobuf::Struct) -> Map<String, Value> {
        let mut fields: Vec<_> = from.fields.into_iter().collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut object = Map::new();
        for (key, value) in fields {
            let Some(key) = self.text(key) else { break };
            object.insert(key, self.json(value));
        }
        object
    }

    fn json(&mut self, from: protobuf::Value) -> Value {
        match from.kind {
            Some(Kind::BoolValue(value)) => Value::Bool(value),
            Some(Kind::NumberValue(value)) => number(value),
            Some(Kind::StringValue(value)) => self.text(value).map_or(Value::Null, Value::String),
            Some(Kind::StructValue(value)) => Value::Object(self.fields(value)),
            Some(Kind::ListValue(list)) => {
                let mut values = Vec::new();
                for value in list.values {
                    if self.values == 0 {
                        break;
                    }
                    self.values -= 1;
                    values.push(self.json(value));
                }
                Value::Array(values)
            }
            Some(Kind::NullValue(_)) | None => Value::Null,
        }
    }

    /// A sanitized text, charged to the budget. `None` once the budget is used up.
    fn text(&mut self, text: String) -> Option<String> {
        self.values = self.values.checked_sub(1)?;
        let text = sanitize::text(text, MAX_ID_BYTES);
        self.bytes = self.bytes.checked_sub(text.len())?;
        Some(text)
    }
}

/// A protobuf number, which is always a double. Integers become JSON integers.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.fract() == 0.0 && value.abs() <= EXACT {
        Value::from(value as i64)
    } else {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}

fn to_struct(from: &Map<String, Value>) -> protobuf::Struct {
    let fields = from
        .iter()
        .map(|(key, value)| (key.clone(), to_value(value)));
    protobuf::Struct {
        fields: fields.collect(),
    }
}

fn to_value(from: &Value) -> protobuf::Value {
    let kind = match from {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => Kind::ListValue(protobuf::ListValue {
            values: values.iter().map(to_value).collect(),
        }),
        Value::Object(object) => Kind::StructValue(to_struct(object)),
    };
    protobuf::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_survives_the_wire() {
        let Value::Object(metadata) = json!({
            "app": "front",
            "nested": {"ports": [80, 8080.5], "on": true, "none": null},
        }) else {
            unreachable!("an object literal")
        };
        let node = Node {
            id: "mesh/m/virtualNode/front".into(),
            cluster: "front".into(),
            metadata,
            locality: Locality {
                zone: "a".into(),
                ..Locality::default()
            },
            user_agent: "tombolo".into(),
            user_agent_version: "0.1.0".into(),
            features: vec![ATOMIC_UPDATES.into()],
        };
        assert_eq!(Node::from(core::Node::from(&node)), node);
        assert_eq!(node.metadata_str("app"), Some("front"));
        assert_eq!(node.metadata_str("nested"), None);
    }

    #[test]
    fn the_build_version_of_envoy_is_read() {
        let version = crate::envoy::pb::envoy::r#type::v3::SemanticVersion {
            major_number: 1,
            minor_number: 40,
            patch: 2,
        };
        let build = core::BuildVersion {
            version: Some(version),
            metadata: None,
        };
        let node = core::Node {
            user_agent_name: "envoy".into(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
            ..Default::default()
        };
        assert_eq!(Node::from(node).user_agent_version, "1.40.2");
    }
    #[test]
    fn a_node_that_says_too_much_is_cut() {
        let text = |text: String| protobuf::Value {
            kind: Some(Kind::StringValue(text)),
        };
        let list = protobuf::ListValue {
            values: vec![text("x".into()); 100_000],
        };
        let fields = (0..10_000).map(|n| (format!("key{n}"), text("\u{1b}[2J".repeat(1000))));
        let mut metadata: protobuf::Struct = protobuf::Struct {
            fields: fields.collect(),
        };
        let list = protobuf::Value {
            kind: Some(Kind::ListValue(list)),
        };
        metadata.fields.insert("a".into(), list);
        let node = core::Node {
            id: "x".repeat(70_000),
            cluster: "\u{1b}]0;title\u{7}".into(),
            metadata: Some(metadata),
            client_features: vec!["f".repeat(1000); 1000],
            ..Default::default()
        };
        let node = Node::from(node);
        assert_eq!(node.cluster, r"\u{1b}]0;title\u{7}");
        let kept = serde_json::to_string(&node).expect("JSON");
        assert!(kept.len() < 64 << 10, "{} bytes", kept.len());
        assert!(!kept.contains('\u{1b}'));
    }
}

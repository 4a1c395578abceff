//! The types of `/tombolo/v1`. The JSON names are a contract with scripts; they do not change.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The state of a control plane: how far every change has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The store behind this server.
    pub store: StoreStatus,
    /// The account of all resources, twelve digits.
    pub account: String,
    /// The region of callers that name none.
    pub region: String,
    /// Revision of the newest committed change.
    pub revision: u64,
    /// Revision up to which changes are compiled and offered to proxies.
    pub published_revision: u64,
    /// Whether every change is published and every connected proxy has acknowledged what it should hold.
    pub synced: bool,
    /// Every stream of a proxy: the connected ones in the order in which they came, then those that ended within
    /// the last hour, newest first.
    pub proxies: Vec<ProxyStatus>,
    /// Proxies that were turned away within the last hour because of who they are or are not, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// Parts of the configuration that cannot be done as asked, by workload.
    pub warnings: Vec<WorkloadWarnings>,
}

/// The store behind a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StoreStatus {
    /// `memory`, `redb` or `etcd`.
    pub kind: String,
    /// The etcd member that answers; absent elsewhere.
    #[serde(default)]
    pub member: Option<String>,
    /// Why nothing can be written now; absent when writes work.
    #[serde(default)]
    pub problem: Option<String>,
}

/// One stream of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProxyStatus {
    /// Number of the stream, unique in this process.
    pub stream: u64,
    /// The proxy's own description. It is not verified.
    pub node: Node,
    /// Address and port that the stream came from.
    #[serde(default)]
    pub peer: Option<String>,
    /// `delta` or `sotw` (state of the world).
    #[serde(default)]
    pub protocol: String,
    /// Whether the stream is open.
    pub connected: bool,
    /// When the stream was opened, in milliseconds since 1970.
    #[serde(default)]
    pub connected_since_ms: u64,
    /// When the stream ended, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnected_at_ms: Option<u64>,
    /// Newest revision of which everything that the proxy asked for was sent.
    #[serde(default)]
    pub revision_sent: u64,
    /// Newest revision of which the proxy accepted everything; it stays behind while the proxy rejects something.
    pub revision_acked: u64,
    /// Revision that the proxy should hold; absent when its workload is unknown.
    #[serde(default)]
    pub revision_wanted: Option<u64>,
    /// Progress by resource type: `cluster`, `endpoint`, `listener`, `route`, `secret`.
    pub kinds: BTreeMap<String, TypeStatus>,
}

/// Proxies of one name and address that were turned away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What the proxy called itself: for App Mesh the name of the resource.
    pub node: String,
    /// Address and port that it called from the last time.
    #[serde(default)]
    pub peer: Option<String>,
    /// `UNAUTHENTICATED`: it is not known who it is; `PERMISSION_DENIED`: it may not have what it asked for.
    pub code: String,
    /// What it was told.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// The last time, in milliseconds since 1970.
    pub at_ms: u64,
}

/// A proxy's description of itself in the first request of a stream (Envoy's `Node`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Node {
    /// For App Mesh the name of the resource: `mesh/M/virtualNode/N`.
    pub id: String,
    /// Service cluster.
    pub cluster: String,
    /// Free-form metadata; the local runtime sets `tombolo.io/pod` and `tombolo.io/cluster`.
    pub metadata: Map<String, Value>,
    /// Location of the proxy.
    pub locality: Locality,
    /// Name of the program: `envoy`, `tombolo`.
    pub user_agent: String,
    /// Version of the program.
    pub user_agent_version: String,
    /// Client features that the proxy announces.
    pub features: Vec<String>,
}

/// Region, zone and sub-zone of a proxy; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone within the region.
    pub zone: String,
    /// Part of the zone.
    pub sub_zone: String,
}

/// Progress of a proxy with one resource type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TypeStatus {
    /// Resources that the proxy was sent and should hold.
    pub resources: usize,
    /// Revision of the last response.
    pub revision_sent: u64,
    /// Revision of the last response that was accepted; 0 if none was.
    pub revision_acked: u64,
    /// The last rejection. It stays after a later response was accepted: compare the revisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nack: Option<Nack>,
}

/// A rejection by a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Nack {
    /// The proxy's message, shortened.
    pub reason: String,
    /// Time in milliseconds since 1970.
    pub at_ms: u64,
    /// Revision of the rejected response.
    pub revision: u64,
    /// Resources that the proxy names, at most 20.
    pub names: Vec<String>,
}

/// Warnings of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkloadWarnings {
    /// The workload: `mesh/M/virtualNode/N` or `mesh/M/virtualGateway/N`.
    pub workload: String,
    /// Parts of the configuration that cannot be done as asked.
    pub warnings: Vec<Warning>,
}

/// A part of the configuration that cannot be done as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Warning {
    /// The object: `mesh/M/virtualNode/N`.
    pub object: String,
    /// The part that is left out, and the reason.
    pub message: String,
}

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Imported {
    /// Revision of the imported state.
    pub revision: u64,
}

/// The body of every error of this API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// The error code, for programs; also in the header `x-amzn-errortype`. `AccessDeniedException` and the other
    /// codes of AWS for rejected callers, `UnknownOperationException` for a path or method that is not served,
    /// `ValidationException` for invalid input, `ConflictException` for a state that would be lost,
    /// `ServiceUnavailableException` while the store cannot be written.
    pub code: String,
    /// The error message, for people.
    pub message: String,
    /// The invalid lines of an import, each as `LINE: MESSAGE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Synchronization state of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// It holds everything that it should.
    Synced,
    /// An acknowledgement is outstanding.
    Pending,
    /// It rejected a response and has accepted none since.
    Rejected,
    /// The stream has ended.
    Disconnected,
}

impl SyncState {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Disconnected => "disconnected",
        }
    }
}

impl ProxyStatus {
    /// The synchronization state.
    pub fn sync_state(&self) -> SyncState {
        let rejects = |status: &TypeStatus| {
            let nack = status.nack.as_ref();
            nack.is_some_and(|nack| status.revision_acked < nack.revision)
        };
        if !self.connected {
            SyncState::Disconnected
        } else if self.kinds.values().any(rejects) {
            SyncState::Rejected
        } else if (self.revision_wanted).is_none_or(|wanted| self.revision_acked >= wanted) {
            SyncState::Synced
        } else {
            SyncState::Pending
        }
    }

    /// The newest rejection, with its resource type.
    pub fn last_nack(&self) -> Option<(&str, &Nack)> {
        let nacks = self.kinds.iter();
        let nacks = nacks.filter_map(|(kind, status)| Some((kind.as_str(), status.nack.as_ref()?)));
        nacks.max_by_key(|(_, nack)| nack.at_ms)
    }

    /// The pod according to the proxy's metadata, else the address that it connects from, else `-`.
    pub fn name(&self) -> &str {
        let pod = self.node.metadata_str("tombolo.io/pod");
        pod.or(self.peer.as_deref()).unwrap_or("-")
    }
}

impl Node {
    /// A metadata entry, if it is there and a non-empty string.
    pub fn metadata_str(&self, key: &str) -> Option<&str> {
        self.metadata
            .get(key)?
            .as_str()
            .filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(acked: u64, nacked: Option<u64>, connected: bool) -> ProxyStatus {
        let nack = nacked.map(|revision| Nack {
            revision,
            ..Nack::default()
        });
        let status = TypeStatus {
            revision_acked: acked,
            nack,
            ..TypeStatus::default()
        };
        ProxyStatus {
            connected,
            revision_acked: acked,
            revision_wanted: Some(5),
            kinds: BTreeMap::from([("route".into(), status)]),
            ..ProxyStatus::default()
        }
    }

    #[test]
    fn a_proxy_is_synced_pending_rejected_or_disconnected() {
        assert_eq!(proxy(5, None, true).sync_state(), SyncState::Synced);
        assert_eq!(proxy(4, None, true).sync_state(), SyncState::Pending);
        assert_eq!(proxy(4, Some(5), true).sync_state(), SyncState::Rejected);
        assert_eq!(
            proxy(5, Some(4), true).sync_state(),
            SyncState::Synced,
            "accepted since"
        );
        assert_eq!(proxy(5, None, false).sync_state(), SyncState::Disconnected);
    }
}

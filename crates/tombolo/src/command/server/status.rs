//! Computes the answer of `/tombolo/v1/status`.

use tombolo_model::Scope;
use tombolo_operator::{
    Locality, Nack, Node, ProxyStatus, Refusal, Status, StoreStatus, TypeStatus, Warning,
    WorkloadWarnings,
};
use tombolo_plan::Publisher;
use tombolo_store::Store;
use tombolo_xds::{
    Kind,
    server::{connected_proxies, session::Protocol},
};

/// The parts of the server that hold its state.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) store: Store,
    pub(super) publisher: Publisher,
    pub(super) proxies: tombolo_xds::ConnectedProxies,
    pub(super) scope: Scope,
}

impl Sources {
    pub(super) fn status(&self) -> Status {
        let revision = self.store.view().revision;
        let published_revision = *self.publisher.processed().borrow();
        let proxies = self.proxies.proxies().into_iter();
        let proxies: Vec<ProxyStatus> = proxies.map(|proxy| self.proxy(proxy)).collect();
        let holds_all = |proxy: &ProxyStatus| {
            let wanted = proxy.revision_wanted;
            !proxy.connected || wanted.is_none_or(|wanted| proxy.revision_acked >= wanted)
        };
        let condition = self.store.condition();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: StoreStatus {
                kind: condition.kind.to_string(),
                member: condition.member.clone(),
                problem: condition.problem.clone(),
            },
            account: self.scope.account.to_string(),
            region: self.scope.region.to_string(),
            revision,
            published_revision,
            synced: published_revision >= revision && proxies.iter().all(holds_all),
            proxies,
            refusals: self.proxies.refusals().into_iter().map(refusal).collect(),
            warnings: self.warnings(),
        }
    }

    fn warnings(&self) -> Vec<WorkloadWarnings> {
        let warnings = self.publisher.warnings().into_iter();
        let of_workload =
            |(workload, warnings): (tombolo_plan::Workload, Vec<_>)| WorkloadWarnings {
                workload: workload.key.to_string(),
                warnings: (warnings.into_iter())
                    .map(|warning: tombolo_plan::plan::Warning| Warning {
                        object: warning.object,
                        message: warning.message,
                    })
                    .collect(),
            };
        warnings.map(of_workload).collect()
    }

    fn proxy(&self, proxy: connected_proxies::Proxy) -> ProxyStatus {
        let revision_wanted = self.publisher.wanted_revision(&proxy.node);
        let kinds = proxy.kinds.into_iter();
        ProxyStatus {
            stream: proxy.stream,
            node: node(proxy.node),
            peer: proxy.peer.map(|peer| peer.to_string()),
            protocol: protocol(proxy.protocol).to_owned(),
            connected: proxy.connected,
            connected_since_ms: proxy.connected_since_ms,
            disconnected_at_ms: proxy.disconnected_at_ms,
            revision_sent: proxy.revision_sent,
            revision_acked: proxy.revision_acked,
            revision_wanted,
            kinds: kinds
                .map(|(kind, it)| (resource_type(kind).to_owned(), progress(it)))
                .collect(),
        }
    }
}

fn refusal(refusal: tombolo_xds::server::Refusal) -> Refusal {
    Refusal {
        node: refusal.node_id,
        peer: refusal.peer.map(|peer| peer.to_string()),
        code: if refusal.is_known {
            "PERMISSION_DENIED"
        } else {
            "UNAUTHENTICATED"
        }
        .to_owned(),
        reason: refusal.reason,
        count: refusal.count,
        at_ms: refusal.at_ms,
    }
}

fn node(node: tombolo_xds::Node) -> Node {
    Node {
        id: node.id,
        cluster: node.cluster,
        metadata: node.metadata,
        locality: Locality {
            region: node.locality.region,
            zone: node.locality.zone,
            sub_zone: node.locality.sub_zone,
        },
        user_agent: node.user_agent,
        user_agent_version: node.user_agent_version,
        features: node.features,
    }
}

fn progress(progress: connected_proxies::Progress) -> TypeStatus {
    TypeStatus {
        resources: progress.resources,
        revision_sent: progress.revision_sent,
        revision_acked: progress.revision_acked,
        nack: progress.nack.map(|nack| Nack {
            reason: nack.reason,
            at_ms: nack.at_ms,
            revision: nack.revision,
            names: nack.names.iter().map(ToString::to_string).collect(),
        }),
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Delta => "delta",
        Protocol::Sotw => "sotw",
    }
}

fn resource_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => "cluster",
        Kind::Endpoint => "endpoint",
        Kind::Listener => "listener",
        Kind::Route => "route",
        Kind::Secret => "secret",
    }
}

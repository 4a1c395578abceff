//! Configuration: Envoy resources compiled, off the request path, to an immutable [`Config`].
//!
//! Each resource is compiled once per version and shared by every later configuration; a resource that cannot be
//! compiled rejects only itself and leaves its previous version in force.
#![allow(
    deprecated,
    reason = "control planes still send fields that newer Envoys deprecate"
)]

pub(crate) mod access_log;
pub(crate) mod action;
mod address;
mod any;
pub(crate) mod cluster;
mod data_source;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod field;
pub(crate) mod format;
pub(crate) mod health_check;
pub(crate) mod http_connection_manager;
pub(crate) mod listener;
pub(crate) mod matcher;
pub(crate) mod mutation;
pub(crate) mod regex;
mod request_field;
pub(crate) mod retry;
pub(crate) mod route;
mod start_time;
pub(crate) mod string_matcher;
pub(crate) mod tcp_proxy;
mod weighted;

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::{
    cluster::v3, endpoint::v3 as endpoint_proto, listener::v3 as listener_proto,
    route::v3 as route_proto,
};
use tombolo_xds::{Kind, Resource, Snapshot};

use cluster::Cluster;
use endpoint::Assignment;
use error::{ConfigError, ConfigResult};
use listener::Listener;
use route::RouteTable;

type Named<T> = BTreeMap<Arc<str>, Entry<T>>;

/// One compiled resource and the version it came from.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) version: Arc<str>,
    pub(crate) value: Arc<T>,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            version: self.version.clone(),
            value: self.value.clone(),
        }
    }
}

/// All adopted resources, compiled. Immutable; a change makes a new one that shares unchanged resources.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub(crate) revision: u64,
    pub(crate) clusters: Named<Cluster>,
    pub(crate) assignments: Named<Assignment>,
    pub(crate) listeners: Named<Listener>,
    pub(crate) routes: Named<RouteTable>,
}

/// A resource that was refused, and why.
#[derive(Debug, Clone)]
pub(crate) struct RejectedResource {
    pub(crate) kind: Kind,
    pub(crate) name: Arc<str>,
    pub(crate) rejection: ConfigError,
}

impl Config {
    /// Compiles a snapshot on top of `self`, the current configuration.
    pub(crate) fn adopt(&self, snapshot: &Snapshot) -> (Self, Vec<RejectedResource>) {
        let mut rejected = Vec::new();
        let mut next = Self {
            revision: snapshot.revision(),
            ..Self::default()
        };
        next.clusters = compile_kind(
            snapshot,
            Kind::Cluster,
            &self.clusters,
            &mut rejected,
            |resource, _| {
                let compiled = cluster::compile(&decode::<v3::Cluster>(resource)?)?;
                named(resource, &compiled.name)?;
                Ok(compiled)
            },
        );
        next.assignments = compile_kind(
            snapshot,
            Kind::Endpoint,
            &self.assignments,
            &mut rejected,
            |resource, _| {
                endpoint::compile(&decode::<endpoint_proto::ClusterLoadAssignment>(resource)?)
            },
        );
        next.listeners = compile_kind(
            snapshot,
            Kind::Listener,
            &self.listeners,
            &mut rejected,
            |resource, old| {
                let mut compiled =
                    listener::compile(&decode::<listener_proto::Listener>(resource)?, old)?;
                if compiled.name.is_empty() {
                    compiled.name = resource.name().clone();
                }
                named(resource, &compiled.name)?;
                Ok(compiled)
            },
        );
        next.routes = compile_kind(
            snapshot,
            Kind::Route,
            &self.routes,
            &mut rejected,
            |resource, _| {
                let compiled =
                    route::compile(&decode::<route_proto::RouteConfiguration>(resource)?)?;
                named(resource, &compiled.name)?;
                Ok(compiled)
            },
        );
        for resource in snapshot.resources(Kind::Secret).values() {
            rejected.push(RejectedResource {
                kind: Kind::Secret,
                name: resource.name().clone(),
                rejection: ConfigError::new(
                    "",
                    "secrets are not supported: this proxy speaks plaintext only",
                ),
            });
        }
        (next, rejected)
    }

    /// The endpoints that a cluster's resources name, before any DNS lookup.
    pub(crate) fn assignment<'a>(&'a self, cluster: &'a Cluster) -> Option<&'a Arc<Assignment>> {
        match &cluster.discovery {
            cluster::Discovery::Eds(service) => {
                self.assignments.get(service).map(|entry| &entry.value)
            }
            cluster::Discovery::Static(assignment) => Some(assignment),
            cluster::Discovery::StrictDns(dns) | cluster::Discovery::LogicalDns(dns) => {
                Some(&dns.names)
            }
            cluster::Discovery::OriginalDst { .. } => None,
        }
    }
}

fn decode<M: prost::Message + Default>(resource: &Resource) -> ConfigResult<M> {
    any::decode(resource.body())
}

/// A resource with different names in its body and its envelope would be looked up under the wrong one.
fn named(resource: &Resource, name: &str) -> ConfigResult<()> {
    if resource.name().as_ref() == name {
        Ok(())
    } else {
        Err(ConfigError::new(
            "name",
            format!(
                "{name:?} differs from the resource's name {:?}",
                resource.name()
            ),
        ))
    }
}

fn compile_kind<T>(
    snapshot: &Snapshot,
    kind: Kind,
    previous: &Named<T>,
    rejected: &mut Vec<RejectedResource>,
    compile: impl Fn(&Resource, Option<&T>) -> ConfigResult<T>,
) -> Named<T> {
    let mut next = Named::new();
    for (name, resource) in snapshot.resources(kind) {
        let old = previous.get(name);
        if let Some(old) = old
            && old.version == *resource.version()
        {
            next.insert(name.clone(), old.clone());
            continue;
        }
        match compile(resource, old.map(|entry| &*entry.value)) {
            Ok(value) => {
                next.insert(
                    name.clone(),
                    Entry {
                        version: resource.version().clone(),
                        value: Arc::new(value),
                    },
                );
            }
            Err(rejection) => {
                rejected.push(RejectedResource {
                    kind,
                    name: name.clone(),
                    rejection,
                });
                if let Some(old) = old {
                    next.insert(name.clone(), old.clone());
                }
            }
        }
    }
    next
}

//! Objects of `appmesh.k8s.aws/v1beta1`, rewritten as `v1beta2` (facts/controller.md §1).
//!
//! The first version of the kinds named its mesh in each object, kept router and routes inside of the virtual service,
//! and did not say which pods a node is. What an object does not say is taken from the other documents, and a note
//! says what was assumed. Every object gets the name in the App Mesh API that it had, so that what exists there is
//! found again.
//!
//! Read first: [`convert`].

mod legacy;
mod pods;
mod route;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tombolo_document::{DecodeError, decode};

use crate::crd::API_VERSION;
use legacy::{Backend, Discovery, Listener, VirtualNodeSpec, VirtualServiceSpec};
use pods::Workloads;

/// The version that is rewritten.
pub const VERSION: &str = "appmesh.k8s.aws/v1beta1";

/// Documents in place of those that were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Converted {
    /// All documents: rewritten ones, and others as they were. Lists are taken apart.
    pub documents: Vec<Value>,
    /// What was assumed, and what somebody should look at; a sentence for each.
    pub notes: Vec<String>,
}

/// Why documents cannot be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// An object is not what the version has.
    #[error("{object}: not an object of {VERSION}")]
    Shape {
        /// Kind, namespace and name.
        object: String,
        /// The field.
        #[source]
        source: DecodeError,
    },
    /// The version has no such kind.
    #[error("{0}: {VERSION} has Mesh, VirtualNode and VirtualService")]
    Kind(String),
    /// A value that the newer version needs is not given.
    #[error("{object}: {field} is not given, and {API_VERSION} needs it")]
    Missing {
        /// Kind, namespace and name.
        object: String,
        /// Path of the field.
        field: String,
    },
    /// Two virtual services have different routes for one router.
    #[error(
        "{first} and {second} have different routes for the virtual router {router}; give each its own"
    )]
    Router {
        /// The router's name.
        router: String,
        /// Kind, namespace and name.
        first: String,
        /// Kind, namespace and name.
        second: String,
    },
}

/// What references by ARN are written with. Only the last part of such an ARN is read.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Twelve digits.
    pub account: &'a str,
    /// For example `us-west-2`.
    pub region: &'a str,
}

/// Rewrites every object of the version among the documents. Lists, as `kubectl get -o yaml` prints them, are taken
/// apart.
///
/// # Errors
/// The first object that cannot be rewritten.
pub fn convert(documents: Vec<Value>, owner: Owner<'_>) -> Result<Converted, ConvertError> {
    let documents: Vec<Value> = documents.into_iter().flat_map(items).collect();
    let input = Input::of(&documents, owner);
    let mut output = Output::default();
    for document in documents {
        if document["apiVersion"] != VERSION {
            output.converted.documents.push(document);
            continue;
        }
        let object = Identity::of(&document);
        match document["kind"].as_str() {
            Some("Mesh") => input.mesh(&object, &document, &mut output),
            Some("VirtualNode") => input.virtual_node(&object, &document, &mut output)?,
            Some("VirtualService") => input.virtual_service(&object, &document, &mut output)?,
            _ => return Err(ConvertError::Kind(object.to_string())),
        }
    }
    Ok(output.converted)
}

/// The items of a list, or the document itself.
fn items(mut document: Value) -> Vec<Value> {
    let is_list = document["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        _ => vec![document],
    }
}

/// Kind, namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    kind: String,
    namespace: String,
    name: String,
}

impl Identity {
    fn of(document: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &document["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        Self {
            kind: text(&document["kind"]),
            namespace: namespace.to_owned(),
            name: text(&metadata["name"]),
        }
    }

    /// The name that the older controller gave to something of this object's namespace.
    fn aws_name(&self, name: &str) -> String {
        format!("{name}-{}", self.namespace)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What the documents say together.
struct Input<'a> {
    owner: Owner<'a>,
    /// Namespaces whose objects name a mesh, by mesh.
    members: BTreeMap<String, BTreeSet<String>>,
    /// Namespace and name.
    nodes: BTreeSet<(String, String)>,
    /// Namespaces of virtual services, by name.
    services: BTreeMap<String, BTreeSet<String>>,
    workloads: Workloads,
}

#[derive(Default)]
struct Output {
    converted: Converted,
    /// Object and virtual service of each router that is written, by namespace and name.
    routers: BTreeMap<(String, String), (Value, String)>,
}

impl<'a> Input<'a> {
    fn of(documents: &[Value], owner: Owner<'a>) -> Self {
        let mut input = Self {
            owner,
            members: BTreeMap::new(),
            nodes: BTreeSet::new(),
            services: BTreeMap::new(),
            workloads: Workloads::of(documents),
        };
        for document in documents
            .iter()
            .filter(|document| document["apiVersion"] == VERSION)
        {
            let Identity {
                kind,
                namespace,
                name,
            } = Identity::of(document);
            if let Some(mesh) = document["spec"]["meshName"].as_str() {
                let members = input.members.entry(mesh.to_owned()).or_default();
                members.insert(namespace.clone());
            }
            match kind.as_str() {
                "VirtualNode" => {
                    input.nodes.insert((namespace, name));
                }
                "VirtualService" => {
                    input.services.entry(name).or_default().insert(namespace);
                }
                _ => {}
            }
        }
        input
    }

    fn mesh(&self, object: &Identity, document: &Value, output: &mut Output) {
        let selector = match self.members.get(&object.name) {
            Some(namespaces) => json!({"matchExpressions": [{
                "key": "kubernetes.io/metadata.name",
                "operator": "In",
                "values": namespaces,
            }]}),
            None => {
                output.note(format!(
                    "Mesh {name}: no object here names it; it takes in the namespaces with the label mesh: {name}",
                    name = object.name
                ));
                json!({"matchLabels": {"mesh": object.name}})
            }
        };
        let spec = json!({"awsName": object.name, "namespaceSelector": selector});
        output.push(written(document, spec));
    }

    fn virtual_node(
        &self,
        object: &Identity,
        document: &Value,
        output: &mut Output,
    ) -> Result<(), ConvertError> {
        let node: VirtualNodeSpec = spec_of(object, document, output)?;
        let selector = self
            .workloads
            .selector(object, &node, &mut output.converted.notes);
        let mut spec = Map::new();
        spec.insert("awsName".into(), object.aws_name(&object.name).into());
        spec.insert("podSelector".into(), json!({"matchLabels": selector}));
        if let Some(listeners) = node.listeners {
            spec.insert(
                "listeners".into(),
                listeners.into_iter().map(Listener::written).collect(),
            );
        }
        if let Some(discovery) = node.service_discovery {
            spec.insert("serviceDiscovery".into(), service_discovery(discovery));
        }
        if let Some(backends) = node.backends {
            let mesh = node.mesh_name.as_str();
            let backends = backends
                .iter()
                .map(|backend| self.backend(object, mesh, backend));
            spec.insert("backends".into(), backends.collect());
        }
        if let Some(logging) = node.logging {
            spec.insert("logging".into(), logging);
        }
        output.push(written(document, spec.into()));
        Ok(())
    }

    /// A backend was named by its virtual service's name in the mesh, wherever that lay.
    fn backend(&self, object: &Identity, mesh: &str, backend: &Backend) -> Value {
        let name = &backend.virtual_service.virtual_service_name;
        let namespaces = self.services.get(name);
        let namespace = namespaces.and_then(|namespaces| {
            let own = namespaces.get(&object.namespace);
            own.or_else(|| namespaces.first())
        });
        let service = match namespace {
            Some(namespace) if *namespace == object.namespace => {
                json!({"virtualServiceRef": {"name": name}})
            }
            Some(namespace) => {
                json!({"virtualServiceRef": {"name": name, "namespace": namespace}})
            }
            None => {
                let Owner { account, region } = self.owner;
                json!({"virtualServiceARN": format!(
                    "arn:aws:appmesh:{region}:{account}:mesh/{mesh}/virtualService/{name}"
                )})
            }
        };
        json!({"virtualService": service})
    }

    fn virtual_service(
        &self,
        object: &Identity,
        document: &Value,
        output: &mut Output,
    ) -> Result<(), ConvertError> {
        let service: VirtualServiceSpec = spec_of(object, document, output)?;
        let router = service.virtual_router.unwrap_or_default();
        let name = match router.name.trim() {
            "" => object.name.clone(),
            name => name.to_owned(),
        };
        let mut spec = Map::new();
        spec.insert("awsName".into(), object.aws_name(&name).into());
        if let Some(listeners) = router.listeners {
            spec.insert(
                "listeners".into(),
                listeners.into_iter().map(Listener::written).collect(),
            );
        }
        let routes = service.routes.into_iter().flatten();
        let routes = routes.map(|route| route::written(object, route, &self.nodes));
        spec.insert("routes".into(), routes.collect::<Result<_, _>>()?);
        let router = json!({
            "apiVersion": API_VERSION,
            "kind": "VirtualRouter",
            "metadata": {"name": name, "namespace": object.namespace},
            "spec": spec,
        });
        let key = (object.namespace.clone(), name.clone());
        match output.routers.get(&key) {
            Some((other, _)) if *other == router => {}
            Some((_, first)) => {
                return Err(ConvertError::Router {
                    router: name,
                    first: first.clone(),
                    second: object.to_string(),
                });
            }
            None => {
                output.push(router.clone());
                output.routers.insert(key, (router, object.to_string()));
            }
        }
        let provider = json!({"virtualRouter": {"virtualRouterRef": {"name": name}}});
        output.push(written(
            document,
            json!({"awsName": object.name, "provider": provider}),
        ));
        Ok(())
    }
}

impl Output {
    fn push(&mut self, document: Value) {
        self.converted.documents.push(document);
    }

    fn note(&mut self, note: String) {
        self.converted.notes.push(note);
    }
}

fn spec_of<T: serde::de::DeserializeOwned>(
    object: &Identity,
    document: &Value,
    output: &mut Output,
) -> Result<T, ConvertError> {
    let decoded = decode(&document["spec"]).map_err(|source| ConvertError::Shape {
        object: object.to_string(),
        source,
    })?;
    for field in decoded.unknown {
        output.note(format!(
            "{object}: spec.{field} is no field of {VERSION}; it is left out"
        ));
    }
    Ok(decoded.value)
}

/// The object with a new spec, and without what an API server wrote into it.
fn written(document: &Value, spec: Value) -> Value {
    let mut metadata = Map::new();
    for member in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = document["metadata"].get(member) {
            metadata.insert(member.to_owned(), value.clone());
        }
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": document["kind"],
        "metadata": metadata,
        "spec": spec,
    })
}

fn service_discovery(discovery: Discovery) -> Value {
    let mut written = Map::new();
    if let Some(cloud_map) = discovery.cloud_map {
        let mut members = json!({
            "namespaceName": cloud_map.namespace_name,
            "serviceName": cloud_map.service_name,
        });
        if let Some(attributes) = cloud_map.attributes {
            let attributes = attributes.iter();
            members["attributes"] = attributes
                .map(|(key, value)| json!({"key": key, "value": value}))
                .collect();
        }
        written.insert("awsCloudMap".to_owned(), members);
    }
    if let Some(dns) = discovery.dns {
        written.insert("dns".to_owned(), json!({"hostname": dns.host_name}));
    }
    written.into()
}

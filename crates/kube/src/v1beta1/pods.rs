//! Which pods a virtual node is. The older version asked the pod: the injector took the name of the pod's Deployment, or
//! an annotation, for the node's name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Identity;
use super::legacy::VirtualNodeSpec;

/// The annotation of a pod that names its virtual node.
const NODE: &str = "appmesh.k8s.aws/virtualNode";

type Labels = BTreeMap<String, String>;

/// The selectors of the workloads among the documents, by namespace and the name of their virtual node.
pub(super) struct Workloads(BTreeMap<(String, String), Labels>);

impl Workloads {
    pub(super) fn of(documents: &[Value]) -> Self {
        let mut workloads = BTreeMap::new();
        for document in documents {
            let template = &document["spec"]["template"];
            let labels = &document["spec"]["selector"]["matchLabels"];
            let Ok(labels) = serde_json::from_value::<Labels>(labels.clone()) else {
                continue;
            };
            let Identity {
                namespace, name, ..
            } = Identity::of(document);
            let annotated = template["metadata"]["annotations"][NODE].as_str();
            let node = annotated.map_or(name, str::to_owned);
            workloads.insert((namespace, node), labels);
        }
        Self(workloads)
    }

    /// The labels of a node's pods; a note says where they are from unless a workload says them.
    pub(super) fn selector(
        &self,
        object: &Identity,
        node: &VirtualNodeSpec,
        notes: &mut Vec<String>,
    ) -> Labels {
        let key = (object.namespace.clone(), object.name.clone());
        if let Some(labels) = self.0.get(&key) {
            return labels.clone();
        }
        let discovery = node.service_discovery.as_ref();
        let attributes = discovery
            .and_then(|discovery| discovery.cloud_map.as_ref()?.attributes.clone())
            .filter(|attributes| !attributes.is_empty());
        let (labels, from) = match attributes {
            Some(attributes) => (attributes, "the attributes of its discovery"),
            None => (
                Labels::from([("app".to_owned(), object.name.clone())]),
                "a guess",
            ),
        };
        notes.push(format!(
            "{object}: its podSelector is {from}, because no workload of its name is among the documents; look at it"
        ));
        labels
    }
}

//! The spec of a virtual router.

use super::{
    listener::PortMapping,
    problem::{Checked, Problem},
};
use serde::{Deserialize, Serialize};

/// A set of routes, reached on the ports of its listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualRouterSpec {
    /// The ports that clients call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<VirtualRouterListener>>,
}

/// A port that clients call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualRouterListener {
    /// The port.
    pub port_mapping: PortMapping,
}

impl VirtualRouterSpec {
    /// Its listeners; none when absent.
    pub fn listeners(&self) -> impl Iterator<Item = PortMapping> + '_ {
        self.listeners
            .iter()
            .flatten()
            .map(|listener| listener.port_mapping)
    }

    pub(crate) fn check(&self) -> Checked {
        let mut seen = Vec::new();
        for (i, mapping) in self.listeners().enumerate() {
            let at = format!("spec.listeners[{i}].portMapping");
            mapping.check(&at)?;
            if seen.contains(&mapping.port) {
                return Err(Problem::new(
                    format!("{at}.port"),
                    format!("{} is used by another listener", mapping.port),
                ));
            }
            seen.push(mapping.port);
        }
        Ok(())
    }
}

//! The spec of a virtual router.

use super::listener::{PortMapping, check_ports};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// A set of routes, reached on the ports of its listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualRouterSpec {
    /// Ports and protocols that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<VirtualRouterListener>>,
}

/// A port that clients call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualRouterListener {
    /// Port and protocol.
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
}

impl Validate for VirtualRouterSpec {
    fn validate(&self, validator: &mut Validator) {
        if validator.is_kubernetes() {
            validator.items("listeners", self.listeners.as_deref(), 1, usize::MAX);
        }
        let listeners = self.listeners.as_deref().unwrap_or_default();
        validator.each("listeners", listeners, |validator, listener| {
            validator.field("portMapping", &listener.port_mapping);
        });
        validator.within("listeners", |validator| {
            check_ports(validator, self.listeners().map(|mapping| mapping.port));
        });
    }
}

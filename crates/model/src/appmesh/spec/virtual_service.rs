//! The spec of a virtual service.

use super::problem::{Checked, text};
use serde::{Deserialize, Serialize};

/// Who answers for a name that applications call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualServiceSpec {
    /// Absent means that nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// One node.
    #[serde(rename_all = "camelCase")]
    VirtualNode {
        /// Its name; 1 to 255 characters.
        virtual_node_name: String,
    },
    /// The routes of a router.
    #[serde(rename_all = "camelCase")]
    VirtualRouter {
        /// Its name; 1 to 255 characters.
        virtual_router_name: String,
    },
}

impl VirtualServiceSpec {
    pub(crate) fn check(&self) -> Checked {
        match &self.provider {
            Some(Provider::VirtualNode {
                virtual_node_name: name,
            }) => text("spec.provider.virtualNode.virtualNodeName", name, 1..=255),
            Some(Provider::VirtualRouter {
                virtual_router_name: name,
            }) => text(
                "spec.provider.virtualRouter.virtualRouterName",
                name,
                1..=255,
            ),
            None => Ok(()),
        }
    }
}

//! The spec of a virtual router.

use super::{
    declare::spec,
    listener::{PortMapping, check_ports},
};
use crate::validation::{Validate, Validator};

spec! {
    /// A set of routes, reached on the ports of its listeners.
    #[derive(Default)]
    pub struct VirtualRouterSpec {
        /// Ports and protocols on which clients call.
        listeners: Option<Vec<VirtualRouterListener>>,
    }

    /// A port on which clients call.
    #[derive(Copy)]
    pub struct VirtualRouterListener: Validate {
        /// Port and protocol.
        port_mapping: PortMapping,
    }
}

impl VirtualRouterSpec {
    /// Port and protocol of each listener; none when absent.
    pub fn listeners(&self) -> impl Iterator<Item = PortMapping> + '_ {
        let listeners = self.listeners.iter().flatten();
        listeners.map(|listener| listener.port_mapping)
    }
}

impl Validate for VirtualRouterSpec {
    fn validate(&self, validator: &mut Validator) {
        if validator.is_kubernetes() {
            validator.items("listeners", self.listeners.as_deref(), 1, usize::MAX);
        }
        validator.field("listeners", &self.listeners);
        check_ports(validator, self.listeners().map(|mapping| mapping.port));
    }
}

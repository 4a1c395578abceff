//! The network between clusters: addresses, what may pass, and why something did not.

pub mod address;
pub mod diagnosis;
pub mod port_set;
pub mod rules;

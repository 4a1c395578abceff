//! The xDS protocol, both ends

//! Whole meshes over clusters on this machine, end to end: `tombolo up` as users run it, both with our own
//! sidecar and with a real Envoy.

mod change;
mod demo;
mod gateways;
mod load;
mod network;
mod refusals;
mod remains;
mod sample;
mod users;
mod walkthroughs;

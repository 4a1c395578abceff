//! Whole meshes over clusters on this machine, end to end: `tombolo up` as users run it, both with our own
//! sidecar and with a real Envoy.

mod change;
mod cleanup;
mod demo;
mod doctor;
mod gateways;
mod isolation;
mod load;
mod network;
mod refusals;
mod sample;
mod second_run;
mod users;
mod walkthroughs;

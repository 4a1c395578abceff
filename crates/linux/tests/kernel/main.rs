//! Tests of the kernel interface, in real namespaces: as root (if the tests run as root) and as an ordinary user.

mod container;
mod fabric;
mod intercept;
mod sandbox;
mod support;

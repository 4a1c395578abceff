//! Test kit for whole-mesh tests.

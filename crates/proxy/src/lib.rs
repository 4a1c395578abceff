//! The data plane: sidecar proxy driven by xDS

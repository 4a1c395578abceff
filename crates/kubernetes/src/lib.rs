//! The Kubernetes side of the mesh: what talks to an API server, and what an API server talks to.
//!
//! It decides nothing. What objects ask for is the reconcile core's business (`tombolo-controller`); what is admitted and
//! injected is that of `tombolo-kube`. Here is only the I/O between them and real clusters.

#![forbid(unsafe_code)]

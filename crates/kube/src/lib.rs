//! Kubernetes kinds: read, admit, convert, inject

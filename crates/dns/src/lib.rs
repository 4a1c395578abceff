//! Names answered from the registry and from clusters

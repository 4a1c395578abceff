//! Resources of the mesh and of the registry, as a control plane's APIs have them: reading documents about
//! them, finding them, comparing, writing, describing.

mod content;
mod id;
mod kind;

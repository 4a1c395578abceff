//! The color app: a front that asks for a color, and the colors that answer.
//!
//! It is the smallest thing that shows a mesh at work. `front` knows one name, `COLOR_HOST`; which of the
//! colors answers under that name, and in which cluster, is the mesh's decision. The manifests beside this
//! crate run it in two clusters (see `README.md`).
//!
//! What this crate deliberately is not: aware of the mesh. The programs speak plain HTTP and resolve names
//! with the system's resolver, as any program in a pod does.
//!
//! Read first: [`run`], then `front`.

#![forbid(unsafe_code)]

mod color;
mod front;
mod listen;
mod program;

pub use program::{Error, PROGRAMS, run};

/// The manifests of the sample, as in the files beside this crate.
#[derive(Clone, Copy, Debug)]
pub struct Manifests {
    /// The first cluster: the front, and a client to try it with.
    pub cluster1: &'static str,
    /// The second cluster: the colors, and the route to them.
    pub cluster2: &'static str,
    /// Which command stands for which image.
    pub images: &'static str,
}

/// The manifests of the sample.
pub fn manifests() -> Manifests {
    Manifests {
        cluster1: include_str!("../cluster1.yaml"),
        cluster2: include_str!("../cluster2.yaml"),
        images: include_str!("../images.yaml"),
    }
}

#[cfg(test)]
mod tests;

//! One service mesh across many clusters.
fn main() {}

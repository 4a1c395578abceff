//! The only reader and writer of YAML in the workspace.

mod read;
mod write;

pub use read::read;
pub use write::write;

#[cfg(test)]
mod tests;

//! The one reader and the one writer of YAML.

mod read;
mod write;

pub use read::read;
pub use write::write;

#[cfg(test)]
mod tests;

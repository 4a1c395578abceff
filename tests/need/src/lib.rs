//! Requirements of tests on the machine: programs, folders, privileges, clusters.
//!
//! A missing one is printed as `SKIPPED: …`, and the test returns; with `CI=true` the test fails, so that nothing is
//! skipped where nobody reads the output.
//!
//! Read first: [`variable`].

#![forbid(unsafe_code)]

mod kubernetes;

pub use kubernetes::{Cluster, Kubernetes, kubernetes};

use std::{env, path::PathBuf};

/// The file or directory in an environment variable; `None`, after a message, when the variable is unset.
///
/// # Panics
///
/// It is unset, and `CI` is `true`.
pub fn variable(name: &str) -> Option<PathBuf> {
    let path = env::var_os(name).filter(|value| !value.is_empty());
    if path.is_none() {
        skip(&format!("{name} is not set; `cargo xtask test` sets it"));
    }
    path.map(PathBuf::from)
}

/// The program in an environment variable, else the one of this name on the path; `None`, after a message, when there
/// is none.
///
/// # Panics
///
/// There is none, and `CI` is `true`.
pub fn program(name: &str, named_by: &str) -> Option<PathBuf> {
    let named = env::var_os(named_by).filter(|value| !value.is_empty());
    let found = named.map(PathBuf::from).or_else(|| on_path(name));
    if found.is_none() {
        skip(&format!(
            "there is no {name}; `cargo xtask test` installs it"
        ));
    }
    found
}

/// The program of this name on the path.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut files = env::split_paths(&path).map(|directory| directory.join(name));
    files.find(|file| file.is_file())
}

/// Prints the reason why a test is skipped.
///
/// # Panics
///
/// `CI` is `true`.
pub fn skip(why: &str) {
    println!("SKIPPED: {why}");
    let is_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "CI must not skip this test: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path_or_by_their_variable() {
        assert!(on_path("sh").is_some());
        assert_eq!(on_path("no-such-program"), None);
        assert!(program("sh", "NO_SUCH_VARIABLE").is_some());
    }
}

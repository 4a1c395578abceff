//! The shared libraries of a program.

use crate::process::Result;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The libraries that a program needs and the dynamic linker itself, where the linker finds them on this machine. None
/// for a program that is linked statically.
pub(super) fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    let output = ldd.arg(program).env("LC_ALL", "C").output();
    let output = output.map_err(|error| format!("ldd: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("not a dynamic executable") || told.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        return Err(format!("ldd {}: {}", program.display(), errors.trim()));
    }
    read(&told)
        .map_err(|missing| format!("{} needs {missing}, which is not there", program.display()))
}

/// The paths that ldd prints, or the library that is missing.
fn read(told: &str) -> std::result::Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for line in told.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place == "not found" {
            return Err(name.to_owned());
        }
        // The kernel's `linux-vdso.so.1` has no file.
        let place = place.split(" (0x").next().unwrap_or_default();
        if place.starts_with('/') {
            paths.push(place.into());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_as_ldd_prints_them() {
        let told = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f01)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f02)\n";
        let paths = [
            "/lib/x86_64-linux-gnu/libm.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(read(told), Ok(paths.map(PathBuf::from).into()));
        assert_eq!(read("\tlibz.so.1 => not found\n"), Err("libz.so.1".into()));
    }
}

//! Every kept input of every target, with the ordinary compiler.

use std::{
    fs, panic,
    path::{Path, PathBuf},
};
use tombolo_fuzz::TARGETS;

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    files
}

#[test]
fn everything_holds_for_every_kept_input() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        let kept = files(&root.join("corpus").join(target));
        assert!(!kept.is_empty(), "{target} has no corpus");
        for file in [kept, files(&root.join("findings").join(target))].concat() {
            let data = fs::read(&file).expect("a readable file");
            if panic::catch_unwind(|| run(&data)).is_err() {
                failed.push(file);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A target that is in one of the places only would never be run.
#[test]
fn every_target_has_a_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    named.sort_unstable();
    let programs = files(&root.join("targets"));
    let stems: Vec<&str> = programs
        .iter()
        .filter_map(|path| path.file_stem()?.to_str())
        .collect();
    assert_eq!(stems, named);
}

//! Fuzzing: `cargo xtask fuzz [TARGET…] [--seconds N]`.
//!
//! libFuzzer, built from source by the crate `libfuzzer-sys`, under the pinned compiler: its flags for coverage
//! instrumentation are stable ones, so that nothing has to be installed beside a C++ compiler
//! (docs/decisions/0008).

use crate::process::{self, Result, cargo, output, root};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// LLVM's instrumentation of every edge and comparison.
const INSTRUMENTED: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Default duration of each target, in seconds.
const SECONDS: u32 = 600;
/// Largest input, in bytes.
const LARGEST: usize = 8192;
/// Maximum bytes of a file that is kept in a corpus, and of all files of a corpus.
const KEPT: (u64, u64) = (4096, 100_000);

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let known = targets()?;
    let mut chosen = Vec::new();
    let mut seconds = SECONDS;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--seconds" {
            let number = words.next().and_then(|number| number.parse().ok());
            seconds = number.ok_or("--seconds needs a number")?;
        } else if known.iter().any(|target| target == word) {
            chosen.push((*word).to_owned());
        } else {
            return Err(format!(
                "unknown target: {word}; there are {}",
                known.join(", ")
            ));
        }
    }
    if chosen.is_empty() {
        chosen = known;
    }
    let host = host()?;
    let mut build = cargo();
    // With an explicit target, so that the coverage flags do not apply to build scripts and macros.
    build.args(["build", "--profile", "fuzz", "--target", &host]);
    build.args(["--package", "tombolo-fuzz", "--features", "libfuzzer"]);
    for target in &chosen {
        build.args(["--bin", &format!("fuzz-{target}")]);
    }
    process::run(build.env("RUSTFLAGS", INSTRUMENTED.join(" ")))?;
    for target in &chosen {
        fuzz(&host, target, seconds)?;
    }
    Ok(())
}

/// Runs one target: grows its working corpus, then keeps the smallest set of files with the same coverage.
fn fuzz(host: &str, target: &str, seconds: u32) -> Result<()> {
    let place = root().join("fuzz");
    let program = root().join(format!("target/{host}/fuzz/fuzz-{target}"));
    let kept = place.join("corpus").join(target);
    let findings = place.join("findings").join(target);
    let work = root().join("target/fuzz-corpus").join(target);
    for folder in [&kept, &findings, &work] {
        make(folder)?;
    }
    let mut run = Command::new(&program);
    run.current_dir(&place)
        .args([&work, &kept, &findings])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LARGEST}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .args(["-print_funcs=0", "-reload=0"]);
    let words = place.join(format!("dictionaries/{target}.dict"));
    if words.is_file() {
        run.arg(format!("-dict={}", words.display()));
    }
    process::run(&mut run).map_err(|error| {
        format!(
            "{error}\nthe input is in {}: mend what it shows, and keep it there; the test `corpus` runs it",
            findings.display()
        )
    })?;
    let merged = root().join(format!("target/fuzz-corpus/{target}-merged"));
    if merged.exists() {
        fs::remove_dir_all(&merged).map_err(|error| format!("{}: {error}", merged.display()))?;
    }
    make(&merged)?;
    for (_, seed) in files(&kept, |name| !is_learned(name))? {
        copy(&seed, &merged)?;
    }
    let mut merge = Command::new(&program);
    merge
        .current_dir(&place)
        // Edges alone: their counts would keep ten times as many files.
        .args(["-set_cover_merge=1", "-use_counters=0", "-verbosity=0"])
        .args([&merged, &kept, &work]);
    process::run(&mut merge)?;
    keep(&merged, &kept)
}

/// Replaces the generated files of a corpus, smallest first, as far as there is space. Seeds, which have names, stay.
fn keep(from: &Path, to: &Path) -> Result<()> {
    let (largest, most) = KEPT;
    for (_, path) in files(to, is_learned)? {
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let mut size: u64 = files(to, |_| true)?.iter().map(|(size, _)| size).sum();
    let (mut kept, mut left) = (0, 0);
    for (more, path) in files(from, is_learned)? {
        if more <= largest && size + more <= most {
            copy(&path, to)?;
            size += more;
            kept += 1;
        } else {
            left += 1;
        }
    }
    eprintln!(
        "{}: {kept} files kept, {left} left out, {size} bytes",
        to.display()
    );
    Ok(())
}

/// Whether a file name was generated by libFuzzer: the SHA-1 of the content.
fn is_learned(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let place = folder.join(file.file_name().expect("a file of a folder"));
    fs::copy(file, &place).map_err(|error| format!("{}: {error}", place.display()))?;
    Ok(())
}

/// The files of a folder whose names match, with their sizes, smallest first.
fn files(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Result<Vec<(u64, PathBuf)>> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(&is_meant) {
            files.push((entry.metadata().map_err(failed)?.len(), entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// The targets that have a program.
fn targets() -> Result<Vec<String>> {
    let programs = files(&root().join("fuzz/targets"), |name| name.ends_with(".rs"))?;
    let mut names: Vec<String> = programs
        .iter()
        .filter_map(|(_, path)| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// The target triple of this machine.
pub(crate) fn host() -> Result<String> {
    let told = output(Command::new("rustc").current_dir(root()).arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| format!("rustc does not say what it runs on:\n{told}"))
}

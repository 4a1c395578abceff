//! Running other programs, and finding the workspace.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

pub(crate) type Result<T> = std::result::Result<T, String>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    named.map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// Runs a program to its end and shows what it prints.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_known(command, |_| {})
}

/// Runs a program to its end and shows what it prints; `started` learns its process id.
pub(crate) fn run_known(command: &mut Command, started: impl FnOnce(u32)) -> Result<()> {
    let line = shown(command);
    eprintln!("$ {line}");
    let failed = |error: std::io::Error| format!("{line}: {error}");
    let mut child = command.spawn().map_err(failed)?;
    started(child.id());
    let status = child.wait().map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {status}"))
    }
}

/// Runs a program to its end and returns what it prints on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{line}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{line}: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{line}: {error}"))
}

/// Whether a program is on the path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Reads the words of a task; where they are not as declared, or ask for help, that is printed and the exit code given.
pub(crate) fn parse<T: clap::Parser>(
    task: &str,
    words: &[&str],
) -> std::result::Result<T, ExitCode> {
    let words = std::iter::once(task).chain(words.iter().copied());
    T::try_parse_from(words).map_err(|error| {
        // Where nothing can be printed, the exit code still tells.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Whether nobody looks: what is skipped is then a failure.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

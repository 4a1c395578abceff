//! A Helm repository of our charts: archives and an index, the same bytes each time.

use crate::process::{Result, output, root, run as run_program};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const CHARTS: &str = "deploy/helm";
const USAGE: &str = "usage: cargo xtask chart [--output DIR] [--server URL]";
/// The line of a chart's values that says where the control plane is.
const SERVER: &str = "\nserver:\n";
const NO_URL: &str = "\n  url: \"\"\n";

/// What was asked for.
struct Options {
    /// The folder of the repository.
    output: PathBuf,
    /// A control plane to write into the values, so that a plain `helm install` finds it.
    server: Option<String>,
}

/// Packages every chart and writes the index.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = options(words)?;
    let staged = options.output.join("staged");
    let io = |path: &Path, error| format!("{}: {error}", path.display());
    fs::remove_dir_all(&staged).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(io(&staged, error)),
    })?;
    fs::create_dir_all(&staged).map_err(|error| io(&staged, error))?;
    let charts = root().join(CHARTS);
    let mut entries = Map::new();
    for name in names(&charts)? {
        // With what symbolic links lead to: charts share templates.
        run_program(
            Command::new("cp")
                .args(["-rL"])
                .arg(charts.join(&name))
                .arg(&staged),
        )?;
        if let Some(server) = &options.server {
            set_server(&staged.join(&name).join("values.yaml"), server)?;
        }
        let about = fs::read_to_string(staged.join(&name).join("Chart.yaml"))
            .map_err(|error| io(&charts.join(&name), error))?;
        let version = field(&about, "version")?;
        let image = field(&about, "appVersion")?;
        if version != env!("CARGO_PKG_VERSION") || !image.ends_with(&version) {
            return Err(format!(
                "{name}: version {version} and appVersion {image} are not of {}",
                env!("CARGO_PKG_VERSION")
            ));
        }
        let archive = format!("{name}-{version}.tgz");
        package(&staged, &name, &options.output.join(&archive))?;
        let digest = digest(&options.output.join(&archive))?;
        entries.insert(name, json!([entry(&about, &archive, &digest)?]));
    }
    fs::remove_dir_all(&staged).map_err(|error| io(&staged, error))?;
    let index = json!({"apiVersion": "v1", "entries": entries});
    let path = options.output.join("index.yaml");
    // JSON is YAML.
    fs::write(&path, format!("{index:#}\n")).map_err(|error| io(&path, error))?;
    eprintln!(
        "a Helm repository of {} charts is in {}",
        entries.len(),
        options.output.display()
    );
    Ok(())
}

fn options(words: &[&str]) -> Result<Options> {
    let mut options = Options {
        output: root().join("target/charts"),
        server: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match *word {
            "--output" => options.output = value.into(),
            "--server" => options.server = Some((*value).to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

/// The folders with a chart, sorted.
fn names(charts: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(charts).map_err(|error| format!("{CHARTS}: {error}"))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| charts.join(name).join("Chart.yaml").is_file())
        .collect();
    names.sort();
    Ok(names)
}

/// Writes the address of the control plane into the values, if the chart has one.
fn set_server(values: &Path, server: &str) -> Result<()> {
    let text = fs::read_to_string(values).map_err(|error| format!("values: {error}"))?;
    let Some((before, block)) = text.split_once(SERVER) else {
        return Ok(());
    };
    let (comments, after) = block
        .split_once(NO_URL)
        .ok_or_else(|| format!("{}: no empty server.url", values.display()))?;
    let text = format!("{before}{SERVER}{comments}\n  url: {server:?}\n{after}");
    fs::write(values, text).map_err(|error| format!("values: {error}"))
}

fn package(staged: &Path, name: &str, archive: &Path) -> Result<()> {
    let tar = archive.with_extension("tar");
    run_program(
        Command::new("tar")
            .args([
                "--sort=name",
                "--mtime=@0",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
            ])
            .args(["--mode=u=rwX,go=rX", "--format=ustar", "-C"])
            .arg(staged)
            .arg("-cf")
            .arg(&tar)
            .arg(name),
    )?;
    // Without name and time.
    let packed = Command::new("gzip").arg("-9nc").arg(&tar).output();
    let packed = packed.map_err(|error| format!("gzip: {error}"))?;
    if !packed.status.success() {
        return Err(format!("gzip: {}", packed.status));
    }
    fs::write(archive, packed.stdout).map_err(|error| format!("{}: {error}", archive.display()))?;
    fs::remove_file(&tar).map_err(|error| format!("{}: {error}", tar.display()))
}

fn digest(archive: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg(archive))?;
    let digest = line.split_whitespace().next();
    Ok(digest.ok_or("sha256sum prints nothing")?.to_owned())
}

/// What the index says of a chart.
fn entry(about: &str, archive: &str, digest: &str) -> Result<Value> {
    let mut entry = Map::new();
    for name in [
        "apiVersion",
        "name",
        "version",
        "appVersion",
        "kubeVersion",
        "description",
        "type",
    ] {
        entry.insert(name.to_owned(), field(about, name)?.into());
    }
    entry.insert("urls".to_owned(), json!([archive]));
    entry.insert("digest".to_owned(), digest.into());
    Ok(Value::Object(entry))
}

/// A field of `Chart.yaml` on a line of its own.
fn field(about: &str, name: &str) -> Result<String> {
    let value = about
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let value = value.ok_or_else(|| format!("Chart.yaml: no {name}"))?;
    Ok(value.trim_matches('"').to_owned())
}

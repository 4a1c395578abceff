//! `tombolo apply`: creating and changing objects of running clusters, and resources of a control plane.
//! `tombolo diff`: what that would change.

use super::{
    output::{Report, put, put_data},
    resource::{self, Api},
    run::Run,
};
use std::path::{Path, PathBuf};
use tombolo_kube::manifest::{self, Strictness};
use tombolo_local::{
    control::{self, ApplyReply, Outcome},
    up::Source,
};

/// Create or change objects of a cluster, or resources of a control plane, from files.
///
/// Kubernetes manifests go to a cluster of a running `tombolo up`, all of them or none. Documents of mesh and
/// registry resources, as `tombolo get -o yaml` prints them, go to its control plane, or to the one that --api
/// names.
#[derive(clap::Args)]
#[command(after_help = "\
Files hold Kubernetes manifests, or resources of the App Mesh and Cloud Map APIs:

  apiVersion: appmesh/2019-01-25        Mesh, VirtualNode, VirtualRouter, Route, VirtualService,
  kind: VirtualNode                     VirtualGateway, GatewayRoute
  metadata: {name: front, mesh: shop, tags: {team: blue}}
  spec: {listeners: [{portMapping: {port: 8080, protocol: http}}]}
  ---
  apiVersion: servicediscovery/2017-03-14     Namespace, Service, Instance
  kind: Service
  metadata: {name: front, namespace: shop.local}
  spec: {DnsConfig: {DnsRecords: [{Type: A, TTL: 5}]}}

Inputs and outputs of `aws appmesh` (JSON with meshName, virtualNodeName …) are understood too, and
without a cluster also manifests of appmesh.k8s.aws/v1beta2: they become the resources that the
controller makes of them.

Everything is read and tried before anything is sent. With --dry-run a diff is shown for resources;
`tombolo diff` shows the same and tells by its exit code whether there is a difference.

Examples:
  tombolo apply -f color.yaml --cluster cluster2
  tombolo apply -f manifests/ --cluster cluster2 --dry-run
  tombolo apply -f mesh.yaml --api http://127.0.0.1:8490 --dry-run
  tombolo get all --mesh shop -o yaml | sed s/v1/v2/ | tombolo apply -f -")]
pub(crate) struct Apply {
    #[command(flatten)]
    files: Files,
    /// The cluster; may be left out where there is only one.
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

/// Show what `tombolo apply` would change on a control plane.
///
/// The exit code is 0 without differences, 1 with some, and 2 when that cannot be told.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo diff -f mesh.yaml
  tombolo diff -f mesh.yaml -o json")]
pub(crate) struct Diff {
    #[command(flatten)]
    files: Files,
}

#[derive(clap::Args)]
struct Files {
    /// A file, a directory of files, or - for standard input. Give it again for more.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// The Kubernetes namespace of objects that name none; `default` where absent.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    api: Api,
    /// What happens to fields of Kubernetes manifests that are not known.
    #[arg(long, value_enum, default_value_t = Validate::Strict)]
    validate: Validate,
    /// How: a line for each object or a diff, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    output: Report,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Validate {
    Strict,
    Warn,
    Ignore,
}

impl Diff {
    pub(crate) fn run(self) -> Result<i32, String> {
        let files = self.files;
        let is_different = read(&files.files).and_then(|sources| files.to_resources(sources, true));
        // As `kubectl diff` ends.
        Ok(match is_different {
            Ok(is_different) => i32::from(is_different),
            Err(message) => {
                eprintln!("error: {message}");
                2
            }
        })
    }
}

impl Files {
    /// Applies to a control plane, or tells what that would do. Answers whether anything is different.
    fn to_resources(&self, sources: Vec<Source>, is_dry: bool) -> Result<bool, String> {
        let mut options = manifest::Options {
            strictness: match self.validate {
                Validate::Strict => Strictness::Strict,
                Validate::Warn => Strictness::Warn,
                Validate::Ignore => Strictness::Ignore,
            },
            ..manifest::Options::default()
        };
        if let Some(namespace) = &self.namespace {
            namespace.clone_into(&mut options.namespace);
        }
        let sources = resource::sources(sources);
        super::runtime()?.block_on(resource::apply(
            &self.api,
            &self.run,
            &sources,
            &options,
            is_dry,
            self.output,
        ))
    }
}

impl Apply {
    pub(crate) fn run(self) -> Result<i32, String> {
        let sources = read(&self.files.files)?;
        let is_for_clusters = self.cluster.is_some()
            || !self.files.api.is_meant(&self.files.run)
                && resource::are_manifests(&resource::sources(sources.clone()));
        if !is_for_clusters {
            let applied = self.files.to_resources(sources, self.dry_run);
            return applied.map(|_| 0);
        }
        let request = control::Apply {
            cluster: self.cluster.clone(),
            sources,
            validate: Some(
                match self.files.validate {
                    Validate::Strict => "strict",
                    Validate::Warn => "warn",
                    Validate::Ignore => "ignore",
                }
                .into(),
            ),
            namespace: self.files.namespace.clone(),
            dry_run: self.dry_run,
        };
        let client = self.files.run.client()?;
        let call = async {
            client
                .apply(&request)
                .await
                .map_err(|error| error.to_string())
        };
        let reply = super::runtime()?.block_on(call)?;
        for warning in &reply.warnings {
            eprintln!("warning: {warning}");
        }
        if reply.applied.is_empty() {
            return Err("there is no object in these files".into());
        }
        self.show(&reply)?;
        Ok(0)
    }

    fn show(&self, reply: &ApplyReply) -> Result<(), String> {
        if let Some(form) = self.files.output.data() {
            let json = serde_json::to_value(reply).map_err(|error| error.to_string())?;
            return put_data(form, &json);
        }
        let dry_run = if self.dry_run { " (dry run)" } else { "" };
        let lines = reply.applied.iter().map(|applied| {
            let outcome = match applied.outcome {
                Outcome::Created => "created",
                Outcome::Configured => "configured",
                Outcome::Unchanged => "unchanged",
                Outcome::Ignored => "ignored: objects of this kind are not run here",
            };
            format!("{} {outcome}{dry_run}\n", applied.object)
        });
        put(lines.collect::<String>())
    }
}

/// Manifests of files and directories.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Source>, String> {
    let standard_inputs = files.iter().filter(|file| *file == Path::new("-"));
    if standard_inputs.count() > 1 {
        return Err("-f - is given twice, but there is only one standard input".into());
    }
    let mut sources = Vec::new();
    for file in files {
        sources.extend(Source::read(file).map_err(|error| error.to_string())?);
    }
    Ok(sources)
}

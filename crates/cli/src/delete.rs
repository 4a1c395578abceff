//! `tombolo delete`: removing objects of running clusters, and resources of a control plane.

use super::{
    apply::read,
    output::{Report, put},
    resource::{self, Api, Containers, DeleteOptions, Question},
    run::{Found, Where, text},
    target,
};
use std::path::PathBuf;
use tombolo_local::{control, up::Source};

/// Delete objects of running clusters, or resources of a control plane.
#[derive(clap::Args)]
#[command(after_help = "\
Resources of a control plane go in an order in which nothing is needed any more when it goes, and
what is not there is found out before anything goes. Which kinds mean which: `tombolo get --help`.

Examples:
  tombolo delete pod front-7d7bc9458f-g2hnx -n color
  tombolo delete deployment/front service/front -n color
  tombolo delete pods -l app=front -n color
  tombolo delete -f cluster2.yaml --cluster cluster2
  tombolo delete route shop/front/canary --api http://127.0.0.1:8490
  tombolo delete all --all --mesh shop --dry-run
  tombolo delete -f shop.yaml --ignore-not-found")]
pub(crate) struct Delete {
    /// What: a kind, or KIND/NAME.
    #[arg(required_unless_present = "files")]
    kind: Option<String>,
    /// Which: one name or several.
    names: Vec<String>,
    /// All objects of these manifests.
    #[arg(short = 'f', long = "filename", value_name = "PATH", conflicts_with_all = ["kind", "names", "selector", "all"])]
    files: Vec<PathBuf>,
    /// All objects of the kind with these labels.
    #[arg(short = 'l', long, conflicts_with_all = ["names", "all"])]
    selector: Option<String>,
    /// All objects of the kind.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Objects that are not there are no error.
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    api: Api,
    #[command(flatten)]
    containers: Containers,
    /// Only say what would go; for resources of a control plane.
    #[arg(long)]
    dry_run: bool,
    /// How: a line for each object, JSON or YAML; the latter two for resources of a control plane.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    output: Report,
    /// Seconds between asking a pod's processes to end and killing them; 0 kills at once.
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<i64>,
}

impl Delete {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let sources = read(&self.files)?;
            if self.is_of_resources(&sources) {
                return self.resources(sources).await;
            }
            if self.dry_run || self.output.data().is_some() {
                return Err("--dry-run and --output are for resources of a control plane".into());
            }
            let calls = self.calls(sources).await?;
            let client = self.place.client()?;
            let mut is_any = false;
            for call in &calls {
                let deleted = client
                    .delete(call)
                    .await
                    .map_err(|error| error.to_string())?;
                for object in deleted {
                    is_any = true;
                    put(format_args!("{object} deleted\n"))?;
                }
            }
            if !is_any && !self.ignore_not_found {
                return Err("nothing of this is there".into());
            }
            Ok(0)
        })
    }

    fn is_of_resources(&self, sources: &[Source]) -> bool {
        if self.kind.as_deref().is_some_and(resource::is_only_here) || self.containers.is_any() {
            return true;
        }
        let sources = resource::sources(sources.to_vec());
        self.place.cluster.is_none()
            && (self.api.is_meant(&self.place.run) || !resource::are_manifests(&sources))
    }

    async fn resources(&self, sources: Vec<Source>) -> Result<i32, String> {
        if self.selector.is_some() {
            return Err("--selector is for objects of clusters, which have labels".into());
        }
        let options = DeleteOptions {
            is_dry: self.dry_run,
            ignore_not_found: self.ignore_not_found,
            report: self.output,
        };
        let namespace = self.place.namespace.as_deref();
        let Some(kind) = self.kind.as_deref() else {
            let sources = resource::sources(sources);
            let run = &self.place.run;
            return resource::delete_files(&self.api, run, &sources, namespace, &options).await;
        };
        let question = Question {
            api: &self.api,
            run: &self.place.run,
            containers: &self.containers,
            namespace,
            kind,
            names: &self.names,
        };
        question.delete(self.all, &options).await
    }

    /// What is to be deleted, found before anything is: one call for each object, or one for all manifests.
    async fn calls(&self, sources: Vec<Source>) -> Result<Vec<control::Delete>, String> {
        let Some(kind) = self.kind.as_deref() else {
            return Ok(vec![control::Delete {
                cluster: self.place.cluster.clone(),
                namespace: self.place.namespace.clone(),
                sources,
                grace_seconds: self.grace_period,
                ..control::Delete::default()
            }]);
        };
        if self.all || self.selector.is_some() {
            return self.chosen(kind).await;
        }
        let mut calls = Vec::new();
        for target in target::read(kind, &self.names)? {
            let Some(name) = target.name else {
                return Err(
                    "name what to delete, or choose by labels with -l, or everything with --all"
                        .into(),
                );
            };
            match self.place.look(&target.kind, &name).await? {
                Some(found) => calls.push(self.call(target.kind, found)),
                None if self.ignore_not_found => {}
                None => return Err(format!("{} \"{name}\" not found", target.kind)),
            }
        }
        Ok(calls)
    }

    /// Everything of a kind, or what has certain labels. It must be in one place: a command that is meant for
    /// one namespace shall not empty others.
    async fn chosen(&self, kind: &str) -> Result<Vec<control::Delete>, String> {
        let listed = self.place.list(kind, None, self.selector.as_deref());
        let mut calls = Vec::new();
        let mut places: Vec<String> = Vec::new();
        for cluster in listed.await? {
            for item in &cluster.items {
                let found = Found {
                    cluster: cluster.cluster.clone(),
                    namespace: text(item, "/metadata/namespace"),
                    name: text(item, "/metadata/name"),
                };
                if !places.contains(&found.place()) {
                    places.push(found.place());
                }
                calls.push(self.call(text(item, "/kind"), found));
            }
        }
        if places.len() > 1 {
            return Err(format!(
                "there are some in several places ({}): choose by --cluster and -n",
                places.join(", ")
            ));
        }
        Ok(calls)
    }

    fn call(&self, kind: String, found: Found) -> control::Delete {
        control::Delete {
            kind,
            cluster: Some(found.cluster),
            namespace: Some(found.namespace).filter(|namespace| !namespace.is_empty()),
            name: Some(found.name),
            grace_seconds: self.grace_period,
            ..control::Delete::default()
        }
    }
}

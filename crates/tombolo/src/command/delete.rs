//! `tombolo delete`: removing objects of running clusters.

use super::{
    apply::read,
    output::put,
    run::{Found, Where, text},
    target,
};
use std::path::PathBuf;
use tombolo_local::control;

/// Delete objects of running clusters.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo delete pod front-7d7bc9458f-g2hnx -n color
  tombolo delete deployment/front service/front -n color
  tombolo delete pods -l app=front -n color
  tombolo delete -f cluster2.yaml --cluster cluster2")]
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
    /// Seconds between asking a pod's processes to end and killing them; 0 kills at once.
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<i64>,
}

impl Delete {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let calls = self.calls().await?;
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

    /// What is to be deleted, found before anything is: one call for each object, or one for all manifests.
    async fn calls(&self) -> Result<Vec<control::Delete>, String> {
        let Some(kind) = self.kind.as_deref() else {
            return Ok(vec![control::Delete {
                cluster: self.place.cluster.clone(),
                namespace: self.place.namespace.clone(),
                sources: read(&self.files)?,
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

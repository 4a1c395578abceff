//! `tombolo delete`: removing objects of running clusters, and resources of a control plane.

mod resources;

pub(crate) use resources::delete as delete_resources;

use crate::{
    apply::Files,
    backend::{Backend, Query},
    control_plane::{ApiArgs, ControlPlane},
    error::{Error, Result},
    local::{ClusterArgs, Local},
    output::ReportFormat,
    resource::{self, filter::Filter},
};
use std::path::PathBuf;
use tombolo_local::up::Source;

/// Delete objects of running clusters, or resources of a control plane.
#[derive(clap::Args)]
#[command(after_help = "\
Resources of a control plane are deleted in an order in which nothing that is still needed goes first, and
what is not there is found before anything is deleted. Which kinds mean which: `tombolo get --help`.

Examples:
  tombolo delete pod front-7d7bc9458f-g2hnx -n color
  tombolo delete deployment/front service/front -n color
  tombolo delete pods -l app=front -n color
  tombolo delete -f cluster2.yaml --cluster cluster2
  tombolo delete route shop/front/canary --api http://127.0.0.1:8490
  tombolo delete all --all --mesh shop --dry-run
  tombolo delete -f shop.yaml --ignore-not-found")]
pub struct Delete {
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
    cluster: ClusterArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// Only say what would be deleted; for resources of a control plane.
    #[arg(long)]
    dry_run: bool,
    /// How: a line for each object, JSON or YAML; the latter two for resources of a control plane.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
    /// Seconds between asking a pod's processes to end and killing them; 0 kills at once.
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<i64>,
    // The last field, because clap shows the options after it under its heading.
    #[command(flatten)]
    filter: Filter,
}

/// The objects to delete.
pub(crate) enum Objects<'a> {
    /// The objects of these files.
    Files(Vec<Source>),
    /// The objects of these names.
    Named(Query<'a>),
    /// All objects of these kinds.
    All(Query<'a>),
}

/// Options of deletion.
pub(crate) struct Options {
    /// Only print what would be deleted.
    pub(crate) dry_run: bool,
    /// Missing objects are not an error.
    pub(crate) ignore_not_found: bool,
    pub(crate) report: ReportFormat,
    /// Grace period of pods in seconds; that of the pod when absent.
    pub(crate) grace_period: Option<i64>,
}

impl Delete {
    /// Deletes the selected objects.
    ///
    /// # Errors
    /// An object does not exist, or a deletion was refused.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            let files = Files::read(&self.files)?;
            let of_control_plane = self.is_of_control_plane(&files);
            let options = Options {
                dry_run: self.dry_run,
                ignore_not_found: self.ignore_not_found,
                report: self.output,
                grace_period: self.grace_period,
            };
            let objects = match &self.kind {
                None => Objects::Files(files.sources),
                Some(kind) => {
                    let query = Query {
                        kind,
                        names: &self.names,
                        selector: self.selector.as_deref(),
                    };
                    match self.all {
                        true => Objects::All(query),
                        false => Objects::Named(query),
                    }
                }
            };
            if of_control_plane {
                if self.selector.is_some() {
                    return Err(Error::usage(
                        "--selector is for objects of clusters, which have labels",
                    ));
                }
                let filter = self.filter.in_namespace(self.cluster.namespace.as_deref());
                let control_plane = ControlPlane::new(&self.api, &self.cluster.run, filter);
                control_plane.delete(objects, &options).await?;
            } else {
                Local::new(&self.cluster)?.delete(objects, &options).await?;
            }
            Ok(0)
        })
    }

    fn is_of_control_plane(&self, files: &Files) -> bool {
        if self
            .kind
            .as_deref()
            .is_some_and(resource::is_control_plane_only)
            || self.filter.is_any()
        {
            return true;
        }
        self.cluster.cluster.is_none()
            && (self.api.is_selected(&self.cluster.run) || !files.are_manifests())
    }
}

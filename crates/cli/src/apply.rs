//! `tombolo apply`: creating and changing objects of running clusters, and resources of a control plane.

mod dry_run;
mod files;
mod plan;
pub(crate) mod read;
mod resources;
mod warnings;
mod writer;

pub(crate) use files::{FileArgs, Files};
pub(crate) use plan::rank;
pub(crate) use read::LIMITS;
pub(crate) use resources::{apply as apply_resources, diff as diff_resources, interrupted};
pub(crate) use writer::Writer;

use crate::{
    backend::Backend,
    control_plane::ControlPlane,
    error::Result,
    local::{ClusterArgs, Local},
    output::ReportFormat,
    resource::filter::Filter,
};
use tombolo_kube::manifest::Strictness;

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
controller makes of them. Manifests without a Mesh object belong to the only mesh that the control
plane has, or to the one that --mesh names.

Everything is read and tried before anything is sent. With --dry-run a diff is shown for resources;
`tombolo diff` shows the same and reports by its exit code whether there is a difference.

Examples:
  tombolo apply -f color.yaml --cluster cluster2
  tombolo apply -f manifests/ --cluster cluster2 --dry-run
  tombolo apply -f mesh.yaml --api http://127.0.0.1:8490 --dry-run
  tombolo get all --mesh shop -o yaml | sed s/v1/v2/ | tombolo apply -f -")]
pub struct Apply {
    #[command(flatten)]
    files: FileArgs,
    /// The cluster; may be left out where there is only one.
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

/// Options of applying files.
pub(crate) struct Options {
    /// Only say what would change.
    pub(crate) dry_run: bool,
    /// The treatment of unknown fields of Kubernetes manifests.
    pub(crate) validate: Strictness,
    /// The Kubernetes namespace of objects that name none.
    pub(crate) namespace: Option<String>,
    /// The mesh of Kubernetes manifests without a Mesh object.
    pub(crate) mesh: Option<String>,
    pub(crate) report: ReportFormat,
}

impl Apply {
    /// Applies the objects of the files.
    ///
    /// # Errors
    /// A file is invalid, or a change was refused; the message says what was done before.
    pub fn run(self) -> Result<i32> {
        let files = self.files.read()?;
        let options = self.files.options(self.dry_run);
        let args = self.files;
        let for_clusters =
            self.cluster.is_some() || !args.api.is_selected(&args.run) && files.are_manifests();
        crate::block_on(async {
            if for_clusters {
                let cluster = ClusterArgs {
                    run: args.run,
                    cluster: self.cluster,
                    namespace: options.namespace.clone(),
                };
                Local::new(&cluster)?.apply(files, &options).await?;
            } else {
                let control_plane = ControlPlane::new(&args.api, &args.run, Filter::default());
                control_plane.apply(files, &options).await?;
            }
            Ok(0)
        })
    }
}

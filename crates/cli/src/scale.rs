//! `tombolo scale`: changes the replicas of Deployments.

use crate::{
    error::{Error, Result},
    local::{ClusterArgs, ObjectRef},
    target, terminal,
};
use tombolo_local::control_socket::Scale as ScaleCall;

/// Change how many pods Deployments have.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo scale deployment/colorapp-red -n color --replicas 3
  tombolo scale deployment front curler --replicas 2")]
pub struct Scale {
    /// The Deployment: its name, deployment/NAME, or the word deployment and names.
    #[arg(required = true, value_name = "DEPLOYMENT")]
    deployments: Vec<String>,
    /// How many pods.
    #[arg(long)]
    replicas: u32,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Scale {
    /// Scales each Deployment, after all were found.
    ///
    /// # Errors
    /// One does not exist.
    pub fn run(self) -> Result<i32> {
        let names = self.names()?;
        crate::block_on(async {
            let mut found = Vec::new();
            for name in &names {
                found.push(self.cluster.find("deployment", name).await?);
            }
            let client = self.cluster.run.client()?;
            for ObjectRef {
                cluster,
                namespace,
                name,
            } in found
            {
                let call = ScaleCall {
                    cluster: Some(cluster),
                    namespace: Some(namespace),
                    name: name.clone(),
                    replicas: self.replicas,
                };
                client.scale(&call).await?;
                terminal::print(format_args!("deployment.apps/{name} scaled\n"))?;
            }
            Ok(0)
        })
    }

    fn names(&self) -> Result<Vec<String>> {
        let targets = match self.deployments.as_slice() {
            [name] if !name.contains('/') => {
                target::read_kubernetes("deployment", &self.deployments)?
            }
            [kind, names @ ..] => target::read_kubernetes(kind, names)?,
            [] => Vec::new(),
        };
        targets
            .into_iter()
            .map(|target| match (target.kind.as_str(), target.name) {
                ("deployment" | "deployments" | "deploy" | "deployment.apps", Some(name)) => {
                    Ok(name)
                }
                (kind, _) => Err(Error::usage(format!(
                    "{kind} cannot be scaled: only deployments can"
                ))),
            })
            .collect()
    }
}

//! `tombolo scale`: how many pods Deployments have.

use super::{
    output::put,
    run::{Found, Where},
    target,
};
use tombolo_local::control::Scale as ScaleCall;

/// Change how many pods Deployments have.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo scale deployment/colorapp-red -n color --replicas 3
  tombolo scale deployment front curler --replicas 2")]
pub(crate) struct Scale {
    /// The Deployment: its name, deployment/NAME, or the word deployment and names.
    #[arg(required = true, value_name = "DEPLOYMENT")]
    deployments: Vec<String>,
    /// How many pods.
    #[arg(long)]
    replicas: u32,
    #[command(flatten)]
    place: Where,
}

impl Scale {
    pub(crate) fn run(self) -> Result<i32, String> {
        let names = self.names()?;
        super::runtime()?.block_on(async {
            let mut found = Vec::new();
            for name in &names {
                found.push(self.place.find("deployment", name).await?);
            }
            let client = self.place.client()?;
            for Found {
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
                client
                    .scale(&call)
                    .await
                    .map_err(|error| error.to_string())?;
                put(format_args!("deployment.apps/{name} scaled\n"))?;
            }
            Ok(0)
        })
    }

    fn names(&self) -> Result<Vec<String>, String> {
        let targets = match self.deployments.as_slice() {
            [name] if !name.contains('/') => target::read("deployment", &self.deployments)?,
            [kind, names @ ..] => target::read(kind, names)?,
            [] => Vec::new(),
        };
        targets
            .into_iter()
            .map(|target| match (target.kind.as_str(), target.name) {
                ("deployment" | "deployments" | "deploy" | "deployment.apps", Some(name)) => {
                    Ok(name)
                }
                (kind, _) => Err(format!("{kind} cannot be scaled: only deployments can")),
            })
            .collect()
    }
}

//! `tombolo apply`, `delete`, `scale` and `down`: changing running clusters.

use super::run::{Run, Where};
use std::path::PathBuf;
use tombolo_local::{
    control::{self, Outcome, Scale as ScaleCall},
    up,
};

/// Create or change objects of a running cluster from manifests, all of them or none.
#[derive(clap::Args)]
pub(crate) struct Apply {
    /// A file, a directory of files, or - for standard input.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    place: Where,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    /// What happens to fields that are not known.
    #[arg(long, value_enum, default_value_t = Validate::Strict)]
    validate: Validate,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Validate {
    Strict,
    Warn,
    Ignore,
}

impl Apply {
    pub(crate) fn run(self) -> Result<i32, String> {
        let request = control::Apply {
            cluster: self.place.cluster.clone(),
            sources: read(&self.files)?,
            validate: Some(
                match self.validate {
                    Validate::Strict => "strict",
                    Validate::Warn => "warn",
                    Validate::Ignore => "ignore",
                }
                .into(),
            ),
            namespace: self.place.namespace.clone(),
            dry_run: self.dry_run,
        };
        let client = self.place.client()?;
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
        for applied in &reply.applied {
            let outcome = match applied.outcome {
                Outcome::Created => "created",
                Outcome::Configured => "configured",
                Outcome::Unchanged => "unchanged",
                Outcome::Ignored => "ignored: objects of this kind are not run here",
            };
            let dry_run = if self.dry_run { " (dry run)" } else { "" };
            println!("{} {outcome}{dry_run}", applied.object);
        }
        Ok(0)
    }
}

/// Delete objects of running clusters.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo delete pod front-7d7bc9458f-g2hnx -n color
  tombolo delete deployment/front -n color
  tombolo delete -f cluster2.yaml --cluster cluster2")]
pub(crate) struct Delete {
    /// What: a kind, or KIND/NAME.
    #[arg(required_unless_present = "files")]
    kind: Option<String>,
    /// Which: one name or several.
    names: Vec<String>,
    /// All objects of these manifests.
    #[arg(short = 'f', long = "filename", value_name = "PATH", conflicts_with_all = ["kind", "names"])]
    files: Vec<PathBuf>,
    /// All objects with these labels.
    #[arg(short = 'l', long)]
    selector: Option<String>,
    #[command(flatten)]
    place: Where,
    /// Seconds between asking a pod's processes to end and killing them; 0 kills at once.
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<i64>,
}

impl Delete {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let mut calls = Vec::new();
            if self.files.is_empty() {
                let (kind, names) = self.named();
                if names.is_empty() && self.selector.is_none() {
                    return Err("name what to delete, or choose by labels with -l".into());
                }
                if names.is_empty() {
                    calls.push(control::Delete {
                        kind: kind.clone(),
                        ..self.call()
                    });
                }
                for name in names {
                    let found = self.place.find(&kind, &name).await?;
                    calls.push(control::Delete {
                        kind: kind.clone(),
                        cluster: Some(found.cluster),
                        namespace: Some(found.namespace).filter(|n| !n.is_empty()),
                        name: Some(name),
                        ..self.call()
                    });
                }
            } else {
                calls.push(control::Delete {
                    sources: read(&self.files)?,
                    ..self.call()
                });
            }
            let client = self.place.client()?;
            for call in &calls {
                for object in client
                    .delete(call)
                    .await
                    .map_err(|error| error.to_string())?
                {
                    println!("{object} deleted");
                }
            }
            Ok(0)
        })
    }

    fn named(&self) -> (String, Vec<String>) {
        let kind = self.kind.clone().unwrap_or_default();
        match kind.split_once('/') {
            Some((kind, name)) => {
                let mut names = vec![name.to_owned()];
                names.extend(self.names.iter().cloned());
                (kind.to_owned(), names)
            }
            None => (kind, self.names.clone()),
        }
    }

    fn call(&self) -> control::Delete {
        control::Delete {
            cluster: self.place.cluster.clone(),
            namespace: self.place.namespace.clone(),
            selector: self.selector.clone(),
            grace_seconds: self.grace_period,
            ..control::Delete::default()
        }
    }
}

/// Change how many pods a Deployment has.
#[derive(clap::Args)]
pub(crate) struct Scale {
    /// The Deployment: its name, or deployment/NAME.
    deployment: String,
    /// How many pods.
    #[arg(long)]
    replicas: u32,
    #[command(flatten)]
    place: Where,
}

impl Scale {
    pub(crate) fn run(self) -> Result<i32, String> {
        let name = match self.deployment.split_once('/') {
            Some(("deployment" | "deployments" | "deploy" | "deployment.apps", name)) => name,
            Some((kind, _)) => {
                return Err(format!("{kind} cannot be scaled: only deployments can"));
            }
            None => self.deployment.as_str(),
        };
        super::runtime()?.block_on(async {
            let found = self.place.find("deployment", name).await?;
            let call = ScaleCall {
                cluster: Some(found.cluster),
                namespace: Some(found.namespace),
                name: name.to_owned(),
                replicas: self.replicas,
            };
            self.place
                .client()?
                .scale(&call)
                .await
                .map_err(|error| error.to_string())?;
            println!("deployment.apps/{name} scaled");
            Ok(0)
        })
    }
}

/// Stop a running `tombolo up`.
#[derive(clap::Args)]
pub(crate) struct Down {
    #[command(flatten)]
    run: Run,
}

impl Down {
    pub(crate) fn run(self) -> Result<i32, String> {
        let client = self.run.client()?;
        let call = async { client.stop().await.map_err(|error| error.to_string()) };
        super::runtime()?.block_on(call)?;
        Ok(0)
    }
}

/// Manifests of files and directories.
fn read(files: &[PathBuf]) -> Result<Vec<control::Source>, String> {
    let mut sources = Vec::new();
    for file in files {
        let read = up::Source::read(file).map_err(|e| format!("-f {}: {e}", file.display()))?;
        sources.extend(read.into_iter().map(|s| control::Source {
            name: s.name,
            text: s.text,
        }));
    }
    Ok(sources)
}

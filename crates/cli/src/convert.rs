//! `tombolo convert`: objects of `appmesh.k8s.aws/v1beta1` as `v1beta2`.

use crate::{
    DEFAULT_ACCOUNT, DEFAULT_REGION,
    apply::{Files, LIMITS},
    error::{Error, Result},
    terminal,
};
use std::path::PathBuf;
use tombolo_document::yaml;
use tombolo_kube::{
    manifest,
    v1beta1::{self, Owner},
};

/// Rewrite objects of appmesh.k8s.aws/v1beta1 as v1beta2.
///
/// Routers and routes leave their virtual services, meshes and virtual nodes get selectors, and every object keeps the
/// name that it has in the App Mesh API. Other documents come out as they were. Nothing is sent anywhere.
#[derive(clap::Args)]
#[command(after_help = "\
What the older version does not say is taken from other documents: give Deployments along, so that a
virtual node's podSelector is its Deployment's. What was assumed is told on standard error.

Examples:
  kubectl get meshes,virtualnodes,virtualservices,deployments -A -o yaml > backup.yaml
  tombolo convert -f backup.yaml > v1beta2.yaml")]
pub struct Convert {
    /// A file, a directory of files, or - for standard input. Give it again for more.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// The account in ARNs of virtual services that are not among the documents. Only their name is read.
    #[arg(long, value_name = "ID", default_value = DEFAULT_ACCOUNT)]
    account: String,
    /// The region in such ARNs.
    #[arg(long, value_name = "REGION", default_value = DEFAULT_REGION)]
    region: String,
}

impl Convert {
    /// Prints the documents.
    ///
    /// # Errors
    /// A file cannot be read, or an object cannot be rewritten.
    pub fn run(self) -> Result<i32> {
        let mut documents = Vec::new();
        for source in Files::read(&self.files)?.manifests() {
            let of_file = manifest::documents(&source, &LIMITS);
            let of_file = of_file.map_err(|problem| Error::Rejected(problem.to_string()))?;
            documents.extend(of_file.into_iter().map(|document| document.object));
        }
        let owner = Owner {
            account: &self.account,
            region: &self.region,
        };
        let converted = v1beta1::convert(documents, owner)?;
        let documents = converted.documents.iter();
        let documents: Vec<String> = documents.map(yaml::write).collect();
        terminal::print_data(&documents.join("---\n"))?;
        for note in converted.notes {
            terminal::warning(note);
        }
        Ok(0)
    }
}

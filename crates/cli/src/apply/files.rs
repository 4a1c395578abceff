//! The files of `apply` and `diff`.

use super::{
    Options,
    read::{self, Parsed},
};
use crate::{
    control_plane::ApiArgs,
    error::{Error, Result},
    local::RunArgs,
    output::ReportFormat,
    terminal,
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::{Path, PathBuf};
use tombolo_kube::manifest::{self, Strictness};
use tombolo_local::up::Source;

/// Options that select files and their treatment.
#[derive(clap::Args)]
pub(crate) struct FileArgs {
    /// A file, a directory of files, or - for standard input. Give it again for more.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// The Kubernetes namespace of objects that name none; `default` where absent.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The mesh of appmesh.k8s.aws manifests that come without their Mesh object.
    #[arg(long, value_name = "MESH")]
    mesh: Option<String>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// What happens to fields of Kubernetes manifests that are not known.
    #[arg(long, default_value = "strict", value_parser = strictness())]
    validate: Strictness,
    /// How: a line for each object or a diff, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
}

fn strictness() -> impl TypedValueParser<Value = Strictness> {
    PossibleValuesParser::new(["strict", "warn", "ignore"]).map(|word| match word.as_str() {
        "warn" => Strictness::Warn,
        "ignore" => Strictness::Ignore,
        _ => Strictness::Strict,
    })
}

impl FileArgs {
    pub(crate) fn read(&self) -> Result<Files> {
        Files::read(&self.files)
    }

    pub(crate) fn options(&self, dry_run: bool) -> Options {
        Options {
            dry_run,
            validate: self.validate,
            namespace: self.namespace.clone(),
            mesh: self.mesh.clone(),
            report: self.output,
        }
    }
}

/// Files that were read.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) sources: Vec<Source>,
}

impl Files {
    /// Reads files, directories and standard input.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self> {
        let standard_inputs = paths.iter().filter(|path| *path == Path::new("-"));
        if standard_inputs.count() > 1 {
            return Err(Error::usage(
                "-f - is given twice, but there is only one standard input",
            ));
        }
        let mut sources = Vec::new();
        for path in paths {
            let read = Source::read(path).map_err(|error| Error::usage(error.to_string()))?;
            sources.extend(read);
        }
        Ok(Self { sources })
    }

    pub(crate) fn manifests(&self) -> Vec<manifest::Source> {
        let sources = self.sources.iter();
        sources
            .map(|source| manifest::Source::new(source.name.as_str(), source.text.as_str()))
            .collect()
    }

    /// Whether they hold only Kubernetes manifests, as far as they can be read.
    pub(crate) fn are_manifests(&self) -> bool {
        read::are_manifests(&self.manifests())
    }

    /// Parses the files, and prints warnings.
    ///
    /// # Errors
    /// Every problem found in them.
    pub(crate) fn parse(&self, options: &Options) -> Result<Parsed> {
        let mut reading = manifest::Options {
            strictness: options.validate,
            ..manifest::Options::default()
        };
        if let Some(namespace) = &options.namespace {
            namespace.clone_into(&mut reading.namespace);
        }
        let parsed = read::parse(&self.manifests(), &reading);
        let (parsed, warnings) = parsed?;
        for warning in warnings {
            terminal::warning(warning);
        }
        Ok(parsed)
    }
}

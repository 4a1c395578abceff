//! `tombolo apply`: creating and changing objects of running clusters.

use super::{
    output::{Report, put, put_data},
    run::Run,
};
use std::path::{Path, PathBuf};
use tombolo_local::{
    control::{self, ApplyReply, Outcome},
    up::Source,
};

/// Create or change objects of a running cluster from manifests, all of them or none.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo apply -f color.yaml --cluster cluster2
  tombolo apply -f manifests/ --cluster cluster2 --dry-run")]
pub(crate) struct Apply {
    /// A file, a directory of files, or - for standard input. Give it again for more.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// The cluster; may be left out where there is only one.
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// The namespace of objects that name none; `default` where absent.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    run: Run,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    /// What happens to fields that are not known.
    #[arg(long, value_enum, default_value_t = Validate::Strict)]
    validate: Validate,
    /// How: a line for each object, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    output: Report,
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
            cluster: self.cluster.clone(),
            sources: read(&self.files)?,
            validate: Some(
                match self.validate {
                    Validate::Strict => "strict",
                    Validate::Warn => "warn",
                    Validate::Ignore => "ignore",
                }
                .into(),
            ),
            namespace: self.namespace.clone(),
            dry_run: self.dry_run,
        };
        let client = self.run.client()?;
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
        if let Some(form) = self.output.data() {
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

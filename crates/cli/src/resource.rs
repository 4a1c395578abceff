//! Resources of the mesh and of the registry, as a control plane's APIs have them: reading documents about
//! them, finding them, comparing, writing, describing.

mod api;
mod apply;
mod cells;
mod command;
mod content;
mod delete;
mod describe;
mod diff;
mod found;
mod id;
mod kind;
mod list;
mod look;
mod plan;
mod progress;
mod read;
mod references;
mod rehearsal;
mod select;
mod watch;
mod write;

pub(crate) use api::Api;
pub(crate) use delete::Options as DeleteOptions;
pub(crate) use list::Show;
pub(crate) use select::Containers;

use super::{output::Report, run::Run};
use tombolo_kube::manifest;
use tombolo_local::up::Source;

/// Files as manifests are read from.
pub(crate) fn sources(sources: Vec<Source>) -> Vec<manifest::Source> {
    let sources = sources.into_iter();
    sources
        .map(|source| manifest::Source::new(source.name, source.text))
        .collect()
}

/// Whether files hold nothing but Kubernetes manifests, as far as they can be read at all.
pub(crate) fn are_manifests(sources: &[manifest::Source]) -> bool {
    read::are_manifests(sources)
}

/// Whether a word of the command line can only mean resources of a control plane: they have routes, ARNs, and
/// kinds with the name of their API behind them.
pub(crate) fn is_only_here(word: &str) -> bool {
    let kinds = word.split('/').next().unwrap_or_default();
    word.starts_with("arn:")
        || kinds.split(',').any(|kind| {
            let api = kind.split_once('.').map(|(_, api)| api);
            matches!(kind, "route" | "routes")
                || matches!(api, Some("appmesh" | "servicediscovery"))
        })
}

/// What resources are meant, and where they are.
pub(crate) struct Question<'a> {
    pub(crate) api: &'a Api,
    pub(crate) run: &'a Run,
    pub(crate) containers: &'a Containers,
    /// The Cloud Map namespace.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) kind: &'a str,
    pub(crate) names: &'a [String],
}

impl Question<'_> {
    fn targets(&self) -> Result<Vec<select::Target>, String> {
        let targets = select::read(self.kind, self.names);
        // Whoever asks for pods wants a run, not a control plane alone.
        targets.map_err(|message| match self.api.no_run(self.run) {
            Some(none) => format!("{none}; without one: {message}"),
            None => message,
        })
    }

    /// Prints resources; with `is_lasting`, again when they change.
    pub(crate) async fn get(&self, show: &Show<'_>, is_lasting: bool) -> Result<i32, String> {
        let targets = self.targets()?;
        let look = self.api.look(self.run).await?;
        let within = self.containers.within(self.namespace);
        if is_lasting {
            watch::watch(&look, &within, &targets, show).await
        } else {
            list::get(&look, &within, &targets, show).await
        }
    }

    /// Prints resources with everything around them.
    pub(crate) async fn describe(&self, report: Report) -> Result<i32, String> {
        let targets = self.targets()?;
        let look = self.api.look(self.run).await?;
        let within = self.containers.within(self.namespace);
        describe::describe(&look, &within, &targets, report).await
    }

    /// Removes resources.
    pub(crate) async fn delete(
        &self,
        is_all: bool,
        options: &DeleteOptions,
    ) -> Result<i32, String> {
        let targets = self.targets()?;
        let has_all = targets
            .iter()
            .any(|it| matches!(it, select::Target::All(_)));
        if has_all && !is_all {
            return Err("name what to delete, or everything of the kind with --all".into());
        }
        let look = self.api.look(self.run).await?;
        let within = self.containers.within(self.namespace);
        delete::targets(&look, &within, &targets, options).await
    }
}

/// Removes the resources that files are about.
pub(crate) async fn delete_files(
    api: &Api,
    run: &Run,
    sources: &[manifest::Source],
    namespace: Option<&str>,
    options: &DeleteOptions,
) -> Result<i32, String> {
    let mut reading = manifest::Options::default();
    if let Some(namespace) = namespace {
        namespace.clone_into(&mut reading.namespace);
    }
    let (wanted, warnings) = read::any(sources, &reading)
        .map_err(|problems| format!("nothing was deleted:\n{problems}"))?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let look = api.look(run).await?;
    delete::documents(&look, &wanted, options).await
}

/// Makes a server's resources what files ask for, or tells what would change; answers whether anything is different.
pub(crate) async fn apply(
    api: &Api,
    run: &Run,
    sources: &[manifest::Source],
    options: &manifest::Options,
    is_dry: bool,
    report: Report,
) -> Result<bool, String> {
    let (wanted, warnings) = read::any(sources, options)
        .map_err(|problems| format!("nothing was changed:\n{problems}"))?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if wanted.is_empty() {
        return Err("there is no resource in these files".into());
    }
    let look = api.look(run).await?;
    if is_dry {
        apply::diff(&look, wanted, report).await
    } else {
        apply::apply(&look, wanted, report).await
    }
}

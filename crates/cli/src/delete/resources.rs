//! Deleting resources of a control plane.

use super::{Objects, Options};
use crate::{
    apply::{self, Files, Writer, rank},
    control_plane::ControlPlane,
    error::{Error, Result},
    output::{ReportFormat, print_value},
    progress::{Progress, during},
    resource::{lookup::Lookup, selection::Target, view::ResourceView},
    terminal,
};
use serde_json::{Value, json};
use std::{cmp::Reverse, collections::BTreeMap};
use tombolo_api::client::Error as ApiError;
use tombolo_kube::manifest::Strictness;
use tombolo_local::up::Source;

/// Deletes resources.
pub(crate) async fn delete(
    control_plane: &ControlPlane<'_>,
    objects: Objects<'_>,
    options: &Options,
) -> Result<()> {
    let (query, is_all) = match objects {
        Objects::Files(sources) => return delete_files(control_plane, sources, options).await,
        Objects::Named(query) => (query, false),
        Objects::All(query) => (query, true),
    };
    let targets = control_plane.targets(&query)?;
    if !is_all && targets.iter().any(|it| matches!(it, Target::All(_))) {
        return Err(Error::usage(
            "name what to delete, or everything of the kind with --all",
        ));
    }
    let lookup = control_plane.lookup().await?;
    let (found, missing) = control_plane.select(&lookup, &targets).await?;
    delete_found(&lookup, found, missing, options).await
}

/// Deletes the resources of documents.
async fn delete_files(
    control_plane: &ControlPlane<'_>,
    sources: Vec<Source>,
    options: &Options,
) -> Result<()> {
    let reading = apply::Options {
        dry_run: options.dry_run,
        validate: Strictness::Strict,
        namespace: control_plane.filter().namespace.clone(),
        mesh: control_plane.filter().mesh.clone(),
        report: options.report,
    };
    let parsed = Files { sources }.parse(&reading)?;
    let lookup = control_plane.lookup().await?;
    let desired = parsed.resolve(&lookup, reading.mesh.as_deref()).await;
    let desired = desired.map_err(Error::before_any_change)?;
    let ids: Vec<_> = desired.iter().map(|one| one.id.clone()).collect();
    let found = during("reading", lookup.find_all(&ids)).await?;
    let missing = desired.iter().zip(&found).filter(|(_, it)| it.is_none());
    let missing = missing
        .map(|(one, _)| format!("{}: {} not found", one.location.line(), one.id))
        .collect();
    let found = found.into_iter().flatten().collect();
    delete_found(&lookup, found, missing, options).await
}

async fn delete_found(
    lookup: &Lookup,
    mut found: Vec<ResourceView>,
    missing: Vec<String>,
    options: &Options,
) -> Result<()> {
    if !missing.is_empty() && !options.ignore_not_found {
        let missing = missing.join("\n");
        return Err(Error::Lookup(format!("{missing}; nothing was deleted")));
    }
    // References point backwards, so the last ones are deleted first.
    found.sort_by_key(|one| Reverse(rank(one.id.kind())));
    let writer = Writer::new(&lookup.client, &BTreeMap::new());
    let mut progress = Progress::of(found.len());
    for (at, one) in found.iter().enumerate() {
        if !options.dry_run {
            let deleted = during("waiting until it is gone", writer.delete(one)).await;
            match deleted {
                // The answer to a first attempt was lost, or another client deleted it.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(Error::Rejected(interrupted(&found, at, &error))),
                Ok(()) => {}
            }
        }
        if options.report.data().is_none() {
            let dry_run = if options.dry_run { " (dry run)" } else { "" };
            terminal::print(format_args!("{} deleted{dry_run}\n", one.id))?;
        } else {
            progress.step();
        }
    }
    show(&found, options.report)
}

fn show(found: &[ResourceView], report: ReportFormat) -> Result<()> {
    let Some(form) = report.data() else {
        return Ok(());
    };
    let rows = found.iter();
    let rows: Vec<Value> = rows
        .map(|one| json!({"resource": one.id.to_string(), "outcome": "deleted"}))
        .collect();
    print_value(form, &json!({ "resources": rows }))
}

/// The error of a server that refused a deletion, or does not answer: the deletions done before and those not done.
fn interrupted(found: &[ResourceView], at: usize, error: &ApiError) -> String {
    let is_open = matches!(error, ApiError::Transport(_));
    let (gone, rest) = found.split_at(at);
    let (open, rest) = rest.split_at(usize::from(is_open));
    let ids = |some: &[ResourceView]| some.iter().map(|one| one.id.to_string()).collect();
    let parts = [
        ("deleted before", ids(gone)),
        ("perhaps deleted", ids(open)),
        ("not deleted", ids(rest)),
    ];
    apply::interrupted(&found[at].id, error, parts)
}

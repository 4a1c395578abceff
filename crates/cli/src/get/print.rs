//! Objects as tables, documents, names, or what a template picks out.

use crate::{
    backend::{Found, Object},
    error::Result,
    output::{Format, print_value},
    table::Table,
    terminal,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is shown of objects.
pub(super) struct Layout<'a> {
    pub(super) output: &'a Format,
    /// The namespace first, even when there is one alone.
    pub(super) all_namespaces: bool,
    /// Labels or tags last.
    pub(super) labels: bool,
    /// The line of column names.
    pub(super) headers: bool,
}

impl Layout<'_> {
    pub(super) fn print(&self, found: &Found) -> Result<()> {
        match self.output {
            _ if found.objects.is_empty() && found.is_single => Ok(()),
            Format::Data(form) => print_value(*form, &document(found)),
            Format::Path(template) => terminal::print_data(&template.render(&document(found))),
            Format::Name => {
                terminal::print(found.objects.iter().map(name_line).collect::<String>())
            }
            Format::Table { wide } => {
                let tables = self.tables(found, *wide).into_iter();
                let tables: Vec<String> = tables.map(|table| table.to_string()).collect();
                terminal::print(tables.join("\n"))
            }
        }
    }

    /// Prints one object by itself, as `--watch` does.
    pub(super) fn print_one(&self, object: &Object) -> Result<()> {
        match self.output {
            Format::Data(form) => print_value(*form, &object.document),
            Format::Path(template) => terminal::print_data(&template.render(&object.document)),
            Format::Name | Format::Table { .. } => terminal::print(name_line(object)),
        }
    }

    /// One table for each kind, in the order in which the kinds were found.
    pub(super) fn tables(&self, found: &Found, wide: bool) -> Vec<Table> {
        let mut kinds: Vec<Vec<&Object>> = Vec::new();
        for object in &found.objects {
            match kinds
                .iter_mut()
                .find(|of_kind| of_kind[0].kind == object.kind)
            {
                Some(of_kind) => of_kind.push(object),
                None => kinds.push(vec![object]),
            }
        }
        let several = kinds.len() > 1;
        let tables = kinds.iter();
        let tables = tables.map(|of_kind| self.table(of_kind, wide, several, found.has_clusters));
        tables.collect()
    }

    /// Columns are kubectl's, in kubectl's order; the cluster and labels come last so that scripts which
    /// count columns keep working.
    fn table(&self, objects: &[&Object], wide: bool, with_kind: bool, clusters: bool) -> Table {
        let namespaces: BTreeSet<&str> = objects
            .iter()
            .filter_map(|object| object.namespace.as_deref())
            .collect();
        let namespace = namespaces.len() > 1 || self.all_namespaces && !namespaces.is_empty();
        let columns = objects[0].columns;
        let is_shown = |(_, only_wide): &(&str, bool)| wide || !only_wide;
        let mut header: Vec<&str> = Vec::new();
        header.extend(namespace.then_some("NAMESPACE"));
        header.extend(
            columns
                .iter()
                .filter(|it| is_shown(it))
                .map(|(name, _)| *name),
        );
        header.extend(clusters.then_some("CLUSTER"));
        header.extend(self.labels.then_some(match objects[0].cluster.is_empty() {
            true => "TAGS",
            false => "LABELS",
        }));
        let mut table = Table::new(header);
        if !self.headers {
            table = table.without_header();
        }
        for object in objects {
            let mut cells = object.cells.clone();
            if let Some(name) = cells.first_mut()
                && with_kind
            {
                name.clone_from(&object.short_name);
            }
            let shown = cells
                .into_iter()
                .zip(columns)
                .filter(|(_, it)| is_shown(it));
            let mut row: Vec<String> = Vec::new();
            row.extend(namespace.then(|| object.namespace.clone().unwrap_or_default()));
            row.extend(shown.map(|(cell, _)| cell));
            row.extend(clusters.then(|| object.cluster.clone()));
            row.extend(self.labels.then(|| object.labels.clone()));
            table.push(row);
        }
        table
    }
}

/// As kubectl: one object by its name is printed bare, everything else as a list.
fn document(found: &Found) -> Value {
    match found.objects.as_slice() {
        [object] if found.is_single => object.document.clone(),
        objects => {
            let documents: Vec<&Value> = objects.iter().map(|object| &object.document).collect();
            json!({"apiVersion": "v1", "kind": "List", "items": documents})
        }
    }
}

fn name_line(object: &Object) -> String {
    object.qualified_name.clone() + "\n"
}

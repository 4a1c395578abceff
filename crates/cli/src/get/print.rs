//! Prints objects as tables, documents, names, or by a template.

use crate::{
    backend::{Found, Object},
    columns::Column,
    error::Result,
    output::{Format, print_value},
    table::Table,
    terminal,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The parts of objects that are printed.
pub(crate) struct Layout<'a> {
    pub(super) output: &'a Format,
    /// The namespace of the query.
    pub(super) namespace: Option<&'a str>,
    /// Whether the namespace is the first column, even when there is only one.
    pub(super) all_namespaces: bool,
    /// Whether labels or tags are the last column.
    pub(super) labels: bool,
    /// Whether there is a line of column names.
    pub(super) headers: bool,
}

impl<'a> Layout<'a> {
    /// The layout of an output format without further options.
    pub(crate) fn of(output: &'a Format) -> Self {
        Self {
            output,
            namespace: None,
            all_namespaces: false,
            labels: false,
            headers: true,
        }
    }

    pub(crate) fn print(&self, found: &Found) -> Result<()> {
        match self.output {
            _ if found.objects.is_empty() && found.is_single => Ok(()),
            Format::Name | Format::Table { .. } if found.objects.is_empty() => {
                terminal::progress(match self.namespace {
                    Some(namespace) => format!("No resources found in {namespace} namespace."),
                    None => "No resources found".into(),
                });
                Ok(())
            }
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

    /// Columns are kubectl's, in kubectl's order; the cluster and labels come last so that scripts which count
    /// columns keep working.
    fn table(&self, objects: &[&Object], wide: bool, with_kind: bool, clusters: bool) -> Table {
        let namespaces: BTreeSet<&str> = objects
            .iter()
            .filter_map(|object| object.namespace.as_deref())
            .collect();
        let namespace = namespaces.len() > 1 || self.all_namespaces && !namespaces.is_empty();
        let columns = objects[0].columns.iter();
        let columns: Vec<&Column> = columns.filter(|column| wide || !column.is_wide).collect();
        let mut header: Vec<&str> = Vec::new();
        header.extend(namespace.then_some("NAMESPACE"));
        header.extend(columns.iter().map(|column| column.name));
        header.extend(clusters.then_some("CLUSTER"));
        let labels = match objects[0].is_of_control_plane() {
            true => "TAGS",
            false => "LABELS",
        };
        header.extend(self.labels.then_some(labels));
        let mut table = Table::new(header);
        if !self.headers {
            table = table.without_header();
        }
        for object in objects {
            let mut cells = columns.iter().map(|column| column.cell(object));
            let name = cells.next().map(|name| match with_kind {
                true => object.short_name.clone(),
                false => name,
            });
            let mut row: Vec<String> = Vec::new();
            row.extend(namespace.then(|| object.namespace.clone().unwrap_or_default()));
            row.extend(name);
            row.extend(cells);
            row.extend(clusters.then(|| object.cluster.clone()));
            row.extend(self.labels.then(|| object.labels()));
            table.push(row);
        }
        table
    }
}

/// As in kubectl, a single named object is printed by itself, everything else as a list.
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

//! Tables and ages as `kubectl get` prints them.
//!
//! The order of columns is a contract: scripts of public walkthroughs take the ARN of a mesh object as the
//! second word of the second line.

mod age;
mod cells;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;

pub use age::age;
pub use cells::{mesh_object, selector, service_ports};
pub use yaml::yaml;

use crate::crd::Kind;

/// What stands in a cell that has no value.
pub const NONE: &str = "<none>";

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Namespaces.
    Namespaces,
    /// Pods.
    Pods,
    /// Deployments.
    Deployments,
    /// Sets of pods of one revision of a deployment.
    ReplicaSets,
    /// Services.
    Services,
    /// Maps of configuration.
    ConfigMaps,
    /// Secrets.
    Secrets,
    /// Objects of one of the seven mesh kinds.
    Mesh(Kind),
}

impl Listing {
    /// The columns after the namespace, and whether each is shown only when the table is wide.
    pub fn columns(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Namespaces => &[("NAME", false), ("STATUS", false), ("AGE", false)],
            Self::Pods => &[
                ("NAME", false),
                ("READY", false),
                ("STATUS", false),
                ("RESTARTS", false),
                ("AGE", false),
                ("IP", true),
                ("NODE", true),
                ("NOMINATED NODE", true),
                ("READINESS GATES", true),
            ],
            Self::Deployments => &[
                ("NAME", false),
                ("READY", false),
                ("UP-TO-DATE", false),
                ("AVAILABLE", false),
                ("AGE", false),
                ("CONTAINERS", true),
                ("IMAGES", true),
                ("SELECTOR", true),
            ],
            Self::ReplicaSets => &[
                ("NAME", false),
                ("DESIRED", false),
                ("CURRENT", false),
                ("READY", false),
                ("AGE", false),
                ("CONTAINERS", true),
                ("IMAGES", true),
                ("SELECTOR", true),
            ],
            Self::Services => &[
                ("NAME", false),
                ("TYPE", false),
                ("CLUSTER-IP", false),
                ("EXTERNAL-IP", false),
                ("PORT(S)", false),
                ("AGE", false),
                ("SELECTOR", true),
            ],
            Self::ConfigMaps => &[("NAME", false), ("DATA", false), ("AGE", false)],
            Self::Secrets => &[
                ("NAME", false),
                ("TYPE", false),
                ("DATA", false),
                ("AGE", false),
            ],
            Self::Mesh(Kind::BackendGroup) => &[("NAME", false), ("AGE", false)],
            Self::Mesh(_) => &[("NAME", false), ("ARN", false), ("AGE", false)],
        }
    }

    /// Whether objects have a namespace, and so a column for it in a table of all namespaces.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespaces | Self::Mesh(Kind::Mesh))
    }
}

/// How much a table shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// All columns: `-o wide`.
    pub wide: bool,
    /// The namespace first: `--all-namespaces`.
    pub all_namespaces: bool,
    /// Without the line of column names: `--no-headers`.
    pub no_headers: bool,
}

/// A table; print it with `{}`. Lines have no trailing spaces, and the last ends with a line feed.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    shown: Vec<bool>,
    with_namespace: bool,
    no_headers: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(listing: Listing, layout: Layout) -> Self {
        let columns = listing.columns();
        let shown: Vec<bool> = columns
            .iter()
            .map(|(_, only_wide)| layout.wide || !only_wide)
            .collect();
        let with_namespace = layout.all_namespaces && listing.is_namespaced();
        let names = columns
            .iter()
            .zip(&shown)
            .filter(|(_, shown)| **shown)
            .map(|((name, _), _)| (*name).to_owned());
        let namespace = with_namespace.then(|| "NAMESPACE".to_owned());
        Self {
            header: namespace.into_iter().chain(names).collect(),
            shown,
            with_namespace,
            no_headers: layout.no_headers,
            rows: Vec::new(),
        }
    }

    /// An empty table of other columns, all of them shown.
    pub fn of(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let header: Vec<String> = columns.into_iter().map(Into::into).collect();
        Self {
            shown: vec![true; header.len()],
            header,
            with_namespace: false,
            no_headers: false,
            rows: Vec::new(),
        }
    }

    /// Adds an object. `cells` are those of all columns of the listing, the wide ones included; what the layout
    /// hides is dropped, and missing or empty cells read `<none>`.
    pub fn push(&mut self, namespace: &str, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut cells = cells.into_iter().map(Into::into);
        let mut row: Vec<String> = self
            .with_namespace
            .then(|| namespace.to_owned())
            .into_iter()
            .collect();
        for shown in &self.shown {
            let cell = cells.next().filter(|cell: &String| !cell.is_empty());
            if *shown {
                row.push(cell.unwrap_or_else(|| NONE.to_owned()));
            }
        }
        self.rows.push(row);
    }

    /// The table with one more column, the last, which is always shown. Its cell follows those of the listing.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>) -> Self {
        self.header.push(name.into());
        self.shown.push(true);
        self
    }

    /// The table without the line of column names.
    #[must_use]
    pub fn without_header(mut self) -> Self {
        self.no_headers = true;
        self
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Space between columns, and the least width of one with that space.
const PADDING: usize = 3;
const LEAST_WIDTH: usize = 6;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&Vec<String>> = Some(&self.header)
            .filter(|_| !self.no_headers)
            .into_iter()
            .chain(&self.rows)
            .collect();
        let length = |line: &Vec<String>, column: usize| {
            line.get(column).map_or(0, |cell| cell.chars().count())
        };
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| length(line, column))
                    .max()
                    .unwrap_or(0)
            })
            .map(|width| (width + PADDING).max(LEAST_WIDTH))
            .collect();
        for line in lines {
            for (column, cell) in line.iter().enumerate() {
                if column + 1 == line.len() {
                    f.write_str(cell)?;
                } else {
                    write!(f, "{cell:<width$}", width = widths[column])?;
                }
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

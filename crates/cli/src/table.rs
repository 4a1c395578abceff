//! Tables in the format of `kubectl get`.

use crate::terminal::bounded_line;
use std::fmt;

/// The text of a cell without a value.
pub(crate) const NONE: &str = "<none>";

/// A table; its `Display` is the output. Lines have no trailing spaces, and the last ends with a line feed.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    header: Vec<String>,
    has_header: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            header: columns.into_iter().map(Into::into).collect(),
            has_header: true,
            rows: Vec::new(),
        }
    }

    /// The table without the line of column names.
    #[must_use]
    pub(crate) fn without_header(mut self) -> Self {
        self.has_header = false;
        self
    }

    /// Adds a row. Missing and empty cells become `<none>`; each cell becomes one bounded line without control
    /// characters.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut cells = cells.into_iter();
        let row = self.header.iter().map(|_| match cells.next() {
            Some(cell) if !cell.as_ref().is_empty() => bounded_line(cell.as_ref(), MAX_CELL),
            _ => NONE.to_owned(),
        });
        self.rows.push(row.collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Maximum characters of a cell: a long untrusted value must not push the other columns off the screen.
const MAX_CELL: usize = 2_000;
/// Space between columns, and the minimum width of a column including that space.
const PADDING: usize = 3;
const MIN_WIDTH: usize = 6;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&Vec<String>> = Some(&self.header)
            .filter(|_| self.has_header)
            .into_iter()
            .chain(&self.rows)
            .collect();
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                let cells = lines.iter().filter_map(|line| line.get(column));
                let widest = cells.map(|cell| cell.chars().count()).max();
                (widest.unwrap_or(0) + PADDING).max(MIN_WIDTH)
            })
            .collect();
        for line in lines {
            for (column, cell) in line.iter().enumerate() {
                f.write_str(cell)?;
                if column + 1 < line.len() {
                    // Not `{:<width$}`, which panics beyond 65,535.
                    let padding = widths[column].saturating_sub(cell.chars().count());
                    f.write_str(&" ".repeat(padding))?;
                }
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_missing_cells_say_so() {
        let mut table = Table::new(["NAME", "READY", "STATUS", "AGE"]);
        table.push(["front-7d4b9c-x2x", "3/3", "Running", "3m10s"]);
        table.push(["b", "0/3", ""]);
        assert_eq!(
            table.to_string(),
            "NAME               READY   STATUS    AGE\n\
             front-7d4b9c-x2x   3/3     Running   3m10s\n\
             b                  0/3     <none>    <none>\n"
        );
        assert!(table.without_header().to_string().starts_with("front"));
    }

    #[test]
    fn a_foreign_cell_is_one_bounded_line_without_control_characters() {
        let mut table = Table::new(["PROXY", "STATE"]);
        table.push([&"x".repeat(70_000), "a\u{1b}[2J\nb"]);
        table.push(["b", "c"]);
        let text = table.to_string();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 3, "{text}");
        assert!(rows[1].ends_with("…   a\\u{1b}[2J\\nb"), "{text}");
        assert!(rows[1].chars().count() < 2 * MAX_CELL, "{text}");
    }
}

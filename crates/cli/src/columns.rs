//! Columns of tables. A cell is computed from the document of an object, like the printer columns of a
//! CustomResourceDefinition.

pub(crate) mod aws;
pub(crate) mod kubernetes;

use crate::{age::since, backend::Object, json};

/// A column of the table of a kind. The first of each kind holds the name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// Whether only wide tables show it.
    pub(crate) is_wide: bool,
    cell: Cell,
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    /// A text or a number at a JSON pointer.
    At(&'static str),
    /// The time since the instant at a JSON pointer.
    Age(&'static str),
    Computed(fn(&Object) -> String),
}

impl Column {
    const fn new(name: &'static str, cell: Cell) -> Self {
        Self {
            name,
            is_wide: false,
            cell,
        }
    }

    const fn at(name: &'static str, pointer: &'static str) -> Self {
        Self::new(name, Cell::At(pointer))
    }

    const fn age(pointer: &'static str) -> Self {
        Self::new("AGE", Cell::Age(pointer))
    }

    const fn computed(name: &'static str, cell: fn(&Object) -> String) -> Self {
        Self::new(name, Cell::Computed(cell))
    }

    const fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    /// The cell of an object; empty where it has no value.
    pub(crate) fn cell(&self, object: &Object) -> String {
        match self.cell {
            Cell::At(pointer) => json::text(&object.document, pointer),
            Cell::Age(pointer) => {
                since(&json::text(&object.document, pointer)).unwrap_or_else(|| "<unknown>".into())
            }
            Cell::Computed(cell) => cell(object),
        }
    }
}

//! How results are printed.

mod jsonpath;

use crate::{
    error::{Error, Result},
    terminal,
};
use serde_json::Value;
use std::str::FromStr;

pub(crate) use jsonpath::{Template, TemplateError};

/// The form of a report: for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Report {
    /// Tables and lines.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Report {
    /// The form of data; `None` for people.
    pub(crate) fn data(self) -> Option<Data> {
        match self {
            Self::Table => None,
            Self::Json => Some(Data::Json),
            Self::Yaml => Some(Data::Yaml),
        }
    }
}

/// The form of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Json,
    Yaml,
}

/// The form of a list of objects.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// A table; with all columns where `wide`.
    Table { wide: bool },
    /// Whole objects.
    Data(Data),
    /// Names alone, one in each line.
    Name,
    /// What a JSONPath template picks out.
    Path(Template),
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "table" => Self::Table { wide: false },
            "wide" => Self::Table { wide: true },
            "json" => Self::Data(Data::Json),
            "yaml" => Self::Data(Data::Yaml),
            "name" => Self::Name,
            _ => match text.strip_prefix("jsonpath=") {
                Some(template) => {
                    let template: Template = template
                        .parse()
                        .map_err(|error: TemplateError| Error::usage(error.to_string()))?;
                    Self::Path(template)
                }
                None => {
                    return Err(Error::usage(
                        "use table, wide, json, yaml, name or jsonpath=TEMPLATE, like \
                         jsonpath='{.status.podIP}'",
                    ));
                }
            },
        })
    }
}

/// Prints a value as JSON or YAML.
pub(crate) fn print_value(form: Data, value: &Value) -> Result<()> {
    match form {
        Data::Yaml => terminal::print_data(&tombolo_document::yaml::write(value)),
        Data::Json => terminal::print_data(&(serde_json::to_string_pretty(value)? + "\n")),
    }
}

//! Output formats.

mod jsonpath;

use crate::{
    error::{Error, Result},
    terminal,
};
use serde_json::Value;
use std::str::FromStr;

pub(crate) use jsonpath::{Template, TemplateError};

/// The format of a report: text or data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// Tables and lines.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl ReportFormat {
    /// The data format; `None` for text.
    pub(crate) fn data(self) -> Option<DataFormat> {
        match self {
            Self::Table => None,
            Self::Json => Some(DataFormat::Json),
            Self::Yaml => Some(DataFormat::Yaml),
        }
    }
}

/// A data format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataFormat {
    Json,
    Yaml,
}

/// The format of a list of objects.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// A table; with all columns if `wide`.
    Table { wide: bool },
    /// Whole objects.
    Data(DataFormat),
    /// Names alone, one in each line.
    Name,
    /// The result of a JSONPath template.
    Path(Template),
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "table" => Self::Table { wide: false },
            "wide" => Self::Table { wide: true },
            "json" => Self::Data(DataFormat::Json),
            "yaml" => Self::Data(DataFormat::Yaml),
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
pub(crate) fn print_value(form: DataFormat, value: &Value) -> Result<()> {
    match form {
        DataFormat::Yaml => terminal::print_data(&tombolo_document::yaml::write(value)),
        DataFormat::Json => terminal::print_data(&(serde_json::to_string_pretty(value)? + "\n")),
    }
}

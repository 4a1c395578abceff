//! How results are printed.

mod jsonpath;

use serde_json::Value;
use std::{fmt::Display, io::Write, str::FromStr};

pub(crate) use jsonpath::Template;

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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "table" => Self::Table { wide: false },
            "wide" => Self::Table { wide: true },
            "json" => Self::Data(Data::Json),
            "yaml" => Self::Data(Data::Yaml),
            "name" => Self::Name,
            _ => match text.strip_prefix("jsonpath=") {
                Some(template) => Self::Path(template.parse()?),
                None => {
                    return Err("use table, wide, json, yaml, name or jsonpath=TEMPLATE, \
                         like jsonpath='{.status.podIP}'"
                        .into());
                }
            },
        })
    }
}

/// Prints. A reader that went away (`| head`) has what it wanted: then the program ends.
pub(crate) fn put(text: impl Display) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(text.to_string().as_bytes())
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| format!("cannot write to standard output: {error}")),
    }
}

/// Prints a value as JSON or YAML.
pub(crate) fn put_data(form: Data, value: &Value) -> Result<(), String> {
    match form {
        Data::Yaml => put(tombolo_kube::render::yaml(value)),
        Data::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
            put(text + "\n")
        }
    }
}

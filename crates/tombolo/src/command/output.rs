//! How results are printed.

use serde_json::Value;

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table.
    Table,
    /// A table with all columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names alone.
    Name,
}

/// Prints a value as JSON or YAML.
pub(crate) fn print(format: Format, value: &Value) -> Result<(), String> {
    match format {
        Format::Yaml => print!("{}", tombolo_kube::render::yaml(value)),
        _ => println!(
            "{}",
            serde_json::to_string_pretty(value).map_err(|error| error.to_string())?
        ),
    }
    Ok(())
}

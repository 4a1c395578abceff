//! Data sources (`envoy.config.core.v3.DataSource`).

use envoy_types::pb::envoy::config::core::v3 as core;

use super::error::{ConfigError, ConfigResult};

/// The bytes of an inline data source.
pub(crate) fn inline_data(source: &core::DataSource) -> ConfigResult<Vec<u8>> {
    use core::data_source::Specifier;
    match &source.specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::Filename(_)) => Err(ConfigError::unsupported("filename")),
        Some(Specifier::EnvironmentVariable(_)) => {
            Err(ConfigError::unsupported("environment_variable"))
        }
        None => Ok(Vec::new()),
    }
}

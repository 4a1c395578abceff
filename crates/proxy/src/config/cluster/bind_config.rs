//! `BindConfig` of upstream connections: the socket mark.

use envoy_types::pb::envoy::config::core::v3 as core;

use super::super::error::{ConfigError, ConfigResult, ensure, reject_set};
use super::super::field::{Wrapped, field};

/// `SOL_SOCKET` and `SO_MARK`, the one socket option an upstream bind configuration may set.
const MARK_OPTION: (i64, i64) = (1, 36);

/// The socket mark of upstream connections. Any other setting of a bind configuration is rejected.
pub(super) fn bind_mark(bind: &core::BindConfig) -> ConfigResult<Option<u32>> {
    use core::socket_address::PortSpecifier;
    reject_set!(bind; extra_source_addresses, additional_source_addresses, local_address_selector);
    if bind.freebind.value_or(false) {
        return Err(ConfigError::unsupported("freebind"));
    }
    if let Some(source) = &bind.source_address {
        let any_port = matches!(
            source.port_specifier,
            None | Some(PortSpecifier::PortValue(0))
        );
        ensure(
            any_port && matches!(source.address.as_str(), "" | "0.0.0.0" | "::"),
            "source_address",
            "only the unspecified address is supported",
        )?;
    }
    let mark = |option: &core::SocketOption| match option.value {
        Some(core::socket_option::Value::IntValue(value))
            if (option.level, option.name) == MARK_OPTION =>
        {
            u32::try_from(value)
                .map_err(|_| ConfigError::new("int_value", "is not a 32-bit socket mark"))
        }
        _ => Err(ConfigError::new(
            "",
            format!(
                "only SO_MARK (level 1, name 36) is supported, not {}/{}",
                option.level, option.name
            ),
        )),
    };
    Ok(field!(bind.socket_options).each(mark)?.pop())
}

//! Logs of the long-running commands, to standard error.

use std::{env, io::IsTerminal};
use tracing_subscriber::EnvFilter;
pub(crate) use tracing_subscriber::filter::LevelFilter as Level;

/// The level of a word of Envoy's or of `tracing`'s; `critical` is `error`, the highest level of `tracing`.
pub(crate) fn level(word: &str) -> Option<Level> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" => Level::TRACE,
        "debug" => Level::DEBUG,
        "info" => Level::INFO,
        "warn" | "warning" => Level::WARN,
        "error" | "critical" => Level::ERROR,
        "off" => Level::OFF,
        _ => return None,
    })
}

/// Envoy's word for a level.
pub(crate) fn envoy_level(level: Level) -> String {
    match level {
        Level::WARN => "warning".into(),
        level => level.to_string(),
    }
}

/// Starts logging. `TOMBOLO_LOG` selects the events: a level, `MODULE=LEVEL`, or several with commas, in the syntax
/// of `tracing-subscriber` and also with Envoy's words for levels.
pub(crate) fn start(default: Level) {
    let filter = match env::var("TOMBOLO_LOG") {
        Ok(text) if !text.is_empty() => filter(&text).unwrap_or_else(|why| {
            eprintln!("warning: TOMBOLO_LOG={text:?}: {why}; {default} is logged");
            EnvFilter::new(default.to_string())
        }),
        _ => EnvFilter::new(default.to_string()),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A standard error that cannot be written, on a full disk, must not make the logging thread panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives = text.split(',').map(|directive| {
        let directive = directive.trim();
        match directive.rsplit_once('=') {
            Some((module, level)) => match self::level(level) {
                Some(level) => Ok(format!("{module}={level}")),
                None => Err(format!("{level:?} is no level")),
            },
            None => match self::level(directive) {
                Some(level) => Ok(level.to_string()),
                // A word that is not a level would be taken for a module, and disable everything else.
                None if directive.contains(['[', ':']) || directive.starts_with("tombolo") => {
                    Ok(directive.to_owned())
                }
                None => Err(format!(
                    "{directive:?} is no level (trace, debug, info, warn, error, off)"
                )),
            },
        }
    });
    let directives = directives.collect::<Result<Vec<_>, _>>()?.join(",");
    EnvFilter::try_new(directives).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_for_a_level_is_understood() {
        for (word, ours, envoy) in [
            ("trace", "trace", "trace"),
            ("debug", "debug", "debug"),
            ("INFO", "info", "info"),
            ("warn", "warn", "warning"),
            ("warning", "warn", "warning"),
            ("error", "error", "error"),
            ("critical", "error", "error"),
            ("off", "off", "off"),
        ] {
            let level = level(word).expect(word);
            assert_eq!(
                (level.to_string().as_str(), envoy_level(level).as_str()),
                (ours, envoy)
            );
            assert_eq!(filter(word).expect(word).to_string(), ours);
        }
        assert_eq!(level("verbose"), None);
    }

    #[test]
    fn what_is_neither_level_nor_module_is_refused() {
        let of = |text: &str| filter(text).map(|filter| filter.to_string());
        assert_eq!(
            of("tombolo_xds=debug, warning"),
            Ok("tombolo_xds=debug,warn".into())
        );
        for wrong in ["verbose", "tombolo_xds=loud"] {
            let why = of(wrong).expect_err(wrong);
            assert!(why.contains("is no level"), "{why}");
        }
    }
}

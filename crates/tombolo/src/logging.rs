//! Logs of the long-running commands, to standard error.

use std::{env, fmt, io::IsTerminal};
use tracing_subscriber::EnvFilter;

/// How much is logged: Envoy's levels, which `ENVOY_LOG_LEVEL` names, and those of `TOMBOLO_LOG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Off,
}

impl Level {
    /// The level that a word names; `critical` is `error`, as there is nothing above it.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "critical" => Self::Error,
            "off" => Self::Off,
            _ => return None,
        })
    }

    /// The word that Envoy takes.
    pub(crate) fn envoy(self) -> &'static str {
        match self {
            Self::Warn => "warning",
            level => level.as_str(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Starts logging. `TOMBOLO_LOG` chooses what is logged: a level, `MODULE=LEVEL`, or several with commas, in the
/// syntax of `tracing-subscriber` and with Envoy's words for levels too.
pub(crate) fn start(default: Level) {
    let filter = match env::var("TOMBOLO_LOG") {
        Ok(text) if !text.is_empty() => filter(&text).unwrap_or_else(|why| {
            eprintln!("warning: TOMBOLO_LOG={text:?}: {why}; {default} is logged");
            EnvFilter::new(default.as_str())
        }),
        _ => EnvFilter::new(default.as_str()),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A standard error that takes no more, on a full disk, must not make the logging thread panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives = text.split(',').map(|directive| {
        let directive = directive.trim();
        match directive.rsplit_once('=') {
            Some((module, level)) => match Level::of(level) {
                Some(level) => Ok(format!("{module}={level}")),
                None => Err(format!("{level:?} is no level")),
            },
            None => match Level::of(directive) {
                Some(level) => Ok(level.to_string()),
                // A word that is no level would be taken for a module, and silence everything else.
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
            let level = Level::of(word).expect(word);
            assert_eq!((level.as_str(), level.envoy()), (ours, envoy));
            assert_eq!(filter(word).expect(word).to_string(), ours);
        }
        assert_eq!(Level::of("verbose"), None);
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

//! The keys of the issuers that an operator trusts: from files or URLs, kept, and got again.
//!
//! Nothing runs in the background: keys are got when a token needs them and they are old or lack the token's key.
//! One caller gets them, the others wait for it; between attempts there are growing pauses, so that tokens of
//! strangers make no load. While an issuer does not answer, the keys that it had stay in force for a day.

use super::{
    Token, TokenError,
    fetch::{self, FetchError},
    jwks::{KeySet, KeySetError},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use parking_lot::Mutex;
use serde::Deserialize;
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;
use tombolo_telemetry::ErrorChain;

/// Keys older than this are got again: how long a key that its issuer has withdrawn is believed.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Keys are believed for so long while they cannot be got again.
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// The least pause between two attempts, also when a token names a key that is not there.
const MIN_PAUSE: Duration = Duration::from_secs(2);
/// The pauses between attempts that fail.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(MIN_PAUSE)
    .with_max_delay(Duration::from_secs(60))
    .with_jitter()
    .without_max_times();

/// An issuer that an operator trusts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Provider {
    /// The claim `iss`, to the letter.
    pub(crate) issuer: String,
    pub(crate) keys: KeySource,
    /// PEM file of the CAs of its server; the system's where absent.
    pub(crate) authorities: Option<PathBuf>,
    /// A file whose content goes to its server as bearer token.
    pub(crate) token: Option<PathBuf>,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeySource {
    /// In a file, as a key set.
    File(PathBuf),
    /// At a URL, as a key set.
    Url(String),
    /// Where `ISSUER/.well-known/openid-configuration` says.
    Discovery,
}

/// The keys that are known. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct KeySets(Arc<Mutex<HashMap<Provider, Arc<Entry>>>>);

/// Why a token cannot be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The issuer's keys cannot be got now; the cause is in the log.
    #[error("Couldn't retrieve verification key from your identity provider")]
    NoKeys,
}

/// The keys of one issuer.
#[derive(Default)]
struct Entry {
    /// Held while keys are got.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    got: Option<Instant>,
    /// No attempt before.
    next: Option<Instant>,
    pauses: Option<backon::ExponentialBackoff>,
}

/// Why keys cannot be got.
#[derive(Debug, thiserror::Error)]
enum ProviderError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Keys(#[from] KeySetError),
    #[error("the configuration of the issuer is not readable")]
    Configuration(#[source] serde_json::Error),
    #[error("the configuration is that of the issuer {0:?}")]
    OtherIssuer(String),
    #[error("the issuer's keys are at {0:?}, which is not https")]
    Insecure(String),
}

impl KeySets {
    /// Checks the signature of a token of this issuer.
    pub(crate) async fn verify(
        &self,
        provider: &Provider,
        token: &Token<'_>,
    ) -> Result<(), VerifyError> {
        let entry = self.0.lock().entry(provider.clone()).or_default().clone();
        let mut state = entry.state.lock().await;
        let mut verified = state.verify(token);
        let is_old = state.got.is_none_or(|got| got.elapsed() >= MAX_AGE);
        let lacks_key = matches!(
            verified,
            Err(VerifyError::NoKeys | VerifyError::Token(TokenError::UnknownKey))
        );
        if (is_old || lacks_key) && state.next.is_none_or(|next| Instant::now() >= next) {
            state.renew(provider).await;
            verified = state.verify(token);
        }
        verified
    }
}

impl State {
    fn verify(&self, token: &Token<'_>) -> Result<(), VerifyError> {
        let is_usable = self.got.is_some_and(|got| got.elapsed() < MAX_STALE);
        match &self.keys {
            Some(keys) if is_usable => Ok(token.verify(keys)?),
            _ => Err(VerifyError::NoKeys),
        }
    }

    async fn renew(&mut self, provider: &Provider) {
        let issuer = &provider.issuer;
        // Set before: a caller that leaves meanwhile counts as an attempt.
        self.next = Some(Instant::now() + MIN_PAUSE);
        match provider.get().await {
            Ok(keys) => {
                if self.keys.as_deref() != Some(&keys) {
                    tracing::info!(issuer, "the keys of an issuer were read");
                }
                self.keys = Some(Arc::new(keys));
                self.got = Some(Instant::now());
                self.pauses = None;
            }
            Err(error) => {
                let pauses = self.pauses.get_or_insert_with(|| PAUSES.build());
                let pause = pauses.next().unwrap_or(MIN_PAUSE);
                self.next = Some(Instant::now() + pause);
                let error = ErrorChain(&error);
                tracing::warn!(issuer, %error, "the keys of an issuer cannot be read");
            }
        }
    }
}

impl Provider {
    async fn get(&self) -> Result<KeySet, ProviderError> {
        #[derive(Deserialize)]
        struct Configuration {
            issuer: String,
            jwks_uri: String,
        }
        let text = match &self.keys {
            KeySource::File(path) => fetch::file(path).await?,
            KeySource::Url(url) => self.fetch(url).await?,
            KeySource::Discovery => {
                let issuer = self.issuer.trim_end_matches('/');
                let url = format!("{issuer}/.well-known/openid-configuration");
                let text = self.fetch(&url).await?;
                let found: Configuration =
                    serde_json::from_slice(&text).map_err(ProviderError::Configuration)?;
                if found.issuer != self.issuer {
                    return Err(ProviderError::OtherIssuer(found.issuer));
                }
                if !is_safe_url(&found.jwks_uri) {
                    return Err(ProviderError::Insecure(found.jwks_uri));
                }
                self.fetch(&found.jwks_uri).await?
            }
        };
        Ok(KeySet::read(&text)?)
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        fetch::url(url, self.authorities.as_deref(), self.token.as_deref()).await
    }
}

/// Whether what comes from a URL is what its server sent: HTTPS, or this machine.
pub(crate) fn is_safe_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback,
        _ => false,
    }
}

#[cfg(test)]
mod tests;

//! The certificate that the webhook makes for itself: the Secret with its authority, the `caBundle` of the webhook
//! configurations, and the certificate that is served.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use tombolo_telemetry::supervisor::Stop;
use tombolo_telemetry::{ErrorChain, Outage};

use super::certificate::{CertificateError, Leaf};
use super::metrics::Metrics;
use super::trust::Trust;

/// How often everything is looked at again: somebody may have applied the configurations anew, without a `caBundle`.
const PERIOD: Duration = Duration::from_secs(10);
/// How long one look may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Other replicas that may write the Secret at the same time before a look is given up.
const CONFLICTS: usize = 5;

/// Where what is needed lies in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) namespace: String,
    pub(super) secret: String,
    /// Names for which the certificate is valid; the first is that of the Service.
    pub(super) names: Vec<String>,
    pub(super) mutating: Vec<String>,
    pub(super) validating: Vec<String>,
}

/// The certificate that is served now. Clones share it.
pub(super) type Served = Arc<ArcSwapOption<ServerConfig>>;

#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("Secret {0}")]
    Secret(String, #[source] kube::Error),
    #[error("Secret {0} is written by somebody else all the time")]
    Contended(String),
    #[error("{kind} {name}")]
    Configuration {
        kind: String,
        name: String,
        source: kube::Error,
    },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the certificate does not suit its key")]
    Tls(#[from] rustls::Error),
    #[error("the API server did not answer within {DEADLINE:?}")]
    Timeout,
}

pub(super) struct OwnCertificate {
    client: Client,
    places: Places,
    tls: TlsPolicy,
    served: Served,
    metrics: Metrics,
    /// What the Secret held last.
    known: Option<Trust>,
    /// The certificate that is served, and its authority's.
    leaf: Option<(Leaf, Vec<u8>)>,
}

impl OwnCertificate {
    pub(super) fn new(
        client: Client,
        places: Places,
        tls: TlsPolicy,
        served: Served,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            places,
            tls,
            served,
            metrics,
            known: None,
            leaf: None,
        }
    }

    /// Keeps everything in order until it is stopped. A failure is tried again, and what is served stays meanwhile.
    pub(super) async fn run(mut self, stop: Stop) -> Result<(), std::convert::Infallible> {
        let mut outage = Outage::default();
        loop {
            let turn = timeout(DEADLINE, self.turn(Timestamp::now())).await;
            match turn.unwrap_or(Err(TurnError::Timeout)) {
                Ok(()) => {
                    if let Some(failures) = outage.ended() {
                        tracing::info!(failures, "the webhook's certificate is in order again");
                    }
                }
                Err(error) => {
                    if outage.begins() {
                        tracing::error!(error = %ErrorChain(&error), "the webhook's certificate is not in order; trying until it is");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Brings Secret, configurations and certificate in order, in this order: nobody serves what is not trusted yet.
    async fn turn(&mut self, now: Timestamp) -> Result<(), TurnError> {
        let trust = self.trust(now).await?;
        self.known = Some(trust.clone());
        let bundle = trust.bundle(now);
        let is_confirmed = !self.publish(&bundle).await?;
        let authority = &trust.authority.certificate;
        let fits = |(leaf, issuer): &(Leaf, Vec<u8>)| !leaf.is_due(now) && issuer == authority;
        if self.leaf.as_ref().is_some_and(fits) {
            return Ok(());
        }
        if self.leaf.is_some() && !is_confirmed {
            // Another replica may just have written what it read before: the next look tells.
            return Ok(());
        }
        let leaf = trust.authority.issue(&self.places.names, now)?;
        self.served
            .store(Some(Arc::new(self.tls.server_config(&leaf)?)));
        self.metrics.certificate(leaf.not_after);
        tracing::info!(names = ?self.places.names, not_after = %leaf.not_after, "serving a new certificate");
        self.leaf = Some((leaf, authority.clone()));
        Ok(())
    }

    /// The authority of the Secret; a new one is written where there is none or it is due.
    async fn trust(&self, now: Timestamp) -> Result<Trust, TurnError> {
        let name = &self.places.secret;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.places.namespace);
        let failed = |error| TurnError::Secret(name.clone(), error);
        for _ in 0..CONFLICTS {
            let secret = api.get_opt(name).await.map_err(failed)?;
            let current = secret.as_ref().and_then(Trust::read);
            let Some(renewed) = Trust::renewed(current.as_ref(), now)? else {
                return Ok(current.expect("only what is there may stay"));
            };
            let renewed = renewed.remembering(self.known.as_ref());
            let data = Some(renewed.to_data());
            let written = match secret {
                Some(secret) => {
                    let params = PostParams::default();
                    // The version that was read goes along: of two replicas one writes.
                    api.replace(name, &params, &Secret { data, ..secret }).await
                }
                None => {
                    let metadata = ObjectMeta {
                        name: Some(name.clone()),
                        ..ObjectMeta::default()
                    };
                    let secret = Secret {
                        metadata,
                        data,
                        ..Secret::default()
                    };
                    api.create(&PostParams::default(), &secret).await
                }
            };
            match written {
                Ok(_) => {
                    tracing::info!(secret = name, "wrote a new certificate authority");
                    return Ok(renewed);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(TurnError::Contended(name.clone()))
    }

    /// Lets the API server trust the bundle's authorities; answers whether it did not.
    async fn publish(&self, bundle: &str) -> Result<bool, TurnError> {
        let mutating = self.publish_to(
            &self.places.mutating,
            |found: &MutatingWebhookConfiguration| {
                let hooks = found.webhooks.iter().flatten();
                stale(hooks.map(|hook| (&hook.name, &hook.client_config)), bundle)
            },
        );
        let mutating = mutating.await?;
        let validating = self.publish_to(
            &self.places.validating,
            |found: &ValidatingWebhookConfiguration| {
                let hooks = found.webhooks.iter().flatten();
                stale(hooks.map(|hook| (&hook.name, &hook.client_config)), bundle)
            },
        );
        Ok(validating.await? || mutating)
    }

    /// Patches the configurations of one kind. One that is not there (yet) is nobody's fault.
    async fn publish_to<K>(
        &self,
        names: &[String],
        stale: impl Fn(&K) -> Option<Value>,
    ) -> Result<bool, TurnError>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let mut changed = false;
        for name in names {
            let failed = |source| TurnError::Configuration {
                kind: K::kind(&()).into_owned(),
                name: name.clone(),
                source,
            };
            let Some(patch) = api
                .get_opt(name)
                .await
                .map_err(failed)?
                .as_ref()
                .and_then(&stale)
            else {
                continue;
            };
            let patch = Patch::Strategic(patch);
            let patched = api.patch(name, &PatchParams::default(), &patch).await;
            patched.map_err(failed)?;
            changed = true;
            tracing::info!(configuration = name, "wrote caBundle");
        }
        Ok(changed)
    }
}

/// The patch that gives every webhook of a configuration this bundle; `None` if all have it.
fn stale<'a>(
    hooks: impl Iterator<Item = (&'a String, &'a WebhookClientConfig)>,
    bundle: &str,
) -> Option<Value> {
    let encoded = data_encoding::BASE64.encode(bundle.as_bytes());
    let stale: Vec<_> = hooks
        .filter(|(_, client)| {
            let has = client.ca_bundle.as_ref();
            has.is_none_or(|has| has.0 != bundle.as_bytes())
        })
        .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": encoded}}))
        .collect();
    (!stale.is_empty()).then(|| json!({ "webhooks": stale }))
}

/// The name of a cipher suite that is not known.
#[derive(Debug, thiserror::Error)]
#[error("{0} is no cipher suite that is known here")]
pub(super) struct UnknownSuite(String);

/// How TLS is spoken with the own certificate.
#[derive(Clone, Debug)]
pub(super) struct TlsPolicy {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl TlsPolicy {
    /// TLS 1.3, or 1.2 too; of 1.2 only these cipher suites, unless there are none.
    ///
    /// # Errors
    /// The first name that is not known.
    pub(super) fn new(only_tls13: bool, suites: &[String]) -> Result<Self, UnknownSuite> {
        let mut provider = aws_lc_rs::default_provider();
        let is_called = |suite: &SupportedCipherSuite, name: &str| {
            let known = suite.suite();
            let known = known.as_str().unwrap_or_default();
            // Those of TLS 1.3 are called TLS13_… here.
            known == name || known.strip_prefix("TLS13_") == name.strip_prefix("TLS_")
        };
        let known = |name: &&String| {
            provider
                .cipher_suites
                .iter()
                .any(|suite| is_called(suite, name))
        };
        if let Some(unknown) = suites.iter().find(|name| !known(name)) {
            return Err(UnknownSuite(unknown.clone()));
        }
        if !suites.is_empty() {
            provider.cipher_suites.retain(|suite| {
                suite.tls13().is_some() || suites.iter().any(|name| is_called(suite, name))
            });
        }
        Ok(Self {
            provider: Arc::new(provider),
            versions: if only_tls13 {
                vec![&TLS13]
            } else {
                vec![&TLS12, &TLS13]
            },
        })
    }

    pub(super) fn server_config(&self, leaf: &Leaf) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)?
            .with_no_client_auth()
            .with_single_cert(leaf.chain.clone(), leaf.key.clone_key())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn only_webhooks_without_the_bundle_are_patched() {
        let client = |bundle: Option<&[u8]>| WebhookClientConfig {
            ca_bundle: bundle.map(|bundle| ByteString(bundle.to_vec())),
            ..WebhookClientConfig::default()
        };
        let hooks = [
            ("a", Some(&b"new"[..])),
            ("b", Some(&b"old"[..])),
            ("c", None),
        ];
        let hooks = hooks.map(|(name, bundle)| (name.to_owned(), client(bundle)));
        let stale = |hooks: &[(String, WebhookClientConfig)]| {
            super::stale(hooks.iter().map(|(name, client)| (name, client)), "new")
        };
        assert_eq!(
            stale(&hooks),
            Some(json!({"webhooks": [
                {"name": "b", "clientConfig": {"caBundle": "bmV3"}},
                {"name": "c", "clientConfig": {"caBundle": "bmV3"}},
            ]}))
        );
        assert_eq!(stale(&hooks[..1]), None);
    }
}

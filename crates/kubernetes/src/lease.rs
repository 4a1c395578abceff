//! Leader election by a Lease, as client-go does it, so that AWS's controller and this one never both act.
//!
//! The decision is pure ([`decide`]); the clock of the other holder is never trusted: a Lease is free when it has not been
//! renewed for its duration as measured here.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;
use tombolo_telemetry::{ErrorChain, Outage};

use crate::client::CallError;
use crate::metrics::Metrics;

/// The name of the Lease of AWS's controller.
pub const NAME: &str = "appmesh-controller-leader-election";

/// For how long a Lease is held without a renewal. This and the next two are client-go's defaults, which AWS's controller
/// has.
const DURATION: Duration = Duration::from_secs(15);
/// For how long renewals may fail before the holder stops to act: less than [`DURATION`], so that it stops first.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts, of the holder and of those who wait.
const RETRY: Duration = Duration::from_secs(2);

/// What was seen of a Lease, and when by our own clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    spec: LeaseSpec,
    at: Instant,
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take it: it is free.
    Acquire,
    /// Renew it: it is ours.
    Renew,
    /// Wait: somebody else has it.
    Wait,
}

/// Decides about a Lease that now says `spec`. `seen` is what it said before, and since when.
pub fn decide(spec: &LeaseSpec, seen: &Seen, identity: &str, now: Instant) -> Decision {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder == identity {
        return Decision::Renew;
    }
    let seconds = spec.lease_duration_seconds.unwrap_or(0);
    let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    if holder.is_empty() || now.duration_since(seen.at) >= duration {
        return Decision::Acquire;
    }
    Decision::Wait
}

/// The next spec of a Lease that is taken or renewed.
fn held(old: &LeaseSpec, decision: &Decision, identity: &str, now: Timestamp) -> LeaseSpec {
    let is_taken = *decision == Decision::Acquire;
    let seconds = i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(seconds),
        acquire_time: match is_taken {
            true => Some(MicroTime(now)),
            false => old.acquire_time.clone(),
        },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(is_taken)),
        ..old.clone()
    }
}

/// The Lease was lost: whoever holds it now may act already, so this process must end.
#[derive(Debug, thiserror::Error)]
#[error("the Lease {NAME} in namespace {namespace} could not be renewed for {} seconds", RENEW_DEADLINE.as_secs())]
pub struct Lost {
    namespace: String,
}

/// One candidate for the Lease of one cluster.
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    identity: String,
    seen: Option<Seen>,
    metrics: Metrics,
}

impl Candidate {
    /// A candidate of this identity, which no other process has.
    pub fn new(client: Client, namespace: &str, identity: String, metrics: Metrics) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            identity,
            seen: None,
            metrics,
        }
    }

    /// Waits until the Lease is ours. Cancel safe.
    pub async fn acquire(&mut self) {
        let mut outage = Outage::default();
        let mut holder = String::new();
        loop {
            match self.attempt().await {
                Ok(None) => {
                    let namespace = &self.namespace;
                    tracing::info!(lease = NAME, namespace, "this replica leads");
                    return;
                }
                Ok(Some(other)) if other != holder => {
                    tracing::info!(
                        lease = NAME,
                        holder = other,
                        "another replica leads; waiting"
                    );
                    holder = other;
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    self.metrics.lease_failed();
                    if outage.begins() {
                        let error = ErrorChain(&error);
                        tracing::warn!(lease = NAME, %error, "cannot take the Lease; trying until it is taken");
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Whether the Lease is ours now; takes it if it is free.
    pub async fn confirm(&mut self) -> bool {
        matches!(self.attempt().await, Ok(None))
    }

    /// Renews the Lease until that fails for too long.
    pub async fn keep(&mut self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY).await;
            let left = (renewed + RENEW_DEADLINE).saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(None)) => renewed = Instant::now(),
                Ok(Err(error)) if renewed.elapsed() < RENEW_DEADLINE => {
                    self.metrics.lease_failed();
                    tracing::warn!(lease = NAME, error = %ErrorChain(&error), "Lease not renewed");
                }
                Ok(Ok(Some(_)) | Err(_)) | Err(_) => {
                    return Lost {
                        namespace: self.namespace.clone(),
                    };
                }
            }
        }
    }

    /// Gives the Lease up, so that the next replica need not wait.
    pub async fn release(&mut self) {
        let read = tokio::time::timeout(RETRY, self.api.get(NAME)).await;
        let Ok(Ok(mut lease)) = read else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        let params = PostParams::default();
        let released = tokio::time::timeout(RETRY, self.api.replace(NAME, &params, &lease)).await;
        if !matches!(released, Ok(Ok(_))) {
            tracing::debug!(lease = NAME, "Lease not given up; it expires");
        }
    }

    /// Takes or renews the Lease; answers with the holder if that is somebody else.
    async fn attempt(&mut self) -> Result<Option<String>, CallError> {
        let params = PostParams::default();
        let Some(mut lease) = crate::client::call_existing(self.api.get(NAME)).await? else {
            let spec = held(
                &LeaseSpec::default(),
                &Decision::Acquire,
                &self.identity,
                Timestamp::now(),
            );
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(spec),
            };
            crate::client::call(self.api.create(&params, &lease)).await?;
            return Ok(None);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let now = Instant::now();
        let seen = match self.seen.take() {
            Some(seen) if seen.spec == spec => seen,
            _ => Seen {
                spec: spec.clone(),
                at: now,
            },
        };
        let decision = decide(&spec, &seen, &self.identity, now);
        self.seen = Some(seen);
        if decision == Decision::Wait {
            return Ok(spec.holder_identity);
        }
        lease.spec = Some(held(&spec, &decision, &self.identity, Timestamp::now()));
        crate::client::call(self.api.replace(NAME, &params, &lease)).await?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_its_holder_was_silent_for_its_duration_by_our_clock() {
        let start = Instant::now();
        let seen = Seen {
            spec: spec("other"),
            at: start,
        };
        let after = |seconds| {
            let now = start + Duration::from_secs(seconds);
            decide(&spec("other"), &seen, "us", now)
        };
        assert_eq!(after(14), Decision::Wait);
        assert_eq!(after(15), Decision::Acquire);
        assert_eq!(decide(&spec("us"), &seen, "us", start), Decision::Renew);
        assert_eq!(decide(&spec(""), &seen, "us", start), Decision::Acquire);
    }

    #[test]
    fn a_renewal_keeps_the_time_and_the_number_of_the_transition() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let taken = held(&spec("other"), &Decision::Acquire, "us", at(10));
        assert_eq!(taken.lease_transitions, Some(4));
        let renewed = held(&taken, &Decision::Renew, "us", at(12));
        assert_eq!(renewed.acquire_time, Some(MicroTime(at(10))));
        assert_eq!(renewed.renew_time, Some(MicroTime(at(12))));
        assert_eq!(renewed.lease_transitions, Some(4));
    }
}

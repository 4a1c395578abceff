//! Leader election in etcd: the replica that creates the key of some work leads, as long as the key's lease lasts.

use super::{
    client::{CallError, Member},
    layout::Keys,
    options::Options,
    proto::{Compare, RequestOp, TxnRequest},
};
use crate::election::{Election, Leadership};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

/// The TTL of the lease in seconds: the time after which another replica can lead if this one has failed.
const LEASE_TTL: i64 = 8;
/// The time from the last keep-alive that was sent to the end of the leadership. Shorter than the lease: the leadership
/// must end here before another replica can lead.
const LEADERSHIP_VALIDITY: Duration = Duration::from_secs(7);
/// The timeout of revoking the lease.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval of keep-alives and of attempts to lead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// Campaigns for the leadership of some work until the election is dropped or resigned.
pub(crate) fn campaign(options: Arc<Options>, name: &str) -> Election {
    let (leadership, receiver) = watch::channel(None);
    let (resign, resigned) = oneshot::channel();
    let candidate = Candidate {
        key: Keys::new(&options.prefix).leader(name),
        name: name.to_owned(),
        options,
        member: None,
        number: 0,
        lease: None,
    };
    let task = tokio::spawn(candidate.run(leadership, resigned));
    Election::contested(receiver, resign, task)
}

struct Candidate {
    options: Arc<Options>,
    name: String,
    key: Vec<u8>,
    member: Option<Member>,
    number: usize,
    /// The newest lease, unless it was revoked.
    lease: Option<i64>,
}

impl Candidate {
    /// Campaigns until the sender of `resigned` is dropped, then revokes the lease.
    async fn run(
        mut self,
        leadership: watch::Sender<Option<Leadership>>,
        mut resigned: oneshot::Receiver<()>,
    ) {
        loop {
            let term = async {
                if let Err(failure) = self.term(&leadership).await {
                    tracing::debug!(work = self.name, %failure, "no part in the election now");
                    self.member = None;
                }
                leadership.send_replace(None);
                sleep(KEEPALIVE_INTERVAL).await;
            };
            tokio::select! {
                _ = &mut resigned => break,
                () = term => {}
            }
        }
        leadership.send_replace(None);
        self.revoke().await;
    }

    /// Revokes the lease, which deletes the key: otherwise no replica leads until the lease expires.
    async fn revoke(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        let revoked = async { self.member().await?.revoke(lease).await };
        match timeout(REVOKE_TIMEOUT, revoked).await {
            Ok(Ok(())) => tracing::info!(work = self.name, "gave up the lead"),
            Ok(Err(failure)) => tracing::warn!(work = self.name, %failure, "lease not revoked"),
            Err(_) => tracing::warn!(work = self.name, "lease not revoked: no answer"),
        }
    }

    /// Waits for the leadership and keeps it until it is lost.
    async fn term(
        &mut self,
        leadership: &watch::Sender<Option<Leadership>>,
    ) -> Result<(), CallError> {
        let mut granted = Instant::now();
        let lease = self.member().await?.grant(LEASE_TTL).await?;
        self.lease = Some(lease);
        let token = loop {
            if let Some(token) = self.try_to_lead(lease).await? {
                break token;
            }
            sleep(KEEPALIVE_INTERVAL).await;
            granted = Instant::now();
            if !self.member().await?.keep_alive(lease).await? {
                return Ok(());
            }
        };
        tracing::info!(work = self.name, token, "this replica leads");
        let name = self.name.clone();
        leadership.send_replace(Some(Leadership { name, token }));
        let mut valid_until = granted + LEADERSHIP_VALIDITY;
        loop {
            let keep_alive = async {
                sleep(KEEPALIVE_INTERVAL).await;
                let sent = Instant::now();
                let lasts = self.member().await?.keep_alive(lease).await?;
                Ok::<_, CallError>((sent, lasts))
            };
            match timeout_at(valid_until, keep_alive).await {
                Ok(Ok((sent, true))) => valid_until = sent + LEADERSHIP_VALIDITY,
                // Try the next member while the leadership is valid.
                Ok(Err(CallError::Lost(_))) => self.member = None,
                Ok(Ok((_, false)) | Err(_)) | Err(_) => {
                    tracing::warn!(work = self.name, token, "this replica leads no longer");
                    return Ok(());
                }
            }
        }
    }

    /// Tries to create the key. Returns the fencing token, the create revision of the key, if this replica leads.
    async fn try_to_lead(&mut self, lease: i64) -> Result<Option<u64>, CallError> {
        let (key, value) = (self.key.clone(), format!("{lease:x}").into_bytes());
        let request = TxnRequest {
            compare: vec![Compare::create_revision(key.clone(), 0)],
            success: vec![RequestOp::put_with_lease(lease, key.clone(), value.clone())],
            failure: vec![RequestOp::get(key)],
        };
        let answer = self.member().await?.txn(request).await?;
        let create_revision = match answer.range_result(0) {
            _ if answer.succeeded => answer.revision(),
            // The key was created by an attempt of this replica whose answer was lost.
            Some(kv) if kv.value == value => kv.create_revision,
            _ => return Ok(None),
        };
        Ok(Some(u64::try_from(create_revision).unwrap_or_default()))
    }

    async fn member(&mut self) -> Result<&Member, CallError> {
        if self.member.is_none() {
            self.number = (self.number + 1) % self.options.endpoints.len();
            let endpoint = &self.options.endpoints[self.number];
            self.member = Some(Member::connect(&self.options, endpoint).await?);
        }
        Ok(self.member.as_ref().expect("just connected"))
    }
}

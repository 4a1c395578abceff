//! Leader election for some work: the replica that creates the key leads, as long as the key's lease lasts.

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

/// Seconds after which another replica may lead when this one has failed.
const LEASE_TTL: i64 = 8;
/// Leadership ends so long after the last keep-alive was sent. Less than the lease: it must end here before it begins
/// elsewhere.
const LEADERSHIP_VALIDITY: Duration = Duration::from_secs(7);
/// Deadline of revoking the lease.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two keep-alives, and between two attempts to lead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// Takes part until the answer is dropped or resigns.
pub(crate) fn campaign(options: Arc<Options>, name: &str) -> Election {
    let (lead, leads) = watch::channel(None);
    let (resign, resigned) = oneshot::channel();
    let candidate = Candidate {
        key: Keys::new(&options.prefix).leader(name),
        name: name.to_owned(),
        options,
        member: None,
        number: 0,
        lease: None,
    };
    let task = tokio::spawn(candidate.run(lead, resigned));
    Election::among(leads, resign, task)
}

struct Candidate {
    options: Arc<Options>,
    name: String,
    key: Vec<u8>,
    member: Option<Member>,
    number: usize,
    /// The lease that was granted last, if it was not given back.
    lease: Option<i64>,
}

impl Candidate {
    /// Takes part until the sender of `resigned` is dropped, and lets another lead then.
    async fn run(
        mut self,
        lead: watch::Sender<Option<Leadership>>,
        mut resigned: oneshot::Receiver<()>,
    ) {
        loop {
            let term = async {
                if let Err(failure) = self.term(&lead).await {
                    tracing::debug!(work = self.name, %failure, "no part in the election now");
                    self.member = None;
                }
                lead.send_replace(None);
                sleep(KEEPALIVE_INTERVAL).await;
            };
            tokio::select! {
                _ = &mut resigned => break,
                () = term => {}
            }
        }
        lead.send_replace(None);
        self.revoke().await;
    }

    /// Revokes the lease, and with it the key: otherwise no replica leads until the lease ends.
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

    /// Waits for the lead and holds it until it is lost.
    async fn term(&mut self, lead: &watch::Sender<Option<Leadership>>) -> Result<(), CallError> {
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
        lead.send_replace(Some(Leadership { name, token }));
        let mut until = granted + LEADERSHIP_VALIDITY;
        loop {
            let keep_alive = async {
                sleep(KEEPALIVE_INTERVAL).await;
                let sent = Instant::now();
                let lasts = self.member().await?.keep_alive(lease).await?;
                Ok::<_, CallError>((sent, lasts))
            };
            match timeout_at(until, keep_alive).await {
                Ok(Ok((sent, true))) => until = sent + LEADERSHIP_VALIDITY,
                // The next member may know better, as long as there is time.
                Ok(Err(CallError::Lost(_))) => self.member = None,
                Ok(Ok((_, false)) | Err(_)) | Err(_) => {
                    tracing::warn!(work = self.name, token, "this replica leads no longer");
                    return Ok(());
                }
            }
        }
    }

    /// The fencing token, when this replica leads: the revision at which the key was made.
    async fn try_to_lead(&mut self, lease: i64) -> Result<Option<u64>, CallError> {
        let (key, value) = (self.key.clone(), format!("{lease:x}").into_bytes());
        let request = TxnRequest {
            compare: vec![Compare::made_at(key.clone(), 0)],
            success: vec![RequestOp::put_under(lease, key.clone(), value.clone())],
            failure: vec![RequestOp::get(key)],
        };
        let answer = self.member().await?.txn(request).await?;
        let made = match answer.read(0) {
            _ if answer.succeeded => answer.revision(),
            // Made by an attempt whose answer was lost.
            Some(kv) if kv.value == value => kv.create_revision,
            _ => return Ok(None),
        };
        Ok(Some(u64::try_from(made).unwrap_or_default()))
    }

    async fn member(&mut self) -> Result<&Member, CallError> {
        if self.member.is_none() {
            self.number = (self.number + 1) % self.options.endpoints.len();
            let at = &self.options.endpoints[self.number];
            self.member = Some(Member::connect(&self.options, at).await?);
        }
        Ok(self.member.as_ref().expect("just connected"))
    }
}

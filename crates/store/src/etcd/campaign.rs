//! The election of the replica that does some work: whoever makes the key leads, as long as the lease
//! lasts under which it was made.

use super::{
    client::{Failure, Member},
    layout::Keys,
    options::Options,
    proto::{Compare, PutRequest, Request, RequestOp, TxnRequest},
};
use crate::leader::{Lead, Leadership};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

/// Seconds after which another may lead when this replica is gone.
const LEASE: i64 = 8;
/// How long a lead lasts after the last sign of life was sent. Less than the lease: it must have ended here
/// before it begins elsewhere.
const VALID: Duration = Duration::from_secs(7);
/// Between two signs of life, and between two looks whether the place is free.
const BEAT: Duration = Duration::from_secs(1);

/// Takes part until the answer is dropped.
pub(crate) fn campaign(options: Arc<Options>, name: &str) -> Leadership {
    let (lead, leads) = watch::channel(None);
    let candidate = Candidate {
        key: Keys::new(&options.prefix).leader(name),
        name: name.to_owned(),
        options,
        member: None,
        number: 0,
    };
    let task = tokio::spawn(candidate.run(lead));
    Leadership::campaign(leads, task)
}

struct Candidate {
    options: Arc<Options>,
    name: String,
    key: Vec<u8>,
    member: Option<Member>,
    number: usize,
}

impl Candidate {
    async fn run(mut self, lead: watch::Sender<Option<Lead>>) {
        loop {
            if let Err(failure) = self.term(&lead).await {
                tracing::debug!(work = self.name, %failure, "no part in the election now");
                self.member = None;
            }
            lead.send_replace(None);
            sleep(BEAT).await;
        }
    }

    /// Waits for the lead and holds it until it is lost.
    async fn term(&mut self, lead: &watch::Sender<Option<Lead>>) -> Result<(), Failure> {
        let mut granted = Instant::now();
        let lease = self.member().await?.grant(LEASE).await?;
        let token = loop {
            if let Some(token) = self.try_to_lead(lease).await? {
                break token;
            }
            sleep(BEAT).await;
            granted = Instant::now();
            if !self.member().await?.keep_alive(lease).await? {
                return Ok(());
            }
        };
        tracing::info!(work = self.name, token, "this replica leads");
        lead.send_replace(Some(Lead {
            name: self.name.clone(),
            token,
            lease,
        }));
        let mut until = granted + VALID;
        loop {
            let beat = async {
                sleep(BEAT).await;
                let sent = Instant::now();
                let lasts = self.member().await?.keep_alive(lease).await?;
                Ok::<_, Failure>((sent, lasts))
            };
            match timeout_at(until, beat).await {
                Ok(Ok((sent, true))) => until = sent + VALID,
                // The next member may know better, as long as there is time.
                Ok(Err(Failure::Lost(_))) => self.member = None,
                Ok(Ok((_, false)) | Err(_)) | Err(_) => {
                    tracing::warn!(work = self.name, token, "this replica leads no longer");
                    return Ok(());
                }
            }
        }
    }

    /// The fencing token, when this replica leads: the revision at which the key was made.
    async fn try_to_lead(&mut self, lease: i64) -> Result<Option<u64>, Failure> {
        let (key, value) = (self.key.clone(), format!("{lease:x}").into_bytes());
        let request = TxnRequest {
            compare: vec![Compare::made_at(key.clone(), 0)],
            success: vec![
                Request::Put(PutRequest {
                    key: key.clone(),
                    value: value.clone(),
                    lease,
                })
                .into(),
            ],
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

    async fn member(&mut self) -> Result<&Member, Failure> {
        if self.member.is_none() {
            self.number = (self.number + 1) % self.options.endpoints.len();
            let at = &self.options.endpoints[self.number];
            self.member = Some(Member::connect(&self.options, at).await?);
        }
        Ok(self.member.as_ref().expect("just connected"))
    }
}

//! Work that one replica does at a time.

use std::future::Future;
use tokio::{sync::watch, task::JoinHandle};

/// The right to do some work that no other replica does meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The work.
    pub name: String,
    /// The fencing token: each lead of this work has a greater one than those before it.
    pub token: u64,
    /// The lease under which the lead is held; 0 where there are no replicas.
    pub lease: i64,
}

/// One replica's part in the election of who does some work. Dropping it gives up.
pub struct Leadership {
    lead: watch::Receiver<Option<Lead>>,
    campaign: Option<JoinHandle<()>>,
}

impl Leadership {
    /// Where there are no replicas, this process always leads.
    pub(crate) fn alone(name: &str) -> Self {
        let lead = Lead {
            name: name.to_owned(),
            token: 1,
            lease: 0,
        };
        Self {
            lead: watch::channel(Some(lead)).1,
            campaign: None,
        }
    }

    #[cfg(feature = "etcd")]
    pub(crate) fn campaign(lead: watch::Receiver<Option<Lead>>, campaign: JoinHandle<()>) -> Self {
        Self {
            lead,
            campaign: Some(campaign),
        }
    }

    /// Whether this replica leads now. A process that was stopped for a while may believe so for a moment
    /// although another leads already: what must not be written twice is committed with
    /// [`Store::commit_leading`](crate::Store::commit_leading).
    pub fn lead(&self) -> Option<Lead> {
        self.lead.borrow().clone()
    }

    /// Waits until that changes.
    pub async fn changed(&mut self) {
        if self.lead.changed().await.is_err() {
            // A lead without a campaign never ends.
            std::future::pending::<()>().await;
        }
    }

    /// Does the work whenever this replica leads: `work` makes a future for each lead, which is dropped
    /// when the lead is lost and must otherwise not end.
    pub async fn run<F: Future<Output = ()>>(mut self, mut work: impl FnMut(Lead) -> F) {
        loop {
            match self.lead() {
                Some(lead) => tokio::select! {
                    () = work(lead) => return,
                    () = self.changed() => {}
                },
                None => self.changed().await,
            }
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        if let Some(campaign) = &self.campaign {
            campaign.abort();
        }
    }
}

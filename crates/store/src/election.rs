//! Leader election: work that one replica does at a time.

use std::future::Future;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// The right to do some work that no other replica does meanwhile, as won in an [`Election`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The name of the work.
    pub name: String,
    /// The fencing token: each leadership of this work has a greater one than those before it.
    pub token: u64,
}

/// One replica's candidacy for some work. Dropping it resigns: another replica may
/// lead at once if the runtime goes on, else when the lease has ended.
pub struct Election {
    campaign: Campaign,
}

enum Campaign {
    /// There are no replicas: this process always leads.
    Alone(Leadership),
    Among {
        lead: watch::Receiver<Option<Leadership>>,
        /// Dropped to give up.
        resign: oneshot::Sender<()>,
        /// Ends when the lead is given up.
        task: JoinHandle<()>,
    },
}

impl Election {
    pub(crate) fn alone(name: &str) -> Self {
        let lead = Leadership {
            name: name.to_owned(),
            token: 1,
        };
        Self {
            campaign: Campaign::Alone(lead),
        }
    }

    /// `task` campaigns until the sender of `resign` is dropped.
    pub(crate) fn among(
        lead: watch::Receiver<Option<Leadership>>,
        resign: oneshot::Sender<()>,
        task: JoinHandle<()>,
    ) -> Self {
        Self {
            campaign: Campaign::Among { lead, resign, task },
        }
    }

    /// Whether this replica leads now. A process that was suspended may still answer one for a moment
    /// although another leads already: what must not be written twice is committed with
    /// [`Store::commit_as_leader`](crate::Store::commit_as_leader).
    pub fn lead(&self) -> Option<Leadership> {
        match &self.campaign {
            Campaign::Alone(lead) => Some(lead.clone()),
            Campaign::Among { lead, .. } => lead.borrow().clone(),
        }
    }

    /// Waits until that changes. Cancel safe.
    pub async fn changed(&mut self) {
        match &mut self.campaign {
            Campaign::Alone(_) => std::future::pending().await,
            Campaign::Among { lead, .. } => {
                if lead.changed().await.is_err() {
                    // The campaign ended: nothing changes any more.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Gives up, and returns when another replica may lead, or when etcd does not answer in time.
    pub async fn resign(self) {
        match self.campaign {
            Campaign::Alone(_) => {}
            Campaign::Among { resign, task, .. } => {
                drop(resign);
                // An error: it panicked, and holds nothing any more.
                let _ = task.await;
            }
        }
    }

    /// Does the work whenever this replica leads, until `stop` is ready: `work` makes a future for each
    /// lead, which is dropped when the lead is lost or the work is stopped. Returns when the lead is given
    /// up; also when the work ends by itself.
    pub async fn run<F: Future<Output = ()>>(
        mut self,
        stop: impl Future<Output = ()>,
        mut work: impl FnMut(Leadership) -> F,
    ) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let lead = self.lead();
            let working = async {
                match lead {
                    Some(lead) => work(lead).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stop => break,
                () = working => break,
                () = self.changed() => {}
            }
        }
        self.resign().await;
    }
}

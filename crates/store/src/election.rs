//! Leader election among the replicas.

use std::future::Future;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// The leadership of this replica for some work, won in an [`Election`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The name of the work.
    pub name: String,
    /// The fencing token: greater than those of all earlier leaderships for the same work.
    pub token: u64,
}

/// The candidacy of this replica for the leadership of some work. Dropping it resigns: another replica can lead at
/// once if the runtime keeps running, else when the lease has expired.
pub struct Election {
    campaign: Campaign,
}

enum Campaign {
    /// There are no other replicas: this process always leads.
    Uncontested(Leadership),
    /// Other replicas take part.
    Contested {
        leadership: watch::Receiver<Option<Leadership>>,
        /// Dropped to resign.
        resign: oneshot::Sender<()>,
        /// Ends after the resignation.
        task: JoinHandle<()>,
    },
}

impl Election {
    pub(crate) fn uncontested(name: &str) -> Self {
        let leadership = Leadership {
            name: name.to_owned(),
            token: 1,
        };
        Self {
            campaign: Campaign::Uncontested(leadership),
        }
    }

    /// A candidacy among replicas. `task` campaigns until `resign` is dropped.
    pub(crate) fn contested(
        leadership: watch::Receiver<Option<Leadership>>,
        resign: oneshot::Sender<()>,
        task: JoinHandle<()>,
    ) -> Self {
        Self {
            campaign: Campaign::Contested {
                leadership,
                resign,
                task,
            },
        }
    }

    /// The current leadership of this replica; `None` if it does not lead. In a process that was suspended it
    /// may be out of date for a moment, so changes that only the leader may make are committed with
    /// [`Store::commit_as_leader`](crate::Store::commit_as_leader).
    pub fn leadership(&self) -> Option<Leadership> {
        match &self.campaign {
            Campaign::Uncontested(leadership) => Some(leadership.clone()),
            Campaign::Contested { leadership, .. } => leadership.borrow().clone(),
        }
    }

    /// Waits until the leadership of this replica changes. Cancel safe.
    pub async fn changed(&mut self) {
        match &mut self.campaign {
            Campaign::Uncontested(_) => std::future::pending().await,
            Campaign::Contested { leadership, .. } => {
                if leadership.changed().await.is_err() {
                    // The campaign has ended: nothing changes any more.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Resigns. Returns when another replica can lead, or when etcd does not answer in time.
    pub async fn resign(self) {
        match self.campaign {
            Campaign::Uncontested(_) => {}
            Campaign::Contested { resign, task, .. } => {
                drop(resign);
                // An error means that the task panicked; its lease expires.
                let _ = task.await;
            }
        }
    }

    /// Does some work while this replica leads, until `stop` is ready. `work` makes a future for each
    /// leadership, which is dropped when the leadership is lost or `stop` is ready. Resigns and returns then,
    /// and when the work ends by itself.
    pub async fn run<F: Future<Output = ()>>(
        mut self,
        stop: impl Future<Output = ()>,
        mut work: impl FnMut(Leadership) -> F,
    ) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let leadership = self.leadership();
            let working = async {
                match leadership {
                    Some(leadership) => work(leadership).await,
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

//! The secret that the replicas share: the first of them makes it.

use super::{
    OPEN_TIMEOUT,
    client::{CallError, Member},
    layout::Keys,
    options::Options,
    proto::{Compare, RequestOp, TxnRequest},
};
use crate::{local_engine::OpenError, secret::Secret};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The pause after all members were asked in vain.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads the secret, or makes it where there is none. Fails when no member answers for ten seconds.
pub(crate) async fn secret(options: &Options) -> Result<Secret, OpenError> {
    let mut reason = "no member answers".to_owned();
    let search = async {
        loop {
            for at in &options.endpoints {
                match read_or_make(options, at).await {
                    Ok(secret) => return secret,
                    Err(error) => reason = error.to_string(),
                }
            }
            sleep(PAUSE).await;
        }
    };
    let found = timeout(OPEN_TIMEOUT, search).await;
    let cluster = options.to_string();
    match found {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(OpenError::Cluster {
            cluster,
            reason: "the secret of the replicas has another length".into(),
        }),
        Err(_) => Err(OpenError::Cluster { cluster, reason }),
    }
}

/// The secret; `None` when what is there is not one.
async fn read_or_make(options: &Options, at: &str) -> Result<Option<Secret>, CallError> {
    let key = Keys::new(&options.prefix).secret();
    let made = Secret::random();
    let request = TxnRequest {
        compare: vec![Compare::create_revision(key.clone(), 0)],
        success: vec![RequestOp::put(key.clone(), made.expose().to_vec())],
        failure: vec![RequestOp::get(key)],
    };
    let answer = Member::connect(options, at).await?.txn(request).await?;
    if answer.succeeded {
        return Ok(Some(made));
    }
    Ok(answer
        .range_result(0)
        .and_then(|kv| Secret::read(&kv.value)))
}

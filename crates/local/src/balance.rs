//! Load balancers: from an address of the host to a random ready pod of a Service.
//!
//! A plain TCP relay in user space. It is the way in for people and their browsers, not the data plane.

pub mod entrances;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::cluster::Entropy;

/// Connections that one load balancer carries at a time; the next one waits in the listen queue.
const CONNECTIONS: usize = 1024;

/// How long a pod may take to accept.
const CONNECT: Duration = Duration::from_secs(2);

/// Pods tried for one connection.
const ATTEMPTS: usize = 3;

/// Relays connections of `listener` until the task is dropped. `targets` are the ready pods at each moment.
pub async fn serve(
    listener: TcpListener,
    targets: watch::Receiver<Vec<SocketAddrV4>>,
    entropy: Arc<Entropy>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let (targets, entropy) = (targets.clone(), entropy.clone());
                tokio::spawn(async move {
                    relay(client, &targets, &entropy).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: waiting lets others finish.
                tracing::warn!(%error, "load balancer cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn relay(
    mut client: TcpStream,
    targets: &watch::Receiver<Vec<SocketAddrV4>>,
    entropy: &Entropy,
) {
    let mut candidates = targets.borrow().clone();
    for _ in 0..ATTEMPTS {
        if candidates.is_empty() {
            break;
        }
        let target = candidates.swap_remove(entropy.below(candidates.len()));
        match tokio::time::timeout(CONNECT, TcpStream::connect(target)).await {
            Ok(Ok(mut pod)) => {
                let _ = client.set_nodelay(true);
                let _ = pod.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
                return;
            }
            Ok(Err(error)) => tracing::debug!(%target, %error, "pod refused a connection"),
            Err(_) => tracing::debug!(%target, "pod did not accept in time"),
        }
    }
    // Nobody answers: close with a reset, as a load balancer without targets does.
    let _ = client.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn answering(text: &'static str) -> SocketAddrV4 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            unreachable!()
        };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        address
    }

    async fn ask(address: std::net::SocketAddr) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = stream.read_to_string(&mut text).await;
        }
        text
    }

    #[tokio::test]
    async fn connections_reach_only_pods_that_are_ready_now() {
        let (red, blue) = (answering("red").await, answering("blue").await);
        let (sender, targets) = watch::channel(vec![red, blue]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, targets, Arc::new(Entropy::seeded(3))));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..40 {
            seen.insert(ask(address).await);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["blue", "red"]);
        sender.send_replace(vec![blue]);
        for _ in 0..10 {
            assert_eq!(ask(address).await, "blue");
        }
        sender.send_replace(Vec::new());
        assert_eq!(ask(address).await, "");
    }
}

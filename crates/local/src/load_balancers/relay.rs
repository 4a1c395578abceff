//! A TCP relay in user space from an address of the host to a random ready pod of a Service.

use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::accept_loop;

/// Maximum concurrent connections of one load balancer; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 1024;

/// Deadline for connecting to a pod.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum pods that are tried for one connection.
const ATTEMPTS: usize = 3;

/// Relays connections of `listener` until dropped. `targets` are the pods that are ready.
pub(super) async fn serve(listener: TcpListener, targets: watch::Receiver<Vec<SocketAddrV4>>) {
    accept_loop::run("load balancer", listener, MAX_CONNECTIONS, |client| {
        let candidates = targets.borrow().clone();
        relay(client, candidates)
    })
    .await;
}

async fn relay(mut client: TcpStream, mut candidates: Vec<SocketAddrV4>) {
    fastrand::shuffle(&mut candidates);
    for target in candidates.into_iter().take(ATTEMPTS) {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
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
    // No pod answers: close with a reset, as a load balancer without targets does.
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
        tokio::spawn(serve(listener, targets));
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

//! The AWS APIs over a store in memory, on loopback: `dev_server [port]`. Development only: callers are
//! not authenticated.

use std::{env, error::Error, net::Ipv4Addr};
use tokio::net::TcpListener;
use tombolo_api::{Config, Server};
use tombolo_store::Store;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}", listener.local_addr()?);
    let server = Server::new(Store::memory(), Config::default())?;
    let shutdown = async {
        // Without a signal handler the server runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    server.serve(listener, shutdown).await?;
    Ok(())
}

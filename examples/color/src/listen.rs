//! The HTTP server: HTTP/1.1 and HTTP/2 without TLS on one port.

use crate::program::Program;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};

/// How many connections are served at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 1024;

/// A body of our own, or one that is passed on.
pub(crate) type Body = Either<Full<Bytes>, Incoming>;

/// An answer of our own.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    *response.status_mut() = status;
    response
}

/// Serves until `stop` is done, then ends what is under way, for at most `grace`.
pub(crate) async fn serve(
    listener: TcpListener,
    program: Program,
    stop: impl Future<Output = ()>,
    grace: Duration,
) {
    let program = Arc::new(program);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (stream, permit) = tokio::select! {
            () = &mut stop => break,
            (accepted, permit) = accepted => match accepted {
                Ok((stream, _)) => (stream, permit),
                Err(error) => {
                    // Out of file descriptors, most likely; one will be freed.
                    eprintln!("cannot accept: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        // Answers are small; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let program = program.clone();
        let service = service_fn(move |request| {
            let program = program.clone();
            async move { Ok::<_, Infallible>(answer(&program, request).await) }
        });
        let connection = server
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // An error here is a client that went away, which is its own affair.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
}

async fn answer(program: &Program, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() == "/ping" {
        return text(StatusCode::OK, "");
    }
    match program {
        Program::Front(front) => front.answer(&request).await,
        Program::Color(color) => color.answer(&request).await,
    }
}

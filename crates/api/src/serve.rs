//! The accept loop. It bounds what `axum::serve` leaves open: time for a request's header, and connections.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{State, Tls, client::Peer, routes::router};

/// Connections at a time; more wait in the kernel until one ends.
const CONNECTIONS_MAX: usize = 1024;

/// How long running requests and uploads may go on after the shutdown. Whoever stops containers kills after ten seconds, and the
/// database is to be closed before.
const GRACE: Duration = Duration::from_secs(6);

/// How long they may take to end once they are broken off.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait when the system has no room for a connection, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until the shutdown, then lets running requests and uploads finish for at most six seconds.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    state: State,
    shutdown: CancellationToken,
) {
    let tasks = state.tasks.clone();
    let mut http = http1::Builder::new();
    // A client may close its side once it has sent its request; what it sent is worked on all the same.
    http.half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(state.config.header_timeout());
    if let Some(tls) = tls.clone() {
        let shutdown = shutdown.clone();
        tasks.spawn(async move { shutdown.run_until_cancelled(tls.keep_fresh()).await });
    }
    let rates = state.rates.clone();
    let until = shutdown.clone();
    tasks.spawn(async move { until.run_until_cancelled(rates.keep_small()).await });
    let abort = state.abort.clone().drop_guard();
    let connection = Connection {
        http,
        tls,
        header_timeout: state.config.header_timeout(),
        abort: state.abort.clone(),
        router: router(state),
        shutdown: shutdown.clone(),
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async {
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let connection = connection.clone();
                    tasks.spawn(async move {
                        connection.run(stream, address).await;
                        drop(slot);
                    });
                }
                Err(error) => wait_out(error).await,
            }
        }
    };
    _ = shutdown.run_until_cancelled(accept).await;
    drop(listener);
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(
            unfinished = tasks.len(),
            "requests and uploads were broken off at shutdown; nothing of them was acknowledged"
        );
        drop(abort);
        _ = timeout(ABORT_TIMEOUT, tasks.wait()).await;
    }
}

/// A client that went away before it was accepted is no reason to wait; anything else is out of our hands for a while.
async fn wait_out(error: io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset => {}
        _ => {
            tracing::warn!(%error, "a connection could not be accepted");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

#[derive(Clone)]
struct Connection {
    http: http1::Builder,
    tls: Option<Tls>,
    /// Also how long a client may take to agree on TLS.
    header_timeout: Duration,
    router: Router,
    shutdown: CancellationToken,
    abort: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream, address: SocketAddr) {
        // Answers are written at once; waiting for more to send only makes them late.
        _ = stream.set_nodelay(true);
        let peer = Peer {
            address: address.ip(),
            is_tls: self.tls.is_some(),
        };
        let Some(tls) = &self.tls else {
            return self.answer(stream, peer).await;
        };
        let accepted = timeout(self.header_timeout, tls.acceptor.accept(stream));
        let accepted = self
            .shutdown
            .clone()
            .run_until_cancelled_owned(accepted)
            .await;
        match accepted {
            Some(Ok(Ok(stream))) => self.answer(stream, peer).await,
            Some(Ok(Err(error))) => tracing::debug!(%error, "a client did not agree on TLS"),
            Some(Err(_)) | None => {}
        }
    }

    async fn answer(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
    ) {
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    result = connection => result,
                    () = self.abort.cancelled() => return,
                }
            }
        };
        if let Err(error) = result {
            // The doing of clients: they go away, are too slow, or do not speak HTTP.
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

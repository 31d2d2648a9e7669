use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    connections::{ConnectionGuard, Connections},
    endpoints::Endpoints,
};

/// The pause when the system cannot accept a connection, for example as there are no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// Limits of a [`Server`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The address to listen on. Default `127.0.0.1:9464`: metrics reveal a lot, so other hosts have access only if you
    /// ask for it, such as with `0.0.0.0:9464`. Port 0 takes any free port.
    pub address: SocketAddr,
    /// The most connections that have not sent a complete request, and also the most (but at least 16) that are being
    /// answered. Default 256, at least 1. Beyond that the oldest is closed, so that probes are always answered.
    pub max_connections: usize,
    /// How long a connection may last, from its acceptance to the end of its answer. Default 10 s. A connection serves
    /// one request, so this is also how long an idle one is kept.
    pub request_timeout: Duration,
    /// Largest head of a request in bytes. Default 16 KiB, at least 8 KiB. A larger one is answered with 431.
    pub max_header_bytes: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9464)),
            max_connections: 256,
            request_timeout: Duration::from_secs(10),
            max_header_bytes: 16 * 1024,
        }
    }
}

/// A small HTTP 1 server for [`Endpoints`]. Dropping it stops it at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and serves on the current runtime.
    ///
    /// # Errors
    ///
    /// The system does not allow to listen there, or a limit is invalid.
    pub async fn bind(config: ServerConfig, endpoints: Endpoints) -> io::Result<Self> {
        if config.max_connections == 0 || config.request_timeout.is_zero() {
            let reason = "max_connections and request_timeout must be more than zero";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let listener = listen(config.address)?;
        let address = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(accept(listener, config, endpoints, stopping));
        Ok(Self {
            address,
            stop,
            task: Some(task),
        })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more requests, and waits until the current ones are answered, at most `request_timeout`.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future stops the server at once.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = &mut self.task {
            // A panic or an abort also ends the task.
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn accept(
    listener: TcpListener,
    config: ServerConfig,
    endpoints: Endpoints,
    mut stopping: watch::Receiver<bool>,
) {
    let config = Arc::new(config);
    let places = Arc::new(Connections::new(config.max_connections));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            accepted = next(&listener, &places) => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(
            stream,
            place,
            Arc::clone(&config),
            endpoints.clone(),
            stopping.clone(),
        ));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port that was in use a moment ago can be bound again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn next(listener: &TcpListener, places: &Arc<Connections>) -> (TcpStream, ConnectionGuard) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, places.take().await),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::debug!(%error, "no connection could be accepted");
                places.free_one();
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Whether the error concerns only the connection that would have been accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn serve(
    stream: TcpStream,
    place: ConnectionGuard,
    config: Arc<ServerConfig>,
    endpoints: Endpoints,
    mut stopping: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        place.begin_answer();
        let response = endpoints.respond(&request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.request_timeout)
        .max_buf_size(config.max_header_bytes.max(8 * 1024))
        .keep_alive(false)
        // A client that has closed its sending half still gets its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = async {
        // In this order, so that an evicted connection is read once more.
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            () = place.evicted() => return Ok(()),
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match timeout(config.request_timeout, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection failed"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}

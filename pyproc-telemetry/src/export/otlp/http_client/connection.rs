//! One connection to a collector, and the runtime that drives it.

use std::{
    error::Error,
    fmt, io,
    net::ToSocketAddrs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header::RETRY_AFTER};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::error::chain;

const MAX_HEAD: usize = 16 * 1024;
/// The rest of a longer answer is not read, and its connection is not used again.
pub(super) const MAX_BODY: usize = 64 * 1024;

pub(super) struct Connection {
    runtime: Runtime,
    requests: SendRequest<Full<Bytes>>,
}

/// An answer of any status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// At most `MAX_BODY` bytes.
    pub(super) body: Vec<u8>,
    pub(super) is_complete: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    TimedOut,
    Connection(Box<dyn Error + Send + Sync>),
}

impl Connection {
    /// Connects to one of the addresses of a host. `wrap` adds TLS.
    pub(super) fn open<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        address: (&str, u16),
        deadline: Instant,
        wrap: impl AsyncFnOnce(TcpStream) -> io::Result<S>,
    ) -> Result<Self, Failed> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let requests = runtime.block_on(async {
            let tcp = connect(address, deadline).await?;
            within(deadline, async {
                let stream = TokioIo::new(wrap(tcp).await?);
                let mut settings = http1::Builder::new();
                let handshake = settings.max_buf_size(MAX_HEAD).handshake(stream);
                let (requests, connection) = handshake.await?;
                // Its error is that of the request.
                tokio::spawn(async { drop(connection.await) });
                Ok(requests)
            })
            .await
        })?;
        Ok(Self { runtime, requests })
    }

    pub(super) fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, Failed> {
        let Self { runtime, requests } = self;
        runtime.block_on(within(deadline, async {
            requests.ready().await?;
            let (head, body) = requests.send_request(request).await?.into_parts();
            let retry_after = head.headers.get(RETRY_AFTER);
            let (body, is_complete) = start_of(body).await?;
            Ok(Answer {
                status: head.status.as_u16(),
                // A date would need a calendar. Without a number of seconds the usual waits apply.
                retry_after: retry_after
                    .and_then(|it| it.to_str().ok()?.trim().parse().ok())
                    .map(Duration::from_secs),
                body,
                is_complete,
            })
        }))
    }
}

async fn connect(address: (&str, u16), deadline: Instant) -> Result<TcpStream, Failed> {
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    let mut last = Failed::from(io::Error::new(
        io::ErrorKind::NotFound,
        "the name has no address",
    ));
    for (share, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        // An address that swallows packets leaves time for the others.
        let share = left(deadline)? / share;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = Failed::TimedOut,
        }
    }
    Err(last)
}

/// The beginning of a body, and whether that is all of it.
async fn start_of(mut body: Incoming) -> hyper::Result<(Vec<u8>, bool)> {
    let mut start = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().unwrap_or_default();
        let room = MAX_BODY - start.len();
        start.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((start, false));
        }
    }
    Ok((start, true))
}

async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    timeout(left(deadline)?, work)
        .await
        .unwrap_or(Err(Failed::TimedOut))
}

fn left(deadline: Instant) -> Result<Duration, Failed> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Failed::TimedOut),
        left => Ok(left),
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Connection(error.into())
    }
}

impl From<hyper::Error> for Failed {
    fn from(error: hyper::Error) -> Self {
        Self::Connection(error.into())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Connection(error) => f.write_str(&chain(&**error)),
        }
    }
}

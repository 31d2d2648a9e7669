//! HTTP/1.1 by hyper: a connection for each caller, kept alive.

use std::{net::TcpListener, path::PathBuf, sync::Arc, time::Instant};

use crate::{job::Job, plan::Session, row::Row};
use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::{
    load::{self, Caller, Target},
    server::Server,
};
use crate::catalog::HttpServer;

pub(crate) async fn measure(session: &Session, kind: HttpServer) -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let job = Arc::new(Job::of(session));
    let begin = Instant::now();
    let (mut servers, mut addresses) = (Vec::new(), Vec::new());
    match kind {
        HttpServer::Uvicorn => {
            // A process each, on its own socket: sharing one spreads kept connections by chance.
            for number in 0..session.workers {
                let socket = dir.path().join(format!("{number}.sock"));
                servers.push(Server::start(
                    &session.python,
                    "uvicorn_server.py",
                    [&socket],
                )?);
                addresses.push(Address::Unix(socket));
            }
        }
        HttpServer::Mosec => {
            let port = free_port()?;
            let args = [
                port.to_string(),
                session.workers.to_string(),
                job.method().into(),
            ];
            servers.push(Server::start(&session.python, "mosec_server.py", args)?);
            addresses.push(Address::Tcp(port));
        }
    }
    let target = HttpTarget { addresses, job };
    for (slot, server) in servers.iter_mut().enumerate() {
        server
            .answers(async || target.caller(slot).await?.call().await)
            .await?;
    }
    let spawn = begin.elapsed();
    load::measure(session, &Running { target, servers }, spawn).await
}

enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

struct Running {
    target: HttpTarget,
    servers: Vec<Server>,
}

struct HttpTarget {
    addresses: Vec<Address>,
    job: Arc<Job>,
}

impl HttpTarget {
    async fn caller(&self, slot: usize) -> Result<HttpCaller> {
        let sender = match &self.addresses[slot % self.addresses.len()] {
            Address::Unix(path) => connected(UnixStream::connect(path).await?).await?,
            Address::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).await?;
                stream.set_nodelay(true)?;
                connected(stream).await?
            }
        };
        Ok(HttpCaller {
            sender,
            job: Arc::clone(&self.job),
        })
    }
}

async fn connected<S>(stream: S) -> Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Target for Running {
    type Caller = HttpCaller;

    async fn caller(&self, slot: usize) -> Result<HttpCaller> {
        self.target.caller(slot).await
    }

    fn workers(&self) -> Vec<u32> {
        self.servers.iter().flat_map(Server::pids).collect()
    }
}

struct HttpCaller {
    sender: SendRequest<Full<Bytes>>,
    job: Arc<Job>,
}

impl Caller for HttpCaller {
    async fn call(&mut self) -> Result<()> {
        let request = Request::post(format!("/{}", self.job.method()))
            .header(HOST, "localhost")
            .body(Full::new(self.job.encode()?))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "status {status}: {}",
            String::from_utf8_lossy(&body)
        );
        self.job.check(&body)
    }
}

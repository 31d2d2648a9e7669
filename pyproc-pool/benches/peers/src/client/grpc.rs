//! gRPC by tonic, over HTTP/2 on a Unix socket. Messages are JSON, or the array as it is: all peers
//! carry the same bodies, and protobuf's own form of a free document would be slower.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::{job::Job, plan::Session, row::Row};
use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use super::{
    load::{self, Caller, Target},
    server::Server,
};

pub(crate) async fn measure(session: &Session) -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let job = Arc::new(Job::of(session));
    let begin = Instant::now();
    let sockets: Vec<PathBuf> = (0..session.workers)
        .map(|number| dir.path().join(format!("{number}.sock")))
        .collect();
    let mut servers = Vec::new();
    for socket in &sockets {
        servers.push(Server::start(&session.python, "grpc_server.py", [socket])?);
    }
    let mut channels = Vec::new();
    for (server, socket) in servers.iter_mut().zip(&sockets) {
        let connected = server
            .answers(async || {
                let channel = connect(socket).await?;
                GrpcCaller::new(channel.clone(), &job)?.call().await?;
                Ok(channel)
            })
            .await?;
        channels.push(connected);
    }
    let spawn = begin.elapsed();
    let target = GrpcTarget {
        channels,
        job,
        servers,
    };
    load::measure(session, &target, spawn).await
}

async fn connect(socket: &Path) -> Result<Channel> {
    let socket = socket.to_path_buf();
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(endpoint.connect_with_connector(connector).await?)
}

struct GrpcTarget {
    channels: Vec<Channel>,
    job: Arc<Job>,
    servers: Vec<Server>,
}

impl Target for GrpcTarget {
    type Caller = GrpcCaller;

    async fn caller(&self, slot: usize) -> Result<GrpcCaller> {
        let channel = self.channels[slot % self.channels.len()].clone();
        GrpcCaller::new(channel, &self.job)
    }

    fn workers(&self) -> Vec<u32> {
        self.servers.iter().flat_map(Server::pids).collect()
    }
}

struct GrpcCaller {
    client: Grpc<Channel>,
    path: PathAndQuery,
    job: Arc<Job>,
}

impl GrpcCaller {
    fn new(channel: Channel, job: &Arc<Job>) -> Result<Self> {
        Ok(Self {
            client: Grpc::new(channel),
            path: format!("/bench.Functions/{}", job.method()).parse()?,
            job: Arc::clone(job),
        })
    }
}

impl Caller for GrpcCaller {
    async fn call(&mut self) -> Result<()> {
        let request = Request::new(self.job.encode()?);
        self.client.ready().await?;
        let path = self.path.clone();
        let response = self.client.unary(request, path, Raw).await;
        let response = response.context("gRPC refused the call")?;
        self.job.check(response.get_ref())
    }
}

/// Messages that are bytes already.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

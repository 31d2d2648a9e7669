//! An OTLP collector over gRPC that does as it is told.
#![allow(dead_code, reason = "each test uses a part")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span as ProtoSpan,
};
use tonic::{Request, Response, Status, codec::CompressionEncoding, transport::Server};

use crate::support;

pub(crate) type Answer = Result<i64, Status>;

#[derive(Clone)]
pub(crate) struct Collector {
    answer: Arc<dyn Fn(usize) -> Option<Answer> + Send + Sync>,
    pub(crate) requests: Arc<Mutex<Vec<Request<ExportTraceServiceRequest>>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request);
            requests.len() - 1
        };
        let Some(answer) = (self.answer)(number) else {
            std::future::pending().await
        };
        let partial_success = match answer? {
            0 => None,
            rejected_spans => Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: String::new(),
            }),
        };
        Ok(Response::new(ExportTraceServiceResponse {
            partial_success,
        }))
    }
}

impl Collector {
    /// `answer` gets the number of the request; `None` is no answer at all.
    pub(crate) fn start(
        answer: impl Fn(usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> (Self, SocketAddr) {
        let collector = Self {
            answer: Arc::new(answer),
            requests: Arc::default(),
        };
        let service =
            TraceServiceServer::new(collector.clone()).accept_compressed(CompressionEncoding::Gzip);
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let incoming =
                    tonic::transport::server::TcpIncoming::bind(([127, 0, 0, 1], 0).into())
                        .unwrap();
                sender.send(incoming.local_addr().unwrap()).unwrap();
                Server::builder()
                    .add_service(service)
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        (collector, receiver.recv().unwrap())
    }

    pub(crate) fn spans(&self) -> Vec<ProtoSpan> {
        let requests = self.requests.lock().unwrap();
        support::spans(requests.iter().map(|request| request.get_ref().clone()))
    }
}

//! A collector behind `https`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    io::{BufReader, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
};

use opentelemetry::trace::{Span, Tracer};
use pyproc_telemetry::{OtlpConfig, Provider};
use rustls::{ServerConfig, ServerConnection, Stream, crypto::ring, pki_types::PrivateKeyDer};
use support::LONG;

struct Collector {
    address: SocketAddr,
    /// Removed on drop.
    certificate: PathBuf,
}

impl Collector {
    /// Takes all that comes, with a certificate for `localhost` that only its own file vouches for.
    fn start(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let certificate = certificate_file(name, &made.cert.pem());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, &Arc::new(config)));
        Self {
            address,
            certificate,
        }
    }

    fn otlp(&self) -> OtlpConfig {
        OtlpConfig {
            endpoint: Some(format!("https://localhost:{}", self.address.port())),
            timeout: LONG,
            ..OtlpConfig::default()
        }
    }
}

fn certificate_file(name: &str, pem: &str) -> PathBuf {
    let file = format!("pyproc-telemetry-{name}-{}.pem", std::process::id());
    let path = std::env::temp_dir().join(file);
    std::fs::write(&path, pem).unwrap();
    path
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
    }
}

fn serve(listener: &TcpListener, config: &Arc<ServerConfig>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
        let mut reader = BufReader::new(Stream::new(&mut tls, &mut stream));
        while support::read_request(&mut reader).is_some() {
            reader.get_mut().write_all(&support::success(None)).unwrap();
        }
    }
}

fn provider(otlp: OtlpConfig) -> Provider {
    let provider = Provider::builder()
        .enabled(true)
        .otlp(otlp)
        .shutdown_timeout(LONG)
        .start()
        .unwrap();
    provider.tracer("t").start("s").end();
    provider
}

#[test]
fn a_collector_whose_certificate_was_named_is_trusted() {
    let collector = Collector::start("named");
    let provider = provider(OtlpConfig {
        certificate: Some(collector.certificate.clone()),
        ..collector.otlp()
    });
    provider.flush_blocking(LONG).unwrap();
    provider.tracer("t").start("s").end();
    assert_eq!(provider.shutdown_blocking().unwrap().exported, 2);
}

#[test]
fn a_collector_that_nobody_vouches_for_is_not() {
    let collector = Collector::start("vouched");
    // Another collector's certificate, so that the test does not depend on what the system trusts.
    let other = Collector::start("other");
    let provider = provider(OtlpConfig {
        certificate: Some(other.certificate.clone()),
        ..collector.otlp()
    });
    let error = provider.shutdown_blocking().unwrap_err();
    let reason = error.source.unwrap().reason;
    assert!(reason.contains("certificate"), "{reason}");
}

#[test]
fn a_file_without_certificates_is_an_error_at_the_start() {
    let collector = Collector::start("broken");
    let reason = |certificate: std::path::PathBuf| {
        let otlp = OtlpConfig {
            certificate: Some(certificate),
            ..collector.otlp()
        };
        let started = Provider::builder().enabled(true).otlp(otlp).start();
        let Err(error @ pyproc_telemetry::StartError::Tls(_)) = started else {
            panic!("{started:?}");
        };
        error.to_string()
    };
    std::fs::write(&collector.certificate, "nothing").unwrap();
    let text = reason(collector.certificate.clone());
    assert!(text.ends_with("holds no certificate"), "{text}");
    let text = reason("/no/such.pem".into());
    assert!(text.contains("/no/such.pem: No such file"), "{text}");
}

#[cfg(feature = "grpc")]
mod grpc {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    };
    use pyproc_telemetry::OtlpProtocol;
    use tonic::{
        Request, Response, Status,
        transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
    };

    use super::*;

    struct TakesAll;

    #[tonic::async_trait]
    impl TraceService for TakesAll {
        async fn export(
            &self,
            _: Request<ExportTraceServiceRequest>,
        ) -> Result<Response<ExportTraceServiceResponse>, Status> {
            Ok(Response::new(ExportTraceServiceResponse::default()))
        }
    }

    fn start(name: &str) -> Collector {
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let certificate = certificate_file(name, &made.cert.pem());
        let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
        let (sender, address) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
                sender.send(incoming.local_addr().unwrap()).unwrap();
                Server::builder()
                    .tls_config(ServerTlsConfig::new().identity(identity))
                    .unwrap()
                    .add_service(TraceServiceServer::new(TakesAll))
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        Collector {
            address: address.recv().unwrap(),
            certificate,
        }
    }

    fn grpc(collector: &Collector, trusted: &Collector) -> Provider {
        provider(OtlpConfig {
            protocol: OtlpProtocol::Grpc,
            certificate: Some(trusted.certificate.clone()),
            ..collector.otlp()
        })
    }

    #[test]
    fn grpc_trusts_the_certificate_that_was_named_and_no_other() {
        let (collector, other) = (start("grpc"), start("grpc-other"));
        let trusting = grpc(&collector, &collector);
        assert_eq!(trusting.shutdown_blocking().unwrap().exported, 1);
        let distrusting = grpc(&collector, &other);
        assert_eq!(
            distrusting.shutdown_blocking().unwrap_err().stats.exported,
            0
        );
    }
}

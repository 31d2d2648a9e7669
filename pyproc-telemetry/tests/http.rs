//! The HTTP endpoint.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/answer.rs"]
mod answer;
#[path = "support/sidecar.rs"]
mod sidecar;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use answer::Answer;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use prometheus::{IntCounter, Registry};
use pyproc_telemetry::http::{Endpoints, Server, ServerConfig};
use tower_service::Service;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);
const PROBE: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

fn endpoints() -> (Endpoints, Arc<AtomicBool>) {
    let registry = Registry::new();
    let jobs = IntCounter::new("jobs_total", "Jobs.").unwrap();
    registry.register(Box::new(jobs.clone())).unwrap();
    jobs.inc();
    let ready = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ready);
    let endpoints =
        Endpoints::new(registry).ready_when(move || match asked.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err("0 of 4 workers are ready".to_owned()),
        });
    (endpoints, ready)
}

fn local(config: ServerConfig) -> ServerConfig {
    ServerConfig {
        address: ([127, 0, 0, 1], 0).into(),
        ..config
    }
}

/// Says it, and reads until the server closes.
fn exchange(address: SocketAddr, said: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(said.as_bytes()).unwrap();
    rest_of(stream)
}

fn rest_of(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

async fn said(address: SocketAddr, text: impl Into<String>) -> String {
    let text = text.into();
    tokio::task::spawn_blocking(move || exchange(address, &text))
        .await
        .unwrap()
}

#[test]
fn the_scrape_configuration_names_the_port_of_the_server_which_is_not_prometheus_own() {
    let port = ServerConfig::default().address.port();
    assert_ne!(port, 9090);
    let scrape = include_str!("../dashboards/prometheus.yml");
    assert!(
        scrape.contains(&format!("[\"localhost:{port}\"]")),
        "{scrape}"
    );
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (endpoints, _) = endpoints();
    let server = Server::bind(local(ServerConfig::default()), endpoints)
        .await
        .unwrap();
    let address = server.local_addr();

    let text = said(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = Answer::parse(&text).unwrap();
    assert!(answer.whole && answer.status() == 200, "{text}");
    assert!(
        text.contains("content-type: text/plain; version=0.0.4"),
        "{text}"
    );
    assert!(
        answer
            .body
            .ends_with("# TYPE jobs_total counter\njobs_total 1\n"),
        "{text}"
    );

    // One request for each connection, whatever the client asks for.
    assert!(text.contains("connection: close\r\n"), "{text}");

    let open = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text\r\n\r\n";
    let text = said(address, open).await;
    assert!(
        text.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{text}"
    );
    let answer = Answer::parse(&text).unwrap();
    assert!(
        answer.whole && answer.body.ends_with("jobs_total 1.0\n# EOF\n"),
        "{text}"
    );

    // A client of version 1.0 knows no chunks.
    let text = said(address, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(text.ends_with("\njobs_total 1\n"), "{text}");
    server.shutdown().await;
}

#[tokio::test]
async fn readiness_follows_the_service_and_says_why_not() {
    let (mut endpoints, ready) = endpoints();
    let request = || Request::get("/readyz").body(()).unwrap();
    let answer = endpoints.call(request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "not ready: 0 of 4 workers are ready\n");
    assert_eq!(Endpoints::healthz().status(), StatusCode::OK);

    ready.store(true, Ordering::SeqCst);
    let answer = endpoints.call(request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let (endpoints, _) = endpoints();
    let status = |method: &str, path: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        endpoints.respond(&request)
    };
    assert_eq!(status("GET", "/").status(), StatusCode::NOT_FOUND);
    assert_eq!(status("GET", "/metrics/x").status(), StatusCode::NOT_FOUND);
    assert_eq!(status("GET", "/metrics?x=y").status(), StatusCode::OK);
    let refused = status("POST", "/metrics");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["allow"], "GET, HEAD");
    let head = status("HEAD", "/metrics");
    assert_eq!(head.status(), StatusCode::OK);
    assert!(
        head.into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[test]
fn it_listens_on_loopback_unless_told_otherwise() {
    assert!(ServerConfig::default().address.ip().is_loopback());
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let (endpoints, _) = endpoints();
    let server = Server::bind(local(ServerConfig::default()), endpoints)
        .await
        .unwrap();
    let address = server.local_addr();
    let text = format!(
        "GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n",
        "y".repeat(17 * 1024)
    );
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        // The server may close while we still write.
        let _ = stream.write_all(text.as_bytes());
        let mut start = [0; 12];
        stream.read_exact(&mut start).map(|()| start)
    });
    assert_eq!(&answer.await.unwrap().unwrap(), b"HTTP/1.1 431");
    server.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_closed() {
    let (endpoints, _) = endpoints();
    let config = ServerConfig {
        request_timeout: SHORT,
        ..ServerConfig::default()
    };
    let server = Server::bind(local(config), endpoints).await.unwrap();
    // Neither of these ever sends a whole request.
    for start in ["", "GET /metrics HTTP/1.1\r\nhost"] {
        let answer = said(server.local_addr(), start).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn the_oldest_idle_connection_gives_way_to_a_probe() {
    let (endpoints, _) = endpoints();
    let config = ServerConfig {
        max_connections: 2,
        request_timeout: LONG,
        ..ServerConfig::default()
    };
    let server = Server::bind(local(config), endpoints).await.unwrap();
    let address = server.local_addr();
    let connect = || TcpStream::connect(address).unwrap();
    let (oldest, mut newer) = (connect(), connect());
    let answer = said(address, PROBE).await;
    assert!(answer.contains("200 OK"), "{answer}");
    let closed = tokio::task::spawn_blocking(move || rest_of(oldest));
    assert_eq!(closed.await.unwrap(), "");
    newer.write_all(PROBE.as_bytes()).unwrap();
    let answer = tokio::task::spawn_blocking(move || rest_of(newer));
    assert!(answer.await.unwrap().contains("200 OK"));
    server.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_idle_connections_and_frees_the_port() {
    let (endpoints, _) = endpoints();
    let config = ServerConfig {
        request_timeout: LONG,
        ..ServerConfig::default()
    };
    let server = Server::bind(local(config.clone()), endpoints.clone())
        .await
        .unwrap();
    let address = server.local_addr();
    let _idle = TcpStream::connect(address).unwrap();
    assert!(said(address, PROBE).await.contains("200 OK"));
    server.shutdown().await;
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let (endpoints, _) = endpoints();
    let server = Server::bind(local(ServerConfig::default()), endpoints.clone())
        .await
        .unwrap();
    let config = ServerConfig {
        address: server.local_addr(),
        ..ServerConfig::default()
    };
    assert!(Server::bind(config, endpoints).await.is_err());
}

#[tokio::test]
async fn a_pool_is_ready_while_a_worker_is() {
    let sockets = sidecar::Sockets::new();
    let socket = sockets.path("worker.sock");
    sidecar::serve(&socket, |_| sidecar::Reply::Never);
    let pool = pyproc_pool::Pool::builder().external_sockets([&socket]);
    let pool = pool.start().await.unwrap();
    let endpoints = Endpoints::new(Registry::new()).ready_with(&pool);
    assert_eq!(endpoints.readyz().status(), StatusCode::OK);
    pool.shutdown(Duration::ZERO).await;
    let response = endpoints.readyz();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        body,
        "not ready: none of 1 workers is ready: 0 starting, 1 stopped\n"
    );
}

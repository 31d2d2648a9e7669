//! A scraper that means harm: whatever it does, probes are answered, other scrapers get whole metrics, and memory is
//! bounded.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did not do"
)]

#[path = "support/answer.rs"]
mod answer;

use std::{
    fmt,
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use answer::Answer;
use prometheus::{Gauge, HistogramOpts, HistogramVec, Registry};
use pyproc_telemetry::http::{Endpoints, Server, ServerConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

const LONG: Duration = Duration::from_secs(60);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

const PROBE: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
const OPEN_SCRAPE: &str = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\
    accept: application/openmetrics-text;version=1.0.0\r\n\r\n";

const SERIES: usize = 10_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What the library said in its log, if there was a rig.
static LOG: OnceLock<Arc<Mutex<Vec<String>>>> = OnceLock::new();

struct Log(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::WARN {
            let mut text = String::new();
            event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
                text.push_str(&format!("{field}: {value:?}\n"));
            });
            self.0.lock().unwrap().push(text);
        }
    }
}

/// On a runtime of its own with one thread, as services that measure a server's worst case have it.
struct Rig {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rig {
    fn start(registry: Registry) -> Self {
        LOG.get_or_init(|| {
            let log = Arc::default();
            let subscriber = tracing_subscriber::registry().with(Log(Arc::clone(&log)));
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (started, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let config = ServerConfig {
                    address: ([127, 0, 0, 1], 0).into(),
                    // What does not give way stays.
                    request_timeout: NEVER,
                    ..ServerConfig::default()
                };
                let endpoints = Endpoints::new(registry).max_metrics_bytes(MAX_BYTES);
                let server = Server::bind(config, endpoints).await.unwrap();
                started.send(server.local_addr()).unwrap();
                let _ = stopped.await;
            });
        });
        Self {
            address: address.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn probe(&self) {
        let address = self.address;
        let probed = tokio::task::spawn_blocking(move || probe(address));
        probed.await.unwrap();
    }

    async fn scrape_without_reading(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        // What the system keeps for a reader that does not read is not as much as one answer.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(SCRAPE.as_bytes()).await.unwrap();
        stream
    }

    /// Probes one after another until it is stopped.
    fn probe_all_the_while(&self) -> Probes {
        let (address, stop) = (self.address, Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut answered = 0;
            while !stopped.load(Ordering::Relaxed) {
                probe(address);
                answered += 1;
            }
            answered
        });
        Probes { thread, stop }
    }
}

/// As a kubelet does it: a service whose probe fails three times in a row is restarted.
fn probe(address: SocketAddr) {
    let answer = (0..3).find_map(|_| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut text = String::new();
        // A machine that has a lot to do may leave too long a time between these.
        stream.write_all(PROBE.as_bytes()).ok()?;
        stream.read_to_string(&mut text).ok()?;
        Answer::parse(&text)
    });
    let answer = answer.unwrap();
    assert!(answer.whole && answer.status() == 200, "{answer:?}");
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(ended.is_none_or(|it| it.is_ok()) || std::thread::panicking());
    }
}

struct Probes {
    thread: std::thread::JoinHandle<usize>,
    stop: Arc<AtomicBool>,
}

impl Probes {
    /// All were answered, and there were some.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = tokio::task::spawn_blocking(|| self.thread.join());
        assert!(ended.await.unwrap().unwrap() > 0);
    }
}

/// Says it, and reads until the server closes.
async fn exchange(mut stream: TcpStream, said: &str) -> Answer {
    stream.write_all(said.as_bytes()).await.unwrap();
    rest_of(stream).await.unwrap()
}

/// `None` if the server closed without a word.
async fn rest_of(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    // The server may have closed while more was sent.
    let _ = timeout(LONG, stream.read_to_end(&mut bytes)).await.unwrap();
    Answer::parse(&String::from_utf8(bytes).unwrap())
}

fn small() -> Registry {
    let registry = Registry::new();
    let jobs = Gauge::new("jobs", "Jobs.").unwrap();
    registry.register(Box::new(jobs)).unwrap();
    registry
}

/// Some gigabytes, if all of it was written: each of 131 lines of a series repeats its label.
fn large(series: usize) -> Registry {
    let registry = small();
    let bounds: Vec<_> = (0..128).map(f64::from).collect();
    let opts = HistogramOpts::new("took", "How long.").buckets(bounds);
    let took = HistogramVec::new(opts, &["kind"]).unwrap();
    let kind = "x".repeat(1024);
    for number in 0..series {
        took.with_label_values(&[&format!("{number}{kind}")])
            .observe(1.0);
    }
    registry.register(Box::new(took)).unwrap();
    registry
}

/// As many connections as the system allows, up to ten thousand.
fn many() -> usize {
    const SPARE: usize = 1_000;
    #[cfg(target_os = "linux")]
    let allowed = {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let most = getrlimit(Resource::Nofile).maximum;
        let all = Rlimit {
            current: most,
            maximum: most,
        };
        let _ = setrlimit(Resource::Nofile, all);
        let allowed = getrlimit(Resource::Nofile).current;
        allowed.map_or(usize::MAX, |it| usize::try_from(it).unwrap())
    };
    #[cfg(not(target_os = "linux"))]
    let allowed = SPARE + 200;
    let many = allowed.saturating_sub(SPARE).min(10_000);
    if many < 10_000 {
        eprintln!("only {many} connections are allowed here");
    }
    many
}

/// The most memory that this process had resident.
#[cfg(target_os = "linux")]
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn a_probe_is_answered_while_ten_thousand_connections_are_opened_and_when_they_are_open() {
    let rig = Rig::start(small());
    let probes = rig.probe_all_the_while();
    let mut open = JoinSet::new();
    for part in 0..many() {
        let address = rig.address;
        // At once, as far as the system goes along.
        open.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            // Half of them say something.
            if part % 2 == 0 {
                stream.write_all(b"GET /healthz HTT").await.ok()?;
            }
            Some(stream)
        });
    }
    let held = open.join_all().await;
    probes.end().await;
    rig.probe().await;
    drop(held);
}

#[tokio::test]
async fn senders_that_never_come_to_an_end_give_way() {
    let rig = Rig::start(small());
    let mut slow = Vec::new();
    for _ in 0..300 {
        slow.push(rig.connect().await);
    }
    let probes = rig.probe_all_the_while();
    for byte in "GET /metrics HTTP/1.1\r\nhost: x\r\nx: y\r\n".bytes() {
        for stream in &mut slow {
            // Some were closed.
            let _ = stream.write_all(&[byte]).await;
        }
        rig.probe().await;
    }
    probes.end().await;
}

#[tokio::test]
async fn readers_that_never_read_give_way() {
    let rig = Rig::start(large(40));
    let probes = rig.probe_all_the_while();
    let mut slow = Vec::new();
    // More than may be answered at a time.
    for _ in 0..300 {
        slow.push(rig.scrape_without_reading().await);
    }
    probes.end().await;
    let answer = exchange(rig.connect().await, SCRAPE).await;
    assert!(answer.whole && answer.status() == 200, "{}", answer.head);
    drop(slow);
}

#[tokio::test]
async fn what_is_no_single_request_gets_one_answer_or_none() {
    let rig = Rig::start(small());
    let flood = format!("GET /healthz HTTP/1.1\r\nx: {}", "y".repeat(1 << 20));
    let mut stream = rig.connect().await;
    // The server closes while this is being sent.
    let _ = stream.write_all(flood.as_bytes()).await;
    let refused = rest_of(stream).await;
    assert!(refused.is_none_or(|it| it.status() == 431));

    let many_headers = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    let answer = exchange(rig.connect().await, &many_headers).await;
    assert_eq!(answer.status(), 431);

    let answer = exchange(rig.connect().await, &PROBE.repeat(100)).await;
    assert!(answer.whole && answer.status() == 200, "{answer:?}");

    let answer = exchange(rig.connect().await, "\x16\x03\x01\x02 hello\r\n\r\n").await;
    assert_eq!(answer.status(), 400);

    let upload = "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n";
    assert_eq!(exchange(rig.connect().await, upload).await.status(), 405);
    rig.probe().await;
}

#[tokio::test]
async fn a_client_that_has_closed_its_own_side_gets_the_whole_answer() {
    let rig = Rig::start(small());
    for said in [PROBE, SCRAPE, OPEN_SCRAPE] {
        let mut stream = rig.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = rest_of(stream).await.unwrap();
        assert!(answer.whole && answer.status() == 200, "{answer:?}");
    }
    // One that has not said what it wants gets no place to wait in.
    for said in ["", "GET /heal"] {
        let mut stream = rig.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = rest_of(stream).await;
        assert!(answer.is_none_or(|it| it.status() == 400));
    }
}

#[tokio::test]
async fn many_scrapes_of_ten_thousand_series_are_whole_within_the_limit_and_in_bounded_memory() {
    let rig = Rig::start(large(SERIES));
    #[cfg(target_os = "linux")]
    let before = peak_memory();
    let probes = rig.probe_all_the_while();
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(rig.scrape_without_reading().await);
    }
    let mut gone = rig.connect().await;
    gone.write_all(SCRAPE.as_bytes()).await.unwrap();
    drop(gone);
    let mut scrapes = JoinSet::new();
    for number in 0..6 {
        let said = [SCRAPE, OPEN_SCRAPE][number % 2];
        let stream = rig.connect().await;
        scrapes.spawn(async move { (exchange(stream, said).await, number % 2 == 1) });
    }
    while let Some(scrape) = scrapes.join_next().await {
        let (answer, open) = scrape.unwrap();
        assert!(answer.whole && answer.status() == 200, "{}", answer.head);
        assert!(!answer.head.contains("content-encoding"), "{}", answer.head);
        check(&answer.body, open);
    }
    probes.end().await;
    #[cfg(target_os = "linux")]
    {
        let grew = peak_memory() - before;
        assert!(grew < 256 * 1024 * 1024, "{grew}");
    }
    let said = LOG.get().unwrap().lock().unwrap().concat();
    assert!(
        said.contains("series were left out of the metrics"),
        "{said}"
    );
    // Those who did not read gave their turn to others.
    for stream in slow {
        assert!(!rest_of(stream).await.unwrap().whole);
    }
}

/// Whole series up to the limit, and how many there are beyond it.
fn check(body: &str, open: bool) {
    assert!(body.len() <= MAX_BYTES && body.len() > MAX_BYTES / 2);
    assert_eq!(body.ends_with("# EOF\n"), open);
    assert!(body.starts_with(if open {
        "# TYPE jobs gauge\n"
    } else {
        "# HELP jobs Jobs.\n"
    }));
    let count = |part: &str| body.lines().filter(|it| it.contains(part)).count();
    let series = count("took_count{");
    assert_eq!(count("took_sum{"), series);
    assert_eq!(count("took_bucket{"), 129 * series);
    let mut lines = body.lines();
    let omitted = lines.find_map(|it| it.strip_prefix("pyproc_metrics_omitted_series "));
    assert_eq!(
        series + omitted.unwrap().parse::<f64>().unwrap() as usize,
        SERIES
    );
}

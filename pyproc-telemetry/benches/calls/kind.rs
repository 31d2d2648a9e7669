//! The kinds of telemetry that are compared.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use pyproc_telemetry::{BatchConfig, PoolMetrics, Provider, Telemetry, prometheus::Registry};

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    None,
    Metrics,
    Sampled(f64),
}

/// What watches a pool, and whose exporter has work after it.
#[derive(Default)]
pub(crate) struct Attached {
    pub(crate) telemetry: Option<Telemetry>,
    pub(crate) provider: Option<Provider>,
}

impl Kind {
    pub(crate) fn start(self) -> Attached {
        match self {
            Self::None => Attached::default(),
            Self::Metrics => {
                let metrics = PoolMetrics::builder().functions(["predict"]);
                let metrics = metrics.register(&Registry::new()).expect("metrics");
                Attached {
                    telemetry: Some(Telemetry::default().metrics(&metrics)),
                    provider: None,
                }
            }
            Self::Sampled(rate) => {
                let provider = provider(rate);
                let tracer = provider.tracer("bench");
                Attached {
                    telemetry: Some(Telemetry::default().tracer(tracer)),
                    provider: Some(provider),
                }
            }
        }
    }
}

impl Attached {
    /// So that its exporter works off no more than the calls that are measured.
    pub(crate) async fn flush(&self) {
        if let Some(provider) = &self.provider {
            let _ = provider.flush(Duration::from_secs(10)).await;
        }
    }
}

/// Exports to a receiver in this process, on threads that are not counted.
fn provider(rate: f64) -> Provider {
    Provider::builder()
        .service_name("bench")
        .enabled(true)
        .sampling_rate(rate)
        .endpoint(receiver())
        .batch(BatchConfig {
            max_queue_size: 1 << 16,
            max_export_batch_size: 4096,
            schedule_delay: Duration::from_millis(100),
            ..BatchConfig::default()
        })
        .start()
        .expect("a provider")
}

/// Takes whatever comes.
fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut input = BufReader::new(stream.try_clone().expect("a connection"));
            while let Some(length) = head(&mut input) {
                let mut body = vec![0; length];
                input.read_exact(&mut body).expect("a body");
                let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(ok).expect("an answer");
            }
        }
    });
    format!("http://{address}")
}

fn head(input: &mut impl BufRead) -> Option<usize> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok(),
            Some(_) => {}
            None if line == "\r\n" => return length,
            None => {}
        }
    }
}

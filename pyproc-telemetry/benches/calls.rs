//! What telemetry costs real calls: of a Python worker, by `cargo xtask bench --telemetry`.
//!
//! Pools that differ in their telemetry only take turns, so that whatever else the machine does befalls all of them. What is
//! compared is the processor time of the thread that makes the calls and drives the connections, that of the worker, and how long
//! calls take one after another; each time with the pool without telemetry in the same turn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark fails by panicking"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use opentelemetry::Context;
use pyproc_pool::{Pool, WorkerOutput};
use pyproc_telemetry::{
    BatchConfig, PoolBuilderExt, PoolMetrics, Provider, Telemetry, prometheus::Registry,
};
use serde_json::{Value, json};

/// Calls in flight where throughput counts.
const IN_FLIGHT: usize = 64;

fn main() {
    let Some(args) = Args::read() else {
        println!("not run: say `--python INTERPRETER`, or use `cargo xtask bench --telemetry`");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let rows = runtime.block_on(measure(&args));
    print(&rows);
    let mut report = report(&rows);
    if let Some(directory) = &args.unobserved {
        let ratios = runtime.block_on(without_hook(&args, directory));
        println!("caller's CPU without telemetry / that of a build without the hook: {ratios}");
        report["without_hook"] = ratios;
    }
    if let Some(path) = &args.json {
        fs::write(path, format!("{report:#}\n")).expect("a place for the results");
    }
}

struct Args {
    python: PathBuf,
    json: Option<PathBuf>,
    rounds: usize,
    /// Only what needs no telemetry: to compare with another build.
    plain: bool,
    /// Where to build this very program without the pool's hook for observers.
    unobserved: Option<PathBuf>,
}

impl Args {
    fn read() -> Option<Self> {
        let args: Vec<_> = env::args().collect();
        let value = |flag: &str| {
            let place = args.iter().position(|it| it == flag)?;
            args.get(place + 1)
        };
        Some(Self {
            python: value("--python")?.into(),
            json: value("--json").map(Into::into),
            rounds: value("--rounds").map_or(30, |it| it.parse().expect("a number of rounds")),
            plain: args.iter().any(|it| it == "--plain"),
            unobserved: value("--unobserved").map(Into::into),
        })
    }
}

/// One pool, and what was measured with it in each round.
struct Row {
    name: &'static str,
    pool: Pool,
    provider: Option<Provider>,
    worker: u32,
    turns: Vec<Turn>,
}

/// Nanoseconds.
#[derive(Clone, Copy)]
struct Turn {
    caller_cpu: f64,
    worker_cpu: f64,
    wall: f64,
    sequential: f64,
}

async fn measure(args: &Args) -> Vec<Row> {
    let mut rows = vec![
        Row::start("no telemetry", args, None, None).await,
        Row::start("no telemetry, again", args, None, None).await,
    ];
    if !args.plain {
        let metrics = || {
            let metrics = PoolMetrics::builder().functions(["predict"]);
            metrics.register(&Registry::new()).expect("metrics")
        };
        let none = Telemetry::default;
        rows.push(Row::start("metrics", args, Some(none().metrics(&metrics())), None).await);
        for (name, rate) in [
            ("sampled at 1 %", 0.01),
            ("sampled at 100 %", 1.0),
            (LOADED, 1.0),
        ] {
            let provider = provider(rate);
            let telemetry = none().tracer(provider.tracer("bench"));
            rows.push(Row::start(name, args, Some(telemetry), Some(provider)).await);
        }
    }
    place_apart(&rows);
    // The first calls fill caches, and the depth of a connection settles.
    for round in 0..=args.rounds {
        for row in &mut rows {
            let turn = row.turn().await;
            if round > 0 {
                row.turns.push(turn);
            }
        }
    }
    for row in &rows {
        row.pool.shutdown(Duration::ZERO).await;
    }
    rows
}

const LOADED: &str = "sampled at 100 %, OpenTelemetry in Python";

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

impl Row {
    async fn start(
        name: &'static str,
        args: &Args,
        telemetry: Option<Telemetry>,
        provider: Option<Provider>,
    ) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/predict.py");
        let mut builder = Pool::builder()
            .workers(1)
            .max_in_flight(256)
            .python_exec(&args.python)
            .worker_script(script)
            .output(WorkerOutput::Discard)
            .env("PYPROC_WORKER_CORE", "native");
        if name == LOADED {
            builder = builder.env("BENCH_OPENTELEMETRY", "1");
        }
        let pool = builder.with_telemetry(telemetry.unwrap_or_default());
        let pool = pool.start().await.expect("a pool");
        let worker = pool.health().workers[0].pid.expect("a process");
        Self {
            name,
            pool,
            provider,
            worker,
            turns: Vec::new(),
        }
    }

    async fn turn(&self) -> Turn {
        const TIME: Duration = Duration::from_millis(120);
        let _root = Context::new().attach();
        let (cpu, worker, begin) = (thread_cpu(), process_cpu(self.worker), Instant::now());
        let calls = self.many(TIME).await as f64;
        let wall = begin.elapsed().as_nanos() as f64 / calls;
        let caller_cpu = (thread_cpu() - cpu) / calls;
        let worker_cpu = (process_cpu(self.worker) - worker) / calls;
        self.flush().await;
        let turn = Turn {
            caller_cpu,
            worker_cpu,
            wall,
            sequential: self.one_after_another(TIME).await,
        };
        self.flush().await;
        turn
    }

    /// So that its exporter works off no more than the calls that are measured.
    async fn flush(&self) {
        if let Some(provider) = &self.provider {
            let _ = provider.flush(Duration::from_secs(10)).await;
        }
    }

    async fn many(&self, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let pool = self.pool.clone();
            callers.spawn(async move {
                let mut calls = 0;
                while Instant::now() < end {
                    call(&pool).await;
                    calls += 1;
                }
                calls
            });
        }
        callers.join_all().await.into_iter().sum()
    }

    async fn one_after_another(&self, time: Duration) -> f64 {
        let end = Instant::now() + time;
        let mut took = Vec::new();
        while Instant::now() < end {
            let begin = Instant::now();
            call(&self.pool).await;
            took.push(begin.elapsed().as_nanos() as f64);
        }
        median(took)
    }
}

async fn call(pool: &Pool) {
    let answer: Value = pool
        .call("predict", &json!({"value": 42}))
        .await
        .expect("a result");
    assert_eq!(answer["result"], 84);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Row {
    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of).collect())
    }

    /// What it takes beyond the other, turn by turn.
    fn above(&self, other: &Self, of: impl Fn(&Turn) -> f64) -> f64 {
        let turns = self.turns.iter().zip(&other.turns);
        median(turns.map(|(this, other)| of(this) - of(other)).collect())
    }
}

/// How this build without telemetry compares with one that has no hook: ratios of the processor time of the caller's thread, in
/// turns; and for the noise how two pools of one build compare.
async fn without_hook(args: &Args, directory: &Path) -> Value {
    const TURNS: usize = 5;
    let plain = Args {
        python: args.python.clone(),
        json: None,
        rounds: args.rounds.div_ceil(3),
        plain: true,
        unobserved: None,
    };
    let (mut ratios, mut noise) = (Vec::new(), Vec::new());
    // The first is for the build.
    built_without_hook(&plain, directory);
    for _ in 0..TURNS {
        let rows = measure(&plain).await;
        let [one, other] = [&rows[0], &rows[1]].map(|row| row.median(|it| it.caller_cpu));
        let without = built_without_hook(&plain, directory);
        ratios.push(one / without);
        noise.push(one / other);
    }
    json!({"ratios": ratios, "median": median(ratios.clone()), "two_identical": noise})
}

fn built_without_hook(args: &Args, directory: &Path) -> f64 {
    let cargo = env::var_os("CARGO").expect("cargo runs this");
    let json = directory.with_extension("json");
    let status = Command::new(cargo)
        .args(["bench", "--quiet", "--package", "pyproc-telemetry"])
        .args(["--bench", "calls", "--target-dir"])
        .arg(directory)
        .args(["--", "--plain", "--python"])
        .arg(&args.python)
        .args(["--rounds", &args.rounds.to_string(), "--json"])
        .arg(&json)
        .env("RUSTFLAGS", "--cfg pyproc_without_observer")
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("cargo").success());
    let report = fs::read(&json).expect("results");
    let report: Value = serde_json::from_slice(&report).expect("results");
    report["rows"][0]["caller_cpu_ns"]
        .as_f64()
        .expect("a number")
}

fn report(rows: &[Row]) -> Value {
    let plain = &rows[0];
    let rows = rows.iter().map(|row| {
        let stats = row.provider.as_ref().map(Provider::stats);
        json!({
            "name": row.name,
            "caller_cpu_ns": row.median(|it| it.caller_cpu),
            "caller_cpu_above_ns": row.above(plain, |it| it.caller_cpu),
            "worker_cpu_ns": row.median(|it| it.worker_cpu),
            "worker_cpu_above_ns": row.above(plain, |it| it.worker_cpu),
            "wall_ns": row.median(|it| it.wall),
            "sequential_p50_ns": row.median(|it| it.sequential),
            "sequential_p50_above_ns": row.above(plain, |it| it.sequential),
            "spans_exported": stats.map(|it| it.exported),
            "spans_lost": stats.map(|it| it.lost()),
        })
    });
    json!({"in_flight": IN_FLIGHT, "rows": rows.collect::<Vec<_>>()})
}

fn print(rows: &[Row]) {
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "ns a call", "caller", "above", "worker", "above", "p50", "above"
    );
    for row in rows {
        println!(
            "{:<44} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0}",
            row.name,
            row.median(|it| it.caller_cpu),
            row.above(&rows[0], |it| it.caller_cpu),
            row.median(|it| it.worker_cpu),
            row.above(&rows[0], |it| it.worker_cpu),
            row.median(|it| it.sequential),
            row.above(&rows[0], |it| it.sequential),
        );
        if let Some(stats) = row.provider.as_ref().map(Provider::stats) {
            println!("  {} spans exported, {} lost", stats.exported, stats.lost());
        }
    }
}

#[cfg(target_os = "linux")]
fn thread_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// This thread on one processor and the workers on another, as a call takes twice as long when they share one or change places. The
/// threads of exporters go where they like.
#[cfg(target_os = "linux")]
fn place_apart(rows: &[Row]) {
    use rustix::{
        process::Pid,
        thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    };

    let all = sched_getaffinity(None).expect("processors");
    let there = (0..CpuSet::MAX_CPU).filter(|it| all.is_set(*it));
    let [first, second] = there.take(2).collect::<Vec<_>>()[..] else {
        return;
    };
    let only = |processor| {
        let mut set = CpuSet::new();
        set.set(processor);
        set
    };
    sched_setaffinity(None, &only(first)).expect("a processor");
    for row in rows {
        let worker = i32::try_from(row.worker).ok().and_then(Pid::from_raw);
        sched_setaffinity(worker, &only(second)).expect("a processor");
    }
}

#[cfg(not(target_os = "linux"))]
fn place_apart(_rows: &[Row]) {}

/// Of all its threads that live.
#[cfg(target_os = "linux")]
fn process_cpu(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let times = threads.flatten().filter_map(|thread| {
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<f64>().ok()
    });
    times.sum()
}

#[cfg(not(target_os = "linux"))]
fn thread_cpu() -> f64 {
    f64::NAN
}

#[cfg(not(target_os = "linux"))]
fn process_cpu(_pid: u32) -> f64 {
    f64::NAN
}

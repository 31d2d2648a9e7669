//! What telemetry costs real calls: of a Python worker, by `cargo xtask bench --telemetry`.
//!
//! Pools that differ in their telemetry only take turns, so that whatever else the machine does befalls all of them. What is
//! compared is the processor time of the thread that makes the calls and drives the connections, and that of the worker, each time with
//! the pool without telemetry in the same turn; and, in another way, how long calls take one after another.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark fails by panicking"
)]

mod alone;
mod kind;
mod processors;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use opentelemetry::Context;
use pyproc_pool::{Pool, PoolBuilder, WorkerOutput};
use pyproc_telemetry::{PoolBuilderExt, Provider};
use serde_json::{Value, json};

use self::{
    alone::{Alone, Found},
    kind::{Attached, Kind},
    processors::{place_apart, process_cpu, thread_cpu},
};

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
    let measured = runtime.block_on(measure(&args));
    print(&measured);
    let mut report = report(&measured);
    if let Some(directory) = &args.unobserved {
        let ratios = without_hook(&args, directory);
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
    attached: Attached,
    worker: u32,
    turns: Vec<Turn>,
}

/// Nanoseconds.
#[derive(Clone, Copy)]
struct Turn {
    caller_cpu: f64,
    worker_cpu: f64,
    wall: f64,
}

/// One after another, with nothing, with nothing again for the noise, and with each kind of telemetry.
const KINDS: [(&str, Kind); 5] = [
    ("no telemetry", Kind::None),
    ("no telemetry, again", Kind::None),
    ("metrics", Kind::Metrics),
    ("sampled at 1 %", Kind::Sampled(0.01)),
    ("sampled at 100 %", Kind::Sampled(1.0)),
];

/// With OpenTelemetry loaded in Python.
const LOADED: (&str, Kind) = (
    "sampled at 100 %, OpenTelemetry in Python",
    Kind::Sampled(1.0),
);
const LOADED_KINDS: [(&str, Kind); 2] = [
    ("OpenTelemetry in Python, no telemetry", Kind::None),
    LOADED,
];

/// Pools of calls that come alone, of either sort.
const ALONE: usize = 3;

/// What was measured.
struct Measured {
    rows: Vec<Row>,
    alone: Vec<Found>,
}

async fn measure(args: &Args) -> Measured {
    let (mut rows, mut alone, mut loaded) = (Vec::new(), Vec::new(), Vec::new());
    for (name, kind) in KINDS.iter().take(if args.plain { 2 } else { KINDS.len() }) {
        rows.push(Row::start(name, *kind, false, args).await);
    }
    if !args.plain {
        rows.push(Row::start(LOADED.0, LOADED.1, true, args).await);
        for _ in 0..ALONE {
            alone.push(Alone::start(&args.python, false, &KINDS).await);
            loaded.push(Alone::start(&args.python, true, &LOADED_KINDS).await);
        }
    }
    let alone_workers = alone.iter().chain(&loaded).map(Alone::worker);
    let workers: Vec<_> = rows
        .iter()
        .map(|it| it.worker)
        .chain(alone_workers)
        .collect();
    place_apart(&workers);
    // The first calls fill caches, and the depth of a connection settles.
    for round in 0..=args.rounds {
        for row in &mut rows {
            let turn = row.turn().await;
            if round > 0 {
                row.turns.push(turn);
            }
        }
    }
    for round in 0..=args.rounds {
        for pool in alone.iter_mut().chain(&mut loaded) {
            pool.round(round).await;
            if round == 0 {
                pool.forget();
            }
        }
    }
    let found = [&alone, &loaded].into_iter().filter(|it| !it.is_empty());
    let found = found.flat_map(|pools| alone::found(pools)).collect();
    for pool in alone.into_iter().chain(loaded) {
        pool.end().await;
    }
    for row in &rows {
        row.pool.shutdown(Duration::ZERO).await;
    }
    Measured { rows, alone: found }
}

/// A pool with one native worker, which has loaded OpenTelemetry or not.
fn builder(python: &Path, loaded: bool) -> PoolBuilder {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/predict.py");
    let builder = Pool::builder()
        .workers(1)
        .max_in_flight(256)
        .python_exec(python)
        .worker_script(script)
        .output(WorkerOutput::Discard)
        .env("PYPROC_WORKER_CORE", "native");
    match loaded {
        true => builder.env("BENCH_OPENTELEMETRY", "1"),
        false => builder,
    }
}

impl Row {
    async fn start(name: &'static str, kind: Kind, loaded: bool, args: &Args) -> Self {
        let attached = kind.start();
        let telemetry = attached.telemetry.clone().unwrap_or_default();
        let pool = builder(&args.python, loaded).with_telemetry(telemetry);
        let pool = pool.start().await.expect("a pool");
        let worker = pool.health().workers[0].pid.expect("a process");
        Self {
            name,
            pool,
            attached,
            worker,
            turns: Vec::new(),
        }
    }

    async fn turn(&self) -> Turn {
        const TIME: Duration = Duration::from_millis(120);
        let _root = Context::new().attach();
        let (cpu, worker, begin) = (thread_cpu(), process_cpu(self.worker), Instant::now());
        let calls = self.many(TIME).await as f64;
        let turn = Turn {
            wall: begin.elapsed().as_nanos() as f64 / calls,
            caller_cpu: (thread_cpu() - cpu) / calls,
            worker_cpu: (process_cpu(self.worker) - worker) / calls,
        };
        self.attached.flush().await;
        turn
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

/// How this program without telemetry compares with one that has no hook: ratios of the processor time of the caller's thread in
/// processes that take turns; and for the noise how two processes of this very program compare.
fn without_hook(args: &Args, directory: &Path) -> Value {
    const TURNS: usize = 7;
    // The first are for the builds.
    plain(args, None);
    plain(args, Some(directory));
    let (mut ratios, mut noise) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let [one, without, other] = [None, Some(directory), None].map(|it| plain(args, it));
        ratios.push((one + other) / 2.0 / without);
        noise.push(one / other);
    }
    json!({"ratios": ratios, "median": median(ratios.clone()), "two_identical": noise})
}

/// What a process of its own measures without telemetry; if it is to have no hook, with a build in that directory.
fn plain(args: &Args, without_hook: Option<&Path>) -> f64 {
    let results = args.unobserved.as_ref().expect("a directory");
    let results = results.with_extension("json");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo runs this"));
    cargo.args(["bench", "--quiet", "--package", "pyproc-telemetry"]);
    cargo.args(["--bench", "calls"]);
    if let Some(directory) = without_hook {
        cargo.arg("--target-dir").arg(directory);
        cargo.env("RUSTFLAGS", "--cfg pyproc_without_observer");
    }
    cargo.args(["--", "--plain", "--python"]).arg(&args.python);
    let rounds = args.rounds.div_ceil(6).to_string();
    cargo.args(["--rounds", &rounds, "--json"]).arg(&results);
    let status = cargo.stdout(Stdio::null()).status();
    assert!(status.expect("cargo").success());
    let report = fs::read(&results).expect("results");
    let report: Value = serde_json::from_slice(&report).expect("results");
    let pools = report["rows"].as_array().expect("rows");
    let of = |pool: &Value| pool["caller_cpu_ns"].as_f64().expect("a number");
    pools.iter().map(of).sum::<f64>() / pools.len() as f64
}

fn report(Measured { rows, alone }: &Measured) -> Value {
    let plain = &rows[0];
    let alone = alone
        .iter()
        .map(|it| json!({"name": it.name, "p50_ns": it.p50, "p50_above_ns": it.above}));
    let rows = rows.iter().map(|row| {
        let stats = row.attached.provider.as_ref().map(Provider::stats);
        json!({
            "name": row.name,
            "caller_cpu_ns": row.median(|it| it.caller_cpu),
            "caller_cpu_above_ns": row.above(plain, |it| it.caller_cpu),
            "worker_cpu_ns": row.median(|it| it.worker_cpu),
            "worker_cpu_above_ns": row.above(plain, |it| it.worker_cpu),
            "wall_ns": row.median(|it| it.wall),
            "spans_exported": stats.map(|it| it.exported),
            "spans_lost": stats.map(|it| it.lost()),
        })
    });
    json!({
        "in_flight": IN_FLIGHT,
        "rows": rows.collect::<Vec<_>>(),
        "one_after_another": alone.collect::<Vec<_>>(),
    })
}

fn print(Measured { rows, alone }: &Measured) {
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>8}",
        "ns a call", "caller", "above", "worker", "above"
    );
    for row in rows {
        println!(
            "{:<44} {:>8.0} {:>8.0} {:>8.0} {:>8.0}",
            row.name,
            row.median(|it| it.caller_cpu),
            row.above(&rows[0], |it| it.caller_cpu),
            row.median(|it| it.worker_cpu),
            row.above(&rows[0], |it| it.worker_cpu),
        );
        if let Some(stats) = row.attached.provider.as_ref().map(Provider::stats) {
            println!("  {} spans exported, {} lost", stats.exported, stats.lost());
        }
    }
    println!(
        "{:<44} {:>8} {:>8}",
        "one after another, ns", "p50", "above"
    );
    for found in alone {
        println!("{:<44} {:>8.0} {:>8.0}", found.name, found.p50, found.above);
    }
}

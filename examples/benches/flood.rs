//! How much one worker's flood of output slows down the calls of another: `cargo bench -p pyproc-examples --bench flood`. The
//! Python in `PYPROC_PYTHON_EXEC`, or `python3`, must have the package `pyproc-worker`.
//!
//! There are two workers. One is silent or floods its output, in turns; the other answers calls one after another. The
//! results are medians over the turns; compare them within one run only. The program fails if a flood of lines makes calls
//! more than a tenth slower.

use std::{
    fs,
    io::{self, IsTerminal},
    process::ExitCode,
    time::{Duration, Instant},
};

use pyproc_logging::LoggingBuilder;
use pyproc_pool::Pool;
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/flood.py");

/// What the other worker does; the first one is the baseline.
const NOISES: [&str; 3] = ["silence", "raw", "printed"];

const TURNS: usize = 20;
const TURN: Duration = Duration::from_millis(600);

/// After this time the flood has filled all buffers.
const WARM_UP: Duration = Duration::from_millis(150);

/// The maximum slowdown.
const BAR: f64 = 1.10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let (log, guard) = LoggingBuilder::default().writer(io::sink()).layer()?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log))?;
    let python = std::env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into());
    let pool = Pool::builder()
        .workers(2)
        .python_exec(python)
        .worker_script(WORKER)
        .start()
        .await?;

    let before = memory("VmRSS:")?;
    let mut turns: [Vec<Turn>; NOISES.len()] = Default::default();
    for number in 0..TURNS {
        if io::stderr().is_terminal() {
            eprint!("\rturn {} of {TURNS}", number + 1);
        }
        for (noise, turns) in NOISES.iter().zip(&mut turns) {
            turns.push(turn(&pool, noise).await?);
        }
    }
    println!(
        "{:<10} {:>9} {:>9} {:>14} {:>12}",
        "", "p50 µs", "p99 µs", "lines written", "a second"
    );
    let [silence, raw, printed] = turns.map(Summary::of);
    let mut code = ExitCode::SUCCESS;
    for (noise, summary) in NOISES.iter().zip([&silence, &raw, &printed]) {
        println!(
            "{noise:<10} {:>9.1} {:>9.1} {:>14} {:>12.0}",
            summary.p50,
            summary.p99,
            summary.lines,
            summary.lines as f64 / (TURN * TURNS as u32).as_secs_f64(),
        );
    }
    println!();
    for (noise, summary) in [("raw", &raw), ("printed", &printed)] {
        let ratio = summary.p50 / silence.p50;
        let holds = ratio <= BAR;
        if !holds {
            code = ExitCode::FAILURE;
        }
        let verdict = if holds { "holds" } else { "MISSED" };
        println!("{noise} / silence, p50: {ratio:.3}, at most {BAR}: {verdict}");
    }
    println!(
        "memory: {before} kB before, {} kB at most",
        memory("VmHWM:")?
    );
    println!("log: {:?}", guard.handle().stats());
    pool.shutdown(Duration::from_secs(5)).await;
    Ok(code)
}

/// The measurements of one turn.
struct Turn {
    p50: f64,
    p99: f64,
    lines: u64,
}

async fn turn(pool: &Pool, noise: &str) -> anyhow::Result<Turn> {
    let seconds = TURN.as_secs_f64();
    let noise = pool.call::<_, u64>(noise, &seconds);
    let calls = async {
        let start = Instant::now();
        let mut times = Vec::new();
        while start.elapsed() < TURN - Duration::from_millis(50) {
            let began = Instant::now();
            let _: Value = pool.call("predict", &json!({"value": 42})).await?;
            if start.elapsed() > WARM_UP {
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        anyhow::Ok(times)
    };
    let (lines, times) = tokio::join!(noise, calls);
    let mut times = times?;
    times.sort_by(f64::total_cmp);
    Ok(Turn {
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        lines: lines?,
    })
}

/// Medians over the turns, and the number of all lines.
struct Summary {
    p50: f64,
    p99: f64,
    lines: u64,
}

impl Summary {
    fn of(turns: Vec<Turn>) -> Self {
        let median = |of: fn(&Turn) -> f64| {
            let mut values: Vec<_> = turns.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            p50: median(|turn| turn.p50),
            p99: median(|turn| turn.p99),
            lines: turns.iter().map(|turn| turn.lines).sum(),
        }
    }
}

/// A memory figure of this process, in kB.
fn memory(name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.unwrap_or_default().parse()?)
}

//! All sessions, round after round.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    plan::{Placement, Runtime, Session, Step, Work},
    process::memory,
    row::Row,
};
use anyhow::{Context, Result, bail, ensure};

use crate::{
    catalog::{self, Client, Selection, Setup},
    report::{self, Report},
};

/// The peer whose only row tells what an interpreter takes that does nothing.
pub(crate) const BARE_PYTHON: &str = "bare-python";

#[derive(clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    selection: Selection,
    /// Measure once and for a shorter time, with less exact results.
    #[arg(long)]
    quick: bool,
    /// The interpreter of an environment.
    #[arg(long = "python", value_name = "ENVIRONMENT=PATH", value_parser = parse_pair)]
    pythons: Vec<(String, String)>,
    /// Why an environment is missing.
    #[arg(long = "missing", value_name = "ENVIRONMENT=REASON", value_parser = parse_pair)]
    missing: Vec<(String, String)>,
    /// Where PyO3's module for the Python programs is.
    #[arg(long, value_name = "DIRECTORY")]
    modules: Option<PathBuf>,
    /// Where to write the rows.
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
}

fn parse_pair(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("no `=`")?;
    Ok((name.into(), value.into()))
}

impl Run {
    pub(crate) fn run(&self) -> Result<()> {
        let begin = Instant::now();
        let setup = self.setup()?;
        let skipped = self.without_environment()?;
        let mut failed = BTreeMap::new();
        let mut sessions = catalog::sessions(&self.selection, &setup)?;
        sessions.retain(|session| !skipped.contains_key(&session.peer));
        let mut report = Report::default();
        let rounds = if self.quick { 1 } else { 5 };
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}, {} sessions", sessions.len());
            report.add(bare_python(&setup.pythons["ours"])?);
            // What failed once would only fail again.
            sessions.retain(|session| {
                if failed.contains_key(&session.peer) {
                    return false;
                }
                match self.rows(session) {
                    Ok(rows) => rows.into_iter().for_each(|row| report.add(row)),
                    Err(error) => {
                        eprintln!("{session}: {error:#}");
                        let whole_peer = !report.has(&session.peer);
                        let what = if whole_peer {
                            session.peer.clone()
                        } else {
                            session.to_string()
                        };
                        failed.insert(what, last_line(&error));
                        return false;
                    }
                }
                true
            });
        }
        let rows = report.medians();
        report::print(&rows);
        report::write(&rows, &self.json)?;
        for (what, reason) in &skipped {
            println!("SKIPPED {what}: {reason}");
        }
        for (what, reason) in &failed {
            println!("FAILED {what}: {reason}");
        }
        println!(
            "\n{rounds} round(s) in {:.0} s; one burn is {} rounds of its loop\n",
            begin.elapsed().as_secs_f64(),
            setup.burn_rounds
        );
        report::print_verdicts(&rows);
        ensure!(failed.is_empty(), "{} measurement(s) failed", failed.len());
        Ok(())
    }

    fn setup(&self) -> Result<Setup> {
        let pythons: BTreeMap<String, PathBuf> = self
            .pythons
            .iter()
            .map(|(name, path)| (name.clone(), path.into()))
            .collect();
        let ours = pythons
            .get("ours")
            .context("--python ours=PATH is missing")?;
        Ok(Setup {
            burn_rounds: calibrate(ours)?,
            time: Duration::from_millis(if self.quick { 100 } else { 700 }),
            pythons,
        })
    }

    /// The selected peers that cannot run, and why.
    fn without_environment(&self) -> Result<BTreeMap<String, String>> {
        let mut skipped = BTreeMap::new();
        for peer in self.selection.peers()? {
            let reason = |(name, _): &&(String, String)| name == peer.environment;
            let missing = self.missing.iter().find(reason);
            if let Some((_, reason)) = missing {
                skipped.insert(peer.name.to_string(), reason.clone());
            } else if matches!(peer.client, Client::InProcess) && self.modules.is_none() {
                let reason = "PyO3's module could not be built";
                skipped.insert(peer.name.to_string(), reason.into());
            }
        }
        Ok(skipped)
    }

    fn rows(&self, session: &Session) -> Result<Vec<Row>> {
        let mut command = self.client(session)?;
        let output = command
            // Its errors say enough.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .context("cannot start the client")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("the client ended ({})\n{words}", output.status);
        }
        let rows = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        let rows: Vec<Row> = rows.collect::<Result<_, _>>().context("a broken row")?;
        ensure!(
            rows.len() == session.steps.len(),
            "{} rows for {} steps",
            rows.len(),
            session.steps.len()
        );
        Ok(rows)
    }

    fn client(&self, session: &Session) -> Result<Command> {
        let peer = catalog::peer(&session.peer).context("no such peer")?;
        let json = serde_json::to_string(session)?;
        let python = |script: &str| {
            let mut python = Command::new(&session.python);
            python.arg(scripts().join(script)).arg(&json);
            python
        };
        Ok(match peer.client {
            Client::Script(script) => python(script),
            Client::InProcess => {
                let mut python = python("in_process_client.py");
                if let Some(modules) = &self.modules {
                    python.env("PYTHONPATH", modules);
                }
                python
            }
            _ => {
                let mut client = Command::new(program(session.work)?);
                client.arg("client").arg(&json);
                client
            }
        })
    }
}

/// This program; with the allocator that takes little, if it is memory that is measured.
fn program(work: Work) -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(match work {
        Work::Idle | Work::Held => program.with_file_name("pyproc-bench-lean"),
        _ => program,
    })
}

/// The cause: what Python or a chain of errors says last.
fn last_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let mut lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    lines.next().unwrap_or_default().trim().into()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// How many rounds of `burn` take this Python a millisecond of a quiet moment: the fastest of
/// many tries.
fn calibrate(python: &Path) -> Result<u64> {
    const SCRIPT: &str = "\
import time, functions
def once():
    begin = time.perf_counter()
    functions.burn({'rounds': 10000})
    return time.perf_counter() - begin
print(round(10000 * 0.001 / min(once() for _ in range(300))))";
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .env("PYTHONPATH", scripts())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| {
        let words = String::from_utf8_lossy(&output.stderr);
        format!("cannot calibrate `burn`: {words}")
    })
}

/// What an interpreter needs that has started and waits for input.
fn bare_python(python: &Path) -> Result<Row> {
    let mut child = Command::new(python)
        .args(["-c", "print(flush=True); input()"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    BufReader::new(stdout).read_line(&mut String::new())?;
    let rss = memory(child.id()).rss_kib;
    drop(child.stdin.take());
    child.wait()?;
    let session = Session {
        peer: BARE_PYTHON.into(),
        work: Work::Idle,
        workers: 1,
        runtime: Runtime::Python,
        placement: Placement::Free,
        python: python.into(),
        burn_rounds: 0,
        steps: Vec::new(),
    };
    let mut row = Row::new(&session, Step::Idle { seconds: 0.0 });
    row.rss_worker_kib = rss;
    Ok(row)
}

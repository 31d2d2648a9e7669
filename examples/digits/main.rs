//! Handwritten digits, recognised by scikit-learn in several workers at once. Rust sends
//! the images in batches, compares the results with the labels, and measures the time.

use std::time::{Duration, Instant};

use pyproc_pool::{Error, Pool, WorkerOutput};
use serde::Deserialize;
use tokio::task::JoinSet;

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/digits/worker.py");
const WORKERS: usize = 2;
const BATCH: usize = 32;

/// An image has 64 pixels, each from 0 to 16.
#[derive(Deserialize)]
struct TestSet {
    images: Vec<Vec<f32>>,
    labels: Vec<u8>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pool = start().await?;
    let TestSet { images, labels } = pool.call("test_set", &()).await?;
    println!("{WORKERS} workers have trained a model each");

    let begin = Instant::now();
    let answers = classify(&pool, &images).await?;
    let seconds = begin.elapsed().as_secs_f64();

    anyhow::ensure!(answers.len() == labels.len(), "some images got no answer");
    let total = labels.len();
    let right = answers.iter().zip(&labels).filter(|(a, b)| a == b).count();
    let accuracy = 100.0 * right as f64 / total as f64;
    println!("{right} of {total} images are recognised: {accuracy:.1} %");
    println!(
        "{seconds:.3} s, {:.0} images a second",
        total as f64 / seconds
    );

    pool.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn start() -> Result<Pool, Error> {
    Pool::builder()
        .python_exec(std::env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into()))
        .worker_script(WORKER)
        .workers(WORKERS)
        // The workers already use all cores; more threads in each would only compete.
        .env("OMP_NUM_THREADS", "1")
        // If a worker does not start, the error has its output.
        .output(WorkerOutput::Discard)
        .start()
        .await
}

/// Submits all batches at once. The pool dispatches each to the worker that is free first, and queues the others.
async fn classify(pool: &Pool, images: &[Vec<f32>]) -> anyhow::Result<Vec<u8>> {
    let mut calls = JoinSet::new();
    for (index, batch) in images.chunks(BATCH).enumerate() {
        let (pool, batch) = (pool.clone(), batch.to_vec());
        calls.spawn(async move { (index, pool.call("classify", &batch).await) });
    }
    let mut answers: Vec<(usize, Result<Vec<u8>, Error>)> = calls.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    let mut digits = Vec::new();
    for (_, answer) in answers {
        digits.extend(answer?);
    }
    Ok(digits)
}

//! The shortest useful program: a Python function called from Rust, and what it raises.

use std::time::Duration;

use pyproc_pool::{Error, Pool};
use serde_json::{Value, json};

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/quickstart/worker.py");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let python = std::env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into());
    let pool = Pool::builder()
        .python_exec(python)
        .worker_script(WORKER)
        .start()
        .await?;

    let answer: Value = pool.call("predict", &json!({"value": 42})).await?;
    println!("predict answers {answer}");

    let refused = pool
        .call::<_, Value>("predict", &json!({"value": -1}))
        .await;
    if let Err(Error::Remote(exception)) = refused {
        println!(
            "{exception}\n{}",
            exception.traceback.as_deref().unwrap_or_default()
        );
    }
    pool.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

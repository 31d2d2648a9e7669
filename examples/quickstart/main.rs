//! The shortest useful program: a Python function called from Rust, and what it raises.

use std::time::Duration;

use pyproc_pool::{Error, Pool};
use serde_json::{Value, json};

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/quickstart/worker.py");

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let python = std::env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into());
    let pool = Pool::builder()
        .python_exec(python)
        .worker_script(WORKER)
        .workers(2)
        .start()
        .await?;

    let answer: Value = pool.call("predict", &json!({"value": 42})).await?;
    println!("predict answers {answer}");

    let outcome: Result<Value, Error> = pool.call("predict", &json!({"value": -1})).await;
    match outcome {
        Err(Error::Remote(exception)) => {
            println!("type:    {}", exception.type_name.unwrap_or_default());
            println!("message: {}", exception.message);
            println!("{}", exception.traceback.unwrap_or_default());
        }
        other => println!("this should have raised: {other:?}"),
    }

    pool.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

//! What the READMEs promise of scripts and of their processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use pyproc_pool::PoolBuilder;
use serde_json::{Value, json};
use support::{LONG, Scratch, cores, ours};

/// A script in a package, which it needs for its relative import.
const MODULE: &str = r#"
import os
from pyproc_worker import current_call, expose, run_worker
from .names import SHOP

@expose(name="shop.name")
def name():
    return SHOP

@expose
def slot():
    return os.environ["PYPROC_WORKER_ID"]

@expose
def cut(image: bytes) -> bytes:
    return image[: int(current_call().headers["length"])]

if __name__ == "__main__":
    run_worker()
"#;

fn shop(scratch: &Scratch, name: &str, core: &str) -> PoolBuilder {
    let package = scratch.path().join("shop");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("names.py"), format!("SHOP = {name:?}\n")).unwrap();
    fs::write(package.join("worker.py"), MODULE).unwrap();
    ours("", core)
        .worker_script("-m")
        .args(["shop.worker"])
        .working_dir(scratch.path())
}

#[tokio::test]
async fn a_module_of_a_package_is_a_script_and_several_pools_serve_beside_each_other() {
    for core in cores() {
        let (scratch, other) = (Scratch::new(), Scratch::new());
        let corner = shop(&scratch, "corner", &core).start().await.unwrap();
        let market = shop(&other, "market", &core).start().await.unwrap();
        for (pool, name) in [(&corner, "corner"), (&market, "market")] {
            let shop_name: String = pool.call("shop.name", &()).await.unwrap();
            assert_eq!(shop_name, name, "{core}");
        }
    }
}

#[tokio::test]
async fn each_worker_knows_its_slot() {
    for core in cores() {
        let scratch = Scratch::new();
        let pool = shop(&scratch, "corner", &core).workers(2).max_in_flight(1);
        let pool = pool.start().await.unwrap();
        let (begin, mut slots) = (Instant::now(), BTreeSet::<String>::new());
        while slots.len() < 2 {
            assert!(begin.elapsed() < LONG, "{slots:?}");
            let (one, two) = tokio::join!(pool.call("slot", &()), pool.call("slot", &()));
            slots.extend([one.unwrap(), two.unwrap()]);
        }
        assert_eq!(slots, ["0", "1"].map(String::from).into());
    }
}

#[tokio::test]
async fn headers_are_parameters_beside_bytes() {
    for core in cores() {
        let scratch = Scratch::new();
        let pool = shop(&scratch, "corner", &core).start().await.unwrap();
        let request = pool.request_bytes("cut", &b"image"[..]);
        let cut = request.header("length", "2").call_bytes().await.unwrap();
        assert_eq!(cut, "im", "{core}");
    }
}

#[tokio::test]
async fn each_worker_has_a_function_health() {
    for core in cores() {
        let scratch = Scratch::new();
        let pool = shop(&scratch, "corner", &core).start().await.unwrap();
        let health: Value = pool.call("health", &()).await.unwrap();
        let pid = pool.health().workers[0].pid;
        assert_eq!(health, json!({"status": "healthy", "pid": pid}), "{core}");
    }
}

#[tokio::test]
async fn the_command_run_serves_a_script_that_does_not_serve_itself() {
    for core in cores() {
        let scratch = Scratch::new();
        let script =
            "from pyproc_worker import expose\n@expose\ndef double(x):\n    return 2 * x\n";
        fs::write(scratch.path().join("worker.py"), script).unwrap();
        let pool = ours("", &core)
            .worker_script("-m")
            .args(["pyproc_worker", "run", "worker.py"])
            .working_dir(scratch.path());
        let pool = pool.start().await.unwrap();
        let doubled: u32 = pool.call("double", &21).await.unwrap();
        assert_eq!(doubled, 42, "{core}");
    }
}

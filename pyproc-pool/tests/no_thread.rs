//! A pool that the system gives no thread. A process of its own, as the limit is one of the process.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;

use pyproc_pool::{Error, ErrorKind, Pool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bytes of this process's address space.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

#[tokio::test]
async fn the_error_of_a_pool_that_gets_no_thread_blames_no_setting() {
    let before = getrlimit(Resource::As);
    // A thread's stack has no room; other allocations use the room that the heap has left.
    let limit = Rlimit {
        current: Some(address_space()),
        ..before
    };
    setrlimit(Resource::As, limit).unwrap();
    let started = Pool::builder().external_sockets(["nobody.sock"]).start();
    let error = started.await.unwrap_err();
    setrlimit(Resource::As, before).unwrap();

    assert!(matches!(error, Error::NoThread(_)), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains(": "), "{error:?}");
}

//! A service that is process 1, as in a container: what workers leave running becomes its children.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use rustix::{
    io::Errno,
    process::{WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid},
};
use support::{LONG, cores, ours};

/// The only test here: adopting orphans concerns the whole process.
#[tokio::test]
async fn no_dead_child_is_left_to_a_service_that_adopts_orphans() {
    set_child_subreaper(Some(getpid())).unwrap();
    for core in cores() {
        let pool = ours("leftovers.py", &core).start().await.unwrap();
        let _: Vec<String> = pool.call("names", &()).await.unwrap();
        for how in ["mild", "stubborn"] {
            let _: u32 = pool.call("child", how).await.unwrap();
        }
        pool.shutdown(LONG).await;
        let any = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        assert_eq!(any.unwrap_err(), Errno::CHILD);
    }
}

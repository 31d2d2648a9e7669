//! `cargo xtask interleavings`

use std::env;

use anyhow::Result;

use crate::tools::process;

/// Runs the hand-over between callers and connections of the pool in many interleavings of its threads. For this the pool
/// is built with shuttle's locks and threads, in a separate target directory.
pub(crate) fn run() -> Result<()> {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let mut cargo = process::cargo();
    cargo.env("RUSTFLAGS", format!("{flags} --cfg shuttle"));
    // Without debug information, this build is half as large.
    cargo.env("CARGO_PROFILE_TEST_DEBUG", "0");
    cargo.args(["test", "--package", "pyproc-pool", "--lib"]);
    cargo.args(["--target-dir", "target/shuttle", "interleavings"]);
    process::run(&mut cargo)
}

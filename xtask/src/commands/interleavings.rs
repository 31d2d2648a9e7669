//! `cargo xtask interleavings`

use std::env;

use anyhow::Result;

use crate::tools::process;

/// Runs the pool's hand-over between callers and connections under many orders of its threads' steps. For that the pool is
/// built with shuttle's locks and threads, in a folder of its own.
pub(crate) fn run() -> Result<()> {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let mut cargo = process::cargo();
    cargo.env("RUSTFLAGS", format!("{flags} --cfg shuttle"));
    // Nobody debugs this build, which is half as large without.
    cargo.env("CARGO_PROFILE_TEST_DEBUG", "0");
    cargo.args(["test", "--package", "pyproc-pool", "--lib"]);
    cargo.args(["--target-dir", "target/shuttle", "interleavings"]);
    process::run(&mut cargo)
}

//! What a call costs, beside floors and peers: `cargo xtask bench`.
//!
//! All sessions of a round run one after another, and rounds repeat, so that what the
//! machine does besides hits all peers alike; the table has the medians over the rounds. Compare
//! within one run only.

/// Of a service that cares: the Rust clients of all peers have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    pyproc_bench::main()
}

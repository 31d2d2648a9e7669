//! The same program with the system's allocator, for sessions that measure memory: it takes no more
//! than it is asked for.

fn main() -> anyhow::Result<()> {
    pyproc_bench::main()
}

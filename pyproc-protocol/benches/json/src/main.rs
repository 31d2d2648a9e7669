//! Compares the JSON of `pyproc-protocol` with other libraries: the same Rust types, the same bytes, one run.
//!
//! `cargo run --release` in this folder prints what each library gets wrong, then a table of times. With an argument it
//! measures only the rows whose name contains it. The table
//! that decided is in `src/json/README.md` of the crate.

mod cases;
mod checks;
mod libraries;
mod timing;

use anyhow::Result;

/// As services do that care for speed; otherwise the system's allocator takes most of the time of W2.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (first, second) = (arguments.next(), arguments.next());
    match (first.as_deref(), second) {
        (Some("deep"), Some(library)) => checks::parse_deep(&library),
        (filter, _) => {
            if filter.is_none() {
                checks::print()?;
                println!();
            }
            timing::print(filter.unwrap_or_default())
        }
    }
}

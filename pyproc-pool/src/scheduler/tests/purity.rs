//! The scheduler names nothing that is not plain data: so it can be simulated, and its driver is the only one.

use std::{fs, path::Path};

/// What would make it more than that: a runtime, the system, a clock, a lock, a thread, and the rooms that have those.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "rustix",
    "libc",
    "std::io",
    "std::net",
    "std::os",
    "std::fs",
    "std::process",
    "std::thread",
    "thread::",
    "UnixStream",
    "WriteHalf",
    "ReadHalf",
    "Instant::now",
    "SystemTime",
    ".elapsed()",
    "sleep(",
    "Mutex",
    "RwLock",
    "Condvar",
    "Atomic",
    "mpsc",
    "async ",
    "driver::",
    "transport::",
    "worker::",
    "shared::",
];

/// What a file names in its code, without comments and tests.
fn named(source: &str) -> Vec<&'static str> {
    let code = source
        .split("#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let is_named = |it: &&&str| code.contains(**it);
    FORBIDDEN.iter().filter(is_named).copied().collect()
}

#[test]
fn the_scheduler_names_no_runtime_socket_clock_or_lock() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scheduler");
    let mut seen = 0;
    for entry in fs::read_dir(room).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".rs") {
            continue;
        }
        seen += 1;
        let named = named(&fs::read_to_string(&path).unwrap());
        assert!(named.is_empty(), "{name} names {named:?}");
    }
    assert!(seen >= 10, "only {seen} files were read");
}

#[test]
fn whatever_is_forbidden_is_found() {
    for &word in FORBIDDEN {
        let source = format!("//! It is said in comments: {word}\nlet it = {word};\n");
        assert!(named(&source).contains(&word), "{word}");
        assert!(named(&format!("// {word}\n")).is_empty(), "{word}");
    }
}

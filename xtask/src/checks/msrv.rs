//! Checks the dependencies: all build with the oldest Rust that the workspace supports, and each crate of OpenTelemetry
//! has one version.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::commands::bench;
use crate::tools::{process, workspace};

const OURS: &str = env!("CARGO_PKG_RUST_VERSION");

/// The packages of `Cargo.lock`, as their manifests have them.
fn packages() -> Result<Vec<Value>> {
    let mut cargo = process::cargo();
    let text = process::run_quietly(cargo.args(["metadata", "--format-version=1", "--locked"]))?;
    let mut metadata: Value = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => anyhow::bail!("no packages"),
    }
}

/// Those that need a newer Rust, each with its version.
fn newer_than(rust: &str, packages: &[Value]) -> Vec<String> {
    let newer = packages.iter().filter(|it| {
        let wanted = it["rust_version"].as_str().unwrap_or_default();
        version(wanted) > version(rust)
    });
    newer
        .map(|it| format!("{} wants Rust {}", it["id"], it["rust_version"]))
        .collect()
}

fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<_> = text.split('.').map_while(|it| it.parse().ok()).collect();
    parts.resize(3, 0);
    parts
}

#[test]
fn no_dependency_wants_a_newer_rust_than_the_workspace_declares() {
    assert_eq!(newer_than(OURS, &packages().unwrap()), Vec::<String>::new());
}

#[test]
fn dependencies_want_a_newer_rust_than_an_older_one() {
    assert!(!newer_than("1.60", &packages().unwrap()).is_empty());
}

#[test]
fn the_benchmark_declares_the_rust_of_the_workspace() {
    let manifest = workspace::root().join(bench::MANIFEST);
    let in_process = manifest.with_file_name("in_process").join("Cargo.toml");
    for path in [manifest, in_process] {
        let text = fs::read_to_string(&path).unwrap();
        let declared = format!("\nrust-version = \"{OURS}\"\n");
        assert!(text.contains(&declared), "{}: not {OURS}", path.display());
    }
}

/// A second version would have different types: our tracer would not fit into a layer of `tracing-opentelemetry`.
/// `examples/observability` checks at compile time that it does.
#[test]
fn each_crate_of_opentelemetry_has_one_version() {
    let packages = packages().unwrap();
    for name in [
        "opentelemetry",
        "opentelemetry_sdk",
        "opentelemetry-http",
        "opentelemetry-otlp",
        "opentelemetry-proto",
        "tracing-opentelemetry",
    ] {
        let found = packages.iter().filter(|it| it["name"] == name);
        let versions: Vec<_> = found.map(|it| &it["version"]).collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn versions_are_compared_by_their_numbers() {
    assert!(version("1.9") < version("1.88"));
    assert_eq!(version("1.88"), version("1.88.0"));
    assert!(version("") < version("1.56"));
}

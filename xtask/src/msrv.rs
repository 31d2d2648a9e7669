//! The oldest Rust that the workspace builds with, as the manifests of its dependencies have it.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The packages of `Cargo.lock` that ask for a newer Rust than the workspace declares, each with its version.
fn too_new() -> Result<Vec<String>> {
    let mut cargo = process::cargo();
    let text = process::run_quietly(cargo.args(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let newer = packages.iter().filter(|it| {
        let wanted = it["rust_version"].as_str().unwrap_or_default();
        version(wanted) > ours
    });
    Ok(newer
        .map(|it| format!("{} wants Rust {}", it["id"], it["rust_version"]))
        .collect())
}

fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<_> = text.split('.').map_while(|it| it.parse().ok()).collect();
    parts.resize(3, 0);
    parts
}

#[test]
fn no_dependency_wants_a_newer_rust_than_the_workspace_declares() {
    assert_eq!(too_new().unwrap(), Vec::<String>::new());
}

#[test]
fn versions_are_compared_by_their_numbers() {
    assert!(version("1.9") < version("1.88"));
    assert_eq!(version("1.88"), version("1.88.0"));
    assert!(version("") < version("1.56"));
}

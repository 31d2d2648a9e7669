//! The native core of the Python package: built with cargo alone, and put where an editable
//! installation finds it.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::{process, workspace};

/// The profile that the released wheels are built with, too.
const PROFILE: &str = "native";

/// Builds the core for any Python from 3.9 on, if its source has changed.
pub(crate) fn build() -> Result<()> {
    process::run(&mut cargo_build())?;
    let built = workspace::target_dir()
        .join(PROFILE)
        .join(format!("{DLL_PREFIX}_core{DLL_SUFFIX}"));
    let place = place();
    // A running worker has the old file open: replace the file instead of writing to it.
    let new = place.with_extension(format!("{}.new", std::process::id()));
    fs::copy(&built, &new)
        .and_then(|_| fs::rename(&new, &place))
        .with_context(|| format!("cannot copy {} to {}", built.display(), place.display()))
}

fn cargo_build() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["build", "--package", "pyproc-py"]);
    cargo.args(["--profile", PROFILE]);
    cargo
}

/// Python's name for a module of the stable ABI, on Linux and macOS.
fn place() -> PathBuf {
    workspace::python_package().join("python/pyproc_worker/_core.abi3.so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_lies_beside_the_packages_modules() {
        let package = place().parent().unwrap().join("__init__.py");
        assert!(package.is_file(), "{}", package.display());
    }

    #[test]
    fn what_is_built_depends_on_no_interpreter_and_is_shown() {
        let command = cargo_build();
        let mut variables = command.get_envs();
        assert!(variables.any(|(name, value)| name == "PYO3_NO_PYTHON" && value.is_some()));
        let arguments = process::arguments(&command);
        assert!(arguments.ends_with(&["--profile", "native"].map(String::from)));
        assert!(!arguments.contains(&"--quiet".into()), "minutes of silence");
    }
}

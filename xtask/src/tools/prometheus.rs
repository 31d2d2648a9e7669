//! Prometheus, with which the tests check our metrics.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tools::{process, workspace};

const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// The directory of `prometheus` and `promtool`: from `PATH`, otherwise unpacked from Debian's package under `target`,
/// which needs no root and starts no service.
///
/// An error if neither is available; the caller then reports what is not tested.
pub(crate) fn directory() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).find(|it| has_programs(it)) {
        return Ok(found);
    }
    let home = workspace::target_dir().join("xtask/prometheus");
    let programs = home.join("usr/bin");
    if !has_programs(&programs) {
        unpack_package(&home)
            .context("Prometheus is not on PATH, and Debian's package cannot be had")?;
    }
    Ok(programs)
}

fn has_programs(directory: &Path) -> bool {
    PROGRAMS.iter().all(|it| directory.join(it).is_file())
}

fn unpack_package(home: &Path) -> Result<()> {
    fs::create_dir_all(home).with_context(|| format!("cannot create {}", home.display()))?;
    download(home).or_else(|_| {
        // A fresh image has no list of packages, and only root may download it.
        process::run_quietly(process::command("apt-get").args(["update", "-qq"]))?;
        download(home)
    })?;
    let package = downloaded(home)?;
    let mut unpack = process::command("dpkg-deb");
    process::run_quietly(unpack.arg("--extract").arg(&package).arg(home))?;
    fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))?;
    if !has_programs(&home.join("usr/bin")) {
        bail!("the package holds other programs than {PROGRAMS:?}");
    }
    Ok(())
}

fn download(home: &Path) -> Result<()> {
    let mut apt = process::command("apt-get");
    process::run_quietly(
        apt.current_dir(home)
            .args(["download", "-qq", "prometheus"]),
    )?;
    Ok(())
}

fn downloaded(home: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "deb") {
            return Ok(path);
        }
    }
    bail!("apt-get left no package in {}", home.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_counts_only_with_both_programs() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!has_programs(directory.path()));
        fs::write(directory.path().join("prometheus"), "").unwrap();
        assert!(!has_programs(directory.path()));
        fs::write(directory.path().join("promtool"), "").unwrap();
        assert!(has_programs(directory.path()));
    }

    #[test]
    fn the_package_is_found_among_other_files() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("control"), "").unwrap();
        assert!(downloaded(home.path()).is_err());
        fs::write(home.path().join("prometheus_1.deb"), "").unwrap();
        assert_eq!(
            downloaded(home.path()).unwrap(),
            home.path().join("prometheus_1.deb")
        );
    }
}

//! `cargo xtask quick-start`

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools::workspace;

/// The line of the block with the path of the clone: the reader is there already.
const CLONE: &str = "pyproc=$PWD\n";

/// Variables for the paths of programs and for the access to registries. All other variables are removed: they might
/// help, and a reader does not have them.
fn is_kept(name: &str) -> bool {
    let is_of = |prefix: &&str| name.starts_with(*prefix);
    let of_the_system = ["PATH", "HOME", "REQUESTS_CA_BUNDLE"].contains(&name);
    let of_a_tool = ["CARGO_HOME", "CARGO_NET_", "PIP_", "RUSTUP_", "SSL_CERT_"];
    of_the_system || of_a_tool.iter().any(is_of) || name.to_lowercase().ends_with("_proxy")
}

#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

/// Runs the block at the beginning of the README in an empty directory, and compares its output with the one in the
/// README.
pub(crate) fn run(_args: &Args) -> Result<()> {
    let readme = fs::read_to_string(workspace::root().join("README.md")).context("no README")?;
    let (block, shown) = quick_start(&readme)?;
    // Not under `target`: cargo would treat the new package as part of this workspace.
    let home = tempfile::tempdir().context("cannot make a directory")?;
    let clone = home.path().join("clone");
    fs::create_dir(&clone)?;
    let printed = paste(&with_clone(block)?, &clone)?;
    if !printed.ends_with(&format!("\n{shown}")) {
        bail!("the README's quick start shows\n{shown}and prints\n{printed}");
    }
    let program = home.path().join("hello-pyproc");
    let doctor = paste("venv/bin/pyproc-worker doctor", &program)?;
    eprint!("{doctor}");
    let serves_natively = |line: &str| line.split_whitespace().eq(["core", "native"]);
    if !doctor.lines().any(serves_natively) {
        bail!("the README's quick start left the slower core behind");
    }
    Ok(())
}

/// The block, and the output that follows it.
fn quick_start(readme: &str) -> Result<(&str, &str)> {
    let (block, rest) = fenced(readme, "sh").context("the README has no block of commands")?;
    let (shown, _) = fenced(rest, "text").context("the README shows no output of its block")?;
    Ok((block, shown))
}

/// The content of the first fenced block of this language, and the text after it.
fn fenced<'a>(text: &'a str, language: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(&format!("```{language}\n"))?
        .1
        .split_once("```\n")
}

fn with_clone(block: &str) -> Result<String> {
    let rest = block
        .strip_prefix(CLONE)
        .with_context(|| format!("the README's quick start does not begin with {CLONE}"))?;
    Ok(format!("pyproc='{}'\n{rest}", workspace::root().display()))
}

/// Runs commands in a shell without variables, and returns their stdout. Each is printed on stderr before it runs, so that
/// the log shows which one failed.
fn paste(commands: &str, directory: &Path) -> Result<String> {
    let kept = env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_kept));
    let output = Command::new("sh")
        .args(["-e", "-x", "-c", commands])
        .current_dir(directory)
        .env_clear()
        .envs(kept)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start sh")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "the README's quick start failed ({}):\n{printed}",
            output.status
        );
    }
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readme() -> String {
        fs::read_to_string(workspace::root().join("README.md")).unwrap()
    }

    #[test]
    fn the_readme_begins_with_the_quick_start() {
        let readme = readme();
        let (block, shown) = quick_start(&readme).unwrap();
        let first = readme.split_once("```").unwrap().1;
        assert!(first.starts_with(&format!("sh\n{block}")), "{first}");
        assert!(!shown.is_empty());
        assert!(with_clone(block).unwrap().contains("\ncargo run"));
    }

    #[test]
    fn the_block_can_be_pasted_into_any_shell() {
        let readme = readme();
        let (block, _) = quick_start(&readme).unwrap();
        let is_comment = |line: &&str| line.contains(" # ") || line.starts_with("# ");
        assert_eq!(block.lines().find(is_comment), None, "zsh takes none");
    }

    #[test]
    fn what_is_pasted_sees_nothing_of_the_users_environment() {
        let printed = paste("env | cut -d= -f1", workspace::root()).unwrap();
        let of_the_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
        for name in printed.lines() {
            assert!(is_kept(name) || of_the_shell.contains(&name), "{name}");
        }
    }

    #[test]
    fn commands_that_fail_are_an_error_with_their_output() {
        let error = paste("echo out; false; echo more", workspace::root()).unwrap_err();
        assert!(
            error.to_string().ends_with("(exit status: 1):\nout\n"),
            "{error}"
        );
    }
}

//! Child processes: started in our process group, so that Ctrl-C ends them too.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools::workspace;

/// A command in the repository's root, without the user's variables for other Pythons or for pools, and without those
/// that cargo sets for xtask itself.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(must_not_leak) {
            command.env_remove(name);
        }
    }
    command
}

fn must_not_leak(variable: &str) -> bool {
    matches!(
        variable,
        "PYTHONPATH" | "PYTHONHOME" | "PIP_USER" | "PIP_TARGET" | "PIP_REQUIRE_VIRTUALENV"
    ) || variable.starts_with("PYPROC_")
        || variable.starts_with("CARGO_PKG_")
        || variable.starts_with("CARGO_MANIFEST_")
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The stable ABI needs no interpreter; the first one on PATH might cause a build of its own.
    cargo.env("PYO3_NO_PYTHON", "1");
    cargo
}

/// Runs a command whose output is for the user.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = display(command);
    eprintln!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command, and returns its stdout. Shows its output only if it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<String> {
    let line = display(command);
    let output = capture(command).with_context(|| format!("cannot start `{line}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}):\n{stdout}{stderr}", output.status);
    }
    Ok(stdout)
}

/// Whether a command starts and succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    capture(command).is_ok_and(|output| output.status.success())
}

fn capture(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).output()
}

/// The command line as a user would type it, without the program's directory.
fn display(command: &Command) -> String {
    let program = command.get_program();
    let program = Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A command's arguments as text, for the tests of how flags are passed on.
#[cfg(test)]
pub(crate) fn arguments(command: &Command) -> Vec<String> {
    command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_python_setup_and_our_package_variables_do_not_leak() {
        for name in [
            "PYTHONPATH",
            "PYTHONHOME",
            "PIP_USER",
            "PYPROC_LOG_LEVEL",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
        ] {
            assert!(must_not_leak(name), "{name}");
        }
        for name in ["PATH", "CARGO_HOME", "CARGO_TARGET_DIR", "PIP_INDEX_URL"] {
            assert!(!must_not_leak(name), "{name}");
        }
    }

    #[test]
    fn a_failed_quiet_command_shows_its_output() {
        let mut script = command("sh");
        script.args(["-c", "echo out; echo err >&2; exit 3"]);
        let message = run_quietly(&mut script).unwrap_err().to_string();
        assert!(message.contains("exit status: 3"), "{message}");
        assert!(message.contains("out\nerr\n"), "{message}");
    }

    #[test]
    fn a_program_that_cannot_be_started_is_named() {
        let message = run(&mut command("./no-such-program"))
            .unwrap_err()
            .to_string();
        assert_eq!(message, "cannot start `no-such-program`");
    }
}

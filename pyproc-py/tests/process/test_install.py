"""What pip makes of this directory: with cargo, without it, and with one that fails."""

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from wire import PATIENCE

PACKAGE = Path(__file__).parents[2]
NATIVE = "core          native\n"
BUILD_TOOLS = (
    "editables", "hatchling", "packaging", "pathspec", "pluggy", "tomli", "tomlkit", "trove_classifiers",
)  # fmt: skip

# What cargo prints when it has built the core, which is here one that was built before.
CARGO = """#!/bin/sh
echo "$@" >> "${{0%/*}}/runs"
echo '{{"reason":"compiler-artifact","target":{{"name":"_core"}},"filenames":["{core}"]}}'
echo '{{"reason":"build-finished","success":true}}'
"""
BROKEN_CARGO = "#!/bin/sh\necho 'error: linker `cc` not found' >&2\nexit 101\n"


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """A file that stands for the native core: the real one, if this installation has it."""
    found = find_spec("pyproc_worker._core")
    if found is not None:
        return found.origin
    path = tmp_path_factory.mktemp("core") / "_core.so"
    path.write_text("no library")
    return str(path)


class Checkout:
    """A copy of the package in a checkout, and an environment without anything installed."""

    def __init__(self, folder, core):
        self.core = core
        self.package = folder / "checkout/pyproc-py"
        self.bin = folder / "bin"
        self.bin.mkdir()
        ignored = shutil.ignore_patterns("*.so", "_no_core.txt", "__pycache__", "tests", ".*")
        shutil.copytree(PACKAGE, self.package, ignore=ignored)
        (self.package.parent / "Cargo.toml").touch()
        tools = folder / "tools"
        tools.mkdir()
        for name in BUILD_TOOLS:
            spec = find_spec(name)
            if spec is not None:
                (tools / name).symlink_to(Path(spec.origin).parent)
        self.environment = {
            "HOME": str(folder),
            "PATH": str(self.bin),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONPATH": str(tools),
        }
        self.venv = folder / "venv"
        self.run(sys.executable, "-m", "venv", "--without-pip", str(self.venv))

    def set_up_cargo(self, script=CARGO):
        cargo = self.bin / "cargo"
        cargo.write_text(script.format(core=self.core))
        cargo.chmod(0o755)

    def pip(self, *arguments, fails=False, **environment):
        """Runs pip for the environment, and returns its output."""
        python = str(self.venv / "bin/python")
        pip = (sys.executable, "-m", "pip", "--python", python, *arguments)
        offline = ("--no-deps", "--no-build-isolation", "--no-index")
        return self.run(*pip, *offline, fails=fails, **environment)

    def install(self, *what, **environment):
        return self.pip("install", *(what or (str(self.package),)), **environment)

    def wheel(self, **environment):
        self.pip("wheel", "--wheel-dir", str(self.package.parent), str(self.package), **environment)
        (wheel,) = self.package.parent.glob("*.whl")
        return wheel

    def doctor(self):
        python = str(self.venv / "bin/python")
        return self.run(python, "-m", "pyproc_worker", "doctor")

    def run(self, *command, cwd=None, fails=False, **environment):
        result = subprocess.run(
            command,
            env={**self.environment, **environment},
            cwd=cwd or self.bin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        output = result.stdout + result.stderr
        assert (result.returncode != 0) == fails, output
        return output


@pytest.fixture
def checkout(folder, core):
    return Checkout(folder, core)


def libraries(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if name.endswith(".so")]


def test_with_cargo_the_wheel_has_the_native_core(checkout):
    checkout.set_up_cargo()
    wheel = checkout.wheel()
    assert any(name.startswith("pyproc_worker/_core.") for name in libraries(wheel))
    assert "none-any" not in wheel.name
    assert "manylinux" not in wheel.name
    runs = (checkout.bin / "runs").read_text()
    assert "--profile native" in runs


def test_without_cargo_the_loop_in_python_is_installed_and_the_doctor_says_why(checkout):
    checkout.install()
    told = checkout.doctor()
    assert "python (JSON by json), slower than the native one" in told
    assert "cargo was found neither on PATH nor where rustup puts it" in told
    assert "https://rustup.rs" in told


def test_where_rustup_puts_it_cargo_is_found_although_path_does_not_lead_there(checkout):
    home = checkout.bin.parent / ".cargo/bin"
    home.mkdir(parents=True)
    checkout.set_up_cargo()
    (checkout.bin / "cargo").rename(home / "cargo")
    assert "none-any" not in checkout.wheel().name


def test_a_cargo_that_fails_fails_the_installation_which_says_how_to_go_on(checkout):
    checkout.set_up_cargo(BROKEN_CARGO)
    told = checkout.install(fails=True)
    assert "linker `cc` not found" in told
    assert "set PYPROC_BUILD_CORE=python" in told
    checkout.install(PYPROC_BUILD_CORE="python")
    assert "PYPROC_BUILD_CORE was 'python'" in checkout.doctor()


def test_the_native_core_may_be_demanded(checkout):
    told = checkout.install(fails=True, PYPROC_BUILD_CORE="native")
    assert "PYPROC_BUILD_CORE is 'native', but cargo was found neither" in told
    told = checkout.install(fails=True, PYPROC_BUILD_CORE="fast")
    assert "PYPROC_BUILD_CORE is 'fast'; it may be native or python" in told


def test_a_source_distribution_builds_without_the_core_and_says_why(checkout):
    checkout.set_up_cargo()
    build = (sys.executable, "-m", "hatchling", "build", "--target", "sdist")
    checkout.run(*build, cwd=checkout.package)
    checkout.install(str(next((checkout.package / "dist").iterdir())))
    assert "a checkout of the repository has them" in checkout.doctor()


def test_an_editable_installation_without_the_core_leaves_none_of_an_earlier_one(checkout):
    checkout.set_up_cargo()
    checkout.install("--editable", str(checkout.package))
    checkout.install("--editable", str(checkout.package), PYPROC_BUILD_CORE="python")
    assert "PYPROC_BUILD_CORE was 'python'" in checkout.doctor()


@pytest.mark.skipif(not find_spec("pyproc_worker._core"), reason="no native core is here")
class TestOrders:
    """Whichever way the slower core came, the next documented step replaces it."""

    def test_an_installation_once_cargo_is_there(self, checkout):
        checkout.install()
        assert "slower" in checkout.doctor()
        checkout.set_up_cargo()
        checkout.install()
        assert NATIVE in checkout.doctor()

    def test_a_wheel_as_the_readme_says_to_install_it(self, checkout):
        checkout.install()
        checkout.set_up_cargo()
        checkout.install("--force-reinstall", str(checkout.wheel()))
        assert NATIVE in checkout.doctor()

    def test_editable_installations(self, checkout):
        checkout.install("--editable", str(checkout.package))
        assert "cargo was found neither" in checkout.doctor()
        checkout.set_up_cargo()
        checkout.install("--editable", str(checkout.package))
        assert NATIVE in checkout.doctor()

    def test_what_an_editable_installation_left_gets_into_no_wheel(self, checkout):
        checkout.set_up_cargo()
        checkout.install("--editable", str(checkout.package))
        assert libraries(checkout.wheel(PYPROC_BUILD_CORE="python")) == []

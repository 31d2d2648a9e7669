"""Something is done when a module is loaded, whoever finds and loads it, and how."""

import importlib
import sys
import types
from importlib.machinery import ModuleSpec

import pytest
from pyproc_worker._system.import_hooks import when_loaded

NAME = "module_of_a_test"


class Finder:
    """Finds the module, which `loader` loads."""

    def __init__(self, loader):
        self._loader = loader

    def find_spec(self, name, path, target=None):
        return ModuleSpec(name, self._loader) if name.startswith(NAME) else None


class Shared:
    """A loader that is a class, and loads several modules, as that of frozen modules."""

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        if module.__name__ == NAME:
            importlib.import_module(NAME + "_too")
        module.loaded = True


class Legacy:
    """A loader as they were before Python 3.4."""

    def load_module(self, name):
        module = sys.modules[name] = types.ModuleType(name)
        module.__loader__ = self
        module.loaded = True
        return module


@pytest.fixture
def finders(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield sys.meta_path
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]


@pytest.fixture
def acts():
    """The modules that were there, each time."""
    acts = []
    when_loaded(NAME, lambda: acts.append(sys.modules[NAME].loaded))
    return acts


def test_it_is_done_once_when_the_module_has_been_loaded(finders, acts):
    finders.append(Finder(Shared))
    importlib.import_module(NAME + "_too")
    assert acts == []
    module = importlib.import_module(NAME)
    assert acts == [True]
    importlib.reload(module)
    assert acts == [True]


def test_it_is_done_at_once_if_the_module_is_there(finders):
    acts = []
    when_loaded("sys", lambda: acts.append(1))
    assert acts == [1]


def test_the_module_keeps_its_own_loader(finders, acts):
    finders.append(Finder(Shared))
    module = importlib.import_module(NAME)
    assert module.__loader__ is module.__spec__.loader is Shared


def test_a_module_that_fails_is_waited_for_again(finders, acts):
    finders.append(Finder(Shared))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shared, "exec_module", staticmethod(lambda module: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            importlib.import_module(NAME)
    assert acts == []
    importlib.import_module(NAME)
    assert acts == [True]


def test_what_fails_then_is_logged_and_does_not_fail_the_import(finders, caplog):
    finders.append(Finder(Shared))
    when_loaded(NAME, lambda: 1 / 0)
    assert importlib.import_module(NAME).loaded
    assert "ZeroDivisionError" in caplog.text


def test_a_module_that_is_not_there_is_not_found(finders, acts):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(NAME)


@pytest.mark.filterwarnings("ignore:.*load_module:ImportWarning")
@pytest.mark.filterwarnings("ignore:.*exec_module:ImportWarning")
def test_modules_of_legacy_loaders_are_loaded_without_it(finders, acts):
    finders.insert(1, Finder(Legacy()))
    assert importlib.import_module(NAME).loaded
    assert acts == []


@pytest.mark.filterwarnings("ignore:.*find_spec:ImportWarning")
def test_finders_that_cannot_find_are_passed_over(finders, acts):
    finders[1:1] = [types.SimpleNamespace(find_module=lambda name, path=None: None)]
    finders.append(Finder(Shared))
    assert importlib.import_module(NAME).loaded
    assert acts == [True]

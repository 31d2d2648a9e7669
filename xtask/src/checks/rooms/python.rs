//! The imports in a Python package's sources, as Python itself reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::tree::{Module, Tree};
use crate::tools::process;
use crate::tools::python::PythonArg;

const SCRIPT: &str = include_str!("imports.py");

/// What the script prints. Modules are dotted names without the package's.
#[derive(Deserialize)]
struct Imports {
    files: BTreeMap<String, PathBuf>,
    uses: Vec<(String, String)>,
}

/// Reads the package that `folder` belongs to. Also returns the module that `folder` holds.
pub(super) fn read(folder: &Path) -> (Tree, Module) {
    let (mut root, mut module) = (folder, Module::new());
    while let Some(parent) = root.parent().filter(|it| it.join("__init__.py").exists()) {
        module.insert(0, root.file_name().unwrap().to_string_lossy().into_owned());
        root = parent;
    }
    let python = PythonArg::default().find().unwrap();
    let mut command = process::command(python.executable);
    let printed = process::run_quietly(command.args(["-c", SCRIPT]).arg(root)).unwrap();
    let imports: Imports = serde_json::from_str(&printed).unwrap();
    let files = imports.files.into_iter();
    let uses = imports.uses.iter();
    let tree = Tree {
        root: root.into(),
        separator: ".",
        files: files.map(|(name, file)| (names(&name), file)).collect(),
        uses: uses.map(|(from, to)| (names(from), names(to))).collect(),
        ..Tree::default()
    };
    (tree, module)
}

fn names(dotted: &str) -> Module {
    let names = dotted.split('.').filter(|it| !it.is_empty());
    names.map(String::from).collect()
}

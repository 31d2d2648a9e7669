//! Holds the imports of each source folder to its picture in `ARCHITECTURE.md`.
//!
//! A picture is a fenced block whose first line is `rooms of FOLDER`. A room is a folder or a file directly below that
//! folder. Each further line names rooms, separated by one space; text after two spaces explains them. A room may use
//! only the rooms on the lines below its own. Deeper folders need no picture, but they form no circles either, neither with
//! each other nor with files beside them. Code for tests may use anything.
//!
//! Seen are all paths of Rust sources (in `use`, types, expressions and macros) and all imports of Python sources, also
//! those within functions. Not seen are methods of values whose type is not named, the strings in attributes such as
//! `#[serde(with = "...")]`, and modules that Python loads by a computed name.

mod python;
mod rust;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::workspace;
use tree::{Folder, Module, Tree, stem};

/// The source folders that have a picture.
const SOURCES: [&str; 7] = [
    "pyproc-logging/src",
    "pyproc-pool/src",
    "pyproc-protocol/src",
    "pyproc-py/python/pyproc_worker",
    "pyproc-py/src",
    "pyproc-telemetry/src",
    "xtask/src",
];

/// A block of `ARCHITECTURE.md`.
#[derive(Debug, PartialEq)]
struct Picture {
    folder: String,
    /// The rooms, from top to bottom.
    lines: Vec<Vec<String>>,
}

impl Picture {
    fn all(page: &str) -> Vec<Self> {
        let mut pictures = Vec::new();
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            if !line.starts_with("```") {
                continue;
            }
            let block: Vec<_> = lines.by_ref().take_while(|it| *it != "```").collect();
            if let Some(folder) = block.first().and_then(|it| it.strip_prefix("rooms of ")) {
                pictures.push(Self {
                    folder: folder.trim().into(),
                    lines: block[1..].iter().map(|it| rooms_on(it)).collect(),
                });
            }
        }
        pictures
    }

    /// What is wrong with the picture, or with the sources of its folder.
    fn problems(&self, tree: &Tree, module: Module) -> Vec<String> {
        let folder = Folder::new(tree, module);
        let mut problems = self.missing_and_unknown(&folder.rooms());
        for dependency in folder.dependencies() {
            let lines = (
                self.line_of(&dependency.user),
                self.line_of(&dependency.used),
            );
            if let (Some(user), Some(used)) = lines
                && user >= used
            {
                problems.push(format!(
                    "{dependency}: in the picture of {}, `{}` is on line {} and may use only rooms below it, and `{}` is on \
                     line {}",
                    self.folder,
                    dependency.user,
                    user + 1,
                    dependency.used,
                    used + 1,
                ));
            }
        }
        problems
    }

    fn line_of(&self, room: &String) -> Option<usize> {
        self.lines.iter().position(|line| line.contains(room))
    }

    fn missing_and_unknown(&self, rooms: &BTreeSet<String>) -> Vec<String> {
        let named: Vec<_> = self.lines.iter().flatten().collect();
        let count = |room: &str| named.iter().filter(|it| **it == room).count();
        let folder = &self.folder;
        let missing = rooms.iter().filter(|it| count(it) != 1).map(|room| {
            let times = count(room);
            format!("the picture of {folder} names `{room}` {times} times, and must name it once")
        });
        let unknown = named.iter().filter(|it| !rooms.contains(**it));
        let unknown =
            unknown.map(|it| format!("the picture of {folder} names `{it}`, which is not there"));
        missing.chain(unknown).collect()
    }
}

/// The rooms that a line of a picture names, without their endings.
fn rooms_on(line: &str) -> Vec<String> {
    let names = line.trim().split("  ").next().unwrap_or_default();
    names.split_whitespace().map(stem).collect()
}

/// Reads the crate or the package that a folder belongs to. Also returns the folder's module.
fn read(folder: &Path) -> (Tree, Module) {
    if folder.join("__init__.py").exists() {
        python::read(folder)
    } else {
        rust::read(folder)
    }
}

/// The files of a source folder, without those for tests.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let (tree, _) = read(folder);
    tree.files.into_values().collect()
}

/// The dependencies that form circles of folders, or of a folder and files, within one folder.
fn circles(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for module in tree.folders() {
        let folder = Folder::new(tree, module);
        let mut dependencies = folder.dependencies();
        dependencies.retain(|it| !folder.is_main_file(&it.user) && !folder.is_main_file(&it.used));
        // What remains after dependencies of unused users and on rooms without dependencies are removed, again and again.
        loop {
            let users: BTreeSet<_> = dependencies.iter().map(|it| it.user.clone()).collect();
            let used: BTreeSet<_> = dependencies.iter().map(|it| it.used.clone()).collect();
            let before = dependencies.len();
            dependencies.retain(|it| users.contains(&it.used) && used.contains(&it.user));
            if dependencies.len() == before {
                break;
            }
        }
        dependencies.retain(|it| folder.is_folder(&it.user) || folder.is_folder(&it.used));
        let circle = dependencies
            .iter()
            .map(|it| format!("{it}: part of a circle"));
        found.extend(circle);
    }
    found
}

#[test]
fn rooms_use_only_those_below_them_and_folders_form_no_circles() {
    let root = workspace::root();
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let pictures = Picture::all(&page);
    let mut folders: Vec<_> = pictures.iter().map(|it| &*it.folder).collect();
    folders.sort_unstable();
    assert_eq!(folders, SOURCES);
    let problems = pictures.iter().flat_map(|picture| {
        let (tree, module) = read(&root.join(&picture.folder));
        let mut problems = picture.problems(&tree, module);
        problems.extend(circles(&tree));
        problems
    });
    let problems: Vec<_> = problems.collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn each_top_folder_has_a_row_in_the_page() {
    let root = workspace::root();
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    for folder in SOURCES {
        let (tree, _) = read(&root.join(folder));
        for module in tree.folders().iter().filter(|it| it.len() == 1) {
            let name = format!("`{}/`", module[0]);
            assert!(page.contains(&name), "{folder}: {name} has no row");
        }
    }
}

/// Writes a small source folder, and reads it.
fn house(files: &[(&str, &str)]) -> (Tree, Module) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join("house").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    read(&root.path().join("house"))
}

/// What is wrong with a small source folder.
fn problems(files: &[(&str, &str)], picture: &str) -> Vec<String> {
    let page = format!("```text\nrooms of house\n{picture}```\n");
    let [picture] = &Picture::all(&page)[..] else {
        panic!("one picture")
    };
    let (tree, module) = house(files);
    picture.problems(&tree, module)
}

#[test]
fn a_wrong_path_in_rust_is_found() {
    let lib = (
        "lib.rs",
        "mod floor; mod roof; mod tree; pub use roof::Tile as Shingle;",
    );
    let roof = ("roof.rs", "use crate::floor::{Beam, wood::Oak};");
    let tree = ("tree/mod.rs", "");
    let picture = "lib.rs\nroof.rs  over all\ntree/ floor/\n";
    let with = |floor| {
        let files = [
            lib,
            roof,
            tree,
            ("floor/mod.rs", "mod wood;"),
            ("floor/wood.rs", floor),
        ];
        problems(&files, picture)
    };
    let no_problem = [
        "use super::Beam; use std::fs;",
        "#[cfg(test)] mod tests { use crate::roof; }",
        "// crate::roof\n/// crate::roof\nconst TEXT: &str = \"crate::roof\";",
    ];
    for floor in no_problem {
        assert_eq!(with(floor), Vec::<String>::new(), "{floor}");
    }
    assert_eq!(
        with("use crate::{floor::Beam, roof::{self, Tile}};")[0],
        "floor/wood.rs uses `crate::roof` of the room `roof`: in the picture of house, `floor` is on line 3 and may use \
         only rooms below it, and `roof` is on line 2"
    );
    let wrong = [
        "use super::super::roof::Tile;",
        "fn f() { crate::roof::build() }",
        "fn f() { assert!(crate::roof::IS_DRY) }",
        "mod shed { use super::super::super::roof; }",
        "use crate::Shingle;",
        "use crate::tree::Apple;",
        "use crate::unknown;",
        "#[cfg(test)] use std::fs; use crate::roof;",
    ];
    for floor in wrong {
        assert_eq!(with(floor).len(), 1, "{floor}");
    }
}

#[test]
fn a_wrong_import_in_python_is_found() {
    let picture = "__init__.py\nroof.py\ntree.py floor/\n";
    let with = |floor| {
        let files = [
            ("__init__.py", "from .roof import Tile\n__version__ = '1'\n"),
            ("roof.py", "from .floor import wood\n"),
            ("tree.py", ""),
            ("floor/__init__.py", ""),
            ("floor/wood.py", floor),
        ];
        problems(&files, picture)
    };
    let no_problem = [
        "from . import wood\nimport os\nfrom os import path",
        "'''\nfrom ..roof import Tile\n'''",
    ];
    for floor in no_problem {
        assert_eq!(with(floor), Vec::<String>::new(), "{floor}");
    }
    let wrong = [
        "from ..roof import Tile",
        "def f():\n    from .. import (\n        roof,\n    )",
        "import house.roof as r",
        "from house import __version__",
        "from importlib import import_module\nimport_module('house.tree')",
    ];
    for floor in wrong {
        assert_eq!(with(floor).len(), 1, "{floor}");
    }
}

#[test]
fn a_circle_between_rooms_of_a_deeper_folder_is_found() {
    let with = |ash| {
        let files = [
            ("lib.rs", "mod floor;"),
            (
                "floor/mod.rs",
                "mod oak; mod pine; mod ash; const SIZE: usize = 1;",
            ),
            ("floor/oak.rs", "use super::{pine, SIZE};"),
            ("floor/pine.rs", "use super::ash;"),
            ("floor/ash.rs", "mod leaf;"),
            ("floor/ash/leaf.rs", ash),
        ];
        circles(&house(&files).0)
    };
    assert_eq!(with("use crate::floor::SIZE;"), Vec::<String>::new());
    let found = with("use crate::floor::oak;");
    assert_eq!(
        found[0],
        "floor/ash/leaf.rs uses `crate::floor::oak` of the room `oak`: part of a circle"
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_picture_names_each_room_once() {
    let files = [
        ("lib.rs", "mod floor; mod roof; #[cfg(test)] mod tests;"),
        ("floor.rs", ""),
        ("roof.rs", ""),
        ("tests.rs", "use crate::roof;"),
    ];
    assert_eq!(
        problems(&files, "lib.rs\nroof.rs floor.rs\n"),
        Vec::<String>::new()
    );
    assert_eq!(
        problems(&files, "lib.rs roof.rs\nroof.rs attic/\n"),
        [
            "the picture of house names `floor` 0 times, and must name it once",
            "the picture of house names `roof` 2 times, and must name it once",
            "the picture of house names `attic`, which is not there",
        ]
    );
}

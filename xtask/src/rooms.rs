//! Holds the imports of each source folder to its picture in `ARCHITECTURE.md`.
//!
//! A picture is a fenced block whose first line is `rooms of FOLDER`. A room is a folder or a file directly below that
//! folder. Each further line names rooms, separated by one space; text after two spaces explains them. A room may use
//! only the rooms on the lines below its own. Code for tests may use anything.
//!
//! Seen are all paths of Rust sources (in `use`, types, expressions and macros) and all imports of Python sources, also
//! those within functions. Not seen are methods of values whose type is not named, the strings in attributes such as
//! `#[serde(with = "...")]`, and modules that Python loads by a computed name.

mod python;
mod rust;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace;

/// A module's names from the root of its crate or package; the root has none.
type Module = Vec<String>;

/// What a crate or a Python package is made of, without its tests.
#[derive(Debug, Default)]
struct Tree {
    /// The file that each module begins in.
    files: BTreeMap<Module, PathBuf>,
    /// Which module names what.
    uses: BTreeSet<(Module, Module)>,
    /// What a name in a module stands for, where a `use` brought it there.
    names: HashMap<Module, Module>,
}

/// A block of `ARCHITECTURE.md`.
#[derive(Debug, PartialEq)]
struct Picture {
    folder: String,
    /// From top to bottom.
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

    fn line_of(&self, room: &str) -> Option<usize> {
        self.lines
            .iter()
            .position(|line| line.iter().any(|it| it == room))
    }

    /// What is wrong with the picture or with the sources below `root`.
    fn problems(&self, root: &Path) -> Vec<String> {
        let folder = root.join(&self.folder);
        let is_python = folder.join("__init__.py").exists();
        let (tree, module) = if is_python {
            python::read(&folder)
        } else {
            rust::read(&folder)
        };
        let entrance = &tree.files[&module];
        let entrance = stem(&entrance.file_name().unwrap_or_default().to_string_lossy());
        let plan = Plan {
            tree,
            module,
            entrance,
        };
        let mut problems = self.missing_and_unknown(&plan.rooms());
        for (from, to) in &plan.tree.uses {
            let rooms = (plan.room_of(from), plan.room_of(&plan.resolve(to)));
            let (Some(user), Some(used)) = rooms else {
                continue;
            };
            let (Some(upper), Some(lower)) = (self.line_of(&user), self.line_of(&used)) else {
                continue;
            };
            if user != used && upper >= lower {
                let file = plan.tree.files_of(from);
                let file = file.strip_prefix(root).unwrap_or(file).display();
                problems.push(format!(
                    "{file} uses `{}` of the room `{used}`: in the picture of {}, `{user}` is on line {} and may use only \
                     rooms below it, and `{used}` is on line {}",
                    if is_python { to.join(".") } else { format!("crate::{}", to.join("::")) },
                    self.folder,
                    upper + 1,
                    lower + 1,
                ));
            }
        }
        problems
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

fn stem(name: &str) -> String {
    let endings = ["/", ".rs", ".py", ".pyi"];
    let ending = endings.iter().find(|it| name.ends_with(**it));
    let ending = ending.copied().unwrap_or_default();
    name.strip_suffix(ending).unwrap_or(name).into()
}

/// The rooms of one folder: the modules directly below `module`, and the file that holds `module` itself.
struct Plan {
    tree: Tree,
    module: Module,
    entrance: String,
}

impl Plan {
    fn rooms(&self) -> BTreeSet<String> {
        let modules = self.tree.files.keys();
        modules.filter_map(|it| self.room_of(it)).collect()
    }

    /// `None` outside of the folder.
    fn room_of(&self, path: &[String]) -> Option<String> {
        match path.strip_prefix(&self.module[..])?.first() {
            Some(name) if self.is_room(name) => Some(name.clone()),
            _ => Some(self.entrance.clone()),
        }
    }

    fn is_room(&self, name: &String) -> bool {
        let module = [&self.module[..], std::slice::from_ref(name)].concat();
        self.tree.files.contains_key(&module)
    }

    /// Follows what the entrance exports of the rooms.
    fn resolve(&self, path: &[String]) -> Module {
        let depth = self.module.len() + 1;
        let mut path = path.to_vec();
        for _ in 0..4 {
            let Some(name) = path.get(..depth).filter(|it| it.starts_with(&self.module)) else {
                break;
            };
            match self.tree.names.get(name) {
                Some(meant) if !self.is_room(&name[depth - 1]) => {
                    path = [meant, &path[depth..]].concat();
                }
                _ => break,
            }
        }
        path
    }
}

impl Tree {
    /// The file of a module, or of the one that it is written in.
    fn files_of(&self, module: &[String]) -> &Path {
        let mut ends = (0..=module.len()).rev();
        let found = ends.find_map(|end| self.files.get(&module[..end]));
        found.map_or(Path::new(""), PathBuf::as_path)
    }
}

#[test]
fn rooms_use_only_those_below_them() {
    let root = workspace::root();
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let pictures = Picture::all(&page);
    assert!(!pictures.is_empty());
    let problems: Vec<_> = pictures.iter().flat_map(|it| it.problems(root)).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Writes a small source folder, and returns what is wrong with it.
#[cfg(test)]
fn problems(files: &[(&str, &str)], picture: &str) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let page = format!("```text\nrooms of house/src\n{picture}```\n");
    let [picture] = &Picture::all(&page)[..] else {
        panic!("one picture")
    };
    picture.problems(root.path())
}

#[test]
fn a_wrong_path_in_rust_is_found() {
    let lib = (
        "house/src/lib.rs",
        "mod floor; mod roof; mod tree; pub use roof::Tile as Shingle;",
    );
    let roof = ("house/src/roof.rs", "use crate::floor::{Beam, wood::Oak};");
    let tree = ("house/src/tree/mod.rs", "");
    let picture = "lib.rs\nroof.rs  over all\ntree/ floor/\n";
    let with = |floor| {
        let files = [
            lib,
            roof,
            tree,
            ("house/src/floor/mod.rs", "mod wood;"),
            ("house/src/floor/wood.rs", floor),
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
        "house/src/floor/wood.rs uses `crate::roof` of the room `roof`: in the picture of house/src, `floor` is on line 3 and may \
         use only rooms below it, and `roof` is on line 2"
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
            (
                "house/src/__init__.py",
                "from .roof import Tile\n__version__ = '1'\n",
            ),
            ("house/src/roof.py", "from .floor import wood\n"),
            ("house/src/tree.py", ""),
            ("house/src/floor/__init__.py", ""),
            ("house/src/floor/wood.py", floor),
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
        "import src.roof as r",
        "from src import __version__",
        "from importlib import import_module\nimport_module('src.tree')",
    ];
    for floor in wrong {
        assert_eq!(with(floor).len(), 1, "{floor}");
    }
}

#[test]
fn a_picture_names_each_room_once() {
    let files = [
        (
            "house/src/lib.rs",
            "mod floor; mod roof; #[cfg(test)] mod tests;",
        ),
        ("house/src/floor.rs", ""),
        ("house/src/roof.rs", ""),
        ("house/src/tests.rs", "use crate::roof;"),
    ];
    assert_eq!(
        problems(&files, "lib.rs\nroof.rs floor.rs\n"),
        Vec::<String>::new()
    );
    assert_eq!(
        problems(&files, "lib.rs roof.rs\nroof.rs attic/\n"),
        [
            "the picture of house/src names `floor` 0 times, and must name it once",
            "the picture of house/src names `roof` 2 times, and must name it once",
            "the picture of house/src names `attic`, which is not there",
        ]
    );
}

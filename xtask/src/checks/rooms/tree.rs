//! The modules of a crate or of a Python package, and which of them uses which.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

/// A module's names from the root of its crate or package; the root has none.
pub(super) type Module = Vec<String>;

/// What a crate or a Python package is made of, without its tests.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The folder that the other paths are in.
    pub(super) root: PathBuf,
    /// How the language separates the names of a path, and what its paths begin with.
    pub(super) separator: &'static str,
    pub(super) prefix: &'static str,
    /// The file that each module begins in.
    pub(super) files: BTreeMap<Module, PathBuf>,
    /// Which module names what.
    pub(super) uses: BTreeSet<(Module, Module)>,
    /// What a name in a module stands for, where a `use` brought it there.
    pub(super) names: HashMap<Module, Module>,
}

impl Tree {
    /// The modules that have others below them.
    pub(super) fn folders(&self) -> BTreeSet<Module> {
        let modules = self.files.keys().filter_map(|it| it.split_last());
        modules.map(|(_, parent)| parent.to_vec()).collect()
    }

    /// The file of a module, or of the one that it is written in.
    fn file_of(&self, module: &[String]) -> &Path {
        let mut ends = (0..=module.len()).rev();
        let found = ends.find_map(|end| self.files.get(&module[..end]));
        let file = found.map_or(Path::new(""), PathBuf::as_path);
        file.strip_prefix(&self.root).unwrap_or(file)
    }
}

/// The rooms of one folder: the modules directly below `module`, and its main file, which is the one that `module` itself is
/// written in.
pub(super) struct Folder<'a> {
    tree: &'a Tree,
    module: Module,
    main_file: String,
}

/// A use of one room by another.
pub(super) struct Dependency<'a> {
    pub(super) user: String,
    pub(super) used: String,
    tree: &'a Tree,
    from: &'a Module,
    to: &'a Module,
}

impl fmt::Display for Dependency<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.tree.file_of(self.from).display();
        let to = self.to.join(self.tree.separator);
        let (prefix, used) = (self.tree.prefix, &self.used);
        write!(f, "{file} uses `{prefix}{to}` of the room `{used}`")
    }
}

impl<'a> Folder<'a> {
    pub(super) fn new(tree: &'a Tree, module: Module) -> Self {
        let file = tree.file_of(&module).file_name().unwrap_or_default();
        Self {
            tree,
            module,
            main_file: stem(&file.to_string_lossy()),
        }
    }

    pub(super) fn is_main_file(&self, room: &str) -> bool {
        room == self.main_file
    }

    pub(super) fn is_folder(&self, room: &str) -> bool {
        let module = [&self.module[..], &[room.into()]].concat();
        let mut modules = self.tree.files.keys();
        modules.any(|it| it.len() > module.len() && it.starts_with(&module))
    }

    pub(super) fn rooms(&self) -> BTreeSet<String> {
        let modules = self.tree.files.keys();
        modules.filter_map(|it| self.room_of(it)).collect()
    }

    /// The uses of rooms by others of this folder.
    pub(super) fn dependencies(&self) -> Vec<Dependency<'a>> {
        let dependencies = self.tree.uses.iter().filter_map(|(from, to)| {
            Some(Dependency {
                user: self.room_of(from)?,
                used: self.room_of(&self.resolve(to))?,
                tree: self.tree,
                from,
                to,
            })
        });
        dependencies.filter(|it| it.user != it.used).collect()
    }

    /// `None` outside of the folder.
    fn room_of(&self, path: &[String]) -> Option<String> {
        match path.strip_prefix(&self.module[..])?.first() {
            Some(name) if self.is_room(name) => Some(name.clone()),
            _ => Some(self.main_file.clone()),
        }
    }

    fn is_room(&self, name: &String) -> bool {
        let module = [&self.module[..], std::slice::from_ref(name)].concat();
        self.tree.files.contains_key(&module)
    }

    /// Follows what the main file exports of the rooms.
    fn resolve(&self, path: &[String]) -> Module {
        let depth = self.module.len() + 1;
        let mut path = path.to_vec();
        for _ in 0..4 {
            let name = path.get(..depth).filter(|it| it.starts_with(&self.module));
            match name.and_then(|it| self.tree.names.get(it)) {
                Some(meant) if !self.is_room(&path[depth - 1]) => {
                    path = [meant, &path[depth..]].concat();
                }
                _ => break,
            }
        }
        path
    }
}

/// A file's or a folder's name without its ending.
pub(super) fn stem(name: &str) -> String {
    let endings = ["/", ".rs", ".py", ".pyi"];
    let stem = endings.iter().find_map(|it| name.strip_suffix(it));
    stem.unwrap_or(name).into()
}

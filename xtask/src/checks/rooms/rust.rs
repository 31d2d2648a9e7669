//! The paths in a crate's sources.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::tree::{Module, Tree};

/// Reads the crate that `folder` belongs to. Also returns the module that `folder` holds.
pub(super) fn read(folder: &Path) -> (Tree, Module) {
    let (mut root, mut module) = (folder, Module::new());
    let file = loop {
        let found = ["lib.rs", "main.rs"].map(|it| root.join(it));
        if let Some(file) = found.into_iter().find(|it| it.exists()) {
            break file;
        }
        let name = root.file_name().unwrap().to_string_lossy().into_owned();
        module.insert(0, name);
        root = root.parent().unwrap();
    };
    let mut tree = Tree {
        root: root.into(),
        separator: "::",
        prefix: "crate::",
        ..Tree::default()
    };
    tree.add_file(&file, root, &Module::new());
    (tree, module)
}

impl Tree {
    /// Adds a module and those that it declares, whose files are in `below`.
    fn add_file(&mut self, file: &Path, below: &Path, module: &Module) {
        let text = fs::read_to_string(file).unwrap();
        let tokens: TokenStream = text.parse().unwrap();
        self.files.insert(module.clone(), file.into());
        self.add(tokens, below, module);
    }

    fn add(&mut self, tokens: TokenStream, below: &Path, module: &Module) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = &tokens[..];
        while let [first, after @ ..] = rest {
            rest = match (first, after) {
                (TokenTree::Punct(hash), [TokenTree::Group(attribute), after @ ..])
                    if hash.as_char() == '#' =>
                {
                    if is_for_tests(attribute) {
                        after_item(after)
                    } else {
                        after
                    }
                }
                (TokenTree::Ident(word), [TokenTree::Ident(name), body, after @ ..])
                    if word == "mod" =>
                {
                    self.add_module(&name.to_string(), body, below, module);
                    after
                }
                (TokenTree::Ident(word), after) if word == "use" => {
                    self.add_path(after, module.clone(), module, true)
                }
                (TokenTree::Ident(_), after) if after_colons(after).is_some() => {
                    self.add_path(rest, module.clone(), module, false)
                }
                (TokenTree::Group(group), after) => {
                    self.add(group.stream(), below, module);
                    after
                }
                (_, after) => after,
            };
        }
    }

    fn add_module(&mut self, name: &str, body: &TokenTree, below: &Path, module: &Module) {
        let module = [&module[..], &[name.into()]].concat();
        let below = below.join(name);
        if let TokenTree::Group(body) = body {
            self.add(body.stream(), &below, &module);
        } else {
            let files = [below.with_extension("rs"), below.join("mod.rs")];
            let file: Option<&PathBuf> = files.iter().find(|it| it.exists());
            self.add_file(file.unwrap(), &below, &module);
        }
    }

    /// Adds what a path names, which goes on from `path`; a tree of `use` names several. Returns the tokens after it.
    fn add_path<'a>(
        &mut self,
        mut tokens: &'a [TokenTree],
        mut path: Module,
        module: &Module,
        is_use: bool,
    ) -> &'a [TokenTree] {
        while let [TokenTree::Ident(segment), after @ ..] = tokens {
            match &*segment.to_string() {
                "crate" => path.clear(),
                "self" => {}
                "super" => drop(path.pop()),
                segment => path.push(segment.into()),
            }
            tokens = after;
            match after_colons(after) {
                Some(after) => tokens = after,
                None => break,
            }
        }
        if let [TokenTree::Group(branches), after @ ..] = tokens
            && is_use
        {
            let branches: Vec<_> = branches.stream().into_iter().collect();
            let branches = branches.split(|it| is_punct(it, ','));
            for branch in branches.filter(|it| !it.is_empty()) {
                self.add_path(branch, path.clone(), module, true);
            }
            return after;
        }
        let mut name = path.last().cloned();
        if let [TokenTree::Ident(word), TokenTree::Ident(alias), after @ ..] = tokens
            && word == "as"
            && is_use
        {
            name = Some(alias.to_string());
            tokens = after;
        }
        if let Some(name) = name
            && is_use
        {
            let name = [&module[..], &[name]].concat();
            self.names.insert(name, path.clone());
        }
        self.uses.insert((module.clone(), path));
        tokens
    }
}

fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// What follows the item, field or statement with which `tokens` begin.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let is_end = |it: &TokenTree| {
        let is_body = matches!(it, TokenTree::Group(body) if body.delimiter() == Delimiter::Brace);
        is_body || is_punct(it, ';') || is_punct(it, ',')
    };
    let end = tokens.iter().position(is_end);
    end.map_or(&[], |end| &tokens[end + 1..])
}

/// What follows `::`, if the tokens begin with that.
fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [one, two, after @ ..] if is_punct(one, ':') && is_punct(two, ':') => Some(after),
        _ => None,
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(it) if it.as_char() == wanted)
}

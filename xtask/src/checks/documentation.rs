//! Checks all documentation and all manifests.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use serde_json::Value;

use super::rooms;
use crate::commands::ci::PUBLISHED;
use crate::tools::{process, workspace};

#[test]
fn tables_have_a_header_and_rows_of_one_width() {
    let broken: Vec<_> = files(workspace::root())
        .iter()
        .flat_map(|path| broken_tables(path, &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_table_without_a_header_and_one_with_a_short_row_are_found() {
    let broken = |text| broken_tables(Path::new("page.md"), text);
    assert!(broken("| a | b |\n| --- | --- |\n| 1 | \\| |\n").is_empty());
    assert!(broken("```\n| no table\n```\n").is_empty());
    assert_eq!(broken("text\n\n| 1 | 2 |\n"), ["page.md:3: | 1 | 2 |"]);
    let short = "| a | b |\n| --- | --- |\n| 1 |\n";
    assert_eq!(broken(short), ["page.md:3: | 1 |"]);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let files = files(workspace::root());
    let pages = files.iter().filter(|path| is_page(path));
    let broken: Vec<_> = pages
        .flat_map(|path| broken_links(path, &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_link_to_a_missing_page_and_one_to_a_missing_heading_are_found() {
    let root = tempfile::tempdir().unwrap();
    let page = root.path().join("page.md");
    fs::write(&page, "# One `b` & two\n```\n# code\n```\n").unwrap();
    let broken = |text| broken_links(&page, text).len();
    assert_eq!(
        broken("[a](page.md#one-b--two) [b](https://a.b/c) `[c](d)`"),
        0
    );
    assert_eq!(broken("```\n[a](b.md)\n```\n"), 0);
    for wrong in [
        "[a](other.md)",
        "![a](b.svg)",
        "[a](page.md#code)",
        "[a](#two)",
    ] {
        assert_eq!(broken(wrong), 1, "{wrong}");
    }
}

#[test]
fn files_that_the_architecture_names_exist() {
    let root = workspace::root();
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let all = files_in(root, &|_| true);
    let missing = |name: &str| {
        let name = name.trim_end_matches('/');
        !all.iter().any(|path| {
            let mut parts = path.strip_prefix(root).unwrap().ancestors();
            parts.any(|part| part.ends_with(name))
        })
    };
    let prose: Vec<_> = outside_of_code(&page).collect();
    let prose = prose.join("\n");
    let quoted = prose.split('`').skip(1).step_by(2);
    let is_path = |it: &&str| [".rs", ".py", "/"].iter().any(|end| it.ends_with(end));
    let missing: Vec<_> = quoted.filter(is_path).filter(|it| missing(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!all.is_empty());
}

#[test]
fn each_event_of_the_pool_is_in_its_list() {
    let pool = workspace::root().join("pyproc-pool");
    let list = fs::read_to_string(pool.join("LOGS.md")).unwrap();
    let mut events = Vec::new();
    for file in rooms::files(&pool.join("src")) {
        let text = fs::read_to_string(file).unwrap();
        add_events(text.parse().unwrap(), &mut events);
    }
    assert!(events.contains(&"worker ready".into()), "{events:?}");
    events.retain(|event| !list.contains(&format!("`{event}`")));
    assert!(events.is_empty(), "not in LOGS.md: {events:?}");
}

#[test]
fn each_metric_of_a_pool_is_in_a_list() {
    let telemetry = workspace::root().join("pyproc-telemetry");
    let (mut lists, mut names) = (String::new(), Vec::new());
    for file in rooms::files(&telemetry.join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(documentation);
        lists.extend(lines.flat_map(|line| [line, "\n"]));
        if file.starts_with(telemetry.join("src/metrics")) {
            let code = text.split("#[cfg(test)]").next().unwrap();
            let quoted = code.split('"').skip(1).step_by(2);
            names.extend(quoted.filter(|it| is_metric(it)).map(String::from));
        }
    }
    lists += &fs::read_to_string(telemetry.join("README.md")).unwrap();
    assert!(names.contains(&"pyproc_requests_total".into()), "{names:?}");
    // A domain that exists only to check whether a name is free.
    lists += "`pyproc_question`";
    names.retain(|name| !lists.contains(&format!("`{name}")));
    assert!(names.is_empty(), "in no list: {names:?}");
}

#[test]
fn published_manifests_say_where_their_documentation_and_their_repository_are() {
    let mut metadata = process::cargo();
    metadata.args(["metadata", "--no-deps", "--format-version=1"]);
    let metadata: Value =
        serde_json::from_str(&process::run_quietly(&mut metadata).unwrap()).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let mut repositories = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        if PUBLISHED.contains(&name) {
            let documentation = format!("https://docs.rs/{name}");
            assert_eq!(package["documentation"], documentation.as_str());
            assert_eq!(package["homepage"], package["repository"], "{name}");
            repositories.push(package["repository"].as_str().unwrap());
        }
    }
    assert_eq!(repositories.len(), PUBLISHED.len());
    let repository = repositories[0];
    assert!(repositories.iter().all(|other| *other == repository));
    let python = workspace::python_package().join("pyproject.toml");
    let python = fs::read_to_string(python).unwrap();
    let (_, urls) = python.split_once("[project.urls]\n").unwrap();
    let (urls, _) = urls.split_once("\n[").unwrap();
    for line in urls.lines().filter(|line| line.contains(" = ")) {
        let begin = format!(" = \"{repository}");
        assert!(line.contains(&begin), "{line}: not in {repository}");
    }
}

/// Pages, and sources with documentation in them.
fn files(directory: &Path) -> Vec<PathBuf> {
    files_in(directory, &|name| {
        name.ends_with(".md") || name.ends_with(".rs")
    })
}

/// The repository's files whose names match.
fn files_in(directory: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "venv", "node_modules"].contains(&&*name) {
                found.extend(files_in(&path, is_wanted));
            }
        } else if is_wanted(&name) {
            found.push(path);
        }
    }
    found
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "md")
}

/// Links to files that do not exist, and to headings that a page does not have.
fn broken_links(path: &Path, text: &str) -> Vec<String> {
    let prose: Vec<_> = outside_of_code(text).collect();
    let prose = prose.join("\n");
    let spans = prose.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let links = spans.split("](").skip(1);
    let links = links.filter_map(|it| it.split(')').next());
    let local = links.filter(|it| !it.contains("://") && !it.starts_with("crate::"));
    let broken = local.filter(|link| {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() {
            path.to_owned()
        } else {
            path.with_file_name(file)
        };
        let has_heading = || {
            let page = fs::read_to_string(&target).unwrap_or_default();
            outside_of_code(&page).any(|line| line.starts_with('#') && anchor(line) == heading)
        };
        !target.exists() || (!heading.is_empty() && !has_heading())
    });
    broken
        .map(|link| format!("{}: {link}", path.display()))
        .collect()
}

fn outside_of_code(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        is_code ^= line.starts_with("```");
        !is_code
    })
}

/// The anchor of a heading in links.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

/// The messages of events of the target `pyproc::pool`: in each such call of a macro, the last text.
fn add_events(tokens: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let texts = tokens.iter().filter_map(|token| match token {
        TokenTree::Literal(literal) => Some(literal.to_string()),
        _ => None,
    });
    let texts: Vec<_> = texts.filter(|it| it.starts_with('"')).collect();
    if let [first, .., last] = &texts[..]
        && first == "\"pyproc::pool\""
    {
        found.push(last.trim_matches('"').into());
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            add_events(group.stream(), found);
        }
    }
}

fn is_metric(text: &str) -> bool {
    let is_part = |it: char| it.is_ascii_lowercase() || it == '_';
    text.starts_with("pyproc_") && text.chars().all(is_part)
}

/// A place for each row that is not in a table whose header it fits.
fn broken_tables(path: &Path, text: &str) -> Vec<String> {
    let is_page = is_page(path);
    let mut broken = Vec::new();
    let (mut table, mut is_code) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let line = if is_page { line } else { documentation(line) };
        let line = line.trim();
        is_code ^= line.starts_with("```");
        if line.starts_with('|') && !is_code {
            table.push(line);
        } else {
            table.clear();
        }
        let is_broken = match table[..] {
            [] | [_] => false,
            [header, separator] => !is_separator(separator) || cells(separator) != cells(header),
            [header, .., row] => cells(row) != cells(header),
        };
        let is_alone = table.len() == 1
            && !text.lines().nth(index + 1).is_some_and(|next| {
                is_separator(if is_page { next } else { documentation(next) }.trim())
            });
        if is_broken || is_alone {
            broken.push(format!("{}:{}: {line}", path.display(), index + 1));
        }
    }
    broken
}

/// The documentation in a line of Rust.
fn documentation(line: &str) -> &str {
    let line = line.trim_start();
    line.strip_prefix("///")
        .or(line.strip_prefix("//!"))
        .unwrap_or_default()
}

fn is_separator(row: &str) -> bool {
    row.contains("---") && row.chars().all(|it| "|-: ".contains(it))
}

fn cells(row: &str) -> usize {
    row.replace("\\|", "").matches('|').count()
}

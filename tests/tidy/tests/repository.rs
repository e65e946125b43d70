//! Reads the working tree and says which rule a file breaks.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use cargo_metadata::{DependencyKind, MetadataCommand};
use minik_tidy::{files, layers, root, text};

/// Files that may be longer than [`LINES_MAX`]: generated text and pure tables only.
const LONG_FILES: &[&str] = &[];
const LINES_MAX: usize = 600;

/// The top level as it was fixed; dotfiles are free.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "cli",
    "drivers",
    "guest-image",
    "node-runtime",
    "provisioner",
    "tests",
];

#[track_caller]
fn none_of(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_dependency_points_down() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut edges = 0;
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Normal && ours.contains(dependency.name.as_str())
            {
                edges += 1;
                wrong.extend(layers::objection(package.name.as_str(), &dependency.name));
            }
        }
    }
    assert!(edges > 10, "only {edges} dependencies among our crates were seen");
    none_of("dependencies against the layer rule", wrong);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let sources = files(&["rs"]);
    assert!(sources.len() > 20, "only {} source files were seen", sources.len());
    let wrong = sources.iter().filter(|path| !text(path).starts_with("//!"));
    none_of("files without a `//!` header", wrong.map(|p| p.display().to_string()).collect());
}

#[test]
fn no_file_holds_two_subjects() {
    let wrong = files(&["rs"]).into_iter().filter_map(|path| {
        let lines = text(&path).lines().count();
        let name = path.display().to_string();
        (lines > LINES_MAX && !LONG_FILES.contains(&name.as_str()))
            .then(|| format!("{name}: {lines} lines, at most {LINES_MAX}"))
    });
    none_of("files that are too long", wrong.collect());
}

#[test]
fn the_top_level_is_fixed() {
    let tracked = std::process::Command::new("git")
        .args(["ls-tree", "--name-only", "HEAD"])
        .current_dir(root())
        .output();
    let names: Vec<String> = match tracked {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => fs::read_dir(root())
            .expect("the root")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "target" && name != "out")
            .collect(),
    };
    let wrong = names.iter().filter(|n| !n.starts_with('.') && !TOP_LEVEL.contains(&n.as_str()));
    none_of("entries at the top level that do not belong there", wrong.cloned().collect());
}

/// The section of the root manifest that names every outside library.
fn workspace_dependencies() -> String {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let (_, rest) = manifest.split_once("[workspace.dependencies]").expect("such a section");
    rest.split("\n[").next().unwrap_or(rest).to_owned()
}

#[test]
fn every_dependency_has_a_reason() {
    let section = workspace_dependencies();
    let entries: Vec<&str> =
        section.lines().filter(|l| l.contains(" = ") && !l.contains("path =")).collect();
    assert!(entries.len() > 20, "only {} entries were seen", entries.len());
    let wrong = entries.iter().filter(|line| !line.contains(" # "));
    none_of("dependencies without a reason beside them", wrong.map(|l| (*l).to_owned()).collect());
}

#[test]
fn every_workspace_dependency_is_used() {
    let section = workspace_dependencies();
    let manifests: String = files(&["toml"])
        .iter()
        .filter(|path| path.components().count() > 1)
        .map(|path| text(path))
        .collect();
    let wrong = section
        .lines()
        .filter_map(|line| line.split(" = ").next().filter(|_| line.contains(" = ")))
        .filter(|name| {
            !manifests.contains(&format!("\n{name}.workspace"))
                && !manifests.contains(&format!("\n{name} = {{ workspace"))
        });
    none_of("workspace dependencies nobody uses", wrong.map(str::to_owned).collect());
}

/// Folders in which each file must be named in the module beside the folder.
const REGISTRIES: &[(&str, &str)] = &[
    ("cli/src/commands", "cli/src/commands.rs"),
    ("provisioner/src/phase", "provisioner/src/phases.rs"),
    ("node-runtime/controllers/src", "node-runtime/controllers/src/lib.rs"),
];

#[test]
fn every_command_phase_and_controller_is_registered() {
    let mut by_folder: HashMap<&str, usize> = HashMap::new();
    let mut wrong = Vec::new();
    for path in files(&["rs"]) {
        let Some(folder) = path.parent().map(|p| p.display().to_string()) else { continue };
        let Some((folder, registry)) = REGISTRIES.iter().find(|(f, _)| *f == folder) else {
            continue;
        };
        let stem = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        if root().join(registry) == root().join(&path) {
            continue;
        }
        *by_folder.entry(folder).or_default() += 1;
        if !text(registry.as_ref()).contains(&stem) {
            wrong.push(format!("{} is not named in {registry}", path.display()));
        }
    }
    for (folder, _) in REGISTRIES {
        assert!(by_folder.get(folder).is_some_and(|n| *n > 3), "{folder}: too few files were seen");
    }
    none_of("forgotten files", wrong);
}

/// Words that would tie the sources to one machine.
const MACHINE_WORDS: &[&str] = &["/root/", "/work/", "deb.debian.org"];

#[test]
fn no_word_of_a_machine_in_the_sources() {
    let own = file!().rsplit('/').next().expect("a file name");
    let mut wrong = Vec::new();
    for path in files(&["rs", "toml", "md", "sh", "py", "yaml", "service"]) {
        if path.ends_with(own) {
            continue;
        }
        for (number, line) in text(&path).lines().enumerate() {
            if let Some(word) = MACHINE_WORDS.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: `{word}`", path.display(), number + 1));
            }
        }
    }
    none_of("words of a machine", wrong);
}

#[test]
fn the_files_to_read_first_are_there() {
    let readme = text("README.md".as_ref());
    let named: Vec<&str> = readme
        .lines()
        .filter(|line| line.chars().next().is_some_and(|c| c.is_ascii_digit()))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    assert_eq!(named.len(), 9, "{named:?}");
    let missing = named.iter().filter(|path| !root().join(path).is_file());
    none_of("files of the README that are not there", missing.map(|p| (*p).to_owned()).collect());
}

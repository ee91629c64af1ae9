//! Functions that find and read the files of the repository.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Returns the root of the repository that cargo tests. The function looks it up at run time, so that a compiled test
/// can check another checkout.
pub(crate) fn root() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Returns the text of a file. `path` is the path from the root of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path} cannot be read ({error}); was it moved?"))
}

/// Returns the paths of all files below `folder` that have this extension, sorted. The paths start at the root of the
/// repository.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, extension, found);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    collect(&root.join(folder), extension, &mut found);
    let from_root = |path: &PathBuf| {
        let path = path.strip_prefix(&root).expect("a path below the root");
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let mut paths: Vec<String> = found.iter().map(from_root).collect();
    paths.sort();
    paths
}

/// Returns the paths of the documents, which are in the root of the repository, in docs/ and in deploy/.
pub(crate) fn documents() -> Vec<String> {
    let mut paths = vec!["deploy/README.md".to_owned()];
    for entry in fs::read_dir(root()).expect("the root") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("a name in UTF-8");
        if Path::new(name).extension().is_some_and(|it| it == "md") {
            paths.push(name.to_owned());
        }
    }
    paths.extend(files("docs", "md"));
    paths.sort();
    paths
}

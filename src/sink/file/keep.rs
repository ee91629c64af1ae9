//! The deletion of the oldest files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::error::FileError;
use crate::net::FilePattern;

/// Deletes the oldest files until `keep` of them are left. Only files whose names match one of the patterns count; all
/// patterns have the same folder. Files with other names, for example temporary names, are not counted and not deleted.
/// Returns an error for each file that could not be deleted.
pub(super) fn delete_oldest(patterns: &[&FilePattern], keep: usize) -> Vec<FileError> {
    let Some(folder) = patterns.first().map(|pattern| pattern.folder()) else {
        return Vec::new();
    };
    let mut files = match list(folder, patterns) {
        Ok(files) => files,
        Err(error) => return vec![FileError::io("read the folder", folder, error)],
    };
    let Some(more) = files.len().checked_sub(keep) else {
        return Vec::new();
    };
    // Sorts the files by the time of the last write. If two files have the same time, the file with the shorter name is
    // older, because the number in its name is smaller.
    files.sort_by(|one, other| {
        let key = |(time, path): &(SystemTime, PathBuf)| (*time, path.as_os_str().len());
        key(one).cmp(&key(other)).then_with(|| one.1.cmp(&other.1))
    });
    let old = files.into_iter().take(more);
    old.filter_map(|(_, path)| match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Some(FileError::io("delete", path, error))
        }
        _ => None,
    })
    .collect()
}

fn list(folder: &Path, patterns: &[&FilePattern]) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        if entry.file_name().to_str().is_none_or(|name| !matches(name)) {
            continue;
        }
        // `DirEntry::metadata` does not follow symbolic links. It fails if another program has just deleted the file.
        if let Ok(about) = entry.metadata()
            && about.is_file()
        {
            files.push((about.modified()?, entry.path()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_files_of_the_pattern_are_deleted_and_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        // From the oldest to the newest.
        let names = [
            "other.fstrm",
            "20260102.fstrm.part",
            "20260105.fstrm",
            "20260101.fstrm",
            "20260101-9.fstrm",
            "20260101-10.fstrm",
            "20260104.fstrm",
        ];
        for (age, name) in names.iter().rev().enumerate() {
            let path = folder.path().join(name);
            let file = fs::File::create(path).expect("a file");
            // The two files with numbers in their names have the same time.
            let age = if *name == "20260101-9.fstrm" {
                1
            } else {
                age as u64
            };
            file.set_modified(now - Duration::from_secs(age))
                .expect("a time");
        }
        let link = folder.path().join("20250101.fstrm");
        std::os::unix::fs::symlink("other.fstrm", &link).expect("a link");
        let pattern = format!("{}/%Y%m%d.fstrm", folder.path().display());
        let pattern: FilePattern = pattern.parse().expect("a pattern");
        let left = |keep| {
            assert!(delete_oldest(&[&pattern], keep).is_empty());
            let entries = fs::read_dir(folder.path()).expect("a folder");
            let mut left: Vec<String> = entries
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .into_string()
                        .expect("UTF-8")
                })
                .collect();
            left.sort();
            left
        };
        assert_eq!(left(5).len(), names.len() + 1);
        let others = ["20250101.fstrm", "20260102.fstrm.part", "other.fstrm"];
        let mut expected = vec!["20260101-10.fstrm", "20260104.fstrm"];
        expected.extend(others);
        expected.sort_unstable();
        assert_eq!(left(2), expected);
        assert_eq!(left(1).len(), others.len() + 1);
        assert!(folder.path().join("20260104.fstrm").exists());
    }
}

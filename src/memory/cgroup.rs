//! The memory limit of this process's cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs::{
    ProcessCGroups,
    process::{MountInfos, Process},
};

/// Returns the smallest limit of this process's cgroup and its ancestors, in bytes. `None` if there is no limit.
///
/// Both versions of cgroups are checked, because a machine can have version 2 mounted and still account memory with
/// version 1.
pub(super) fn limit() -> Option<u64> {
    let process = Process::myself().ok()?;
    let (groups, mounts) = (process.cgroups().ok()?, process.mountinfo().ok()?);
    smallest(&groups, &mounts, Path::new("/"))
}

/// Like [`limit`], but with all files below `root`.
fn smallest(groups: &ProcessCGroups, mounts: &MountInfos, root: &Path) -> Option<u64> {
    let mut limits = Vec::new();
    for group in groups {
        let is_unified = group.hierarchy == 0;
        if !is_unified && !group.controllers.iter().any(|name| name == "memory") {
            continue;
        }
        let (kind, file) = if is_unified {
            ("cgroup2", "memory.max")
        } else {
            ("cgroup", "memory.limit_in_bytes")
        };
        for mount in mounts.0.iter().filter(|mount| mount.fs_type == kind) {
            if !is_unified && !mount.super_options.contains_key("memory") {
                continue;
            }
            let top = below(root, &mount.mount_point);
            // In a container, the mount may show only the container's own part of the cgroup tree, as if that part were
            // the whole tree.
            let group = Path::new(&group.pathname);
            let inside = group.strip_prefix(&mount.root).unwrap_or(Path::new(""));
            for folder in below(&top, inside).ancestors() {
                limits.extend(read(&folder.join(file)));
                if folder == top {
                    break;
                }
            }
        }
    }
    limits.into_iter().min()
}

/// Returns `path` as a path below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    let parts = path.components();
    let parts = parts.filter(|part| matches!(part, std::path::Component::Normal(_)));
    parts.fold(root.to_owned(), |whole, part| whole.join(part))
}

/// Reads a memory limit from a file. `None` if the file contains `max`, or if it does not exist.
fn read(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    /// Returns the limit that is found with these contents of `/proc/self/cgroup` and `/proc/self/mountinfo`, and with
    /// these files.
    fn found(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        }
        let groups = ProcessCGroups::from_read(groups.as_bytes()).expect("cgroups");
        let mounts = MountInfos::from_read(mounts.as_bytes()).expect("mounts");
        smallest(&groups, &mounts, root.path())
    }

    #[test]
    fn the_smallest_nested_limit_applies() {
        let files = [
            ("sys/fs/cgroup/pod/memory.max", "268435456\n"),
            ("sys/fs/cgroup/pod/container/memory.max", "max\n"),
            ("sys/fs/cgroup/other/memory.max", "1000\n"),
        ];
        assert_eq!(found("0::/pod/container\n", V2, &files), Some(256 << 20));
        assert_eq!(
            found("0::/pod/container/deep\n", V2, &files),
            Some(256 << 20)
        );
        assert_eq!(found("0::/\n", V2, &files), None);
        let own = [("sys/fs/cgroup/memory.max", "67108864\n")];
        assert_eq!(
            found("0::/\n", V2, &own),
            Some(64 << 20),
            "the process has its own namespace"
        );
        assert_eq!(found("0::/../elsewhere\n", V2, &own), Some(64 << 20));
    }

    #[test]
    fn version_1_is_read_where_it_accounts_memory() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            32 23 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            33 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let files = [
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            (
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "100663296\n",
            ),
            ("sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "5\n"),
        ];
        let groups = "4:memory:/a/b\n3:cpu:/a\n0::/\n";
        assert_eq!(found(groups, mounts, &files), Some(96 << 20));
    }

    #[test]
    fn a_container_of_version_1_sees_only_its_own_subtree() {
        let mounts = "31 23 0:28 /docker/1234 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let files = [("sys/fs/cgroup/memory/memory.limit_in_bytes", "33554432\n")];
        let groups = "4:memory:/docker/1234\n";
        assert_eq!(found(groups, mounts, &files), Some(32 << 20));
    }
}

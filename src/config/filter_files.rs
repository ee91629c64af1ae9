//! The files in the settings of a sink's filters: lists of names, and keys.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::filters::{AddressEdit, FilterRule, Filters, RuleWords};
#[cfg(feature = "pseudonym")]
use crate::filter::{BadKey, Pseudonyms};
use crate::{
    files::{self, MATERIAL_LIMIT, NAMES_LIMIT, waiting_for},
    filter::{
        BadList, BadRule, BadSampleKey, ClientAddress, Filter, RateLimit, Sample, SampleKey,
        Screen, Verdict,
    },
};

/// A reason why the filters of a sink cannot be used. The text contains no part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterFileError {
    /// A file cannot be read.
    #[error("cannot read {}: {why}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        why: String,
    },
    /// A list of names has a line that is not a name.
    #[error("{}, {error}", .file.display())]
    Names {
        /// The file.
        file: PathBuf,
        /// The line, and its error.
        error: BadList,
    },
    /// A file does not contain a valid key.
    #[error("{}: {why}", .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The cause.
        why: String,
    },
    /// A rule has a word that does not exist. The parser of Tapfiles refuses such words.
    #[error(transparent)]
    Rule(#[from] BadRule),
    /// The program has no pseudonyms.
    #[error(
        "this program was built without the feature `pseudonym` of tapfan, so it has no pseudonyms; use `client_address truncate` or `remove`"
    )]
    NoPseudonyms,
}

/// The filter of a sink with the contents of its files.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadScreen {
    pub(crate) screen: Screen,
    /// A digest of the contents of all files, to notice changes. It is not cryptographic.
    pub(crate) digest: u64,
}

/// Reads a list of names, and adds a rule for each. Returns the list.
pub(super) fn add_names(
    filter: &mut Filter,
    verdict: Verdict,
    file: &Path,
) -> Result<Vec<u8>, FilterFileError> {
    let list = contents(file, NAMES_LIMIT)?;
    let names = filter.add_names(verdict, &list);
    names.map_err(|error| FilterFileError::Names {
        file: file.to_owned(),
        error,
    })?;
    Ok(list)
}

/// Reads the key of a sample.
pub(super) fn sample_key(file: &Path) -> Result<(SampleKey, Vec<u8>), FilterFileError> {
    let text = contents(file, MATERIAL_LIMIT)?;
    let key = str::from_utf8(&text).map_err(|_| BadSampleKey);
    let key = key.and_then(SampleKey::from_hex);
    let key = key.map_err(|error| bad_key(file, error.to_string()))?;
    Ok((key, text))
}

/// Reads the key of pseudonyms.
#[cfg(feature = "pseudonym")]
pub(super) fn pseudonyms(file: &Path) -> Result<(Pseudonyms, Vec<u8>), FilterFileError> {
    let text = contents(file, MATERIAL_LIMIT)?;
    let key = str::from_utf8(&text).map_err(|_| BadKey::Format);
    let key = key.and_then(Pseudonyms::from_hex);
    let key = key.map_err(|error| bad_key(file, error.to_string()))?;
    Ok((key, text))
}

/// Returns whether users other than the owner of a file can read it.
pub(super) fn is_open_to_others(file: &Path) -> bool {
    has_mode(file, 0o044)
}

/// Returns whether every user of this machine can read a file.
pub(super) fn is_open_to_all(file: &Path) -> bool {
    has_mode(file, 0o004)
}

/// Returns whether a file has at least one of these permission bits.
fn has_mode(file: &Path, bits: u32) -> bool {
    let metadata = waiting_for(file.display(), || fs::metadata(file));
    metadata.is_ok_and(|it| it.permissions().mode() & bits != 0)
}

fn bad_key(file: &Path, why: String) -> FilterFileError {
    FilterFileError::Key {
        file: file.to_owned(),
        why,
    }
}

fn contents(file: &Path, limit: usize) -> Result<Vec<u8>, FilterFileError> {
    files::read(file, limit).map_err(|error| FilterFileError::Unreadable {
        file: file.to_owned(),
        why: error.to_string(),
    })
}

impl FilterFileError {
    /// Returns the file that cannot be used; `None` if the error is not in a file.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { file, .. } | Self::Names { file, .. } | Self::Key { file, .. } => {
                Some(file)
            }
            Self::Rule(_) | Self::NoPseudonyms => None,
        }
    }
}

impl Filters {
    /// Reads the files, and returns the filter. Blocks while it reads.
    pub(crate) fn read(&self) -> Result<ReadScreen, FilterFileError> {
        let mut errors = Vec::new();
        let screen = self.read_all(&mut errors);
        errors.into_iter().next().map_or(Ok(screen), Err)
    }

    /// Does the same as [`read`](Self::read), but continues after an error. The filter lacks what could not be read.
    pub(super) fn read_all(&self, errors: &mut Vec<FilterFileError>) -> ReadScreen {
        let mut digest = DefaultHasher::new();
        let mut screen = Screen::default();
        for FilterRule {
            kind,
            verdict,
            words,
        } in &self.rules
        {
            let added = match words {
                RuleWords::Listed(words) => words.iter().try_for_each(|word| {
                    let added = screen.filter.add(*kind, *verdict, word);
                    added.map_err(FilterFileError::from)
                }),
                RuleWords::NamesIn(file) => {
                    add_names(&mut screen.filter, *verdict, file).map(|list| list.hash(&mut digest))
                }
            };
            errors.extend(added.err());
        }
        if let Some(sample) = &self.sample {
            let key = match &sample.key {
                None => Ok(SampleKey::of_process()),
                Some(file) => sample_key(file).map(|(key, text)| {
                    text.hash(&mut digest);
                    key
                }),
            };
            let key = key.map_err(|error| errors.push(error));
            screen.sample = key.ok().map(|key| Sample::new(sample.one_in, key));
        }
        screen.limit = self.limit.map(RateLimit::new);
        screen.privacy.strip_ecs = self.strip_ecs;
        screen.privacy.strip_cookie = self.strip_cookie;
        screen.privacy.client_address = match &self.client_address {
            None => None,
            Some(AddressEdit::Remove) => Some(ClientAddress::Remove),
            Some(AddressEdit::Truncate { ipv4, ipv6 }) => Some(ClientAddress::Truncate {
                ipv4: *ipv4,
                ipv6: *ipv6,
            }),
            #[cfg(feature = "pseudonym")]
            Some(AddressEdit::Pseudonym(file)) => {
                let read = pseudonyms(file).map_err(|error| errors.push(error));
                read.ok().map(|(pseudonyms, text)| {
                    text.hash(&mut digest);
                    ClientAddress::Pseudonym(pseudonyms.into())
                })
            }
            #[cfg(not(feature = "pseudonym"))]
            Some(AddressEdit::Pseudonym(_)) => {
                errors.push(FilterFileError::NoPseudonyms);
                None
            }
        };
        ReadScreen {
            screen,
            digest: digest.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_read_a_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        fs::write(&file, "00").expect("written");
        for (mode, open) in [(0o600, false), (0o640, true), (0o604, true), (0o400, false)] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&file, permissions).expect("changed");
            assert_eq!(is_open_to_others(&file), open, "{mode:o}");
            assert_eq!(is_open_to_all(&file), mode == 0o604, "{mode:o}");
        }
    }

    #[test]
    fn a_key_is_read_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let digits = "00112233445566778899aabbccddeeff";
        fs::write(&file, format!("{digits}\n")).expect("written");
        let (key, _) = sample_key(&file).expect("a key");
        assert_eq!(format!("{key:?}"), "SampleKey");
        fs::write(&file, format!("{digits}0")).expect("written");
        let error = sample_key(&file).expect_err("too long").to_string();
        assert!(!error.contains("0011"), "{error}");
        fs::write(&file, [0xff; 32]).expect("written");
        sample_key(&file).expect_err("not a text");
        sample_key(&folder.path().join("absent")).expect_err("no file");
    }

    #[cfg(all(feature = "cli", feature = "pseudonym"))]
    #[test]
    fn the_check_reads_the_files_of_filters() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str, mode: u32| {
            fs::write(path(name), text).expect("written");
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(path(name), permissions).expect("changed");
        };
        let shown = |name: &str| path(name).display().to_string();
        let tapfile = format!(
            "listen @in\ndnstap @out full {{\n drop qname_file {}\n sample 1/2 {}\n client_address pseudonym {}\n}}\n",
            shown("names"),
            shown("sample"),
            shown("pseudonym"),
        );
        write("Tapfile", &tapfile, 0o600);
        let load = |is_elsewhere| {
            let read = if is_elsewhere {
                super::super::load_elsewhere
            } else {
                super::super::load
            };
            let loaded = read(&path("Tapfile"), &|_| None);
            let text = loaded.diagnostics.to_string();
            let folder = folder.path().display().to_string();
            (loaded, text.replace(&folder, "FOLDER"))
        };
        let (loaded, text) = load(false);
        assert_eq!(loaded.diagnostics.errors(), 3, "{text}");
        for name in ["names", "sample", "pseudonym"] {
            assert!(loaded.files.contains(&path(name)), "watches {name}");
        }
        let (loaded, text) = load(true);
        assert_eq!(loaded.diagnostics.errors(), 0, "{text}");
        assert_eq!(loaded.diagnostics.warnings(), 3, "{text}");

        write("names", "example.org # first\n\nb..ad\n", 0o644);
        write("sample", "00112233445566778899aabbccddeeff\n", 0o640);
        write("pseudonym", "0011", 0o600);
        let (_, text) = load(false);
        insta::assert_snapshot!(text);

        write("names", "example.org\n", 0o644);
        write("sample", "00112233445566778899aabbccddeeff\n", 0o400);
        let digits = "0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301";
        write("pseudonym", digits, 0o600);
        let (loaded, text) = load(false);
        assert_eq!(text, "");
        let filters = &loaded.config.expect("no errors").sinks[0].filters;
        // What was read for the check is used, because a pipe can be read only once.
        let read = loaded.screens.expect("no errors");
        assert!(!read[0].screen.is_noop());
        write("names", "example.net\n", 0o644);
        assert_ne!(filters.read().expect("good files").digest, read[0].digest);
    }
}

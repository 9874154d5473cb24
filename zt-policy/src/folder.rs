//! Policies from a folder of `*.cedar` files.
//!
//! Every file of the folder whose name ends in `.cedar` is read, in the order of the names, not
//! those of folders below it. Links are followed, so a mounted Kubernetes ConfigMap works, and
//! where it is one (it has a `..data`), all files come from one version of it, also when it is
//! updated meanwhile. A file that cannot be read refuses the whole folder: a set without one of
//! its forbids is another set.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zt_core::fault::Fault;

use crate::cedar::MAX_LEN;
use crate::set::{LoadError, PolicySet, Source};

/// The most files that one folder may have.
pub const MAX_FILES: usize = 10_000;

impl PolicySet {
    /// The policies of a folder.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when the folder or one of its files cannot be read, when it has no
    /// `*.cedar` file, or when its policies are not loaded, as [`PolicySet::from_sources`].
    pub fn from_folder(path: impl AsRef<Path>) -> Result<Self, FolderError> {
        Self::from_folder_as(path.as_ref(), Self::from_sources)
    }

    /// The policies that `load` makes of the texts of a folder.
    pub(crate) fn from_folder_as(
        path: &Path,
        load: impl FnOnce(&[Source<'_>]) -> Result<Self, LoadError>,
    ) -> Result<Self, FolderError> {
        let current = path.join("..data");
        let folder = if current.is_dir() { resolve(&current)? } else { path.to_owned() };
        let files = files(&folder)?;
        if files.is_empty() {
            return Err(FolderError::NoFile { folder: path.to_owned() });
        }
        let texts = files
            .iter()
            .map(|(name, path)| Ok((name.as_str(), read(path)?)))
            .collect::<Result<Vec<_>, FolderError>>()?;
        let sources: Vec<Source<'_>> =
            texts.iter().map(|(name, text)| Source { name, text }).collect();
        Ok(load(&sources)?)
    }
}

fn resolve(path: &Path) -> Result<PathBuf, FolderError> {
    fs::canonicalize(path).map_err(|source| unreadable(path, source))
}

/// Names and paths of the files, in the order of the names.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, FolderError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        if path.extension().is_none_or(|extension| extension != "cedar") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| FolderError::NotUtf8 { path: path.clone() })?;
        files.push((String::from(name), path));
        if files.len() > MAX_FILES {
            return Err(FolderError::TooManyFiles { folder: folder.to_owned() });
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, FolderError> {
    let limit = u64::try_from(MAX_LEN).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|source| unreadable(path, source))?;
    if bytes.len() > MAX_LEN {
        return Err(FolderError::TooLong { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|_| FolderError::NotUtf8 { path: path.to_owned() })
}

fn unreadable(path: &Path, source: io::Error) -> FolderError {
    FolderError::Unreadable { path: path.to_owned(), source }
}

/// Why a folder is not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder or a file cannot be read.
    #[error("cannot read {path:?}")]
    Unreadable {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or the name of a file is not UTF-8.
    #[error("{path:?} is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A file is too long.
    #[error("{path:?} is longer than {MAX_LEN} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// There are too many files.
    #[error("{folder:?} has more than {MAX_FILES} files")]
    TooManyFiles {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no file.
    #[error("{folder:?} has no *.cedar file")]
    NoFile {
        /// The folder.
        folder: PathBuf,
    },
    /// The policies are not loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl FolderError {
    /// Whether the same files may load the next time: they could not be read, rather than be
    /// understood.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreadable { .. })
    }

    /// Whose fault it is: whoever deployed the folder.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: &str = "permit (principal, action, resource);";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names_and_no_others() {
        let folder = folder(&[("b.cedar", ALLOW), ("a.cedar", ALLOW), ("c.txt", "not Cedar")]);
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("below/d.cedar"), "not Cedar").unwrap();
        let set = PolicySet::from_folder(folder.path()).unwrap();
        let ids: Vec<String> = set.policies().map(|policy| policy.id.to_string()).collect();
        assert_eq!(ids, ["a.cedar:policy0", "b.cedar:policy0"]);
    }

    #[test]
    fn an_empty_folder_or_a_folder_without_policies_is_refused() {
        let refused = PolicySet::from_folder(folder(&[]).path()).unwrap_err();
        assert!(matches!(refused, FolderError::NoFile { .. }), "{refused}");
        let refused = PolicySet::from_folder(folder(&[("a.cedar", "// none")]).path()).unwrap_err();
        assert!(matches!(refused, FolderError::Load(LoadError::Empty)), "{refused}");
        let refused = PolicySet::from_folder("/nowhere").unwrap_err();
        assert!(matches!(refused, FolderError::Unreadable { .. }), "{refused}");
    }

    #[test]
    fn one_bad_file_refuses_the_folder_and_all_bad_files_are_named() {
        let folder = folder(&[("a.cedar", ALLOW), ("b.cedar", "x"), ("c.cedar", "y")]);
        let refused = PolicySet::from_folder(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("b.cedar:1:1") && refused.contains("c.cedar:1:1"), "{refused}");
        fs::write(folder.path().join("b.cedar"), [0xff]).unwrap();
        let refused = PolicySet::from_folder(folder.path()).unwrap_err();
        assert!(matches!(refused, FolderError::NotUtf8 { .. }), "{refused}");
    }

    #[test]
    fn one_name_in_two_files_is_refused() {
        let named = format!("@id(\"x\") {ALLOW}");
        let folder = folder(&[("a.cedar", &named), ("b.cedar", &named)]);
        let refused = PolicySet::from_folder(folder.path()).unwrap_err();
        assert_eq!(refused.to_string(), r#"two policies are named "x""#);
    }

    #[cfg(unix)]
    #[test]
    fn a_mounted_config_map_is_read_through_its_links() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let version = folder.path().join("..2026_11_21");
        fs::create_dir(&version).unwrap();
        fs::write(version.join("a.cedar"), ALLOW).unwrap();
        symlink("..2026_11_21", folder.path().join("..data")).unwrap();
        symlink("..data/a.cedar", folder.path().join("a.cedar")).unwrap();
        let set = PolicySet::from_folder(folder.path()).unwrap();
        assert_eq!(&*set.policies().next().unwrap().id, "a.cedar:policy0");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_of_too_many_files_is_refused() {
        let folder = folder(&[]);
        for n in 0..=MAX_FILES {
            fs::write(folder.path().join(format!("{n}.cedar")), "").unwrap();
        }
        let refused = PolicySet::from_folder(folder.path()).unwrap_err();
        assert!(matches!(refused, FolderError::TooManyFiles { .. }), "{refused}");
    }

    #[test]
    fn a_link_to_nowhere_refuses_the_folder() {
        let folder = folder(&[("a.cedar", ALLOW)]);
        std::os::unix::fs::symlink("gone.cedar", folder.path().join("b.cedar")).unwrap();
        let refused = PolicySet::from_folder(folder.path()).unwrap_err();
        assert!(matches!(refused, FolderError::Unreadable { .. }), "{refused}");
    }
}

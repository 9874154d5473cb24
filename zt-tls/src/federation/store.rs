//! The latest bundles, kept across restarts.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::bundle::MAX_BUNDLE_LEN;

use super::url::MAX_URL_LEN;

/// The longest file that is read, in bytes: a bundle and a line before it.
const MAX_FILE_LEN: usize = MAX_BUNDLE_LEN.saturating_add(MAX_URL_LEN.saturating_mul(3));

/// A bundle as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBundle {
    /// What it was fetched by: profile, endpoint and URL. A bundle that was fetched by anything else
    /// is not that of a relationship. It has no line break.
    pub relationship: String,
    /// When the endpoint said so last.
    pub fetched: Timestamp,
    /// The document.
    pub json: Vec<u8>,
}

/// Keeps the latest bundle of each trust domain. What is kept is believed as if it had just been
/// fetched, so nobody else may write there.
///
/// It is asked on threads that may wait.
pub trait BundleStore: Send + Sync + fmt::Debug {
    /// What is kept of this trust domain.
    ///
    /// # Errors
    ///
    /// When that cannot be said: the relationship begins anew.
    fn load(&self, trust_domain: &TrustDomain) -> io::Result<Option<StoredBundle>>;

    /// Keeps this in the place of what was kept.
    ///
    /// # Errors
    ///
    /// When it is not kept: what was is.
    fn save(&self, trust_domain: &TrustDomain, bundle: &StoredBundle) -> io::Result<()>;

    /// Keeps nothing of this trust domain.
    ///
    /// # Errors
    ///
    /// When something may still be kept.
    fn remove(&self, trust_domain: &TrustDomain) -> io::Result<()>;
}

/// A folder with one file for each trust domain: `<trust domain>.bundle`, which is a line of time and
/// relationship and then the document. Each is replaced in one step.
#[derive(Clone, Debug)]
pub struct BundleFolder(PathBuf);

impl BundleFolder {
    /// This folder, which has to be there, and to be writable by this program alone.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// A trust domain has no character that means something in a path, and a name with an ending is
    /// none that does.
    fn path(&self, trust_domain: &TrustDomain, ending: &str) -> PathBuf {
        self.0.join(format!("{}.{ending}", trust_domain.as_str()))
    }
}

impl BundleStore for BundleFolder {
    fn load(&self, trust_domain: &TrustDomain) -> io::Result<Option<StoredBundle>> {
        match read(&self.path(trust_domain, "bundle")) {
            Ok(bytes) => parse(&bytes).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, trust_domain: &TrustDomain, bundle: &StoredBundle) -> io::Result<()> {
        let new = self.path(trust_domain, "new");
        let mut file = File::create(&new)?;
        writeln!(file, "{} {}", bundle.fetched.as_micros(), bundle.relationship)?;
        file.write_all(&bundle.json)?;
        file.sync_all()?;
        fs::rename(&new, self.path(trust_domain, "bundle"))
    }

    fn remove(&self, trust_domain: &TrustDomain) -> io::Result<()> {
        match fs::remove_file(self.path(trust_domain, "bundle")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX);
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_LEN { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

fn parse(bytes: &[u8]) -> Option<StoredBundle> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, json) = bytes.split_at_checked(end)?;
    let (fetched, relationship) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    Some(StoredBundle {
        relationship: relationship.to_owned(),
        fetched: Timestamp::from_micros(fetched.parse().ok()?),
        json: json.strip_prefix(b"\n")?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::from_name(name).unwrap()
    }

    #[test]
    fn a_folder_keeps_what_was_saved_last_of_each_trust_domain() {
        let folder = tempfile::tempdir().unwrap();
        let store = BundleFolder::new(folder.path());
        for name in ["partner.test", ".", "..", "a..b", "_"] {
            let domain = domain(name);
            assert_eq!(store.load(&domain).unwrap(), None, "{name}");
            for json in [&b"{\n}"[..], b"", b"\xff\n\n"] {
                let bundle = StoredBundle {
                    relationship: format!("https_web https://{name}/"),
                    fetched: Timestamp::from_micros(1_800_000_000_000_001),
                    json: json.into(),
                };
                store.save(&domain, &bundle).unwrap();
                assert_eq!(BundleFolder::new(folder.path()).load(&domain).unwrap(), Some(bundle));
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
        store.remove(&domain("..")).unwrap();
        store.remove(&domain("..")).unwrap();
        assert_eq!(store.load(&domain("..")).unwrap(), None);
        assert!(store.load(&domain(".")).unwrap().is_some());
    }

    #[test]
    fn a_file_that_was_not_written_here_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let store = BundleFolder::new(folder.path());
        let long = [b"1 https_web https://a/\n".to_vec(), vec![b' '; MAX_FILE_LEN]].concat();
        for bytes in [&b""[..], b"\n{}", b"x y\n{}", b"1\n{}", b"1 x", b"\xff 1\n", &long] {
            fs::write(folder.path().join("partner.test.bundle"), bytes).unwrap();
            assert!(store.load(&domain("partner.test")).is_err());
        }
    }
}

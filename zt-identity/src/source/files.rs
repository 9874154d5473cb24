//! Material read from files.

use std::path::{Path, PathBuf};

use zt_core::secret::Secret;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;

use super::error::X509SourceError;
use super::{MAX_CRL_FILE_LEN, MAX_FILE_LEN};
use crate::bundle::{BundleError, BundleSet, SpiffeBundle, X509Bundle};
use crate::file;
use crate::revocation::RevocationLists;
use crate::x509_identity::X509Identity;

/// The files of an identity, of the bundles that it believes, and of revocation lists.
#[derive(Clone, Debug)]
pub struct PemFiles {
    chain: PathBuf,
    key: PathBuf,
    bundles: Vec<(TrustDomain, PathBuf, Form)>,
    crls: Vec<PathBuf>,
}

/// What a bundle is written as.
#[derive(Clone, Copy, Debug)]
enum Form {
    Pem,
    Spiffe,
}

impl PemFiles {
    /// The files of a chain, leaf first, and of its key, which may be one.
    #[must_use]
    pub fn new(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { chain: chain.into(), key: key.into(), bundles: Vec::new(), crls: Vec::new() }
    }

    /// These files and the roots of one trust domain more.
    #[must_use]
    pub fn with_bundle(mut self, trust_domain: TrustDomain, bundle: impl Into<PathBuf>) -> Self {
        self.bundles.push((trust_domain, bundle.into(), Form::Pem));
        self
    }

    /// These files and the bundle of one trust domain more, in SPIFFE's JSON ([`SpiffeBundle`]).
    /// Keys for other kinds of SVIDs are passed over. A bundle without roots is one that vouches
    /// for nobody; a certificate in it that cannot be a root is refused.
    #[must_use]
    pub fn with_spiffe_bundle(
        mut self,
        trust_domain: TrustDomain,
        bundle: impl Into<PathBuf>,
    ) -> Self {
        self.bundles.push((trust_domain, bundle.into(), Form::Spiffe));
        self
    }

    /// These files and one more, of revocation lists: PEM of nothing but `X509 CRL` sections, or the
    /// DER of one list.
    #[must_use]
    pub fn with_crl(mut self, crl: impl Into<PathBuf>) -> Self {
        self.crls.push(crl.into());
        self
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let bundles = self.bundles.iter().map(|(_, path, _)| path);
        let files = [&self.chain, &self.key].into_iter().chain(bundles).chain(&self.crls);
        files.map(PathBuf::as_path)
    }

    pub(super) fn read(
        &self,
        now: Timestamp,
    ) -> Result<(X509Identity, BundleSet), X509SourceError> {
        let key = Secret::new(read_file(&self.key, MAX_FILE_LEN)?);
        let identity =
            X509Identity::from_pem(&read_file(&self.chain, MAX_FILE_LEN)?, key.expose())?;
        identity.validity().check(now)?;
        let mut bundles = BundleSet::new();
        for (trust_domain, path, form) in &self.bundles {
            let text = read_file(path, MAX_FILE_LEN)?;
            let bundle = match form {
                Form::Pem => X509Bundle::from_pem(trust_domain.clone(), &text, now),
                Form::Spiffe => from_spiffe(trust_domain, path, &text, now)?,
            };
            bundles = bundles.with(bundle.map_err(|source| X509SourceError::Bundle {
                trust_domain: trust_domain.clone(),
                source,
            })?);
        }
        Ok((identity, bundles.with_revocation_lists(self.read_crls()?)))
    }

    fn read_crls(&self) -> Result<RevocationLists, X509SourceError> {
        let mut all = RevocationLists::new();
        for path in &self.crls {
            let lists = RevocationLists::from_file(&read_file(path, MAX_CRL_FILE_LEN)?)
                .map_err(|source| X509SourceError::Crl { path: path.clone(), source })?;
            all = lists.iter().cloned().fold(all, RevocationLists::with);
        }
        Ok(all)
    }
}

/// Whoever writes the file meant each of its roots, as in PEM. Those that have expired may stay.
fn from_spiffe(
    trust_domain: &TrustDomain,
    path: &Path,
    json: &[u8],
    now: Timestamp,
) -> Result<Result<X509Bundle, BundleError>, X509SourceError> {
    let document = SpiffeBundle::from_json(json)
        .map_err(|source| X509SourceError::SpiffeBundle { path: path.into(), source })?;
    let (bundle, left_out) = document.x509_bundle(trust_domain.clone(), now);
    let broken = left_out
        .into_iter()
        .map(|(_, error)| error)
        .find(|error| !matches!(error, BundleError::NoRoots { .. }));
    Ok(broken.map_or(Ok(bundle), Err))
}

fn read_file(path: &Path, max_len: u64) -> Result<Vec<u8>, X509SourceError> {
    let read = file::read(path, max_len)
        .map_err(|source| X509SourceError::File { path: path.into(), source })?;
    read.ok_or_else(|| X509SourceError::FileTooLong { path: path.into(), max_len })
}

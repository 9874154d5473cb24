//! Files that an [`X509Source`](crate::source::X509Source) reads.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zt_core::secret::Secret;

use super::error::AuthorityError;
use crate::bundle::X509Bundle;
use crate::x509_identity::X509Identity;

/// RFC 7468 §2: lines of 64 characters.
const LINE: usize = 64;

pub(super) fn write(
    folder: &Path,
    identity: &X509Identity,
    bundle: &X509Bundle,
) -> Result<(), AuthorityError> {
    make_folder(folder).map_err(|source| AuthorityError::Write { path: folder.into(), source })?;
    let chain: String = identity.chain().iter().map(|der| pem("CERTIFICATE", der)).collect();
    let roots: String =
        bundle.roots().iter().map(|root| pem("CERTIFICATE", root.certificate())).collect();
    let key = Secret::new(pem("PRIVATE KEY", identity.key().expose().secret_der()));
    for (name, text) in
        [("svid.pem", chain.as_str()), ("key.pem", key.expose()), ("bundle.pem", &roots)]
    {
        let path = folder.join(name);
        replace_file(&path, text).map_err(|source| AuthorityError::Write { path, source })?;
    }
    Ok(())
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Secret::new(STANDARD.encode(der));
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.expose().as_str();
    while let Some((line, more)) = rest.split_at_checked(LINE.min(rest.len())) {
        if line.is_empty() {
            break;
        }
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("pem.new");
    // One that was left behind may be readable by others.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = private_file().write(true).create_new(true).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

#[cfg(unix)]
fn private_file() -> fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_file() -> fs::OpenOptions {
    fs::OpenOptions::new()
}

#[cfg(unix)]
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

//! Who acts for a user: this service, by a token of its own (RFC 8693 §1.1, §2.1).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;

use crate::file;

/// The longest token that is read, in bytes.
const MAX_LEN: usize = crate::jws::MAX_LEN;

type Supply = dyn Fn(Timestamp) -> Option<Secret<String>> + Send + Sync;

/// A JWT that names this service, such as a JWT-SVID or the token of its service account. It goes
/// to the token endpoint beside the user's token, so that what is issued can say who acts for whom.
///
/// It is taken anew at each exchange, so that one that was renewed counts at once.
#[derive(Clone)]
pub struct ActorToken(Source);

#[derive(Clone)]
enum Source {
    File(Arc<Path>),
    Supply(Arc<Supply>),
}

impl ActorToken {
    /// The one that stands in this file, as Kubernetes projects it into a pod.
    #[must_use]
    pub fn jwt_in_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into().into()))
    }

    /// The one that this knows at a moment; it is not to wait for anything. Where there is none,
    /// nothing is exchanged.
    #[must_use]
    pub fn jwt_from(
        supply: impl Fn(Timestamp) -> Option<Secret<String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Source::Supply(Arc::new(supply)))
    }

    /// The token at `now`, without whitespace around it.
    pub(super) async fn current(&self, now: Timestamp) -> Result<Secret<String>, ActorTokenError> {
        let token = match &self.0 {
            Source::Supply(supply) => supply(now).ok_or(ActorTokenError::None)?,
            Source::File(path) => {
                let path = Arc::clone(path);
                // A disk may be slow, and nobody else is to wait for it.
                let read = tokio::task::spawn_blocking(move || read(&path)).await;
                read.unwrap_or(Err(ActorTokenError::None))?
            }
        };
        match token.expose().trim() {
            "" => Err(ActorTokenError::None),
            token if token.len() > MAX_LEN => Err(ActorTokenError::TooLong),
            token => Ok(Secret::new(token.to_owned())),
        }
    }
}

fn read(path: &Path) -> Result<Secret<String>, ActorTokenError> {
    let unread = |source| ActorTokenError::File { path: path.into(), source: Arc::new(source) };
    let max = u64::try_from(MAX_LEN).unwrap_or(u64::MAX).saturating_add(1);
    let bytes = file::read(path, max).map_err(unread)?.ok_or(ActorTokenError::TooLong)?;
    let text = String::from_utf8(bytes).map_err(|_| ActorTokenError::None)?;
    Ok(Secret::new(text))
}

/// Where it comes from.
impl fmt::Debug for ActorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => f.debug_tuple("ActorToken").field(path).finish(),
            Source::Supply(_) => f.write_str("ActorToken(..)"),
        }
    }
}

/// Why this service has no token to act by.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActorTokenError {
    /// The file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// There is no token, or none that is text.
    #[error("there is no token of this service to act by")]
    None,
    /// The token is longer than any.
    #[error("the token of this service is longer than {MAX_LEN} bytes")]
    TooLong,
}

impl ActorTokenError {
    /// Whose fault it is: that of whoever gives this service its token.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_in_a_file_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let actor = ActorToken::jwt_in_file(&path);
        let current = async || actor.current(Timestamp::EPOCH).await;
        assert!(matches!(current().await, Err(ActorTokenError::File { .. })));
        for (contents, expected) in [("a.b.c\n", Some("a.b.c")), (" d.e.f", Some("d.e.f"))] {
            std::fs::write(&path, contents).unwrap();
            assert_eq!(
                current().await.ok().map(|token| token.expose().clone()).as_deref(),
                expected
            );
        }
        for nothing in [&b""[..], b" \n", b"\xff"] {
            std::fs::write(&path, nothing).unwrap();
            assert!(matches!(current().await, Err(ActorTokenError::None)));
        }
        std::fs::write(&path, "a".repeat(MAX_LEN.saturating_add(2))).unwrap();
        assert!(matches!(current().await, Err(ActorTokenError::TooLong)));
    }

    #[tokio::test]
    async fn a_token_that_is_supplied_is_that_of_the_moment_and_not_shown() {
        let later = Timestamp::from_secs(1);
        let actor = ActorToken::jwt_from(move |now| {
            (now >= later).then(|| Secret::new("s3cret".to_owned()))
        });
        assert!(actor.current(Timestamp::EPOCH).await.is_err());
        assert_eq!(actor.current(later).await.unwrap().expose(), "s3cret");
        assert!(!format!("{actor:?}").contains("s3cret"));
    }
}

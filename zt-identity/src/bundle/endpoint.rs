//! Our own bundle, served to whoever federates with us (SPIFFE Federation §5.1, §5.2).

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use zt_core::fault::Fault;
use zt_core::snapshot::{Snapshot, Versioned};

use super::spiffe::{MEDIA_TYPE, SpiffeBundle};
use crate::algorithm::sha256;

/// Whoever keeps a copy asks whether it is still ours before using it, so that a rotation is seen at
/// once. How often to ask at all is for the bundle to say (`spiffe_refresh_hint`).
const CACHE_CONTROL: &str = "no-cache";
const ALLOW: &str = "GET, HEAD";

/// The document of a bundle endpoint, and the answers about it, whatever server carries them. Clones
/// share it.
///
/// [`BundleEndpoint::answer`] says, in this order:
///
/// 1. 405 to another method than `GET` and `HEAD`;
/// 2. 304 to whoever has the current document, as `If-None-Match` tells (RFC 9110 §13.1.2);
/// 3. 200, with the document as [`MEDIA_TYPE`], an `ETag`, and `Cache-Control: no-cache`.
///
/// # What is for the server to do
///
/// A bundle endpoint is `https`, demands no client certificate (§5.2.1, §5.2.2) and asks for no other
/// credential: what is served is public. So it stands on a listener of its own, beside one that
/// demands certificates of workloads, and in front of what authorizes requests.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::spiffe::TrustDomain;
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Authority;
/// use zt_identity::bundle::{BundleEndpoint, SpiffeBundle};
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
/// let endpoint = BundleEndpoint::new(&SpiffeBundle::of_roots(&authority.bundle()).with_sequence(1));
///
/// let answer = endpoint.answer("GET", None);
/// assert_eq!(answer.status(), 200);
/// assert!(answer.headers().any(|header| header == ("content-type", "application/json")));
/// assert!(SpiffeBundle::from_json(answer.body()).is_ok());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct BundleEndpoint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: Snapshot<Document>,
    // Held from the look at what is current until it is replaced.
    publishing: Mutex<()>,
}

#[derive(Debug)]
struct Document {
    json: String,
    etag: String,
    sequence: Option<u64>,
}

impl Document {
    fn of(bundle: &SpiffeBundle) -> Self {
        let json = bundle.to_json();
        let mut etag = String::from("\"");
        for byte in sha256(json.as_bytes()).iter().take(16) {
            // Writing to a String does not fail.
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        Self { json, etag, sequence: bundle.sequence() }
    }
}

impl BundleEndpoint {
    /// An endpoint that serves this bundle until another is published.
    #[must_use]
    pub fn new(bundle: &SpiffeBundle) -> Self {
        let current = Snapshot::new(Document::of(bundle));
        Self(Arc::new(Shared { current, publishing: Mutex::new(()) }))
    }

    /// Serves another bundle from the next request on, and returns its generation: the old one when
    /// nothing has changed.
    ///
    /// Where there are several replicas, take the sequence from whatever they share, such as the time
    /// at which the roots were changed: consumers keep the bundle of the highest.
    ///
    /// # Errors
    ///
    /// [`SequenceError`] when something has changed and the sequence has not grown (Trust Domain and
    /// Bundle §4.1.1, B-04); the old bundle is still served.
    pub fn publish(&self, bundle: &SpiffeBundle) -> Result<u64, SequenceError> {
        let _publishing = self.0.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, next) = (self.0.current.load_full(), Document::of(bundle));
        if current.json == next.json {
            return Ok(current.generation());
        }
        // None is less than any: one that had a sequence keeps having one.
        if current.sequence.is_some() && next.sequence <= current.sequence {
            return Err(SequenceError { served: current.sequence, refused: next.sequence });
        }
        Ok(self.0.current.replace(next))
    }

    /// The answer to a request with this method and this `If-None-Match`, if it has one. Several
    /// header lines of that name are joined with commas, or only one of them is handed over.
    #[must_use]
    pub fn answer(&self, method: &str, if_none_match: Option<&str>) -> BundleAnswer {
        let document = self.0.current.load_full();
        let status = match method {
            "GET" | "HEAD"
                if if_none_match.is_some_and(|known| is_known(known, &document.etag)) =>
            {
                304
            }
            "GET" | "HEAD" => 200,
            _ => 405,
        };
        BundleAnswer { status, document, has_body: method == "GET" && status == 200 }
    }
}

/// RFC 9110 §8.8.3.2: compared weakly.
fn is_known(if_none_match: &str, etag: &str) -> bool {
    let mut tags = if_none_match.split(',').map(str::trim);
    if_none_match.trim() == "*" || tags.any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// What a bundle endpoint answers.
#[derive(Clone, Debug)]
pub struct BundleAnswer {
    status: u16,
    document: Arc<Versioned<Document>>,
    has_body: bool,
}

impl BundleAnswer {
    /// The status: 200, 304 or 405.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The headers: names in lower case, and values.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let of_document = [("etag", self.document.etag.as_str()), ("cache-control", CACHE_CONTROL)];
        let headers: &[_] = match self.status {
            200 => &[("content-type", MEDIA_TYPE)],
            405 => &[("allow", ALLOW)],
            _ => &[],
        };
        let of_document = of_document.into_iter().filter(|_| self.status != 405);
        headers.iter().copied().chain(of_document)
    }

    /// The body: the document in UTF-8 (§5.2), or nothing.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        if self.has_body { self.document.json.as_bytes() } else { &[] }
    }
}

/// A bundle that has changed, and whose sequence has not grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a changed bundle with the sequence {refused:?} after one with {served:?}")]
#[non_exhaustive]
pub struct SequenceError {
    /// The sequence of the bundle that is served.
    pub served: Option<u64>,
    /// The sequence of the bundle that is not.
    pub refused: Option<u64>,
}

impl SequenceError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bundle(sequence: u64) -> SpiffeBundle {
        SpiffeBundle::default().with_sequence(sequence)
    }

    fn header(answer: &BundleAnswer, name: &str) -> Option<String> {
        let mut headers = answer.headers();
        headers.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    }

    #[test]
    fn whoever_asks_gets_the_document_and_what_to_make_of_it() {
        let endpoint = BundleEndpoint::new(&bundle(7));
        let answer = endpoint.answer("GET", None);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body(), br#"{"spiffe_sequence":7,"keys":[]}"#);
        assert_eq!(header(&answer, "content-type").unwrap(), "application/json");
        assert_eq!(header(&answer, "cache-control").unwrap(), "no-cache");
        let head = endpoint.answer("HEAD", None);
        assert_eq!((head.status(), head.body()), (200, &[][..]));
        assert!(head.headers().eq(answer.headers()));
    }

    #[test]
    fn whoever_has_the_document_is_told_so_until_it_changes() {
        let endpoint = BundleEndpoint::new(&bundle(7));
        let etag = header(&endpoint.answer("GET", None), "etag").unwrap();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\" , {etag}"), "*".into()] {
            let answer = endpoint.answer("GET", Some(&known));
            assert_eq!((answer.status(), answer.body()), (304, &[][..]), "{known}");
            assert_eq!(header(&answer, "etag").as_ref(), Some(&etag));
        }
        for unknown in ["", "\"x\"", etag.trim_matches('"'), "\"*\""] {
            assert_eq!(endpoint.answer("GET", Some(unknown)).status(), 200, "{unknown}");
        }
        endpoint.publish(&bundle(8)).unwrap();
        let answer = endpoint.answer("GET", Some(&etag));
        assert_eq!(answer.status(), 200);
        assert_ne!(header(&answer, "etag").unwrap(), etag);
    }

    #[test]
    fn only_reading_is_allowed() {
        let endpoint = BundleEndpoint::new(&bundle(7));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", ""] {
            let answer = endpoint.answer(method, Some("*"));
            assert_eq!((answer.status(), answer.body()), (405, &[][..]), "{method}");
            assert_eq!(answer.headers().collect::<Vec<_>>(), [("allow", "GET, HEAD")]);
        }
    }

    #[test]
    fn a_change_is_published_with_a_greater_sequence_or_not_at_all() {
        let endpoint = BundleEndpoint::new(&SpiffeBundle::default());
        assert_eq!(endpoint.publish(&bundle(7)), Ok(2));
        assert_eq!(endpoint.publish(&bundle(7)), Ok(2), "nothing has changed");
        let hinted = |sequence| bundle(sequence).with_refresh_hint(Duration::from_secs(60));
        for (refused, sequence) in
            [(hinted(7), Some(7)), (hinted(6), Some(6)), (SpiffeBundle::default(), None)]
        {
            let error = SequenceError { served: Some(7), refused: sequence };
            assert_eq!(endpoint.publish(&refused), Err(error));
            assert_eq!(endpoint.answer("GET", None).body(), br#"{"spiffe_sequence":7,"keys":[]}"#);
        }
        assert_eq!(endpoint.publish(&hinted(8)), Ok(3));
    }
}

//! Who takes part: authorities, identities sound and not, and the files that peers read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::authority::{Authority, SvidRequest};
use zt_identity::bundle::{BundleSet, SpiffeBundle, X509Bundle};
use zt_identity::x509_identity::X509Identity;

/// The trust domain of both ends.
pub const DOMAIN: &str = "shop.test";
/// One that neither end has a bundle of.
const OTHER: &str = "evil.test";
const HOUR: Duration = Duration::from_secs(3_600);

/// What is wrong with an end, if anything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nothing.
    Good,
    /// It presents no certificate.
    Nobody,
    /// It is of a trust domain that there is no bundle of.
    OtherDomain,
    /// Its authority has the name of the trust domain, and not its key.
    Forged,
    /// It is proven, and not the one that is meant.
    NotAdmitted,
    /// Its SVID has expired.
    Expired,
    /// Its SVID is on the list of its authority.
    Revoked,
}

impl Who {
    pub const BAD: [Self; 6] = [
        Self::Nobody,
        Self::OtherDomain,
        Self::Forged,
        Self::NotAdmitted,
        Self::Expired,
        Self::Revoked,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "everything in place",
            Self::Nobody => "no certificate",
            Self::OtherDomain => "another trust domain",
            Self::Forged => "another authority of that name",
            Self::NotAdmitted => "SPIFFE ID not authorised",
            Self::Expired => "expired SVID",
            Self::Revoked => "revoked SVID",
        }
    }
}

/// The authorities.
pub struct Land {
    pub authority: Authority,
    other: Authority,
    forged: Authority,
    pub now: Timestamp,
}

pub fn domain() -> TrustDomain {
    TrustDomain::from_name(DOMAIN).expect("a name")
}

/// The IDs that an end with this path may have; the second is of a domain without a bundle, so that
/// it is the bundle that refuses it.
pub fn ids(path: &str) -> [SpiffeId; 2] {
    [DOMAIN, OTHER]
        .map(|domain| SpiffeId::parse(&format!("spiffe://{domain}{path}")).expect("an ID"))
}

impl Land {
    pub fn new() -> Self {
        let now = SystemClock.now();
        let authority = |name| {
            Authority::new(TrustDomain::from_name(name).expect("a name"), now)
                .expect("an authority")
        };
        let (other, forged) = (authority(OTHER), authority(DOMAIN));
        Self { authority: authority(DOMAIN), other, forged, now }
    }

    /// An identity with this path, or with what is wrong with it.
    pub fn identity(&self, path: &str, who: Who) -> X509Identity {
        let request = match who {
            Who::Good | Who::Nobody | Who::Revoked => self.authority.request(path),
            Who::OtherDomain => self.other.request(path),
            Who::Forged => self.forged.request(path),
            Who::NotAdmitted => self.authority.request("/stranger"),
            Who::Expired => self.authority.request(path).at(self.now.saturating_sub(HOUR * 2)),
        };
        with_host(request)
    }

    pub fn bundle(&self) -> X509Bundle {
        self.authority.bundle()
    }

    /// What our end believes, with a list on which this identity is if it is revoked.
    pub fn believes(&self, of: &X509Identity, who: Who) -> BundleSet {
        let list = self.list(of, who).list().expect("a list");
        BundleSet::new().with(self.bundle()).with_revocation_list(list)
    }

    /// The list of the authority in PEM.
    pub fn list_pem(&self, of: &X509Identity, who: Who) -> String {
        self.list(of, who).pem().expect("a list")
    }

    fn list(&self, of: &X509Identity, who: Who) -> zt_identity::authority::CrlRequest<'_> {
        let list = self.authority.crl().at(self.now);
        if who == Who::Revoked { list.revoking(&of.chain()[0]).expect("a leaf") } else { list }
    }
}

/// Names the host too: HAProxy and Envoy are told `localhost`.
pub fn with_host(request: SvidRequest<'_>) -> X509Identity {
    request.for_host("localhost").identity().expect("an identity")
}

/// What a peer is set up with.
pub struct Setup {
    pub folder: PathBuf,
    pub presents: Option<X509Identity>,
    pub believes: X509Bundle,
    /// The revocation list, for peers that know any.
    pub list: Option<String>,
    pub admits: SpiffeId,
}

impl Setup {
    /// Writes the files, each in one step: `identity.pem` with chain and key, `roots.pem`,
    /// `crl.pem`, `bundle.DOMAIN.json`, and `bundles.json`, a map with that bundle.
    pub fn write(&self) {
        if let Some(identity) = &self.presents {
            replace(&self.folder.join("identity.pem"), &(chain(identity) + &key(identity)));
        }
        replace(&self.folder.join("roots.pem"), &roots(&self.believes));
        if let Some(list) = &self.list {
            replace(&self.folder.join("crl.pem"), list);
        }
        let document = SpiffeBundle::of_roots(&self.believes).with_sequence(1).to_json();
        replace(&self.folder.join(format!("bundle.{DOMAIN}.json")), &document);
        let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
        let map = json!({ "trust_domains": { DOMAIN: document } });
        replace(&self.folder.join("bundles.json"), &map.to_string());
    }
}

/// Replaces a file by moving another in its place.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, path).expect("moved");
}

pub fn chain(identity: &X509Identity) -> String {
    identity.chain().iter().map(|der| pem("CERTIFICATE", der)).collect()
}

pub fn key(identity: &X509Identity) -> String {
    pem("PRIVATE KEY", identity.key().expose().secret_der())
}

pub fn roots(bundle: &X509Bundle) -> String {
    bundle.roots().iter().map(|root| pem("CERTIFICATE", root.certificate())).collect()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

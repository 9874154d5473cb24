//! What a proxy says about the client behind it (H-09).
//!
//! A header proves nothing. One that names a client is believed when, in this order:
//!
//! 1. the peer of this connection is named for it, by its SPIFFE ID ([`Forwarded`]): there is no
//!    default;
//! 2. such a peer speaks for others alone: a request of it without the header, or with more than
//!    one, is refused (400) and never taken for the proxy's own;
//! 3. `X-Forwarded-Client-Cert` is what [`xfcc`] accepts, and its `By`, where it has one, is the proxy
//!    itself;
//! 4. of `X-Forwarded-For` the last address counts, which is the one that this proxy has seen.
//!
//! From everyone else such headers are taken out, together with further ones by which frameworks and
//! proxies name who calls ([`is_identity`]), so that nothing behind the layer believes them either.
//!
//! A client that is named so is a workload with the attribute `forwarded_by`, the ID of the proxy.
//! Policy can tell it from one that proved itself. Tokens that are bound to a certificate are still
//! compared with that of this connection, which is the proxy's: they are refused.

pub mod xfcc;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use zt_core::attribute::Attributes;
use zt_core::danger;
use zt_core::peer::Peer;
use zt_core::principal::{Principal, Workload};
use zt_core::spiffe::SpiffeId;
use zt_core::verified::Verified;
use zt_identity::matcher::Authorizer;

use self::xfcc::ForwardedClientCert;
use crate::denial::{Denial, Refusal};

const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which peers may speak for the clients behind them. Nobody, unless it is said.
///
/// ```
/// use zt_core::spiffe::SpiffeId;
/// use zt_identity::matcher::Authorizer;
/// use zt_tower::forwarded::Forwarded;
///
/// let gateway = Authorizer::id(SpiffeId::parse("spiffe://example.org/ns/edge/sa/gateway")?);
/// let forwarded = Forwarded::nobody().clients_from(gateway.clone()).addresses_from(gateway);
/// # Ok::<(), zt_core::spiffe::SpiffeIdError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forwarded {
    clients_from: Option<Authorizer>,
    addresses_from: Option<Authorizer>,
}

impl Forwarded {
    /// Nobody speaks for anybody.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { clients_from: None, addresses_from: None }
    }

    /// Peers that this authorizes say in `X-Forwarded-Client-Cert` which workload calls. Envoy does
    /// with `forward_client_cert_details: SANITIZE_SET` and `set_current_client_cert_details: {uri:
    /// true}`.
    #[must_use]
    pub fn clients_from(self, proxies: Authorizer) -> Self {
        Self { clients_from: Some(proxies), ..self }
    }

    /// Peers that this authorizes say in `X-Forwarded-For` from which address the client calls.
    #[must_use]
    pub fn addresses_from(self, proxies: Authorizer) -> Self {
        Self { addresses_from: Some(proxies), ..self }
    }

    /// Who calls over the connection of this peer: rules 1 to 3.
    pub(crate) fn client(
        &self,
        peer: &Verified<Peer>,
        headers: &HeaderMap,
    ) -> Result<Verified<Principal>, Refusal> {
        if !names(self.clients_from.as_ref(), peer) {
            return Ok(peer.principal());
        }
        let refused = |_| Refusal::new(Denial::BadForwarding, "forwarded_client");
        let value = the_one(headers, &CLIENT_CERT, "forwarded_client")?;
        let value =
            value.to_str().map_err(|_| Refusal::new(Denial::BadForwarding, "forwarded_client"))?;
        let client = ForwardedClientCert::parse(value).map_err(refused)?;
        if client.by().is_some_and(|by| by != peer.id().as_str()) {
            return Err(Refusal::new(Denial::BadForwarding, "forwarded_by_another"));
        }
        Ok(vouched_for(client.id(), peer))
    }

    /// From where a client calls that is behind this peer: rules 1, 2 and 4.
    pub(crate) fn address(
        &self,
        peer: &Verified<Peer>,
        headers: &HeaderMap,
    ) -> Result<Option<IpAddr>, Refusal> {
        if !names(self.addresses_from.as_ref(), peer) {
            return Ok(None);
        }
        let address = last_address(headers).and_then(|address| address.parse().ok());
        address.map(Some).ok_or(Refusal::new(Denial::BadForwarding, "forwarded_address"))
    }

    /// Whether addresses that this peer forwards are left in the request.
    pub(crate) fn keeps_addresses(&self, peer: Option<&Verified<Peer>>) -> bool {
        peer.is_some_and(|peer| names(self.addresses_from.as_ref(), peer))
    }
}

fn names(proxies: Option<&Authorizer>, peer: &Verified<Peer>) -> bool {
    proxies.is_some_and(|proxies| proxies.authorizes(peer.id().borrowed()))
}

/// Rule 4.
fn last_address(headers: &HeaderMap) -> Option<&str> {
    let last = headers.get_all(FOR).iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next().map(|address| address.trim_matches([' ', '\t']))
}

fn the_one<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    reason: &'static str,
) -> Result<&'h HeaderValue, Refusal> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(Refusal::new(Denial::BadForwarding, reason)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the peer of this connection is proven, and named as one that speaks for its clients"
)]
fn vouched_for(client: SpiffeId, proxy: &Peer) -> Verified<Principal> {
    let attributes = Attributes::new().with("forwarded_by", proxy.id().as_str());
    danger::verified(Principal::new(Workload::new(client).with_attributes(attributes)))
}

const NAMES: [&str; 17] = [
    "forwarded",
    "remote-user",
    "x-remote-user",
    "x-remote-group",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    "x-spiffe-id",
    "x-user",
    "x-user-id",
    "x-authenticated-user",
];
const PREFIXES: [&str; 5] = [
    "x-auth-request-",
    "x-remote-extra-",
    "x-ssl-client-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
];
const FORWARDED: [&str; 7] =
    ["for", "client-cert", "user", "email", "groups", "preferred-username", "access-token"];

/// What any of these names begins with: most headers are known not to be one by that.
const INITIALS: [u8; 5] = *b"cfrtx";

/// Whether a header, by its name in lower case, names who calls: what proxies and frameworks use.
/// Host, protocol and port are not among them. A name counts however it is spelt: gateways of CGI,
/// WSGI and PHP read `X-User`, `X_User` and `X.User` as one.
#[must_use]
pub fn is_identity(name: &str) -> bool {
    if !name.bytes().next().is_some_and(|initial| INITIALS.contains(&initial)) {
        return false;
    }
    let begins = |prefix: &str| {
        let (start, rest) = name.split_at_checked(prefix.len())?;
        reads_as(start, prefix).then_some(rest)
    };
    match begins("x-forwarded-") {
        Some(what) => FORWARDED.iter().any(|known| reads_as(what, known)),
        None => {
            NAMES.iter().any(|known| reads_as(name, known))
                || PREFIXES.iter().any(|prefix| begins(prefix).is_some())
        }
    }
}

/// Whether a name in lower case is read as a known one: by some, whatever is no letter and no digit is
/// as good as the hyphen.
pub(crate) fn reads_as(name: &str, known: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || b == b'-' && !a.is_ascii_alphanumeric();
    name.len() == known.len() && name.bytes().zip(known.bytes()).all(same)
}

/// Takes out what names who calls; of `X-Forwarded-For`, where it is believed, what is believed stays.
pub(crate) fn strip(headers: &mut HeaderMap, keeps_addresses: bool) {
    let address = if keeps_addresses { last_address(headers) } else { None };
    let address = address.and_then(|address| HeaderValue::from_str(address).ok());
    remove_all(headers, is_identity);
    if let Some(address) = address {
        headers.insert(FOR, address);
    }
}

/// Takes out the headers of these names. Where there are none, nothing is allocated.
pub(crate) fn remove_all(headers: &mut HeaderMap, is_one: impl Fn(&str) -> bool) {
    let named = headers.keys().filter(|name| is_one(name.as_str()));
    let gone: Vec<HeaderName> = named.cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_known_is_one_by_its_initial_too() {
        for name in NAMES {
            assert!(is_identity(name), "{name}");
        }
        for prefix in PREFIXES {
            assert!(is_identity(&format!("{prefix}anything")), "{prefix}");
        }
        for what in FORWARDED {
            assert!(is_identity(&format!("x-forwarded-{what}")), "{what}");
        }
    }

    #[test]
    fn what_names_who_calls_is_taken_out_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "x-real-ip",
            "x-user",
            "x-ssl-client-cert",
            "x-ssl-client-verify",
            "x-auth-request-email",
            "client-cert",
            "x-forwarded-user",
            "x-forwarded-access-token",
            "x-remote-extra-scopes",
            "x_user",
            "x.user",
            "x_forwarded_for",
            "x-forwarded_client-cert",
            "x_ssl_client_cert",
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("root"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("again"));
        }
        let stays = [
            "host",
            "x-forwarded-proto",
            "x-forwarded-host",
            "authorization",
            "x-users",
            "xuser",
            "x_forwarded_port",
        ];
        for name in stays {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        let mut kept = headers.clone();
        strip(&mut headers, false);
        assert_eq!(headers.len(), stays.len());
        assert!(stays.iter().all(|name| headers.contains_key(*name)));
        strip(&mut kept, true);
        assert_eq!(kept.len(), stays.len() + 1);
        assert_eq!(kept[FOR], "again", "what was not seen by the proxy itself is gone");
    }
}

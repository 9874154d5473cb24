//! Whom to talk to, once a peer has proven who it is.
//!
//! An [`Authorizer`] answers by SPIFFE ID alone. It is the coarse first question, asked in the
//! handshake; what the caller may do is for policy. There is no default: whom to trust is stated.

mod pattern;

use std::sync::Arc;

use zt_core::spiffe::{SpiffeId, SpiffeIdRef, TrustDomain};

pub use self::pattern::{IdPattern, IdPatternError};

/// A rule over proven SPIFFE IDs. A clone shares it; asking it allocates nothing.
///
/// ```
/// use zt_core::spiffe::{SpiffeId, TrustDomain};
/// use zt_identity::matcher::Authorizer;
///
/// let shop = SpiffeId::parse("spiffe://example.org/ns/shop")?;
/// let debug = shop.append_segments(["sa", "debug"])?;
/// let rule = Authorizer::within(shop.clone()).and(Authorizer::id(debug.clone()).not());
///
/// assert!(rule.authorizes(shop.append_segments(["sa", "cart"])?.borrowed()));
/// assert!(!rule.authorizes(debug.borrowed()));
/// assert!(!rule.authorizes(SpiffeId::parse("spiffe://example.org/ns/shopping")?.borrowed()));
/// # Ok::<(), zt_core::spiffe::SpiffeIdError>(())
/// ```
///
/// ```compile_fail,E0277
/// let rule: zt_identity::matcher::Authorizer = Default::default();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorizer(Rule);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    AnyInBundles,
    // INVARIANT: sorted.
    OneOf(Arc<[SpiffeId]>),
    MemberOf(TrustDomain),
    Within(SpiffeId),
    Matching(IdPattern),
    All(Arc<[Rule]>),
    Some(Arc<[Rule]>),
    Not(Arc<Rule>),
}

impl Authorizer {
    /// Everyone for whom some bundle vouches, of whatever trust domain: the handshake alone
    /// decides.
    ///
    /// Say it only where another check follows.
    #[must_use]
    pub const fn any_in_bundles() -> Self {
        Self(Rule::AnyInBundles)
    }

    /// This one workload.
    #[must_use]
    pub fn id(id: SpiffeId) -> Self {
        Self::one_of([id])
    }

    /// These workloads; nobody when there are none.
    #[must_use]
    pub fn one_of(ids: impl IntoIterator<Item = SpiffeId>) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        Self(Rule::OneOf(ids.into()))
    }

    /// Every workload of this trust domain.
    #[must_use]
    pub const fn member_of(trust_domain: TrustDomain) -> Self {
        Self(Rule::MemberOf(trust_domain))
    }

    /// The workload with this ID and all below it, by whole segments of the path: `/ns/shop`
    /// covers `/ns/shop/sa/cart` and not `/ns/shopping`.
    #[must_use]
    pub const fn within(prefix: SpiffeId) -> Self {
        Self(Rule::Within(prefix))
    }

    /// Every workload whose ID has this shape.
    #[must_use]
    pub const fn matching(pattern: IdPattern) -> Self {
        Self(Rule::Matching(pattern))
    }

    /// Those whom both rules accept.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        // Rules of one kind share a list, so that a long row of them is not a deep one.
        Self(Rule::All(match (self.0, other.0) {
            (Rule::All(rules), other) => rules.iter().cloned().chain([other]).collect(),
            (first, other) => [first, other].into(),
        }))
    }

    /// Those whom either rule accepts.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Rule::Some(match (self.0, other.0) {
            (Rule::Some(rules), other) => rules.iter().cloned().chain([other]).collect(),
            (first, other) => [first, other].into(),
        }))
    }

    /// Those whom this rule refuses. Alone it accepts whoever is not thought of: say it within
    /// [`Authorizer::and`].
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "reads like `and` and `or` beside it")]
    pub fn not(self) -> Self {
        Self(Rule::Not(Arc::new(self.0)))
    }

    /// Whether the rule accepts the workload with this ID, which has to be proven already.
    #[must_use]
    pub fn authorizes(&self, id: SpiffeIdRef<'_>) -> bool {
        self.0.accepts(id)
    }
}

impl Rule {
    fn accepts(&self, id: SpiffeIdRef<'_>) -> bool {
        match self {
            Self::AnyInBundles => true,
            Self::OneOf(ids) => {
                ids.binary_search_by(|known| known.as_str().cmp(id.as_str())).is_ok()
            }
            Self::MemberOf(trust_domain) => id.trust_domain() == *trust_domain,
            Self::Within(prefix) => id.is_within(prefix.borrowed()),
            Self::Matching(pattern) => pattern.matches(id),
            Self::All(rules) => rules.iter().all(|rule| rule.accepts(id)),
            Self::Some(rules) => rules.iter().any(|rule| rule.accepts(id)),
            Self::Not(rule) => !rule.accepts(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(uri: &str) -> SpiffeId {
        SpiffeId::parse(uri).unwrap()
    }

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::from_name(name).unwrap()
    }

    #[test]
    fn one_of_nobody_is_nobody() {
        assert!(!Authorizer::one_of([]).authorizes(id("spiffe://td/a").borrowed()));
    }

    #[test]
    fn one_of_finds_each_whatever_their_order() {
        let ids = ["spiffe://td/b", "spiffe://td/a", "spiffe://sd/z", "spiffe://td/a/b"].map(id);
        let rule = Authorizer::one_of(ids.clone());
        assert!(ids.iter().all(|id| rule.authorizes(id.borrowed())));
        assert!(!rule.authorizes(id("spiffe://td/c").borrowed()));
        assert!(!rule.authorizes(id("spiffe://td").borrowed()));
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        let rule = Authorizer::within(id("spiffe://td/ns/shop"));
        assert!(rule.authorizes(id("spiffe://td/ns/shop").borrowed()));
        assert!(rule.authorizes(id("spiffe://td/ns/shop/a").borrowed()));
        assert!(!rule.authorizes(id("spiffe://td/ns/shopping").borrowed()));
        assert!(!rule.authorizes(id("spiffe://td2/ns/shop").borrowed()));
    }

    #[test]
    fn a_trust_domain_has_no_members_elsewhere() {
        let rule = Authorizer::member_of(domain("domain.test"));
        assert!(rule.authorizes(id("spiffe://domain.test/a").borrowed()));
        assert!(!rule.authorizes(id("spiffe://otherdomain.test/a").borrowed()));
        assert!(!rule.authorizes(id("spiffe://domain.test.evil/a").borrowed()));
    }

    #[test]
    fn rules_combine_as_logic_does() {
        let (a, b) = (id("spiffe://td/a"), id("spiffe://td/b"));
        let (is_a, is_b) = (Authorizer::id(a.clone()), Authorizer::id(b.clone()));
        let either = is_a.clone().or(is_b.clone()).or(is_a.clone());
        assert!(either.authorizes(a.borrowed()) && either.authorizes(b.borrowed()));
        assert!(!is_a.clone().and(is_b).and(either).authorizes(a.borrowed()));
        assert!(!is_a.clone().not().authorizes(a.borrowed()));
        assert!(is_a.not().authorizes(b.borrowed()));
    }

    #[test]
    fn a_long_row_of_rules_is_not_a_deep_one() {
        let one = || Authorizer::id(id("spiffe://td/a"));
        let long = (0..2_000).fold(one(), |all, _| all.or(one()));
        let Rule::Some(rules) = long.0 else { panic!("{long:?}") };
        assert_eq!(rules.len(), 2_001);
    }
}

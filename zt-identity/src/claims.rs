//! The registered claims: who says it, to whom, and when it counts (RFC 7519 §4.1).
//!
//! - [`check_issuer`]: `iss` is the expected one, byte for byte (T-10).
//! - [`Audience::check`]: `aud` is a text or an array of texts and holds an expected value (T-10).
//! - [`subject`]: `sub` is a text that is not empty (T-10).
//! - [`TimeRules::check`]: `exp` is there and in the future, `nbf` and `iat`, where present, are
//!   in the past, give or take a leeway; a maximum lifetime may be set (T-11).
//!
//! A `NumericDate` is a JSON number of seconds, with a fraction or without, from 1970 up to the
//! end of the year 9999. A date in milliseconds lies beyond that, and is refused.

use std::sync::Arc;
use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use crate::excerpt::excerpt;
use crate::json::{Object, Value};

/// How far clocks may be apart, unless stated otherwise (T-11).
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);
/// How far clocks may be apart at most (T-11).
pub const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// 9999-12-31T23:59:59Z, the last second that has a civil date everywhere.
const MAX_DATE: Timestamp = Timestamp::from_secs(253_402_300_799);

/// `iss` is present, a text, and the expected one.
///
/// # Errors
///
/// [`ClaimsError`] when it is not.
pub fn check_issuer(claims: &Object<'_>, expected: &str) -> Result<(), ClaimsError> {
    let found = required_text(claims, "iss")?;
    if found == expected { Ok(()) } else { Err(ClaimsError::Issuer { found: excerpt(found) }) }
}

/// `sub`: present, a text, and not empty.
///
/// # Errors
///
/// [`ClaimsError`] when it is not.
pub fn subject<'c>(claims: &'c Object<'_>) -> Result<&'c str, ClaimsError> {
    match required_text(claims, "sub")? {
        "" => Err(ClaimsError::Malformed { claim: "sub" }),
        subject => Ok(subject),
    }
}

/// A claim that is text; `None` when there is none.
///
/// # Errors
///
/// [`ClaimsError::Malformed`] when it is something else.
pub fn text<'c>(
    claims: &'c Object<'_>,
    claim: &'static str,
) -> Result<Option<&'c str>, ClaimsError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(ClaimsError::Malformed { claim }),
    }
}

fn required_text<'c>(claims: &'c Object<'_>, claim: &'static str) -> Result<&'c str, ClaimsError> {
    text(claims, claim)?.ok_or(ClaimsError::Missing { claim })
}

/// A claim that is a `NumericDate`; `None` when there is none.
///
/// # Errors
///
/// [`ClaimsError::Malformed`] when it is something else, or out of range.
pub fn date(claims: &Object<'_>, claim: &'static str) -> Result<Option<Timestamp>, ClaimsError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let date = value.as_number().and_then(numeric_date);
    date.map(Some).ok_or(ClaimsError::Malformed { claim })
}

/// Seconds since the epoch, as JSON wrote them (RFC 7519 §2).
fn numeric_date(number: &str) -> Option<Timestamp> {
    let date = match number.parse() {
        Ok(secs) => Timestamp::from_secs(secs),
        // Refuses what is negative, infinite or too large.
        Err(_) => {
            Timestamp::EPOCH.saturating_add(Duration::try_from_secs_f64(number.parse().ok()?).ok()?)
        }
    };
    (Timestamp::EPOCH..=MAX_DATE).contains(&date).then_some(date)
}

/// For whom a token has to be: a set of names that is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    // INVARIANT: not empty, and no name is empty.
    expected: Vec<Arc<str>>,
    all: bool,
}

impl Audience {
    /// A token is for us when its `aud` holds any of these names.
    ///
    /// # Errors
    ///
    /// [`EmptyAudience`] when there is no name, or an empty one: such a verifier would accept
    /// every token, or none.
    pub fn any<S: Into<Arc<str>>>(
        expected: impl IntoIterator<Item = S>,
    ) -> Result<Self, EmptyAudience> {
        let expected: Vec<Arc<str>> = expected.into_iter().map(Into::into).collect();
        if expected.is_empty() || expected.iter().any(|name| name.is_empty()) {
            return Err(EmptyAudience);
        }
        Ok(Self { expected, all: false })
    }

    /// A token is for us when its `aud` holds all of these names.
    ///
    /// # Errors
    ///
    /// As [`Audience::any`].
    pub fn all<S: Into<Arc<str>>>(
        expected: impl IntoIterator<Item = S>,
    ) -> Result<Self, EmptyAudience> {
        Ok(Self { all: true, ..Self::any(expected)? })
    }

    /// `aud` is present, a text or an array of texts, and names us.
    ///
    /// # Errors
    ///
    /// [`ClaimsError`] when it does not.
    pub fn check(&self, claims: &Object<'_>) -> Result<(), ClaimsError> {
        let malformed = ClaimsError::Malformed { claim: "aud" };
        let values = match claims.get("aud") {
            None => return Err(ClaimsError::Missing { claim: "aud" }),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        if values.iter().any(|value| value.as_str().is_none()) {
            return Err(malformed);
        }
        let named = |name: &str| values.iter().any(|value| value.as_str() == Some(name));
        if self.is_met_by(named) { Ok(()) } else { Err(ClaimsError::Audience) }
    }

    /// Whether what names these names is for us.
    pub(crate) fn is_met_by(&self, named: impl Fn(&str) -> bool) -> bool {
        if self.all {
            self.expected.iter().all(|name| named(name))
        } else {
            self.expected.iter().any(|name| named(name))
        }
    }

    /// The expected names.
    #[cfg(feature = "http")]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.expected.iter().map(AsRef::as_ref)
    }
}

/// An expected audience without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an expected audience needs a name that is not empty")]
#[non_exhaustive]
pub struct EmptyAudience;

impl EmptyAudience {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// How the dates of a token are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRules {
    // INVARIANT: at most MAX_LEEWAY.
    leeway: Duration,
    max_lifetime: Option<Duration>,
    informative_iat: bool,
}

impl Default for TimeRules {
    /// A leeway of [`DEFAULT_LEEWAY`] and no maximum lifetime.
    fn default() -> Self {
        Self { leeway: DEFAULT_LEEWAY, max_lifetime: None, informative_iat: false }
    }
}

impl TimeRules {
    /// With this leeway for clocks that are apart.
    ///
    /// # Errors
    ///
    /// [`LeewayTooLong`] beyond [`MAX_LEEWAY`]: such a clock is to be repaired instead.
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, LeewayTooLong> {
        if leeway > MAX_LEEWAY {
            return Err(LeewayTooLong { leeway });
        }
        Ok(Self { leeway, ..self })
    }

    /// Refuses tokens that live longer than this, from `iat` (or `nbf`, or now) to `exp`.
    #[must_use]
    pub const fn with_max_lifetime(self, max: Duration) -> Self {
        Self { max_lifetime: Some(max), ..self }
    }

    /// Takes `iat` for information only, in tokens whose standard gives it no say in when they
    /// count. It still has to be a date.
    #[must_use]
    pub const fn with_informative_iat(self) -> Self {
        Self { informative_iat: true, ..self }
    }

    /// How far clocks may be apart.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.leeway
    }

    /// Judges the dates of a token at `now`.
    ///
    /// # Errors
    ///
    /// [`ClaimsError`] names the first rule that is broken.
    pub fn check(&self, claims: &Object<'_>, now: Timestamp) -> Result<Lifetime, ClaimsError> {
        let expires = date(claims, "exp")?.ok_or(ClaimsError::Missing { claim: "exp" })?;
        let not_before = date(claims, "nbf")?;
        let issued_at = date(claims, "iat")?;
        let counts_until = expires.saturating_add(self.leeway);
        // "on or after which the JWT MUST NOT be accepted" (RFC 7519 §4.1.4).
        if now >= counts_until {
            return Err(ClaimsError::Expired { now, expires });
        }
        let soon = now.saturating_add(self.leeway);
        if let Some(not_before) = not_before.filter(|begin| *begin > soon) {
            return Err(ClaimsError::NotYetValid { now, not_before });
        }
        if let Some(issued_at) = issued_at.filter(|begin| !self.informative_iat && *begin > soon) {
            return Err(ClaimsError::IssuedInFuture { now, issued_at });
        }
        self.check_lifetime(issued_at.or(not_before).unwrap_or(now), expires)?;
        Ok(Lifetime { expires, counts_until, issued_at })
    }

    fn check_lifetime(&self, begin: Timestamp, expires: Timestamp) -> Result<(), ClaimsError> {
        let lifetime = expires.since(begin);
        match self.max_lifetime {
            Some(max) if lifetime > max => Err(ClaimsError::LivesTooLong { lifetime, max }),
            _ => Ok(()),
        }
    }
}

/// A leeway beyond [`MAX_LEEWAY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a leeway of {leeway:?}, and at most {MAX_LEEWAY:?} are granted")]
#[non_exhaustive]
pub struct LeewayTooLong {
    /// The leeway that was asked for.
    pub leeway: Duration,
}

impl LeewayTooLong {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// The dates of a token that were found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetime {
    /// `exp`.
    pub expires: Timestamp,
    /// `exp` and the leeway that it was judged with: from then on the token is refused.
    pub counts_until: Timestamp,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
}

/// Why the claims of a token are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// A claim is missing.
    #[error("the claim {claim:?} is missing")]
    Missing {
        /// The claim.
        claim: &'static str,
    },
    /// A claim is of the wrong type, empty or out of range.
    #[error("the claim {claim:?} is malformed")]
    Malformed {
        /// The claim.
        claim: &'static str,
    },
    /// Someone else issued the token.
    #[error("the issuer is {found:?}, which is not the expected one")]
    Issuer {
        /// The issuer, cut.
        found: String,
    },
    /// The token is for someone else.
    #[error("the token is not for this audience")]
    Audience,
    /// The token is over.
    #[error("expired at {expires}, and it is {now}")]
    Expired {
        /// The moment asked about.
        now: Timestamp,
        /// When the token ended.
        expires: Timestamp,
    },
    /// The token does not count yet.
    #[error("not valid before {not_before}, and it is {now}")]
    NotYetValid {
        /// The moment asked about.
        now: Timestamp,
        /// When the token begins.
        not_before: Timestamp,
    },
    /// The token claims to be issued in the future.
    #[error("issued at {issued_at}, and it is {now}")]
    IssuedInFuture {
        /// The moment asked about.
        now: Timestamp,
        /// When the token claims to be issued.
        issued_at: Timestamp,
    },
    /// The token lives longer than is accepted.
    #[error("a lifetime of {lifetime:?}, and at most {max:?} are accepted")]
    LivesTooLong {
        /// Its lifetime.
        lifetime: Duration,
        /// The longest that is accepted.
        max: Duration,
    },
    /// A claim is not what a rule for tokens of this issuer demands.
    #[error("the claim {claim:?} is not what is demanded of this issuer's tokens")]
    Rule {
        /// The claim, cut.
        claim: String,
    },
    /// The user breaks a rule for users of this issuer.
    #[error("the {field} of the user breaks a rule for this issuer")]
    UserRule {
        /// What of the user.
        field: &'static str,
    },
}

impl ClaimsError {
    /// Whose fault it is: that of whoever sent the token.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::Malformed { .. } => "token_claims",
            Self::Issuer { .. } => "token_of_another_issuer",
            Self::Audience => "token_of_another_audience",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } | Self::IssuedInFuture { .. } => "token_not_yet_valid",
            Self::LivesTooLong { .. } => "token_lives_too_long",
            Self::Rule { .. } => "token_claim_rule",
            Self::UserRule { .. } => "token_user_rule",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn now() -> Timestamp {
        Timestamp::from_secs(NOW)
    }

    fn check_with(rules: TimeRules, claims: &str) -> Result<Lifetime, ClaimsError> {
        rules.check(&Object::parse(claims.as_bytes()).unwrap(), now())
    }

    #[test]
    fn a_date_of_issue_that_informs_only_limits_nothing_and_is_still_a_date() {
        let rules = TimeRules::default().with_informative_iat();
        let future = format!(r#"{{"exp":{},"iat":{}}}"#, NOW + 60, NOW + 3600);
        assert!(check_with(rules, &future).is_ok());
        let text = format!(r#"{{"exp":{},"iat":"now"}}"#, NOW + 60);
        assert_eq!(check_with(rules, &text), Err(ClaimsError::Malformed { claim: "iat" }));
    }

    fn check(claims: &str) -> Result<Lifetime, ClaimsError> {
        check_with(TimeRules::default(), claims)
    }

    fn exp(secs: i64) -> String {
        format!(r#"{{"exp":{secs}}}"#)
    }

    #[test]
    fn a_token_ends_at_exp_and_a_leeway() {
        assert!(check(&exp(NOW - 59)).is_ok());
        let expires = Timestamp::from_secs(NOW - 60);
        assert_eq!(check(&exp(NOW - 60)), Err(ClaimsError::Expired { now: now(), expires }));
        let strict = TimeRules::default().with_leeway(Duration::ZERO).unwrap();
        assert!(check_with(strict, &exp(NOW + 1)).is_ok());
        assert!(check_with(strict, &exp(NOW)).is_err());
    }

    #[test]
    fn a_token_without_exp_is_refused() {
        assert_eq!(check("{}"), Err(ClaimsError::Missing { claim: "exp" }));
        assert_eq!(check(r#"{"exp":null}"#), Err(ClaimsError::Malformed { claim: "exp" }));
    }

    #[test]
    fn a_token_begins_at_nbf_and_iat_less_a_leeway() {
        let with = |claim: &str, secs: i64| {
            check(&format!(r#"{{"exp":{},"{claim}":{secs}}}"#, NOW + 1000))
        };
        let begin = Timestamp::from_secs(NOW + 61);
        assert!(with("nbf", NOW + 60).is_ok());
        assert_eq!(
            with("nbf", NOW + 61),
            Err(ClaimsError::NotYetValid { now: now(), not_before: begin })
        );
        assert!(with("iat", NOW + 60).is_ok());
        assert_eq!(
            with("iat", NOW + 61),
            Err(ClaimsError::IssuedInFuture { now: now(), issued_at: begin })
        );
    }

    #[test]
    fn a_date_is_a_number_of_seconds_in_range() {
        for good in ["1800000000", "1800000000.5", "1.8e9", "253402300799", "18000000000e-1"] {
            assert!(check(&format!(r#"{{"exp":{good}}}"#)).is_ok(), "{good}");
        }
        for bad in [
            "\"1800000000\"",
            "-1",
            "-1.5",
            "253402300800",
            "253402300799.5",
            "1800000000000",
            "1e400",
            "-1e400",
            "1e18",
            "9223372036854775807",
            "9223372036854775808",
            "99999999999999999999999999",
            "true",
            "[1800000000]",
            "{}",
        ] {
            let refused = check(&format!(r#"{{"exp":{bad}}}"#));
            assert_eq!(refused, Err(ClaimsError::Malformed { claim: "exp" }), "{bad}");
        }
        for claim in ["nbf", "iat"] {
            let claims = format!(r#"{{"exp":1800000000,"{claim}":"1"}}"#);
            assert_eq!(check(&claims), Err(ClaimsError::Malformed { claim }));
        }
    }

    #[test]
    fn fractions_of_a_second_count() {
        let lifetime = check(r#"{"exp":1800000000.25,"iat":1799999999.75}"#).unwrap();
        assert_eq!(lifetime.expires, Timestamp::from_micros(NOW * 1_000_000 + 250_000));
        assert_eq!(lifetime.issued_at, Some(Timestamp::from_micros(NOW * 1_000_000 - 250_000)));
    }

    #[test]
    fn a_maximum_lifetime_counts_from_iat_or_nbf_or_now() {
        let rules = TimeRules::default().with_max_lifetime(Duration::from_secs(600));
        let until = |exp: i64, begin: &str| {
            check_with(rules, &format!(r#"{{"exp":{exp}{begin}}}"#)).map(|_| ())
        };
        let too_long = Err(ClaimsError::LivesTooLong {
            lifetime: Duration::from_secs(601),
            max: Duration::from_secs(600),
        });
        assert_eq!(until(NOW + 600, ""), Ok(()));
        assert_eq!(until(NOW + 601, ""), too_long);
        for begin in [r#","iat":1799999990"#, r#","nbf":1799999990"#] {
            assert_eq!(until(NOW + 590, begin), Ok(()));
            assert_eq!(until(NOW + 591, begin), too_long);
        }
    }

    #[test]
    fn a_leeway_has_a_maximum() {
        assert!(TimeRules::default().with_leeway(MAX_LEEWAY).is_ok());
        let leeway = Duration::from_secs(301);
        assert_eq!(TimeRules::default().with_leeway(leeway), Err(LeewayTooLong { leeway }));
    }

    #[test]
    fn an_expected_audience_has_a_name() {
        assert_eq!(Audience::any::<&str>([]), Err(EmptyAudience));
        assert_eq!(Audience::any([""]), Err(EmptyAudience));
        assert_eq!(Audience::all(["orders", ""]), Err(EmptyAudience));
    }

    #[test]
    fn an_audience_is_matched_whole_and_by_case() {
        let audience = Audience::any(["orders"]).unwrap();
        let check = |aud: &str| {
            audience.check(&Object::parse(format!(r#"{{"aud":{aud}}}"#).as_bytes()).unwrap())
        };
        assert_eq!(check(r#""orders""#), Ok(()));
        assert_eq!(check(r#"["a","orders"]"#), Ok(()));
        for other in [r#""Orders""#, r#""orders ""#, r#""order""#, r#""""#, r#"["orders,a"]"#] {
            assert_eq!(check(other), Err(ClaimsError::Audience), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_number_panics(number in "-?[0-9]{1,25}(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?") {
            if let Some(date) = numeric_date(&number) {
                prop_assert!((Timestamp::EPOCH..=MAX_DATE).contains(&date));
            }
        }

        #[test]
        fn whole_seconds_are_exact(secs in 0i64..=253_402_300_799) {
            prop_assert_eq!(numeric_date(&secs.to_string()), Some(Timestamp::from_secs(secs)));
        }
    }
}

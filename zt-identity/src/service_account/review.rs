//! What the API server answers when it is asked about a token.

use zt_core::fault::Fault;

use super::name::AccountName;
use super::token::{BoundTo, ObjectReference, ServiceAccountToken};
use crate::claims::Audience;
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object, Value};

pub(super) const API_VERSION: &str = "authentication.k8s.io/v1";
pub(super) const KIND: &str = "TokenReview";
const POD: Reference = Reference {
    name: "authentication.kubernetes.io/pod-name",
    uid: "authentication.kubernetes.io/pod-uid",
};
const NODE: Reference = Reference {
    name: "authentication.kubernetes.io/node-name",
    uid: "authentication.kubernetes.io/node-uid",
};

/// The members of `extra` that name one object.
struct Reference {
    name: &'static str,
    uid: &'static str,
}

/// A review that says yes: whom the API server takes the sender of a token for, and as whose token
/// (`authentication.k8s.io/v1`).
///
/// [`TokenReview::from_json`] accepts an answer when, in this order:
///
/// 1. it is one JSON object, read strictly ([`json`](crate::json)), that says to be a `TokenReview`
///    of `authentication.k8s.io/v1`;
/// 2. `status.error` is absent or empty;
/// 3. `status.authenticated` is `true`;
/// 4. `status.user` has a `username` and a `uid`;
/// 5. `status.audiences` are texts. An authenticator that answers with none does not know about
///    audiences;
/// 6. what `status.user.extra` says about pod and node is one text each.
///
/// It is an answer and proves nothing by itself: anyone can write one. A
/// [`TokenReviewer`](super::TokenReviewer) has asked the API server, and believes it.
///
/// ```
/// use zt_identity::service_account::{TokenReview, TokenReviewAnswerError};
///
/// let refused = TokenReview::from_json(br#"{
///     "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
///     "status": {"user": {}, "error": "service account token has been invalidated"}}"#);
/// assert!(matches!(refused, Err(TokenReviewAnswerError::NotAuthenticated { .. })));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenReview {
    username: String,
    uid: String,
    audiences: Vec<String>,
    pod: Option<(String, String)>,
    node: Option<(String, String)>,
}

impl TokenReview {
    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// [`TokenReviewAnswerError`] names the first rule that is broken.
    pub fn from_json(answer: &[u8]) -> Result<Self, TokenReviewAnswerError> {
        let answer = Object::parse(answer)?;
        is(&answer, "apiVersion", API_VERSION)?;
        is(&answer, "kind", KIND)?;
        let status = object(&answer, "status")?;
        check_authenticated(status)?;
        let user = object(status, "user")?;
        let extra = match user.get("extra") {
            None | Some(Value::Null) => &Object::default(),
            Some(_) => object(user, "extra")?,
        };
        Ok(Self {
            username: text(user, "username")?.to_owned(),
            uid: text(user, "uid")?.to_owned(),
            audiences: audiences(status)?,
            pod: POD.read(extra)?,
            node: NODE.read(extra)?,
        })
    }

    /// Whom the API server takes the sender for, such as `system:serviceaccount:shop:cart`.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// For whom the API server takes the token to be, of those that were asked about.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Whether the API server says the same as the claims of the token that it was asked about:
    ///
    /// 1. `audiences` name `audience`, as the API server demands of whoever asks about some;
    /// 2. `username` and `uid` are those of the account;
    /// 3. the pod is that of the token, and there is none where it has none;
    /// 4. the node, where the answer names one, is that of the token. Before Kubernetes 1.30 it
    ///    names none.
    ///
    /// # Errors
    ///
    /// [`TokenReviewAnswerError`] names the first rule that is broken.
    pub fn check(
        &self,
        token: &ServiceAccountToken,
        audience: &Audience,
    ) -> Result<(), TokenReviewAnswerError> {
        if !audience.is_met_by(|name| self.audiences.iter().any(|found| found == name)) {
            return Err(TokenReviewAnswerError::Audience);
        }
        let account = AccountName { namespace: token.namespace(), name: token.name() };
        let pod = match token.bound_to() {
            Some(BoundTo::Pod(pod)) => Some(pod),
            Some(BoundTo::Secret(_) | BoundTo::Node(_)) | None => None,
        };
        let node = token.node().filter(|_| self.node.is_some());
        for (member, same) in [
            ("username", AccountName::parse(&self.username) == Some(account)),
            ("uid", self.uid == token.uid()),
            (POD.name, is_object(self.pod.as_ref(), pod)),
            (NODE.name, is_object(self.node.as_ref(), node)),
        ] {
            if !same {
                return Err(TokenReviewAnswerError::Disagrees { member });
            }
        }
        Ok(())
    }
}

fn is_object(answered: Option<&(String, String)>, claimed: Option<&ObjectReference>) -> bool {
    let answered = answered.map(|(name, uid)| (name.as_str(), uid.as_str()));
    answered == claimed.map(|object| (object.name(), object.uid()))
}

fn malformed(member: &'static str) -> TokenReviewAnswerError {
    TokenReviewAnswerError::Malformed { member }
}

fn object<'o, 'a>(
    parent: &'o Object<'a>,
    member: &'static str,
) -> Result<&'o Object<'a>, TokenReviewAnswerError> {
    parent.get(member).and_then(Value::as_object).ok_or_else(|| malformed(member))
}

fn text<'o>(
    parent: &'o Object<'_>,
    member: &'static str,
) -> Result<&'o str, TokenReviewAnswerError> {
    let text = parent.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| malformed(member))
}

fn is(
    answer: &Object<'_>,
    member: &'static str,
    expected: &str,
) -> Result<(), TokenReviewAnswerError> {
    if text(answer, member)? == expected { Ok(()) } else { Err(malformed(member)) }
}

/// Both have to say so: what could not be checked has an error, whatever else there is.
fn check_authenticated(status: &Object<'_>) -> Result<(), TokenReviewAnswerError> {
    let error = match status.get("error") {
        None | Some(Value::Null) => "",
        Some(value) => value.as_str().ok_or_else(|| malformed("error"))?,
    };
    let authenticated = match status.get("authenticated") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| malformed("authenticated"))?,
    };
    if authenticated && error.is_empty() {
        return Ok(());
    }
    Err(TokenReviewAnswerError::NotAuthenticated { error: excerpt(error) })
}

fn audiences(status: &Object<'_>) -> Result<Vec<String>, TokenReviewAnswerError> {
    match status.get("audiences") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => {
            let names = value.as_strings().ok_or_else(|| malformed("audiences"))?;
            Ok(names.into_iter().map(str::to_owned).collect())
        }
    }
}

impl Reference {
    /// Both or none, each a list of one.
    fn read(&self, extra: &Object<'_>) -> Result<Option<(String, String)>, TokenReviewAnswerError> {
        let one = |member: &'static str| match extra.get(member) {
            None => Ok(None),
            Some(value) => match value.as_strings().as_deref() {
                Some([text]) if !text.is_empty() => Ok(Some((*text).to_owned())),
                _ => Err(malformed(member)),
            },
        };
        match (one(self.name)?, one(self.uid)?) {
            (Some(name), Some(uid)) => Ok(Some((name, uid))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(malformed(self.uid)),
            (None, Some(_)) => Err(malformed(self.name)),
        }
    }
}

/// Why the answer to a review does not let a token count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenReviewAnswerError {
    /// The answer is not JSON that is accepted.
    #[error("the answer is not JSON that is accepted")]
    Json(#[from] JsonError),
    /// A member of the answer is missing, or not what it has to be.
    #[error("the member {member:?} of the answer is missing or malformed")]
    Malformed {
        /// The member.
        member: &'static str,
    },
    /// The API server does not vouch for the token. What is cut has no room for a signature.
    #[error("the API server does not authenticate the token: {error:?}")]
    NotAuthenticated {
        /// Why not, as far as it says so, cut.
        error: String,
    },
    /// The API server does not say that the token is for this service.
    #[error("the API server does not say that the token is for this audience")]
    Audience,
    /// The API server says something else than the token.
    #[error("the answer says something else than the token in {member:?}")]
    Disagrees {
        /// The member of the answer.
        member: &'static str,
    },
}

impl TokenReviewAnswerError {
    /// Whose fault it is: the authority's when there is no answer in the answer, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Json(_) | Self::Malformed { .. } => Fault::Authority,
            Self::NotAuthenticated { .. } | Self::Audience | Self::Disagrees { .. } => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Malformed { .. } => "review_unavailable",
            Self::NotAuthenticated { .. } => "token_not_authenticated",
            Self::Audience => "token_of_another_audience",
            Self::Disagrees { .. } => "token_claims",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::tests::{claims, verify};
    use super::*;

    /// What the API server answers about the usual token.
    fn answer() -> Json {
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "metadata": {"creationTimestamp": null}, "spec": {"token": "x"},
            "status": {
                "authenticated": true, "audiences": ["orders"],
                "user": {
                    "username": "system:serviceaccount:shop:cart", "uid": "sa-uid",
                    "groups": ["system:serviceaccounts", "system:serviceaccounts:shop"],
                    "extra": {
                        "authentication.kubernetes.io/pod-name": ["cart-0"],
                        "authentication.kubernetes.io/pod-uid": ["pod-uid"],
                        "authentication.kubernetes.io/node-name": ["node-1"],
                        "authentication.kubernetes.io/node-uid": ["node-uid"],
                        "authentication.kubernetes.io/credential-id": ["JTI=t1"],
                    },
                },
            },
        })
    }

    /// The usual answer with this member instead; `null` takes it away.
    fn with(path: &str, value: Json) -> Json {
        let mut answer = answer();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/");
        let parent = answer.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(&name);
        } else {
            parent.insert(name, value);
        }
        answer
    }

    fn review(answer: &Json, claims: &Json) -> Result<(), TokenReviewAnswerError> {
        let audience = Audience::any(["orders"]).unwrap();
        let token = verify(claims).unwrap();
        TokenReview::from_json(answer.to_string().as_bytes())?.check(&token, &audience)
    }

    fn refused(path: &str, value: Json) -> TokenReviewAnswerError {
        review(&with(path, value), &claims()).unwrap_err()
    }

    #[test]
    fn an_answer_that_says_what_the_token_says_vouches_for_it() {
        assert_eq!(review(&answer(), &claims()), Ok(()));
        let extra = "/status/user/extra/authentication.kubernetes.io~1";
        let mut old = with(&format!("{extra}node-name"), Json::Null);
        let members = old["status"]["user"]["extra"].as_object_mut().unwrap();
        members.remove("authentication.kubernetes.io/node-uid");
        assert_eq!(review(&old, &claims()), Ok(()), "before Kubernetes 1.30");
        let several = with("/status/audiences", json!(["billing", "orders"]));
        assert_eq!(review(&several, &claims()), Ok(()));
        assert_eq!(review(&with("/status/error", json!("")), &claims()), Ok(()));
    }

    #[test]
    fn an_answer_is_a_token_review() {
        for (path, value) in [
            ("/kind", json!("Status")),
            ("/kind", Json::Null),
            ("/apiVersion", json!("authentication.k8s.io/v1beta1")),
            ("/status", Json::Null),
            ("/status", json!([])),
            ("/status/user", Json::Null),
            ("/status/user/username", Json::Null),
            ("/status/user/username", json!(1)),
            ("/status/user/uid", json!("")),
            ("/status/user/extra", json!([])),
            ("/status/audiences", json!("orders")),
            ("/status/audiences", json!(["orders", 1])),
            ("/status/authenticated", json!("true")),
            ("/status/authenticated", json!(1)),
            ("/status/error", json!({})),
        ] {
            let error = refused(path, value.clone());
            let member = path.rsplit('/').next().unwrap();
            assert!(
                matches!(error, TokenReviewAnswerError::Malformed { member: found } if found == member),
                "{path} {value}: {error:?}"
            );
            assert_eq!(error.fault(), Fault::Authority);
        }
        for bad in ["", "[]", "true", "{}{}", r#"{"kind":"TokenReview","kind":"TokenReview"}"#] {
            assert!(TokenReview::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_answer_that_authenticates_and_names_no_error_counts() {
        let not_so = |answer: &Json| {
            let error = review(answer, &claims()).unwrap_err();
            assert_eq!((error.fault(), error.reason()), (Fault::Peer, "token_not_authenticated"));
        };
        not_so(&with("/status/authenticated", json!(false)));
        not_so(&with("/status/authenticated", Json::Null));
        not_so(&with("/status/error", json!("service account token has been invalidated")));
        let both = r#"{"status":{"authenticated":false,"authenticated":true}}"#;
        assert!(matches!(
            TokenReview::from_json(both.as_bytes()),
            Err(TokenReviewAnswerError::Json(JsonError::Duplicate { .. }))
        ));
    }

    #[test]
    fn an_answer_for_no_audience_of_ours_does_not_count() {
        for audiences in [Json::Null, json!([]), json!(["https://kubernetes.default.svc"])] {
            assert_eq!(refused("/status/audiences", audiences), TokenReviewAnswerError::Audience);
        }
    }

    #[test]
    fn an_answer_about_another_account_or_pod_does_not_count() {
        let extra = |name: &str| format!("/status/user/extra/authentication.kubernetes.io~1{name}");
        for (path, value, member) in [
            ("/status/user/username".into(), json!("system:serviceaccount:shop:admin"), "username"),
            (
                "/status/user/username".into(),
                json!("system:serviceaccount:shop:cart:x"),
                "username",
            ),
            ("/status/user/username".into(), json!("alice"), "username"),
            ("/status/user/uid".into(), json!("of-an-account-before"), "uid"),
            (extra("pod-uid"), json!(["of-a-pod-before"]), POD.name),
            (extra("node-name"), json!(["node-2"]), NODE.name),
            ("/status/user/extra".into(), Json::Null, POD.name),
        ] {
            let error = refused(&path, value);
            assert_eq!(error, TokenReviewAnswerError::Disagrees { member }, "{path}");
        }
        for (name, value) in [("pod-uid", Json::Null), ("pod-name", json!(["a", "b"]))] {
            assert!(matches!(
                refused(&extra(name), value),
                TokenReviewAnswerError::Malformed { .. }
            ));
        }
        let mut unbound = claims();
        let private = unbound["kubernetes.io"].as_object_mut().unwrap();
        private.remove("pod");
        private.remove("node");
        let error = review(&answer(), &unbound).unwrap_err();
        assert_eq!(error, TokenReviewAnswerError::Disagrees { member: POD.name });
    }

    #[test]
    fn what_is_quoted_of_an_error_has_no_room_for_a_token() {
        let error = refused("/status/error", json!("s".repeat(500)));
        assert!(error.to_string().len() < 150, "{error}");
    }
}

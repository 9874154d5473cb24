//! Revocation: which lists are taken, whose they are, and what they do to a path.

#![cfg(test)]

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{OutsideValidity, Timestamp};
use zt_identity::authority::{
    Authority, AuthorityError, CRL_LIFETIME, CrlDefect, CrlRequest, Defect, Intermediate,
};
use zt_identity::bundle::BundleSet;
use zt_identity::certificate::Certificate;
use zt_identity::der::DerError;
use zt_identity::pem::PemError;
use zt_identity::revocation::{
    MAX_ENTRIES, MAX_LIST_LEN, Revocation, RevocationError, RevocationList, RevocationListError,
    RevocationLists,
};
use zt_identity::x509_svid::{X509SvidError, X509SvidVerifier};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn authority() -> Authority {
    authority_of("example.org")
}

fn authority_of(domain: &str) -> Authority {
    Authority::new(TrustDomain::from_name(domain).unwrap(), NOW).unwrap()
}

fn bundles(authority: &Authority, lists: impl IntoIterator<Item = RevocationList>) -> BundleSet {
    BundleSet::new().with(authority.bundle()).with_revocation_lists(lists.into_iter().collect())
}

type Chain = Vec<CertificateDer<'static>>;

fn chain(authority: &Authority) -> Chain {
    authority.request("/a").issue().unwrap().0
}

fn chain_through(authority: &Authority, intermediate: &Intermediate) -> Chain {
    authority.request("/a").through(intermediate).issue().unwrap().0
}

fn verify_as(
    revocation: Revocation,
    chain: &[CertificateDer<'_>],
    bundles: &BundleSet,
) -> Result<(), X509SvidError> {
    X509SvidVerifier::new().with_revocation(revocation).verify(chain, bundles, NOW).map(drop)
}

fn verify(chain: &[CertificateDer<'_>], bundles: &BundleSet) -> Result<(), X509SvidError> {
    X509SvidVerifier::new().verify(chain, bundles, NOW).map(drop)
}

fn revoked(position: usize) -> Result<(), X509SvidError> {
    Err(X509SvidError::Revocation(RevocationError::Revoked { position }))
}

fn unknown(position: usize) -> Result<(), X509SvidError> {
    Err(X509SvidError::Revocation(RevocationError::Unknown { position }))
}

fn list(request: CrlRequest<'_>) -> RevocationList {
    request.list().unwrap()
}

fn refusal(defect: CrlDefect) -> RevocationListError {
    let authority = authority();
    let der = authority.crl().revoking_serials([vec![7]]).with_defect(defect).der().unwrap();
    RevocationList::from_der(&der).unwrap_err()
}

#[test]
fn a_list_says_what_was_put_on_it() {
    let authority = authority();
    let chain = chain(&authority);
    let list = list(authority.crl().numbered(0x1_0000).revoking(&chain[0]).unwrap());
    let leaf = Certificate::parse(&chain[0]).unwrap();
    assert!(list.revokes(leaf.serial()));
    assert!(!list.revokes(&[7]));
    assert_eq!((list.len(), list.is_empty()), (1, false));
    assert_eq!(list.number(), [1, 0, 0]);
    assert_eq!(list.validity().not_after(), NOW.saturating_add(CRL_LIFETIME));
    let root = authority.bundle().roots()[0].certificate().clone();
    let root = Certificate::parse(&root).unwrap();
    assert_eq!(list.issuer(), root.subject());
    assert!(list.is_signed_by(&root));
    assert!(!list.is_signed_by(&leaf));
}

#[test]
fn a_list_that_is_too_long_is_not_read() {
    let refused = RevocationList::from_der(&vec![0; MAX_LIST_LEN + 1]).unwrap_err();
    assert_eq!(refused, RevocationListError::TooLong { len: MAX_LIST_LEN + 1 });
    assert_eq!(refused.fault(), Fault::Authority);
}

#[test]
fn a_list_of_too_many_entries_is_refused_and_one_of_the_most_is_taken() {
    let authority = authority();
    let serials = |count: usize| (0..count).map(|n| [&[1][..], &n.to_be_bytes()[4..]].concat());
    let most = authority.crl().revoking_serials(serials(MAX_ENTRIES)).der().unwrap();
    assert_eq!(RevocationList::from_der(&most).unwrap().len(), MAX_ENTRIES);
    let more = authority.crl().revoking_serials(serials(MAX_ENTRIES + 1)).der().unwrap();
    assert!(more.len() < MAX_LIST_LEN);
    assert_eq!(RevocationList::from_der(&more), Err(RevocationListError::TooManyEntries));
}

#[test]
fn bytes_behind_a_list_are_refused() {
    assert_eq!(
        refusal(CrlDefect::TrailingByte),
        RevocationListError::Der { part: "frame", source: DerError::TrailingBytes }
    );
}

#[test]
fn a_list_of_version_1_is_refused() {
    assert_eq!(refusal(CrlDefect::Version1), RevocationListError::Version);
}

#[test]
fn a_list_that_names_two_signature_algorithms_is_refused() {
    assert_eq!(refusal(CrlDefect::SignatureAlgorithms), RevocationListError::SignatureAlgorithms);
}

#[test]
fn a_list_of_nobody_is_refused() {
    assert_eq!(refusal(CrlDefect::NoIssuer), RevocationListError::NoIssuer);
}

#[test]
fn a_list_without_next_update_is_refused() {
    assert_eq!(refusal(CrlDefect::NoNextUpdate), RevocationListError::NoNextUpdate);
}

#[test]
fn a_list_that_ends_before_it_begins_is_refused() {
    assert!(matches!(refusal(CrlDefect::Backwards), RevocationListError::Validity(_)));
}

#[test]
fn an_entry_with_a_critical_extension_is_refused() {
    assert_eq!(
        refusal(CrlDefect::EntryOfOtherIssuer),
        RevocationListError::CriticalInEntry { oid: [0x55, 0x1d, 29].into() }
    );
}

#[test]
fn a_delta_list_is_refused() {
    assert_eq!(refusal(CrlDefect::Delta), RevocationListError::Delta);
}

#[test]
fn a_scoped_list_is_refused() {
    assert_eq!(refusal(CrlDefect::Scoped), RevocationListError::Scoped);
}

#[test]
fn an_indirect_list_is_refused() {
    assert_eq!(refusal(CrlDefect::Indirect), RevocationListError::Indirect);
}

#[test]
fn a_list_with_an_unknown_critical_extension_is_refused() {
    assert_eq!(
        refusal(CrlDefect::UnknownCritical),
        RevocationListError::UnknownCritical { oid: [0x55, 0x1d, 99].into() }
    );
}

#[test]
fn a_list_with_an_extension_twice_is_refused() {
    assert_eq!(refusal(CrlDefect::DuplicateExtension), RevocationListError::DuplicateExtension);
}

#[test]
fn a_list_without_a_number_is_refused() {
    assert_eq!(refusal(CrlDefect::NoNumber), RevocationListError::NoNumber);
}

#[test]
fn a_list_whose_number_is_critical_or_negative_is_refused() {
    assert_eq!(refusal(CrlDefect::NumberCritical), RevocationListError::NumberCritical);
    assert_eq!(
        refusal(CrlDefect::NumberNegative),
        RevocationListError::Der { part: "number", source: DerError::BadValue }
    );
}

#[test]
fn a_serial_number_of_more_than_20_octets_is_refused() {
    let der = authority().crl().revoking_serials([vec![1; 21]]).der().unwrap();
    assert_eq!(
        RevocationList::from_der(&der),
        Err(RevocationListError::Der { part: "entries", source: DerError::BadValue })
    );
}

#[test]
fn a_list_that_is_cut_anywhere_is_refused() {
    let der = authority().crl().revoking_serials([vec![7]]).der().unwrap();
    for end in 0..der.len() {
        assert!(RevocationList::from_der(&der[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_revoked_leaf_is_refused_and_another_is_not() {
    let authority = authority();
    let (gone, stays) = (chain(&authority), chain(&authority));
    let bundles = bundles(&authority, [list(authority.crl().revoking(&gone[0]).unwrap())]);
    for revocation in [Revocation::IfPresent, Revocation::Required] {
        assert_eq!(verify_as(revocation, &gone, &bundles), revoked(0));
        assert_eq!(verify_as(revocation, &stays, &bundles), Ok(()));
    }
    let refused = verify(&gone, &bundles).unwrap_err();
    assert_eq!(refused.fault(), Fault::Peer);
    assert_eq!(refused.to_string(), "certificate 0 of the path is revoked");
}

#[test]
fn off_looks_at_no_list() {
    let authority = authority();
    let chain = chain(&authority);
    let lists = [list(authority.crl().revoking(&chain[0]).unwrap())];
    assert_eq!(verify_as(Revocation::Off, &chain, &bundles(&authority, lists)), Ok(()));
}

#[test]
fn without_a_list_required_denies_and_if_present_does_not() {
    let authority = authority();
    let chain = chain(&authority);
    assert_eq!(verify(&chain, &bundles(&authority, [])), Ok(()));
    let refused = verify_as(Revocation::Required, &chain, &bundles(&authority, []));
    assert_eq!(refused, unknown(0));
    assert_eq!(refused.unwrap_err().fault(), Fault::Authority);
}

#[test]
fn a_stale_list_denies_everyone() {
    let authority = authority();
    let chain = chain(&authority);
    for defect in [CrlDefect::Stale, CrlDefect::NotYetCurrent] {
        let bundles = bundles(&authority, [list(authority.crl().with_defect(defect))]);
        let refused = verify(&chain, &bundles).unwrap_err();
        assert!(
            matches!(
                refused,
                X509SvidError::Revocation(RevocationError::Stale { position: 0, .. })
            ),
            "{refused:?}"
        );
        assert_eq!(refused.fault(), Fault::Authority);
    }
}

#[test]
fn a_list_goes_stale_while_it_is_held() {
    let authority = authority();
    let bundles = bundles(&authority, [list(authority.crl().lasting(HOUR / 2))]);
    let chain = chain(&authority);
    let at = |now| X509SvidVerifier::new().verify(&chain, &bundles, now).map(drop);
    assert_eq!(at(NOW.saturating_add(HOUR / 2)), Ok(()));
    let late = NOW.saturating_add(HOUR / 2).saturating_add(Duration::from_secs(1));
    let not_after = NOW.saturating_add(HOUR / 2);
    let source = OutsideValidity::Expired { now: late, not_after };
    assert_eq!(
        at(late),
        Err(X509SvidError::Revocation(RevocationError::Stale { position: 0, source }))
    );
}

#[test]
fn the_highest_number_counts_in_whatever_order_lists_come() {
    let authority = authority();
    let chain = chain(&authority);
    let old = list(authority.crl().numbered(9).with_defect(CrlDefect::Stale));
    let newer = list(authority.crl().numbered(300).revoking(&chain[0]).unwrap());
    let older = list(authority.crl().numbered(255));
    for lists in [
        [old.clone(), newer.clone(), older.clone()],
        [newer.clone(), older.clone(), old.clone()],
        [older, old, newer],
    ] {
        assert_eq!(verify(&chain, &bundles(&authority, lists)), revoked(0));
    }
}

#[test]
fn of_equal_numbers_the_one_issued_last_counts() {
    let authority = authority();
    let chain = chain(&authority);
    let first = list(authority.crl().at(NOW.saturating_sub(HOUR)));
    let last = list(authority.crl().revoking(&chain[0]).unwrap());
    for lists in [[first.clone(), last.clone()], [last, first]] {
        assert_eq!(verify(&chain, &bundles(&authority, lists)), revoked(0));
    }
}

#[test]
fn a_list_under_the_right_name_by_the_wrong_key_is_nobodys() {
    let authority = authority();
    let chain = chain(&authority);
    let forged = authority.crl().numbered(9).revoking(&chain[0]).unwrap();
    let forged = list(forged.with_defect(CrlDefect::WrongSigner));
    let with_forged = bundles(&authority, [forged.clone()]);
    assert_eq!(verify(&chain, &with_forged), Ok(()));
    assert_eq!(verify_as(Revocation::Required, &chain, &with_forged), unknown(0));
    assert_eq!(with_forged.revocation_lists().unclaimed().count(), 1);
    // It does not hide the true one, whatever number it claims.
    let both = bundles(&authority, [forged, list(authority.crl().revoking(&chain[0]).unwrap())]);
    assert_eq!(verify(&chain, &both), revoked(0));
    assert_eq!(both.revocation_lists().unclaimed().count(), 1);
}

#[test]
fn a_list_of_another_authority_of_the_same_name_says_nothing() {
    let (ours, namesake) = (authority(), authority());
    let chain = chain(&ours);
    let theirs = list(namesake.crl().numbered(9).revoking(&chain[0]).unwrap());
    assert_eq!(verify(&chain, &bundles(&ours, [theirs])), Ok(()));
}

#[test]
fn a_list_counts_for_the_trust_domain_of_its_issuer_only() {
    let (ours, other) = (authority(), authority_of("other.test"));
    let chain = chain(&ours);
    let theirs = list(other.crl().revoking(&chain[0]).unwrap());
    let both = bundles(&ours, [theirs]).with(other.bundle());
    assert_eq!(verify(&chain, &both), Ok(()));
    assert_eq!(both.revocation_lists().unclaimed().count(), 0);
}

#[test]
fn a_revoked_intermediate_takes_its_leaves_along() {
    let authority = authority();
    let (gone, stays) = (authority.intermediate().unwrap(), authority.intermediate().unwrap());
    let list = list(authority.crl().revoking(gone.certificate()).unwrap());
    let bundles = bundles(&authority, [list]);
    assert_eq!(verify(&chain_through(&authority, &gone), &bundles), revoked(1));
    assert_eq!(verify(&chain_through(&authority, &stays), &bundles), Ok(()));
}

#[test]
fn another_path_may_lead_past_a_revoked_intermediate() {
    let authority = authority();
    let old = authority.intermediate().unwrap();
    let new = old.renewed(&authority).unwrap();
    let list = list(authority.crl().revoking(old.certificate()).unwrap());
    let bundles = bundles(&authority, [list]);
    let mut chain = chain_through(&authority, &old);
    assert_eq!(verify(&chain, &bundles), revoked(1));
    chain.push(new.clone());
    assert_eq!(verify(&chain, &bundles), Ok(()));
    chain.swap(1, 2);
    assert_eq!(verify(&chain, &bundles), Ok(()));
    assert_eq!(verify(&[chain[0].clone(), new], &bundles), Ok(()));
}

#[test]
fn a_leaf_that_its_intermediate_revokes_is_refused() {
    let authority = authority();
    let intermediate = authority.intermediate().unwrap();
    let (gone, stays) =
        (chain_through(&authority, &intermediate), chain_through(&authority, &intermediate));
    let list = list(intermediate.crl(NOW).revoking(&gone[0]).unwrap());
    let bundles = bundles(&authority, [list]);
    assert_eq!(bundles.revocation_lists().unclaimed().count(), 1);
    assert_eq!(verify(&gone, &bundles), revoked(0));
    assert_eq!(bundles.revocation_lists().unclaimed().count(), 0);
    assert_eq!(verify(&gone, &bundles), revoked(0));
    assert_eq!(verify(&stays, &bundles), Ok(()));
}

#[test]
fn intermediates_of_one_name_have_their_own_lists() {
    let authority = authority();
    let (one, two) = (authority.intermediate().unwrap(), authority.intermediate().unwrap());
    let (of_one, of_two) = (chain_through(&authority, &one), chain_through(&authority, &two));
    // Each is on the list of the other, which has not issued it.
    let crossed = bundles(
        &authority,
        [
            list(one.crl(NOW).revoking(&of_two[0]).unwrap()),
            list(two.crl(NOW).revoking(&of_one[0]).unwrap()),
        ],
    );
    for _ in 0..2 {
        assert_eq!(verify(&of_one, &crossed), Ok(()));
        assert_eq!(verify(&of_two, &crossed), Ok(()));
    }
    let own = bundles(&authority, [list(two.crl(NOW).revoking(&of_two[0]).unwrap())]);
    for _ in 0..2 {
        assert_eq!(verify(&of_one, &own), Ok(()));
        assert_eq!(verify(&of_two, &own), revoked(0));
    }
}

#[test]
fn required_wants_a_list_of_every_issuer() {
    let authority = authority();
    let intermediate = authority.intermediate().unwrap();
    let chain = chain_through(&authority, &intermediate);
    let of_root = || list(authority.crl());
    let of_intermediate = || list(intermediate.crl(NOW));
    let required = |lists: Vec<RevocationList>| {
        verify_as(Revocation::Required, &chain, &bundles(&authority, lists))
    };
    assert_eq!(required(vec![of_root()]), unknown(0));
    assert_eq!(required(vec![of_intermediate()]), unknown(1));
    assert_eq!(required(vec![of_root(), of_intermediate()]), Ok(()));
}

#[test]
fn a_list_that_its_issuer_may_not_sign_denies() {
    let authority = authority();
    let issuer = authority.defective_intermediate(Defect::IntermediateNoCrlSign).unwrap();
    let chain = chain_through(&authority, &issuer);
    assert_eq!(verify(&chain, &bundles(&authority, [])), Ok(()));
    assert_eq!(verify(&chain, &bundles(&authority, [list(issuer.crl(NOW))])), unknown(0));
}

#[test]
fn order_of_bundles_and_lists_does_not_matter() {
    let authority = authority();
    let chain = chain(&authority);
    let list = list(authority.crl().revoking(&chain[0]).unwrap());
    let lists_first = BundleSet::new().with_revocation_list(list.clone()).with(authority.bundle());
    let lists_last = BundleSet::new().with(authority.bundle()).with_revocation_list(list);
    for bundles in [&lists_first, &lists_last] {
        assert_eq!(bundles.revocation_lists().unclaimed().count(), 0);
        assert_eq!(verify(&chain, bundles), revoked(0));
    }
    assert_eq!(lists_first, lists_last);
}

#[test]
fn an_authority_revokes_one_after_the_other() {
    let authority = authority();
    let identities = [authority.svid("/a").unwrap(), authority.svid("/b").unwrap()];
    let lists = identities.each_ref().map(|identity| authority.revoke(identity).unwrap());
    assert_eq!(lists.each_ref().map(RevocationList::len), [1, 2]);
    let bundles = bundles(&authority, lists);
    for identity in identities {
        assert_eq!(verify(identity.chain(), &bundles), revoked(0));
    }
}

#[test]
fn a_file_is_pem_of_lists_only_or_the_der_of_one() {
    let authority = authority();
    let pem = |number| authority.crl().numbered(number).pem().unwrap();
    let two = pem(1) + &pem(2);
    assert_eq!(RevocationLists::from_file(two.as_bytes()).unwrap().iter().count(), 2);
    let mut der = authority.crl().der().unwrap();
    assert_eq!(RevocationLists::from_file(&der).unwrap().iter().count(), 1);
    der.push(0);
    assert!(RevocationLists::from_file(&der).is_err());
    for (text, refused) in [
        (String::new(), PemError::NoRevocationList),
        (
            pem(1) + "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            PemError::UnexpectedSection { label: "CERTIFICATE".into() },
        ),
    ] {
        let read = RevocationLists::from_file(text.as_bytes());
        assert_eq!(read, Err(RevocationListError::Pem(refused)));
    }
}

#[test]
fn a_list_is_held_once() {
    let list = list(authority().crl());
    let lists = RevocationLists::new().with(list.clone()).with(list.clone());
    assert_eq!(lists.iter().collect::<Vec<_>>(), [&list]);
}

#[test]
fn what_an_authority_issues_with_a_defect_is_refused_as_a_list() {
    let refused = authority().crl().with_defect(CrlDefect::Delta).list().unwrap_err();
    assert!(
        matches!(refused, AuthorityError::RevocationList(RevocationListError::Delta)),
        "{refused:?}"
    );
}

//! How callers are written down.

use crate::principal::Principal;

/// Of how many callers it is remembered.
const CALLERS: usize = 1_024;
/// The longest text of a caller that is remembered, in bytes: all together are 4 MiB at most, beside the
/// callers themselves.
const MAX_WRITTEN: usize = 4_096;
/// Spreads places, which are addresses.
const MIX: usize = 0x9e37_79b1;

/// How callers are written: most of a record, and the same each time that one calls. It is remembered of
/// one who comes a second time with nobody between who has his place here, so that those who come once
/// cost nothing.
pub(super) struct Callers(Vec<Known>);

#[derive(Default)]
struct Known {
    place: [usize; 3],
    // With whom the place is nobody else's as long as this is kept.
    written: Option<(Principal, Box<[u8]>)>,
}

impl Callers {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends this caller as JSON.
    pub(super) fn write(
        &mut self,
        caller: &Principal,
        into: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        self.0.resize_with(CALLERS, Known::default);
        let place = caller.place();
        let mixed = place.iter().fold(0, |mixed: usize, part| (mixed ^ part).wrapping_mul(MIX));
        let Some(known) = self.0.get_mut((mixed >> 16) % CALLERS) else {
            return serde_json::to_writer(into, caller);
        };
        if let Some((_, written)) = known.written.as_ref().filter(|_| known.place == place) {
            into.extend_from_slice(written);
            return Ok(());
        }
        let start = into.len();
        serde_json::to_writer(&mut *into, caller)?;
        let written = into.get(start..).filter(|written| written.len() <= MAX_WRITTEN);
        let again = written.filter(|_| known.place == place);
        let written = again.map(|written| (caller.clone(), written.into()));
        *known = Known { place, written };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Attributes;
    use crate::decision::{Answer, Decision, PolicyVersion};
    use crate::principal::{Device, User, Workload};
    use crate::record::{JsonLines, Record, RecordSink};
    use crate::request::{Action, Context, Request, Resource};
    use crate::spiffe::SpiffeId;
    use crate::time::Timestamp;
    use crate::verified::Verified;

    fn web() -> Verified<Principal> {
        let id = SpiffeId::parse("spiffe://example.org/web").unwrap();
        Verified::mint(Principal::new(Workload::new(id)))
    }

    fn of_user(name: String) -> Verified<Principal> {
        web().on_behalf_of(Verified::mint(User::new("i", name)))
    }

    #[test]
    fn a_line_is_what_its_record_serializes_to_however_often_its_caller_came_before() {
        let device = Verified::mint(Device::new("d", Attributes::new()));
        let callers: Vec<_> = (0..CALLERS + 10)
            .map(|n| of_user(format!("u{}", n / 2)))
            .chain([web(), web().from_device(device), of_user("long".repeat(MAX_WRITTEN))])
            .collect();
        let arrived = Context::at(Timestamp::EPOCH);
        let nobody = || Record::refusal(&arrived, None, "no_credential");
        let thrice = callers.iter().flat_map(|caller| [caller; 3]);
        let again = callers.iter().rev();
        let (action, orders) = (Action::new("GET"), Resource::new("Route", "/orders"));
        let mut answers = (0..).map(|n| match n % 3 {
            0 => Answer::allowed("a \"quoted\" policy".into()),
            1 => Answer::forbidden("b"),
            _ => Answer::not_permitted(),
        });
        let mut records = vec![nobody(), nobody().about(&action, &orders)];
        for caller in thrice.chain(again) {
            let request = Request::new(caller, &action, &orders, &arrived);
            let version = PolicyVersion::new(7, [0xab; 32]);
            let decision = Decision::of(&request, version, |_| answers.next().unwrap());
            records.extend([nobody().by(caller), Record::of(&decision)]);
        }
        let mut lines = JsonLines::new(Vec::new());
        for batch in records.chunks(100) {
            lines.append(batch).unwrap();
        }
        let written = str::from_utf8(lines.get_ref()).unwrap().lines();
        let expected = records.iter().map(|record| serde_json::to_string(record).unwrap());
        assert!(written.eq(expected));
    }

    #[test]
    fn who_comes_twice_is_remembered_and_who_comes_once_or_is_long_is_not() {
        let (mut callers, mut into) = (Callers::new(), Vec::new());
        let remembered =
            |callers: &Callers| callers.0.iter().filter(|known| known.written.is_some()).count();
        let once: Vec<_> = (0..2 * CALLERS).map(|n| of_user(n.to_string())).collect();
        once.iter().for_each(|caller| callers.write(caller, &mut into).unwrap());
        assert_eq!(remembered(&callers), 0);
        for caller in [of_user("long".repeat(MAX_WRITTEN)), of_user("twice".into())] {
            callers.write(&caller, &mut into).unwrap();
            callers.write(&caller, &mut into).unwrap();
        }
        assert_eq!((remembered(&callers), callers.0.len()), (1, CALLERS));
    }
}

//! Entities, and a request about them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::name::EntityUid;
use crate::value::Record;

/// What is known about one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its name.
    pub uid: EntityUid,
    /// Its attributes.
    pub attributes: Record,
    /// The entities that it is in directly; those that these are in are found by following them.
    pub parents: BTreeSet<EntityUid>,
    /// Its tags, which are not attributes.
    pub tags: Record,
}

impl Entity {
    /// An entity of which nothing is known but that it exists.
    #[must_use]
    pub const fn new(uid: EntityUid) -> Self {
        Self { uid, attributes: Record::new(), parents: BTreeSet::new(), tags: Record::new() }
    }
}

/// Entities by their names: some of their own, over others that they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entities {
    own: HashMap<EntityUid, Entity>,
    base: Option<Arc<Entities>>,
}

impl Entities {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All of `base`, without a copy.
    #[must_use]
    pub fn over(base: Arc<Self>) -> Self {
        Self { own: HashMap::new(), base: Some(base) }
    }

    /// The entities of its own, in no order.
    pub fn own(&self) -> impl Iterator<Item = &Entity> {
        self.own.values()
    }

    /// All entities, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entity> {
        let mut layer = Some(self);
        let layers = std::iter::from_fn(move || {
            let next = layer?;
            layer = next.base.as_deref();
            Some(next)
        });
        layers.flat_map(|layer| layer.own.keys()).filter_map(|uid| self.get(uid))
    }

    /// The entity of this name.
    #[must_use]
    pub fn get(&self, uid: &EntityUid) -> Option<&Entity> {
        self.own.get(uid).or_else(|| self.base.as_deref()?.get(uid))
    }

    /// Adds an entity. Where there is one of this name already, they become one: it has the
    /// parents of both, and where both have an attribute or tag of one name, that of the new one.
    pub fn insert(&mut self, mut entity: Entity) {
        if let Some(known) = self.get(&entity.uid) {
            entity.parents.extend(known.parents.iter().cloned());
            for (name, value) in &known.attributes {
                entity.attributes.entry(name.clone()).or_insert_with(|| value.clone());
            }
            for (name, value) in &known.tags {
                entity.tags.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        self.own.insert(entity.uid.clone(), entity);
    }

    /// Whether `entity` is `ancestor` or lies below it. An entity that is not known is in itself
    /// and in nothing else.
    #[must_use]
    pub fn is_in(&self, entity: &EntityUid, ancestor: &EntityUid) -> bool {
        let mut open = vec![entity];
        let mut seen = HashSet::new();
        while let Some(next) = open.pop() {
            if next == ancestor {
                return true;
            }
            if seen.insert(next) {
                open.extend(self.get(next).iter().flat_map(|known| &known.parents));
            }
        }
        false
    }
}

impl Entities {
    /// An entity of its own that lies below itself, if there is one.
    pub(crate) fn circular(&self) -> Option<&EntityUid> {
        let mut done = HashSet::new();
        for start in self.own.keys() {
            // The way from `start` to here, each with the parents that are still to be followed.
            let mut way = vec![(start, self.parents(start))];
            let mut on_way = HashSet::from([start]);
            while let Some((at, parents)) = way.last_mut() {
                let at = *at;
                match parents.next() {
                    Some(parent) if on_way.contains(parent) => return Some(parent),
                    Some(parent) if done.contains(parent) => {}
                    Some(parent) => {
                        on_way.insert(parent);
                        way.push((parent, self.parents(parent)));
                    }
                    None => {
                        on_way.remove(at);
                        done.insert(at);
                        way.pop();
                    }
                }
            }
        }
        None
    }

    fn parents(&self, uid: &EntityUid) -> impl Iterator<Item = &EntityUid> + use<'_> {
        self.get(uid).into_iter().flat_map(|known| &known.parents)
    }
}

impl FromIterator<Entity> for Entities {
    fn from_iter<I: IntoIterator<Item = Entity>>(entities: I) -> Self {
        let mut all = Self::new();
        entities.into_iter().for_each(|entity| all.insert(entity));
        all
    }
}

/// What is asked of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub principal: EntityUid,
    /// What is to be done.
    pub action: EntityUid,
    /// To what.
    pub resource: EntityUid,
    /// What else is known.
    pub context: Arc<Record>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::EntityType;
    use crate::value::Value;

    fn group(id: &str) -> EntityUid {
        EntityUid::new(EntityType::parse("Group").unwrap(), id)
    }

    fn within(id: &str, parents: &[&str]) -> Entity {
        let mut entity = Entity::new(group(id));
        entity.parents = parents.iter().map(|parent| group(parent)).collect();
        entity
    }

    #[test]
    fn parents_are_followed_also_in_a_circle() {
        let entities: Entities =
            [within("a", &["b"]), within("b", &["c"]), within("c", &["a"])].into_iter().collect();
        assert!(entities.is_in(&group("a"), &group("c")));
        assert!(!entities.is_in(&group("a"), &group("d")));
    }

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        let chain = |last: &'static str| {
            let ids: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
            let link = |pair: &[String]| within(&pair[0], &[&pair[1]]);
            let mut all: Entities = ids.windows(2).map(link).collect();
            all.insert(within("1999", &[last, "unknown"]));
            all
        };
        assert_eq!(chain("elsewhere").circular(), None);
        assert!(chain("17").circular().is_some());
        assert_eq!(chain("1999").circular(), Some(&group("1999")));
    }

    #[test]
    fn an_unknown_entity_is_in_itself_alone() {
        let entities = Entities::new();
        assert!(entities.is_in(&group("x"), &group("x")));
        assert!(!entities.is_in(&group("x"), &group("y")));
    }

    #[test]
    fn an_overlay_adds_to_its_base_and_leaves_it_alone() {
        let mut below = within("a", &["b"]);
        below.attributes.insert("kept".into(), Value::from(1));
        below.attributes.insert("changed".into(), Value::from(1));
        let base: Arc<Entities> = Arc::new([below].into_iter().collect());
        let mut overlay = Entities::over(Arc::clone(&base));
        let mut above = within("a", &["c"]);
        above.attributes.insert("changed".into(), Value::from(2));
        overlay.insert(above);
        let merged = overlay.get(&group("a")).unwrap();
        assert_eq!(merged.attributes["kept"], Value::from(1));
        assert_eq!(merged.attributes["changed"], Value::from(2));
        assert!(overlay.is_in(&group("a"), &group("b")) && overlay.is_in(&group("a"), &group("c")));
        assert!(!base.is_in(&group("a"), &group("c")));
    }
}

//! The orders, in memory. Whoever changes one holds a permit for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use zt_core::decision::{NotCovered, Permit};
use zt_core::request::{Action, Resource};

pub const READ: Action = Action::from_static("read");
pub const EDIT: Action = Action::from_static("edit");
pub const REFUND: Action = Action::from_static("refund");

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    pub id: u32,
    pub owner: String,
    pub item: String,
    pub cents: u32,
    pub shipped: bool,
    pub refunded: bool,
}

impl Order {
    /// As policy sees it.
    pub fn resource(&self) -> Resource {
        unknown(self.id)
            .with("owner", &*self.owner)
            .with("cents", self.cents)
            .with("shipped", self.shipped)
            .with("refunded", self.refunded)
    }
}

/// An order of which nothing is known, perhaps because there is none.
pub fn unknown(id: u32) -> Resource {
    Resource::of_kind("Order", id.to_string())
}

/// Why an order is as it was.
#[derive(Debug)]
pub enum Unchanged {
    /// The permit is for something else: this program is wrong.
    NotCovered(NotCovered),
    /// It is not the order any more that the permit was given for.
    Changed,
}

#[derive(Debug, Default)]
pub struct Orders(Mutex<BTreeMap<u32, Order>>);

impl Orders {
    pub fn of(orders: impl IntoIterator<Item = Order>) -> Self {
        Self(Mutex::new(orders.into_iter().map(|order| (order.id, order)).collect()))
    }

    pub fn get(&self, id: u32) -> Option<Order> {
        self.lock().get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Order> {
        self.lock().values().cloned().collect()
    }

    /// Has another item ordered.
    pub fn edit(&self, permit: &Permit, order: &Order, item: String) -> Result<Order, Unchanged> {
        self.change(permit, &EDIT, order, |order| order.item = item)
    }

    /// Gives the money back.
    pub fn refund(&self, permit: &Permit, order: &Order) -> Result<Order, Unchanged> {
        self.change(permit, &REFUND, order, |order| order.refunded = true)
    }

    /// Leave was given for the order as it was read: where it has changed meanwhile, it is not
    /// leave for what it has become.
    fn change(
        &self,
        permit: &Permit,
        action: &Action,
        order: &Order,
        change: impl FnOnce(&mut Order),
    ) -> Result<Order, Unchanged> {
        permit.covers(action, &order.resource()).map_err(Unchanged::NotCovered)?;
        let mut orders = self.lock();
        let current = orders.get_mut(&order.id).filter(|current| *current == order);
        let current = current.ok_or(Unchanged::Changed)?;
        change(current);
        Ok(current.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

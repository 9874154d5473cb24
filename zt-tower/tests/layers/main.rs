//! The layers over the services of tower and axum, by their public API alone.

#[cfg(test)]
mod support;
#[cfg(test)]
mod authenticate;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod access_tokens;
#[cfg(test)]
mod axum;
#[cfg(test)]
mod dpop;
#[cfg(test)]
mod revocations;
#[cfg(test)]
mod events;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod workload_tokens;
#[cfg(test)]
mod forwarded;
#[cfg(test)]
mod load;
#[cfg(test)]
mod limits;
#[cfg(feature = "http")]
#[cfg(test)]
mod introspection;

//! Secrets that do not show themselves and are wiped when dropped.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A key, token or password: `Debug` shows `[redacted]`, dropping it wipes its memory.
///
/// There is no `Display`, no `Serialize` and no `PartialEq` (comparing secrets needs a
/// constant-time comparison). [`Secret::expose`] is the one way in, and easy to find in a review.
/// The type owns what it wipes: copies made before, or by a library that it is handed to, are not
/// reached.
///
/// ```
/// use zt_core::secret::Secret;
///
/// let key = Secret::new(b"hunter2".to_vec());
/// assert_eq!(format!("{key:?}"), "[redacted]");
/// assert_eq!(key.expose().len(), 7);
/// ```
///
/// It cannot be printed or serialized by accident:
///
/// ```compile_fail,E0277
/// let key = zt_core::secret::Secret::new(String::from("hunter2"));
/// println!("{key}");
/// ```
///
/// ```compile_fail,E0277
/// let key = zt_core::secret::Secret::new(String::from("hunter2"));
/// serde_json::to_string(&key).unwrap();
/// ```
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of `secret`.
    #[must_use]
    pub fn new(secret: T) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(secret: T) -> Self {
        Self::new(secret)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Witness(Rc<Cell<bool>>);

    impl Zeroize for Witness {
        fn zeroize(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_secret_is_wiped_when_dropped() {
        let wiped = Rc::new(Cell::new(false));
        drop(Secret::new(Witness(Rc::clone(&wiped))));
        assert!(wiped.get());
    }

    #[test]
    fn debug_shows_nothing_of_a_secret_inside_a_struct() {
        #[derive(Debug)]
        struct Login {
            #[expect(dead_code, reason = "read by Debug only")]
            password: Secret<String>,
        }
        let shown = format!("{:?}", Login { password: Secret::new("hunter2".into()) });
        assert_eq!(shown, "Login { password: [redacted] }");
    }
}

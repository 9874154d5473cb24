//! A form, as it is posted (`application/x-www-form-urlencoded`).

use std::fmt::{self, Write};

use zt_core::secret::Secret;

/// Names and values in the order in which they were added; wiped when it is dropped. What is sent
/// of it is a copy, which is not.
pub(crate) struct Form(Secret<String>);

impl Form {
    pub(crate) fn new() -> Self {
        Self(Secret::new(String::new()))
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        let before = self.0.expose();
        // Escapes make three of one.
        let most = name.len().saturating_add(value.len()).saturating_mul(3).saturating_add(2);
        let mut form = String::with_capacity(before.len().saturating_add(most));
        form.push_str(before);
        if !form.is_empty() {
            form.push('&');
        }
        escape_into(&mut form, name);
        form.push('=');
        escape_into(&mut form, value);
        Self(Secret::new(form))
    }

    pub(crate) fn text(&self) -> String {
        self.0.expose().clone()
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form(..)")
    }
}

/// A text in which every character but letters, digits and `*-._` is escaped, a space as `+`.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len().saturating_mul(3));
    escape_into(&mut escaped, text);
    escaped
}

fn escape_into(form: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b' ' => form.push('+'),
            b'*' | b'-' | b'.' | b'_' => form.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => form.push(char::from(byte)),
            // Writing into a string does not fail.
            byte => _ = write!(form, "%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_names_and_values() {
        let form = Form::new().with("a", "").with("b c", "&=+%é*-._~").with("d", "e f");
        assert_eq!(form.text(), "a=&b+c=%26%3D%2B%25%C3%A9*-._%7E&d=e+f");
        assert_eq!(format!("{form:?}"), "Form(..)");
    }

    fn unescape(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn no_value_runs_out_of_its_place(name in any::<String>(), value in any::<String>()) {
            let form = Form::new().with(&name, &value).with("end", "1").text();
            let fields: Vec<_> =
                form.split('&').map(|field| field.split_once('=').unwrap()).collect();
            prop_assert_eq!(fields.len(), 2);
            prop_assert_eq!((unescape(fields[0].0), unescape(fields[0].1)), (name, value));
            prop_assert_eq!(fields[1], ("end", "1"));
        }
    }
}

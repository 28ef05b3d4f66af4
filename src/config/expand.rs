//! `${VAR}` and `${VAR:-default}` in configuration values, as MCP hosts write them.
//! A `$` that opens no brace stays as it is: passwords have dollars in them.

/// Why a value could not be expanded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    /// The variable has no value and the text gives no default.
    #[error("environment variable {0} is not set; set it, or write ${{{0}:-default}}")]
    Unset(String),
    /// A `${` without its `}`.
    #[error("\"${{\" without a closing brace in a value")]
    Unclosed,
}

/// Replaces each `${VAR}` by `lookup("VAR")`. As in a shell, `:-` gives the value to use when the
/// variable is unset or empty. What is put in is not expanded again.
pub(super) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or(ExpandError::Unclosed)?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        match (lookup(name), default) {
            (Some(value), None) => out.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (None, None) => return Err(ExpandError::Unset(name.to_owned())),
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/ada".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOME}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_and_defaults_are_replaced() {
        for (text, expected) in [
            ("${HOME}/x", "/home/ada/x"),
            ("a${HOME}b${HOME}c", "a/home/adab/home/adac"),
            ("${NOPE:-fallback}", "fallback"),
            ("${EMPTY:-fallback}", "fallback"),
            ("[${EMPTY}]", "[]"),
            ("${NOPE:-}", ""),
            ("${HOME:-x}", "/home/ada"),
            ("pa$$word$5", "pa$$word$5"),
            ("${NESTED}", "${HOME}"),
        ] {
            assert_eq!(expand(text, &lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(expand("x${NOPE}", &lookup), Err(ExpandError::Unset("NOPE".to_owned())));
        assert_eq!(expand("x${HOME", &lookup), Err(ExpandError::Unclosed));
    }

    proptest! {
        #[test]
        fn text_without_an_opening_is_left_alone(text in "[^$]{0,40}") {
            prop_assert_eq!(expand(&text, &lookup), Ok(text));
        }

        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            drop(expand(&text, &lookup));
        }
    }
}

//! Environment variables in values: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar sign.

/// Replaces variables. The default counts where the variable is not set or empty, as in the shell.
///
/// # Errors
/// A sentence saying what is wrong and what to write.
pub(super) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (variable, after) = after
                .split_once('}')
                .ok_or("\"${\" is not closed; write \"${NAME}\", or \"$$\" for a dollar sign")?;
            out.push_str(&value(variable, environment)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn value(variable: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let valid = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.is_empty() || !name.chars().all(valid) {
        return Err(format!(
            "\"${{{variable}}}\" names no variable; write \"${{NAME}}\" or \"${{NAME:-default}}\""
        ));
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "environment variable {name} is not set; set it, or write \"${{{name}:-default}}\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        expand(text, &|name| match name {
            "HOST" => Some("sip.example".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_and_defaults() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${HOST}:5060", "sip.example:5060"),
            ("a${HOST}b${HOST}c", "asip.examplebsip.examplec"),
            ("${HOST:-x}", "sip.example"),
            ("${NONE:-ws://h/p?a=b:-c}", "ws://h/p?a=b:-c"),
            ("${NONE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("$$", "$"),
            ("$${HOST}", "${HOST}"),
            ("5$ $HOST", "5$ $HOST"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            (
                "${NONE}",
                "environment variable NONE is not set; set it, or write \"${NONE:-default}\"",
            ),
            (
                "${HOST",
                "\"${\" is not closed; write \"${NAME}\", or \"$$\" for a dollar sign",
            ),
            (
                "${}",
                "\"${}\" names no variable; write \"${NAME}\" or \"${NAME:-default}\"",
            ),
            (
                "${A B}",
                "\"${A B}\" names no variable; write \"${NAME}\" or \"${NAME:-default}\"",
            ),
        ] {
            assert_eq!(expanded(text), Err(expected.to_owned()), "{text}");
        }
    }
}

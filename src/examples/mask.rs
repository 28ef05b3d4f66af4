//! Takes out of a task what is nobody else's business before it is kept: secrets, addresses, long
//! numbers and long quotations. What is left still says what was wanted.

/// What stands in the place of something that was taken out.
const GAP: &str = "…";

/// A quotation longer than this is content, not part of the request. In characters.
const MAX_QUOTATION: usize = 40;
/// A run of so many digits is an account, a phone or a card.
const MAX_DIGITS: usize = 7;
/// A word of so many characters with letters and digits mixed is a key.
const MIN_KEY: usize = 20;
/// Words after which a secret stands.
const SECRET_NAMES: [&str; 9] =
    ["password", "passwd", "passwort", "token", "secret", "apikey", "api_key", "key", "bearer"];
/// Beginnings of well-known kinds of keys.
const KEY_PREFIXES: [&str; 12] =
    ["sk-", "pk_", "rk_", "sk_", "ghp_", "gho_", "github_pat_", "glpat-", "xox", "AKIA", "eyJ", "AIza"];

/// The task without secrets and long literals, on one line.
pub fn mask(task: &str) -> String {
    let task = without_long_quotations(task);
    let mut words: Vec<String> = Vec::new();
    let mut after_secret_name = false;
    for word in task.split_whitespace() {
        let masked = if after_secret_name && !is_filler(word) { GAP.to_owned() } else { mask_word(word) };
        after_secret_name = if after_secret_name { is_filler(word) } else { names_secret(word) };
        if !(masked == GAP && words.last().is_some_and(|last| last == GAP)) {
            words.push(masked);
        }
    }
    words.join(" ")
}

/// Words between the name of a secret and the secret: "the password is …".
fn is_filler(word: &str) -> bool {
    ["is", "=", ":", "ist", "lautet", "to", "for", "of"].contains(&word.to_lowercase().as_str())
}

/// "password" or "password:", but not "passwords".
fn names_secret(word: &str) -> bool {
    let word = word.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
    SECRET_NAMES.contains(&word.as_str())
}

fn mask_word(word: &str) -> String {
    // `password=hunter2`, `"token":"…"`
    if let Some((name, value)) = word.split_once(['=', ':'])
        && names_secret(name)
        && !value.is_empty()
    {
        return format!("{name}={GAP}");
    }
    let core = word.trim_matches(|character: char| "\"'`()[]{}<>,;.!?".contains(character));
    let is_address = core.contains('@') && core.rsplit('@').next().is_some_and(|host| host.contains('.'));
    if is_address || is_key(core) || has_long_number(core) {
        return word.replacen(core, GAP, 1);
    }
    // A query string is where links carry their credentials.
    match core.split_once('?') {
        Some((page, query)) if page.contains("://") => word.replacen(&format!("?{query}"), "", 1),
        _ => word.to_owned(),
    }
}

fn is_key(word: &str) -> bool {
    let length = word.chars().count();
    if length >= 12 && KEY_PREFIXES.iter().any(|prefix| word.starts_with(prefix)) {
        return true;
    }
    let plain =
        word.chars().all(|character| character.is_ascii_alphanumeric() || "+/=_-.".contains(character));
    length >= MIN_KEY
        && plain
        && word.chars().filter(char::is_ascii_digit).count() >= 3
        && word.chars().any(|character| character.is_ascii_alphabetic())
        && !word.contains("..")
        && word.matches('/').count() < 2
}

fn has_long_number(word: &str) -> bool {
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).count();
    let only_number =
        word.chars().all(|character| character.is_ascii_digit() || "+-./ ()".contains(character));
    let is_date = word.len() <= 10 && word.matches(['-', '/', '.']).count() == 2;
    (only_number && digits(word) >= MAX_DIGITS && !is_date)
        || word.split(|character: char| !character.is_ascii_digit()).any(|run| run.len() > MAX_DIGITS + 1)
}

/// Replaces what stands in quotation marks and is long.
fn without_long_quotations(task: &str) -> String {
    let mut rest = task;
    let mut out = String::with_capacity(task.len());
    while let Some(start) = rest.find(['"', '“', '„', '«', '`']) {
        let opening = rest[start..].chars().next().unwrap_or('"');
        let closing: &[char] = match opening {
            '“' => &['”'],
            '„' => &['“', '”'],
            '«' => &['»'],
            '`' => &['`'],
            _ => &['"'],
        };
        let inside = start + opening.len_utf8();
        let Some(length) = rest[inside..].find(closing) else { break };
        let end = inside + length;
        let quoted = &rest[inside..end];
        out.push_str(&rest[..inside]);
        out.push_str(if quoted.chars().count() > MAX_QUOTATION { GAP } else { quoted });
        let close = rest[end..].chars().next().unwrap_or('"');
        out.push(close);
        rest = &rest[end + close.len_utf8()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_and_long_literals_are_taken_out() {
        for (task, masked) in [
            ("log in with password hunter2 please", "log in with password … please"),
            ("set the token to abc", "set the token to …"),
            ("use password=hunter2 there", "use password=… there"),
            ("mail dana@example.com about lunch", "mail … about lunch"),
            ("push with ghp_A1b2C3d4E5f6G7h8I9j0", "push with …"),
            ("deploy 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "deploy …"),
            ("call +49 170 5551234 now", "call +49 170 … now"),
            ("charge card 4111111111111111.", "charge card …."),
            ("open https://x.example/a?token=1&b=2", "open https://x.example/a"),
            (
                "post \"We are glad to tell you that everything is done and sent\" to the channel",
                "post \"…\" to the channel",
            ),
        ] {
            assert_eq!(mask(task), masked);
        }
    }

    #[test]
    fn what_says_what_is_wanted_stays() {
        for task in [
            "read src/main.rs and explain the parser",
            "close issue 318 in acme/storefront",
            "lunch with Dana on 2027-06-09 at 12:30",
            "rename \"Old name\" to \"New name\"",
            "what's 17 + 25",
            "résumé für Łódź übersetzen",
        ] {
            assert_eq!(mask(task), task);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_masked_without_growing_much(task in "\\PC{0,200}") {
            let masked = mask(&task);
            prop_assert!(masked.chars().count() <= task.chars().count() + 8);
        }

        #[test]
        fn no_key_survives(key in "sk-[A-Za-z0-9]{16,40}", before in "[a-z ]{0,20}", after in "[a-z ]{0,20}") {
            let task = format!("{before} {key} {after}");
            prop_assert!(!mask(&task).contains(&key));
        }
    }
}

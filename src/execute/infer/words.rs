//! Words of texts and names, brought to a common form.

/// Words in small letters; `patientId` and `patient_id` are two each.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for character in text.chars() {
        let joins = character.is_alphanumeric()
            && before.is_alphanumeric()
            && before.is_numeric() == character.is_numeric()
            && !(before.is_lowercase() && character.is_uppercase());
        if character.is_alphanumeric() {
            if !joins {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(character.to_lowercase());
            }
        }
        before = character;
    }
    words
}

/// The same without endings that say nothing here: `cities` is `city`, `named` is `nam`.
pub(super) fn stems(text: &str) -> Vec<String> {
    words(text).iter().map(|word| stem(word)).collect()
}

fn stem(word: &str) -> String {
    if let Some(start) = word.strip_suffix("ies").filter(|start| start.len() > 2) {
        return format!("{start}y");
    }
    let cut = ["ing", "ed", "es", "s", "e"].iter().find_map(|ending| {
        word.strip_suffix(ending).filter(|start| start.len() >= 3 && start.is_char_boundary(3))
    });
    cut.unwrap_or(word).to_owned()
}

/// Whether two stems mean the same: equal, or long and one the beginning of the other.
pub(super) fn alike(left: &str, right: &str) -> bool {
    let long = left.len() > 4 && right.len() > 4;
    left == right || (long && (left.starts_with(right) || right.starts_with(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sentences_become_the_same_words() {
        assert_eq!(words("patientID user_name v2"), ["patient", "id", "user", "name", "v", "2"]);
        assert_eq!(stems("Cities named"), ["city", "nam"]);
        assert_eq!(stems("name names"), ["nam", "nam"]);
        assert!(alike("scann", "scanner") && !alike("id", "idea"));
    }
}

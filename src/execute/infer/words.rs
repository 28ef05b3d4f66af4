//! Words of texts and names, brought to a common form.

use std::ops::Range;

/// Words in small letters with their places in bytes; `patientId` and `patient_id` are two each.
pub(super) fn words_at(text: &str) -> Vec<(Range<usize>, String)> {
    let mut words: Vec<(Range<usize>, String)> = Vec::new();
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        let joins = character.is_alphanumeric()
            && before.is_alphanumeric()
            && before.is_numeric() == character.is_numeric()
            && !(before.is_lowercase() && character.is_uppercase());
        if character.is_alphanumeric() {
            if !joins {
                words.push((at..at, String::new()));
            }
            if let Some((place, word)) = words.last_mut() {
                place.end = at + character.len_utf8();
                word.extend(character.to_lowercase());
            }
        }
        before = character;
    }
    words
}

/// The same without places, and without endings that say nothing here: `cities` is `city`, `named` is `nam`.
pub(super) fn stems(text: &str) -> Vec<String> {
    words_at(text).iter().map(|(_, word)| stem(word)).collect()
}

pub(super) fn stem(word: &str) -> String {
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
        let words = |text| words_at(text).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words("patientID user_name v2"), ["patient", "id", "user", "name", "v", "2"]);
        assert_eq!(words_at("a Über-Bus")[1], (2..7, "über".to_owned()));
        assert_eq!(stems("Cities named"), ["city", "nam"]);
        assert_eq!(stems("name names"), ["nam", "nam"]);
        assert!(alike("scann", "scanner") && !alike("id", "idea"));
    }
}

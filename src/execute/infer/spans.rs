//! What in a task may be a value: quoted words, addresses, paths, dates, numbers, names.

use std::{ops::Range, sync::LazyLock};

use jiff::{civil::Date, fmt::strtime};
use regex::Regex;
use serde::Serialize;

/// What a span was recognised as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Between quotes.
    Quoted,
    /// A web address.
    Url,
    /// An e-mail address.
    Email,
    /// An address of the internet protocol.
    Address,
    /// A path or a file name.
    Path,
    /// A day, as `2026-11-23`.
    Date,
    /// A time of day.
    Time,
    /// A number.
    Number,
    /// Letters and digits in one word, such as a key.
    Code,
    /// A word or several with capitals, within a sentence.
    Name,
    /// Words with a hyphen, which may be a name.
    Compound,
    /// One of the values that a parameter takes.
    Choice,
    /// A city that a time zone is named after, or a zone's name.
    TimeZone,
    /// The name of a parameter that is on or off.
    Switch,
    /// Half of `owner/repository`.
    Half,
    /// The whole task.
    Task,
}

impl SpanKind {
    /// Whether words of this kind may as well be part of the sentence, and no value at all.
    pub(super) fn may_be_no_value(self) -> bool {
        matches!(self, Self::Name | Self::Compound | Self::Choice | Self::TimeZone | Self::Switch)
    }
}

/// A part of the task that may be a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    /// Where it is, in bytes.
    pub place: Range<usize>,
    pub kind: SpanKind,
    /// Without quotes; a date as `2026-11-23`, a time as `09:30`, a number without separators.
    pub value: String,
    /// What it is for some parameters alone, by their places.
    pub forms: Vec<(usize, String)>,
}

impl Span {
    /// What it is for this parameter alone.
    pub(super) fn form(&self, parameter: usize) -> Option<&str> {
        self.forms.iter().find(|(place, _)| *place == parameter).map(|(_, form)| form.as_str())
    }

    /// Whether it is nothing but what some parameters alone take it for.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self.kind, SpanKind::Choice | SpanKind::TimeZone | SpanKind::Switch | SpanKind::Half)
    }
}

/// In this order: what an earlier pattern took, no later one takes again. The first group that takes part is the
/// value.
static PATTERNS: LazyLock<Vec<(SpanKind, Regex)>> = LazyLock::new(|| {
    let months = "January|February|March|April|May|June|July|August|September|October|November|December";
    let pattern = |text: &str| Regex::new(text).expect("a pattern of this file is valid");
    vec![
        (SpanKind::Quoted, pattern(r#""([^"]+)"|“([^”]+)”|„([^“]+)“|«([^»]+)»"#)),
        (SpanKind::Quoted, pattern(r"(?:^|[\s(])'([^']+)'(?:$|[\s).,;:!?])")),
        (SpanKind::Url, pattern(r#"[a-z][a-z0-9+.-]*://[^\s"'<>]*[^\s"'<>.,;:!?)]"#)),
        (SpanKind::Email, pattern(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")),
        (SpanKind::Address, pattern(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")),
        (SpanKind::Time, pattern(r"(?i)\b\d{1,2}(?::\d{2}(?::\d{2})?(?: ?[ap]\.?m)?| ?[ap]\.?m)\b")),
        (
            SpanKind::Path,
            pattern(
                r"(?:~|\.{1,2})?/[\w.-]*[\w-](?:/[\w.-]*[\w-])*/?|\b[\w-]+(?:/[\w.-]*[\w-])+/?|\B\.[\w-]+(?:\.\w+)+|\b[\w-]+(?:\.\w+)*\.[a-z]\w{0,4}\b",
            ),
        ),
        (SpanKind::Date, pattern(&format!(r"(?i)\b(?:{months}) \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}\b"))),
        (
            SpanKind::Date,
            pattern(&format!(r"(?i)\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? (?:{months}),? \d{{4}}\b")),
        ),
        (SpanKind::Date, pattern(r"\b\d{4}-\d{2}-\d{2}\b")),
        // With a unit or a comma a number is none that could be taken as it is.
        (SpanKind::Code, pattern(r"\b\d+[.,]\d+[A-Za-z]+\b|\b\d+,\d{1,2}\b")),
        (
            SpanKind::Code,
            pattern(
                r"\b(?:\w+(?:[-.]\w+)*-\w*\d\w*(?:-\w+)*|\w*\d\w*(?:-\w+)+|\d+(?:\.\d+){2,}|v\d+(?:\.\d+)+)\b",
            ),
        ),
        (SpanKind::Code, pattern(r"\b(?:[A-Za-z]+\d\w*|\d+[A-Za-z_]\w*|\w*[A-Za-z]_\w+)\b")),
        (SpanKind::Number, pattern(r"(?:-|\b)\d+(?:,\d{3})*(?:\.\d+)?\b")),
        (
            SpanKind::Name,
            pattern(r"[\p{Ll},] (\p{Lu}[\w'&-]+(?:(?: (?:of|the|and|de|van))? \p{Lu}[\w'&-]+)*)"),
        ),
        (SpanKind::Compound, pattern(r"\b[a-z]+(?:-[a-z]+)+\b")),
    ]
});

/// Words in capitals that name no value.
const NO_NAMES: &[&str] = &["ID", "IDs", "URL", "URLs", "API", "IP"];

/// All spans, in their order.
pub(super) fn spans(task: &str) -> Vec<Span> {
    let mut found: Vec<Span> = Vec::new();
    for (kind, pattern) in PATTERNS.iter() {
        for captures in pattern.captures_iter(task) {
            let Some(inner) = captures.iter().flatten().last() else { continue };
            // Quotes belong to what they hold; of a name's neighbours nothing does.
            let whole = captures.get(0).filter(|_| *kind == SpanKind::Quoted).unwrap_or(inner);
            let taken =
                found.iter().any(|span| span.place.start < whole.end() && whole.start() < span.place.end);
            let text = inner.as_str().trim();
            let names_nothing = match kind {
                SpanKind::Name => NO_NAMES.contains(&text) || text.starts_with("I'"),
                SpanKind::Path => is_no_path(text),
                _ => false,
            };
            if !(taken || text.is_empty() || names_nothing) {
                found.push(Span {
                    place: whole.range(),
                    kind: *kind,
                    value: value(*kind, text),
                    forms: Vec::new(),
                });
            }
        }
    }
    found.sort_by_key(|span| span.place.start);
    found
}

/// "and/or", "24/7" and "03/04/2026" are no paths.
fn is_no_path(text: &str) -> bool {
    const ALTERNATIVES: &[&str] =
        &["and/or", "either/or", "he/she", "his/her", "him/her", "n/a", "w/o", "yes/no", "km/h"];
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|character| character.is_ascii_digit());
    ALTERNATIVES.contains(&text.to_lowercase().as_str()) || text.split('/').all(is_number)
}

fn value(kind: SpanKind, text: &str) -> String {
    match kind {
        SpanKind::Number => text.replace(',', ""),
        SpanKind::Date => date(text).map_or_else(|| text.to_owned(), |date| date.to_string()),
        SpanKind::Time => time(text).unwrap_or_else(|| text.to_owned()),
        _ => text.to_owned(),
    }
}

/// "9:30" and "9 pm", on a clock of 24 hours; with seconds where they are said.
fn time(text: &str) -> Option<String> {
    let plain = text.replace([' ', '.'], "").to_lowercase();
    let formats = [
        ("%H:%M", "%H:%M"),
        ("%H:%M:%S", "%H:%M:%S"),
        ("%I:%M%p", "%H:%M"),
        ("%I:%M:%S%p", "%H:%M:%S"),
        ("%I%p", "%H:%M"),
    ];
    formats.iter().find_map(|(format, clock)| {
        let time = strtime::parse(format, &plain).ok()?.to_time().ok()?;
        Some(time.strftime(clock).to_string())
    })
}

/// The ending of a day's number.
static ORDINAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\d)(?:st|nd|rd|th)\b").expect("a pattern of this file is valid"));

/// "May 3rd, 2026" and "3 May 2026".
fn date(text: &str) -> Option<Date> {
    let plain = ORDINAL.replace_all(text, "$1").replace(',', "").replace(" of ", " ");
    ["%B %d %Y", "%d %B %Y", "%Y-%m-%d"]
        .iter()
        .find_map(|format| strtime::parse(format, &plain).ok()?.to_date().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(task: &str) -> Vec<(SpanKind, String)> {
        spans(task).into_iter().map(|span| (span.kind, span.value)).collect()
    }

    #[test]
    fn each_kind_is_recognised() {
        use SpanKind::{Address, Code, Date, Email, Name, Number, Path, Quoted, Time, Url};
        let cases: &[(&str, &[(SpanKind, &str)])] = &[
            (r#"Play "Midnight City" by 'M83'."#, &[(Quoted, "Midnight City"), (Quoted, "M83")]),
            ("open https://a.example/b?c=1, please", &[(Url, "https://a.example/b?c=1")]),
            ("mail ana.b@example.org about it", &[(Email, "ana.b@example.org")]),
            ("ping 192.168.1.20 now", &[(Address, "192.168.1.20")]),
            ("read src/main.rs and ~/notes/today.md", &[(Path, "src/main.rs"), (Path, "~/notes/today.md")]),
            ("on May 3rd, 2026 at 9:30", &[(Date, "2026-05-03"), (Time, "09:30")]),
            ("on 3 May 2026", &[(Date, "2026-05-03")]),
            ("from 9 pm to 10:15PM", &[(Time, "21:00"), (Time, "22:15")]),
            ("at 2:47 p.m. on stage", &[(Time, "14:47")]),
            ("add 17 and -2.5 to 1,200", &[(Number, "17"), (Number, "-2.5"), (Number, "1200")]),
            ("close PROJ-12 for w9nd66", &[(Code, "PROJ-12"), (Code, "w9nd66")]),
            ("what is on in New York and in Rome", &[(Name, "New York"), (Name, "Rome")]),
            ("the ID of it isn't known", &[]),
            ("files and/or folders, 24/7", &[(Number, "24"), (Number, "7")]),
            ("wait 1.5s or 2,5 seconds", &[(Code, "1.5s"), (Code, "2,5")]),
        ];
        for (task, expected) in cases {
            let expected: Vec<(SpanKind, String)> =
                expected.iter().map(|(kind, value)| (*kind, (*value).to_owned())).collect();
            assert_eq!(found(task), expected, "{task}");
        }
    }

    proptest! {
        #[test]
        fn spans_do_not_overlap(task in "\\PC{0,80}") {
            let spans = spans(&task);
            prop_assert!(spans.windows(2).all(|pair| pair[0].place.end <= pair[1].place.start));
            prop_assert!(spans.iter().all(|span| task.get(span.place.clone()).is_some()));
        }
    }
}

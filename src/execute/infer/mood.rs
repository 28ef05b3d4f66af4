//! Whether a task asks that something be done at all: "don't send it", "did you send it?" and "I already sent it" have
//! all the words of an order.

use std::sync::LazyLock;

use regex::Regex;

use crate::catalog::Effect;

/// Words that turn what follows into its opposite, or into a warning.
static NEGATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)\b(?: not | never | cannot | avoid | refrain | dont | no\ (?:need|circumstances|case|account|way|longer) )\b
          | n['’]t\b",
    )
    .expect("a pattern of this file is valid")
});

/// Words from the beginning in which a negation is about all of the task. Later it is about a part: "create an issue that
/// the login does not work".
const LEADING: usize = 3;

/// What may stand before the verb of an order or a request.
static BEFORE_AN_ORDER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)^(?: [\s,.!:;–-]
          | (?:please|pls|hey|hi|hello|okay|ok|so|now|also|and|then|just|kindly|quickly|first|next|finally)\b
          | (?:can|could|would|will)\ you\b | (?:can|could)\ we\b | (?:go\ ahead|proceed)\ and\b | (?:make|be)\ sure\ (?:that\ )?(?:you|to)\b | let(?:'s|\ us|s)\b
          | i(?:'d|\ would|)\ (?:like|want|need)\ (?:(?:you|us)\ )?to\b | we\ (?:want|need)\ (?:you\ )?to\b )+",
    )
    .expect("a pattern of this file is valid")
});

/// First words of questions and of reports.
const NO_ORDERS: &str = "am are did does had has he how i if is it she should that there they this was we were what when where \
    which who whom whose why you";

/// Whether a task asks for a call of a tool that does this. What only reads may be asked by a question as well.
pub(in crate::execute) fn asks_for(effect: Effect, task: &str) -> bool {
    !is_negated(task) && (effect == Effect::Reads || is_order(task))
}

fn is_negated(task: &str) -> bool {
    let leading: Vec<&str> = without_courtesy(task).split_whitespace().take(LEADING).collect();
    NEGATION.is_match(&leading.join(" "))
}

/// The task from its verb on.
fn without_courtesy(task: &str) -> &str {
    BEFORE_AN_ORDER.find(task).map_or(task, |before| &task[before.end()..])
}

fn is_order(task: &str) -> bool {
    let mut words =
        without_courtesy(task).split(|character: char| !character.is_alphanumeric()).map(str::to_lowercase);
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_among = |words: &str, word: &str| words.split(' ').any(|other| other == word);
    // "do we send it", and not "do it".
    let asks = is_among("do have", &first) && is_among("i you we they", &second);
    !first.is_empty() && !asks && !is_among(NO_ORDERS, &first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_orders_ask_for_what_is_more_than_a_look() {
        for (task, order, look) in [
            ("send the message", true, true),
            ("Hey, could you please send the message?", true, true),
            ("I'd like you to send the message", true, true),
            ("i want to send the message. Now!", true, true),
            ("Let's send it", true, true),
            ("do it", true, true),
            ("Do we send it?", false, true),
            ("open https://a.example and read it", true, true),
            ("don't send the message", false, false),
            ("Don’t send the message", false, false),
            ("do not list the events", false, false),
            ("never send it", false, false),
            ("Under no circumstances send it", false, false),
            ("please make sure you never send it", false, false),
            ("create an issue that the login does not work", true, true),
            ("list all but not the hidden ones", true, true),
            ("list no more than five", true, true),
            ("How do I send a message?", false, true),
            ("did you send the message", false, true),
            ("I already sent the message", false, true),
            ("what's in the message", false, true),
            ("please", false, true),
            ("", false, true),
        ] {
            assert_eq!(asks_for(Effect::Adds, task), order, "{task}");
            assert_eq!(asks_for(Effect::Destroys, task), order, "{task}");
            assert_eq!(asks_for(Effect::Reads, task), look, "{task}");
        }
    }
}

//! A task of several steps, taken apart: "find the report, then mail it to Ana" asks for two tools,
//! and as one text it is near to neither.

use std::ops::Range;

/// Most clauses of a task, since each costs a search; more are joined.
const MAX_CLAUSES: usize = 6;
/// Words that a clause has at least; a shorter one says too little by itself.
const MIN_WORDS: usize = 3;

/// What stands between two steps and belongs to neither, in the languages that most people write.
const CONNECTIVES: &[&str] = &[
    // A longer one before its beginning.
    "and after that",
    "and then",
    "and also",
    "after that",
    "then",
    "also",
    "afterwards",
    "finally",
    "additionally",
    "furthermore",
    "lastly",
    "next",
    "und danach",
    "und dann",
    "außerdem",
    "et ensuite",
    "et puis",
    "ensuite",
    "puis",
    "enfin",
    "y después",
    "y luego",
    "después",
    "luego",
    "además",
];
/// What joins things as well as steps: steps where a small letter follows ("Ana and Bob" are two people).
const JOINING: &[&str] = &["and", "und", "et", "y"];
/// What begins another clause after a comma.
const AFTER_COMMA: &[&str] = &["and", "but", "so", "und", "aber", "et", "mais", "y", "pero"];
/// The same where words are not set apart by spaces.
const AFTER_WIDE_COMMA: &[&str] = &["然后", "接着", "最后", "同时", "并", "再"];

/// The clauses of a task, in their order; none where it has only one.
pub(super) fn clauses(task: &str) -> Vec<&str> {
    let pieces = pieces(task);
    let mut clauses: Vec<Clause> = Vec::new();
    let mut open: Option<Clause> = None;
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let skipped = connective(task, &pieces, at);
        if skipped > 0 || begins_clause(task, &pieces, at) {
            clauses.extend(open.take());
        }
        if skipped > 0 {
            at += skipped;
            continue;
        }
        let clause = open.get_or_insert(Clause { span: piece.clone(), words: 0 });
        clause.span.end = piece.end;
        clause.words += words(&task[piece.clone()]);
        if task[piece.clone()].ends_with(['.', '!', '?', ';', ':', '。', '！', '？', '；']) {
            clauses.extend(open.take());
        }
        at += 1;
    }
    clauses.extend(open);
    let clauses = at_most(MAX_CLAUSES, without_short(clauses));
    if clauses.len() < 2 {
        return Vec::new();
    }
    clauses.into_iter().map(|clause| task[clause.span].trim_end_matches([',', '，'])).collect()
}

/// A part of the task, in bytes, and its words.
#[derive(Debug, Clone)]
struct Clause {
    span: Range<usize>,
    words: usize,
}

impl Clause {
    fn joined(self, next: &Self) -> Self {
        Self { span: self.span.start..next.span.end, words: self.words + next.words }
    }
}

/// What stands between spaces, and between the punctuation marks that need none.
fn pieces(task: &str) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = None;
    for (at, character) in task.char_indices() {
        if character.is_whitespace() {
            pieces.extend(start.take().map(|start| start..at));
        } else {
            let start_of_piece = *start.get_or_insert(at);
            if "。！？；，".contains(character) {
                pieces.push(start_of_piece..at + character.len_utf8());
                start = None;
            }
        }
    }
    pieces.extend(start.map(|start| start..task.len()));
    pieces
}

/// How many pieces from `at` on are a connective: 0 when there is none.
fn connective(task: &str, pieces: &[Range<usize>], at: usize) -> usize {
    let word =
        |at: usize| pieces.get(at).map(|piece| task[piece.clone()].trim_end_matches(',').to_lowercase());
    let matching =
        CONNECTIVES.iter().map(|phrase| (phrase.split(' ').count(), phrase)).find(|(_, phrase)| {
            phrase
                .split(' ')
                .enumerate()
                .all(|(offset, part)| word(at + offset).is_some_and(|word| word == part))
        });
    if let Some((count, _)) = matching {
        return count;
    }
    let Some(word) = word(at) else { return 0 };
    let after_comma = at > 0 && task[pieces[at - 1].clone()].ends_with(',');
    let small_follows =
        || pieces.get(at + 1).is_some_and(|next| task[next.clone()].starts_with(char::is_lowercase));
    let joins = JOINING.contains(&word.as_str()) && at > 0 && small_follows();
    usize::from(joins || (after_comma && AFTER_COMMA.contains(&word.as_str())))
}

/// Whether a clause begins at a piece for another reason: a new line, or a word after a wide comma.
fn begins_clause(task: &str, pieces: &[Range<usize>], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| &pieces[before]) else {
        return false;
    };
    let piece = &pieces[at];
    let is_next = |word: &&str| task[piece.clone()].starts_with(*word);
    task[before.end..piece.start].contains('\n')
        || (task[before.clone()].ends_with('，') && AFTER_WIDE_COMMA.iter().any(is_next))
}

/// Words of a piece: one, or none where it has no letter. A word of a script without spaces has about
/// two characters.
fn words(piece: &str) -> usize {
    let is_ideograph =
        |character: &char| matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}');
    let ideographs = piece.chars().filter(is_ideograph).count().div_ceil(2);
    ideographs.max(usize::from(piece.contains(char::is_alphanumeric)))
}

/// Joins clauses of few words to the one before, or the first to the one after.
fn without_short(clauses: Vec<Clause>) -> Vec<Clause> {
    let mut long: Vec<Clause> = Vec::with_capacity(clauses.len());
    for clause in clauses {
        match long.pop() {
            Some(last) if clause.words < MIN_WORDS || (long.is_empty() && last.words < MIN_WORDS) => {
                long.push(last.joined(&clause));
            }
            Some(last) => long.extend([last, clause]),
            None => long.push(clause),
        }
    }
    long
}

/// Joins the shortest neighbours until there are no more than `most`.
fn at_most(most: usize, mut clauses: Vec<Clause>) -> Vec<Clause> {
    while clauses.len() > most {
        let words_of_pair = |at: &usize| clauses[*at].words + clauses[at + 1].words;
        let Some(at) = (0..clauses.len() - 1).min_by_key(words_of_pair) else { break };
        let next = clauses.remove(at + 1);
        clauses[at] = clauses[at].clone().joined(&next);
    }
    clauses
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_task_is_taken_apart_where_another_step_begins() {
        for (task, expected) in [
            ("what time is it in Tokyo", vec![]),
            ("Find the report, then mail it to Ana.", vec!["Find the report", "mail it to Ana."]),
            (
                "See which monitors are alerting right now and open an issue that lists them",
                vec!["See which monitors are alerting right now", "open an issue that lists them"],
            ),
            ("Invite Ana and Bob to the review", vec![]),
            ("read and write", vec![]),
            ("Thanks. Show me the last ten commits of main.", vec![]),
            (
                "Any news about Bitcoin today? Also, tell me how the index has changed.",
                vec!["Any news about Bitcoin today?", "tell me how the index has changed."],
            ),
            ("version 2.5 of the file a.b.c", vec![]),
            (
                "list the open bugs\nmail them to the team",
                vec!["list the open bugs", "mail them to the team"],
            ),
            (
                "Such die letzte Rechnung heraus und schick sie dann an Petra",
                vec!["Such die letzte Rechnung heraus", "schick sie dann an Petra"],
            ),
            (
                "查一下明天上海的天气，然后发邮件告诉王芳。",
                vec!["查一下明天上海的天气", "然后发邮件告诉王芳。"],
            ),
            ("", vec![]),
            ("then", vec![]),
        ] {
            assert_eq!(clauses(task), expected, "{task}");
        }
    }

    proptest! {
        #[test]
        fn clauses_are_few_and_parts_of_the_task_in_their_order(task in "([a-zA-Z.,;，。然后]{0,6}[ \n]|and |then ){0,80}") {
            let found = clauses(&task);
            prop_assert!(found.len() != 1 && found.len() <= MAX_CLAUSES);
            let mut from = 0;
            for clause in found {
                let at = task[from..].find(clause);
                prop_assert!(at.is_some() && !clause.is_empty());
                from += at.unwrap() + clause.len();
            }
        }
    }
}

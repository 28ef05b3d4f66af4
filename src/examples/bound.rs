//! Which examples from use are dropped when there are too many.

use std::collections::BTreeMap;

use super::Example;

/// Examples from use that a tool may have.
const PER_TOOL: usize = 10;
/// Examples from use in all.
const IN_ALL: usize = 2_000;

/// Numbers of the examples to drop: in a tool that has too many the older of the two that are most
/// alike by `cosine`, in all the oldest.
pub fn thin_out(examples: &[Example], cosine: impl Fn(&Example, &Example) -> f32) -> Vec<i64> {
    let mut by_tool: BTreeMap<(&str, &str), Vec<&Example>> = BTreeMap::new();
    for example in examples {
        by_tool.entry((&example.server, &example.tool)).or_default().push(example);
    }
    let mut out = Vec::new();
    for examples in by_tool.values_mut() {
        examples.sort_by_key(|example| (example.added_at, example.id));
        while examples.len() > PER_TOOL {
            let pairs = (0..examples.len())
                .flat_map(|older| (older + 1..examples.len()).map(move |newer| (older, newer)));
            let alike = pairs.map(|(older, newer)| (older, cosine(examples[older], examples[newer])));
            // Of pairs that are equally alike the first has the oldest.
            let most = alike.reduce(|best, pair| if pair.1 > best.1 { pair } else { best });
            out.push(examples.remove(most.map_or(0, |(older, _)| older)).id);
        }
    }
    let mut rest: Vec<&Example> = by_tool.into_values().flatten().collect();
    rest.sort_by_key(|example| (example.added_at, example.id));
    let too_many = rest.len().saturating_sub(IN_ALL);
    out.extend(rest.iter().take(too_many).map(|example| example.id));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Source, State};

    fn example(id: i64, tool: &str) -> Example {
        Example {
            id,
            server: "s".to_owned(),
            tool: tool.to_owned(),
            text: format!("{id}"),
            source: Source::Use,
            language: None,
            state: State::Kept,
            reason: None,
            tool_hash: String::new(),
            added_at: id,
        }
    }

    #[test]
    fn the_most_alike_go_first_and_the_oldest_where_all_differ() {
        let few: Vec<Example> = (0..10).map(|id| example(id, "a")).collect();
        assert!(thin_out(&few, |_, _| 0.5).is_empty());
        let many: Vec<Example> = (0..12).map(|id| example(id, "a")).collect();
        assert_eq!(thin_out(&many, |_, _| 0.0), [0, 1]);
        let alike = |left: &Example, right: &Example| if (left.id, right.id) == (6, 9) { 0.9 } else { 0.1 };
        assert_eq!(thin_out(&many, alike), [6, 0]);
        let tools: Vec<Example> = (0..2_003).map(|id| example(id, &format!("t{}", id % 400))).collect();
        assert_eq!(thin_out(&tools, |_, _| 0.0), [0, 1, 2]);
    }
}

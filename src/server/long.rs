//! Results that fit a model's context: text over a limit is cut, and the rest is kept for a while to be read on.
//! Binary content passes as it is.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::execute::administration::READ_MORE;

/// Results that are kept, and bytes of all of them together; the oldest goes first.
const MAX_KEPT: usize = 16;
const MAX_BYTES: usize = 64 << 20;

/// What was cut off, by its cursor.
#[derive(Default)]
pub(super) struct Rests(Mutex<VecDeque<(String, Arc<str>)>>);

impl Rests {
    /// The result with at most `limit` bytes of text; 0 cuts nothing.
    pub(super) fn shorten(&self, mut result: CallToolResult, limit: usize) -> CallToolResult {
        if limit == 0 || size(&result) <= limit {
            return result;
        }
        let total = size(&result);
        let mut rest = String::new();
        let mut left = limit;
        for block in &mut result.content {
            let ContentBlock::Text(block) = block else { continue };
            let end = boundary(&block.text, left);
            push(&mut rest, &block.text[end..]);
            block.text.truncate(end);
            left -= end;
        }
        // Where it only repeats a text, that says all.
        if let Some(structured) = result.structured_content.take_if(|value| json_size(value) > limit) {
            let cut = |block: &ContentBlock| matches!(block, ContentBlock::Text(block) if repeats(&block.text, &rest, &structured));
            if !result.content.iter().any(cut) {
                push(&mut rest, &structured.to_string());
            }
        }
        if !rest.is_empty() {
            let shown = total.saturating_sub(rest.len());
            let cursor = self.keep(rest);
            result.content.push(ContentBlock::text(more(&format!("{shown} of {total}"), &cursor, 0)));
        }
        result
    }

    /// The next `limit` bytes from a cursor.
    pub(super) fn read(&self, cursor: &str, limit: usize) -> Result<CallToolResult, String> {
        let gone = || "this result is not kept any more; call its tool again".to_owned();
        let (id, offset) = cursor.split_once('-').ok_or_else(gone)?;
        let offset: usize = offset.parse().map_err(|_| gone())?;
        let rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest =
            rests.iter().find(|(kept, _)| kept == id).map(|(_, rest)| Arc::clone(rest)).ok_or_else(gone)?;
        drop(rests);
        let text = rest.get(offset..).ok_or_else(gone)?;
        let limit = if limit == 0 { text.len() } else { limit };
        let mut end = boundary(text, limit);
        if end == 0 {
            end = text.chars().next().map_or(0, char::len_utf8);
        }
        let mut content = vec![ContentBlock::text(&text[..end])];
        if end < text.len() {
            let left = format!("{} more", text.len() - end);
            content.push(ContentBlock::text(more(&left, id, offset + end)));
        }
        Ok(CallToolResult::success(content))
    }

    fn keep(&self, rest: String) -> String {
        let id = format!("{:016x}", fastrand::u64(..));
        let mut rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rests.push_back((id.clone(), rest.into()));
        let bytes =
            |rests: &VecDeque<(String, Arc<str>)>| rests.iter().map(|(_, rest)| rest.len()).sum::<usize>();
        while rests.len() > MAX_KEPT || (rests.len() > 1 && bytes(&rests) > MAX_BYTES) {
            rests.pop_front();
        }
        id
    }
}

/// The last place where a text may be cut that has no more bytes before it.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

fn push(rest: &mut String, text: &str) {
    if !rest.is_empty() && !text.is_empty() {
        rest.push('\n');
    }
    rest.push_str(text);
}

/// How the rest is read.
fn more(what: &str, id: &str, offset: usize) -> String {
    let request = json!({"tool": READ_MORE, "arguments": {"cursor": format!("{id}-{offset}")}});
    format!("[{what} bytes. The rest is read by call_tool: {request}]")
}

/// Whether a text that was cut, with what was cut off, is this value as JSON.
fn repeats(start: &str, rest: &str, value: &Value) -> bool {
    serde_json::from_str::<Value>(&format!("{start}{rest}")).is_ok_and(|whole| whole == *value)
}

/// Bytes of text, or of the structured content where that is larger.
fn size(result: &CallToolResult) -> usize {
    let texts = result.content.iter().map(|block| match block {
        ContentBlock::Text(block) => block.text.len(),
        _ => 0,
    });
    texts.sum::<usize>().max(result.structured_content.as_ref().map_or(0, json_size))
}

fn json_size(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).ok();
    counter.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(result: &CallToolResult) -> Vec<&str> {
        let blocks = result.content.iter();
        blocks.filter_map(|block| block.as_text()).map(|block| block.text.as_str()).collect()
    }

    /// The cursor in a note, which is the last block.
    fn cursor(result: &CallToolResult) -> Option<String> {
        let note = texts(result).pop()?;
        let request: Value =
            serde_json::from_str(note.split_once("call_tool: ")?.1.trim_end_matches(']')).ok()?;
        Some(request["arguments"]["cursor"].as_str()?.to_owned())
    }

    /// All that can be read from a cursor on.
    fn read_on(rests: &Rests, mut next: Option<String>, limit: usize) -> String {
        let mut all = String::new();
        while let Some(cursor) = next {
            let page = rests.read(&cursor, limit).unwrap();
            all.push_str(texts(&page)[0]);
            next = self::cursor(&page);
        }
        all
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "\\PC{0,200}", limit in 1_usize..60) {
            let rests = Rests::default();
            let cut = rests.shorten(CallToolResult::success(vec![ContentBlock::text(&text)]), limit);
            let shown = texts(&cut)[0].to_owned();
            prop_assert!(shown.len() <= limit || shown == text);
            prop_assert_eq!(shown + &read_on(&rests, cursor(&cut), limit), text);
        }
    }

    #[test]
    fn what_fits_and_what_is_binary_passes() {
        let rests = Rests::default();
        let image = ContentBlock::image("x".repeat(1000), "image/png");
        let result = CallToolResult::success(vec![ContentBlock::text("short"), image]);
        assert_eq!(rests.shorten(result.clone(), 100).content, result.content);
        let long = CallToolResult::success(vec![ContentBlock::text("x".repeat(1000))]);
        assert_eq!(rests.shorten(long.clone(), 0).content, long.content);
    }

    #[test]
    fn structured_content_is_read_on_as_json_unless_a_text_says_it() {
        let value = json!({"rows": (0..100).collect::<Vec<u32>>()});
        for text in [value.to_string(), "a table".to_owned()] {
            let rests = Rests::default();
            let mut result = CallToolResult::success(vec![ContentBlock::text(&text)]);
            result.structured_content = Some(value.clone());
            let cut = rests.shorten(result, 50);
            assert_eq!(cut.structured_content, None);
            let shown = if text == "a table" { "" } else { texts(&cut)[0] };
            let all = format!("{shown}{}", read_on(&rests, cursor(&cut), 50));
            assert_eq!(serde_json::from_str::<Value>(&all).unwrap(), value);
        }
    }

    #[test]
    fn old_results_are_forgotten() {
        let rests = Rests::default();
        let first = rests.keep("first".to_owned());
        for _ in 0..MAX_KEPT {
            rests.keep("other".to_owned());
        }
        assert!(rests.read(&format!("{first}-0"), 10).is_err());
        for bad in ["", "x", "x-1", "0000000000000000-x"] {
            assert!(rests.read(bad, 10).is_err());
        }
    }
}

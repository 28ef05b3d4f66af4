//! Lines of bounded length, as both sides of the protocol send them. A line that is too long is never
//! held as a whole: it is dropped as it comes, and only the JSON-RPC id in it is picked out, so that
//! whoever waits on that id can be told at once.

use std::sync::Arc;

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::Mutex,
};

/// Buffers above this are given back after the line that needed them.
const KEPT_BYTES: usize = 256 * 1024;

/// What was read.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// A whole line, without its end.
    Complete(Vec<u8>),
    /// A line over the limit ended; its id, where it has one.
    TooLong(Option<serde_json::Value>),
    /// The stream is over.
    End,
}

/// Reads lines. [`Self::next`] may be dropped at any await and called again.
pub(crate) struct Lines<R> {
    source: BufReader<R>,
    limit: usize,
    buffer: Vec<u8>,
    /// Set while a line over the limit passes by.
    passing: Option<IdFinder>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of `source` with at most `limit` bytes each.
    pub(crate) fn new(source: R, limit: usize) -> Self {
        Self { source: BufReader::with_capacity(64 * 1024, source), limit, buffer: Vec::new(), passing: None }
    }

    /// The next line.
    pub(crate) async fn next(&mut self) -> Line {
        loop {
            let Ok(available) = self.source.fill_buf().await else { return Line::End };
            if available.is_empty() {
                return Line::End;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let piece = &available[..end.unwrap_or(available.len())];
            match &mut self.passing {
                Some(finder) => finder.push(piece),
                None if self.buffer.len() + piece.len() > self.limit => {
                    let mut finder = IdFinder::default();
                    finder.push(&self.buffer);
                    finder.push(piece);
                    self.buffer = Vec::new();
                    self.passing = Some(finder);
                }
                None => self.buffer.extend_from_slice(piece),
            }
            let consumed = piece.len() + usize::from(end.is_some());
            self.source.consume(consumed);
            if end.is_some() {
                return match self.passing.take() {
                    Some(finder) => Line::TooLong(finder.id()),
                    None => Line::Complete(self.take()),
                };
            }
        }
    }

    /// The line, leaving a buffer of a size that most lines have.
    fn take(&mut self) -> Vec<u8> {
        let next = Vec::with_capacity(self.buffer.capacity().min(KEPT_BYTES));
        std::mem::replace(&mut self.buffer, next)
    }
}

/// The line of a message without its byte order mark and blanks.
pub(crate) fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii()
}

/// Writes messages, a line each. Clones share the pipe.
pub(crate) struct LineWriter<W>(Arc<Mutex<Option<W>>>);

impl<W> Clone for LineWriter<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: AsyncWrite + Unpin> LineWriter<W> {
    pub(crate) fn new(pipe: W) -> Self {
        Self(Arc::new(Mutex::new(Some(pipe))))
    }

    /// Writes a message as JSON. Waits while others write, and while the other side does not read.
    pub(crate) async fn write(&self, message: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut pipe = self.0.lock().await;
        let Some(pipe) = pipe.as_mut() else {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected));
        };
        pipe.write_all(&line).await?;
        pipe.flush().await
    }

    /// Closes the pipe.
    pub(crate) async fn close(&self) {
        self.0.lock().await.take();
    }
}

/// Finds the value of `id` at the top of a JSON object, byte by byte, in constant memory. What is no
/// JSON has no id, or one that nobody waits for.
#[derive(Debug, Default)]
pub(crate) struct IdFinder {
    depth: usize,
    text: Text,
    /// Whether a string at the top would be a key.
    at_key: bool,
    key: Vec<u8>,
    value: Vec<u8>,
    in_id: bool,
    found: Option<serde_json::Value>,
}

/// Whether a byte belongs to a string.
#[derive(Debug, Default, PartialEq)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// Inside, after a backslash.
    Escaped,
}

/// Longest key or id worth looking at, in bytes.
const TOKEN_BYTES: usize = 80;

impl IdFinder {
    /// The id of a whole line.
    pub(crate) fn find(line: &[u8]) -> Option<serde_json::Value> {
        let mut finder = Self::default();
        finder.push(line);
        finder.id()
    }

    fn id(self) -> Option<serde_json::Value> {
        self.found
    }

    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.found.is_some() {
                return;
            }
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.text != Text::Outside {
            self.text = match (&self.text, byte) {
                (Text::Inside, b'\\') => Text::Escaped,
                (Text::Inside, b'"') => Text::Outside,
                _ => Text::Inside,
            };
            self.keep(byte);
            return;
        }
        match byte {
            b'"' => {
                self.text = Text::Inside;
                if self.depth == 1 && self.at_key {
                    self.key.clear();
                }
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.at_key = self.depth == 1 && byte == b'{';
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_value();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 => {
                self.at_key = false;
                self.in_id = self.key == b"\"id\"";
                self.value.clear();
            }
            b',' if self.depth == 1 => {
                self.end_value();
                self.at_key = true;
            }
            _ => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth != 1 {
            return;
        }
        let token = if self.at_key { &mut self.key } else { &mut self.value };
        let blank = byte.is_ascii_whitespace() && self.text == Text::Outside;
        if token.len() < TOKEN_BYTES && !blank {
            token.push(byte);
        }
    }

    fn end_value(&mut self) {
        if self.in_id {
            self.found = serde_json::from_slice(&self.value).ok();
            self.in_id = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    async fn all(bytes: &[u8], limit: usize) -> Vec<Line> {
        let mut lines = Lines::new(bytes, limit);
        let mut read = Vec::new();
        loop {
            match lines.next().await {
                Line::End => return read,
                line => read.push(line),
            }
        }
    }

    #[tokio::test]
    async fn long_lines_pass_by_and_name_their_id() {
        let long =
            format!(r#"{{"result":{{"id":1,"text":"{}"}},"id":42,"jsonrpc":"2.0"}}"#, "x".repeat(200_000));
        let text = format!("one\n{long}\ntwo\nhalf");
        let lines = all(text.as_bytes(), 100_000).await;
        assert_eq!(
            lines,
            [
                Line::Complete(b"one".to_vec()),
                Line::TooLong(Some(json!(42))),
                Line::Complete(b"two".to_vec())
            ]
        );
    }

    #[test]
    fn the_id_is_that_of_the_top() {
        let find = |text: &str| IdFinder::find(text.as_bytes());
        assert_eq!(find(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), Some(json!(7)));
        assert_eq!(find(r#"{"result":{"id":1},"x":"\",\"id\":2","id" : "a b"}"#), Some(json!("a b")));
        assert_eq!(find(r#"{"id":5,"result":"#), Some(json!(5)), "the rest may be missing");
        assert_eq!(find(r#"[{"id":5}]"#), None);
        assert_eq!(find("\"id\":5"), None);
    }

    proptest! {
        #[test]
        fn it_finds_what_a_parser_finds(id in any::<i32>(), before in ".{0,20}", after in ".{0,20}") {
            let text = json!({"a": before, "b": {"id": "no"}, "id": id, "c": [after]}).to_string();
            prop_assert_eq!(IdFinder::find(text.as_bytes()), Some(json!(id)));
        }

        #[test]
        fn no_bytes_confuse_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let found: Option<Value> = IdFinder::find(&bytes);
            prop_assert!(found.is_none_or(|value| !value.is_object()));
        }
    }
}

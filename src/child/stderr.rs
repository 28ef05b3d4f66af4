//! A child's stderr: always drained, so that the child never blocks on it; logged line by line; its
//! end kept for error messages, and the first line that looks like the cause, which many programs print
//! above a long stack.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Lines kept for error messages.
const KEPT_LINES: usize = 8;
/// Bytes kept of one line; the rest of it is dropped.
const KEPT_BYTES: usize = 400;
/// How long the last words of a child that has ended are waited for. They are there already, unless
/// somebody else holds the pipe or this machine has much to do.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The last lines that a child wrote on stderr.
#[derive(Debug, Clone, Default)]
pub(super) struct StderrTail {
    lines: Arc<Mutex<Lines>>,
    /// All has been read.
    complete: CancellationToken,
}

#[derive(Debug, Default)]
struct Lines {
    complete: VecDeque<String>,
    partial: Vec<u8>,
    /// The first of the lines that look most like the cause, and how much.
    cause: Option<(u8, String)>,
    /// Lines that were looked at for it.
    looked_at: usize,
}

/// Lines that are looked at for the cause: a program that writes more says something else.
const LOOKED_AT: usize = 300;

/// Words by which programs say what went wrong.
const CAUSES: [&str; 6] = ["error", "fatal", "cannot", "missing", "exception", "panicked"];

/// How much a line looks like the cause: 2 where it begins so (`TypeError: …`, `Fatal: …`), 1 where it
/// says so anywhere, as lines of source in a stack also do.
fn looks_like_the_cause(line: &str) -> u8 {
    let line = line.to_lowercase();
    let begins =
        line.split_once(':').is_some_and(|(head, _)| head.ends_with("error") || head.ends_with("exception"));
    if begins || line.starts_with("fatal") {
        2
    } else {
        u8::from(CAUSES.iter().any(|word| line.contains(word)))
    }
}

impl Lines {
    /// Takes in bytes as they come and returns the lines that they complete.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut completed = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (content, ends) = match piece.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (piece, false),
            };
            let room = KEPT_BYTES.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&content[..content.len().min(room)]);
            if ends {
                let line = String::from_utf8_lossy(&self.partial).trim().to_owned();
                self.partial.clear();
                if !line.is_empty() {
                    if self.looked_at < LOOKED_AT {
                        self.looked_at += 1;
                        self.note_cause(&line);
                    }
                    self.complete.push_back(line.clone());
                    completed.push(line);
                }
            }
            while self.complete.len() > KEPT_LINES {
                self.complete.pop_front();
            }
        }
        completed
    }
}

impl Lines {
    fn note_cause(&mut self, line: &str) {
        let before = self.cause.as_ref().map_or(0, |(rank, _)| *rank);
        let rank = looks_like_the_cause(line);
        if rank > before {
            self.cause = Some((rank, line.to_owned()));
        }
    }
}

impl StderrTail {
    /// The last lines, joined by ` | `, an unfinished one included, after the one that speaks of an
    /// error, if that came earlier; empty when there were none.
    pub(super) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let partial = String::from_utf8_lossy(&lines.partial);
        let cause = lines.cause.iter().map(|(_, line)| line).filter(|line| !lines.complete.contains(line));
        let last = lines.complete.iter().map(String::as_str).chain([partial.trim()]);
        let all = cause.map(String::as_str).chain(last);
        all.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
    }

    /// Reads until the stream ends.
    pub(super) async fn drain(self, server: String, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 8192];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..count]);
            for line in lines {
                tracing::debug!(target: "orchestrator::child::stderr", server, "{line}");
            }
        }
        self.complete.cancel();
    }

    /// Returns when all that a child which has ended wrote has been read, or after [`LAST_WORDS`].
    pub(super) async fn wait_for_the_end(&self) {
        timeout(LAST_WORDS, self.complete.cancelled()).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_however_they_arrive() {
        let mut lines = Lines::default();
        assert!(lines.push(b"one\ntw").contains(&"one".to_owned()));
        assert_eq!(lines.push(b"o\n\n  \nthree"), ["two"]);
        for number in 0..20 {
            lines.push(format!("line {number}\n").as_bytes());
        }
        assert_eq!(lines.complete.len(), KEPT_LINES);
        assert_eq!(lines.complete.back().unwrap(), "line 19");
    }

    #[test]
    fn the_cause_is_kept_above_a_long_stack() {
        let tail = StderrTail::default();
        let push = |text: &str| tail.lines.lock().unwrap().push(text.as_bytes());
        push("starting\n  const err = new Error(message);\nError: Cannot find module 'keytar'\n");
        for number in 0..20 {
            push(&format!("    at frame {number}\n"));
        }
        let text = tail.text();
        assert!(text.starts_with("Error: Cannot find module 'keytar' | at frame 12 | "), "{text}");
    }

    #[tokio::test]
    async fn the_last_words_are_waited_for() {
        let (mut child, ours) = tokio::io::duplex(64);
        let tail = StderrTail::default();
        tokio::spawn(tail.clone().drain("late".to_owned(), ours));
        let waiting = tokio::spawn({
            let tail = tail.clone();
            async move {
                tail.wait_for_the_end().await;
                tail.text()
            }
        });
        tokio::io::AsyncWriteExt::write_all(&mut child, b"cannot find the database").await.unwrap();
        drop(child);
        assert_eq!(waiting.await.unwrap(), "cannot find the database");
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 4096]);
        }
        assert_eq!(lines.partial.len(), KEPT_BYTES);
        assert_eq!(lines.push(b"\n")[0].len(), KEPT_BYTES);
    }
}

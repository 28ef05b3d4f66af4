//! What is behind the orchestrator, in a few lines for the host's model.

use crate::index::Snapshot;

/// Longest text, in bytes: hosts cut longer instructions.
const MAX_BYTES: usize = 2_000;

const INTRODUCTION: &str = "One door to all of the user's connected MCP servers. Whenever a task may need an outside tool, \
    say it to `execute` in plain language: it finds the tool and calls it, or names what is missing and the exact `call_tool` \
    request to send. Use `search_tools` to look before calling.";

/// The `instructions` of the server: how to use it, and each server with some of its tools, as
/// many as fit.
pub(super) fn instructions(servers: &[String], snapshot: &Snapshot) -> String {
    if servers.is_empty() {
        return format!("{INTRODUCTION} No server is configured yet.");
    }
    let lines: Vec<Vec<String>> = servers
        .iter()
        .map(|server| {
            let tools = snapshot.tools().filter(|tool| tool.server == *server);
            let words = tools.map(|tool| crate::catalog::text::identifier_words(tool.name()));
            std::iter::once(server.clone()).chain(words).collect()
        })
        .collect();
    let head = format!("{INTRODUCTION}\nServers:");
    // The same number of tools for each server; the most that fit.
    let most = lines.iter().map(Vec::len).max().unwrap_or(1).saturating_sub(1);
    (0..=most)
        .rev()
        .map(|count| render(&head, &lines, count))
        .find(|text| text.len() <= MAX_BYTES)
        .unwrap_or_else(|| {
            let mut text = render(&head, &lines, 0);
            let end = (0..=MAX_BYTES - 4).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
            text
        })
}

fn render(head: &str, lines: &[Vec<String>], tools: usize) -> String {
    if tools == 0 {
        let names: Vec<&str> = lines.iter().map(|line| line[0].as_str()).collect();
        return format!("{head} {}", names.join(", "));
    }
    lines.iter().fold(head.to_owned(), |mut text, line| {
        text.push_str("\n- ");
        text.push_str(&line[0]);
        if line.len() > 1 {
            text.push_str(": ");
            text.push_str(&line[1..].iter().take(tools).cloned().collect::<Vec<_>>().join(", "));
            if line.len() - 1 > tools {
                text.push_str(", …");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_fits_however_many_servers_there_are() {
        for count in [0, 1, 10, 200, 2_000] {
            let servers: Vec<String> = (0..count).map(|number| format!("sérver-{number}")).collect();
            let text = instructions(&servers, &Snapshot::default());
            assert!(text.len() <= MAX_BYTES, "{count} servers: {} bytes", text.len());
            assert_eq!(text.contains("sérver-0"), count > 0);
        }
    }
}

//! What is behind the orchestrator, in a few lines for the host's model.

/// Longest text, in bytes: hosts cut longer instructions.
const MAX_BYTES: usize = 2_000;

const INTRODUCTION: &str = "One door to all of the user's connected MCP servers. Whenever a task may need an outside tool, \
    say it to `execute` in plain language: it finds the tool and calls it, or names what is missing and the exact `call_tool` \
    request to send. Use `search_tools` to look before calling.";

/// How many tools of each of so many servers can be named at most: a line and a name take some bytes.
pub(super) fn names_of_each(servers: usize) -> usize {
    MAX_BYTES / 4 / servers.max(1) + 1
}

/// The `instructions` of the server: how to use it, and each server with some of its tools, as
/// many as fit. `names` gives the names of a server's first tools, so many at most.
pub(super) fn instructions(servers: &[String], names: impl Fn(&str, usize) -> Vec<String>) -> String {
    if servers.is_empty() {
        return format!("{INTRODUCTION} No server is configured yet.");
    }
    let most = names_of_each(servers.len());
    let lines: Vec<Vec<String>> = servers
        .iter()
        .map(|server| {
            let names = names(server, most);
            let words = names.iter().map(|name| crate::catalog::text::identifier_words(name));
            std::iter::once(server.clone()).chain(words).collect()
        })
        .collect();
    let head = format!("{INTRODUCTION}\nServers:");
    // The same number of tools for each server; the most that fit.
    let longest = lines.iter().map(Vec::len).max().unwrap_or(1).saturating_sub(1);
    (0..=longest)
        .map(|count| render(&head, &lines, count))
        .take_while(|text| text.len() <= MAX_BYTES)
        .last()
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
            for tools in [0, 1, 5, 1_000] {
                let names = |_: &str, most: usize| vec!["read_file".to_owned(); tools.min(most)];
                let text = instructions(&servers, names);
                assert!(text.len() <= MAX_BYTES, "{count} servers: {} bytes", text.len());
                assert_eq!(text.contains("sérver-0"), count > 0);
                assert_eq!(text.contains("read file"), tools > 0 && (1..=10).contains(&count), "{text}");
            }
        }
    }
}
